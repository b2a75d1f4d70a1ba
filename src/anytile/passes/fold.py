"""Values of elementwise operations on constants: the arithmetic behind `canonicalize`.

``fold(op, values)`` gives the number that every lane of the result holds, or None where it is not folded:

- integers: two's complement of the element's width; i1 reads as −1 where the operation is signed.  Division by
  zero and oversized shifts are unspecified in the IR and are left alone, so that a target shows one behaviour.
- floats: only operations that IEEE 754 rounds correctly (+ − · / √, conversions, comparisons, rounding to
  integers).  Each is computed exactly or in binary64 and rounded once into the format; binary64 carries more
  than twice the digits of every narrower format, plus two, so rounding twice is harmless (Figueroa 1995).
  exp, sin … are not folded: a target's own function must answer alike for constants and variables.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

from ..ir.builder import canonical
from ..ir.core import Op
from ..ir.types import F32, F64, Element, Float

__all__ = ["fold", "round_float", "signed", "unsigned"]

Number = int | float


def signed(v: int, bits: int) -> int:
    """``v`` modulo 2^bits as a signed integer (i1: 0 or −1)."""
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


def unsigned(v: int, bits: int) -> int:
    return v & ((1 << bits) - 1)


# --- floats -----------------------------------------------------------------------------------------------


def round_float(x: float, e: Float) -> float | None:
    """``x`` rounded to nearest even in format ``e``; None where the format lacks the value (fp8 overflow)."""
    if e is F64:
        return x
    if e is F32:
        try:
            return struct.unpack("<f", struct.pack("<f", x))[0]
        except OverflowError:
            return math.copysign(math.inf, x)
    if not math.isfinite(x):
        return x if e.bits > 8 else None
    if x == 0:
        return 0.0 if e.fnuz else x
    _, exponent = math.frexp(x)  # |x| = m · 2^exponent, 0.5 <= m < 1
    quantum = max(exponent - 1, 1 - e.bias) - e.mantissa  # exponent of the last digit kept
    digits = Fraction(x) / Fraction(2) ** quantum
    rounded = round(digits) * Fraction(2) ** quantum  # Python rounds halves to even
    top = (1 << e.exponent) - 1  # the highest exponent field: reserved for inf and NaN in IEEE-like formats
    largest_exponent = top - e.bias - (0 if e.finite else 1)
    largest = (Fraction(2) - Fraction(1, 1 << e.mantissa)) * Fraction(2) ** largest_exponent
    if e.finite and not e.fnuz:
        largest -= Fraction(2) ** (largest_exponent - e.mantissa)  # the all-ones pattern is NaN
    if abs(rounded) > largest:
        return math.copysign(math.inf, x) if e.bits > 8 else None
    result = float(rounded)
    return math.copysign(result, x) if not (e.fnuz and result == 0) else 0.0


def _fdiv(x: float, y: float) -> float:
    if y == 0:
        return math.nan if x == 0 or x != x else math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def _fmin(x: float, y: float) -> float | None:
    if x != x or y != y:
        return y if x != x else x
    return None if x == y == 0 else min(x, y)  # the sign of min(+0, −0) is a target's choice


def _fmax(x: float, y: float) -> float | None:
    if x != x or y != y:
        return y if x != x else x
    return None if x == y == 0 else max(x, y)


def _fminimum(x: float, y: float) -> float | None:
    return math.nan if x != x or y != y else _fmin(x, y)


def _fmaximum(x: float, y: float) -> float | None:
    return math.nan if x != x or y != y else _fmax(x, y)


def _frem(x: float, y: float) -> float:
    return math.nan if y == 0 or math.isinf(x) or x != x or y != y else math.fmod(x, y)


def _to_integer(f: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: math.copysign(float(f(x)), x) if math.isfinite(x) else x


_FLOAT: dict[str, Callable[..., float | None]] = {
    "fadd": operator.add,
    "fsub": operator.sub,
    "fmul": operator.mul,
    "fdiv": _fdiv,
    "frem": _frem,
    "fmin": _fmin,
    "fmax": _fmax,
    "fminimum": _fminimum,
    "fmaximum": _fmaximum,
    "fneg": operator.neg,
    "fabs": abs,
    "copysign": math.copysign,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 or x != x else math.nan,
    "floor": _to_integer(math.floor),
    "ceil": _to_integer(math.ceil),
    "trunc": _to_integer(math.trunc),
    "rint": _to_integer(round),
}
_FCMP: dict[str, Callable[[float, float], bool]] = {
    "oeq": operator.eq,
    "une": operator.ne,
    "olt": operator.lt,
    "ole": operator.le,
    "ogt": operator.gt,
    "oge": operator.ge,
    "uno": lambda x, y: x != x or y != y,
}

# --- integers -----------------------------------------------------------------------------------------------


def _sdiv(x: int, y: int) -> int:
    q = abs(x) // abs(y)
    return q if (x < 0) == (y < 0) else -q


# Rows on operands read as signed, as unsigned; `w` is the width where the row needs it.
_SIGNED: dict[str, Callable[[int, int, int], int | None]] = {
    "add": lambda x, y, w: x + y,
    "sub": lambda x, y, w: x - y,
    "mul": lambda x, y, w: x * y,
    "and": lambda x, y, w: x & y,
    "or": lambda x, y, w: x | y,
    "xor": lambda x, y, w: x ^ y,
    "smin": lambda x, y, w: min(x, y),
    "smax": lambda x, y, w: max(x, y),
    "smulhi": lambda x, y, w: (x * y) >> w,
    "sdiv": lambda x, y, w: _sdiv(x, y) if y else None,
    "srem": lambda x, y, w: x - y * _sdiv(x, y) if y else None,
    "ashr": lambda x, y, w: x >> y if 0 <= y < w else None,
}
_UNSIGNED: dict[str, Callable[[int, int, int], int | None]] = {
    "umin": lambda x, y, w: min(x, y),
    "umax": lambda x, y, w: max(x, y),
    "umulhi": lambda x, y, w: (x * y) >> w,
    "udiv": lambda x, y, w: x // y if y else None,
    "urem": lambda x, y, w: x % y if y else None,
    "shl": lambda x, y, w: x << y if y < w else None,
    "lshr": lambda x, y, w: x >> y if y < w else None,
}
_UNARY: dict[str, Callable[[int, int], int]] = {  # on the unsigned reading
    "iabs": lambda x, w: abs(signed(x, w)),
    "popc": lambda x, w: bin(x).count("1"),
    "clz": lambda x, w: w - x.bit_length(),
    "brev": lambda x, w: int(f"{x:0{w}b}"[::-1], 2),
}
_ICMP = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def compare_ints(pred: str, x: int, y: int, bits: int) -> bool:
    """Predicate ``pred`` of ``icmp`` on two integers of ``bits`` bits."""
    read = signed if pred[0] == "s" else unsigned
    return _ICMP[pred if pred in _ICMP else pred[1:]](read(x, bits), read(y, bits))


# --- conversions --------------------------------------------------------------------------------------------


def _float_to_int(x: float, to: Element, low: int, high: int) -> int | None:
    if not math.isfinite(x) or not low <= math.trunc(x) <= high:
        return None  # unspecified by the IR
    return math.trunc(x)


def _round_exact(x: Fraction, e: Float) -> float | None:
    """An integer in float format ``e``, rounded once: binary64 may already have rounded a wide one."""
    return round_float(float(x), e) if abs(x) <= 1 << 53 or e is F64 else None


def _bitcast(x: Number, source: Element, to: Element) -> Number | None:
    codes = {32: ("<f", "<i"), 64: ("<d", "<q")}
    if source.bits not in codes or source.is_ptr or to.is_ptr:
        return canonical(x, to) if source.is_int and to.is_int else None
    f, i = codes[source.bits]
    if source.is_int and to.is_int:
        return canonical(x, to)
    if source.is_float and to.is_float:
        return x
    if source.is_float:
        return None if x != x else struct.unpack(i, struct.pack(f, x))[0]  # which NaN is not recorded
    value = struct.unpack(f, struct.pack(i, x))[0]
    return None if value != value else value


def _cast(op: Op, x: Number, source: Element, to: Element) -> Number | None:
    name = op.defn.name
    if name == "sext":
        return canonical(signed(int(x), source.bits), to)
    if name == "zext":
        return canonical(unsigned(int(x), source.bits), to)
    if name == "trunci":
        return canonical(x, to)
    if name in ("sitofp", "uitofp"):
        exact = signed(int(x), source.bits) if name == "sitofp" else unsigned(int(x), source.bits)
        return _round_exact(Fraction(exact), to)  # type: ignore[arg-type]
    if name == "fptosi":
        got = _float_to_int(x, to, -(1 << (to.bits - 1)), (1 << (to.bits - 1)) - 1)
        return None if got is None else canonical(got, to)
    if name == "fptoui":
        got = _float_to_int(x, to, 0, (1 << to.bits) - 1)
        return None if got is None else canonical(got, to)
    if name == "fpcast":
        y = round_float(float(x), to)  # type: ignore[arg-type]
        exact_cast = y is not None and (y == x or y != y)
        return y if exact_cast or op.attrs["rounding"] == "rtne" else None
    if name == "bitcast":
        return _bitcast(x, source, to)
    return None  # ptrtoint, inttoptr: addresses are not constants


# --- entry ----------------------------------------------------------------------------------------------------


def fold(op: Op, values: Sequence[Number]) -> Number | None:
    """The constant that elementwise ``op`` gives on operands equal to ``values``; None if it is not folded."""
    name = op.defn.name
    e = op.operands[-1].type.elem  # type: ignore[union-attr]
    if e.is_ptr or op.results[0].type.elem.is_ptr:
        return None
    if name == "select":
        return values[1] if values[0] else values[2]
    if e.is_float:
        rounded = [round_float(float(v), e) for v in values]  # type: ignore[arg-type]
        if any(v is None for v in rounded):
            return None
        values = rounded  # type: ignore[assignment]
        if name == "fcmp":
            return int(_FCMP[op.attrs["pred"]](*values))
        f = _FLOAT.get(name)
        if f is not None:
            try:
                got = f(*values)
            except OverflowError:
                return None
            return None if got is None else round_float(got, e)  # type: ignore[arg-type]
    elif name == "icmp":
        return int(compare_ints(op.attrs["pred"], *values, e.bits))  # type: ignore[arg-type,call-arg]
    else:
        w = e.bits
        got_int: int | None = None
        if (g := _SIGNED.get(name)) is not None:
            got_int = g(signed(values[0], w), signed(values[1], w), w)  # type: ignore[arg-type]
        elif (g := _UNSIGNED.get(name)) is not None:
            got_int = g(unsigned(values[0], w), unsigned(values[1], w), w)  # type: ignore[arg-type]
        elif (h := _UNARY.get(name)) is not None:
            got_int = h(unsigned(values[0], w), w)  # type: ignore[arg-type]
        if got_int is not None:
            return canonical(got_int, e)
    if "to" in op.attrs:
        return _cast(op, values[0], e, op.attrs["to"])
    return None
