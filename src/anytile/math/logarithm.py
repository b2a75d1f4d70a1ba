"""log, log2, log10, log1p.

x = 2ᵉ·(1 + f) with 1 + f in [√½, √2), found by integer arithmetic on the bits, and log x = e·ln2 + log(1 + f).
f32: log(1 + f) = f + f²·Q(f), without division.  f64: with s = f/(2 + f) the odd series in s converges fast
enough to be worth the division; written as f − (f²/2 − s·(f²/2 + s²·Q(s²))) so that the leading f is exact.
Other bases multiply by log_b(e) in two parts, again with the leading f kept apart.
"""

from __future__ import annotations

import math

from ..ir.types import F32
from .coefficients import C
from .exponential import digits, fmt, power_of_two
from .expr import E, fma, horner, select

__all__ = ["log", "log2", "log10", "log1p", "decompose"]


def _sqrt_half_bits(x: E) -> int:
    return 0x3F3504F3 if x.elem is F32 else 0x3FE6A09E667F3BCD


def _split_bits(i: E, x: E) -> tuple[E, E]:
    """From the bits of a positive normal number: e as an integer and m in [√½, √2) with number = 2ᵉ·m."""
    base = _sqrt_half_bits(x)
    d = i - base
    return d >> digits(x), ((d & ((1 << digits(x)) - 1)) + base).as_float()


def decompose(x: E) -> tuple[E, E]:
    """e (a float) and m in [√½, √2) with x = 2ᵉ·m for x > 0, subnormals included."""
    up = digits(x) + 1
    tiny = x < (2.0**-126 if x.elem is F32 else 2.0**-1022)
    e, m = _split_bits(select(tiny, x * 2.0**up, x).as_int(), x)
    return (e + select(tiny, -up, 0, like=e)).to_float(), m


def _tail(f: E) -> E:
    """log(1 + f) − f."""
    if f.elem is F32:
        return f * f * horner(f, C["log_f32"])
    half = f * f * 0.5
    s = f / (f + 2.0)
    s2 = s * s
    return fma(s, fma(s2, horner(s2, C["log_f64"]), half), -half)


def _ends(x: E, y: E) -> E:
    """The values of a logarithm at 0, below, at ∞ and NaN."""
    y = select(x > 0.0, y, select(x.eq(0.0), -math.inf, math.nan, like=x))
    return select(x.eq(math.inf), x, y)


def log(x: E) -> E:
    hi, lo = C["ln2_" + fmt(x)]
    e, m = decompose(x)
    f = m - 1.0
    return _ends(x, fma(e, hi, f + fma(e, lo, _tail(f))))


def _other_base(x: E, base: str) -> tuple[E, E, E]:
    """e, and log_b(1 + f) as leading part f·L and the rest."""
    hi, lo = C[f"{base}_e_{fmt(x)}"]
    e, m = decompose(x)
    f = m - 1.0
    return e, f, fma(_tail(f), hi, f * lo)


def log2(x: E) -> E:
    hi, _ = C["log2_e_" + fmt(x)]
    e, f, rest = _other_base(x, "log2")
    return _ends(x, e + fma(f, hi, rest))


def log10(x: E) -> E:
    hi, _ = C["log10_e_" + fmt(x)]
    two, two_low = C["log10_2_" + fmt(x)]
    e, f, rest = _other_base(x, "log10")
    return _ends(x, fma(e, two, fma(f, hi, fma(e, two_low, rest))))


def log1p(x: E) -> E:
    """log(u) with u = 1 + x; what rounding u lost goes into f, scaled with it."""
    hi, lo = C["ln2_" + fmt(x)]
    u = x + 1.0
    lost = select(x < 1.0, x - (u - 1.0), (x - u) + 1.0)
    e, m = _split_bits(u.as_int(), x)
    scale = power_of_two((0 - e).row("smax", -64), x)  # beyond 2⁶⁴ nothing worth having was lost
    n = e.to_float()
    f = select(e.eq(0), x, fma(lost, scale, m - 1.0))
    y = _ends(u, fma(n, hi, f + fma(n, lo, _tail(f))))
    return select(x.eq(0.0), x, y)  # keeps −0
