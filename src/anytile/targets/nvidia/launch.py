"""Launching: from an argument block to a running grid, in one call of the driver and no C extension.

**Parameters.**  Parameter *i* of the kernel is slot *i* of the argument block (`targets.base`): the driver is given a pointer to each
slot, and reads as many bytes from there as the kernel's parameter has.  So a kernel declares its parameters by their natural types:
pointers, i64 … i8, double, and float for all narrower floats (a bool is an i8).  Any of them fits, as slots are little-endian.
Behind them come tensor maps, where the kernel has any: functions of the slots (`encode_maps`).

**Records.**  All that the driver reads lies in one piece of memory, a *record*: the launch configuration, the slots, the pointers to
them, and the attributes.  A launch takes a record from a list, overwrites configuration and slots (`CudaKernel.direct`: by one
call of ``struct``), calls the driver, which copies what it needs before it returns, and puts the record back.  Taking and
putting back are atomic, so threads launch side by side; the driver's call runs without the GIL.

**Device and stream** are torch's current ones where torch is loaded, else this thread's CUDA context and the default stream.

Measured by scripts/gpu_check.py, which prints the microseconds of a launch.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import OutOfResources
from ...native.launcher import GpuQueue, NotNative
from . import driver_api
from .cuda_errors import CudaError
from .encode_maps import MapArguments
from .tensor_maps import MAP_BYTES

__all__ = ["CudaKernel", "LaunchShape", "current_device", "current_stream", "device_guard", "loaded_torch"]

_CONFIG = struct.Struct("<7I4xQQI4x")  # grid, block, dynamic shared bytes; stream; attributes, their number
_ATTRIBUTE = struct.Struct("<I4xIII52x")  # CUlaunchAttribute: id, then a union of 64 bytes
_COOPERATIVE, _CLUSTER, _OVERLAP = 2, 4, 6  # CU_LAUNCH_ATTRIBUTE_ COOPERATIVE, CLUSTER_DIMENSION, PROGRAMMATIC_STREAM_SERIALIZATION
_UNANNOUNCED_SHARED = 48 * 1024  # more dynamic shared memory than this must be asked for
_PORTABLE_CLUSTER = 8
_INVALID_CONTEXT, _INVALID_HANDLE, _INVALID_CLUSTER = 201, 400, 912
_READY = ctypes.c_int64(1)  # what is prepared for launches stays valid


# --- which GPU, which stream -------------------------------------------------------------------------------------------


def _torch() -> Any:
    """torch's C functions where torch is loaded and was built for CUDA, else None."""
    c = getattr(sys.modules.get("torch"), "_C", None)
    return c if hasattr(c, "_cuda_getCurrentRawStream") else None


def loaded_torch() -> Any:
    """torch where it is loaded and was built for CUDA, else None."""
    return sys.modules["torch"] if _torch() is not None else None


def current_device() -> int:
    """Number of the GPU that this thread launches on."""
    c = _torch()
    return c._cuda_getDevice() if c is not None else driver_api.cuda().current_device()


def current_stream(device: int) -> int:
    """Handle of the stream that this thread launches on; 0 is the default stream."""
    c = _torch()
    return c._cuda_getCurrentRawStream(device) if c is not None else 0


@contextmanager
def device_guard(device: int) -> Iterator[None]:
    """Inside, this thread launches on GPU ``device``; torch's idea of the current device goes along."""
    torch = loaded_torch()
    if torch is not None:
        with torch.cuda.device(device):
            yield
    else:
        with driver_api.cuda().device(device).current():
            yield


# --- launching ---------------------------------------------------------------------------------------------------------


