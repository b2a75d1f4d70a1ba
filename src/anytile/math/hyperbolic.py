"""tanh, sinh, cosh and their inverses.

tanh: x + x³·Q(x²) near 0, elsewhere 1 − 2/(exp(2|x|) + 1), signed.  The subtraction loses nothing there,
because 2/(…) ≤ ½.
"""

from __future__ import annotations

from ..ir.types import F32
from .coefficients import C
from .expr import E, clamp, copysign, fabs, fma, horner, select
from .exponential import exp_reduced, fmt, power_of_two

__all__ = ["tanh"]


def tanh(x: E) -> E:
    """f32."""
    a = fabs(x)
    x2 = x * x
    small = fma(x * x2, horner(x2, C["tanh_f32"]), x)
    n, _, r = exp_reduced(clamp(a, None, 10.0) * 2.0)
    e = horner(r, C["exp_f32"]) * power_of_two(n.to_int(), x)
    large = copysign(1.0 - 2.0 / (e + 1.0), x)
    return select(a >= 0.6, large, small)
