"""map with pack > 1 → map with pack = 1 on one tile per packed position.

    map {pack = p} x = join(map(x₀, x₁ … x₍p₋₁₎))      xⱼ[…, i] = x[…, p·i + j]

The pieces are splits of a reshape: index arithmetic that a target with virtual tiles never materialises.
"""

from __future__ import annotations

from ..ir import Builder, Module, Value

__all__ = ["unpack_map"]


def _pieces(b: Builder, x: Value, pack: int) -> list[Value]:
    """x₀ … x₍p₋₁₎, by halving the minor dimension: bit k of j picks the half of the k-th split from the end."""
    if pack == 1:
        return [x]
    shape = x.type.shape
    halves = b.split(b.reshape(x, shape=(*shape[:-1], shape[-1] // 2, 2)))
    even, odd = (_pieces(b, h, pack // 2) for h in halves)
    return [v for pair in zip(even, odd) for v in pair]


def _whole(b: Builder, pieces: list[Value]) -> Value:
    """Inverse of `_pieces`."""
    if len(pieces) == 1:
        return pieces[0]
    x = b.join(_whole(b, pieces[0::2]), _whole(b, pieces[1::2]))
    shape = x.type.shape
    return b.reshape(x, shape=(*shape[:-2], shape[-2] * 2))


def unpack_map(m: Module) -> bool:
    changed = False
    for op in [o for o in m.walk() if o.name == "map" and o.attrs["pack"] > 1 and o.results[0].type.rank]:
        assert op.block is not None
        pack, b = op.attrs["pack"], Builder(op.block, op, op.loc)
        parts = [p for x in op.operands for p in _pieces(b, x, pack)]
        block = op.blocks[0]
        types = tuple(parts[0].type.with_elem(v.type.elem) for v in block.terminator.operands)
        new = b.make("map", parts, {"pack": 1}, (block,), types)
        for k, r in enumerate(op.results):
            r.replace_with(_whole(b, new.results[k * pack : (k + 1) * pack]))
        op.blocks = []
        op.erase()
        changed = True
    return changed
