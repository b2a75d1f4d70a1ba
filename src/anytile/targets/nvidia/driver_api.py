"""The CUDA driver by ctypes: devices, contexts, modules, launches, events.  Nothing but the driver is needed.

`cuda()` loads the driver at the first call; nothing here runs before that.  Objects are thin: a `Device` is an ordinal with
questions, a `Module` owns what it loaded, a `Function` is a handle with attributes.  What a launch needs beyond
that is in `launch`.

Contexts are CUDA's primary ones, the ones that torch and every library built on the CUDA runtime use, so addresses and
streams of all of them are good here.

Every failure is a `cuda_errors.CudaError` whose message says what was being done, what went wrong and what helps; its ``code`` is
CUDA's.  A fault inside a kernel is reported by a later call, often that of another kernel: the message says so.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_float, c_int, c_size_t, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from . import driver_calls
from .cuda_errors import CudaError, DriverTooOldError, ForkedError, NoDriverError, cuda_error

__all__ = [
    "Cuda",
    "Device",
    "DeviceMemory",
    "Event",
    "Function",
    "Module",
    "absent",
    "available",
    "cuda",
    "present",
    "unavailable_because",
    "version",
]

MINIMUM_DRIVER = (11, 8)
"""CUDA version that a driver must implement: the first with cuLaunchKernelEx."""


class Cuda:
    """The loaded driver.  ``lib`` has the functions of `driver_calls.PROTOTYPES`; `cuda` makes the one of this process."""

    def __init__(self, lib: Any):
        self.lib = lib
        try:
            for name, arguments in driver_calls.PROTOTYPES.items():
                function = getattr(lib, name)
                function.argtypes, function.restype = arguments, c_int
        except AttributeError:
            raise DriverTooOldError(
                f"the NVIDIA driver has no {name}: anytile needs one for CUDA {_dotted(MINIMUM_DRIVER)} (520) or newer; install a newer driver"
            ) from None
        started = lib.cuInit(0)
        number = c_int()
        code = lib.cuDriverGetVersion(number)  # answered before cuInit too, and in forks
        #: CUDA version that the driver implements, e.g. (12, 4).
        self.version: tuple[int, int] = (number.value // 1000, number.value % 1000 // 10)
        try:
            self.check(started, "starting the NVIDIA driver")
        except ForkedError as error:
            error.version = self.version
            raise
        self.check(code, "asking for the driver's version")
        if self.version < MINIMUM_DRIVER:
            raise DriverTooOldError(
                f"the NVIDIA driver implements CUDA {_dotted(self.version)}, and anytile needs {_dotted(MINIMUM_DRIVER)} "
                "(driver 520) or newer; install a newer driver"
            )
        count = c_int()
        self.check(lib.cuDeviceGetCount(count), "counting GPUs")
        if not count.value:
            raise self.error(100, "counting GPUs")
        self.devices = tuple(Device(self, i) for i in range(count.value))

    def check(self, code: int, doing: str) -> None:
        """Raises the `CudaError` of ``code`` unless it is 0; ``doing`` begins the sentence."""
        if code:
            raise self.error(code, doing)

    def error(self, code: int, doing: str) -> CudaError:
        text = c_char_p()
        self.lib.cuGetErrorName(code, text)
        name = (text.value or b"").decode() or f"CUDA error {code}"
        return cuda_error(code, name, doing)

    def device(self, ordinal: int) -> Device:
        """The GPU of this number.  CudaError where there is none."""
        if not 0 <= ordinal < len(self.devices):
            raise CudaError(f"there is no GPU {ordinal}: the driver shows {len(self.devices)}, numbered from 0", 101)
        return self.devices[ordinal]

    def current_device(self) -> int:
        """Number of the GPU whose context is this thread's; 0, made so, where the thread has none."""
        context = c_void_p()
        self.check(self.lib.cuCtxGetCurrent(context), "asking for the thread's GPU")
        if not context.value:
            self.device(0).make_current()
            return 0
        ordinal = c_int()
        self.check(self.lib.cuCtxGetDevice(ordinal), "asking for the thread's GPU")
        return ordinal.value

    def device_of(self, address: int) -> int:
        """Number of the GPU that memory lies on.  CudaError where CUDA does not know the address."""
        ordinal = c_int()
        code = self.lib.cuPointerGetAttribute(ctypes.byref(ordinal), driver_calls.POINTER_DEVICE_ORDINAL, address)
        self.check(code, f"asking which GPU address {address:#x} lies on")
        return ordinal.value

    def synchronize(self, stream: int = 0, doing: str = "waiting for the GPU") -> None:
        """Waits until all work of ``stream`` is done; a fault of a kernel in it is raised here."""
        self.check(self.lib.cuStreamSynchronize(stream or None), doing)

    @contextmanager
    def capturing_allowed(self) -> Iterator[None]:
        """Inside, calls that a graph capture of this thread would forbid (loading, allocating) are let through.

        A kernel may be launched for the first time during a capture: it is then loaded, which is no part of the graph.
        """
        mode = c_int(driver_calls.CAPTURE_RELAXED)
        self.lib.cuThreadExchangeStreamCaptureMode(mode)  # puts the former mode into `mode`
        try:
            yield
        finally:
            self.lib.cuThreadExchangeStreamCaptureMode(mode)


