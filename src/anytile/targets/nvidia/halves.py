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

__all__ = ["in_pairs", "pairwise"]

_VIEWS = ("broadcast", "expand_dims")

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
    made = _made(g, op)
    if made is None or place.registers < 2:
        return None
    to = op.attrs["to"]
    x, y = (_words(g, _narrow(g, v, to, place), to) for v in made.operands)
    text = (_HALVES if to is F16 else _BRAINS)[made.name]
    t = llvm_type(to)
    known: dict[tuple[str, str], str] = {}
    out: list[str] = []
    for pair in zip(x, y, strict=True):
        if pair not in known:
            word = g.assembly(text, "=r,r,r", "i32", [("i32", w) for w in pair], pure=True)
            known[pair] = g.emit(f"bitcast i32 {word} to <2 x {t}>")
        out += [g.emit(f"extractelement <2 x {t}> {known[pair]}, i32 {i}") for i in range(2)]
    return out


def in_pairs(g: Generator, op: Op) -> bool:
    """Whether ``op``, arithmetic of f32, is what `pairwise` computes as its only user's: then nobody asks for its own result."""
    if op.name not in _HALVES or len(op.result.uses) != 1:
        return False
    user = op.result.users()[0]
    if _made(g, user) is not op or user.result.type.is_scalar or g.is_lazy(user.result):
        return False
    return all(place.registers >= 2 for place in g.assignment.places(user.result))


def _made(g: Generator, op: Op) -> Op | None:
    """The sum, difference or product of two 16-bit floats that ``op`` rounds to their own type; None where it is something else."""
    if op.name != "fpcast" or op.operands[0].type.elem is not F32 or op.attrs["to"] not in (F16, BF16) or g.sm < 80:
        return None
    made = op.operands[0].op
    if made is None or made.name not in _HALVES or len(made.result.uses) != 1:
        return None
    return made if all(_is_narrow(v, op.attrs["to"]) for v in made.operands) else None


def _is_narrow(v: Value, e: Float) -> bool:
    """Whether ``v``, of f32, was widened from ``e``, or is a number that ``e`` has; casts may stand in front of broadcasts."""
    number = const_value(v)
    if number is not None:
        return round_float(number, e) == number
    if v.op is None or v.type.is_scalar:
        return False
    return _is_narrow(v.op.operands[0], e) if v.op.name in _VIEWS else v.op.name == "fpcast" and v.op.operands[0].type.elem is e


def _narrow(g: Generator, v: Value, e: Float, place: Placement) -> list[str]:
    """The registers that ``v`` was widened from (`_is_narrow`)."""
    number = const_value(v)
    if number is not None:
        return [literal(number, e)] * place.registers
    assert v.op is not None
    x = v.op.operands[0]
    if v.op.name == "broadcast":
        wide = place.before_broadcast(x.type.shape)
        few = wide.compact()
        found = _narrow(g, x, e, few)
        return [found[few.register_of[c]] for c in wide.constants]
    if v.op.name == "expand_dims":
        return _narrow(g, x, e, place.before_reshape(x.type.shape))
    return g.get(x, place)


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
