"""Which device kernels run on, and facts about it.

`driver.active` is the driver object that programs ask for the target, the device and its properties.  It is a
`cuda_driver.CudaDriver` where there is an NVIDIA driver with a GPU, else a `CpuDriver`; ``set_active`` puts another object with the
same methods there.

``ANYTILE_TARGET`` decides otherwise: ``cuda`` (an error where there is no GPU), ``cpu``, or ``reference``, the executor that runs
one program at a time with NumPy, which ``TRITON_INTERPRET=1`` asks for too.

A launch goes where its arguments lie: with a `CudaDriver`, kernels given CPU tensors run on the CPU.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import testing
from ..cpus import usable_cpus
from ..errors import UnsupportedError
from ..language import target_info

if TYPE_CHECKING:
    from ..targets.base import Target

__all__ = ["CpuDriver", "DriverBase", "DriverConfig", "GPUTarget", "driver", "expect_launches", "interpreting", "target_object"]


@dataclass(frozen=True)
class GPUTarget:
    """What is compiled for.  ``backend``: "cpu", "reference", "cuda" …; ``arch``: "x86_64", 90 …"""

    backend: str
    arch: int | str
    warp_size: int


def interpreting() -> bool:
    """Whether ``TRITON_INTERPRET`` asks for the reference executor."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


@lru_cache(maxsize=1)
def machine_arch() -> str:
    """This machine's architecture by its usual name: x86_64, aarch64 …"""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _wish() -> str:
    """What ANYTILE_TARGET or TRITON_INTERPRET asks for; empty where neither does."""
    name = os.environ.get("ANYTILE_TARGET", "").strip().lower() or ("reference" if interpreting() else "")
    if name and name not in _TARGETS:
        raise UnsupportedError(f"ANYTILE_TARGET={name}", "this version", f"the targets are {', '.join(_TARGETS)}")
    return name


def host_target() -> GPUTarget:
    """The target for memory of the CPU: native code, or the reference executor where the environment asks for it."""
    name = _wish()
    return GPUTarget("cpu" if name == "cuda" else name or "cpu", machine_arch(), 1)


def gpu_remedy() -> str:
    """What to do with GPU memory where the active driver serves none."""
    wish = os.environ.get("ANYTILE_TARGET") or (interpreting() and "reference")
    if wish:
        return f"call .cpu() on it first, or do not ask for the target {wish}"
    from ..targets.nvidia import driver_api

    reason = "" if driver_api.available() or driver_api.absent() else f" (GPUs are not used: {driver_api.unavailable_because()})"
    return f"call .cpu() on it first{reason}"


def _cpu(target: GPUTarget) -> Target:
    from ..targets.cpu import CpuTarget, keep_in
    from . import cache

    keep_in(cache.load_kept, cache.keep)

    return CpuTarget()


def _cuda(target: GPUTarget) -> Target:
    from ..targets.nvidia.target import NvidiaTarget

    return NvidiaTarget(target.arch)


def _reference(target: GPUTarget) -> Target:
    from ..targets.reference import ReferenceTarget

    return ReferenceTarget()


_TARGETS: dict[str, Callable[[GPUTarget], Any]] = {"cpu": _cpu, "reference": _reference, "cuda": _cuda}
_objects: dict[GPUTarget, Any] = {}


def register_target(backend: str, make: Callable[[], Target]) -> None:
    """Let ``make()`` build the target object of every `GPUTarget` of this backend name."""
    _TARGETS[backend] = lambda target: make()
    for known in [t for t in _objects if t.backend == backend]:
        del _objects[known]


def target_object(target: GPUTarget) -> Target:
    """The compiler and loader for ``target``, made at its first use and kept.

    UnsupportedError where this installation has none.
    """
    got = _objects.get(target)
    if got is None:
        make = _TARGETS.get(target.backend)
        if make is None:
            raise UnsupportedError(
                f"compiling for target {target.backend}:{target.arch}", "this installation", f"its targets are {', '.join(_TARGETS)}"
            )
        got = _objects[target] = make(target)
    return got


@lru_cache(maxsize=1)
def expect_launches() -> None:
    """Import what a launch from the disk cache needs, so that the first launch need not: called where a kernel is defined.

    No LLVM, no compiler, no GPU: 20 to 30 ms at the most, once, while a program is being loaded.
    """
    from ..targets import cpu  # noqa: F401
    from ..targets.nvidia import driver_api  # noqa: F401
    from . import compiler  # noqa: F401
    from .cache import toolchain

    try:
        toolchain()
    except OSError:
        pass  # the launch asks again, and says what is wrong


class DriverBase:
    """What programs may ask a driver."""

    #: Whether its devices are GPUs, with memory of their own.
    is_gpu = False

    @staticmethod
    def is_active() -> bool:
        """Whether a device of this kind is present."""
        raise NotImplementedError

    def get_current_target(self) -> GPUTarget:
        raise NotImplementedError

    def get_active_torch_device(self) -> Any:
        raise NotImplementedError

    def get_benchmarker(self) -> Callable[..., Any]:
        """A function with the signature of `anytile.testing.do_bench`."""
        raise NotImplementedError


