"""erf, erfc, erfcx, the normal distribution and the inverses.

f32 erf: x + x·Q(x²) up to 1, beyond that 1 − 2^P(x) where P approximates log₂(erfc x).  erfc(1) is 0.157, so
2^P needs three bits less than the result and a short polynomial does.

f64: erfc(x) = exp(−x²)·erfcx(x) for x ≥ 0, and (1 + 2x)·erfcx(x) is one polynomial in (x − 4)/(x + 4) over the
whole half-line (after Shepherd and Laframboise, Math. Comp. 36, 1981).  x² is kept in two parts because
its rounding error would be multiplied by x².

The inverses: erfinv(x)/x is a smooth function of w = −log(1 − x²) (after Giles, "Approximating the erfinv
function", GPU Computing Gems 2, 2012), in pieces; erfcinv(y) = erfinv(1 − y) has the same w = −log(y(2 − y)).
"""

from __future__ import annotations

import math

from ..ir.types import F32
from .coefficients import C
from .exponential import exp, exp_reduced, ldexp, round_scaled
from .expr import E, clamp, copysign, fabs, fma, horner, select, sqrt
from .logarithm import log

__all__ = ["erf", "erfc", "erfcx", "erfinv", "erfcinv", "normcdf", "normcdfinv"]


def erf(x: E) -> E:
    if x.elem is not F32:
        return _erf_f64(x)
    a = fabs(x)
    x2 = x * x
    small = fma(x, horner(x2, C["erf_f32"]), x)
    p = horner(clamp(a, None, 4.0), C["log2_erfc_f32"])
    n, bits = round_scaled(p, 1)
    tail = (horner(p - n, C["exp2_short_f32"]).as_int() + (bits << 23)).as_float()
    return select(a >= 1.0, copysign(1.0 - tail, x), small)


def _erf_small(x: E) -> E:
    """|x| ≤ 1."""
    return fma(x, horner(x * x, C["erf_f64"]), x)


def _erfcx_positive(a: E) -> E:
    t = (a - 4.0) / (a + 4.0)
    t = select(a < 1e300, t, 1.0)
    p = horner(t, C["erfcx_f64"])
    return p / fma(a, 2.0, 1.0)


def _erfc_positive(a: E, low: E | float = 0.0) -> E:
    """erfc(a + low) for a ≥ 0, |low| ≤ ulp(a)."""
    square = a * a
    lost = fma(a, a, -square)
    if isinstance(low, E):
        lost = fma(a + a, low, lost)
    square = select(a > 28.0, 784.0, square)
    lost = select(a > 28.0, 0.0, lost)
    n, _, r = exp_reduced(-square)
    p = horner(r, C["exp_f64"])
    p = fma(p, -lost, p) * _erfcx_positive(a)
    return ldexp(p, n.to_int())


def _erf_f64(x: E) -> E:
    a = fabs(x)
    return select(a >= 1.0, copysign(1.0 - _erfc_positive(a), x), _erf_small(x))


def erfc(x: E) -> E:
    a = fabs(x)
    far = _erfc_positive(a)
    far = select(x < 0.0, 2.0 - far, far)
    return select(a < 0.5, 1.0 - _erf_small(x), far)


def erfcx(x: E) -> E:
    """exp(x²)·erfc(x)."""
    a = fabs(x)
    far = _erfcx_positive(a)
    square = a * a
    lost = select(a < 30.0, fma(a, a, -square), 0.0)
    e = exp(square)
    left = 2.0 * (e * (1.0 + lost)) - far  # one product, so that ∞ stays
    return select(x < 0.0, left, far)


def normcdf(x: E) -> E:
    """½·erfc(−x/√2)."""
    root, root_low = C["sqrt_half_f64"]
    a = fabs(x)
    z = a * root
    z_low = select(z < 1e10, fma(a, root, -z) + a * root_low, 0.0)
    tail = 0.5 * _erfc_positive(z, z_low)
    return select(x > 0.0, 1.0 - tail, select(z < 0.5, fma(_erf_small(clamp(-z, -0.5, None)), 0.5, 0.5), tail))


def _inverse_ratio(w: E, pieces: int) -> E:
    """erfinv(x)/x for w = −log(1 − x²); three pieces reach the last x below 1, five the smallest 1 − x."""
    root = sqrt(w)
    y = horner(w - 3.125, C["erfinv_0_f64"])
    for i, (low, center) in enumerate(((2.5, 3.25), (4.0, 6.0), (8.0, 11.0), (14.0, 20.75))[: pieces - 1], 1):
        y = select(root >= low, horner(root - center, C[f"erfinv_{i}_f64"]), y)
    return y


def erfinv(x: E) -> E:
    a = fabs(x)
    y = x * _inverse_ratio(-log((1.0 - a) * (1.0 + a)), 3)
    return select(a.eq(1.0), copysign(x.like(math.inf), x), y)


def erfcinv(y: E) -> E:
    r = (1.0 - y) * _inverse_ratio(-log(y * (2.0 - y)), 5)
    r = select(y.eq(0.0), math.inf, r)
    return select(y.eq(2.0), -math.inf, r)


def normcdfinv(p: E) -> E:
    """−√2·erfcinv(2p)."""
    return erfcinv(p + p) * -math.sqrt(2)
