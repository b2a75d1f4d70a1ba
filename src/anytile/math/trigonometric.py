"""sin, cos, tan, sinpi, cospi.

Reduction to d in [−½, ½] and a quadrant q with x = (π/2)·(q + d), then r = (π/2)·d; sin r and cos r are
minimax polynomials, and the quadrant chooses and signs.  Angles of any size are right to the last place or
two.  No table is looked up (a tile has no cheap gather): what depends on the exponent is selected.

f32 is reduced in f64.  Write |x| = x'·2^(32c) with c = 0 … 3, so x' < 2³² is a multiple of 2⁻²³ (for c > 0),
and x·2/π modulo 4 needs 2^(32c)·2/π only modulo 2²⁵.  That constant in parts of 29 + 29 + 53 bits makes the
first two products with the 24-bit x' exact; their integers are dropped before adding.  The error is about
2⁻⁵⁵ quadrants, and no f32 lies closer than 2⁻³⁰ to a multiple of π/2, so r keeps the 24 bits it needs.

Most angles are small.  For f32 below `NEAR`, three parts of π/2 are subtracted n times in f32 (Cody and Waite, "Software Manual for
the Elementary Functions", 1980); a target that can branch on a whole vector asks for `sin_near` and `cos_near` first.

f64 uses the method of Payne and Hanek ("Radian reduction for trigonometric functions", SIGNUM 1983): the
significand as an integer times a 192-bit window of 2/π, chosen by the exponent, modulo 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.types import F32, F64, I32
from .coefficients import C
from .exponential import fmt
from .expr import E, copysign, fabs, flip_sign, fma, horner, select

__all__ = ["NEAR", "cos", "cos_near", "cospi", "sin", "sin_near", "sinpi", "tan"]

NEAR = 2.0**15


def nearest(x: E) -> E:
    """rint(x) for |x| < 2^(digits − 1)."""
    magic = 1.5 * 2.0 ** (23 if x.elem is F32 else 52)
    return (x + magic) - magic


def _quadrant_f32(x: E) -> tuple[E, E]:
    """For f32 ``x``: q modulo 4 as an i32, and r of |x| as f32."""
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
    return (q1 + q2).row("fptosi", to=I32), r


def _window(words: Sequence[int], index: E, count: int) -> list[E]:
    """words[index : index + count], by selecting halves: log₂(len) rounds on ever shorter lists."""
    values: list[E | int] = list(words)
    step = 1 << (len(words) - count).bit_length() - 1
    while step:
        chosen = (index & step).ne(0)
        keep = step - 1 + count
        values = [
            select(chosen, values[i + step], values[i], like=index) if i + step < len(values) else values[i]
            for i in range(min(keep, len(values)))
        ]
        step >>= 1
    return [index.like(v) for v in values]


def _quadrant_f64(x: E) -> tuple[E, E, E]:
    """For f64 ``x``: q modulo 4 as an i64, and r + low of |x|."""
    a = fabs(x)
    bits = a.as_int()
    exponent = bits.lshr(52)
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    # |x| = m·2^(exponent − 1075).  Bit p of 2/π after the point weighs 2^(exponent − 1075 − p) in |x|·2/π for each
    # unit of m; bits that weigh 4 or more do not matter.  So the window starts at p = exponent − 1076, which
    # is index p − 1, and two zero words in front of the table serve small exponents.
    start = (exponent - (1077 - 128)).row("smax", 0)
    w = _window([0, 0, *map(int, C["two_over_pi_words"])], start.lshr(6), 4)
    shift = start & 63
    rest = 63 - shift
    w0, w1, w2 = ((w[i] << shift) | (w[i + 1].lshr(1)).lshr(rest) for i in range(3))
    # The window times m, modulo 2^192, without the last word: bits of x·2/π from 2^1 downward.
    middle = m * w1
    low = m.row("umulhi", w2) + middle
    carry = low.ult(middle)
    high = m * w0 + m.row("umulhi", w1) + select(carry, 1, 0, like=m)
    fraction = (high << 2) | low.lshr(62)  # of a quadrant, signed: above ½ counts down from the next
    q = high.lshr(62) + fraction.lshr(63)
    below = (low << 2).lshr(11).to_float() * 2.0**-117
    # 64 bits into doubles exactly: upper 32 and lower 32
    upper = (fraction >> 32).to_float() * 2.0**-32
    lower = (fraction & 0xFFFFFFFF).to_float() * 2.0**-64 + below
    d = upper + lower
    d_low = (upper - d) + lower
    hi, lo = C["pi_2_f64"]
    r = d * hi
    r_low = fma(d, hi, -r) + fma(d, lo, d_low * hi)
    small = a < 0.785398163
    return select(small, 0, q, like=m), select(small, a, r), select(small, 0.0, r_low)


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
    return r + fma(low, one, s), one + (((1.0 - one) - half) + fma(r2, c, -(r * low)))


def _sin_cos(x: E) -> tuple[E, E, E]:
    """Quadrant, and sine and cosine of the reduced |x|.  NaN for ∞ and NaN."""
    if x.elem is F32:
        q, r = _quadrant_f32(x)
        return q, *sin_cos_reduced(r)
    q, r, low = _quadrant_f64(x)
    invalid = x - x  # 0, or NaN for ∞ and NaN
    return q, *sin_cos_reduced(r + invalid, low)


def _turn(x: E, q: E, s: E, c: E) -> E:
    """The sine of quadrant q: s, c, −s, −c."""
    odd = (q & 1).ne(0)
    return flip_sign(select(odd, c, s), q << (x.elem.bits - 2))


def sin(x: E) -> E:
    q, s, c = _sin_cos(x)
    return flip_sign(_turn(x, q, s, c), x)


def cos(x: E) -> E:
    q, s, c = _sin_cos(x)
    return _turn(x, q + 1, s, c)


def _sin_cos_near(x: E) -> tuple[E, E, E]:
    """`_sin_cos` for f32 |x| < `NEAR`.  The first product's difference from |x| is exact: both are multiples of 2⁻²⁴, and it is below 1."""
    magic = 1.5 * 2.0**23
    r = fabs(x)
    shifted = fma(r, 2.0 / math.pi, magic)  # its last bits are those of n = rint(x·2/π)
    n = shifted - magic
    for part in C["pi_2_f32_parts"]:
        r = fma(n, -part, r)
    return shifted.as_int(), *sin_cos_reduced(r)


