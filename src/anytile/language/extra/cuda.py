"""``tl.extra.cuda``: what is particular to NVIDIA GPUs, with a meaning on every target.

Timers and processor numbers read as well as the target can; programmatic dependent launch orders kernels that
already run in order here, so its two functions do nothing.
"""

from __future__ import annotations

from typing import Any

from .. import libdevice
from ..builtin import builtin
from ..casting import cast_to
from ..constexpr import constexpr, unwrap
from ..context import current
from ..promotion import constant, emit
from ..target_info import is_cuda
from ..tensor import tensor
from ..types import dtype, int32, int64

__all__ = [
    "convert_custom_float8_sm70",
    "convert_custom_float8_sm80",
    "gdc_launch_dependents",
    "gdc_wait",
    "globaltimer",
    "libdevice",
    "num_threads",
    "num_warps",
    "smid",
]


@builtin
def globaltimer() -> tensor:
    """A clock in nanoseconds, int64."""
    return emit("clock", int64)


@builtin
def smid() -> tensor:
    """The number of the processor that runs this program, int32: 0 where the target does not tell."""
    return _assembly("mov.u32 $0, %smid;") if is_cuda() else constant(0, int32)


def _assembly(text: str) -> tensor:
    """The int32 that PTX ``text`` leaves in ``$0``; it keeps its place among memory accesses."""
    attrs = {"asm": text, "constraints": "=r", "pack": 1, "pure": False}
    return tensor(current().builder.make("inline_asm", [], attrs, types=(int32.to_ir(),)).results[0], int32)


@builtin
def num_warps() -> constexpr:
    """The launch option num_warps."""
    return constexpr(current().options.num_warps)


@builtin
def num_threads() -> constexpr:
    """32 · num_warps."""
    return constexpr(current().options.num_warps * 32)


@builtin
def convert_custom_float8_sm80(arg: tensor, dst_ty: dtype, fp_downcast_rounding: Any = None) -> tensor:
    """``arg`` converted from or to ``tl.float8e4b15``, which no GPU converts itself: `tl.cast`, which every target has."""
    return cast_to(arg, unwrap(dst_ty).scalar, unwrap(fp_downcast_rounding))


#: The same: what differs between these GPUs is which instructions do it.
convert_custom_float8_sm70 = convert_custom_float8_sm80


@builtin
def gdc_wait() -> None:
    """Waits for the kernels before this one, where a launch may overtake them; elsewhere they are done already."""
    if is_cuda():
        _assembly("griddepcontrol.wait; mov.u32 $0, 0;")


@builtin
def gdc_launch_dependents() -> None:
    """Lets dependent kernels start early: a hint."""
    if is_cuda():
        _assembly("griddepcontrol.launch_dependents; mov.u32 $0, 0;")
