"""asin, acos, atan, atan2.

One polynomial each: atan on [0, 1], with π/2 − atan(1/x) beyond; asin on [0, ½], with
asin x = π/2 − 2·asin √((1 − x)/2) beyond.
"""

from __future__ import annotations

from .coefficients import C
from .exponential import fmt
from .expr import E, copysign, either, fabs, flip_sign, fma, horner, select, sqrt

__all__ = ["asin", "acos", "atan", "atan2"]


def _odd_series(name: str, x: E) -> E:
    """x³·Q(x²): what the function has beyond x."""
    x2 = x * x
    return x * x2 * horner(x2, C[f"{name}_{fmt(x)}"])


def atan(x: E) -> E:
    hi, lo = C["pi_2_" + fmt(x)]
    a = fabs(x)
    beyond = a > 1.0
    t = select(beyond, 1.0 / a, a)
    p = _odd_series("atan", t)
    y = select(beyond, hi - (t - (lo - p)), t + p)
    return copysign(y, x)


def atan2(y: E, x: E) -> E:
    name = fmt(x)
    half, half_low = C["pi_2_" + name]
    full, full_low = C["pi_" + name]
    a, b = fabs(x), fabs(y)
    steep = b > a
    large, small = select(steep, b, a), select(steep, a, b)
    t = small / large
    t = select(large.eq(0.0), 0.0, select(small.eq(float("inf")), 1.0, t))
    p = _odd_series("atan", t)
    left = x.as_int() < 0
    # the angle is base ± (t + p), the base one of 0, π/2, π
    minus = steep.row("xor", left)
    base = select(steep, half, select(left, full, 0.0, like=x))
    base_low = select(steep, half_low, select(left, full_low, 0.0, like=x))
    signed = lambda v: select(minus, -v, v)  # noqa: E731
    angle = base + (signed(t) + (base_low + signed(p)))
    angle = select(base.eq(0.0), t + p, angle)
    return select(either(x.is_nan, y.is_nan), x + y, copysign(angle, y))


def _folded(x: E) -> tuple[E, E, E, E]:
    """|x| > ½, the argument of asin (x, or √((1 − |x|)/2)), its tail x³Q, and what the square root lost."""
    a = fabs(x)
    beyond = a > 0.5
    z = (1.0 - a) * 0.5
    root = sqrt(z)
    t = select(beyond, root, a)
    lost = select(beyond, fma(-root, root, z) / (root + root), 0.0)
    lost = select(z.eq(0.0), 0.0, lost)
    return beyond, t, _odd_series("asin", t), lost


def asin(x: E) -> E:
    hi, lo = C["pi_2_" + fmt(x)]
    beyond, t, p, lost = _folded(x)
    y = select(beyond, hi - (2.0 * t - (lo - 2.0 * (p + lost))), t + p)
    return copysign(y, x)


def acos(x: E) -> E:
    hi, lo = C["pi_2_" + fmt(x)]
    beyond, t, p, lost = _folded(x)
    doubled = 2.0 * (t + (p + lost))
    outside = select(x < 0.0, 2.0 * (hi - (t - (lo - (p + lost)))), doubled)
    inside = hi - (flip_sign(t, x) - (lo - flip_sign(p, x)))
    return select(beyond, outside, inside)
