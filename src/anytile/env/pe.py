"""Just enough PE (Windows DLLs, .pyd files): which DLLs a file imports, by which linker it was made, its file version."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pe", "linker_of", "read_pe"]


@dataclass(frozen=True)
class Pe:
    """`linker` is the toolset, (14, 44) for Visual C++ 14.44; `version` the first numbers of the version resource."""

    machine: int  # 0x8664: x86-64, 0xAA64: ARM64
    linker: tuple[int, int]
    imports: tuple[str, ...]  # as written; Windows compares without case
    version: tuple[int, int, int, int] | None


def read_pe(path: Path) -> Pe | None:
    """Reads a DLL; None where the file is none, or is damaged."""
    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(data)
    except (OSError, ValueError, struct.error, IndexError, OverflowError):
        return None


def linker_of(beginning: bytes) -> tuple[int, int] | None:
    """The toolset that linked a DLL, (14, 44), from its first bytes: it needs a Visual C++ runtime of that version or newer."""
    try:
        optional = _optional_header(beginning)
        return None if optional is None else (beginning[optional + 2], beginning[optional + 3])
    except (struct.error, IndexError):
        return None


def _optional_header(data: bytes | mmap.mmap) -> int | None:
    """Where the second part of the header begins; None where there is none."""
    if data[:2] != b"MZ":
        return None
    header: int = struct.unpack_from("<I", data, 0x3C)[0]
    return header + 24 if data[header : header + 4] == b"PE\0\0" else None


def _parse(data: mmap.mmap) -> Pe | None:
    optional = _optional_header(data)
    if optional is None:
        return None
    machine, count, _, _, _, optional_size, _ = struct.unpack_from("<HHIIIHH", data, optional - 20)
    wide = struct.unpack_from("<H", data, optional)[0] == 0x20B
    directories = optional + (112 if wide else 96)
    sections = [struct.unpack_from("<IIII", data, optional + optional_size + 40 * i + 8) for i in range(count)]

    def offset(address: int) -> int:
        """Where in the file a loaded address lies."""
        for size, start, raw_size, raw in sections:
            if start <= address < start + max(size, raw_size):
                return address - start + raw
        raise ValueError("an address outside every section")

    imports = []
    address = struct.unpack_from("<I", data, directories + 8)[0]
    if address:
        entry = offset(address)
        while name := struct.unpack_from("<I", data, entry + 12)[0]:
            begin = offset(name)
            imports.append(data[begin : data.find(b"\0", begin)].decode("ascii", "replace"))
            entry += 20
    fixed = data.find(b"\xbd\x04\xef\xfe")  # VS_FIXEDFILEINFO
    version = None
    if fixed > 0:
        high, low = struct.unpack_from("<II", data, fixed + 8)
        version = (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
    return Pe(machine, (data[optional + 2], data[optional + 3]), tuple(imports), version)
