"""floor, ceil, trunc, rint, round and functions of a float's bits: copysign, nextafter, logb, fdim."""

from __future__ import annotations

import math

from ..ir.types import F32
from .exponential import digits
from .expr import E, both, copysign, either, fabs, flip_sign, select

__all__ = ["floor", "ceil", "trunc", "rint", "round_", "nextafter", "logb", "fdim"]


def rint(x: E) -> E:
    """Adding 2^digits leaves no room for a fraction."""
    big = 2.0 ** digits(x)
    a = fabs(x)
    return select(a < big, flip_sign((a + big) - big, x), x)


def floor(x: E) -> E:
    r = rint(x)
    return copysign(select(r > x, r - 1.0, r), x)


def ceil(x: E) -> E:
    r = rint(x)
    return copysign(select(r < x, r + 1.0, r), x)


def trunc(x: E) -> E:
    a = fabs(x)
    r = rint(a)
    return copysign(select(r > a, r - 1.0, r), x)


def round_(x: E) -> E:
    a = fabs(x)
    t = trunc(a)
    return copysign(select(a - t >= 0.5, t + 1.0, t), x)


def nextafter(x: E, y: E) -> E:
    """Neighbouring floats have neighbouring bits; only the step across 0 is special."""
    i = x.as_int()
    away = (x < y).row("xor", i < 0)
    step = select(away, i + 1, i - 1).as_float()
    from_zero = copysign(x.like(2.0**-149 if x.elem is F32 else 2.0**-1074), y)
    r = select(x.eq(0.0), from_zero, step)
    r = select(x.eq(y), y, r)
    return select(either(x.is_nan, y.is_nan), x + y, r)


def logb(x: E) -> E:
    """The exponent of |x|: −∞ at 0, ∞ at ±∞."""
    d = digits(x)
    bias, least = (127, 2.0**-126) if x.elem is F32 else (1023, 2.0**-1022)
    a = fabs(x)
    tiny = a < least
    e = select(tiny, a * 2.0 ** (d + 1), a).as_int().lshr(d) - select(tiny, bias + d + 1, bias, like=x.as_int())
    y = select(a < math.inf, e.to_float(), a)
    return select(a.eq(0.0), -math.inf, y)


def fdim(x: E, y: E) -> E:
    """max(x − y, 0); NaN if either is."""
    return select(both(x <= y, y >= x), 0.0, x - y)
