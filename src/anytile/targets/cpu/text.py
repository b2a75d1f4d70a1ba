"""LLVM text as `targets.text` writes it but for bf16, and the error for what the CPU target has no code for.

Programs carry bf16 as its bits.  They only move it (arithmetic is done in f32), and where a machine has no instructions for
``bfloat``, LLVM takes vectors of it apart: a masked load becomes a branch for each lane.  The few instructions that do compute with
it, conversions, atomics and micro-kernels, take a `number_type`.
"""

from __future__ import annotations

from functools import cache

from ...errors import UnsupportedError
from ...ir import Op
from ...ir.types import BF16, I16, Element
from .. import text
from ..text import Chunk, Writer
from ..text import llvm_type as number_type

__all__ = [
    "Chunk",
    "Writer",
    "bf16_to_float",
    "literal",
    "llvm_type",
    "memory_type",
    "number_type",
    "opaque",
    "round_to_bf16",
    "unsupported",
]


@cache
def llvm_type(e: Element) -> str:
    """LLVM's type of one lane; bf16 and 8-bit floats are carried as their bits."""
    return text.llvm_type(I16 if e is BF16 else e)


def memory_type(e: Element) -> str:
    """LLVM's type of one element in memory: i1 lives in a byte, pointers are addresses."""
    return text.memory_type(I16 if e is BF16 else e)


def literal(value: int | float, e: Element) -> str:
    """A constant operand of type ``e``."""
    if e is BF16:
        return str(int(text.literal(value, e).removeprefix("0xR"), 16))
    return text.literal(value, e)


def bf16_to_float(x: str, lanes: int = 1) -> str:
    """Instructions that make ``{x}.float`` of the bits ``x`` of a bf16.  ``lanes``: of vectors."""
    number, wide, narrow = (t if lanes == 1 else f"<{lanes} x {t}>" for t in ("float", "i32", "i16"))
    high = "16" if lanes == 1 else "splat (i32 16)"
    return f"""  {x}.low = zext {narrow} {x} to {wide}
  {x}.bits = shl {wide} {x}.low, {high}
  {x}.float = bitcast {wide} {x}.bits to {number}"""


def round_to_bf16(result: str, x: str, lanes: int = 1) -> str:
    """Instructions that make ``result``, the bits of a bf16, of the float ``x``: to the nearest, to even.  ``lanes``: of vectors.

    By integers: for ``fptrunc`` LLVM takes vcvtneps2bf16 where there is one, which makes zeros of subnormal numbers.
    """
    number, wide, narrow = (t if lanes == 1 else f"<{lanes} x {t}>" for t in ("float", "i32", "i16"))
    zero = "0.0" if lanes == 1 else "zeroinitializer"
    one, high, half, quiet = (str(n) if lanes == 1 else f"splat (i32 {n})" for n in (1, 16, 32767, 64))
    truth = "i1" if lanes == 1 else f"<{lanes} x i1>"
    return f"""  {result}.bits = bitcast {number} {x} to {wide}
  {result}.upper = lshr {wide} {result}.bits, {high}
  {result}.odd = and {wide} {result}.upper, {one}
  {result}.half = add {wide} {result}.odd, {half}
  {result}.near = add {wide} {result}.bits, {result}.half
  {result}.nearest = lshr {wide} {result}.near, {high}
  {result}.nan = fcmp uno {number} {x}, {zero}
  {result}.quiet = or {wide} {result}.upper, {quiet}
  {result}.rounded = select {truth} {result}.nan, {wide} {result}.quiet, {wide} {result}.nearest
  {result} = trunc {wide} {result}.rounded to {narrow}"""


def opaque(t: str, value: str) -> str:
    """An instruction that is ``value`` of LLVM type ``t`` and says nothing about it; it becomes no code.

    What a loop counts by goes through it.  LLVM's loop strength reduction, which took a third of the compile time, then has no
    induction variable to work on; addresses are written so that there is nothing left for it to do (`Nest._beside_the_first`).
    """
    return f'call {t} asm "", "=r,0"({t} {value})'


def unsupported(what: str, op: Op | None = None) -> UnsupportedError:
    """The error that names ``what``, and the place in the source where ``op`` comes from."""
    if op is None:
        return UnsupportedError(what, "the CPU target")
    return UnsupportedError(what, "the CPU target", f"it is used in {op.loc.function or 'a kernel'}, {op.loc.file}:{op.loc.line}")
