"""sin, cos, tan, sinpi, cospi and the inverse functions.

Reduction to r in [−π/4, π/4] and a quadrant q: x = (π/2)·(q + d), r = (π/2)·d; then sin r and cos r are
minimax polynomials and the quadrant chooses and signs.

f32 angles of any size are reduced in f64 without a table lookup.  Write |x| = x'·2^(32c) with c = 0 … 3, so
x' < 2³² is a multiple of 2⁻²³ (for c > 0), and x·2/π modulo 4 needs 2^(32c)·2/π only modulo 2²⁵.  That
constant in parts of 29 + 29 + 53 bits makes the first two products with the 24-bit x' exact; their
integers are dropped before adding.  The error is about 2⁻⁵⁵ quadrants, and no f32 lies closer than 2⁻³⁰ to
a multiple of π/2, so r keeps the 24 bits it needs.
"""

from __future__ import annotations

from ..ir.types import F32, F64, I32
from .coefficients import C
from .expr import E, fabs, flip_sign, fma, horner, select
from .exponential import fmt

__all__ = ["sin", "cos"]


def nearest(x: E) -> E:
    """rint(x) for |x| < 2^(digits − 1)."""
    magic = 1.5 * 2.0 ** (23 if x.elem is F32 else 52)
    return (x + magic) - magic


def _quadrant_f32(x: E) -> tuple[E, E]:
    """For f32 ``x``: q modulo 4 as an i32 and r as f32."""
    a = fabs(x)
    wide = a.cast(F64)
    chunks = [C[f"two_over_pi_{c}"] for c in range(4)]
    parts = [wide.like(v) for v in chunks[0]]
    scaled = wide
    for c in range(1, 4):
        beyond = a >= 2.0 ** (32 * c)
        scaled = select(beyond, wide * 2.0 ** (-32 * c), scaled)
        parts = [select(beyond, v, p) for v, p in zip(chunks[c], parts)]
    top, mid = scaled * parts[0], scaled * parts[1]
    # Whole turns (multiples of 4) go first, then whole quadrants.
    top = fma((top * 0.25).row("rint"), -4.0, top)  # up to 2⁵⁵: too large for nearest()
    mid = fma(nearest(mid * 0.25), -4.0, mid)
    low = scaled * parts[2]
    q1 = nearest(top)
    q2 = nearest((top - q1) + (mid + low))
    d = ((top - q1) + (mid - q2)) + low
    r = (d * C["pi_2_f64"][0]).cast(F32)
    q = (q1 + q2).row("fptosi", to=I32)
    return q, r


def sin_cos_reduced(r: E, low: E | None = None) -> tuple[E, E]:
    """sin and cos of r + low for |r| ≤ π/4, |low| ≤ ulp(r)."""
    r2 = r * r
    s = r2 * r * horner(r2, C["sin_" + fmt(r)])
    c = r2 * horner(r2, C["cos_" + fmt(r)])
    if low is None:
        return r + s, fma(r2, c - 0.5, 1.0)
    half = r2 * 0.5
    one = 1.0 - half
    # cos: 1 − r²/2 rounded, its error, the rest of the series, and −r·low
    return r + fma(low, 1.0 - half, s), one + (((1.0 - one) - half) + fma(r2, c, -(r * low)))


def _signed_quadrant(x: E, q: E, s: E, c: E) -> E:
    """The sine of quadrant q: s, c, −s, −c."""
    odd = (q & 1).ne(0)
    return flip_sign(select(odd, c, s), q << (x.elem.bits - 2))


def sin(x: E) -> E:
    q, r = _quadrant_f32(x)
    s, c = sin_cos_reduced(r)
    return flip_sign(_signed_quadrant(x, q, s, c), x)


def cos(x: E) -> E:
    q, r = _quadrant_f32(x)
    s, c = sin_cos_reduced(r)
    return _signed_quadrant(x, q + 1, s, c)
