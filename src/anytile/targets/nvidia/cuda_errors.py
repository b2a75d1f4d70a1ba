"""What goes wrong with the CUDA driver: the classes of errors, and for each of CUDA's numbers what it means and what helps."""

from __future__ import annotations

import os

from ...errors import AnytileError

__all__ = [
    "CudaError",
    "DeviceMemoryError",
    "DriverTooOldError",
    "ForkedError",
    "KernelFaultError",
    "NoDriverError",
    "cuda_error",
]


class CudaError(AnytileError, RuntimeError):
    """The CUDA driver refused a call.  ``code``: CUDA's number; 0 where the driver was not even reached."""

    def __init__(self, message: str, code: int = 0):
        self.code = code
        super().__init__(message)


class NoDriverError(CudaError):
    """This machine has no usable NVIDIA driver or no GPU."""


class DriverTooOldError(CudaError):
    """The driver lacks something newer: a call, a PTX version, a format of machine code."""


class ForkedError(CudaError):
    """This process was forked from one that had used the GPU, and CUDA serves no fork.  ``version``: as `driver_api.Cuda.version`.

    A fork may still compile for the GPU (torch's compile workers do nothing else), but not load or launch.
    """

    version: tuple[int, int] = (0, 0)


class DeviceMemoryError(CudaError, MemoryError):
    """The GPU has no memory left."""


class KernelFaultError(CudaError):
    """A kernel went wrong on the GPU: bad address, trap, failed assertion.  The process can use this GPU no more."""


# What went wrong, and what helps.  Codes that are not here keep CUDA's name for them alone.
_SENTENCES: dict[int, tuple[type[CudaError], str]] = {
    1: (CudaError, "a value is out of range: a grid, a block, a cluster or an amount of shared memory that this GPU does not take"),
    2: (DeviceMemoryError, "the GPU is out of memory; free tensors (torch.cuda.empty_cache() gives back what torch keeps)"),
    3: (ForkedError, "this process was forked from one that had used the GPU, and CUDA serves no fork; start processes by spawn"),
    4: (NoDriverError, "the driver is shutting down: the process is about to end"),
    34: (
        NoDriverError,
        "the libcuda that was found is the stub of the CUDA toolkit; put the driver's own before it in the library path",
    ),
    36: (DriverTooOldError, "the driver lacks this call; install a newer driver"),
    46: (CudaError, "the GPU is busy or reserved for another process (nvidia-smi shows its compute mode)"),
    100: (NoDriverError, "the driver finds no GPU; CUDA_VISIBLE_DEVICES may hide it, or the container was started without it"),
    101: (CudaError, "there is no GPU of this number"),
    200: (DriverTooOldError, "the driver cannot read this machine code; install a newer driver, or set ANYTILE_ASSEMBLER=driver"),
    201: (CudaError, "this thread has no CUDA context"),
    209: (CudaError, "the machine code was made for another GPU"),
    218: (CudaError, "the driver's compiler refuses the PTX; set ANYTILE_ASSEMBLER=ptxas for another compiler's opinion"),
    222: (DriverTooOldError, "the PTX is newer than the driver; install a newer driver, or pip install nvidia-nvjitlink"),
    221: (NoDriverError, "the driver's PTX compiler (libnvidia-ptxjitcompiler) is not installed; pip install nvidia-nvjitlink"),
    500: (CudaError, "the module has nothing of this name"),
    700: (KernelFaultError, "a kernel read or wrote memory that is not its own; look at masks and strides, or run under compute-sanitizer"),
    701: (CudaError, "a block needs more registers or shared memory than a multiprocessor has; use fewer warps, or maxnreg="),
    702: (KernelFaultError, "a kernel ran longer than the system's display watchdog allows"),
    710: (KernelFaultError, "a device_assert failed; its message is above"),
    715: (KernelFaultError, "a kernel met an instruction that this GPU does not have"),
    716: (KernelFaultError, "a kernel accessed memory at an address that is no multiple of the access's size"),
    717: (KernelFaultError, "a kernel used an address of the wrong kind of memory"),
    718: (KernelFaultError, "a kernel jumped to an address that holds no code"),
    719: (KernelFaultError, "a kernel failed on the GPU; run under compute-sanitizer to see where"),
    720: (CudaError, "a cooperative launch needs all blocks on the GPU at once, and the grid has more; launch fewer programs"),
    801: (CudaError, "this GPU or driver does not support it"),
    802: (NoDriverError, "the system is not ready (on HGX machines the fabric manager must run)"),
    803: (NoDriverError, "the driver's kernel module and its library have different versions; reboot, or reinstall the driver"),
    804: (NoDriverError, "the installed CUDA compatibility package does not support this GPU"),
    900: (CudaError, "this cannot be done while a CUDA graph is captured; do it once before the capture"),
    901: (CudaError, "the capture of the CUDA graph was broken by an earlier error"),
    912: (CudaError, "the cluster is larger than this GPU allows; use at most 8 blocks in cluster_dims"),
}


def cuda_error(code: int, name: str, doing: str) -> CudaError:
    """The error of CUDA's number ``code``, which CUDA calls ``name``; ``doing`` begins its sentence."""
    kind, sentence = _SENTENCES.get(code, (CudaError, "the driver reports an error"))
    if kind is KernelFaultError:
        if os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
            sentence += ". Every launch waits for its kernel, so it was this one"
        else:
            sentence += ". It may have been an earlier kernel: set CUDA_LAUNCH_BLOCKING=1 to have each launch report its own faults"
    return kind(f"{doing}: {sentence} ({name})", code)
