"""Integers that f32 holds exactly, on their way to floats of 8 and 16 bits.

    sitofp x → f16     =  fpcast→f16( sitofp x → f32 )          where |x| <= 2²⁴

What is unpacked from words of 32 bits (weights of 4 bits, less their zero points) has few bits.  Of any other 32-bit integer the middle
format is f64 (`widen_floats`), which GPUs convert at a sixteenth of the speed.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.core import Block, Module, Op
from ..ir.types import F32
from .range_info import RangeInfo

__all__ = ["short_integers"]

_CASTS = ("sitofp", "uitofp")
EXACT = 1 << 24
"""Up to here f32 holds every integer."""


def short_integers(m: Module) -> bool:
    changed = False
    for f in m.funcs:
        if any(_long(op) for op in f.walk()):
            changed |= _block(f.body, RangeInfo(f))
    return changed


def _long(op: Op) -> bool:
    """Whether ``op`` casts 32 bits or more to a float of fewer: what is shorter has f32 as its middle format anyway."""
    return op.defn.name in _CASTS and op.attrs["to"].bits < 32 and op.operands[0].type.elem.bits >= 32  # type: ignore[union-attr]


def _block(block: Block, info: RangeInfo) -> bool:
    changed = False
    for op in list(block.ops):
        if _long(op):
            x, name = op.operands[0], op.defn.name
            assert x is not None
            known = info[x]
            if (-EXACT if name == "sitofp" else 0) <= known.lo and known.hi <= EXACT:
                b = Builder(block, op, op.loc)
                op.results[0].replace_with(b.fpcast(b.op(name, x, to=F32), to=op.attrs["to"]))
                op.erase()
                changed = True
        for inner in op.blocks:
            changed |= _block(inner, info)
    return changed
