"""Tensor maps: what the tensor memory accelerator must know of a tensor, made by the launcher.

The accelerator copies *boxes*, blocks of a strided tensor, between global and shared memory (`copies`).  It is told of the tensor by 128
opaque bytes that the driver encodes (cuTensorMapEncodeTiled): base, extents, strides, box, and how the box lies in shared memory.  A kernel
takes them as parameters of its own behind the slots of the argument block.

A tensor is described in the tile IR by the ``window`` of an access.  Where its base, extents and strides follow from the kernel's arguments
alone, whether they are a host's `TensorDescriptor` or were put together in the kernel, they are the same for every program.  So `formula`
writes them down as functions of the arguments, the launcher computes and encodes them (`tensor_map_arguments`), and no program has to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ...ir import Value
from ...ir.types import Ptr
from .convert import memory_bytes

__all__ = ["ALIGNMENT", "Formula", "LARGEST_BOX", "MAP_BYTES", "TensorMap", "Window", "tensor_map", "wanted", "window_of"]

ALIGNMENT = 16
"""Bytes of which a tensor's base and its strides must be multiples."""
MAP_BYTES = 128
"""Size and alignment of a tensor map."""
LARGEST_BOX = 256
"""Elements of a box along a dimension."""

Formula = tuple[Any, ...]
"""``("argument", i)``, ``("constant", n)``, or a row of `_ROWS`, the width of its result in bits, and the formulas of its operands."""


def wanted(options: Any = None) -> bool:
    """Whether a kernel may use the accelerator: unless ANYTILE_TMA is 0, or ``options.tma`` false."""
    return os.environ.get("ANYTILE_TMA", "") != "0" and getattr(options, "tma", True)


_ROWS = frozenset({"add", "sub", "mul", "sdiv", "sext", "trunci", "addptr"})


@dataclass(frozen=True)
class Window:
    """The parts of a ``window`` over a two-dimensional tensor."""

    base: Value
    offsets: tuple[Value, Value]
    extents: tuple[Value, Value]
    stride: Value


def window_of(pointer: Value) -> Window | None:
    """What is known of a tile of pointers; None where nothing is."""
    op = pointer.op
    if op is None or op.name != "window":
        return None
    base, o0, o1, e0, e1, stride = op.operands[1:]
    return Window(base, (o0, o1), (e0, e1), stride)


@dataclass(frozen=True)
class TensorMap:
    """A tensor and its boxes: ``base`` in bytes, two ``extents`` and the ``stride`` of the outer dimension in elements of ``size`` bytes.

    ``box``: (outer, inner) elements.  ``swizzle``: bytes of a row among which its 16-byte chunks are exchanged, 0 for none.
    ``stored``: the kernel writes by it.
    """

    base: Formula
    extents: tuple[Formula, Formula]
    stride: Formula
    size: int
    box: tuple[int, int]
    swizzle: int
    stored: bool = False


def tensor_map(window: Window, box: tuple[int, int], swizzle: int, stored: bool = False) -> TensorMap | None:
    """The map of a window, None where the launcher cannot know it.

    Base and stride are taken to be multiples of 16 bytes, as they must be for descriptors in Triton; where they are not, the launcher
    takes the kernel that does without (`CudaKernel.instead`).
    """
    element = window.base.type.elem
    assert isinstance(element, Ptr)
    size = memory_bytes(element.pointee)
    parts = [formula(v) for v in (window.base, *window.extents, window.stride)]
    if None in parts:
        return None
    base, outer, inner, stride = parts
    return TensorMap(base, (outer, inner), stride, size, box, swizzle, stored)  # type: ignore[arg-type]


def formula(v: Value) -> Formula | None:
    """A scalar as a function of the kernel's arguments; None where it is not."""
    op = v.op
    if op is None:
        block = v.owner
        return ("argument", v.index) if block is block.func().body else None  # type: ignore[union-attr]
    if op.name == "constant":
        return "constant", int(op.attrs["value"])
    if op.name not in _ROWS:
        return None
    operands = [formula(x) for x in op.operands]
    if None in operands:
        return None
    if op.name == "addptr":  # in bytes
        size = memory_bytes(v.type.elem.pointee)  # type: ignore[attr-defined]
        operands[1] = ("mul", 64, operands[1], ("constant", size))
        return "add", 64, *operands
    return op.name, v.type.elem.bits, *operands
