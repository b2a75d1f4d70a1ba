"""`CpuTarget`: compiles with `driver`, loads objects into the process, launches on the thread pool.

A kernel from the disk cache is loaded and run without the compiler and without LLVM: what needs either is imported
where it is needed.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...llvm.host import host
from ...llvm.loader import load_object
from ..base import Artifact
from . import pool, pool_record
from .machine import Machine, current

if TYPE_CHECKING:
    from ...ir import Module
    from ...native.launcher import CpuQueue

__all__ = ["CpuKernel", "CpuTarget"]


class CpuKernel:
    """A kernel in memory.  ``address`` is its entry point (ABI: docs/architecture.md).

    ``run(packed, gx, gy, gz)`` runs the grid on the pool and returns when all programs are done; ``direct`` makes what does so
    without ``packed`` (`pool.Entry`).  Both raise DeviceAssertError.
    """

    def __init__(self, artifact: Artifact, machine: Machine):
        self.metadata = metadata = artifact.metadata
        if "prints" in metadata or "asserts" in metadata:
            from . import hostcalls

            symbols, explain = hostcalls.symbols(metadata), hostcalls.failure
        else:
            symbols, explain = {}, _nobodys
        self._object = load_object(artifact.stages["obj"], symbols)  # type: ignore[arg-type]
        if metadata.get("split"):
            ctypes.c_void_p.from_address(self._object.address(pool_record.LAUNCHER)).value = pool.launcher_address()
        keeps = bool(metadata.get("in_launch"))
        together = keeps or bool(metadata.get("columns"))
        self.address = self._object.address("kernel_in_launch" if keeps else "kernel")
        self.scratch = int(metadata["scratch"])
        programs = tuple(metadata.get("programs", pool_record.ANY_GRID))
        entry = pool.Entry(
            self.address,
            self.scratch,
            explain,
            owner=self._object,
            together=together,
            ordered=bool(metadata.get("ordered")),
            programs=programs,
            otherwise=lambda: _for_any_grid(artifact, machine),
        )
        self.run, self.direct, self.entry = entry.run, entry.direct, entry

    def queue(self, slots: int) -> CpuQueue:
        """What native launchers need to launch this kernel with an argument block of so many slots; NotNative for too many."""
        from .native_queue import queue

        return queue(self.entry, slots)


def _for_any_grid(artifact: Artifact, machine: Machine) -> pool.Entry:
    from .driver import compile_for_any_grid

    return CpuKernel(compile_for_any_grid(artifact, machine), machine).entry


def _splits_loops() -> bool:
    """Whether a lone program's loop may be split (`split`): unless ANYTILE_SPLIT_LOOPS is 0."""
    return os.environ.get("ANYTILE_SPLIT_LOOPS", "") != "0"


def _nobodys(status: pool.KernelStatus) -> Exception:
    return status


class CpuTarget:
    name = "cpu"

    def __init__(self, machine: Machine | None = None):
        self.machine = machine or current()

    def fingerprint(self) -> str:
        whole = "" if _splits_loops() else ":loops stay whole"
        return f"cpu:{__version__}:{host().version}:{self.machine.fingerprint()}{whole}"

    def prepare(self) -> None:
        """Imports the compiler, which `compile` does otherwise."""
        from . import driver  # noqa: F401

    def compile(self, module: Module, options: Any = None) -> Artifact:
        from .driver import compile_module

        return compile_module(module, options, self.machine, _splits_loops())

    def derived(self, artifact: Artifact, stage: str) -> bytes | None:
        """What is made of an artifact when somebody asks: the libraries of `nativert`."""
        from . import nativert

        return nativert.library(artifact, stage, self.machine) if stage in nativert.STAGES else None

    def load(self, artifact: Artifact) -> CpuKernel:
        return CpuKernel(artifact, self.machine)