def sin_near(x: E) -> E:
    """sin x for f32 |x| < `NEAR`."""
    q, s, c = _sin_cos_near(x)
    return flip_sign(_turn(x, q, s, c), x)


def cos_near(x: E) -> E:
    """cos x for f32 |x| < `NEAR`."""
    q, s, c = _sin_cos_near(x)
    return _turn(x, q + 1, s, c)


def tan(x: E) -> E:
    q, s, c = _sin_cos(x)
    odd = (q & 1).ne(0)
    t = select(odd, c, s) / select(odd, s, c)
    return flip_sign(flip_sign(t, q << (x.elem.bits - 1)), x)


def _half_turns(x: E) -> tuple[E, E, E, E]:
    """For π·x: the quadrant, d == 0, and sine and cosine of the rest."""
    turn = fma((x * 0.5).row("rint"), -2.0, x)  # exact, in [−1, 1]
    n = nearest(turn * 2.0)
    d = fma(n, -0.5, turn)  # exact
    q = n.to_int()
    hi, lo = C["pi_" + fmt(x)]
    r = d * hi
    s, c = sin_cos_reduced(r, fma(d, hi, -r) + d * lo)
    return q, d.eq(0.0), s, c


def sinpi(x: E) -> E:
    q, whole, s, c = _half_turns(x)
    y = _turn(x, q, s, c)
    y = select((q & 1).eq(0).row("and", whole), copysign(x.like(0.0), x), y)
    return select(fabs(x) < (2.0**-60 if x.elem is F32 else 2.0**-500), x * C["pi_" + fmt(x)][0], y)


def cospi(x: E) -> E:
    q, whole, s, c = _half_turns(x)
    return select((q & 1).ne(0).row("and", whole), 0.0, _turn(x, q + 1, s, c))
