"""A linker for the objects that LLVM makes of our own text: ELF, x86-64 and AArch64, position-independent code.

It exists because LLVM is slow to arrive: importing it and setting up its linker takes a hundred milliseconds, linking
a kernel this way takes a third of one.  A kernel from the disk cache therefore runs without LLVM in the process.

Only what our objects contain is known.  Everything else (thread-local storage, constructors, other relocations,
symbols that the process does not have) is `Refused`, and LLVM's linker takes over.

The image is one block of memory, so that relative references always reach::

    code · stubs            executable       stub: jump to an external function through its slot
    constants · slots       read-only        slot: the address of an external symbol
    variables               writable
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from .memory import PAGE, CodeMemory, available

__all__ = ["ElfObject", "Refused"]


class Refused(Exception):
    """This object has something that only LLVM's linker knows; the message says what."""


# Names as in elf.h.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_IDENTITY = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_ET_REL = 1
_X86_64, _AARCH64 = 62, 183
_PROGBITS, _SYMTAB, _RELATIONS, _NOBITS, _NOTE, _REL, _UNWIND = 1, 2, 4, 8, 7, 9, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _TLS = 1, 2, 4, 0x400
_SHN_UNDEF, _SHN_ABS, _SHN_RESERVED = 0, 0xFFF1, 0xFF00
_STT_TLS, _STT_IFUNC = 6, 10


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    kind: int
    section: int
    value: int

    @property
    def external(self) -> bool:
        return self.section == _SHN_UNDEF


