"""A libcuda of Python functions behind real C function pointers, so that marshalling is tested without a GPU.

Each function of `driver_calls.PROTOTYPES` becomes a ctypes callback of that very prototype which calls the method of its name, without
prefix and version suffix.  What is launched is decoded from the memory that the driver would read.
"""

from __future__ import annotations

import ctypes
import re
import struct
from dataclasses import dataclass, field
from typing import Any

from anytile.targets.nvidia import driver_calls, encode_maps
from anytile.targets.nvidia.chips import CHIPS

OK, OUT_OF_MEMORY, INVALID_CONTEXT, NOT_FOUND = 0, 2, 201, 500


@dataclass
class Launch:
    """One call of cuLaunchKernelEx, decoded."""

    function: int
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    stream: int
    attributes: dict[int, tuple[int, int, int]]
    slots: list[int]
    context: int
    maps: list[bytes] = field(default_factory=list)


@dataclass
class FakeCuda:
    """``arches``: one GPU each.  ``slots``: how many parameters kernels have; ``maps``: how many tensor maps follow.

    ``fail``: function name → codes of its next calls.  ``encoded``: the tensor maps that were asked for; the 128 bytes of each begin with
    its number here.
    """

    arches: tuple[int, ...] = (90,)
    version: int = 13000
    slots: int = 0
    maps: int = 0
    encoded: list[dict[str, Any]] = field(default_factory=list)
    memory: int = 1 << 20
    max_threads: int = 1024
    fail: dict[str, list[int]] = field(default_factory=dict)
    launches: list[Launch] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    loaded: list[bytes] = field(default_factory=list)
    shared_claims: dict[int, int] = field(default_factory=dict)
    context: int = 0
    cubin: bytes = b""

    def library(self) -> Any:
        """An object with C functions, as ctypes.CDLL gives."""
        lib = type("FakeLibrary", (), {})()
        for name, arguments in {**driver_calls.PROTOTYPES, "cuTensorMapEncodeTiled": encode_maps.PROTOTYPE}.items():
            method = getattr(self, re.sub(r"^cu|_v2$", "", name))
            setattr(lib, name, ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(self._guarded(name, method)))
        return lib

    def _guarded(self, name: str, method: Any) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            codes = self.fail.get(name)
            if codes:
                code = codes.pop(0)
                if code:
                    return code
            return method(*arguments) or OK

        return call

    def Init(self, flags):
        assert flags == 0

    def DriverGetVersion(self, out):
        out[0] = self.version

    def GetErrorName(self, code, out):
        self._name = ctypes.c_char_p(f"CUDA_ERROR_{code}".encode())
        out[0] = self._name

    def DeviceGetCount(self, out):
        out[0] = len(self.arches)

    def DeviceGet(self, out, ordinal):
        out[0] = ordinal + 100  # a handle is not an ordinal

    def DeviceGetName(self, out, size, device):
        ctypes.memmove(out, b"Fake GPU\0", 9)

    def DeviceTotalMem(self, out, device):
        out[0] = self.memory

    def DeviceGetAttribute(self, out, which, device):
        chip = CHIPS[self.arches[device - 100]]
        name = {v: k for k, v in driver_calls.ATTRIBUTES.items()}[which]
        out[0] = {
            "capability_major": chip.arch // 10,
            "capability_minor": chip.arch % 10,
            "max_shared_per_block_optin": chip.shared_per_block,
            "max_shared_per_multiprocessor": chip.shared_per_sm,
            "multiprocessors": 132,
            "registers_per_block": 65536,
            "warp_size": 32,
        }.get(name, 0)

    def DevicePrimaryCtxRetain(self, out, device):
        out[0] = 0xC000 + device

    def CtxGetCurrent(self, out):
        out[0] = self.context

    def CtxSetCurrent(self, context):
        self.context = context or 0

    def CtxGetDevice(self, out):
        out[0] = self.context - 0xC000 - 100

    def CtxSynchronize(self): ...

    def ModuleLoadDataEx(self, out, image, options, keys, values):
        self.loaded.append(ctypes.string_at(image, 4))
        out[0] = 0x1000 * len(self.loaded)

    def ModuleUnload(self, module): ...

    def ModuleGetFunction(self, out, module, name):
        if name == b"missing":
            return NOT_FOUND
        out[0] = module + 1

    def ModuleGetGlobal(self, address, size, module, name):
        address[0], size[0] = 0xABC000, 16

    def FuncGetAttribute(self, out, which, function):
        out[0] = {0: self.max_threads, 1: 16, 3: 24, 4: 40}[which]

    def FuncSetAttribute(self, function, which, value):
        self.shared_claims[which] = value

    def LinkCreate(self, count, keys, values, out):
        self._options = {keys[i]: values[i] for i in range(count)}
        out[0] = 0x77

    def LinkAddData(self, state, kind, data, size, name, count, keys, values):
        assert kind == 1 and ctypes.string_at(data + size - 1, 1) == b"\0"
        if b"broken" in ctypes.string_at(data, size):
            ctypes.memmove(self._options[driver_calls.JIT_ERROR_LOG], b"line 1: broken\0", 15)
            return 218
        ctypes.memmove(self._options[driver_calls.JIT_INFO_LOG], b"0 bytes spill stores, 0 bytes spill loads\0", 43)

    def LinkComplete(self, state, out, size):
        self._image = ctypes.create_string_buffer(self.cubin, len(self.cubin))
        out[0], size[0] = ctypes.addressof(self._image), len(self.cubin)

    def LinkDestroy(self, state): ...

    def LaunchKernelEx(self, config, function, parameters, extra):
        x, y, z, bx, by, bz, shared, stream, attributes, count = struct.unpack("<7I4xQQI", ctypes.string_at(config, 52))
        found = {}
        for i in range(count):
            kind, a, b, c = struct.unpack("<I4xIII", ctypes.string_at(attributes + 72 * i, 20))
            found[kind] = (a, b, c)
        pointers = struct.unpack(f"<{self.slots}Q", ctypes.string_at(parameters, 8 * self.slots)) if self.slots else ()
        slots = [struct.unpack("<Q", ctypes.string_at(p, 8))[0] for p in pointers]
        behind = struct.unpack(f"<{self.maps}Q", ctypes.string_at(parameters + 8 * self.slots, 8 * self.maps)) if self.maps else ()
        assert not any(p % 64 for p in behind)
        maps = [ctypes.string_at(p, 128) for p in behind]
        self.launches.append(Launch(function, (x, y, z), (bx, by, bz), shared, stream, found, slots, self.context, maps))
        assert not extra

    def TensorMapEncodeTiled(self, out, kind, rank, base, extents, strides, box, steps, interleave, swizzle, promotion, fill):
        assert out % 64 == 0 and not interleave and not fill

        def numbers(at, n, kind):
            return struct.unpack(f"<{n}{kind}", ctypes.string_at(at, struct.calcsize(f"<{n}{kind}")))

        assert numbers(steps, rank, "I") == (1,) * rank
        made = {"type": kind, "base": base, "extents": numbers(extents, rank, "Q"), "strides": numbers(strides, rank - 1, "Q")}
        self.encoded.append(made | {"box": numbers(box, rank, "I"), "swizzle": swizzle})
        ctypes.memmove(out, struct.pack("<Q120x", len(self.encoded)), 128)

    def MemAlloc(self, out, size):
        if size > self.memory:
            return OUT_OF_MEMORY
        out[0] = 0xDD0000 + 0x10000 * (self.context - 0xC000 - 100)

    def MemFree(self, address): ...

    def MemcpyHtoD(self, address, data, size): ...

    def MemcpyDtoH(self, data, address, size):
        ctypes.memset(data, 7, size)

    def MemsetD8Async(self, address, value, size, stream): ...

    def PointerGetAttribute(self, out, which, address):
        if address < 0x10000:
            return 1
        ctypes.memmove(out, struct.pack("<i", len(self.arches) - 1), 4)

    def StreamSynchronize(self, stream): ...

    def ThreadExchangeStreamCaptureMode(self, mode):
        mode[0] = 0

    def EventCreate(self, out, flags):
        out[0] = 0xE0

    def EventRecord(self, event, stream): ...

    def EventSynchronize(self, event): ...

    def EventElapsedTime(self, out, start, end):
        out[0] = 1.5

    def EventDestroy(self, event): ...
