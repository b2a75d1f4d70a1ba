"""What a cubin says of its kernels: registers, stack, shared memory.  A cubin is an ELF file with tables of NVIDIA's.

Section ``.nv.info`` is a list of attributes, each a format byte, a kind byte and 16 bits: the value itself, or the
length of what follows.  Those read here are pairs (symbol index, value).  ``.nv.shared.<kernel>`` is as long
as the shared memory that the kernel declares; what a launch adds is not in the file.  From sm_90 on it
begins with the bytes that the system reserves for itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import AnytileError

__all__ = ["KernelResources", "read_resources"]

_SYMTAB = 2
_MACHINE_CUDA = 190
_SIZED = 4  # attribute format: 16 bits of length, then the value
_FRAME_SIZE, _MIN_STACK_SIZE, _REGISTERS = 0x11, 0x12, 0x2F
_HEADER = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size


@dataclass(frozen=True)
class KernelResources:
    """``registers`` a thread, bytes of ``stack`` (local memory) a thread, bytes of declared ``shared`` memory a block."""

    registers: int
    stack: int
    shared: int


class _Section:
    def __init__(self, image: bytes, header: tuple[int, ...]):
        self.name_at, self.kind, _, _, self.offset, self.size, self.link, self.info, _, _ = header
        self.name = ""
        self.image = image

    @property
    def data(self) -> bytes:
        return self.image[self.offset : self.offset + self.size]


def _sections(image: bytes) -> list[_Section]:
    if image[:5] != b"\x7fELF\x02" or struct.unpack_from("<H", image, 18)[0] != _MACHINE_CUDA:
        raise AnytileError(f"these {len(image)} bytes are no 64-bit cubin")
    (table,) = struct.unpack_from("<Q", image, 40)
    size, count, names = struct.unpack_from("<HHH", image, 58)
    found = [_Section(image, _HEADER.unpack_from(image, table + i * size)) for i in range(count)]
    text = found[names].data
    for s in found:
        s.name = text[s.name_at : text.index(b"\0", s.name_at)].decode()
    return found


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each attribute that has a sized value."""
    at = 0
    while at + 4 <= len(data):
        form, kind, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == _SIZED:
            yield kind, data[at : at + size]
            at += size


def read_resources(image: bytes, reserved: int = 0) -> dict[str, KernelResources]:
    """Kernel name → what it needs.  ``reserved``: bytes of a section of shared memory that are the system's.

    AnytileError where ``image`` is no cubin.
    """
    sections = _sections(image)
    by_name = {s.name: s for s in sections}
    symbols: list[str] = []
    for s in sections:
        if s.kind == _SYMTAB:
            text = sections[s.link].data
            for name, *_ in _SYMBOL.iter_unpack(s.data):
                symbols.append(text[name : text.index(b"\0", name)].decode())
    values: dict[int, dict[str, int]] = {_REGISTERS: {}, _FRAME_SIZE: {}, _MIN_STACK_SIZE: {}}
    if ".nv.info" in by_name:
        for kind, value in _attributes(by_name[".nv.info"].data):
            if kind in values and len(value) == 8:
                symbol, number = struct.unpack("<II", value)
                values[kind][symbols[symbol]] = number
    out = {}
    for name in (s.name.removeprefix(".text.") for s in sections if s.name.startswith(".text.")):
        shared = by_name.get(f".nv.shared.{name}")
        stack = max(values[_FRAME_SIZE].get(name, 0), values[_MIN_STACK_SIZE].get(name, 0))
        out[name] = KernelResources(values[_REGISTERS].get(name, 0), stack, max(0, shared.size - reserved) if shared else 0)
    return out
