"""Conversions between float formats in integer arithmetic, for every format of ir/types.py below 32 bits.

A format is known by its `Float` description, so one pair of functions covers f16, bf16 and the five 8-bit
formats: `decode` gives f32, which holds every narrower value exactly; `encode` rounds an f32 once, to nearest
even or towards zero.  f64 sources become f32 *rounded to odd* first: a result that is inexact gets an odd last
bit, so it is never mistaken for a tie and the second rounding is the only one that counts (this needs two
more bits than the target has; f32 has thirteen more than f16).

Overflow: f16 and bf16 give ∞ to nearest and the largest finite value towards zero; 8-bit formats saturate,
∞ included.  NaN stays NaN.
"""

from __future__ import annotations

import math

from ..ir.types import BF16, F32, F64, Float, int_element
from .expr import E, fabs, select

__all__ = ["decode", "encode", "round_to_odd", "to_tf32", "max_code", "nan_code", "encode_constant"]

_INF32 = 0x7F800000
_MAG32 = 0x7FFFFFFF


def max_code(f: Float) -> int:
    """Bits of the largest finite value."""
    top = (1 << (f.bits - 1)) - 1
    if f.fnuz:
        return top
    return top - 1 if f.finite else (((1 << f.exponent) - 1) << f.mantissa) - 1


def nan_code(f: Float) -> int:
    """Bits of the NaN that `encode` makes, without the sign: quiet, or the only one."""
    top = (1 << (f.bits - 1)) - 1
    if f.fnuz:
        return top + 1
    return top if f.finite else max_code(f) + 1 | 1 << (f.mantissa - 1)


def decode(x: E, f: Float) -> E:
    """f32 of a value of format ``f``; exact."""
    i = x.row("bitcast", to=int_element(f.bits)).resize(32)
    if f is BF16:
        return (i << 16).as_float()
    shift, rebias = 23 - f.mantissa, 127 - f.bias
    sign = (i >> (f.bits - 1)) << 31
    mag = i & ((1 << (f.bits - 1)) - 1)
    normal = (mag << shift) + (rebias << 23)
    # A subnormal is an integer times 2^(1 − bias − mantissa): put under the implicit one of 2^(1 − bias), which
    # is then subtracted.  Scaling by multiplication would meet f32 subnormals, slow on many processors.
    one = (rebias + 1) << 23
    tiny = ((mag << shift) + one).as_float() - one_as_float(one)
    r = select(mag < (1 << f.mantissa), tiny.as_int(), normal)
    if f.fnuz:
        return select(i.eq(0x80), 0x7FC00000, r | sign).as_float()
    if f.finite:
        r = select(mag.eq((1 << (f.bits - 1)) - 1), 0x7FC00000, r)
    else:
        r = select(mag > max_code(f), r | _INF32, r)
    return (r | sign).as_float()


def one_as_float(bits: int) -> float:
    """The f32 value of an exponent field without fraction."""
    return 2.0 ** ((bits >> 23) - 127)


def _magnitude(x: E, mag: E, f: Float, nearest: bool) -> E:
    """Bits of |x| rounded to ``f`` as if its exponent had no upper end; for finite x, not for bf16."""
    shift, rebias = 23 - f.mantissa, 127 - f.bias
    if nearest:
        normal = ((mag + ((1 << (shift - 1)) - 1) + (mag.lshr(shift) & 1)).lshr(shift)) - (rebias << f.mantissa)
    else:
        normal = mag.lshr(shift) - (rebias << f.mantissa)
    step = 1 - f.bias - f.mantissa  # log2 of the smallest subnormal
    a = fabs(x)
    if nearest:
        # Adding 2^(step + 23), whose ulp is 2^step, rounds |x| to a multiple of it.
        magic = 2.0 ** (step + 23)
        tiny = (a + magic).as_int() - ((step + 23 + 127) << 23)
    else:
        tiny = (select(a < 2.0 ** (1 - f.bias), a, 0.0) * 2.0**-step).to_int()
    return select(mag < ((rebias + 1) << 23), tiny, normal)


