"""`CpuTarget`: compiles with `driver`, loads objects into the process, launches on the thread pool."""

from __future__ import annotations

from typing import Any

from ...ir import Module
from ...llvm import engine
from ..base import Artifact
from . import hostcalls, pool
from .machine import Machine, current

__all__ = ["CpuTarget", "CpuKernel"]


class CpuKernel:
    """A kernel in memory.  ``address`` is its entry point (ABI: docs/architecture.md)."""

    def __init__(self, artifact: Artifact):
        self.metadata = artifact.metadata
        self._object = engine.load_object(artifact.stages["obj"], hostcalls.symbols(self.metadata))  # type: ignore[arg-type]
        self.address = self._object.address("kernel")
        self.scratch = int(artifact.metadata["scratch"])

    def run(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        """Runs the grid on the pool; returns when all programs are done.  Raises DeviceAssertError."""
        try:
            pool.run(self.address, packed, self.scratch, gx, gy, gz)
        except pool.KernelStatus as status:
            raise hostcalls.failure(status) from None


class CpuTarget:
    name = "cpu"

    def __init__(self, machine: Machine | None = None):
        self.machine = machine or current()

    def fingerprint(self) -> str:
        from ... import __version__

        return f"cpu:{__version__}:{engine.version()}:{self.machine.fingerprint()}"

    def compile(self, module: Module, options: Any = None) -> Artifact:
        from .driver import compile_module  # passes and code generator: not needed for a kernel from the cache

        return compile_module(module, options, self.machine)

    def load(self, artifact: Artifact) -> CpuKernel:
        return CpuKernel(artifact)
