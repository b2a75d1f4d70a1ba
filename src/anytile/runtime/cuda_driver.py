"""`CudaDriver`: NVIDIA GPUs as Triton's device.

Device and stream are torch's current ones where torch is loaded (`targets.nvidia.launch`).  All of the NVIDIA driver's calls are
made when they are needed: a fork of a process that has used the GPU, where none of them works, can make this object and compile for
the GPU.  torch's compile workers are such forks, and make it active.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..targets.nvidia import driver_api, launch
from .driver import DriverBase, GPUTarget

__all__ = ["CudaDriver"]

_FLUSH_BYTES = 256 << 20  # more than the level 2 cache of any GPU so far


class _CudaUtils:
    """``driver.active.utils``: properties of GPUs, and machine code by hand."""

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        """``max_shared_mem``: bytes that a block may have; clock rates in kHz, ``mem_bus_width`` in bits."""
        d = driver_api.cuda().device(device)
        return {
            "max_shared_mem": d.attribute("max_shared_per_block_optin"),
            "max_num_regs": d.attribute("registers_per_block"),
            "multiprocessor_count": d.attribute("multiprocessors"),
            "warpSize": d.attribute("warp_size"),
            "sm_clock_rate": d.attribute("clock_khz"),
            "mem_clock_rate": d.attribute("memory_clock_khz"),
            "mem_bus_width": d.attribute("memory_bus_bits"),
            "max_threads_per_block": d.attribute("max_threads_per_block"),
            "l2_bytes": d.attribute("l2_bytes"),
        }

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[driver_api.Module, int, int, int, int]:
        """Loads a cubin; (module, handle of the function, registers, spilled words, threads that a block may have)."""
        module = driver_api.cuda().device(device).load(kernel)
        function = module.function(name)
        if shared > 48 * 1024:
            function.allow_shared(shared)
        return module, function.handle, function.registers, function.local_bytes // 4, function.max_threads

    def unload_module(self, module: driver_api.Module) -> None:
        module.unload()


class _EventClock:
    """`testing.DeviceClock` by events of the current stream."""

    def __init__(self) -> None:
        self.cuda = driver_api.cuda()
        self.device = launch.current_device()
        self.stream = launch.current_stream(self.device)
        with launch.device_guard(self.device):
            self.scratch = driver_api.DeviceMemory(self.cuda.device(self.device), _FLUSH_BYTES)

    def synchronize(self) -> None:
        self.cuda.synchronize(self.stream)

    def mark(self) -> driver_api.Event:
        event = driver_api.Event(self.cuda)
        event.record(self.stream)
        return event

    def milliseconds(self, start: driver_api.Event, end: driver_api.Event) -> float:
        end.synchronize()
        return end.elapsed_since(start)

    def flush(self) -> None:
        self.scratch.zero(self.stream)


class CudaDriver(DriverBase):
    """The GPUs that the NVIDIA driver shows.  CudaError where it shows none, with the reason.

    In a fork of a process that has used them, only questions that need no GPU are answered; others raise `ForkedError`.
    """

    is_gpu = True

    def __init__(self) -> None:
        if not driver_api.present():
            driver_api.cuda()  # raises
        self.utils = _CudaUtils()
        self._targets: dict[int, GPUTarget] = {}

    @staticmethod
    def is_active() -> bool:
        return driver_api.present()

    @property
    def _cuda(self) -> driver_api.Cuda:
        return driver_api.cuda()

    @property
    def device_count(self) -> int:
        return len(self._cuda.devices)

    def target_of(self, device: int) -> GPUTarget:
        """What kernels for this GPU are compiled for, e.g. ``GPUTarget("cuda", 90, 32)``."""
        found = self._targets.get(device)
        if found is None:
            found = self._targets[device] = GPUTarget("cuda", self._cuda.device(device).arch, 32)
        return found

    def get_current_target(self) -> GPUTarget:
        return self.target_of(self.get_current_device())

    def get_current_device(self) -> int:
        return launch.current_device()

    def set_current_device(self, device: int) -> None:
        """Launches go to this GPU from now on; torch, where loaded, is told."""
        self._cuda.device(device).make_current()
        torch = launch.loaded_torch()
        if torch is not None:
            torch.cuda.set_device(device)

    def get_current_stream(self, device: int | None = None) -> int:
        return launch.current_stream(self.get_current_device() if device is None else device)

    def device_guard(self, device: int) -> AbstractContextManager[None]:
        """Inside, launches go to this GPU."""
        return launch.device_guard(device)

    def device_of(self, address: int) -> int:
        """The GPU whose memory an address is."""
        self.get_current_device()  # the thread may have no context yet, and the question needs one
        return self._cuda.device_of(address)

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cuda", self.get_current_device())

    def get_device_interface(self) -> Any:
        """``torch.cuda``."""
        import torch

        return torch.cuda

    def clock(self) -> _EventClock:
        """What `testing.do_bench` measures with."""
        return _EventClock()

    def get_benchmarker(self) -> Callable[..., Any]:
        from ..testing import do_bench

        return do_bench

    def get_empty_cache_for_benchmark(self) -> Any:
        """A buffer larger than the level 2 cache; writing it evicts what a kernel left there."""
        import torch

        return torch.empty(_FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")

    def clear_cache(self, cache: Any) -> None:
        cache.zero_()

    def map_python_to_cpp_type(self, ty: str) -> str:
        """The C type of a signature name, as generated C headers spell it."""
        if ty.startswith("*"):
            return "CUdeviceptr"
        if ty.startswith("tensordesc"):
            return "CUtensorMap"
        names = {"i1": "int8_t", "u1": "uint8_t", "fp16": "double", "bf16": "double", "fp32": "double", "f32": "double", "fp64": "double"}
        return names.get(ty) or f"{'u' if ty[0] == 'u' else ''}int{ty[1:]}_t"
