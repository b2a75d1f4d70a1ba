"""pow, cbrt, rcbrt, hypot, rhypot, and the double-double logarithm and exponential behind pow and tgamma.

pow(x, y) = exp(y·log x) multiplies the relative error of the logarithm by up to 745, so log x is computed to
about 2⁻⁶⁴ as a sum of two doubles (Dekker's arithmetic: each rounding error is computed and kept).  f32 has
that precision for free by going through f64.
"""

from __future__ import annotations

import math

from ..ir.types import F32, F64
from .coefficients import C
from .exponential import exp2, exp_reduced, fmt, ldexp, power_of_two
from .expr import E, both, clamp, either, fabs, fma, horner, negate, select, sqrt
from .logarithm import decompose, log2

__all__ = ["pow_", "cbrt", "rcbrt", "hypot", "rhypot", "log_double", "exp_double"]


def log_double(x: E) -> tuple[E, E]:
    """log of a positive finite f64 as high + low, good to about 2⁻⁶⁴.

    log m = 2s + s³·(⅔ + s²·Q(s²)), s = (m − 1)/(m + 1); all but s²·Q is kept double.
    """
    e, m = decompose(x)
    f = m - 1.0
    d = f + 2.0
    d_low = f - (d - 2.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = (fma(-s, d, f) - s * d_low) * inverse
    p = s * s
    p_low = fma(s, s, -p) + (s + s) * s_low
    two_thirds, two_thirds_low = C["two_thirds_f64"]
    t = fma(p, horner(p, C["log_tail_f64"]), two_thirds_low)
    u = t + two_thirds
    u_low = (two_thirds - u) + t
    v = p * u
    v_low = fma(p, u, -v) + fma(p, u_low, p_low * u)
    w = s * v
    w_low = fma(s, v, -w) + fma(s, v_low, s_low * v)
    ln2, ln2_low = C["ln2_f64"]
    s2 = s + s
    m_high = s2 + w
    m_low = (s2 - m_high) + w + (fma(s_low, 2.0, w_low))
    n = e * ln2  # exact: 11 bits times 40
    high = n + m_high
    back = high - n
    low = ((n - (high - back)) + (m_high - back)) + fma(e, ln2_low, m_low)
    total = high + low
    return total, (high - total) + low


def exp_double(high: E, low: E) -> E:
    """exp(high + low) for f64, with gradual underflow."""
    inside = fabs(high) < 800.0
    n, _, r = exp_reduced(clamp(high, -746.0, 710.0))
    p = horner(r, C["exp_f64"])
    return ldexp(fma(p, select(inside, low, 0.0), p), n.to_int())


def _pow_magnitude(a: E, y: E) -> E:
    """a**y for positive finite a."""
    if a.elem is F32:
        # In f64 even |y·log₂ a| = 150 leaves an error below 2⁻⁴⁰.
        wide = clamp(y.cast(F64) * log2(a.cast(F64)), -1000.0, 1000.0)
        return exp2(wide).cast(F32)
    log, log_low = log_double(a)
    high = y * log
    return exp_double(high, fma(y, log, -high) + y * log_low)


def pow_(x: E, y: E) -> E:
    """C's pow with all its special values."""
    inf = math.inf
    a, b = fabs(x), fabs(y)
    r = _pow_magnitude(a, y)
    # |x| of 0 or ∞: 0 or ∞ by the sign of y
    end = either(a.eq(0.0), a.eq(inf))
    r = select(end, select(a.eq(inf).row("xor", y > 0.0), 0.0, inf, like=x), r)
    # |y| = ∞: by which side of 1 |x| lies on
    beyond = select((a > 1.0).row("xor", y > 0.0), 0.0, inf, like=x)
    r = select(b.eq(inf), select(a.eq(1.0), 1.0, beyond), r)
    # a negative base: the sign where y is odd, NaN where it is no integer
    whole = y.row("trunc").eq(y)
    half = y * 0.5
    odd = both(whole, half.row("trunc").ne(half))
    negative = x.as_int() < 0
    r = select(both(negative, odd), -r, r)
    fraction = both(both(x < 0.0, negate(whole)), both(a < inf, b < inf))
    r = select(fraction, math.nan, r)
    r = select(either(x.is_nan, y.is_nan), x + y, r)
    return select(either(x.eq(1.0), y.eq(0.0)), 1.0, r)


def _cube_root_parts(x: E) -> tuple[E, E, E]:
    """For |x| = m·2^(3k): m in [0.35, 2.83], 1/∛m nearly to the last place, and k."""
    e, m = decompose(fabs(x))
    k = e * (1 / 3)
    magic = 1.5 * 2.0 ** (23 if x.elem is F32 else 52)
    k = (k + magic) - magic
    j = fma(k, -3.0, e)
    y = horner(m, C["rcbrt_" + fmt(x)])
    y = y * select(j.eq(0.0), 1.0, select(j > 0.0, 2 ** (-1 / 3), 2 ** (1 / 3), like=x))
    m = m * select(j.eq(0.0), 1.0, select(j > 0.0, 2.0, 0.5, like=x))
    for _ in range(1 if x.elem is F32 else 2):  # the guess has 14 bits, each step of Newton's doubles them
        y = fma(y * (1 / 3), fma(-m * y * y, y, 1.0), y)
    return m, y, k.to_int()


def cbrt(x: E) -> E:
    m, y, k = _cube_root_parts(x)
    c = m * y * y
    # One Newton step on c³ = m with the residual m − c³ computed from an exact square.
    square = c * c
    residual = fma(-square, c, m) - fma(c, c, -square) * c
    c = fma(residual, y * y * (1 / 3), c)
    c = (c * power_of_two(k, x)).row("copysign", x)
    return select(either(x.eq(0.0), (x - x).ne(0.0)), x, c)


def rcbrt(x: E) -> E:
    m, y, k = _cube_root_parts(x)
    square = y * y
    cube = square * y
    cube_low = fma(square, y, -cube) + fma(y, y, -square) * y
    y = fma(y * (1 / 3), fma(-m, cube, 1.0) - m * cube_low, y)
    y = (y * power_of_two(0 - k, x)).row("copysign", x)
    return select(x.eq(0.0), 1.0 / x, select((x - x).ne(0.0), 1.0 / x, y))


def _scaled_length(x: E, y: E) -> tuple[E, E, E]:
    """√((x·s)² + (y·s)²), the power of two s that keeps it in range, and whether either is infinite."""
    a, b = fabs(x), fabs(y)
    most = a.row("fmax", b)
    large, small = most > 2.0**500, most < 2.0**-500
    s = select(large, 2.0**-600, select(small, 2.0**600, 1.0, like=x))
    a, b = a * s, b * s
    high, low = a.row("fmax", b), a.row("fmin", b)
    # The sum of squares double: its rounding would cost half a place more.
    square = high * high
    total = fma(low, low, square)
    lost = fma(high, high, -square) + fma(low, low, square - total)
    h = sqrt(total)
    h = select(h > 0.0, h + lost / (h + h), h)
    return select(either(x.is_nan, y.is_nan), x + y, h), s, most.eq(math.inf)


def hypot(x: E, y: E) -> E:
    h, s, infinite = _scaled_length(x, y)
    h = h * select(s.eq(1.0), 1.0, 1.0 / s)
    return select(infinite, math.inf, h)


def rhypot(x: E, y: E) -> E:
    h, s, infinite = _scaled_length(x, y)
    return select(infinite, 0.0, s / h)
