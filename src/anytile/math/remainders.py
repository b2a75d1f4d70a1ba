"""frem (C's fmod) and remainder (IEEE: quotient to nearest), exact, without a loop.

Long division in base 2^52 on floats: with y_k = |y|·2^(52k), from the largest k down, r loses its multiples of
y_k.  The quotient is below 2^52, r − q·y_k is exact in one fma, and a quotient rounded up is undone by adding
y_k.  f64 takes 41 digits for quotients up to 2^2098; f32 goes through f64, where six reach 2^277.
"""

from __future__ import annotations

import math

from ..ir.types import F32, F64
from .expr import E, either, fabs, flip_sign, fma, negate, select

__all__ = ["frem", "remainder"]

_DIGIT = 52


def _positive_remainder(r: E, y: E, digits: int) -> E:
    """r modulo y for 0 ≤ r < y·2^(52·digits), 0 < y, f64."""
    scaled = [y]
    for _ in range(digits - 1):
        scaled.append(scaled[-1] * 2.0**_DIGIT)
    for yk in reversed(scaled):
        q = (r / yk).row("trunc")
        left = fma(-q, yk, r)
        left = select(left < 0.0, left + yk, left)
        r = select(yk > r, r, left)  # also where yk overflowed
    return r


def _digits(x: E) -> int:
    """Digits of the largest quotient: 2^277 of two f32, 2^2098 of two f64."""
    return 6 if x.elem is F32 else 41


def _invalid(x: E, y: E) -> E:
    """x infinite or NaN, y zero or NaN."""
    return either(negate(fabs(x) < math.inf), negate(fabs(y) > 0.0))


def frem(x: E, y: E) -> E:
    a, b = fabs(x).cast(F64), fabs(y).cast(F64)
    r = _positive_remainder(a, b, _digits(x))
    r = select(b > a, a, r).cast(x.elem)  # type: ignore[arg-type]
    return select(_invalid(x, y), math.nan, flip_sign(r, x))


def remainder(x: E, y: E) -> E:
    """x − y·rint(x/y).  From |x| modulo 2|y| one or two more |y| bring it into [−|y|/2, |y|/2], ties to even."""
    a, b = fabs(x).cast(F64), fabs(y).cast(F64)
    double = b + b
    r = select(double > a, a, _positive_remainder(a, double, _digits(x)))
    once = r - b
    twice = select(once + once >= b, once - b, once)
    r = select(r + r > b, twice, r).cast(x.elem)  # type: ignore[arg-type]
    return select(_invalid(x, y), math.nan, flip_sign(r, x))
