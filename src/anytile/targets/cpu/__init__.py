"""The CPU target: tile IR to loop nests over native vectors.  Start with `driver`."""

from ...llvm.kept import keep_in
from .target import CpuKernel, CpuTarget

__all__ = ["CpuKernel", "CpuTarget", "keep_in"]
