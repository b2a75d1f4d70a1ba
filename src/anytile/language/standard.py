"""Functions composed of others: reductions and scans by name, softmax, sorting, index helpers.

They are plain Python over the operators of the language, so a call costs no parsing; each records what the same
lines in a kernel would.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import fdiv, floordiv, maximum, minimum, mod, where
from .builtin import builtin, member
from .casting import cast_to
from .constexpr import constexpr, unwrap
from .math import exp
from .promotion import broadcast_to_shape, emit, to_tensor
from .reduction import reduce_by, scan_by
from .shaping import arange, axis_of, expand_dims, gather, join, permute, reshape, split
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import dtype, float32, int32, uint32

__all__ = [
    "argmax",
    "argmin",
    "bitonic_merge",
    "cdiv",
    "cumprod",
    "cumsum",
    "flip",
    "item",
    "max",
    "min",
    "reduce_or",
    "sigmoid",
    "softmax",
    "sort",
    "sum",
    "swizzle2d",
    "topk",
    "xor_sum",
]


# --- combine functions: also reachable as tl.standard._sum_combine and so on ------------------------------


@builtin
def _sum_combine(a: tensor, b: tensor) -> tensor:
    return a + b


@builtin
def _prod_combine(a: tensor, b: tensor) -> tensor:
    return a * b


@builtin
def _xor_combine(a: tensor, b: tensor) -> tensor:
    return a ^ b


@builtin
def _or_combine(a: tensor, b: tensor) -> tensor:
    return a | b


@builtin
def _elementwise_max(a: tensor, b: tensor) -> tensor:
    return maximum(a, b)


@builtin
def _elementwise_min(a: tensor, b: tensor) -> tensor:
    return minimum(a, b)


def _indexed(better: str, tie_break_left: bool) -> Any:
    """The combine function over (value, index) pairs that keeps the greater ("gt") or lesser ("lt") value.

    A NaN loses against anything, which keeps the function associative; on ties the lower index wins, or any.
    """

    def combine(value1: tensor, index1: tensor, value2: tensor, index2: tensor) -> tuple[tensor, tensor]:
        first = value1 > value2 if better == "gt" else value1 < value2
        if tie_break_left:
            first = first | ((value1 == value2) & (index1 < index2))
        if value1.dtype.is_floating():
            first = first | (value2 != value2)
        return where(first, value1, value2), where(first, index1, index2)

    return builtin(combine)


_argmax_combine_tie_break_left = _indexed("gt", True)
_argmax_combine_tie_break_fast = _indexed("gt", False)
_argmin_combine_tie_break_left = _indexed("lt", True)
_argmin_combine_tie_break_fast = _indexed("lt", False)


# --- reductions -----------------------------------------------------------------------------------------


def _sum_type(t: dtype, chosen: Any) -> dtype:
    """Integers below 32 bits are summed in 32 bits; anything else in its own type unless ``chosen`` says otherwise."""
    chosen = unwrap(chosen)
    if chosen is not None:
        return chosen
    if t.is_int() and t.primitive_bitwidth < 32:
        return int32 if t.is_int_signed() else uint32
    return t


@member
@builtin
def sum(input: Any, axis: Any = None, keep_dims: Any = False, dtype: dtype | None = None) -> tensor:
    """The sum along ``axis`` (over everything where it is None), in ``dtype`` or int32/uint32 for narrower integers."""
    x = to_tensor(input)
    return reduce_by(_sum_combine, [cast_to(x, _sum_type(x.dtype, dtype))], axis, keep_dims)[0]


@builtin
def sum_in_own_width(input: Any, axis: Any = None, keep_dims: Any = False) -> tensor:
    """`sum` as Triton had it up to 3.2: narrow integers are summed, and may overflow, in their own type."""
    return reduce_by(_sum_combine, [to_tensor(input)], axis, keep_dims)[0]


def _promoted(x: tensor) -> tensor:
    """bf16 is compared in fp32."""
    return cast_to(x, float32) if x.dtype.is_bf16() else x


def _with_indices(x: tensor, axis: Any, combine: Any, keep_dims: Any) -> tl_tuple:
    axis = unwrap(axis)
    if axis is None:
        n, index = x.type.numel, None
        flat = reshape(x, (n,))
        out = reduce_by(combine, [flat, arange(0, n)], 0, False)
        return tl_tuple([reshape(v, (1,) * x.rank) for v in out] if unwrap(keep_dims) else out)
    a = axis_of(axis, x.rank)
    index = arange(0, x.type.shape[a])
    if x.rank > 1:
        index = expand_dims(index, [d for d in range(x.rank) if d != a])
    return tl_tuple(reduce_by(combine, [x, broadcast_to_shape(index, x.type.shape)], a, keep_dims))


def _extremum(fn: Any, pick: Any, x: Any, axis: Any, return_indices: Any, left: Any, keep_dims: Any) -> Any:
    x = _promoted(to_tensor(x))
    if unwrap(return_indices):
        return _with_indices(x, axis, pick[0] if unwrap(left) else pick[1], keep_dims)
    if x.dtype.primitive_bitwidth < 32:
        x = cast_to(x, float32 if x.dtype.is_floating() else int32)
    return reduce_by(fn, [x], axis, keep_dims)[0]


@member
@builtin
def max(
    input: Any, axis: Any = None, return_indices: Any = False, return_indices_tie_break_left: Any = True, keep_dims: Any = False
) -> Any:
    """The greatest element along ``axis`` (of all where it is None); with ``return_indices`` a pair with its index.

    Without indices, types below 32 bits are widened to fp32 or int32.  NaN is passed over.
    """
    pick = _argmax_combine_tie_break_left, _argmax_combine_tie_break_fast
    return _extremum(_elementwise_max, pick, input, axis, return_indices, return_indices_tie_break_left, keep_dims)


@member
@builtin
def min(
    input: Any, axis: Any = None, return_indices: Any = False, return_indices_tie_break_left: Any = True, keep_dims: Any = False
) -> Any:
    """The least element along ``axis``; otherwise as `max`."""
    pick = _argmin_combine_tie_break_left, _argmin_combine_tie_break_fast
    return _extremum(_elementwise_min, pick, input, axis, return_indices, return_indices_tie_break_left, keep_dims)


@member
@builtin
def argmax(input: Any, axis: Any, tie_break_left: Any = True, keep_dims: Any = False) -> tensor:
    """The index (int32) of the greatest element along ``axis``; the lowest one on ties."""
    return max(input, axis, return_indices=True, return_indices_tie_break_left=tie_break_left, keep_dims=keep_dims)[1]


@member
@builtin
def argmin(input: Any, axis: Any, tie_break_left: Any = True, keep_dims: Any = False) -> tensor:
    """The index (int32) of the least element along ``axis``; the lowest one on ties."""
    return min(input, axis, return_indices=True, return_indices_tie_break_left=tie_break_left, keep_dims=keep_dims)[1]


@member
@builtin
def xor_sum(input: Any, axis: Any = None, keep_dims: Any = False) -> tensor:
    """The exclusive or of the integers along ``axis``."""
    x = to_tensor(input)
    if not x.dtype.is_int():
        raise ValueError(f"xor_sum only supported for integers, not {x.dtype}")
    return reduce_by(_xor_combine, [x], axis, keep_dims)[0]


@member
@builtin
def reduce_or(input: Any, axis: Any, keep_dims: Any = False) -> tensor:
    """The bitwise or of the integers along ``axis``."""
    x = to_tensor(input)
    if not x.dtype.is_int():
        raise ValueError(f"reduce_or only supported for integers, not {x.dtype}")
    return reduce_by(_or_combine, [x], axis, keep_dims)[0]


# --- scans ----------------------------------------------------------------------------------------------


@member
@builtin
def cumsum(input: Any, axis: Any = 0, reverse: Any = False, dtype: dtype | None = None) -> tensor:
    """The running sum along ``axis``; narrow integers and bf16 are widened as by `sum` and to fp32."""
    x = _promoted(to_tensor(input))
    return scan_by(_sum_combine, [cast_to(x, _sum_type(x.dtype, dtype))], axis, reverse)[0]


@member
@builtin
def cumprod(input: Any, axis: Any = 0, reverse: Any = False, dtype: dtype | None = None) -> tensor:
    """The running product along ``axis``; bf16 is widened to fp32."""
    x = _promoted(to_tensor(input))
    chosen = unwrap(dtype)
    return scan_by(_prod_combine, [x if chosen is None else cast_to(x, chosen)], axis, reverse)[0]


# --- elementwise compositions ---------------------------------------------------------------------------


@member
@builtin
def cdiv(x: Any, div: Any) -> Any:
    """x / div rounded up, for non-negative integers; folds where both are compile-time."""
    a, b = unwrap(x), unwrap(div)
    if isinstance(a, int) and isinstance(b, int):
        folded = -(-a // b)
        return constexpr(folded) if isinstance(x, constexpr) or isinstance(div, constexpr) else folded
    return floordiv(x + (b - 1), div) if isinstance(a, tensor) else floordiv(a + (div - 1), div)


@member
@builtin
def sigmoid(x: Any) -> tensor:
    """1 / (1 + e^−x)"""
    return 1 / (1 + exp(-x))


@member
@builtin
def softmax(x: tensor, dim: Any = None, *, keep_dims: Any = None, ieee_rounding: Any = False) -> tensor:
    """e^x divided by its sum along ``dim`` (the first where it is None); ``keep_dims`` is ignored."""
    d = 0 if unwrap(dim) is None else axis_of(dim, x.rank, "dim")
    numerator = exp(x - max(x, d, keep_dims=True))
    return fdiv(numerator, sum(numerator, d, keep_dims=True), ieee_rounding)


@builtin
def swizzle2d(i: Any, j: Any, size_i: Any, size_j: Any, size_g: Any) -> tl_tuple:
    """Maps (i, j) of a row-major size_i × size_j grid to column-major order inside groups of size_g rows."""
    ij = i * size_j + j
    size_gj = size_g * size_j
    group = floordiv(ij, size_gj)
    first_row = group * size_g
    rows = minimum(size_i - first_row, size_g)  # the last group may have fewer
    within = mod(ij, size_gj)
    return tl_tuple([first_row + mod(within, rows), floordiv(within, rows)])


@member
@builtin
def item(x: tensor) -> tensor:
    """The element of a tensor that has one, as a scalar."""
    if x.type.numel != 1:
        raise ValueError(f"item needs a tensor of one element, not {x.type}")
    return reshape_to_scalar(x)


def reshape_to_scalar(x: tensor) -> tensor:
    """A tensor of one element as a scalar."""
    while x.rank:
        x = reduce_by(_first, [x], 0, False)[0]
    return x


@builtin
def _first(a: tensor, b: tensor) -> tensor:
    return a


# --- order ----------------------------------------------------------------------------------------------


def _last_dim(x: tensor, dim: Any, name: str) -> int:
    if not x.rank:
        raise ValueError(f"tl.{name} goes along a dimension, and its input is a scalar")
    d = unwrap(dim)
    d = x.rank - 1 if d is None else axis_of(d, x.rank, "dim")
    if d != x.rank - 1:
        raise ValueError(f"only minor dimension is currently supported by tl.{name}: dim {d} of shape {list(x.type.shape)}")
    return d


@member
@builtin
def flip(x: tensor, dim: Any = None) -> tensor:
    """The elements in reverse order along ``dim`` (the last where it is None)."""
    d = x.rank - 1 if unwrap(dim) is None else axis_of(dim, x.rank, "dim")
    n = x.type.shape[d]
    index = (n - 1) - arange(0, n)
    if x.rank > 1:
        index = expand_dims(index, [k for k in range(x.rank) if k != d])
    return gather(x, broadcast_to_shape(index, x.type.shape), d)


def _exchange(x: tensor, bit: int, descending: bool) -> tensor:
    """Orders each pair of elements whose positions in the last dimension differ in ``bit``."""
    *outer, n = x.type.shape
    stride = 1 << bit
    pairs = permute(reshape(x, (x.type.numel // n, n // (2 * stride), 2, stride)), (0, 1, 3, 2))
    low, high = split(pairs)
    swap = low < high if descending else low > high
    pairs = join(where(swap, high, low), where(swap, low, high))
    return reshape(permute(pairs, (0, 1, 3, 2)), (*outer, n))


@builtin
def _log2(i: Any) -> int:
    """log₂ of a compile-time power of two; libraries that write their own sorting networks take it from here."""
    return unwrap(i).bit_length() - 1


@member
@builtin
def sort(x: tensor, dim: Any = None, descending: Any = constexpr(0)) -> tensor:
    """Sorted along the last dimension; in no certain order where NaN are among it."""
    _last_dim(x, dim, "sort")
    elem, descending = x.dtype, bool(unwrap(descending))
    if elem.is_fp8():  # the bits of an 8-bit float do not compare as they stand
        return cast_to(sort(cast_to(x, float32), descending=descending), elem)
    kind = "float" if elem.is_floating() else "signed" if elem.is_int_signed() else "unsigned"
    return emit("sort", x.type, x.handle, kind=kind, descending=descending)


@member
@builtin
def bitonic_merge(x: tensor, dim: Any = None, descending: Any = constexpr(0)) -> tensor:
    """A bitonic sequence (rising, then falling) along the last dimension, sorted in log(n) steps."""
    _last_dim(x, dim, "bitonic_merge")
    for bit in reversed(range(_log2(x.type.shape[-1]))):
        x = _exchange(x, bit, bool(unwrap(descending)))
    return x


@member
@builtin
def topk(x: tensor, k: Any, dim: Any = None, descending: Any = True) -> tensor:
    """The k greatest elements (least where not ``descending``) along the last dimension, in order; k a power of two."""
    _last_dim(x, dim, "topk")
    k, n = unwrap(k), x.type.shape[-1]
    if not isinstance(k, int) or k < 1 or k & (k - 1) or k > n:
        raise ValueError(f"topk needs a compile-time power of two k of at most {n}, not {k!r}")
    x = sort(x, descending=descending)
    while x.type.shape[-1] > k:  # keep the first half
        *outer, n = x.type.shape
        halves = permute(reshape(x, (*outer, 2, n // 2)), (*range(len(outer)), len(outer) + 1, len(outer)))
        x = split(halves)[0]
    return x