class Device:
    """A GPU: ``ordinal`` counts what CUDA_VISIBLE_DEVICES shows, from 0."""

    def __init__(self, cuda: Cuda, ordinal: int):
        self.cuda, self.ordinal = cuda, ordinal
        handle = c_int()
        cuda.check(cuda.lib.cuDeviceGet(handle, ordinal), f"opening GPU {ordinal}")
        self.handle = handle.value
        self._attributes: dict[str, int] = {}
        self._context: int | None = None

    def attribute(self, name: str) -> int:
        """A fact about the GPU by its name in `driver_calls.ATTRIBUTES`; bytes, counts or kHz."""
        if name not in self._attributes:
            value = c_int()
            code = self.cuda.lib.cuDeviceGetAttribute(value, driver_calls.ATTRIBUTES[name], self.handle)
            self.cuda.check(code, f"asking GPU {self.ordinal} for {name}")
            self._attributes[name] = value.value
        return self._attributes[name]

    @property
    def name(self) -> str:
        """As the maker calls it, e.g. "NVIDIA H100 80GB HBM3"."""
        text = ctypes.create_string_buffer(256)
        self.cuda.check(self.cuda.lib.cuDeviceGetName(text, len(text), self.handle), f"asking GPU {self.ordinal} for its name")
        return text.value.decode()

    @property
    def arch(self) -> int:
        """Compute capability as a number: 90 is sm_90."""
        return 10 * self.attribute("capability_major") + self.attribute("capability_minor")

    @property
    def memory(self) -> int:
        """Bytes of device memory."""
        size = c_size_t()
        self.cuda.check(self.cuda.lib.cuDeviceTotalMem_v2(size, self.handle), f"asking GPU {self.ordinal} for its memory")
        return size.value

    @property
    def context(self) -> int:
        """Handle of the primary context, which is kept from the first question to the end of the process."""
        if self._context is None:
            context = c_void_p()
            code = self.cuda.lib.cuDevicePrimaryCtxRetain(context, self.handle)
            self.cuda.check(code, f"opening a context on GPU {self.ordinal}")
            self._context = context.value or 0
        return self._context

    def make_current(self) -> None:
        """This thread's CUDA calls go to this GPU from now on."""
        self.cuda.check(self.cuda.lib.cuCtxSetCurrent(self.context), f"switching to GPU {self.ordinal}")

    @contextmanager
    def current(self) -> Iterator[None]:
        """Inside, this thread's CUDA calls go to this GPU; afterwards where they went before."""
        before = c_void_p()
        self.cuda.check(self.cuda.lib.cuCtxGetCurrent(before), "asking for the thread's GPU")
        if before.value == self.context:
            yield
            return
        self.make_current()
        try:
            yield
        finally:
            if before.value:
                self.cuda.check(self.cuda.lib.cuCtxSetCurrent(before.value), "switching back to the former GPU")

    def load(self, image: bytes, name: str = "") -> Module:
        """Loads machine code (a cubin) for this GPU, that of kernel ``name``.  CudaError where it is for another, or too new."""
        return Module(self, image, name)

    def link(self, ptx: str, name: str, level: int = 3) -> tuple[bytes, str]:
        """(cubin, log) of PTX by the driver's own compiler; ``level``: 0 … 3.  CudaError has the compiler's words."""
        lib = self.cuda.lib
        info, errors = ctypes.create_string_buffer(1 << 15), ctypes.create_string_buffer(1 << 15)
        given = {
            driver_calls.JIT_INFO_LOG: ctypes.addressof(info),
            driver_calls.JIT_INFO_LOG_BYTES: len(info),
            driver_calls.JIT_ERROR_LOG: ctypes.addressof(errors),
            driver_calls.JIT_ERROR_LOG_BYTES: len(errors),
            driver_calls.JIT_OPTIMIZATION: level,
            driver_calls.JIT_VERBOSE: 1,
        }
        keys, values = (c_int * len(given))(*given), (c_void_p * len(given))(*given.values())
        data, state, cubin, size = ptx.encode() + b"\0", c_void_p(), c_void_p(), c_size_t()
        with self.current(), self.cuda.capturing_allowed():
            self.cuda.check(lib.cuLinkCreate_v2(len(given), keys, values, state), f"starting the driver's compiler for {name}")
            try:
                code = lib.cuLinkAddData_v2(state, 1, data, len(data), name.encode(), 0, None, None)  # 1: CU_JIT_INPUT_PTX
                code = code or lib.cuLinkComplete(state, cubin, size)
                if code:
                    error = self.cuda.error(code, f"compiling the PTX of {name}")
                    said = errors.value.decode(errors="replace").strip()
                    raise type(error)(f"{error}\n{said}" if said else str(error), code)
                made = ctypes.string_at(cubin.value or 0, size.value)  # the driver frees its copy with the state
            finally:
                lib.cuLinkDestroy(state)
        return made, info.value.decode(errors="replace")

    def __repr__(self) -> str:
        return f"<GPU {self.ordinal}: {self.name}, sm_{self.arch}>"


