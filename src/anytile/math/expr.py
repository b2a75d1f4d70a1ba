"""Formulas over the Builder: `E` is an IR value with Python's operators.

    def rsqrt(x: E) -> E:
        return 1.0 / sqrt(x)

A Python number beside an `E` becomes a constant of its type, rounded here to the element so that every
target sees the same bits; equal constants of one expansion are made once (`Scope`).  Operators mean the
*float* row or the *integer* row by the element: ``x + y`` is ``fadd`` or ``add``, ``x < y`` is an ordered
``fcmp`` or a signed ``icmp``, ``x >> n`` is the arithmetic shift and ``lshr`` the logical one.

Nothing here branches: alternatives are computed side by side and chosen with `select`, because one lane of
a tile may want one and its neighbour the other.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from ..ir import Builder, Value
from ..ir.types import F32, F64, Element, Float, Type, int_element

__all__ = [
    "E",
    "Scope",
    "fma",
    "select",
    "sqrt",
    "horner",
    "fabs",
    "flip_sign",
    "fneg",
    "copysign",
    "clamp",
    "both",
    "either",
    "negate",
    "to_f32",
]

Number = int | float


def to_f32(x: float) -> float:
    """``x`` rounded to binary32, as a Python float; overflow gives an infinity."""
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


class Scope:
    """The Builder of one expansion, with the constants already made and the number of operations built."""

    def __init__(self, b: Builder):
        self.b = b
        self._constants: dict[tuple[str, Type], Value] = {}

    def constant(self, x: Number, t: Type) -> Value:
        if t.elem is F32:
            x = to_f32(float(x))
        key = (repr(x), t)
        got = self._constants.get(key)
        if got is None:
            got = self._constants[key] = self.b.const(x, t)
        return got

    def wrap(self, v: Value) -> E:
        return E(self, v)


class E:
    """An IR value in a formula.  ``s`` is its scope, ``v`` the value."""

    __slots__ = ("s", "v")

    def __init__(self, scope: Scope, value: Value):
        self.s, self.v = scope, value

    # --- type ---------------------------------------------------------------------------------------------

    @property
    def elem(self) -> Element:
        return self.v.type.elem

    @property
    def is_float(self) -> bool:
        return isinstance(self.v.type.elem, Float)

    def like(self, x: E | Number) -> E:
        """``x`` itself, or the number as a constant of this value's type."""
        return x if isinstance(x, E) else E(self.s, self.s.constant(x, self.v.type))

    def row(self, name: str, *others: E | Number, **attrs: object) -> E:
        """The operation ``name`` with this value as its first operand."""
        return E(self.s, self.s.b.op(name, self.v, *(self.like(o).v for o in others), **attrs))

    # --- arithmetic ---------------------------------------------------------------------------------------

    def __add__(self, o: E | Number) -> E:
        return self.row("fadd" if self.is_float else "add", o)

    def __sub__(self, o: E | Number) -> E:
        return self.row("fsub" if self.is_float else "sub", o)

    def __mul__(self, o: E | Number) -> E:
        return self.row("fmul" if self.is_float else "mul", o)

    def __truediv__(self, o: E | Number) -> E:
        return self.row("fdiv", o, precise=True)

    def __radd__(self, o: Number) -> E:
        return self + o

    def __rmul__(self, o: Number) -> E:
        return self * o

    def __rsub__(self, o: Number) -> E:
        return self.like(o) - self

    def __rtruediv__(self, o: Number) -> E:
        return self.like(o) / self

    def __neg__(self) -> E:
        return self.row("fneg") if self.is_float else 0 - self

    def __and__(self, o: E | Number) -> E:
        return self.row("and", o)

    def __or__(self, o: E | Number) -> E:
        return self.row("or", o)

    def __xor__(self, o: E | Number) -> E:
        return self.row("xor", o)

    def __lshift__(self, o: E | Number) -> E:
        return self.row("shl", o)

    def __rshift__(self, o: E | Number) -> E:
        return self.row("ashr", o)

    def lshr(self, o: E | Number) -> E:
        return self.row("lshr", o)

    # --- comparison ---------------------------------------------------------------------------------------

    def _compare(self, o: E | Number, f: str, i: str) -> E:
        return self.row("fcmp", o, pred=f) if self.is_float else self.row("icmp", o, pred=i)

    def __lt__(self, o: E | Number) -> E:
        return self._compare(o, "olt", "slt")

    def __le__(self, o: E | Number) -> E:
        return self._compare(o, "ole", "sle")

    def __gt__(self, o: E | Number) -> E:
        return self._compare(o, "ogt", "sgt")

    def __ge__(self, o: E | Number) -> E:
        return self._compare(o, "oge", "sge")

    def eq(self, o: E | Number) -> E:
        return self._compare(o, "oeq", "eq")

    def ne(self, o: E | Number) -> E:
        """Not equal; true where an operand is NaN."""
        return self._compare(o, "une", "ne")

    def ult(self, o: E | Number) -> E:
        return self.row("icmp", o, pred="ult")

    def ugt(self, o: E | Number) -> E:
        return self.row("icmp", o, pred="ugt")

    @property
    def is_nan(self) -> E:
        return self.row("fcmp", self, pred="uno")

    # --- conversion ---------------------------------------------------------------------------------------

    def as_int(self) -> E:
        """The bits of a float, as an integer of its width."""
        return self.row("bitcast", to=int_element(self.elem.bits))

    def as_float(self) -> E:
        """The 32 or 64 bits of an integer, as f32 or f64."""
        return self.row("bitcast", to=F32 if self.elem.bits == 32 else F64)

    def to_int(self) -> E:
        """Truncated to the signed integer of the float's width."""
        return self.row("fptosi", to=int_element(self.elem.bits))

    def to_float(self) -> E:
        """A signed 32- or 64-bit integer as the float of its width."""
        return self.row("sitofp", to=F32 if self.elem.bits == 32 else F64)

    def cast(self, to: Float) -> E:
        return self if self.elem is to else self.row("fpcast", to=to)

    def resize(self, bits: int, signed: bool = False) -> E:
        """The integer at another width."""
        if bits == self.elem.bits:
            return self
        return self.row("trunci" if bits < self.elem.bits else "sext" if signed else "zext", to=int_element(bits))


