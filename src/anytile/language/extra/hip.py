"""``tl.extra.hip``: what is particular to AMD GPUs, with a meaning on every target."""

from __future__ import annotations

from .. import libdevice
from ..builtin import builtin
from ..tensor import tensor
from .cuda import globaltimer, num_threads, num_warps, smid

__all__ = ["libdevice", "memrealtime", "num_threads", "num_warps", "smid"]


@builtin
def memrealtime() -> tensor:
    """A clock, int64: nanoseconds here."""
    return globaltimer()