class ElfObject:
    """Object code in this process.  ``symbols``: name → address of what it refers to beside the C library.

    ``permanent``: the code stays until the process ends.  Raises `Refused`; OSError where memory cannot be made executable.
    """

    def __init__(self, data: bytes, symbols: Mapping[str, int], permanent: bool = False):
        if not available():
            raise Refused("no way to make memory executable is known on this system")
        try:
            self._link(data, symbols)
        except (struct.error, IndexError, ValueError) as e:
            raise Refused(f"the object is malformed: {e}") from None
        self._kept = dict(symbols)
        if permanent:
            self._memory.permanent()

    def address(self, name: str) -> int:
        """Address of a function or variable that the object defines.  Raises KeyError where it does not."""
        return self._defined[name]

    def _link(self, data: bytes, symbols: Mapping[str, int]) -> None:
        machine, sections = _sections(data)
        patch, slot_kinds, stub_size, write_stub = _MACHINES[machine]
        table = _symbols(data, sections)
        relocations = [(section, *entry) for section in sections if section.kind == _RELATIONS for entry in _entries(data, section)]
        relocations = [r for r in relocations if _placed(sections[r[0].info])]
        slotted = sorted({i for _, _, kind, i, _ in relocations if table[i].external or kind in slot_kinds})

        places, ends = _layout(sections, stub_size * len(slotted), 8 * len(slotted))
        stubs = ends[0] - stub_size * len(slotted)
        slots = ends[1] - 8 * len(slotted)
        memory = self._memory = CodeMemory(ends[2])
        for number, place in places.items():
            s = sections[number]
            if s.kind != _NOBITS:
                memory.buffer[place : place + s.size] = data[s.offset : s.offset + s.size]

        def value(i: int) -> int:
            symbol = table[i]
            if symbol.section == _SHN_ABS:
                return symbol.value
            if symbol.section not in places:
                raise Refused(f"the symbol {symbol.name!r} lies in a section that is not loaded")
            return memory.base + places[symbol.section] + symbol.value

        ways: dict[int, tuple[int | None, int | None, int | None]] = {}
        for n, i in enumerate(slotted):
            slot, stub = slots + 8 * n, stubs + stub_size * n
            external = table[i].external
            struct.pack_into("<Q", memory.buffer, slot, _resolve(table[i].name, symbols) if external else value(i))
            write_stub(memory, stub, slot)
            ways[i] = (None if external else value(i), memory.base + slot, memory.base + stub)
        for section, offset, kind, i, addend in relocations:
            if offset > sections[section.info].size:
                raise Refused("a relocation lies outside its section")
            if i not in ways:
                ways[i] = (value(i), None, None)
            patch(_Site(memory, places[section.info] + offset, addend, *ways[i]), kind)
        self._defined = {s.name: value(i) for i, s in enumerate(table) if s.name and s.section in places}
        code, constants, _ = (-(-end // PAGE) * PAGE for end in ends)
        memory.protect(0, code, execute=True)
        memory.protect(code, constants, execute=False)


# --- reading -------------------------------------------------------------------------------------------------------


def _sections(data: bytes) -> tuple[int, list[_Section]]:
    """(machine, sections) of an object file."""
    if data[:7] != _IDENTITY:
        raise Refused("it is no 64-bit little-endian ELF file")
    _, kind, machine, _, _, _, table, _, _, _, _, size, count, names = _HEADER.unpack_from(data)
    if kind != _ET_REL or machine not in _MACHINES or size != _SECTION.size:
        raise Refused(f"it is an ELF file of type {kind} for machine {machine}")
    if machine != _host_machine():
        raise Refused("it is for another architecture")
    raw = [_SECTION.unpack_from(data, table + size * i) for i in range(count)]
    text = raw[names][4]
    out = []
    for name, type_, flags, _, offset, length, link, info, alignment, _ in raw:
        label = _text(data, text + name)
        if flags & _ALLOC:
            if label.startswith((".ctors", ".dtors", ".init_array", ".fini_array")):
                raise Refused(f"section {label} has functions to be called at the beginning or the end")
            if flags & _TLS or flags & _WRITE and flags & _EXECUTE:
                raise Refused(f"section {label} is thread-local, or writable and executable")
            if type_ not in (_PROGBITS, _NOBITS, _NOTE, _UNWIND):
                raise Refused(f"section {label} is of type {type_:#x}")
            if alignment > PAGE:
                raise Refused(f"section {label} is aligned to {alignment} bytes")
        if type_ == _REL:
            raise Refused("relocations without addends")
        if type_ != _NOBITS and offset + length > len(data):
            raise Refused(f"section {label} is cut off")
        out.append(_Section(label, type_, flags, offset, length, link, info, max(alignment, 1)))
    return machine, out


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _placed(section: _Section) -> bool:
    """Whether the section takes part in the image.  Unwinding tables do not: no exception passes through kernels."""
    return bool(section.flags & _ALLOC) and section.kind in (_PROGBITS, _NOBITS) and section.name != ".eh_frame" and section.size > 0


def _symbols(data: bytes, sections: list[_Section]) -> list[_Symbol]:
    for section in sections:
        if section.kind == _SYMTAB:
            names = sections[section.link].offset
            out = []
            for at in range(section.offset, section.offset + section.size, _SYMBOL.size):
                name, info, _, index, value, _ = _SYMBOL.unpack_from(data, at)
                if info & 15 in (_STT_TLS, _STT_IFUNC) or index >= _SHN_RESERVED and index != _SHN_ABS:
                    raise Refused(f"the symbol {_text(data, names + name)!r} is thread-local, indirect or common")
                out.append(_Symbol(_text(data, names + name), info & 15, index, value))
            return out
    raise Refused("it has no symbols")


def _entries(data: bytes, section: _Section) -> list[tuple[int, int, int, int]]:
    """(offset, kind, symbol, addend) of each relocation."""
    out = []
    for at in range(section.offset, section.offset + section.size, _RELA.size):
        offset, info, addend = _RELA.unpack_from(data, at)
        out.append((offset, info & 0xFFFFFFFF, info >> 32, addend))
    return out


def _layout(sections: list[_Section], stub_bytes: int, slot_bytes: int) -> tuple[dict[int, int], list[int]]:
    """(section → its offset in the image, end of each of the three groups); stubs and slots end the first two."""
    places: dict[int, int] = {}
    ends: list[int] = []
    at = 0
    for rights, extra in ((_EXECUTE, stub_bytes), (0, slot_bytes), (_WRITE, 0)):
        at = -(-at // PAGE) * PAGE
        for number, s in enumerate(sections):
            if _placed(s) and s.flags & (_WRITE | _EXECUTE) == rights:
                at = -(-at // s.alignment) * s.alignment
                places[number] = at
                at += s.size
        at = -(-at // 8) * 8 + extra
        ends.append(at)
    return places, ends


def _resolve(name: str, symbols: Mapping[str, int]) -> int:
    address = symbols.get(name) or _process_symbol(name)
    if not address:
        raise Refused(f"nothing in this process is called {name!r}")
    return address


@cache
def _process_symbol(name: str) -> int:
    """Address of a function of the C library or the mathematical library; 0 where there is none."""
    for library in _libraries():
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    return 0


@lru_cache(maxsize=1)
def _libraries() -> list[Any]:
    found = [ctypes.CDLL(None)]
    try:
        found.append(ctypes.CDLL("libm.so.6"))
    except OSError:
        pass  # not the GNU library: there mathematics is part of the C library
    return found


@lru_cache(maxsize=1)
def _host_machine() -> int:
    import os

    return {"x86_64": _X86_64, "aarch64": _AARCH64}.get(os.uname().machine, 0)


# --- relocating ------------------------------------------------------------------------------------------------------


class _Site(NamedTuple):
    """One place to be patched, ``at`` bytes into ``memory``.

    ``target``: address of the symbol, None where it is external; ``slot`` and ``stub``: its own, None where it has none.
    """

    memory: CodeMemory
    at: int
    addend: int
    target: int | None
    slot: int | None
    stub: int | None

    @property
    def address(self) -> int:
        return self.memory.base + self.at

    def local(self) -> int:
        """Address of what the object itself defines, the addend included."""
        if self.target is None:
            raise Refused("a direct reference to an external symbol")
        return self.target + self.addend

    def any(self) -> int:
        """Address that may lie anywhere, the addend included."""
        if self.target is None:
            (there,) = struct.unpack_from("<Q", self.memory.buffer, self.slot - self.memory.base)  # type: ignore[operator]
            return there + self.addend
        return self.target + self.addend

    def callee(self) -> int:
        """Address to call: the function, or its stub."""
        return (self.stub if self.target is None else self.target) + self.addend  # type: ignore[operator]

    def through_slot(self) -> int:
        if self.slot is None:
            raise Refused("a reference through a slot to a symbol that has none")
        return self.slot + self.addend

    def put(self, layout: str, value: int) -> None:
        try:
            struct.pack_into("<" + layout, self.memory.buffer, self.at, value)
        except struct.error:
            raise Refused(f"{value:#x} does not fit its place") from None

    def instruction(self, keep: int, value: int) -> None:
        """Replaces the bits outside ``keep`` of the 32-bit word here."""
        (word,) = struct.unpack_from("<I", self.memory.buffer, self.at)
        struct.pack_into("<I", self.memory.buffer, self.at, word & keep | value & ~keep & 0xFFFFFFFF)


def _patch_x86(site: _Site, kind: int) -> None:
    if kind == 1:  # 64
        site.put("Q", site.any() & (1 << 64) - 1)
    elif kind == 2:  # PC32
        site.put("i", site.local() - site.address)
    elif kind == 4:  # PLT32
        site.put("i", site.callee() - site.address)
    elif kind in (9, 41, 42):  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
        site.put("i", site.through_slot() - site.address)
    elif kind == 24:  # PC64
        site.put("q", site.local() - site.address)
    else:
        raise Refused(f"relocation kind {kind}")


def _stub_x86(memory: CodeMemory, at: int, slot: int) -> None:
    struct.pack_into("<HiH", memory.buffer, at, 0x25FF, slot - (at + 6), 0xCCCC)  # jmp [rip + …]


# Loads and stores with an unsigned 12-bit offset count it in units of their width.
_ARM_OFFSETS = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}


def _patch_arm(site: _Site, kind: int) -> None:
    if kind == 257:  # ABS64
        site.put("Q", site.any() & (1 << 64) - 1)
    elif kind == 260:  # PREL64
        site.put("q", site.local() - site.address)
    elif kind == 261:  # PREL32
        site.put("i", site.local() - site.address)
    elif kind in (275, 311):  # ADR_PREL_PG_HI21, ADR_GOT_PAGE
        there = site.local() if kind == 275 else site.through_slot()
        pages = (there >> 12) - (site.address >> 12)
        if not -(1 << 20) <= pages < 1 << 20:
            raise Refused("a page out of reach")
        site.instruction(0x9F00001F, (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)
    elif kind in _ARM_OFFSETS:  # ADD_ABS_LO12_NC, LDST{8,16,32,64,128}_ABS_LO12_NC
        low, shift = site.local() & 0xFFF, _ARM_OFFSETS[kind]
        if low & (1 << shift) - 1:
            raise Refused("a misaligned offset")
        site.instruction(0xFFC003FF, low >> shift << 10)
    elif kind == 312:  # LD64_GOT_LO12_NC
        site.instruction(0xFFC003FF, (site.through_slot() & 0xFFF) >> 3 << 10)
    elif kind in (282, 283):  # JUMP26, CALL26
        words = (site.callee() - site.address) >> 2
        if not -(1 << 25) <= words < 1 << 25:
            raise Refused("a call out of reach")
        site.instruction(0xFC000000, words & 0x3FFFFFF)
    else:
        raise Refused(f"relocation kind {kind}")


def _stub_arm(memory: CodeMemory, at: int, slot: int) -> None:
    # ldr x16, [pc + 8];  br x16;  the address
    (there,) = struct.unpack_from("<Q", memory.buffer, slot)
    struct.pack_into("<IIQ", memory.buffer, at, 0x58000050, 0xD61F0200, there)


class _Machine(NamedTuple):
    """How to patch one place, which kinds of relocation go through a slot, bytes of a stub, how to write one."""

    patch: Callable[[_Site, int], None]
    slot_kinds: frozenset[int]
    stub_size: int
    write_stub: Callable[[CodeMemory, int, int], None]


_MACHINES = {
    _X86_64: _Machine(_patch_x86, frozenset({9, 41, 42}), 8, _stub_x86),
    _AARCH64: _Machine(_patch_arm, frozenset({311, 312}), 16, _stub_arm),
}
