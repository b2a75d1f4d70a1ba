"""Tensor maps: what the tensor memory accelerator must know of a tensor, made by the launcher.

The accelerator copies *boxes*, blocks of a strided tensor, between global and shared memory (`copies`).  It is told of the tensor by 128
opaque bytes that the driver encodes (cuTensorMapEncodeTiled): base, extents, strides, box, and how the box lies in shared memory.  A kernel
takes them as parameters of its own behind the slots of the argument block.

A tensor is described in the tile IR by the ``window`` of an access.  Where its base, extents and strides follow from the kernel's arguments
alone, whether they are a host's `TensorDescriptor` or were put together in the kernel, they are the same for every program.  So `formula`
writes them down as functions of the arguments, the launcher computes and encodes them (`encode_maps`), and no program has to.
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


_ROWS = frozenset({"add", "sub", "mul", "sdiv", "sext", "trunci", "addptr"})


def wanted(options: Any = None) -> bool:
    """Whether a kernel may use the accelerator: unless ANYTILE_TMA is 0, or ``options.tma`` false."""
    return os.environ.get("ANYTILE_TMA", "") != "0" and getattr(options, "tma", True)


@dataclass(frozen=True)
class Window:
    """The parts of a ``window``, the outermost dimension first."""

    base: Value
    offsets: tuple[Value, ...]
    extents: tuple[Value, ...]
    strides: tuple[Value, ...]


def window_of(pointer: Value) -> Window | None:
    """What is known of a tile of pointers; None where nothing is."""
    op = pointer.op
    if op is None or op.name != "window":
        return None
    _, base, *rest = op.operands
    n = pointer.type.rank
    return Window(base, tuple(rest[:n]), tuple(rest[n : 2 * n]), tuple(rest[2 * n :]))


@dataclass(frozen=True)
class TensorMap:
    """A tensor and its boxes, the outermost dimension first.

    ``base``: its address; ``extents``, and ``strides`` of all dimensions but the innermost: in elements of ``size`` bytes.  ``box``: elements
    along each dimension.  ``swizzle``: bytes of a row among which its 16-byte chunks are exchanged, 0 for none.  ``stored``: the kernel
    writes by it.
    """

    base: Formula
    extents: tuple[Formula, ...]
    strides: tuple[Formula, ...]
    size: int
    box: tuple[int, ...]
    swizzle: int
    stored: bool = False


def tensor_map(window: Window, box: tuple[int, ...], swizzle: int, stored: bool = False) -> TensorMap | None:
    """The map of a window, None where the launcher cannot know it.

    Base and strides are taken to be multiples of 16 bytes, as they must be for descriptors in Triton; where they are not, the launcher
    takes the kernel that does without (`CudaKernel.instead`).
    """
    element = window.base.type.elem
    assert isinstance(element, Ptr)
    size = memory_bytes(element.pointee)
    base = formula(window.base)
    extents, strides = (tuple(f for v in vs if (f := formula(v)) is not None) for vs in (window.extents, window.strides))
    if base is None or len(extents) < len(window.extents) or len(strides) < len(window.strides):
        return None
    return TensorMap(base, extents, strides, size, box, swizzle, stored)


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
