"""Integer and float arithmetic, comparison, choice and conversion."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np

from ...ir.types import BOOL, F64, Float, Int
from .. import formats
from .rows import elem_of, implements, result_elem

# --- integers -------------------------------------------------------------------------------------------
#
# Arrays hold signed integers; rows with an unsigned meaning view them.  An i1 is a bool, whose signed reading
# is 0 or −1 and whose unsigned reading is 0 or 1.


def signed(x: np.ndarray, elem: Any) -> np.ndarray:
    if elem is BOOL:
        return -x.astype(np.int8)
    return x.view(np.int64) if elem.is_ptr else x


def unsigned(x: np.ndarray, elem: Any) -> np.ndarray:
    return x.astype(np.uint8) if elem is BOOL else x.view(formats.unsigned(elem.bits))


def wrapped(x: Any, elem: Int) -> np.ndarray:
    """The low bits of ``x`` as the array of an integer element."""
    x = np.asarray(x)
    if elem is BOOL:
        return np.asarray((x & 1).astype(np.bool_))
    return np.asarray(x.astype(formats.storage(elem), copy=False))


def _nonzero(y: np.ndarray) -> np.ndarray:
    """Divisors with 1 in place of 0: division by zero gives an unspecified value and must not trap."""
    return np.where(y == 0, y.dtype.type(1), y)


def _sdiv(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    y = _nonzero(y)
    return (x - np.fmod(x, y)) // y  # the difference is a multiple of y, so floor division truncates


def _shift(kind: str) -> Callable[..., np.ndarray]:
    def shift(run: Any, op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        elem = elem_of(op)
        amount = unsigned(y, elem)
        last = elem.bits - 1
        inside = amount <= last
        operand = signed(x, elem) if kind == "ashr" else unsigned(x, elem)
        by = np.where(inside, amount, last).astype(operand.dtype)
        if kind == "ashr":
            return wrapped(operand >> by, elem)
        moved = operand << by if kind == "shl" else operand >> by
        return wrapped(np.where(inside, moved, operand.dtype.type(0)), elem)

    return shift


def _umulhi64(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Schoolbook multiplication in 32-bit limbs."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, y0, y1 = x & low, x >> half, y & low, y >> half
    middle = x1 * y0 + (x0 * y0 >> half)  # cannot overflow: (2³²−1)² + 2³² − 1 < 2⁶⁴
    other = x0 * y1 + (middle & low)
    return x1 * y1 + (middle >> half) + (other >> half)


def _mulhi(is_signed: bool) -> Callable[..., np.ndarray]:
    def mulhi(run: Any, op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        elem = elem_of(op)
        if elem.bits == 64:
            high = _umulhi64(x.view(np.uint64), y.view(np.uint64)).view(np.int64)
            if is_signed:  # each negative factor was read as 2⁶⁴ more than it is
                high = high - np.where(x < 0, y, 0) - np.where(y < 0, x, 0)
            return wrapped(high, elem)
        read = signed if is_signed else unsigned
        product = read(x, elem).astype(np.int64) * read(y, elem).astype(np.int64)
        return wrapped(product >> elem.bits, elem)

    return mulhi


def _bits(x: np.ndarray, elem: Int) -> np.ndarray:
    """The binary digits of ``x``, most significant first, along a new last axis of length ``elem.bits``."""
    if elem is BOOL:
        return x.astype(np.uint8)[..., None]
    big_endian = np.ascontiguousarray(x).reshape(x.shape).astype(x.dtype.newbyteorder(">"))
    return np.unpackbits(big_endian[..., None].view(np.uint8), axis=-1)


@implements("popc")
def _popc(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return wrapped(_bits(x, elem_of(op)).sum(axis=-1, dtype=np.int64), elem_of(op))


@implements("clz")
def _clz(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    digits = _bits(x, elem_of(op))
    return wrapped(np.where(digits.any(axis=-1), digits.argmax(axis=-1), digits.shape[-1]), elem_of(op))


@implements("brev")
def _brev(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    elem = elem_of(op)
    if elem is BOOL:
        return x
    bytes_ = np.packbits(_bits(x, elem)[..., ::-1], axis=-1)
    return wrapped(bytes_.view(np.dtype(x.dtype).newbyteorder(">"))[..., 0], elem)


def _integer_rows() -> None:
    def row(name: str, read: Callable[..., np.ndarray], fn: Callable[..., Any]) -> None:
        @implements(name)
        def implementation(run: Any, op: Any, *xs: np.ndarray) -> np.ndarray:
            elem = elem_of(op)
            return wrapped(fn(*(read(x, elem) for x in xs)), elem)

    signed_rows: dict[str, Callable[..., Any]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
        "smin": np.minimum,
        "smax": np.maximum,
        "iabs": np.absolute,
        "sdiv": _sdiv,
        "srem": lambda x, y: np.fmod(x, _nonzero(y)),
    }
    for name, fn in signed_rows.items():
        row(name, signed, fn)
    unsigned_rows: dict[str, Callable[..., Any]] = {
        "umin": np.minimum,
        "umax": np.maximum,
        "udiv": lambda x, y: x // _nonzero(y),
        "urem": lambda x, y: x % _nonzero(y),
    }
    for name, fn in unsigned_rows.items():
        row(name, unsigned, fn)
    for name in ("shl", "lshr", "ashr"):
        implements(name)(_shift(name))
    implements("smulhi")(_mulhi(True))
    implements("umulhi")(_mulhi(False))


_integer_rows()

# --- floats ---------------------------------------------------------------------------------------------


def float_row(name: str, fn: Callable[..., Any]) -> None:
    """The row computes ``fn`` in float32 (float64 for f64) and rounds once to its own format."""

    @implements(name)
    def implementation(run: Any, op: Any, *xs: np.ndarray) -> np.ndarray:
        fmt = elem_of(op)
        return formats.encode(np.asarray(fn(*(formats.decode(x, fmt) for x in xs))), fmt)


for _name, _fn in {
    "fadd": np.add,
    "fsub": np.subtract,
    "fmul": np.multiply,
    "fdiv": np.divide,
    "frem": np.fmod,
    "fmin": np.fmin,
    "fmax": np.fmax,
    "fminimum": np.minimum,
    "fmaximum": np.maximum,
    "sqrt": np.sqrt,
}.items():
    float_row(_name, _fn)


def _sign_bit(fmt: Float) -> Any:
    return formats.unsigned(fmt.bits).type(1 << (fmt.bits - 1))


def _as_bits(x: np.ndarray, fmt: Float) -> np.ndarray:
    return x.view(formats.unsigned(fmt.bits))


@implements("fneg")
def _fneg(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    fmt = elem_of(op)
    flipped = np.asarray(_as_bits(x, fmt) ^ _sign_bit(fmt))
    if fmt.fnuz:  # neither zero nor NaN has a sign
        flipped = np.where((x & 0x7F) == 0, x, flipped)
    return flipped.view(formats.storage(fmt))


@implements("fabs")
def _fabs(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    fmt = elem_of(op)
    cleared = np.asarray(_as_bits(x, fmt) & ~_sign_bit(fmt))
    if fmt.fnuz:
        cleared = np.where(x == formats.nan_code(fmt), x, cleared)
    return cleared.view(formats.storage(fmt))


def _fma64(x: float, y: float, z: float) -> float:
    """x·y + z with one rounding, by exact rational arithmetic."""
    if not (isfinite(x) and isfinite(y)):
        return x * y + z
    if not isfinite(z):
        return z  # even where x·y alone would overflow
    plain = x * y + z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return plain  # has the sign that IEEE gives an exact zero
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


@implements("fma")
def _fma(run: Any, op: Any, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    fmt = elem_of(op)
    if fmt is F64:
        lanes = np.broadcast_arrays(x, y, z)
        flat = [_fma64(*lane) for lane in zip(*(a.reshape(-1).tolist() for a in lanes))]
        return np.array(flat, np.float64).reshape(lanes[0].shape)
    a, b, c = (formats.decode(v, fmt).astype(np.float64) for v in (x, y, z))
    return formats.encode(formats.round_to_odd_sum(a * b, c), fmt)  # a · b is exact in float64


# --- comparison and choice ------------------------------------------------------------------------------

_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}


@implements("icmp")
def _icmp(run: Any, op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pred, elem = op.attrs["pred"], elem_of(op)
    if pred in ("eq", "ne"):
        return np.asarray(_COMPARE[pred](x, y))
    read = signed if pred[0] == "s" else unsigned
    return np.asarray(_COMPARE[pred[1:]](read(x, elem), read(y, elem)))


@implements("fcmp")
def _fcmp(run: Any, op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pred, fmt = op.attrs["pred"], elem_of(op)
    a, b = formats.decode(x, fmt), formats.decode(y, fmt)
    if pred == "uno":
        return np.asarray(np.isnan(a) | np.isnan(b))
    # IEEE comparison with NaN is false except ≠, which is just what oeq … oge and une ask for.
    return np.asarray(_COMPARE[pred[1:]](a, b))


@implements("select")
def _select(run: Any, op: Any, cond: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(cond, x, y)


# --- conversion -----------------------------------------------------------------------------------------


@implements("sext", "trunci")
def _sext(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return wrapped(signed(x, elem_of(op)), op.attrs["to"])


@implements("zext")
def _zext(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return wrapped(unsigned(x, elem_of(op)), op.attrs["to"])


@implements("sitofp")
def _sitofp(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return formats.from_integers(signed(x, elem_of(op)), op.attrs["to"])


@implements("uitofp")
def _uitofp(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return formats.from_integers(unsigned(x, elem_of(op)), op.attrs["to"])


def _to_integer(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Towards zero; out of range clamps and NaN is 0 (the row leaves both open; this never traps or warns)."""
    x = np.trunc(x.astype(np.float64))
    info = np.iinfo(dtype)
    above = x >= float(info.max) + (0 if dtype.itemsize < 8 else 1)  # float(2⁶³ − 1) is already 2⁶³
    below = x <= float(info.min)
    y = np.where(above | below | np.isnan(x), 0.0, x).astype(dtype)
    return np.where(above, info.max, np.where(below, info.min, y)).astype(dtype)


@implements("fptosi")
def _fptosi(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    to = op.attrs["to"]
    return wrapped(_to_integer(formats.decode(x, elem_of(op)), np.dtype(np.int8) if to is BOOL else formats.storage(to)), to)


@implements("fptoui")
def _fptoui(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    to = op.attrs["to"]
    return wrapped(_to_integer(formats.decode(x, elem_of(op)), formats.unsigned(to.bits)), to)


@implements("fpcast")
def _fpcast(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return formats.encode(formats.decode(x, elem_of(op)), op.attrs["to"], op.attrs["rounding"])


@implements("bitcast", "ptrtoint", "inttoptr")
def _bitcast(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return x.view(formats.storage(result_elem(op)))


@implements("addptr")
def _addptr(run: Any, op: Any, ptr: np.ndarray, offset: np.ndarray) -> np.ndarray:
    moved = signed(offset, elem_of(op, 1)).astype(np.int64) * elem_of(op).pointee.bytes
    return np.asarray(ptr + moved.view(np.uint64))
