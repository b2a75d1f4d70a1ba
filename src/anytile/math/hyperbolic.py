"""tanh, sinh, cosh and their inverses.

tanh: x + x³·Q(x²) near 0, elsewhere 1 − 2/(exp(2|x|) + 1), signed.  The subtraction loses little there,
because 2/(…) ≤ ½.  The inverse functions are log1p of an argument without cancellation.
"""

from __future__ import annotations

import math

from ..ir.types import F32
from .coefficients import C
from .exponential import exp_reduced, fmt, power_of_two
from .expr import E, clamp, copysign, fabs, fma, horner, select, sqrt
from .logarithm import log1p

__all__ = ["tanh", "sinh", "cosh", "asinh", "acosh", "atanh"]


def tanh(x: E) -> E:
    name = fmt(x)
    a = fabs(x)
    a2 = a * a
    small = fma(a * a2, horner(a2, C["tanh_" + name]), a)
    n, _, r = exp_reduced(clamp(a, None, 10.0 if x.elem is F32 else 20.0) * 2.0)
    e = horner(r, C["exp_" + name]) * power_of_two(n.to_int(), x)
    return copysign(select(a >= 0.6, 1.0 - 2.0 / (e + 1.0), small), x)


def _half_exp(a: E) -> E:
    """exp(a)/2 for a ≥ 0; ∞ only where that overflows."""
    n, _, r = exp_reduced(clamp(a, None, 89.9 if a.elem is F32 else 711.0))
    quarter = horner(r, C["exp_" + fmt(a)]) * power_of_two(n.to_int() - 2, a)
    return quarter + quarter


def sinh(x: E) -> E:
    a = fabs(x)
    x2 = x * x
    small = fma(x * x2, horner(x2, C["sinh_" + fmt(x)]), x)
    e = _half_exp(a)
    return select(a > 1.0, copysign(e - 0.25 / e, x), small)


def cosh(x: E) -> E:
    e = _half_exp(fabs(x))
    return e + 0.25 / e


def asinh(x: E) -> E:
    """log1p(a + a²/(1 + √(1 + a²))); log 2a where a² could overflow."""
    a = fabs(x)
    huge = a > 2.0**60
    b = select(huge, 1.0, a)
    b2 = b * b
    y = log1p(select(huge, a, b + b2 / (1.0 + sqrt(b2 + 1.0))))
    y = y + select(huge, math.log(2), 0.0, like=x)
    return select(a < 2.0**-28, x, copysign(y, x))


def acosh(x: E) -> E:
    """log1p(t + √(2t + t²)) with t = x − 1; log 2x for large x."""
    huge = x > 2.0**60
    t = select(huge, 1.0, x - 1.0)
    y = log1p(select(huge, x, t + sqrt(fma(t, t, t + t))))
    y = y + select(huge, math.log(2), 0.0, like=x)
    return select(x >= 1.0, y, math.nan)


def atanh(x: E) -> E:
    """½·log1p(2a/(1 − a))."""
    a = fabs(x)
    y = 0.5 * log1p((a + a) / (1.0 - a))
    y = select(a > 1.0, math.nan, y)
    return select(a < 2.0**-28, x, copysign(y, x))
