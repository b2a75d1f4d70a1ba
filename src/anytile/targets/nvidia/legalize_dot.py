"""Dots in element types that an instruction or the multiply-adds take.

f32 as bf16x3, bf16x6       a sum of dots of bf16 parts, the largest product last
acc of 16 bits              accumulated in f32, rounded once at the end, where no instruction adds to it
8-bit floats without mma    as f16, which holds every value of theirs
operands of two types       both as the one that holds both
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.types import BF16, F8E4B8, F8E4B15, F8E4M3, F8E5B16, F8E5M2, F16, F32, Element
from .dot_table import instruction

__all__ = ["legalize_dot"]

_IN_F16 = (F16, F8E4M3, F8E5M2, F8E4B8, F8E4B15, F8E5B16)


def legalize_dot(m: Module, sm: int) -> bool:
    changed = False
    for op in [o for o in m.walk() if o.name == "dot"]:
        changed |= _operands(op, sm) | _accumulator(op, sm) | _parts(op)
    return changed


_PARTS = {"bf16x3": [(1, 0), (0, 1), (0, 0)], "bf16x6": [(2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0)]}
"""Precision → the products of parts (0 the largest) that are formed, smallest first."""


def _parts(op: Op) -> bool:
    """Each f32 as a sum of bf16s.  An infinity's remainder is NaN: what the small products add up to is dropped where it is."""
    products = _PARTS.get(op.attrs["precision"])
    if products is None or op.operands[0].type.elem is not F32:
        return False
    assert op.block is not None
    b = Builder(op.block, op, op.loc)
    count = 1 + max(i for i, _ in products)
    x, y = _split(b, op.operands[0], count), _split(b, op.operands[1], count)
    total = b.const(0.0, op.result.type)
    attrs = {**op.attrs, "precision": "ieee"}
    for i, j in products[:-1]:
        total = b.make("dot", [x[i], y[j], total], attrs).result
    total = b.select(b.fcmp(total, total, pred="oeq"), total, b.const(0.0, op.result.type))
    total = b.make("dot", [x[0], y[0], b.fadd(total, op.operands[2])], attrs).result
    op.result.replace_with(total)
    op.erase()
    return True


def _split(b: Builder, v: Value, count: int) -> list[Value]:
    out: list[Value] = []
    for _ in range(count):
        out.append(b.fpcast(v, to=BF16))
        v = b.fsub(v, b.fpcast(out[-1], to=F32))
    return out


def _accumulator(op: Op, sm: int) -> bool:
    e = op.result.type.elem
    if not e.is_float or e.bits >= 32 or instruction(op, sm) is not None:
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
