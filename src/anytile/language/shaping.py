"""Creating tiles and changing their shape.

Shapes and axes are compile-time; they may be written as separate arguments or as one list or tuple.
Every dimension is a power of two (`types.block_type` refuses others).
"""

from __future__ import annotations

from typing import Any

from .builtin import builtin, member
from .constexpr import unwrap, unwrap_deep
from .context import current
from .mistakes import Mistake
from .tensor import tensor
from .types import TRITON_MAX_TENSOR_NUMEL, dtype, int32, make_block

__all__ = [
    "program_id",
    "num_programs",
    "arange",
    "full",
    "zeros",
    "zeros_like",
    "broadcast",
    "broadcast_to",
    "expand_dims",
    "reshape",
    "view",
    "ravel",
    "trans",
    "permute",
    "join",
    "split",
    "interleave",
    "cat",
    "squeeze",
    "unsqueeze",
    "gather",
    "dims_of",
    "axis_of",
]


# --- reading compile-time arguments ---------------------------------------------------------------------


def dims_of(args: Any, what: str = "shape") -> tuple[int, ...]:
    """``(4, 8)``, ``[4, 8]``, a ``tl.tuple`` of constexprs, or those as the only element of a tuple, as Python ints.

    Raises TypeError where an element is not known at compile time.
    """
    args = static(unwrap_deep(args))
    if isinstance(args, int):
        args = (args,)
    if isinstance(args, (list, tuple)) and len(args) == 1 and isinstance(args[0], (list, tuple)):
        args = args[0]
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"{what} must be a list or tuple of constexpr integers, not {args!r}")
    args = [static(d) for d in args]
    for i, d in enumerate(args):
        if isinstance(d, tensor) or not hasattr(d, "__index__"):
            raise TypeError(f"element {i} of {what} must be known at compile time (tl.constexpr), but is {d!r}")
    return tuple(int(d) for d in args)


def static(x: Any) -> Any:
    """The number behind a constexpr or a scalar constant; anything else as it is."""
    x = unwrap(x)
    if isinstance(x, tensor) and (value := x.literal()) is not None:
        return value
    return x


def axis_of(axis: Any, rank: int, what: str = "axis") -> int:
    """A compile-time axis, negative ones counted from the end.  Raises TypeError or ValueError."""
    axis = static(axis)
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(f"{what} must be a constexpr integer, not {axis!r}")
    if not -rank <= axis < rank:
        raise ValueError(f"invalid {what} {axis}: out of range for {rank} dimensions")
    return axis % rank if rank else 0


def _integer(x: Any, what: str) -> int:
    x = static(x)
    if not isinstance(x, int):
        remedy = "a value known only at run time cannot decide a shape; declare the parameter tl.constexpr"
        if not isinstance(x, tensor):
            remedy = f"a shape is made of Python's integers, and this is of type {type(x).__name__}; write int(...) where it comes from"
        raise Mistake(f"{what} must be of type tl.constexpr, but got {x!r}", remedy)
    return int(x)  # True is 1, as it is to Python: linghe's block size is max of a list of comparisons


# --- program and indices --------------------------------------------------------------------------------


@builtin
def program_id(axis: Any) -> tensor:
    """The index of this program along grid ``axis`` (0, 1 or 2), int32."""
    return promotion.emit("program_id", int32, axis=_grid_axis(axis, "program_id"))


@builtin
def num_programs(axis: Any) -> tensor:
    """The extent of grid ``axis`` (0, 1 or 2), int32."""
    return promotion.emit("num_programs", int32, axis=_grid_axis(axis, "num_programs"))


def _grid_axis(axis: Any, name: str) -> int:
    axis = static(axis)
    if isinstance(axis, tensor) or axis not in (0, 1, 2):
        raise ValueError(f"{name} axis must be 0, 1, or 2 but got {axis}")
    return int(axis)


@builtin
def arange(start: Any, end: Any) -> tensor:
    """start, start + 1, … end − 1 as int32.  Both are compile-time and their distance is a power of two."""
    start, end = _integer(start, "arange's arguments"), _integer(end, "arange's arguments")
    n = end - start
    if start < -(2**31) or end > 2**31:
        raise ValueError(f"arange must fit in int32, but goes from {start} to {end}")
    if n <= 0:
        raise ValueError(f"arange's end argument must be greater than the start argument, but they are {end} and {start}")
    if n & (n - 1):
        raise Mistake(
            "arange's range must be a power of 2",
            f"it is {n} here (from {start} to {end}); use tl.arange(0, N) with N rounded up and a mask",
        )
    if n > TRITON_MAX_TENSOR_NUMEL:
        raise ValueError(f"arange's range ({n}) exceeds triton maximum tensor numel ({TRITON_MAX_TENSOR_NUMEL})")
    return promotion.emit("arange", make_block(int32, (n,)), start=start, end=end)


