"""Replaces mathematical functions that a target lacks by arithmetic.

``native`` says what the target has: ``"sqrt"`` in every format, ``"exp.f32"`` in one.  f32 and f64 rows take
their expansion from the target's own formulas, else from `math.library`; narrower formats compute in f32 and round once.  An expansion may use
other mathematical rows (``sqrt``, ``rint``), which are expanded in their turn.  ``sqrt`` has no expansion:
every target has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import UnsupportedError
from ..ir import Block, Builder, Module, Op, Value
from ..ir.ops import MATH_BINARY, MATH_UNARY
from ..ir.types import F32, F64
from ..math.library import EXPANSIONS

__all__ = ["expand_math", "EXPANDABLE", "all_blocks"]

EXPANDABLE = frozenset(MATH_UNARY) | frozenset(MATH_BINARY) | {"frem"}


def all_blocks(m: Module) -> list[Block]:
    """Every block of the module, outer before inner."""
    out = [f.body for f in m.funcs]
    for block in out:  # grows while it runs
        for op in block.ops:
            out.extend(op.blocks)
    return out


def _is_native(name: str, elem: str, native: Collection[str]) -> bool:
    return name in native or f"{name}.{elem}" in native


Formulas = Mapping[tuple[str, str], Callable[..., Any]]


def _expand(b: Builder, op: Op, own: Formulas) -> Value:
    """The value of ``op``, built before it."""
    elem = op.result.type.elem
    operands = [v for v in op.operands if v is not None]
    if elem not in (F32, F64):
        wide = b.op(op.name, *(b.fpcast(v, to=F32) for v in operands))
        return b.fpcast(wide, to=elem)
    key = (op.name, str(elem))
    formula = own.get(key) or EXPANSIONS.get(key)
    if formula is None:
        raise UnsupportedError(f"{op.name} of {elem}", f"this target ({op.loc})", "declare it native or add its expansion to anytile/math")
    return formula(b, *operands)


def expand_math(m: Module, native: Collection[str], own: Formulas = MappingProxyType({})) -> bool:
    """Expands every mathematical row (and ``frem``) not in ``native``.  UnsupportedError for one without expansion.

    ``own``: formulas of the target, which go before the library's; (row, element name) → a function like those of `EXPANSIONS`.
    """
    changed = False
    for block in all_blocks(m):
        pending, done = list(reversed(block.ops)), []
        while pending:
            op = pending.pop()
            if op.name not in EXPANDABLE or _is_native(op.name, str(op.result.type.elem), native):
                done.append(op)
                continue
            # Built in a block of its own: inserting one by one would search the whole block each time.
            fresh = Block()
            value = _expand(Builder(fresh, loc=op.loc), op, own)
            for made in fresh.ops:
                made.block = block
            op.result.replace_with(value)
            op.drop_uses()
            op.block = None
            pending.extend(reversed(fresh.ops))
            changed = True
        block.ops[:] = done
    return changed
