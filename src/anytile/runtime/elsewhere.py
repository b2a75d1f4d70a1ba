"""Compiling a kernel's IR somewhere else: the job, and who does it.

LLVM compiles one module at a time in a process (llvmlite holds one lock), so threads gain nothing; processes do.  What
travels is the tile IR as text and the machine compiled for, so the other side needs anytile and nothing of the
user's program.  `compile_elsewhere` is the job; any executor whose ``submit`` can pickle it will do (`workers` has one).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import AnytileError
from . import knobs

if TYPE_CHECKING:
    from ..targets.base import Artifact

__all__ = ["WorkerError", "compile_elsewhere", "prepare_nvidia", "remote_executor", "target_compile", "versions"]

#: The executor that compiles for this thread of control, or None: compile here.
remote_executor: ContextVar[Any] = ContextVar("remote_executor", default=None)


class WorkerError(AnytileError):
    """Another process could not compile, for a reason that is not the kernel's."""


def versions() -> str:
    """What must be equal on both sides for their code to be the same."""
    from importlib.metadata import version

    return f"anytile {__version__}, llvmlite {version('llvmlite')}"


def target_compile(machine: Any, module: Any, options: Any) -> Artifact:
    """``machine.compile(module, options)``: from the cache that machines share, by an executor, or here.

    What goes wrong with cache or executor costs a compilation in this process; errors of the kernel are raised.
    """
    executor = remote_executor.get()
    shared = machine.name == "cpu" and (knobs.cache.url or knobs.cache.remote_manager_class is not None)
    if machine.name == "nvidia":
        from .workers import WorkerPool

        if not isinstance(executor, WorkerPool):
            executor = None  # another machine may lack the assembler that this one has
    if machine.name not in ("cpu", "nvidia") or executor is None and not shared:
        return machine.compile(module, options)
    from ..ir import print_module

    text = print_module(module)

    def compile() -> Artifact:
        return machine.compile(module, options) if executor is None else _by(executor, text, machine, module, options)

    if not shared:
        return compile()
    from .remote import through

    return through(text, options, machine, compile)


def _by(executor: Any, text: str, machine: Any, module: Any, options: Any) -> Artifact:
    try:
        described = machine.machine if machine.name == "cpu" else machine
        return executor.submit(compile_elsewhere, text, described, options, versions()).result()
    except (AnytileError, NotImplementedError) as e:
        if not isinstance(e, WorkerError):
            raise
        reason: Exception = e
    except Exception as e:  # whatever an executor raises: broken pools, lost connections, pickling
        reason = e
    from .cache import _warn

    _warn("executor", f"an executor could not compile a kernel ({type(reason).__name__}: {reason}); it is compiled in this process")
    return machine.compile(module, options)


def prepare_nvidia() -> None:
    """What compiling for NVIDIA begins with, done ahead: most of what a process's first kernel takes."""
    from ..ir import parser  # noqa: F401
    from ..targets.nvidia.target import prepare

    prepare()


def compile_elsewhere(text: str, machine: Any, options: Any, expected: str) -> Artifact:
    """The artifact of the tile IR ``text`` for a CPU's `Machine`, or by an `NvidiaTarget`.

    WorkerError where the versions differ from ``expected``.
    """
    if versions() != expected:
        raise WorkerError(f"this worker has {versions()}, the caller {expected}; install the same versions on both")
    from ..ir.parser import parse_module
    from ..targets.cpu.target import CpuTarget

    target = machine if getattr(machine, "name", "") == "nvidia" else CpuTarget(machine)
    return target.compile(parse_module(text), options)
