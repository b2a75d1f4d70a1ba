"""`TensorDescriptor`: a tensor with a block shape, passed to a kernel as one argument.

The kernel moves blocks with `desc.load(offsets)` and `desc.store(offsets, value)`; parts of a block outside the tensor read as
the padding and are not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AnytileError

__all__ = ["DescriptorError", "TensorDescriptor"]

_PADDINGS = ("zero", "nan")
_ALIGNMENT = 16  # bytes; of the base address and of every stride but the last, as Hopper's copy engine needs it


class DescriptorError(AnytileError, ValueError, AssertionError):
    """A tensor, shape, stride or block shape that no descriptor can have."""


@dataclass
class TensorDescriptor:
    """``base``: the tensor (torch, NumPy or anything with `data_ptr()` and `dtype`).

    ``shape``, ``strides``: in elements, of the same rank (1 to 5), the last stride 1, the others multiples of 16 bytes;
    ``block_shape``: powers of two, at the launch at least 16 bytes in the last dimension (an autotuner's ``pre_hook`` may assign it
    until then).  ``padding``: "zero" or "nan", what elements outside
    the tensor read as.  ``round_f32_to_tf32``: float32 loads may be rounded to TF32.
    """

    base: Any
    shape: list[int]
    strides: list[int]
    block_shape: list[int]
    padding: str = "zero"
    round_f32_to_tf32: bool = False

    def __post_init__(self) -> None:
        rank = len(self.shape)
        if not 1 <= rank <= 5:
            raise DescriptorError(f"a TensorDescriptor has 1 to 5 dimensions, and the shape {list(self.shape)} has {rank}")
        if len(self.strides) != rank or len(self.block_shape) != rank:
            raise DescriptorError(
                f"shape {list(self.shape)}, strides {list(self.strides)} and block_shape {list(self.block_shape)} of a TensorDescriptor "
                "must have the same number of dimensions"
            )
        if self.padding not in _PADDINGS:
            raise DescriptorError(f"padding is 'zero' or 'nan', not {self.padding!r}")
        for d, size in enumerate(self.block_shape):
            if size < 1 or size & (size - 1):
                raise DescriptorError(f"Shape element {d} must be a power of 2, and block_shape is {list(self.block_shape)}")
        address, item = _address_and_itemsize(self.base)
        if address % _ALIGNMENT:
            raise DescriptorError(f"the base of a TensorDescriptor must be aligned to {_ALIGNMENT} bytes, and its address is {address:#x}")
        if self.strides[-1] != 1:
            raise DescriptorError(f"the last dimension must be contiguous (stride 1), and the strides are {list(self.strides)}")
        for stride in self.strides[:-1]:
            if stride * item % _ALIGNMENT:
                raise DescriptorError(
                    f"strides must be {_ALIGNMENT}-byte aligned, and a stride of {stride} elements of {item} bytes is not"
                )
        if any(size <= 0 for size in self.shape):
            raise DescriptorError(f"shape must be positive in every dimension, and it is {list(self.shape)}")

    @staticmethod
    def from_tensor(tensor: Any, block_shape: Sequence[int], padding: str = "zero", round_f32_to_tf32: bool = False) -> TensorDescriptor:
        """The descriptor of the whole of ``tensor``, with its own shape and strides."""
        strides = tensor.stride() if callable(getattr(tensor, "stride", None)) else [s // tensor.itemsize for s in tensor.strides]
        return TensorDescriptor(tensor, list(tensor.shape), list(strides), list(block_shape), padding, round_f32_to_tf32)


def _address_and_itemsize(base: Any) -> tuple[int, int]:
    """The address of the first element, and the bytes of one."""
    if hasattr(base, "data_ptr"):
        item = getattr(base.dtype, "itemsize", None)
        return base.data_ptr(), base.element_size() if item is None else item
    interface = getattr(base, "__array_interface__", None)
    if interface is None:
        raise DescriptorError(
            f"a TensorDescriptor needs a tensor with data_ptr() and dtype, or a NumPy array, and got {type(base).__module__}.{type(base).__qualname__}"
        )
    return interface["data"][0], base.itemsize