def fma(x: E, y: E | Number, z: E | Number) -> E:
    """x·y + z, rounded once."""
    return x.row("fma", y, z)


def select(cond: E, x: E | Number, y: E | Number, like: E | None = None) -> E:
    """``x`` where ``cond``, else ``y``; ``like`` gives the type when both are numbers."""
    typed = x if isinstance(x, E) else y if isinstance(y, E) else like
    assert typed is not None, "select of two numbers needs like="
    return cond.row("select", typed.like(x), typed.like(y))


def both(c: E, d: E) -> E:
    return c.row("and", d)


def either(c: E, d: E) -> E:
    return c.row("or", d)


def negate(c: E) -> E:
    return c.row("xor", 1)


def sqrt(x: E) -> E:
    return x.row("sqrt", precise=True)


def fabs(x: E) -> E:
    return x.row("fabs")


def fneg(x: E) -> E:
    return x.row("fneg")


def _sign_bit(x: E) -> int:
    return 1 << (x.elem.bits - 1)


def copysign(x: E, y: E) -> E:
    """|x| with the sign of ``y``."""
    return (fabs(x).as_int() | (y.as_int() & _sign_bit(y))).as_float()


def flip_sign(x: E, y: E) -> E:
    """``x`` negated where the sign bit of ``y`` (float or integer of the same width) is set."""
    bits = y.as_int() if y.is_float else y
    return (x.as_int() ^ (bits & _sign_bit(x))).as_float()


def clamp(x: E, low: float | None, high: float | None) -> E:
    """``x`` held between two numbers; NaN stays NaN.

    Written as compare and select in this order because x86's min and max then take one instruction.
    """
    if low is not None:
        x = select(x < low, low, x)
    if high is not None:
        x = select(x > high, high, x)
    return x


def horner(x: E, coefficients: Iterable[float]) -> E:
    """c₀ + c₁x + c₂x² + …, each step one fma."""
    c = list(coefficients)
    if len(c) == 1:
        return x.like(c[0])
    p = fma(x, c[-1], c[-2])
    for a in reversed(c[:-2]):
        p = fma(p, x, a)
    return p
