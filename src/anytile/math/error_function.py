"""erf, erfc and their relatives.

f32 erf: x + x·Q(x²) up to 1, beyond that 1 − 2^P(x) where P approximates log₂(erfc x).  erfc(1) is 0.157, so
2^P needs three bits less than the result and a short polynomial does.
"""

from __future__ import annotations

from .coefficients import C
from .expr import E, clamp, copysign, fabs, fma, horner, select
from .exponential import power_of_two, round_scaled

__all__ = ["erf"]


def erf(x: E) -> E:
    """f32."""
    a = fabs(x)
    x2 = x * x
    small = fma(x, horner(x2, C["erf_f32"]), x)
    p = horner(clamp(a, None, 4.0), C["log2_erfc_f32"])
    n, bits = round_scaled(p, 1)
    tail = (horner(p - n, C["exp2_short_f32"]).as_int() + (bits << 23)).as_float()
    return select(a >= 1.0, copysign(1.0 - tail, x), small)
