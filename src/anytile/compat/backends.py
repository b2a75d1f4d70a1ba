"""`triton.backends`: the registry of targets, in the form in which torch, vLLM and others ask for it.

A back end here is a description of a target of anytile: whether it serves a `GPUTarget`, which options it takes, and a hash of
everything that its code depends on.  It does not compile; `anytile.runtime.compiler.compile` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from ..errors import UnsupportedError
from ..runtime.cuda_driver import CudaDriver
from ..runtime.driver import CpuDriver, DriverBase, GPUTarget, target_object
from ..runtime.options import Options, option_names

__all__ = [
    "Backend",
    "BaseBackend",
    "Benchmarker",
    "CpuBackend",
    "CudaBackend",
    "CudaDriver",
    "DriverBase",
    "GPUTarget",
    "Language",
    "backends",
    "make_backend",
]


class Language(Enum):
    """What a kernel is written in.  There is no back end for Gluon here."""

    TRITON = 0
    GLUON = 1


class Benchmarker(Protocol):
    """What a driver's ``get_benchmarker`` gives: milliseconds of ``kernel_call`` at each of ``quantiles`` (0 to 1)."""

    def __call__(self, kernel_call: Callable[[], Any], *, quantiles: list[float], **kwargs: Any) -> Sequence[float]: ...


class BaseBackend:
    """What a program may ask a back end for ``target``.  Subclasses serve the targets whose ``backend`` is their ``name``.

    Some methods depend on the release that is imitated: `members.py` sets them.
    """

    name = ""
    binary_ext = ""

    def __init__(self, target: GPUTarget) -> None:
        if not self.supports_target(target):
            raise UnsupportedError(f"target {target.backend}:{target.arch}", f"the {self.name or 'abstract'} back end")
        self.target = target

    @classmethod
    def supports_target(cls, target: GPUTarget) -> bool:
        return bool(cls.name) and target.backend == cls.name

    def hash(self) -> str:
        """Names the compiler, its libraries and the machine: equal hashes, equal code."""
        raise NotImplementedError(f"{type(self).__name__} does not say its hash")

    def parse_options(self, options: dict[str, Any]) -> Any:
        """The compile options among ``options``; keys that are none are left out."""
        raise NotImplementedError(f"{type(self).__name__} does not parse options")

    def add_stages(self, stages: dict[str, Any], options: Any, language: Language = Language.TRITON) -> None:
        """Would put functions from text to text into ``stages``; the back ends here compile in one piece."""
        raise UnsupportedError(
            f"add_stages of {type(self).__name__}", "anytile", "triton.compile compiles; its result's asm holds every stage"
        )

    def load_dialects(self, context: Any) -> None:
        """Nothing to load: the tile IR has one table of operations."""


def no_modules(self: BaseBackend) -> dict[str, Any]:
    """``get_module_map``: modules of the language to be replaced by this target's; none, as `libdevice` is one for all targets."""
    return {}


def no_replacements_0(self: BaseBackend) -> dict[str, Callable[..., Any]]:
    """``get_codegen_implementation`` up to 3.2: functions of the language to be replaced by this target's; none."""
    return {}


def no_replacements_3(self: BaseBackend, options: Any) -> dict[str, Callable[..., Any]]:
    """``get_codegen_implementation`` from 3.3 on, where it is told the options."""
    return {}


class _OwnBackend(BaseBackend):
    """What the targets of this package have in common."""

    def parse_options(self, options: dict[str, Any]) -> Options:
        return Options.of({k: v for k, v in options.items() if k in option_names()}, self.target)

    def pack_metadata(self, metadata: Any) -> tuple[int, int, int]:
        """(num_warps, num_ctas, bytes of shared memory), which launch hooks read."""
        return (getattr(metadata, "num_warps", 1), getattr(metadata, "num_ctas", 1), getattr(metadata, "shared", 0))


class CpuBackend(_OwnBackend):
    """Native code for the CPU at hand."""

    name = "cpu"
    binary_ext = "obj"

    def hash(self) -> str:
        # Programs spell this machine in several ways (torch asks for GPUTarget("cpu", "", 32)): the target at hand is meant.
        return target_object(CpuDriver().get_current_target()).fingerprint()


class CudaBackend(_OwnBackend):
    """Code for NVIDIA GPUs of the target's architecture."""

    name = "cuda"
    binary_ext = "cubin"

    def hash(self) -> str:
        return target_object(self.target).fingerprint()


class Backend(NamedTuple):
    """One row of `backends`: the class that describes the target, and the class of its driver."""

    compiler: type[BaseBackend]
    driver: type[DriverBase]


#: Every target that `import triton` can drive here, by the names that Triton gives them.
backends: dict[str, Backend] = {"cpu": Backend(CpuBackend, CpuDriver), "nvidia": Backend(CudaBackend, CudaDriver)}


def make_backend(target: GPUTarget) -> BaseBackend:
    """The back end for ``target``; UnsupportedError where none of `backends` serves it."""
    for backend in backends.values():
        if backend.compiler.supports_target(target):
            return backend.compiler(target)
    remedy = f"its back ends are {', '.join(backends)}"
    if target.backend == "reference":  # TRITON_INTERPRET=1, or ANYTILE_TARGET=reference
        remedy += ", and kernels that are interpreted have none: TORCHDYNAMO_DISABLE=1 runs a program without torch.compile"
    raise UnsupportedError(f"target {target.backend}:{target.arch}", "this installation", remedy)
