"""Dots in element types that an instruction or the multiply-adds take.

acc of 16 bits              accumulated in f32, rounded once at the end
8-bit floats without mma    as f16, which holds every value of theirs (bias-15 and bias-16 formats as f32)
operands of two types       both as the one that holds both
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.types import F8E4B8, F8E4M3, F8E5M2, F16, F32, Element
from .dot import instruction

__all__ = ["legalize_dot"]

_IN_F16 = (F16, F8E4M3, F8E5M2, F8E4B8)


def legalize_dot(m: Module, sm: int) -> bool:
    changed = False
    for op in [o for o in m.walk() if o.name == "dot"]:
        changed |= _operands(op, sm) | _accumulator(op)
    return changed


def _accumulator(op: Op) -> bool:
    e = op.result.type.elem
    if not e.is_float or e.bits >= 32:
        return False
    assert op.block is not None
    b = Builder(op.block, op, op.loc)
    wide = b.make("dot", [*op.operands[:2], b.fpcast(op.operands[2], to=F32)], op.attrs).result
    op.result.replace_with(b.fpcast(wide, to=e))
    op.erase()
    return True


def _operands(op: Op, sm: int) -> bool:
    x, y = op.operands[0].type.elem, op.operands[1].type.elem
    if not x.is_float or (x is y and (x.bits > 8 or instruction(op, sm) is not None)):
        return False
    to = _common(x, y)
    if x is to and y is to:
        return False
    assert op.block is not None
    b = Builder(op.block, op, op.loc)
    for i in range(2):
        op.set_operand(i, _cast(b, op.operands[i], to))
    return True


def _common(x: Element, y: Element) -> Element:
    """A format that holds every value of both."""
    if x in _IN_F16 and y in _IN_F16:
        return F16
    return F32 if max(x.bits, y.bits) < 64 else (x if x.bits == 64 else y)


def _cast(b: Builder, v: Value, to: Element) -> Value:
    return v if v.type.elem is to else b.fpcast(v, to=to)
