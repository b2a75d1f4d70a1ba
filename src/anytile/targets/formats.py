"""Numeric formats in NumPy: how each IR element lies in an array, and exact conversion to and from it.

NumPy has no bfloat16 and no 8-bit floats.  Arrays of them hold *bit patterns* (``uint16``, ``uint8``), so moving
values about keeps every bit, NaN payloads too; arithmetic goes `decode` → float32 → `encode`.

    element                 array dtype        `decode` gives
    i1                      bool               –
    i8 i16 i32 i64          int8 … int64       –
    ptr                     uint64 (address)   –
    f16 f32 f64             float16 …          float32, float32, float64
    bf16                    uint16 (bits)      float32
    f8…                     uint8 (bits)       float32

Every narrow value is exactly a float32, every float32 exactly a float64: decoding never rounds and `encode`
rounds once, from whichever of the two it is given.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..ir.types import BF16, F16, F32, F64, Element, Float, Int

__all__ = ["storage", "unsigned", "decode", "encode", "from_integers", "round_to_odd_sum", "max_code", "nan_code"]

_NATIVE: dict[Float, np.dtype[Any]] = {F16: np.dtype(np.float16), F32: np.dtype(np.float32), F64: np.dtype(np.float64)}
_INTS: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.bool_),
    8: np.dtype(np.int8),
    16: np.dtype(np.int16),
    32: np.dtype(np.int32),
    64: np.dtype(np.int64),
}
_UINTS: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.uint8),
    8: np.dtype(np.uint8),
    16: np.dtype(np.uint16),
    32: np.dtype(np.uint32),
    64: np.dtype(np.uint64),
}


def storage(elem: Element) -> np.dtype:
    """The dtype of arrays that hold ``elem``; its itemsize is also the element's size in memory."""
    if isinstance(elem, Int):
        return _INTS[elem.bits]
    if isinstance(elem, Float):
        return _NATIVE.get(elem) or _UINTS[elem.bits]
    return _UINTS[64]


def unsigned(bits: int) -> np.dtype:
    """The unsigned dtype of that width (``i1`` as uint8)."""
    return _UINTS[bits]


def max_code(fmt: Float) -> int:
    """Bit pattern of the largest finite value."""
    top = (1 << (fmt.bits - 1)) - 1
    if fmt.fnuz:
        return top
    if fmt.finite:
        return top - 1  # all ones is the NaN
    return (((1 << fmt.exponent) - 1) << fmt.mantissa) - 1


def nan_code(fmt: Float) -> int:
    """Bit pattern of the canonical NaN: positive and quiet, or the only one of a fnuz format."""
    if fmt.fnuz:
        return 1 << (fmt.bits - 1)
    if fmt.bits == 8:
        return 0x7F
    return ((1 << fmt.exponent) - 1) << fmt.mantissa | 1 << (fmt.mantissa - 1)


@cache
def _decode_table(fmt: Float) -> np.ndarray:
    """float32 value of each of the 256 patterns of an 8-bit format."""
    out = np.empty(256, np.float32)
    for code in range(256):
        exponent, mantissa = (code & 0x7F) >> fmt.mantissa, code & ((1 << fmt.mantissa) - 1)
        if exponent == 0:
            x = mantissa * 2.0 ** (1 - fmt.bias - fmt.mantissa)
        else:
            x = (1 + mantissa * 2.0**-fmt.mantissa) * 2.0 ** (exponent - fmt.bias)
        if (code & 0x7F) > max_code(fmt):
            x = np.inf if not fmt.finite and mantissa == 0 else np.nan
        if fmt.fnuz and code == 0x80:
            x = np.nan
        out[code] = -x if code & 0x80 else x
    return out