# --- creation -------------------------------------------------------------------------------------------


@builtin
def full(shape: Any, value: Any, dtype: dtype) -> tensor:
    """A tile of ``shape`` filled with ``value``, a Python scalar or a tensor of one element."""
    dims, value, element = dims_of(shape), unwrap(value), unwrap(dtype)
    if isinstance(value, tensor):
        if value.type.numel != 1:
            raise ValueError(f"full takes a scalar or a tensor of one element, not {value.type}")
        value = reshape(value, ()) if value.rank else value
        return promotion.broadcast_to_shape(casting.cast_to(value, element or value.dtype), dims)
    if element is None:
        raise ValueError("full needs a dtype where its value is not a tensor")
    return promotion.constant(_converted(value, element), make_block(element, dims))


def _converted(value: Any, to: dtype) -> Any:
    if to.is_bool():
        return bool(value)
    return float(value) if to.is_floating() else int(value)


@builtin
def zeros(shape: Any, dtype: dtype) -> tensor:
    """A tile of zeros."""
    return full(shape, 0, dtype)


@builtin
def zeros_like(input: tensor) -> tensor:
    """Zeros of the shape and type of ``input``."""
    return promotion.constant(0, input.type)


# --- broadcasting ---------------------------------------------------------------------------------------


@builtin
def broadcast(input: Any, other: Any) -> tuple[tensor, tensor]:
    """Both values in their common shape."""
    return promotion.broadcast_pair(promotion.to_tensor(input), promotion.to_tensor(other))


@member
@builtin
def broadcast_to(input: Any, *shape: Any) -> tensor:
    """``input`` repeated along its dimensions of size 1 up to ``shape``."""
    return promotion.broadcast_to_shape(promotion.to_tensor(input), dims_of(shape))


@member
@builtin
def expand_dims(input: Any, axis: Any) -> tensor:
    """Dimensions of size 1 inserted, so that they have the index ``axis`` (an integer or several) in the result."""
    x, axes = promotion.to_tensor(input), unwrap_deep(axis)
    axes = list(axes) if isinstance(axes, (list, tuple)) else [axes]
    rank = x.rank + len(axes)
    places = sorted(axis_of(a, rank) for a in axes)
    if len(set(places)) != len(places):
        raise ValueError(f"expand_dims received duplicate axes, normalized axes = {places} (given as {axes})")
    for place in places:
        shape = list(x.type.shape)
        shape.insert(place, 1)
        to = make_block(x.dtype, tuple(shape))
        x = promotion.emit("expand_dims", to, x.handle, axis=place) if x.rank else promotion.broadcast_to_shape(x, tuple(shape))
    return x


@member
@builtin
def unsqueeze(x: tensor, dim: Any) -> tensor:
    """A dimension of size 1 inserted at ``dim``."""
    return expand_dims(x, dim)


@member
@builtin
def squeeze(x: tensor, dim: Any) -> tensor:
    """Dimension ``dim``, which has size 1, taken away."""
    d = axis_of(dim, x.rank, "dim")
    shape = x.type.shape
    if shape[d] != 1:
        raise ValueError(f"squeeze needs a dimension of size 1, but dimension {d} of shape {list(shape)} has size {shape[d]}")
    return reshape(x, shape[:d] + shape[d + 1 :])


# --- the same elements in another shape ------------------------------------------------------------------


@member
@builtin
def reshape(input: Any, *shape: Any, can_reorder: Any = False) -> tensor:
    """The elements in row-major order under another shape of as many elements.  ``can_reorder`` changes nothing here."""
    x, dims = promotion.to_tensor(input), dims_of(shape)
    if dims == x.type.shape:
        return x
    numel = 1
    for d in dims:
        numel *= d
    if numel != x.type.numel:
        raise ValueError(
            f"reshape() cannot change total number of elements in tensor: {list(x.type.shape)} has {x.type.numel}, {list(dims)} has {numel}"
        )
    if not x.rank:
        return promotion.broadcast_to_shape(x, dims)
    return promotion.emit("reshape", make_block(x.dtype, dims), x.handle, shape=dims)


@member
@builtin
def view(input: Any, *shape: Any) -> tensor:
    """`reshape` under its old name."""
    return reshape(input, *shape)


