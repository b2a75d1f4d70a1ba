"""Common subexpressions: two operations with the same row, operands and attributes become one.

A value is visible in its block and in the blocks nested there, so the table of known operations is a stack of
scopes that follows nesting.  Pure operations without blocks take part, and so do ordinary loads, as long as
nothing that writes or synchronises stands between: each such operation begins a new memory *epoch*, the epoch
is part of a load's key, and a loop whose body writes begins one at its entry as well (the next trip sees what
the last one wrote).

Of ``add(x, y)`` and ``add(y, x)`` one remains: operands of commutative rows are ordered in the key.  The
number of a `constant` is compared by its text, which tells +0 from −0 and keeps NaN equal to itself.
"""

from __future__ import annotations

from typing import Any

from ..ir.core import Block, Module, Op
from ..ir.ops import TABLE, Effect

__all__ = ["cse"]

_ORDERING = frozenset(d.name for d in TABLE.values() if d.effects & (Effect.WRITE | Effect.SYNC))
_CANDIDATE = frozenset(d.name for d in TABLE.values() if d.pure and not d.n_blocks and d.infer is not None) | {"load"}
_LOOPS = frozenset(("for", "while"))


def cse(m: Module) -> bool:
    changed = False
    for f in m.funcs:
        changed |= _Eliminator().block(f.body, {})
    return changed


class _Eliminator:
    def __init__(self) -> None:
        self.epoch = 0
        self.writes: dict[Op, bool] = {}

    def block(self, block: Block, outer: dict[Any, Op]) -> bool:
        known = dict(outer) if outer else {}
        kept: list[Op] = []
        changed = False
        for op in block.ops:
            d = op.defn
            if d.name in _CANDIDATE:
                key = self.key(op)
                if key is not None:
                    first = known.get(key)
                    if first is not None:
                        for old, new in zip(op.results, first.results):
                            old.replace_with(new)
                        op.drop_uses()
                        op.block = None
                        changed = True
                        continue
                    known[key] = op
            elif d.name in _ORDERING:
                self.epoch += 1
            elif op.blocks:
                writing = self.writing(op)
                if writing and d.name in _LOOPS:
                    self.epoch += 1
                for b in op.blocks:
                    changed |= self.block(b, known)
                if writing:
                    self.epoch += 1
            kept.append(op)
        block.ops = kept
        return changed

    def writing(self, op: Op) -> bool:
        got = self.writes.get(op)
        if got is None:
            got = self.writes[op] = any(o.defn.name in _ORDERING or (bool(o.blocks) and self.writing(o)) for b in op.blocks for o in b.ops)
        return got

    def key(self, op: Op) -> Any:
        d, attrs = op.defn, op.attrs
        if d.name == "constant":
            return "constant", repr(attrs["value"]), attrs["type"]
        operands = op.operands
        if d.commutative and id(operands[0]) > id(operands[1]):
            operands = [operands[1], operands[0]]
        if not attrs:
            return (d.name, *operands)
        facts = tuple([tuple(v) if type(v) is list else v for v in attrs.values()])
        if d.name == "load":
            if attrs["volatile"] or attrs["cache"] == ".cv":  # both ask for a fresh read
                return None
            return ("load", self.epoch, *facts, *operands)
        return (d.name, *facts, *operands)
