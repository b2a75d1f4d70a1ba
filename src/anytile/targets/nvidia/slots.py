"""Addresses in shared memory of what instructions read or write by 32-bit addresses: cp.async, ldmatrix, wgmma, the accelerator.

Such a place is a `Slot`: bytes that are known when the text is written, and where it belongs to a ring, as many times ``stride`` as the
ring's current slot says.  What does not change while a kernel runs (the thread's part, the constants of a descriptor) is computed at the
kernel's entry; what is a constant becomes the instruction's own offset; so a loop pays one addition for a tile, not several for each
instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .values import SHARED, Generator

__all__ = ["Slot", "address", "descriptor", "pointer", "words"]


@dataclass(frozen=True)
class Slot:
    """``start`` bytes behind the beginning of the block's shared memory, and ``number`` (i32 text) times ``stride`` more; none where empty."""

    start: int
    number: str = ""
    stride: int = 0


def _moved(g: Generator, fixed: str, slot: Slot, unit: int = 1) -> str:
    """``fixed`` (i32 text) and what the slot's number adds, in units of ``unit`` bytes."""
    if not slot.number:
        return fixed
    return g.emit(f"add i32 {fixed}, {g.emit(f'mul i32 {slot.number}, {slot.stride // unit}')}")


def _begin(g: Generator) -> str:
    """The address of the block's shared memory, as i32."""
    return _early(g, f"ptrtoint {SHARED} @shared to i32")


def _early(g: Generator, text: str) -> str:
    """An instruction at the kernel's entry, where it is not there yet."""
    if text not in g.once:
        g.once[text] = g.early(text)
    return g.once[text]


def address(g: Generator, slot: Slot) -> str:
    """The slot's first byte, as i32."""
    begin = _begin(g)
    return _moved(g, _early(g, f"add i32 {begin}, {slot.start}") if slot.start else begin, slot)


def pointer(g: Generator, slot: Slot) -> str:
    """The slot's first byte, as a pointer for LLVM's loads."""
    return g.emit(f"getelementptr i8, {SHARED} @shared, i32 {_moved(g, str(slot.start), slot)}")


def words(g: Generator, slot: Slot, bases: tuple[int, ...]) -> Callable[[int], tuple[str, int]]:
    """c → (i32 text, bytes to add) that lead to byte (thread's part ^ c) of the slot; ``bases``: as in `convert.shared_addresses`."""
    part, may = g.thread_part(bases)
    begin = _begin(g)
    made: dict[int, str] = {}

    def at(c: int) -> tuple[str, int]:
        moving = c & may
        if moving not in made:
            inside = _early(g, f"xor i32 {part}, {moving}") if moving else part
            made[moving] = _moved(g, _early(g, f"add i32 {begin}, {inside}"), slot)
        return made[moving], (c & ~may) + slot.start

    return at


def descriptor(g: Generator, slot: Slot, step: str, constant: int) -> str:
    """What wgmma is told of an operand that begins ``step`` bytes (i32 text, known at the entry) into the slot (PTX ISA, "Matrix-descriptor").

    The lower half holds the address in units of 16 bytes, which never carries out of its 14 bits.
    """
    begin = _early(g, f"add i32 {_begin(g)}, {step}")
    sixteenths = _early(g, f"lshr i32 {begin}, 4")
    low = _early(g, f"add i32 {sixteenths}, {(constant & 0xFFFFFFFF) + (slot.start >> 4)}")
    high = constant >> 32 << 32
    wide = g.emit(f"zext i32 {_moved(g, low, slot, 16)} to i64")
    return g.emit(f"or disjoint i64 {wide}, {high - (1 << 64) if high >> 63 else high}")