class _CpuUtils:
    """``driver.active.utils``: the device as a table of properties."""

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        """Named as on a GPU.  ``multiprocessor_count``: cores that this process may use;
        ``max_shared_mem``: bytes of a core's private cache, where tiles should stay; ``warpSize`` is 1.
        """
        return dict(_cpu_properties())

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> Any:
        raise UnsupportedError("driver.utils.load_binary", "the CPU target", "use triton.compile(...)[grid](...)")

    def unload_module(self, module: Any) -> None:
        raise UnsupportedError("driver.utils.unload_module", "the CPU target", "a kernel is unloaded when it is no longer referred to")


@lru_cache(maxsize=1)
def _cpu_properties() -> dict[str, int]:
    return {
        "max_shared_mem": _cache_bytes(2, 1 << 20),
        "multiprocessor_count": usable_cpus(),
        "max_num_regs": 65536,
        "warpSize": 1,
        "mem_clock_rate": 0,
        "mem_bus_width": 64,
        "sm_clock_rate": 0,
        "max_threads_per_block": 1024,
    }


def _cache_bytes(level: int, default: int) -> int:
    """Size of the data cache of that level of core 0, from sysfs; ``default`` where it is not told."""
    base = "/sys/devices/system/cpu/cpu0/cache"
    try:
        for index in sorted(os.listdir(base)):
            folder = f"{base}/{index}"
            with open(f"{folder}/level") as f, open(f"{folder}/type") as g:
                if int(f.read()) != level or g.read().strip() == "Instruction":
                    continue
            with open(f"{folder}/size") as f:
                text = f.read().strip()
            return int(text.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1], 1)
    except (OSError, ValueError):
        pass
    return default


class _HostInterface:
    """``torch.cpu`` in the shape of ``torch.cuda`` where torch is absent: device 0, nothing to wait for."""

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def synchronize(device: Any = None) -> None: ...


class CpuDriver(DriverBase):
    """The CPU as Triton's device: one device, number 0, launches finish before they return."""

    def __init__(self) -> None:
        self.utils = _CpuUtils()

    @staticmethod
    def is_active() -> bool:
        return True

    def get_current_target(self) -> GPUTarget:
        return host_target()

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        if device not in (0, None):
            raise ValueError(f"the CPU target has one device, number 0; there is no device {device}")

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        """``torch.cpu`` if torch is loaded or can be, else a stand-in with ``current_device, synchronize``."""
        try:
            import torch
        except ImportError:
            return _HostInterface
        return torch.cpu

    def get_benchmarker(self) -> Callable[..., Any]:
        from ..testing import do_bench

        return do_bench

    def get_empty_cache_for_benchmark(self) -> Any:
        """A buffer larger than the last-level cache; writing it evicts what a kernel left there."""
        size = 2 * _cache_bytes(3, 32 << 20)
        if "torch" in sys.modules:
            import torch

            return torch.empty(size // 4, dtype=torch.int32)
        import numpy as np

        return np.empty(size // 4, dtype=np.int32)

    def clear_cache(self, cache: Any) -> None:
        if hasattr(cache, "zero_"):
            cache.zero_()
        else:
            cache.fill(0)

    def map_python_to_cpp_type(self, ty: str) -> str:
        """The C type of a signature name, as generated C headers spell it."""
        if ty.startswith("*"):
            return "void*"
        return {
            "i1": "int8_t",
            "u1": "uint8_t",
            "fp16": "float",
            "bf16": "float",
            "fp32": "float",
            "fp64": "double",
        }.get(ty) or f"{'u' if ty[0] == 'u' else ''}int{ty[1:]}_t"


def _machine_driver() -> DriverBase:
    wish = _wish()
    if wish in ("cpu", "reference"):
        return CpuDriver()
    from ..targets.nvidia import driver_api

    if wish != "cuda" and not driver_api.available():
        return CpuDriver()
    from .cuda_driver import CudaDriver

    return CudaDriver()


class DriverConfig:
    """``triton.runtime.driver``: the default driver, made when first asked for, and the active one."""

    def __init__(self) -> None:
        self._default: DriverBase | None = None
        self._active: DriverBase | None = None
        #: A new object after each change of driver: launchers compare it to see that they are stale.
        self.epoch: object = object()

    @property
    def default(self) -> Any:
        """The machine's driver.  CudaError where ANYTILE_TARGET=cuda asks for a GPU and none can be used."""
        if self._default is None:
            self._default = _machine_driver()
        return self._default

    @property
    def active(self) -> Any:
        if self._active is None:
            self._active = self.default
        return self._active

    def set_active(self, driver: Any) -> None:
        self._active = driver
        self.epoch = object()

    def reset_active(self) -> None:
        self.set_active(self.default)


driver = DriverConfig()


def _device_clock() -> Any:
    """For `testing`: what times work on the active device; None where Python's own clock does."""
    return driver.active.clock() if getattr(driver.active, "is_gpu", False) else None


testing.device_clock = _device_clock


def _active_target() -> GPUTarget | None:
    """For `language.target_info` outside of kernels: what launches compile for; None where there is no device to ask."""
    try:
        target: GPUTarget = driver.active.get_current_target()
    except RuntimeError:
        return None
    return target


target_info.answer_on_the_host(_active_target)
