"""The launcher's part of tensor maps: from a kernel's argument block to the 128-byte parameters behind it (`tensor_maps`).

A launch with arguments seen before costs a look into a dictionary; encoding takes about a microsecond a map.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Sequence
from ctypes import c_int, c_uint32, c_uint64, c_void_p
from typing import Any

from . import driver_api
from .tensor_maps import ALIGNMENT, MAP_BYTES, Formula

__all__ = ["MapArguments", "PROTOTYPE", "value"]

_KEPT = 256  # argument blocks whose maps are remembered
_TYPES = {1: 0, 2: 1, 4: 2}  # bytes of an element → CU_TENSOR_MAP_DATA_TYPE_UINT8, UINT16, UINT32
_SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}  # CU_TENSOR_MAP_SWIZZLE_…
_L2_256B = 3  # CU_TENSOR_MAP_L2_PROMOTION_L2_256B
PROTOTYPE = [c_void_p, c_int, c_uint32, c_void_p, *([c_void_p] * 4), c_int, c_int, c_int, c_int]


def _quotient(x: int, y: int) -> int:
    """Towards zero, as the kernel divides; what no kernel may ask for is 0."""
    return (abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)) if y else 0


_BINARY = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "sdiv": _quotient}


class MapArguments:
    """``maps``: as in a kernel's metadata, the fields of each `TensorMap`; ``slots``: types of the argument block; for launches on ``device``."""

    def __init__(self, maps: Sequence[dict[str, Any]], slots: Sequence[str], device: driver_api.Device):
        self.maps, self.device = maps, device
        self._layout = struct.Struct("<" + "".join("Q" if s.startswith("ptr") else "q" for s in slots))
        self._known: dict[bytes, bytes | None] = {}

    def __call__(self, packed: bytes) -> bytes | None:
        """The maps, one after the other, for the arguments ``packed``; None where the accelerator cannot address one of the tensors."""
        try:
            return self._known[packed]
        except KeyError:  # not asked for beforehand: another thread may clear it meanwhile
            pass
        if len(self._known) >= _KEPT:
            self._known.clear()
        arguments = self._layout.unpack(packed)
        made = [_encoded(m, arguments, self.device) for m in self.maps]
        got = self._known[packed] = None if None in made else b"".join(made)  # type: ignore[arg-type]
        return got


def _encoded(m: dict[str, Any], arguments: Sequence[int], device: driver_api.Device) -> bytes | None:
    base = value(m["base"], arguments) & (1 << 64) - 1
    extents = [value(f, arguments) for f in m["extents"]]
    rank = len(extents)
    if min(extents) <= 0:  # nothing lies inside, and the driver knows no empty tensors
        base, extents = _nothing(device, m["stored"]), [1] * rank
    # Along a dimension of one element nobody takes a step.
    strides = [ALIGNMENT if n == 1 else value(f, arguments) * m["size"] for n, f in zip(extents, m["strides"])]
    if base % ALIGNMENT or any(s % ALIGNMENT or s < 0 for s in strides):
        return None
    encode = device.cuda.lib.cuTensorMapEncodeTiled  # since CUDA 12.0, as is the PTX of these kernels
    encode.argtypes, encode.restype = PROTOTYPE, c_int
    memory = ctypes.create_string_buffer(2 * MAP_BYTES)
    at = -(-ctypes.addressof(memory) // MAP_BYTES) * MAP_BYTES
    code = encode(  # the innermost dimension first
        at, _TYPES[m["size"]], rank, base, (c_uint64 * rank)(*reversed(extents)), (c_uint64 * (rank - 1))(*reversed(strides)),
        (c_uint32 * rank)(*reversed(m["box"])), (c_uint32 * rank)(*[1] * rank), 0, _SWIZZLES[m["swizzle"]], _L2_256B, 0,
    )  # fmt: skip
    return None if code else ctypes.string_at(at, MAP_BYTES)


def value(f: Formula, arguments: Sequence[int]) -> int:
    """What a formula gives for these arguments; integers wrap as in the kernel."""
    kind = f[0]
    if kind == "argument":
        return arguments[f[1]]
    if kind == "constant":
        return int(f[1])
    bits, *operands = f[1:]
    xs = [value(x, arguments) for x in operands]
    got = _BINARY[kind](*xs) if kind in _BINARY else xs[0]
    half = 1 << (bits - 1)
    return ((got + half) & (2 * half - 1)) - half


_empty: dict[tuple[int, bool], driver_api.DeviceMemory] = {}


def _nothing(device: driver_api.Device, stored: bool) -> int:
    """Address of 16 bytes on ``device`` that stand for an empty tensor: zeros that nobody writes, or where ``stored`` goes unread."""
    key = device.ordinal, stored
    if key not in _empty:
        memory = driver_api.DeviceMemory(device, ALIGNMENT)
        with device.cuda.capturing_allowed():
            memory.write(bytes(ALIGNMENT))
        _empty.setdefault(key, memory)  # of two threads that come here at once, one keeps its memory
    return _empty[key].address
