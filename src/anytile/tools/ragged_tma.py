"""Ragged tensors through descriptors: slices ``T[first : first + size]`` of one tensor, each bounded by its own end.

    desc = create_ragged_descriptor(T, [BLOCK_ROWS, BLOCK_COLUMNS])     # on the host, once

    rows = load_ragged(desc, first, size, [i, j])                       # in the kernel; (i, j) counts from the slice's begin
    store_ragged(desc, first, size, [i, j], rows)

What a block has beyond the end of its slice reads as the padding and is not written, although the next slice lies there.  In a
kernel, the slice is a descriptor of its own: the base moved to the slice's begin, and its size as the extent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..language import core
from .tensor_descriptor import DescriptorError, TensorDescriptor

__all__ = ["atomic_add_ragged", "create_ragged_descriptor", "load_ragged", "store_ragged"]


def create_ragged_descriptor(T: Any, block_shape: Sequence[int], ragged_dim: int = 0) -> TensorDescriptor:
    """The descriptor of ``T`` (2 or 3 dimensions) for the functions of this module; slices lie along ``ragged_dim``.

    DescriptorError where that is the last dimension, which must be contiguous, or none, or for what no descriptor can have.
    """
    rank = len(T.shape)
    if not 2 <= rank <= 3:
        raise DescriptorError(f"a ragged tensor has 2 or 3 dimensions, and the shape {list(T.shape)} has {rank}")
    if not -rank <= ragged_dim < rank or ragged_dim % rank == rank - 1:
        raise DescriptorError(f"ragged_dim is one of the dimensions 0 to {rank - 2} of the shape {list(T.shape)}, not {ragged_dim}")
    return TensorDescriptor.from_tensor(T, block_shape)


def _slice(desc: Any, first: Any, size: Any, ragged_dim: Any) -> Any:
    """The descriptor of ``size`` rows from ``first`` on."""
    at = core._unwrap_if_constexpr(ragged_dim)
    shape, strides = list(desc.shape), list(desc.strides)
    base = desc.base + core.cast(first, core.int64) * strides[at]
    shape[at], strides[-1] = size, 1
    return core.make_tensor_descriptor(base, shape, strides, desc.block_shape)


@core.builtin
def load_ragged(desc: Any, slice_off: Any, slice_size: Any, coords: Any, ragged_dim: Any = 0) -> Any:
    """The block at ``coords`` of the slice of ``slice_size`` rows from ``slice_off`` on; zero outside of the slice."""
    return _slice(desc, slice_off, slice_size, ragged_dim).load(coords)


@core.builtin
def store_ragged(desc: Any, slice_off: Any, slice_size: Any, coords: Any, data: Any, ragged_dim: Any = 0) -> None:
    """Writes ``data`` at ``coords`` of the slice; nothing outside of the slice."""
    _slice(desc, slice_off, slice_size, ragged_dim).store(coords, data)


@core.builtin
def atomic_add_ragged(desc: Any, slice_off: Any, slice_size: Any, coords: Any, data: Any, ragged_dim: Any = 0) -> None:
    """Adds ``data`` at ``coords`` of the slice, each element atomically; nothing outside of the slice."""
    _slice(desc, slice_off, slice_size, ragged_dim).atomic_add(coords, data)
