"""lgamma and tgamma in f64.

Both use Stirling's series for x ≥ 8, with a fitted remainder.  Below, lgamma takes polynomials around its
zeros 1 and 2 (which keeps the relative accuracy there) after shifting the argument; tgamma shifts it up
beyond 8 and divides.  Negative arguments are reflected.
"""

from __future__ import annotations

import math

from .coefficients import C
from .expr import E, both, fabs, fma, horner, select
from .logarithm import log
from .power import exp_double, log_double
from .trigonometric import sinpi

__all__ = ["lgamma", "tgamma"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _stirling_rest(x: E) -> E:
    """log Γ(x) − ((x − ½)·log x − x + ½·log 2π) for x ≥ 8."""
    inverse = 1.0 / x
    return inverse * horner(inverse * inverse, C["stirling_f64"])


def _lgamma_positive(x: E) -> E:
    # z in [0.74, 2.5] with Γ(x) = p·Γ(z), or Γ(z)/x below ¾
    tiny = x < 0.75
    z = select(tiny, x + 1.0, x)
    p = x.like(1.0)
    for _ in range(6):
        above = z > 2.5
        lower = z - 1.0
        p = select(above, p * lower, p)
        z = select(above, lower, z)
    one, two = z - 1.0, z - 2.0
    near = select(z < 1.5, one * horner(one, C["lgamma_one_f64"]), two * horner(two, C["lgamma_two_f64"]))
    large = x >= 8.0
    log_of = log(select(large, x, select(tiny, x, p)))
    far = fma(x - 0.5, log_of - 1.0, _stirling_rest(x) + (_HALF_LOG_2PI - 0.5))
    near = near + select(tiny, -log_of, log_of)
    return select(large, select(x > 1e17, x * (log_of - 1.0), far), near)


def lgamma(x: E) -> E:
    """log |Γ(x)|; ∞ at the poles 0, −1, −2 …  Reflection: log π − log |x·sin πx| − log Γ(−x) for x < 0."""
    a = fabs(x)
    y = _lgamma_positive(a)
    s = fabs(sinpi(a))
    reflected = log(math.pi / (a * s)) - y
    y = select(both(x < 0.0, a > 1e-20), select(s.eq(0.0), math.inf, reflected), y)
    return select(a.eq(math.inf), math.inf, y)


def tgamma(x: E) -> E:
    """Γ(x); NaN at negative integers and −∞, ±∞ at ±0."""
    a = fabs(x)
    up, p, steps = a, x.like(1.0), x.like(0.0)
    for _ in range(8):
        below = up < 8.0
        p = select(below, p * up, p)
        steps = select(below, steps + 1.0, steps)
        up = a + steps
    up_low = a - (up - steps)
    up = select(up > 180.0, 180.0, up)
    log_high, log_low = log_double(up)
    # (up − ½)·log up − up, in two parts
    k = up - 0.5
    high = k * log_high
    low = fma(k, log_high, -high) + fma(up_low, log_high, k * log_low)  # d log Γ(up) ≈ log up · d up
    total = high - up
    back = total - high
    low = low + ((high - (total - back)) - (up + back))
    rest = _stirling_rest(up)
    exponent = total + rest
    low = low + (rest - (exponent - total))
    # Γ(x) = −π/(|x|·sin(π|x|)·Γ(|x|)) for x < 0: the exponential of the opposite, which underflows gradually
    mirror = x < 0.0
    g = exp_double(select(mirror, -exponent, exponent), select(mirror, -low, low))
    s = sinpi(a)
    mirrored = select(s.eq(0.0), math.nan, g * (p * -math.sqrt(math.pi / 2) / (a * s)))
    g = select(a > 171.7, math.inf, g * math.sqrt(2 * math.pi) / p)
    g = select(mirror, mirrored, g)
    g = select(a < 1e-20, 1.0 / x, g)
    g = select(x.eq(-math.inf), math.nan, g)
    return select(x.is_nan, x, g)