def decode(data: np.ndarray, fmt: Float) -> np.ndarray:
    """The values of ``data`` (an array of `storage(fmt)`) as float32, or float64 for f64.  Exact."""
    if fmt is F32 or fmt is F64:
        return data
    if fmt is F16:
        return np.asarray(data.astype(np.float32))
    if fmt is BF16:
        return np.asarray(data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(_decode_table(fmt)[data])


def encode(x: np.ndarray, fmt: Float, rounding: str = "rtne") -> np.ndarray:
    """``x`` (float32 or float64) rounded once to ``fmt``, as an array of `storage(fmt)`.

    ``rounding`` is "rtne" (to nearest, ties to even) or "rtz" (towards zero).  Too large a magnitude becomes
    infinity under rtne and the largest finite value under rtz; the 8-bit formats always *saturate* to the
    largest finite value, infinities included (as the hardware's satfinite conversions do).  NaN stays NaN.
    NumPy may warn of overflow: wrap calls in ``np.errstate(all="ignore")`` as the executor does.
    """
    if fmt in _NATIVE:
        dtype = _NATIVE[fmt]
        y = np.asarray(x.astype(dtype, copy=False))
        if rounding == "rtz" and dtype.itemsize < x.dtype.itemsize:
            over = np.abs(y.astype(x.dtype)) > np.abs(x)
            y = np.where(over, np.nextafter(y, dtype.type(0)), y)
        return y
    if fmt is BF16 and x.dtype == np.float32:
        return _bf16_of_f32(x, rounding)
    return _encode_generic(x.astype(np.float64), fmt, rounding)


def _bf16_of_f32(x: np.ndarray, rounding: str) -> np.ndarray:
    """bfloat16 is the upper half of a float32: rounding is an integer addition that carries into the exponent."""
    u = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
    high = u >> np.uint32(16)
    rounded = high if rounding == "rtz" else (u + np.uint32(0x7FFF) + (high & np.uint32(1))) >> np.uint32(16)
    return np.asarray(np.where(np.isnan(x), high | np.uint32(0x40), rounded).astype(np.uint16))


def _encode_generic(x: np.ndarray, fmt: Float, rounding: str) -> np.ndarray:
    """Any format narrower than f32, from float64: scale so that one unit in the last place is 1, round, assemble."""
    sign = np.signbit(x)
    finite = np.isfinite(x)
    magnitude = np.where(finite, np.abs(x), 0.0)
    lowest = 1 - fmt.bias  # the exponent of subnormals, and of zero, whose exponent frexp calls 0
    exponent = np.where(magnitude == 0, lowest, np.maximum(np.frexp(magnitude)[1] - 1, lowest))
    scaled = np.ldexp(magnitude, fmt.mantissa - exponent)  # exact: a power of two
    steps = (np.rint(scaled) if rounding == "rtne" else np.floor(scaled)).astype(np.int64)
    # A normal's leading one adds 1 to the exponent field by itself; so does a carry out of rounding.
    code = ((exponent.astype(np.int64) + fmt.bias - 1) << fmt.mantissa) + steps
    top = max_code(fmt)
    saturates = fmt.bits == 8
    beyond = top if saturates or rounding == "rtz" else top + 1  # top + 1 is infinity
    code = np.where(code > top, beyond, code)
    code = np.where(np.isinf(x), top if saturates else top + 1, code)
    if fmt.fnuz:
        code = np.where(sign & (code != 0), code | 0x80, code)  # there is no negative zero
        code = np.where(np.isnan(x), nan_code(fmt), code)
    else:
        code = np.where(np.isnan(x), nan_code(fmt), code)
        code = np.where(sign, code | 1 << (fmt.bits - 1), code)
    return np.asarray(code.astype(_UINTS[fmt.bits]))


def from_integers(x: np.ndarray, fmt: Float) -> np.ndarray:
    """Integers (a signed or unsigned array) as ``fmt``, rounded once to nearest even; too large becomes infinity.

    The 8-bit formats saturate, as in `encode`.
    """
    if fmt is F32 or fmt is F64:
        return np.asarray(x.astype(_NATIVE[fmt]))
    if x.dtype.itemsize < 8:
        return encode(x.astype(np.float64), fmt)
    # 64-bit integers do not fit a float64.  Round them to odd: a lost bit then still decides later ties.
    magnitude = np.where(x < 0, -x, x).view(np.uint64) if x.dtype.kind == "i" else x
    sticky = (magnitude & np.uint64(0x7FF)) != 0
    big = magnitude >> np.uint64(53) != 0
    odd = (magnitude & ~np.uint64(0x7FF)) | (sticky.astype(np.uint64) << np.uint64(11))
    rounded = np.where(big, odd, magnitude).astype(np.float64)
    return encode(np.where(x < 0, -rounded, rounded), fmt)


def round_to_odd_sum(p: np.ndarray, z: np.ndarray) -> np.ndarray:
    """p + z in float64 rounded to odd: exact, or the neighbour of the exact sum whose last bit is 1.

    Rounding that once more to a format with at most 51 bits of precision gives the correctly rounded sum
    (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE TC 57(4), 2008).
    """
    s = p + z
    back = s - p
    error = (p - (s - back)) + (z - back)  # Knuth's TwoSum: s + error == p + z exactly
    even = (np.asarray(s).view(np.int64) & 1) == 0
    adjust = np.isfinite(s) & even & (error != 0)
    return np.where(adjust, np.nextafter(s, np.where(error > 0, np.inf, -np.inf)), s)
