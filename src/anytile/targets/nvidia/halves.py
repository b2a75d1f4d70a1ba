"""Sums, differences and products of 16-bit floats, two at a time.

`passes.widen_floats` has made them f32 arithmetic between conversions, which is right everywhere: f32 holds products of two such numbers
exactly and rounds sums so that rounding once more changes nothing.  The instructions for pairs give the same (results below the normal
numbers of bfloat16 included, which f32 might round twice), and need neither conversions nor twice the instructions:

    fpcast→bf16( fmul( fpcast→f32 x, fpcast→f32 y ) )   =   fma.rn.bf16x2 x, y, −0

bfloat16 has the fused form alone before Hopper: a sum is x·1 + y, a product x·y + (−0), which leaves the sign of a zero as it is.
"""

from __future__ import annotations

from ...ir import Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, F16, F32, Element, Float
from ...passes.fold import round_float
from .placement import Placement
from .values import Generator, literal, llvm_type

__all__ = ["pairwise"]

_HALVES = {
    "fadd": "add.rn.f16x2 $0, $1, $2;",
    "fsub": "sub.rn.f16x2 $0, $1, $2;",
    "fmul": "mul.rn.f16x2 $0, $1, $2;",
}
_BRAINS = {
    "fadd": "{ .reg .b32 one; mov.b32 one, 0x3F803F80; fma.rn.bf16x2 $0, $1, one, $2; }",
    "fsub": "{ .reg .b32 one; mov.b32 one, 0xBF80BF80; fma.rn.bf16x2 $0, $2, one, $1; }",
    "fmul": "{ .reg .b32 zero; mov.b32 zero, 0x80008000; fma.rn.bf16x2 $0, $1, $2, zero; }",
}


def pairwise(g: Generator, op: Op, place: Placement) -> list[str] | None:
    """The registers of ``op``'s result, if it rounds a sum, difference or product of 16-bit floats to their own type; else None."""
    if op.name != "fpcast" or op.operands[0].type.elem is not F32 or place.registers < 2:
        return None
    to, made = op.attrs["to"], op.operands[0]
    if to not in (F16, BF16) or g.sm < 80 or made.op is None or made.op.name not in _HALVES or len(made.uses) != 1:
        return None
    found = [_narrow(g, v, to, place) for v in made.op.operands]
    if any(x is None for x in found):
        return None
    x, y = (_words(g, registers, to) for registers in found if registers is not None)
    text = (_HALVES if to is F16 else _BRAINS)[made.op.name]
    t = llvm_type(to)
    known: dict[tuple[str, str], str] = {}
    out: list[str] = []
    for pair in zip(x, y, strict=True):
        if pair not in known:
            word = g.assembly(text, "=r,r,r", "i32", [("i32", w) for w in pair], pure=True)
            known[pair] = g.emit(f"bitcast i32 {word} to <2 x {t}>")
        out += [g.emit(f"extractelement <2 x {t}> {known[pair]}, i32 {i}") for i in range(2)]
    return out


def _narrow(g: Generator, v: Value, e: Float, place: Placement) -> list[str] | None:
    """The registers that ``v``, a tile of f32, was widened from; None where it is no widened tile of ``e`` nor a number that ``e`` has."""
    number = const_value(v)
    if number is not None:
        return [literal(number, e)] * place.registers if round_float(number, e) == number else None
    if v.op is None or v.op.name != "fpcast" or v.op.operands[0].type.elem is not e:
        return None
    return g.get(v.op.operands[0], place)


def _words(g: Generator, registers: list[str], e: Element) -> list[str]:
    """Two neighbours in an i32 each."""
    t = llvm_type(e)
    known: dict[tuple[str, str], str] = {}
    out = []
    for pair in zip(registers[::2], registers[1::2], strict=True):
        if pair not in known:
            vector = g.emit(f"insertelement <2 x {t}> poison, {t} {pair[0]}, i32 0")
            known[pair] = g.emit(f"bitcast <2 x {t}> {g.emit(f'insertelement <2 x {t}> {vector}, {t} {pair[1]}, i32 1')} to i32")
        out.append(known[pair])
    return out