class LaunchShape:
    """What every launch of a kernel has in common.

    ``threads`` a block; ``shared``: bytes of dynamic shared memory; ``cluster``: blocks of a cluster along x, y, z;
    ``cooperative``: all blocks are resident together; ``overlap``: the launch may begin before the previous kernel of the stream
    ends (programmatic dependent launch), the kernel itself waiting where it must.
    """

    def __init__(
        self,
        threads: int,
        shared: int = 0,
        cluster: tuple[int, int, int] = (1, 1, 1),
        cooperative: bool = False,
        overlap: bool = False,
    ):
        self.threads, self.shared, self.cluster = threads, shared, cluster
        self.cooperative, self.overlap = cooperative, overlap

    @property
    def cluster_blocks(self) -> int:
        return self.cluster[0] * self.cluster[1] * self.cluster[2]

    def attributes(self) -> bytes:
        """The launch attributes as the driver reads them, one after the other."""
        out = b""
        if self.cooperative:
            out += _ATTRIBUTE.pack(_COOPERATIVE, 1, 0, 0)
        if self.cluster_blocks > 1:
            out += _ATTRIBUTE.pack(_CLUSTER, *self.cluster)
        if self.overlap:
            out += _ATTRIBUTE.pack(_OVERLAP, 1, 0, 0)
        return out


class _Record:
    """Memory of one launch in the making: configuration, slots, pointers to the parameters, attributes, tensor maps.

    ``view``: all but the maps, which are ``maps``; ``config``, ``pointers``: addresses of its parts; ``attributes``: likewise, 0 where
    there are none.
    """

    __slots__ = ("view", "config", "pointers", "attributes", "maps")

    def __init__(self, attributes: bytes, slots: int, maps: int = 0):
        first = _CONFIG.size
        table = first + 8 * slots
        end = table + 8 * (slots + maps)
        after = end + len(attributes)
        memory = bytearray(after + MAP_BYTES * (maps + 1))
        self.view = memoryview(memory)
        self.config = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.pointers = self.config + table
        self.attributes = self.config + end if attributes else 0
        after += -(self.config + after) % MAP_BYTES
        self.maps = self.view[after : after + MAP_BYTES * maps]
        parameters = [*(first + 8 * i for i in range(slots)), *(after + MAP_BYTES * i for i in range(maps))]
        for i, offset in enumerate(parameters):
            struct.pack_into("<Q", memory, table + 8 * i, self.config + offset)
        memory[end : end + len(attributes)] = attributes


# The entry that `CudaKernel.direct` generates: a launch without a call of Python's between the arguments and the driver.
_DIRECT = """
def go({first}gx, gy, gz{parameters}):
    try:
        record = pop()
    except IndexError:
        record = new()
    try:
        pack(record.view, 0, gx, gy, gz, {threads}, 1, 1, {shared}, {stream}, record.attributes, {count}, {arguments})
    except (error, OverflowError):
        put(record)
        run(repack(({arguments})), gx, gy, gz, {stream})
        return
    code = call(record.config, handle, record.pointers, None)
    if code:
        failed(code, device, lambda: call(record.config, handle, record.pointers, None), (gx, gy, gz))
    put(record)
"""


# The same for kernels with tensor maps, which are made from the packed slots.
_DIRECT_MAPPED = """
def go({first}gx, gy, gz{parameters}):
    try:
        packed = pack({arguments})
    except (error, OverflowError):
        packed = repack(({arguments}))
    run(packed, gx, gy, gz, {stream})
"""


