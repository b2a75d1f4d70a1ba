"""exp, exp2, exp10, expm1 and the scaling by powers of two that they share.

Cody and Waite's reduction: n = rint(x·log₂e), r = x − n·ln2 with ln2 in two parts, exp(x) = 2ⁿ·exp(r) with
|r| ≤ ln2/2, a minimax polynomial for exp(r).  n comes out of the low bits of x·log₂e + 1.5·2^(digits − 1):
adding that constant rounds to an integer and leaves it where a shift puts it into the exponent field.

f32 results below 2⁻¹²⁶ are 0: gradual underflow would cost four operations more in the function that
attention spends its time in, and subnormal products stall many processors.  f64 underflows gradually.
"""

from __future__ import annotations

import math

from ..ir.types import F32
from .coefficients import C
from .expr import E, clamp, fma, horner, select

__all__ = ["exp", "exp2", "exp10", "expm1", "ldexp", "exp_reduced", "fmt", "digits"]


def fmt(x: E) -> str:
    """Suffix of the coefficient names of this format."""
    return "f32" if x.elem is F32 else "f64"


def digits(x: E) -> int:
    """Stored bits of the significand."""
    return 23 if x.elem is F32 else 52


def _bias(x: E) -> int:
    return 127 if x.elem is F32 else 1023


def _magic(x: E) -> float:
    return 1.5 * 2.0 ** digits(x)


def round_scaled(x: E, factor: float) -> tuple[E, E]:
    """n = rint(x·factor) as a float, and the integer whose low bits hold n."""
    z = fma(x, factor, _magic(x)) if factor != 1 else x + _magic(x)
    return z - _magic(x), z.as_int()


def power_of_two(n: E, x: E) -> E:
    """2ⁿ in the format of ``x`` for an integer n within the normal exponents."""
    return ((n + _bias(x)) << digits(x)).as_float()


def ldexp(p: E, n: E) -> E:
    """p·2ⁿ for |n| up to twice the exponent range, rounding once where the result is subnormal.

    Two factors of about half the exponent: neither overflows, and the first product is exact.
    """
    half = n >> 1
    return p * power_of_two(half, p) * power_of_two(n - half, p)


def _scale_or_flush(x: E, p: E, bits: E, low: float, high: float) -> E:
    """p·2ⁿ by integer addition, 0 for x < low and ∞ for x > high; NaN stays NaN."""
    y = (p.as_int() + (bits << digits(x))).as_float()
    y = select(x < low, 0.0, y)
    return select(x <= high, y, x + math.inf)


def _scale(p: E, n: E) -> E:
    """p·2ⁿ with n a float holding an integer."""
    return ldexp(p, n.to_int())


def exp_reduced(x: E) -> tuple[E, E, E]:
    """n (float), the integer with n in its low bits, and r = x − n·ln2."""
    hi, lo = C["ln2_" + fmt(x)]
    n, bits = round_scaled(x, 1 / math.log(2))
    return n, bits, fma(n, -lo, fma(n, -hi, x))


def exp(x: E) -> E:
    if x.elem is F32:
        _, bits, r = exp_reduced(x)
        return _scale_or_flush(x, horner(r, C["exp_f32"]), bits, -87.33654, 88.72283)
    n, _, r = exp_reduced(clamp(x, -746.0, 710.0))
    return _scale(horner(r, C["exp_f64"]), n)


def exp2(x: E) -> E:
    if x.elem is F32:
        n, bits = round_scaled(x, 1)
        return _scale_or_flush(x, horner(x - n, C["exp2_f32"]), bits, -126.0, 127.99999)
    x = clamp(x, -1076.0, 1025.0)
    n, _ = round_scaled(x, 1)
    return _scale(horner(x - n, C["exp2_f64"]), n)


def exp10(x: E) -> E:
    name = fmt(x)
    hi, lo = C["log10_2_" + name]
    ln10, ln10_low = C["ln10_" + name]
    if x.elem is not F32:
        x = clamp(x, -324.5, 309.0)
    n, bits = round_scaled(x, math.log2(10))
    d = fma(n, -lo, fma(n, -hi, x))
    p = horner(fma(d, ln10, d * ln10_low), C["exp_" + name])
    if x.elem is F32:
        return _scale_or_flush(x, p, bits, -37.929779, 38.53184)
    return _scale(p, n)


def expm1(x: E) -> E:
    """exp(x) − 1 = s·(exp(r) − 1) + (s − 1) with s = 2ⁿ; s is halved throughout so that n = 128 fits."""
    single = x.elem is F32
    c = clamp(x, -20.0 if single else -40.0, 89.0 if single else 710.0)
    n, _, r = exp_reduced(c)
    em = fma(r * r, horner(r, C["expm1_" + fmt(x)]), r)
    s = power_of_two(n.to_int() - 1, x)
    y = fma(s, em, s - 0.5)
    y = select(n.eq(0.0), em, y + y)
    return select(x.eq(0.0), x, y)  # keeps −0
