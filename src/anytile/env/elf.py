"""Just enough ELF: what a shared library needs, offers and asks for by version. 64-bit little-endian, which is all that torch ships."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Elf", "read_elf"]

_DYNAMIC, _DYNSYM, _VERDEF, _VERNEED = 6, 11, 0x6FFFFFFD, 0x6FFFFFFE
_NEEDED, _RPATH, _RUNPATH = 1, 15, 29


@dataclass(frozen=True)
class Elf:
    """Names as bytes are decoded; `undefined` leaves out weak symbols, which may stay undefined."""

    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    undefined: frozenset[str] = frozenset()
    defined: frozenset[str] = frozenset()
    versions_needed: dict[str, tuple[str, ...]] = field(default_factory=dict)  # library → version nodes
    versions_defined: frozenset[str] = frozenset()


def read_elf(path: Path, symbols: bool = True) -> Elf | None:
    """Reads a shared library; None where the file is none of this kind (a linker script, another word size, damaged)."""
    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:6] != b"\x7fELF\x02\x01":
                return None
            return _parse(data, symbols)
    except (OSError, ValueError, struct.error, IndexError, OverflowError):  # ValueError: an empty file cannot be mapped
        return None


def _parse(data: mmap.mmap, symbols: bool) -> Elf:
    table, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]

    def strings(section: tuple[int, ...]) -> bytes:
        linked = sections[section[6]]
        return data[linked[4] : linked[4] + linked[5]]

    def at(names: bytes, offset: int) -> str:
        return names[offset : names.index(b"\0", offset)].decode("utf-8", "replace")

    needed: list[str] = []
    rpath: list[str] = []
    undefined: set[str] = set()
    defined: set[str] = set()
    wants: dict[str, tuple[str, ...]] = {}
    offers: set[str] = set()
    for section in sections:
        kind, start, length = section[1], section[4], section[5]
        if kind == _DYNAMIC:
            names = strings(section)
            for tag, value in struct.iter_unpack("<QQ", data[start : start + length]):
                if tag == _NEEDED:
                    needed.append(at(names, value))
                elif tag in (_RPATH, _RUNPATH):
                    rpath += at(names, value).split(":")
        elif kind == _DYNSYM and symbols:
            names = strings(section)
            for name, info, _, index, _, _ in struct.iter_unpack("<IBBHQQ", data[start : start + length]):
                if name:
                    if index:
                        defined.add(at(names, name))
                    elif info >> 4 == 1:  # global, not weak
                        undefined.add(at(names, name))
        elif kind == _VERNEED:
            names, here = strings(section), start
            for _ in range(section[7]):
                _, aux_count, file, aux, step = struct.unpack_from("<HHIII", data, here)
                nodes, there = [], here + aux
                for _ in range(aux_count):
                    _, flags, _, name, aux_step = struct.unpack_from("<IHHII", data, there)
                    if not flags & 2:  # weak references may be missing
                        nodes.append(at(names, name))
                    there += aux_step
                    if not aux_step:
                        break
                wants[at(names, file)] = tuple(nodes)
                here += step
                if not step:
                    break
        elif kind == _VERDEF:
            names, here = strings(section), start
            for _ in range(section[7]):
                _, _, _, aux_count, _, aux, step = struct.unpack_from("<HHHHIII", data, here)
                if aux_count:
                    offers.add(at(names, struct.unpack_from("<I", data, here + aux)[0]))
                here += step
                if not step:
                    break
    return Elf(tuple(needed), tuple(rpath), frozenset(undefined), frozenset(defined), wants, frozenset(offers))
