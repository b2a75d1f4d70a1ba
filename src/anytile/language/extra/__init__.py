"""``tl.extra``: functions of particular targets, and the mathematical library under CUDA's names."""

from .. import libdevice
from . import cuda, hip

__all__ = ["cuda", "hip", "libdevice"]