@member
@builtin
def ravel(x: tensor, can_reorder: Any = False) -> tensor:
    """The elements in one dimension."""
    return reshape(x, (x.type.numel,))


@member
@builtin
def permute(input: tensor, *dims: Any) -> tensor:
    """Dimension i of the result is dimension dims[i] of ``input``."""
    order = dims_of(dims, "dims")
    if len(order) != input.rank:
        raise ValueError(
            f"permute dims must have the same length as input shape, but they are {list(order)} for shape {list(input.type.shape)}"
        )
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"permute dims must be a permutation of 0, 1, ..., n-1, but were {list(order)}")
    if list(order) == sorted(order):
        return input
    shape = tuple(input.type.shape[d] for d in order)
    return promotion.emit("permute", make_block(input.dtype, shape), input.handle, order=order)


@member
@builtin
def trans(input: tensor, *dims: Any) -> tensor:
    """The last two dimensions swapped, or `permute` where ``dims`` are given."""
    if dims:
        return permute(input, *dims)
    n = input.rank
    if n < 2:
        raise ValueError(f"tl.trans invoked with a {n}-dimensional tensor; without dims it needs at least 2 dimensions")
    return permute(input, (*range(n - 2), n - 1, n - 2))


# --- putting together, taking apart -------------------------------------------------------------------------


@builtin
def join(a: Any, b: Any) -> tensor:
    """a and b, broadcast, stacked along a new last dimension of size 2."""
    a, b = promotion.broadcast_pair(promotion.to_tensor(a), promotion.to_tensor(b))
    if a.dtype != b.dtype:
        raise TypeError(f"tl.join needs operands of one type, not {a.type} and {b.type}")
    if not a.rank:
        return reshape(join(expand_dims(a, 0), expand_dims(b, 0)), (2,))
    return promotion.emit("join", make_block(a.dtype, (*a.type.shape, 2)), a.handle, b.handle)


@member
@builtin
def split(a: tensor) -> tuples.tuple:
    """The two halves along the last dimension, which has size 2: the inverse of `join`."""
    if not a.rank or a.type.shape[-1] != 2:
        raise ValueError(f"tl.split needs a last dimension of size 2, but the shape is {list(a.type.shape)}")
    if a.rank == 1:
        low, high = split(reshape(a, (1, 2)))
        return tuples.tuple([reshape(low, ()), reshape(high, ())])
    half = make_block(a.dtype, a.type.shape[:-1])
    low, high = current().builder.make("split", [a.handle]).results
    return tuples.tuple([tensor(low, half), tensor(high, half)])


@builtin
def interleave(a: Any, b: Any) -> tensor:
    """a[0], b[0], a[1], b[1], … along the last dimension."""
    c = join(a, b)
    if c.rank == 1:
        return c
    *outer, last, two = c.type.shape
    return reshape(c, (*outer, last * two))


@builtin
def cat(input: tensor, other: tensor, can_reorder: Any = False, dim: Any = 0) -> tensor:
    """``input`` and then ``other`` along ``dim``; the shapes are equal.  ``can_reorder`` is accepted and not used."""
    if input.dtype != other.dtype:
        raise TypeError(f"tl.cat needs operands of one type, not {input.type} and {other.type}")
    if input.type.shape != other.type.shape or not input.rank:
        raise ValueError(f"tl.cat needs two tiles of one shape, not {list(input.type.shape)} and {list(other.type.shape)}")
    d, n = axis_of(dim, input.rank, "dim"), input.rank
    pair = permute(join(input, other), (*range(d), n, *range(d, n)))
    shape = list(input.type.shape)
    shape[d] *= 2
    return reshape(pair, shape)


@member
@builtin
def gather(src: tensor, index: tensor, axis: Any) -> tensor:
    """src[…, index[…], …] along ``axis``; the other dimensions of ``index`` and ``src`` agree."""
    if not index.dtype.is_int():
        raise TypeError(f"tl.gather needs an integer index, not {index.type}")
    if src.rank != index.rank or not src.rank:
        raise ValueError(
            f"source and index must have the same rank, but their shapes are {list(src.type.shape)} and {list(index.type.shape)}"
        )
    a = axis_of(axis, src.rank)
    for d in range(src.rank):
        if d != a and src.type.shape[d] != index.type.shape[d]:
            raise ValueError(f"index dim {d} must match the corresponding source dim: {list(src.type.shape)} and {list(index.type.shape)}")
    return promotion.emit("gather", index.type.with_element_ty(src.dtype), src.handle, index.handle, axis=a)


from . import casting, promotion, tuples  # noqa: E402  they come after this file in the import order
