"""Bessel functions of order 0 and 1 in f64: J, Y and the modified I.

J and Y: polynomials in x² below 4.5 and around 6.25 up to 8 (Y adds (2/π)·J·log x, and −2/(πx) for order
1); beyond 8 Hankel's form √(2/πx)·(P·cos χ − Q·sin χ) with χ = x − π/4 (− π/2), P and Q polynomials in 1/x².
The error is small against 1 or the amplitude, whichever is larger: near a zero it is absolute.

I: a polynomial in x² below 8, eˣ/√x times a polynomial in 1/x beyond.
"""

from __future__ import annotations

import math

from .coefficients import C
from .exponential import exp
from .expr import E, fabs, fma, horner, select, sqrt
from .logarithm import log
from .trigonometric import cos, sin

__all__ = ["j0", "j1", "y0", "y1", "cyl_bessel_i0", "cyl_bessel_i1"]

_ROOT_HALF = math.sqrt(0.5)


def _hankel(n: int, a: E) -> tuple[E, E]:
    """J and Y of order n for a ≥ 8.  cos χ and sin χ come from cos x ± sin x over √2."""
    inverse = 1.0 / a
    t = inverse * inverse
    p = horner(t, C[f"bessel{n}_p_f64"])
    q = inverse * horner(t, C[f"bessel{n}_q_f64"])
    s, c = sin(a) * _ROOT_HALF, cos(a) * _ROOT_HALF
    plus, minus = s + c, s - c
    cos_chi, sin_chi = (plus, minus) if n == 0 else (minus, -plus)
    amplitude = sqrt(inverse * (2 / math.pi))
    j = amplitude * (p * cos_chi - q * sin_chi)
    y = amplitude * (p * sin_chi + q * cos_chi)
    return j, y


def _j_low(n: int, a: E) -> E:
    p = horner(a * a, C[f"j{n}_low_f64"])
    return a * p if n else p


def _j(n: int, x: E) -> E:
    a = fabs(x)
    middle = horner(a - 6.25, C[f"j{n}_middle_f64"])
    far, _ = _hankel(n, a)
    y = select(a < 4.5, _j_low(n, a), select(a < 8.0, middle, far))
    y = select(a.eq(math.inf), 0.0, y)
    return select(x < 0.0, -y, y) if n else y


def _y(n: int, x: E) -> E:
    regular = horner(x * x, C[f"y{n}_low_f64"])
    singular = _j_low(n, x) * log(x)
    low = fma(singular, 2 / math.pi, x * regular if n else regular)
    if n:
        low = low - (2 / math.pi) / x
    middle = horner(x - 6.25, C[f"y{n}_middle_f64"])
    _, far = _hankel(n, x)
    y = select(x < 4.5, low, select(x < 8.0, middle, far))
    y = select(x.eq(math.inf), 0.0, y)
    y = select(x.eq(0.0), -math.inf, y)
    return select(x < 0.0, math.nan, y)


def _i(n: int, x: E) -> E:
    a = fabs(x)
    low = horner(a * a, C[f"i{n}_low_f64"])
    low = a * low if n else low
    inverse = 1.0 / a
    half = exp(a * 0.5)  # eˣ overflows before eˣ/√x does
    far = half * (half * (horner(inverse, C[f"i{n}_high_f64"]) * sqrt(inverse)))
    y = select(a < 8.0, low, select(a > 720.0, math.inf, far))
    y = select(x.is_nan, x, y)
    return select(x < 0.0, -y, y) if n else y


def j0(x: E) -> E:
    return _j(0, x)


def j1(x: E) -> E:
    return _j(1, x)


def y0(x: E) -> E:
    return _y(0, x)


def y1(x: E) -> E:
    return _y(1, x)


def cyl_bessel_i0(x: E) -> E:
    return _i(0, x)


def cyl_bessel_i1(x: E) -> E:
    return _i(1, x)
