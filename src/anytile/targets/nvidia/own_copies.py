"""Copies that a thread makes for itself, ahead of their loop: loads that a dot is computed from, and others where the loop asks for it
(`tl.range(…, num_stages=n)`).

Each thread copies by cp.async what its registers of the tile will hold, and reads its own copies back.  So nobody waits for anybody else,
and the tile stays in the placement that suits the load and its users.  In the ring a slot holds the vectors one after the other, each
with one piece for each thread:

    vector 0:  thread 0, thread 1, …    vector 1:  thread 0, thread 1, …

so that the threads of a warp read and write neighbours, without bank conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ...ir import Op, Value
from ...ir.rewrite import const_value
from .convert import memory_bytes, shared_addresses, shared_load
from .memory import alike, vector_width
from .placement import Placement
from .slots import Slot, pointer, words
from .values import GLOBAL, Generator
from .wgmma import Panels, Rows

__all__ = ["COPY_BYTES", "OwnCopy", "async_copy", "own_copy", "shared_pieces", "zero"]

COPY_BYTES = (4, 8, 16)
"""What one cp.async moves: 16 bytes past the first-level cache, fewer through it."""


def async_copy(g: Generator, target: tuple[str, int], source: str, size: int, condition: str | None) -> None:
    """``size`` bytes from global memory to ``target`` (`slots.words`) in shared memory; zeros where ``condition`` is off."""
    at, offset = target
    # The condition goes in as it is: so it stays a predicate of the copy, which would else be compared with a size again.
    copy = f"cp.async.{'cg' if size == 16 else 'ca'}.shared.global [$0+{offset}], [$1], {size}, size;"
    args = [("i32", at), (GLOBAL, source), ("i1", condition or "true")]
    g.assembly(f"{{ .reg .b32 size; selp.b32 size, {size}, 0, $2; {copy} }}", "r,l,b", "void", args)


def shared_pieces(
    g: Generator, load: Op, operand: Value, form: Panels | Rows, slot: Slot, runs: str | None = None
) -> Iterator[tuple[tuple[str, int], str, int, str | None]]:
    """What `async_copy` is told of each piece that a thread copies, for all threads, of a ``load`` into a dot's ``operand``.

    It lies as ``form`` at ``slot``, and is copied where ``runs`` (None: always).  Addresses and mask are looked up in the current scope.
    """
    pointer, mask = load.operand("ptr"), load.operand("mask")
    assert pointer is not None
    place, goal = g.homes[load.result], g.place_for(operand)
    n = vector_width(g, pointer, place, mask)
    sources = g.every(pointer, place, n)
    on = g.every(mask, place, n) if mask is not None and const_value(mask) != 1 else None
    target = words(g, slot, tuple(form.offset(b) for b in goal.thread))
    for i in range(place.registers // n):
        if place.register_of[place.constants[i * n]] == i * n:
            at = target(form.offset(goal.constants[i * n]))
            yield at, sources[i], n * form.size, g.conjunction(runs, on[i] if on else None)


def zero(other: Value | None) -> bool:
    """Whether elements that are not loaded are zero, as cp.async and the accelerator make them."""
    # Constants of 8-bit floats are bit patterns by now.
    while other is not None and other.op is not None and other.op.name in ("bitcast", "splat", "broadcast"):
        other = other.op.operands[0]
    return other is None or const_value(other) == 0


def own_copy(g: Generator, load: Op) -> OwnCopy | None:
    """A load, of a tile or a number, as copies that each thread makes for itself; None where it cannot be that."""
    source, mask, other = (load.operand(n) for n in ("ptr", "mask", "other"))
    assert source is not None
    if load.attrs["volatile"] or load.attrs["cache"] or not zero(other):
        return None
    places = [None] if load.result.type.is_scalar else g.assignment.places(load.result)
    parts: list[_Part] = []
    for place in places:
        n = 1 if place is None else vector_width(g, source, place, mask)
        parts.append(_Part(g, load, place, n, parts[-1].end if parts else 0))
    return OwnCopy(load, parts) if all(part.size in COPY_BYTES for part in parts) else None


@dataclass(frozen=True)
class OwnCopy:
    """``load`` in each of the placements in which it is wanted."""

    load: Op
    parts: list[_Part]

    @property
    def bytes(self) -> int:
        """Of a slot."""
        return self.parts[-1].end

    def start(self, slot: Slot, runs: str) -> None:
        """Asks for the copies where ``runs``; addresses and mask are looked up in the current scope."""
        for part in self.parts:
            part.start(slot, runs)

    def read(self, slot: Slot) -> None:
        """Defines the load's result by this thread's copies, which are there."""
        for part in self.parts:
            part.read(slot)


@dataclass(frozen=True)
class _Part:
    """``load`` at ``place`` (None: a number) in pieces of ``n`` neighbours, behind byte ``before`` of a slot."""

    g: Generator
    load: Op
    place: Placement | None
    n: int
    before: int

    @property
    def size(self) -> int:
        """Bytes of a piece."""
        return self.n * memory_bytes(self.load.result.type.elem)

    @property
    def row(self) -> int:
        """Bytes of a vector, all threads together."""
        return self.size * (self.g.all_threads() + 1)

    @cached_property
    def vectors(self) -> dict[int, int]:
        """First register of each piece → the vector that holds it; pieces that are alike have one."""
        place = self.place
        if place is None:
            return {0: 0}
        same = alike(self.g, [v for v in self.load.operands if v is not None], place)
        numbers: dict[int, int] = {}
        found: dict[int, int] = {}
        for r in range(0, place.registers, self.n):
            found[r] = numbers.setdefault(place.constants[r] & ~same, len(numbers))
        return found

    @property
    def begin(self) -> int:
        """The first byte of a slot that it has: a multiple of its vectors, in which the bits of the thread's number stand alone."""
        return -(-self.before // self.row) * self.row

    @property
    def end(self) -> int:
        """The byte of a slot behind it."""
        return self.begin + self.row * (max(self.vectors.values()) + 1)

    @property
    def _bases(self) -> tuple[int, ...]:
        """What each bit of the thread's number adds to an address."""
        return tuple(self.size << k for k in range((self.g.all_threads() + 1).bit_length() - 1))

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """(first register, byte of the slot) of each vector."""
        return ((r, self.begin + k * self.row) for k, r in {k: r for r, k in reversed(self.vectors.items())}.items())

    def start(self, slot: Slot, runs: str) -> None:
        """As `OwnCopy.start`."""
        g, (source, mask) = self.g, (self.load.operand(n) for n in ("ptr", "mask"))
        assert source is not None
        if const_value(mask) == 1:
            mask = None
        if self.place is None:
            sources, on = [g.scalar(source)], None if mask is None else [g.scalar(mask)]
        else:
            sources, on = g.every(source, self.place, self.n), None if mask is None else g.every(mask, self.place, self.n)
        target = words(g, slot, self._bases)
        for r, byte in self._pieces():
            async_copy(g, target(byte), sources[r // self.n], self.size, g.conjunction(runs, on[r // self.n] if on else None))

    def read(self, slot: Slot) -> None:
        """As `OwnCopy.read`."""
        g, e = self.g, self.load.result.type.elem
        at = shared_addresses(g, pointer(g, slot), self._bases)
        got = {self.vectors[r]: shared_load(g, at(byte), self.n, e) for r, byte in self._pieces()}
        g.define(self.load.result, [x for k in self.vectors.values() for x in got[k]], self.place)
