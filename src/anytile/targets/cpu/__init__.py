"""The CPU target: tile IR to loop nests over native vectors.  Start with `driver`."""

from .target import CpuKernel, CpuTarget

__all__ = ["CpuKernel", "CpuTarget"]