class Module:
    """Machine code on one GPU until `unload`, or to the end of the process.

    It is not unloaded with this object: CUDA graphs that were captured refer to its kernels, and nobody can count those.
    """

    def __init__(self, device: Device, image: bytes, name: str = ""):
        self.device, self.handle = device, c_void_p()
        lib = device.cuda.lib
        with device.current(), device.cuda.capturing_allowed():
            code = lib.cuModuleLoadDataEx(self.handle, image, 0, None, None)
        device.cuda.check(code, f"loading {f'kernel {name}, ' if name else ''}{len(image)} bytes of machine code, on GPU {device.ordinal}")

    def function(self, name: str) -> Function:
        """The kernel of this name."""
        handle = c_void_p()
        with self.device.current():
            code = self.device.cuda.lib.cuModuleGetFunction(handle, self.handle, name.encode())
        self.device.cuda.check(code, f"looking for kernel {name}")
        return Function(self, name, handle.value or 0)

    def variable(self, name: str) -> tuple[int, int]:
        """(address, bytes) of a global variable of the module."""
        address, size = c_uint64(), c_size_t()
        with self.device.current():
            code = self.device.cuda.lib.cuModuleGetGlobal_v2(address, size, self.handle, name.encode())
        self.device.cuda.check(code, f"looking for the variable {name}")
        return address.value, size.value

    def unload(self) -> None:
        """Gives the memory back.  Its kernels must be finished; doing it twice does nothing."""
        if self.handle.value:
            with self.device.current():
                code = self.device.cuda.lib.cuModuleUnload(self.handle)
            self.handle = c_void_p()
            self.device.cuda.check(code, "unloading machine code")


class Function:
    """A kernel on one GPU: ``handle`` is the driver's, which `launch` uses."""

    def __init__(self, module: Module, name: str, handle: int):
        self.module, self.name, self.handle = module, name, handle

    def _attribute(self, which: int) -> int:
        value = c_int()
        cuda = self.module.device.cuda
        cuda.check(cuda.lib.cuFuncGetAttribute(value, which, self.handle), f"asking about kernel {self.name}")
        return value.value

    @property
    def registers(self) -> int:
        """32-bit registers a thread."""
        return self._attribute(driver_calls.FUNCTION_REGISTERS)

    @property
    def local_bytes(self) -> int:
        """Bytes of local memory a thread: spilled registers and arrays."""
        return self._attribute(driver_calls.FUNCTION_LOCAL)

    @property
    def static_shared(self) -> int:
        """Bytes of shared memory that the code itself declares."""
        return self._attribute(driver_calls.FUNCTION_SHARED)

    @property
    def max_threads(self) -> int:
        """Threads that a block may have, given the registers."""
        return self._attribute(driver_calls.FUNCTION_MAX_THREADS)

    def _set(self, which: int, value: int, doing: str) -> None:
        cuda = self.module.device.cuda
        cuda.check(cuda.lib.cuFuncSetAttribute(self.handle, which, value), f"{doing} for kernel {self.name}")

    def allow_shared(self, size: int) -> None:
        """Lets launches ask for ``size`` bytes of dynamic shared memory; beyond 48 KiB that must be said beforehand."""
        self._set(driver_calls.FUNCTION_MAX_DYNAMIC_SHARED, size, f"reserving {size} bytes of shared memory")
        self._set(driver_calls.FUNCTION_CARVEOUT, 100, "preferring shared memory to cache")  # percent

    def allow_large_cluster(self) -> None:
        """Lets clusters have more than the 8 blocks that every GPU with clusters can do."""
        self._set(driver_calls.FUNCTION_NON_PORTABLE_CLUSTER, 1, "allowing clusters of more than 8 blocks")