class CudaKernel:
    """A kernel ready to launch on any GPU of its architecture; loaded on each at its first launch there.

    ``run(packed, gx, gy, gz, stream=None)`` queues the grid and returns; ``stream``: a CUDA stream's handle, default the current
    one.  Raises CudaError, or OutOfResources at the first launch where the GPU cannot hold a block.
    ``instead()``: the kernel for arguments that no tensor maps describe, where this one has such maps.
    ``n_regs``: registers a thread; ``n_spills``: 32-bit words of local memory a thread; ``n_max_threads`` a block: known once loaded.
    """

    def __init__(
        self,
        image: bytes,
        name: str,
        entry: str,
        slots: int,
        shape: LaunchShape,
        metadata: dict[str, Any],
        instead: Callable[[], CudaKernel] | None = None,
    ):
        self.instead = instead
        self.image, self.name, self.entry, self.slots, self.shape, self.metadata = image, name, entry, slots, shape, metadata
        self.n_regs, self.n_spills, self.n_max_threads = 0, 0, 0
        self.maps = metadata.get("tensor_maps") or []
        self.functions: dict[int, driver_api.Function] = {}
        self._launchers: dict[int, Callable[..., None]] = {}
        self.run: Callable[..., None] = self._run
        if len(driver_api.cuda().devices) == 1 and _torch() is not None:
            self.run = self.prepare(0)  # no question which GPU

    def _run(self, packed: bytes, gx: int, gy: int, gz: int, stream: int | None = None) -> None:
        device = current_device()
        launch = self._launchers.get(device) or self.prepare(device)
        launch(packed, gx, gy, gz, stream)

    def prepare(self, ordinal: int) -> Callable[..., None]:
        """Loads the kernel on a GPU; ``launch(packed, gx, gy, gz, stream=None)`` for that GPU."""
        found = self._launchers.get(ordinal)
        if found is None:
            device = driver_api.cuda().device(ordinal)
            function = device.load(self.image, self.name).function(self.entry)
            self.n_regs, self.n_spills, self.n_max_threads = function.registers, function.local_bytes // 4, function.max_threads
            self._claim(device, function)
            self.functions[ordinal] = function
            found = self._launchers[ordinal] = self._make_launch(device, function)
        return found

    def _claim(self, device: driver_api.Device, function: driver_api.Function) -> None:
        """Sees that a block fits, and tells the driver of it.  Raises OutOfResources."""
        shape = self.shape
        limit = device.attribute("max_shared_per_block_optin")
        total = shape.shared + function.static_shared
        if total > limit:
            raise OutOfResources(
                total, limit, "shared memory", f"kernel {self.name} was compiled for a GPU that gives a block more than {device!r}"
            )
        if shape.threads > function.max_threads:
            warps = 1 << (function.max_threads // 32).bit_length() - 1 if function.max_threads >= 32 else 1
            detail = (
                f"kernel {self.name} has {function.registers} registers a thread, so a block on {device!r} can have {function.max_threads} threads; "
                f"launch it with num_warps={warps}, or with maxnreg={device.attribute('registers_per_block') // shape.threads // 8 * 8}"
            )
            raise OutOfResources(shape.threads, function.max_threads, "threads", detail)
        if shape.shared > _UNANNOUNCED_SHARED:
            function.allow_shared(shape.shared)
        if shape.cluster_blocks > _PORTABLE_CLUSTER:
            function.allow_large_cluster()

    def _make_launch(self, device: driver_api.Device, function: driver_api.Function) -> Callable[..., None]:
        call, handle, ordinal, shape = device.cuda.lib.cuLaunchKernelEx, function.handle, device.ordinal, self.shape
        attributes, slots, number = shape.attributes(), self.slots, len(self.maps)
        maps = MapArguments(self.maps, self.metadata["slots"], device) if self.maps else None
        count = len(attributes) // _ATTRIBUTE.size
        c = _torch()
        raw_stream = c._cuda_getCurrentRawStream if c is not None else current_stream
        begin = _CONFIG.size
        end = begin + 8 * slots
        pack, threads, shared = _CONFIG.pack_into, shape.threads, shape.shared
        records: list[_Record] = []
        failed = self._failed

        def launch(packed: bytes, gx: int, gy: int, gz: int, stream: int | None = None) -> None:
            try:
                record = records.pop()
            except IndexError:
                record = _Record(attributes, slots, number)
            view = record.view
            view[begin:end] = packed
            if maps is not None:
                described = maps(packed)
                if described is None:
                    records.append(record)
                    assert self.instead is not None
                    self.instead().run(packed, gx, gy, gz, stream)
                    return
                record.maps[:] = described
            if stream is None:
                stream = raw_stream(ordinal)
            pack(view, 0, gx, gy, gz, threads, 1, 1, shared, stream, record.attributes, count)
            code = call(record.config, handle, record.pointers, None)
            if code:
                failed(code, device, lambda: call(record.config, handle, record.pointers, None), (gx, gy, gz))
            records.append(record)

        return launch

    def direct(
        self, parameters: str, arguments: str, layout: str, repack: Callable[[tuple[Any, ...]], bytes], with_stream: bool = False
    ) -> Callable[..., None]:
        """``go(gx, gy, gz, *values)`` for the GPU that is current now: what is quickest where the same one stays current.

        ``parameters``: the values' names (", v0, v1"); ``arguments``: expressions over them for the slots, each followed by a comma;
        ``layout``: the slots in the notation of `struct`; ``repack(values)``: the argument block where that layout refuses them;
        ``with_stream``: ``go(stream, gx, …)``, the handle of a stream of this GPU.
        """
        ordinal, shape = current_device(), self.shape
        run = self.prepare(ordinal)
        function = self.functions[ordinal]
        attributes, slots = shape.attributes(), self.slots
        c = _torch()
        records: list[_Record] = []
        text = (_DIRECT_MAPPED if self.maps else _DIRECT).format(
            first="stream, " if with_stream else "",
            stream="stream" if with_stream else f"current_stream({ordinal})",
            parameters=parameters,
            arguments=arguments,
            threads=shape.threads,
            shared=shape.shared,
            count=len(attributes) // _ATTRIBUTE.size,
        )
        device = function.module.device
        space: dict[str, Any] = {
            "pop": records.pop,
            "put": records.append,
            "new": lambda: _Record(attributes, slots),
            "pack": struct.Struct("<" + layout).pack if self.maps else struct.Struct(_CONFIG.format + layout).pack_into,
            "error": struct.error,
            "repack": repack,
            "run": run,
            "current_stream": c._cuda_getCurrentRawStream if c is not None else current_stream,
            "call": device.cuda.lib.cuLaunchKernelEx,
            "handle": function.handle,
            "device": device,
            "failed": self._failed,
        }
        exec(compile(text, f"<launch of {self.name}>", "exec"), space)
        return space["go"]

    def queue(self, slots: int) -> GpuQueue:
        """What native launchers need to launch this kernel on the GPU that is current now; NotNative for one with tensor maps."""
        if self.metadata.get("tensor_maps"):
            raise NotNative(f"kernel {self.name} has tensor maps")
        ordinal, shape = current_device(), self.shape
        self.prepare(ordinal)
        function, attributes = self.functions[ordinal], shape.attributes()
        memory = ctypes.create_string_buffer(attributes, len(attributes)) if attributes else None
        call = function.module.device.cuda.lib.cuLaunchKernelEx
        return GpuQueue(
            call=ctypes.cast(call, ctypes.c_void_p).value or 0,
            function=function.handle,
            threads=shape.threads,
            shared=shape.shared,
            attributes=ctypes.addressof(memory) if memory else 0,
            attribute_count=len(attributes) // _ATTRIBUTE.size,
            ready=_READY,
            owned=(memory, call, self),
        )

    def _failed(self, code: int, device: driver_api.Device, again: Callable[[], int], grid: tuple[int, int, int]) -> None:
        """A launch was refused: tries once more where only the thread's context was missing, else raises."""
        if code in (_INVALID_CONTEXT, _INVALID_HANDLE):
            device.make_current()
            code = again()
        shape = self.shape
        what = f"a grid of {grid[0]} × {grid[1]} × {grid[2]}, {shape.threads} threads and {shape.shared} bytes of shared memory a block"
        if shape.cluster_blocks > 1:
            what += f", clusters of {shape.cluster_blocks} blocks"
            if code == _INVALID_CLUSTER and any(n % c for n, c in zip(grid, shape.cluster)):
                dims = " × ".join(map(str, shape.cluster))
                raise CudaError(f"launching kernel {self.name} with {what}: the grid is no multiple of the clusters of {dims}", code)
        device.cuda.check(code, f"launching kernel {self.name} on GPU {device.ordinal} with {what}")
