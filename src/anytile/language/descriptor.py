"""Block pointers and tensor descriptors: rectangular windows on a strided tensor.

Both are structs of the language (`Aggregate`), not types of the tile IR.  A load or store through one is expanded
here into a tile of pointers and a mask::

    pointer = base + Σ offset[d]·stride[d]          one scalar, so that a loop only moves this
                   + Σ arange(block[d])·stride[d]   the same tile in every iteration
    mask    = 0 <= offset[d] + arange(block[d]) < shape[d]     for the checked dimensions

Block pointer (``tl.make_block_ptr``, up to Triton 3.8): offsets live in it, `advance` moves it, each access names
the dimensions to check.  Tensor descriptor (``tl.make_tensor_descriptor``, from 3.4): offsets come with each access
and all dimensions are checked.  Extents and strides known at compile time stay so: a stride of 1 costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import memory
from .aggregate import Aggregate, flatten, structure, unflatten
from .arithmetic import add, mul
from .builtin import builtin
from .casting import cast_to
from .constexpr import constexpr, unwrap, unwrap_deep
from .context import current
from .promotion import broadcast_to_shape, to_tensor
from .shaping import arange, dims_of, expand_dims
from .target_info import cuda_capability_geq
from .tensor import tensor
from .tuples import as_sequence
from .tuples import tuple as tl_tuple
from .types import block_type, dtype, int32, int64, pointer_type, tensor_descriptor_type

if TYPE_CHECKING:
    from ..ir import Value

__all__ = [
    "block_pointer",
    "make_block_ptr",
    "advance",
    "tensor_descriptor",
    "tensor_descriptor_base",
    "make_tensor_descriptor",
    "load_tensor_descriptor",
    "store_tensor_descriptor",
    "dimensions",
]


# --- the window ------------------------------------------------------------------------------------------


def _scalar(x: Any, what: str, to: dtype | None = None) -> Any:
    """``x`` as a constexpr, or as a scalar integer tensor (converted to ``to``).  Raises TypeError."""
    x = unwrap(x)
    if isinstance(x, int) and not isinstance(x, bool):
        return constexpr(x)
    if isinstance(x, tensor) and not x.rank and x.dtype.is_int():
        if to is not None:
            return cast_to(x, to)
        return x if x.dtype.is_int_signed() else cast_to(x, int64)
    raise TypeError(f"{what} must be an integer or a scalar integer tensor, not {x.type if isinstance(x, tensor) else repr(x)}")


def _scalars(xs: Any, n: int | None, what: str, to: dtype | None = None) -> list[Any]:
    # One value stands for a tuple of one, as in Triton: `(x)` without its comma is in published kernels.
    parts = (xs,) if n == 1 and isinstance(unwrap(xs), (int, tensor)) else as_sequence(xs)
    items = [_scalar(x, f"each of {what}", to) for x in parts]
    if n is not None and len(items) != n:
        raise ValueError(f"Expected {n} {what} but got {len(items)}")
    return items


def _along(x: tensor, axis: int, rank: int) -> tensor:
    """A vector laid along ``axis`` of ``rank`` dimensions."""
    return expand_dims(x, [d for d in range(rank) if d != axis]) if rank > 1 else x


def _base_of(base: Any, what: str) -> tensor:
    if not isinstance(base, tensor) or not base.type.is_ptr():
        raise ValueError(f"Expected `base` of {what} to be a scalar pointer, not {base.type if isinstance(base, tensor) else repr(base)}")
    return base


def _window(
    base: tensor, offsets: Sequence[Any], shape: Sequence[Any], strides: Sequence[Any], block: Sequence[int], checked: Sequence[int]
) -> tuple[tensor, tensor | None]:
    """The tile of pointers and the mask (None where nothing is checked) of the window at ``offsets``.

    An offset may be a vector instead of a scalar: it then gives the coordinates along its dimension itself.
    """
    rank = len(block)
    pointer: Any = base
    tile: Any = None
    mask: Any = None
    for d in range(rank):
        offset, stride = unwrap(offsets[d]), strides[d]
        if isinstance(offset, tensor) and offset.rank:
            coordinate, lanes = offset, cast_to(offset, int64)
        else:
            lanes = arange(0, block[d])
            coordinate = lanes if isinstance(offset, int) and offset == 0 else add(offset, lanes, sanitize_overflow=False)
            start = offset if isinstance(offset, int) else cast_to(offset, int64)
            pointer = pointer if isinstance(start, int) and start == 0 else pointer + mul(to_tensor(start), stride, sanitize_overflow=False)
        step = lanes if unwrap(stride) is not None and _is_one(stride) else mul(cast_to(lanes, int64), stride, sanitize_overflow=False)
        step = _along(step, d, rank)
        tile = step if tile is None else add(tile, step, sanitize_overflow=False)
        if d in checked:
            inside = _along((coordinate >= 0) & (coordinate < shape[d]), d, rank)
            mask = inside if mask is None else mask & inside
    full = tuple(block)
    pointers = broadcast_to_shape(pointer, full) + broadcast_to_shape(tile, full)
    return pointers, None if mask is None else broadcast_to_shape(mask, full)


def _told(pointers: tensor, base: tensor, offsets: Sequence[Any], shape: Sequence[Any], strides: Sequence[Any]) -> tensor:
    """``pointers`` of `_window`, all of whose dimensions are checked: the IR says that they are a block, where the target can use it.

    Hopper's copy engine moves blocks of tensors of two dimensions or more; nobody else asks.
    """
    if pointers.rank < 2 or not cuda_capability_geq(9) or any(isinstance(o, tensor) and o.rank for o in offsets):
        return pointers
    numbers = [*(cast_to(to_tensor(x), int32) for x in (*offsets, *shape)), *(cast_to(to_tensor(s), int64) for s in strides[:-1])]
    op = current().builder.make("window", [pointers.handle, base.handle, *(x.handle for x in numbers)], {})
    return tensor(op.results[0], pointers.type)


def _is_one(x: Any) -> bool:
    x = unwrap(x)
    return isinstance(x, int) and x == 1


def _padding(option: Any, element: dtype) -> float | None:
    option = unwrap(option) or ""
    if option not in ("", "zero", "nan"):
        raise ValueError(f"Padding option {option!r} not supported; use 'zero' or 'nan'")
    if option == "nan" and not element.is_floating():
        raise ValueError(f"Padding option `nan` is not supported for integers (the elements are {element})")
    return math.nan if option == "nan" else None


def dimensions(boundary_check: Any) -> tuple[int, ...]:
    """``boundary_check`` as a sorted tuple of dimensions."""
    value = unwrap_deep(boundary_check)
    if value is None:
        return ()
    return tuple(sorted((value,) if isinstance(value, int) else value))


def _checked_dims(boundary_check: Any, rank: int) -> tuple[int, ...]:
    dims = dimensions(boundary_check)
    if any(not 0 <= d < rank for d in dims) or len(set(dims)) != len(dims):
        raise ValueError(f"boundary_check must hold different dimensions of 0 … {rank - 1}, not {list(dims)}")
    return dims


class _Window(Aggregate):
    """The parts which block pointers and descriptors share.  ``parts`` names the attributes that may be run-time."""

    __slots__ = ("base", "block_type", "_shape", "_strides")

    base: tensor
    block_type: block_type
    _shape: list[Any]
    _strides: list[Any]

    @property
    def element(self) -> dtype:
        return memory.pointee(self.base)

    @property
    def block_shape(self) -> tl_tuple:
        return tl_tuple([constexpr(d) for d in self.block_type.shape])

    @property
    def shape(self) -> tl_tuple:
        return tl_tuple([to_tensor(x) if isinstance(x, constexpr) else x for x in self._shape])

    @property
    def strides(self) -> tl_tuple:
        return tl_tuple([cast_to(to_tensor(x), int64) for x in self._strides])

    def _parts(self) -> list[Any]:
        raise NotImplementedError

    def _with(self, parts: list[Any]) -> _Window:
        raise NotImplementedError

    def flatten(self) -> list[Value]:
        return [v for p in self._parts() for v in flatten(p)]

    def unflatten(self, values: Sequence[Value]) -> _Window:
        rest, out = list(values), []
        for p in self._parts():
            n = len(flatten(p))
            out.append(unflatten(p, rest[:n]))
            rest = rest[n:]
        return self._with(out)

    def structure(self) -> Any:
        return (type(self).__name__, self.block_type, [structure(p) for p in self._parts()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.block_type}>"


# --- block pointers -------------------------------------------------------------------------------------


class block_pointer(_Window):
    """What ``tl.make_block_ptr`` gives: a window that remembers where it stands."""

    __slots__ = ("_offsets", "order")

    def __init__(self, base: tensor, shape: list[Any], strides: list[Any], offsets: list[Any], block: block_type, order: tuple[int, ...]):
        self.base, self._shape, self._strides, self._offsets = base, shape, strides, offsets
        self.block_type, self.order = block, order

    @property
    def type(self) -> pointer_type:
        return pointer_type(self.block_type)

    @property
    def dtype(self) -> pointer_type:
        """As in Triton a pointer to a tile: kernels write ``x.to(p.dtype.element_ty)``."""
        return pointer_type(self.block_type)

    @property
    def offsets(self) -> tl_tuple:
        return tl_tuple(self._offsets)

    def _parts(self) -> list[Any]:
        return [self.base, *self._shape, *self._strides, *self._offsets]

    def _with(self, parts: list[Any]) -> block_pointer:
        n = len(self._shape)
        base, rest = parts[0], parts[1:]
        return block_pointer(base, rest[:n], rest[n : 2 * n], rest[2 * n :], self.block_type, self.order)

    def _pointers(self, boundary_check: Any) -> tuple[tensor, tensor | None]:
        block = self.block_type.shape
        return _window(self.base, self._offsets, self._shape, self._strides, block, _checked_dims(boundary_check, len(block)))

    def load(self, boundary_check: Any, padding_option: Any, **hints: Any) -> tensor:
        padding = _padding(padding_option, self.element)
        pointers, mask = self._pointers(boundary_check)
        return memory.load_pointers(pointers, mask, padding if mask is not None else None, **hints)

    def store(self, value: Any, boundary_check: Any, **hints: Any) -> None:
        value = unwrap(value)
        if isinstance(value, tensor) and value.rank and value.type.shape != self.block_type.shape:
            raise ValueError(f"Block shape({list(self.block_type.shape)}) and value shape({list(value.type.shape)}) mismatch")
        pointers, mask = self._pointers(boundary_check)
        memory.store_pointers(pointers, value, mask, **hints)

    def advance(self, offsets: Any) -> block_pointer:
        deltas = _scalars(offsets, len(self._offsets), "offsets")
        moved = [
            cast_to(add(o, d, sanitize_overflow=False), int32) if unwrap(d) is not None and not _is_zero(d) else o
            for o, d in zip(self._offsets, deltas)
        ]
        return block_pointer(self.base, self._shape, self._strides, moved, self.block_type, self.order)


def _is_zero(x: Any) -> bool:
    x = unwrap(x)
    return isinstance(x, int) and x == 0


@builtin
def make_block_ptr(base: Any, shape: Any, strides: Any, offsets: Any, block_shape: Any, order: Any) -> block_pointer:
    """A block pointer at ``offsets`` of the tensor at ``base`` with ``shape`` and ``strides`` (in elements).

    ``block_shape`` and ``order`` are compile-time; ``order`` (fastest dimension first) is a hint and changes no result.
    """
    base = _base_of(base, "make_block_ptr")
    block = dims_of(block_shape, "block_shape")
    n = len(block)
    order = dims_of(order, "order")
    if sorted(order) != list(range(n)):
        raise ValueError(f"Expected a permutation of (0, 1, ..., {n - 1}) in order, but got {list(order)}")
    return block_pointer(
        base,
        _scalars(shape, n, "extents in shape"),
        _scalars(strides, n, "strides", int64),
        [cast_to(to_tensor(o), int32) for o in _scalars(offsets, n, "offsets", int32)],
        block_type(base.dtype.element_ty, block),
        order,
    )


@builtin
def advance(base: block_pointer, offsets: Any) -> block_pointer:
    """The block pointer moved by ``offsets`` elements along each dimension."""
    if not isinstance(base, block_pointer):
        raise TypeError(f"tl.advance takes a block pointer made by tl.make_block_ptr, not {base!r}")
    return base.advance(offsets)


# --- tensor descriptors ---------------------------------------------------------------------------------


#: Elements on which a descriptor's atomic_add works, and those of the other kinds.
_REDUCED_ADD = ("uint32", "int32", "uint64", "fp32", "fp16", "bf16")
_REDUCED = ("uint32", "int32", "uint64", "int64")


class tensor_descriptor_base(_Window):
    """What ``tl.make_tensor_descriptor`` gives.  Reads outside of the tensor give padding, writes are dropped."""

    __slots__ = ("padding",)

    def __init__(self, base: tensor, shape: list[Any], strides: list[Any], block: block_type, padding: str = "zero"):
        self.base, self._shape, self._strides, self.block_type, self.padding = base, shape, strides, block, padding

    @property
    def dtype(self) -> dtype:
        return self.element

    @property
    def type(self) -> tensor_descriptor_type:
        return tensor_descriptor_type(self.block_type, self.padding)

    def _parts(self) -> list[Any]:
        return [self.base, *self._shape, *self._strides]

    def _with(self, parts: list[Any]) -> tensor_descriptor_base:
        n = len(self._shape)
        return type(self)(parts[0], parts[1 : 1 + n], parts[1 + n :], self.block_type, self.padding)

    def structure(self) -> Any:
        return (super().structure(), self.padding)

    def _pointers(self, offsets: Any) -> tuple[tensor, tensor]:
        block = self.block_type.shape
        at = _scalars(offsets, len(block), "offsets", int32)
        pointers, mask = _window(self.base, at, self._shape, self._strides, block, range(len(block)))
        assert mask is not None
        if self.padding == "zero":
            pointers = _told(pointers, self.base, at, self._shape, self._strides)
        return pointers, mask

    @builtin
    def load(self, offsets: Any, cache_modifier: Any = "", eviction_policy: Any = "") -> tensor:
        """The block at ``offsets`` (in elements)."""
        pointers, mask = self._pointers(offsets)
        hints = {"cache": unwrap(cache_modifier) or "", "evict": unwrap(eviction_policy) or ""}
        return memory.load_pointers(pointers, mask, _padding(self.padding, self.element), **hints)

    @builtin
    def store(self, offsets: Any, value: Any) -> None:
        """Writes the block ``value`` at ``offsets``."""
        pointers, mask = self._pointers(offsets)
        memory.store_pointers(pointers, self._block(value), mask)

    def _block(self, value: Any) -> tensor:
        if not isinstance(value, tensor) or value.type.shape != self.block_type.shape:
            shown = value.type if isinstance(value, tensor) else repr(value)
            raise ValueError(f"a value of the descriptor's block shape {list(self.block_type.shape)} is needed, not {shown}")
        return value

    def _rows(self, x_offsets: tensor, y_offset: Any) -> tuple[tensor, tensor]:
        block = self.block_type.shape
        if len(block) != 2 or block[0] != 1:
            raise ValueError(f"gather and scatter need a descriptor with a block of one row, but its block is {list(block)}")
        if not isinstance(x_offsets, tensor) or x_offsets.rank != 1:
            raise ValueError(f"x offsets must be 1D, but got {x_offsets.type if isinstance(x_offsets, tensor) else x_offsets!r}")
        y = _scalar(y_offset, "y_offset", int32)
        pointers, mask = _window(self.base, [x_offsets, y], self._shape, self._strides, (x_offsets.type.shape[0], block[1]), (0, 1))
        assert mask is not None
        return pointers, mask

    @builtin
    def gather(self, x_offsets: tensor, y_offset: Any) -> tensor:
        """The rows ``x_offsets``, each from column ``y_offset``: shape (rows, block_shape[1])."""
        pointers, mask = self._rows(x_offsets, y_offset)
        return memory.load_pointers(pointers, mask, _padding(self.padding, self.element))

    @builtin
    def scatter(self, value: tensor, x_offsets: tensor, y_offset: Any) -> None:
        """Writes the rows of ``value`` to the rows ``x_offsets`` from column ``y_offset``."""
        pointers, mask = self._rows(x_offsets, y_offset)
        memory.store_pointers(pointers, value, mask)

    def _atomic(self, kind: str, offsets: Any, value: Any) -> None:
        """Only what the language promises for the target: TypeError for other elements."""
        floats = ("fp16", "bf16") if kind in ("min", "max") and cuda_capability_geq(9) else ()
        allowed = (*(_REDUCED_ADD if kind == "add" else _REDUCED), *floats)
        if self.element.name not in allowed:
            raise TypeError(f"Unsupported dtype {self.element} of atomic_{kind} of a descriptor; it takes {', '.join(allowed)}")
        pointers, mask = self._pointers(offsets)
        if self.element.name in floats:
            memory.narrow_extremum(kind, pointers, self._block(value), mask)
        else:
            getattr(memory, f"atomic_{kind}")(pointers, self._block(value), mask, sem="relaxed")

    @builtin
    def atomic_add(self, offsets: Any, value: tensor) -> None:
        """Adds ``value`` to the block at ``offsets``, each element atomically."""
        self._atomic("add", offsets, value)

    @builtin
    def atomic_min(self, offsets: Any, value: tensor) -> None:
        self._atomic("min", offsets, value)

    @builtin
    def atomic_max(self, offsets: Any, value: tensor) -> None:
        self._atomic("max", offsets, value)

    @builtin
    def atomic_and(self, offsets: Any, value: tensor) -> None:
        self._atomic("and", offsets, value)

    @builtin
    def atomic_or(self, offsets: Any, value: tensor) -> None:
        self._atomic("or", offsets, value)

    @builtin
    def atomic_xor(self, offsets: Any, value: tensor) -> None:
        self._atomic("xor", offsets, value)


class tensor_descriptor(tensor_descriptor_base):
    """A descriptor made in a kernel, or passed to it as a parameter."""

    __slots__ = ()

    @staticmethod
    def of(type: tensor_descriptor_type, parts: Sequence[tensor]) -> tensor_descriptor:
        """The parameter of ``type`` whose slots (`tensor_descriptor_type.slots`) are ``parts``.  ValueError: see `make_tensor_descriptor`."""
        rank = len(type.block_type.shape)
        _check_block(type.block_type)
        _padding(type.padding, type.block_type.element_ty)
        base, *rest = parts
        return tensor_descriptor(base, list(rest[:rank]), [*rest[rank:], constexpr(1)], type.block_type, type.padding)


def _check_block(block: block_type) -> None:
    size = block.element_ty.to_ir().elem.bytes
    last = block.shape[-1]
    if last * size < 16:
        raise ValueError(
            f"Descriptor block shape must have at least 16 bytes in the last dimension, but got {last} * {size} = {last * size} bytes"
        )


@builtin
def make_tensor_descriptor(base: Any, shape: Any, strides: Any, block_shape: Any, padding_option: Any = "zero") -> tensor_descriptor:
    """A descriptor of the tensor at ``base`` with 1 to 5 dimensions, read and written in blocks of ``block_shape``.

    The last stride must be the compile-time 1 and a block's last dimension at least 16 bytes (ValueError), as on
    hardware that has such descriptors.  ``padding_option``: "zero" or "nan", what reads outside give.
    """
    base = _base_of(base, "make_tensor_descriptor")
    extents = _scalars(shape, None, "shape", int32)
    n = len(extents)
    if not 1 <= n <= 5:
        raise ValueError(f"Expected 1 <= ndim <= 5 but got {n} dimensions")
    steps = _scalars(strides, n, "strides", int64)
    block = dims_of(block_shape, "block_shape")
    if len(block) != n:
        raise ValueError(f"Expected block_shape to have {n} dimensions but got {len(block)}")
    if not _is_one(steps[-1]):
        raise ValueError(f"Tensor descriptor last dim must be 1 but got {unwrap(strides[-1])}")
    element = base.dtype.element_ty
    window = block_type(element, block)
    _check_block(window)
    option = unwrap(padding_option)
    _padding(option, element)
    return tensor_descriptor(base, extents, steps, window, option)


@builtin
def load_tensor_descriptor(desc: tensor_descriptor_base, offsets: Any) -> tensor:
    """``desc.load(offsets)``"""
    return desc.load(offsets)


@builtin
def store_tensor_descriptor(desc: tensor_descriptor_base, offsets: Any, value: tensor) -> None:
    """``desc.store(offsets, value)``"""
    desc.store(offsets, value)