class DeviceMemory:
    """``size`` bytes of memory of ``device`` at ``address``, until this object goes."""

    def __init__(self, device: Device, size: int):
        self.device, self.size = device, size
        address = c_uint64()
        with device.current(), device.cuda.capturing_allowed():
            code = device.cuda.lib.cuMemAlloc_v2(address, size)
        device.cuda.check(code, f"allocating {size} bytes on GPU {device.ordinal}")
        self.address = address.value

    def write(self, data: bytes) -> None:
        """Copies ``data`` to the beginning; returns when it is there."""
        with self.device.current():
            code = self.device.cuda.lib.cuMemcpyHtoD_v2(self.address, data, len(data))
        self.device.cuda.check(code, f"copying {len(data)} bytes to GPU {self.device.ordinal}")

    def read(self) -> bytes:
        """All bytes, after the work that was queued before."""
        out = ctypes.create_string_buffer(self.size)
        with self.device.current():
            code = self.device.cuda.lib.cuMemcpyDtoH_v2(out, self.address, self.size)
        self.device.cuda.check(code, f"copying {self.size} bytes from GPU {self.device.ordinal}")
        return out.raw

    def zero(self, stream: int = 0) -> None:
        """Queues the writing of zeros everywhere on ``stream``."""
        with self.device.current():
            code = self.device.cuda.lib.cuMemsetD8Async(self.address, 0, self.size, stream or None)
        self.device.cuda.check(code, f"clearing {self.size} bytes of GPU {self.device.ordinal}")

    def __del__(self) -> None:
        address = getattr(self, "address", 0)
        if address and not sys.is_finalizing():
            try:
                with self.device.current():
                    self.device.cuda.lib.cuMemFree_v2(address)
            except CudaError:
                pass  # after a kernel's fault nothing can be freed


class Event:
    """A mark in a stream of the current GPU; two of them measure the time between."""

    def __init__(self, cuda: Cuda):
        self.cuda, self.handle = cuda, c_void_p()
        cuda.check(cuda.lib.cuEventCreate(self.handle, 0), "making an event")

    def record(self, stream: int = 0) -> None:
        """Puts the mark behind all that was queued on ``stream`` so far."""
        self.cuda.check(self.cuda.lib.cuEventRecord(self.handle, stream or None), "recording an event")

    def synchronize(self) -> None:
        """Waits until the mark is reached."""
        self.cuda.check(self.cuda.lib.cuEventSynchronize(self.handle), "waiting for an event")

    def elapsed_since(self, earlier: Event) -> float:
        """Milliseconds from ``earlier`` to this mark, both reached."""
        out = c_float()
        self.cuda.check(self.cuda.lib.cuEventElapsedTime(out, earlier.handle, self.handle), "measuring between events")
        return out.value

    def __del__(self) -> None:
        if self.handle.value and not sys.is_finalizing():
            self.cuda.lib.cuEventDestroy_v2(self.handle)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _load_library() -> Any:
    """The driver's library.  NoDriverError where there is none."""
    given = os.environ.get("TRITON_LIBCUDA_PATH", "")  # a folder
    if sys.platform == "win32":
        names = ["nvcuda.dll"]
    else:
        names = ["libcuda.so.1", "libcuda.so"]
        if os.path.exists("/usr/lib/wsl/lib/libcuda.so.1"):
            names.append("/usr/lib/wsl/lib/libcuda.so.1")
    if given:
        names = [os.path.join(given, name) for name in names[:1]]
    said = ""
    for name in names:
        try:
            return ctypes.CDLL(name)  # also on Windows: x64 and ARM64 have one calling convention
        except OSError as error:
            said = said or str(error)
    raise NoDriverError(f"no NVIDIA driver is installed ({said}); install one, or run on the CPU with ANYTILE_TARGET=cpu")


@lru_cache(maxsize=1)
def _outcome() -> Cuda | CudaError:
    try:
        return Cuda(_load_library())
    except CudaError as error:
        return error.with_traceback(None)  # which holds frames, and so whatever the first launch of the program was given


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_outcome.cache_clear)  # what the parent opened is of no use to a fork


def cuda() -> Cuda:
    """This process's driver.  Raises the CudaError that says why it cannot be used; asking again does not help then."""
    found = _outcome()
    if isinstance(found, CudaError):
        raise type(found)(str(found), found.code)
    return found


def available() -> bool:
    """Whether this process can use a driver and a GPU."""
    return isinstance(_outcome(), Cuda)


def present() -> bool:
    """Whether a driver and a GPU are here, be it only for the process that this one was forked from."""
    return isinstance(_outcome(), (Cuda, ForkedError))


def version() -> tuple[int, int] | None:
    """The CUDA version that the driver implements; None where no GPU is present.  A fork answers as its parent does."""
    found = _outcome()
    return found.version if isinstance(found, (Cuda, ForkedError)) else None


def absent() -> bool:
    """Whether there is no driver or no GPU at all, as on most machines; a driver that cannot be used is not absent."""
    return isinstance(_outcome(), NoDriverError)


def unavailable_because() -> str:
    """Why no GPU can be used; empty where one can."""
    found = _outcome()
    return str(found) if isinstance(found, CudaError) else ""