def encode(x: E, f: Float, rounding: str = "rtne", any_nan: bool = True, cheap_select: bool = False) -> E:
    """An f32 rounded to format ``f``: 'rtne' or 'rtz'.

    Without ``any_nan`` its NaNs are quiet, with a lower half of zeros.  ``cheap_select``: choosing costs no more than adding.
    """
    nearest = rounding == "rtne"
    bits = x.as_int()
    if f is BF16:  # the upper half of an f32: a carry out of the fraction belongs in the exponent
        high = bits.lshr(16)
        half = select((bits & 0x10000).ne(0), 0x8000, 0x7FFF, like=bits) if cheap_select else 0x7FFF + (high & 1)
        r = (bits + half).lshr(16) if nearest else high
        return (select(x.is_nan, high | 0x40, r) if any_nan else r).resize(16).row("bitcast", to=BF16)
    mag = bits & _MAG32
    sign = bits.lshr(31) << (f.bits - 1)
    r = _magnitude(x, mag, f, nearest)
    top = max_code(f)
    if f.bits == 8:
        r = select(mag >= _overflow_bits(f), top, r)
        r = r.row("smin", top)
    elif nearest:
        r = select(mag >= _overflow_bits(f), top + 1, r).row("smin", top + 1)
    else:
        r = select(mag >= _overflow_bits(f), select(mag.eq(_INF32), top + 1, top, like=mag), r)
    nan = mag > _INF32
    if f.fnuz:
        r = select(r.eq(0), r, r | sign)
        r = select(nan, nan_code(f), r)
    else:
        if f.bits == 16:  # keeps the payload's high bits
            quiet = mag.lshr(23 - f.mantissa) & ((1 << f.mantissa) - 1) | nan_code(f)
            r = select(nan, quiet, r)
        else:
            r = select(nan, nan_code(f), r)
        r = r | sign
    return r.resize(f.bits).row("bitcast", to=f)


def _overflow_bits(f: Float) -> int:
    """f32 bits of the power of two above the format's largest value (of ∞ where f32 ends)."""
    largest = max_code(f) >> f.mantissa
    return min(largest - f.bias + 1 + 127, 255) << 23


def round_to_odd(x: E, towards_zero: bool = False) -> E:
    """An f64 as f32: truncated, and the last bit set if anything was cut off (not when ``towards_zero``)."""
    near = x.cast(F32)
    back = near.cast(F64)
    over = fabs(back) > fabs(x)
    bits = near.as_int()
    bits = select(over, bits - 1, bits)
    if not towards_zero:
        bits = select(back.ne(x), bits | 1, bits)
    return bits.as_float()


def to_tf32(x: E) -> E:
    """An f32 with its fraction rounded to tf32's 10 bits, ties away from zero as GPUs do; ∞ and NaN stay."""
    bits = x.as_int()
    return select((bits & _MAG32) >= _INF32, bits, (bits + 0x1000) & ~0x1FFF).as_float()


def encode_constant(value: float, f: Float) -> int:
    """The bits of ``value`` in an 8-bit format, to nearest even, saturating."""
    sign = 1 << (f.bits - 1) if math.copysign(1.0, value) < 0 else 0
    if math.isnan(value):
        return nan_code(f) if f.fnuz else nan_code(f) | sign
    a = abs(value)
    e = max(math.frexp(a)[1] - 1, 1 - f.bias) if 0 < a < math.inf else 1 - f.bias
    if a >= 2.0 ** ((max_code(f) >> f.mantissa) - f.bias + 1):
        return max_code(f) | sign
    units = round(a / 2.0 ** (e - f.mantissa))  # Python rounds ties to even; the quotient is exact
    code = min(((e + f.bias - 1) << f.mantissa) + units, max_code(f))
    return code | sign if code or not f.fnuz else 0
