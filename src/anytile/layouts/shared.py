"""Shared memory: how a warp's accesses fall on its banks, and the arrangement that suits a writer and a reader at once.

The machine
-----------
Shared memory has 32 banks of 4 bytes; the word at byte address a lies in bank a / 4 mod 32.  One *wavefront* serves any number of
words of different banks, and any number of lanes at one word.  A warp's access of up to 4 bytes a lane is one wavefront if no two of
its words share a bank; 8 bytes a lane take two (16 lanes each), 16 bytes take four (8 lanes each).

Conflicts in closed form
------------------------
Layout and buffer are linear maps, hence so is lane → word.  Two lanes collide if their words differ and their banks agree.  Of the
lanes that go together, the words make a space of dimension rank(word), the banks one of dimension rank(word mod 32), so each bank
is asked for 2^(rank(word) − rank(word mod 32)) words: `Access.conflicts` is that number less one.

The best arrangement
--------------------
A buffer is a layout offset → index, thus a list of bases in three parts, low to high:

    vector     what one instruction of a thread moves: elements that are registers on both sides if possible
    bank       up to 128 bytes
    segment    everything above: two elements that differ by a segment basis lie in one bank

Let A and B be the spaces of indices that the lanes of one wavefront span, for the writer and for the reader.  There is no conflict
where no index of A and none of B lies in the segment's span.  With a common part I = A ∩ B, A = I + ⟨a₁ … aₘ⟩ and B = I + ⟨b₁ … bₘ⟩, the
sums aᵢ ⊕ bᵢ are such a segment (a combination of them that lay in A would put a combination of bᵢ into A), and so is whatever lies
outside A + B.  The banks are I and the aᵢ.  These sums are what people write as ``column ^= row % 8``.

Which vector is best cannot be seen beforehand (a wide one for the writer may cost the reader conflicts), so `arrange` tries the few
candidates and counts wavefronts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .linear import LANE, OFFSET, REGISTER, WARP, Echelon, LinearLayout, log2

__all__ = ["Access", "Arrangement", "Transfer", "access", "arrange", "representative"]

BANK_BYTES, ROW_BYTES, VECTOR_BYTES = 4, 128, 16


@dataclass(frozen=True)
class Transfer:
    """One instruction of a thread: ``registers`` to or from consecutive elements at ``(base ^ xor) + add`` bytes.

    ``base`` is the thread's own offset, see `Access`.  ``add`` touches no bit that ``base`` can have: it may be an immediate.
    """

    registers: tuple[int, ...]
    xor: int
    add: int


@dataclass(frozen=True)
class Access:
    """One side of a buffer: how all threads store, or load, their registers.

    A thread's base, in bytes, is the xor of ``lanes[k]`` for each set bit k of its lane and ``warps[k]`` for each of its warp.
    ``rounds``: the transfers, for each use of the buffer.  ``copies[r]``: the register that holds what register r holds; only such
    representatives are transferred, and after a load the others are copied from them.
    ``conflicts``: wavefronts that one instruction takes beyond the fewest possible; ``wavefronts``: all of a warp's.
    """

    bits: int
    vector: int
    lanes: tuple[int, ...]
    warps: tuple[int, ...]
    rounds: tuple[tuple[Transfer, ...], ...]
    copies: tuple[int, ...]
    conflicts: int
    wavefronts: int

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """All transfers of all rounds."""
        return tuple(t for r in self.rounds for t in r)


@dataclass(frozen=True)
class Arrangement:
    """A buffer for a writer and a reader: offset (elements) → index, of which the low ``bytes`` are used ``2 ** round_bits`` times."""

    memory: LinearLayout
    round_bits: int
    bytes: int
    store: Access
    load: Access


def representative(layout: LinearLayout) -> tuple[int, ...]:
    """For each register the lowest-numbered kind of copy: the register with no free bits that holds the same element."""
    columns = layout.ins[REGISTER]
    e, instead = Echelon(), []
    for k, b in enumerate(columns):
        rest, combination = e.reduce(b)
        if rest:
            e.add(b, 1 << k)
            instead.append(1 << k)
        else:
            instead.append(combination)
    got = [0]
    for x in instead:
        got += [r ^ x for r in got]
    return tuple(got)


def _wavefront_lanes(vector_bytes: int) -> int:
    """Bits of the lane number that vary within one wavefront."""
    return log2(min(32, ROW_BYTES // max(BANK_BYTES, vector_bytes)))


def _collisions(lanes: Sequence[int], item: int, vector: int) -> int:
    """How many words each bank is asked for, at most, by the lanes of one wavefront; ``lanes``: element offsets of the lane bits."""
    words = [o * item // BANK_BYTES for o in lanes[: _wavefront_lanes(vector * item)]]
    # Elements narrower than a word: offsets below a word vanish, which is right, those lanes share the word.
    return 1 << (Echelon(words).rank - Echelon([w & 31 for w in words]).rank)


def _vector(registers: Sequence[int], others: Iterable[int], item: int) -> list[int]:
    """The register bits that walk consecutive offsets, low to high, up to 16 bytes."""
    bits: list[int] = []
    while (2 << len(bits)) * item <= VECTOR_BYTES and (1 << len(bits)) in registers:
        bits.append(registers.index(1 << len(bits)))
    rest = [o for k, o in enumerate(registers) if k not in bits] + list(others)
    while bits and any(o & ((1 << len(bits)) - 1) for o in rest):
        rest.append(registers[bits.pop()])
    return bits


@lru_cache(maxsize=2048)
def access(layout: LinearLayout, memory: LinearLayout, bits: int, round_bits: int = 0) -> Access:
    """How the threads of ``layout`` reach the elements of ``memory`` (offset in elements → index), ``bits`` wide (1 is stored as 8).

    With ``round_bits``, the highest so many bits of the offset number the rounds instead of extending the buffer.
    """
    item = max(1, bits // 8)
    at = layout.over(memory)
    registers, lanes, warps = at.ins[REGISTER], at.ins[LANE], at.ins[WARP]
    copies = representative(layout)
    vector_bits, each, count = _shape_of(layout, at, item)
    vector = 1 << len(vector_bits)
    window = log2(memory.size(OFFSET)) - round_bits  # offset bits within the buffer
    reach = 0
    for o in (*lanes, *warps):
        reach |= o
    spread = [0]
    for k in vector_bits:
        spread += [r | 1 << k for r in spread]
    inside = sum(1 << k for k in vector_bits)
    rounds: list[list[Transfer]] = [[] for _ in range(1 << round_bits)]
    for r in range(1 << len(registers)):
        if copies[r] != r or r & inside:
            continue
        o = 0
        for k, b in enumerate(registers):
            if r >> k & 1:
                o ^= b
        low = o & ((1 << window) - 1)
        rounds[o >> window].append(Transfer(tuple(r | s for s in spread), (low & reach) * item, (low & ~reach) * item))
    return Access(
        bits=bits,
        vector=vector,
        lanes=tuple(o * item for o in lanes),
        warps=tuple(o * item for o in warps),
        rounds=tuple(map(tuple, rounds)),
        copies=copies,
        conflicts=each - (32 >> _wavefront_lanes(vector * item)),
        wavefronts=each * count,
    )


def _shape_of(layout: LinearLayout, at: LinearLayout, item: int) -> tuple[list[int], int, int]:
    """(register bits of the vector, wavefronts of an instruction, instructions) where ``at`` gives the offset of each place."""
    free = layout.free(REGISTER)
    own = tuple(0 if free >> k & 1 else o for k, o in enumerate(at.ins[REGISTER]))
    vector_bits = _vector(own, (*at.ins[LANE], *at.ins[WARP]), item)
    vector = 1 << len(vector_bits)
    each = (32 >> _wavefront_lanes(vector * item)) * _collisions(at.ins[LANE], item, vector)
    return vector_bits, each, layout.size(REGISTER) >> (bin(free).count("1") + len(vector_bits))


# --- the search ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def arrange(src: LinearLayout, dst: LinearLayout, bits: int, limit: int) -> Arrangement:
    """The buffer through which a tile goes from ``src`` to ``dst`` in the fewest wavefronts.

    Elements that are registers on both sides may take turns in the buffer: it is used as often as needed to keep it within ``limit``
    bytes.  Where there are not enough of them the buffer is larger: the caller sees ``bytes``.
    """
    item = max(1, bits // 8)
    src_registers, dst_registers = (_independent(x.without_copies().ins[REGISTER]) for x in (src, dst))
    common = [v for v in src_registers if v in set(dst_registers)]
    best: tuple[float, LinearLayout, int] | None = None
    tried = set()
    for first in (src_registers, dst_registers):
        for width in range(log2(VECTOR_BYTES // item), -1, -1):
            vector = tuple([*common, *(v for v in first if v not in common)][:width])
            if vector in tried:
                continue
            tried.add(vector)
            memory, turns = _arranged(src, dst, vector, common, item, limit)
            cost = 0.0
            for layout in (src, dst):
                # An instruction costs its issue too: of two with equal wavefronts the wider vectors win.
                _, each, count = _shape_of(layout, layout.over(memory), item)
                cost += count * (each + 0.25)
            if best is None or cost < best[0]:
                best = cost, memory, turns
    assert best is not None
    _, memory, turns = best
    size = item << (log2(memory.size(OFFSET)) - turns)
    return Arrangement(memory, turns, size, access(src, memory, bits, turns), access(dst, memory, bits, turns))


def _independent(vectors: Iterable[int]) -> list[int]:
    e = Echelon()
    return [v for v in vectors if e.add(v)]


def _arranged(
    src: LinearLayout, dst: LinearLayout, vector: tuple[int, ...], common: Sequence[int], item: int, limit: int
) -> tuple[LinearLayout, int]:
    """(the buffer with this vector part, how many of its highest bits number rounds)."""
    turns = _turns(src, dst, vector, common, item, limit)
    span = _independent([*vector, *(v for v in (*src.columns, *dst.columns) if v not in turns)])
    sides = []
    for layout in (src, dst):
        registers = set(layout.ins[REGISTER])
        width = next((k for k, v in enumerate(vector) if v not in registers), len(vector))
        sides.append(layout.ins[LANE][: _wavefront_lanes(item << width)])
    bases = (*vector, *_banked(span, vector, sides[0], sides[1], item), *turns)
    return LinearLayout.make({OFFSET: bases}, dict(src.outs)), len(turns)


def _turns(src: LinearLayout, dst: LinearLayout, vector: Sequence[int], common: Sequence[int], item: int, limit: int) -> tuple[int, ...]:
    """Bases that number the rounds: registers on both sides, independent of all else, as few as keep the buffer within ``limit``."""
    excess = item << src.index_bits
    chosen: list[int] = []
    for v in reversed(common):
        if excess <= limit:
            break
        rest = Echelon(c for side in (src, dst) for c in _without(side, v) if c not in chosen)
        if v not in vector and v not in rest:
            chosen.append(v)
            excess //= 2
    return tuple(chosen)


def _without(layout: LinearLayout, v: int) -> list[int]:
    """All bases but the register's ``v``; one that lanes or warps repeat stays: they would have to write in different rounds."""
    columns = list(layout.ins[REGISTER])
    columns.remove(v)
    return columns + [b for d, bases in layout.ins.items() if d != REGISTER for b in bases]


def _banked(span: Sequence[int], vector: Sequence[int], a: Sequence[int], b: Sequence[int], item: int) -> list[int]:
    """Bases above the vector: banks, then segments, by the construction at the head of the file.

    ``span``: the indices of one round; ``a``, ``b``: what the lanes of one wavefront span on the two sides.
    """
    banks = max(0, log2(ROW_BYTES // item) - len(vector))
    below_word = max(0, log2(max(1, BANK_BYTES // item)) - len(vector))
    usable = banks - below_word

    def beyond_vector(lanes: Sequence[int]) -> list[int]:
        e = Echelon(vector)
        return [v for v in lanes if e.add(v)][:usable]

    a, b = beyond_vector(a), beyond_vector(b)
    # I = A ∩ B (modulo the vector): each b that depends on A and earlier b's gives one element of it.
    e = Echelon(vector)
    for v in a:
        e.add(v)
    both: list[int] = []
    only_b: list[int] = []
    for v in b:
        rest, used = e.reduce(v, 0)
        if rest:
            e.add(v, 1 << len(only_b))
            only_b.append(v)
        else:
            for k, u in enumerate(only_b):
                v ^= u if used >> k & 1 else 0
            both.append(v)
    e = Echelon([*vector, *both])
    only_a = [v for v in a if e.add(v)]
    pairs = [x ^ y for x, y in zip(only_a, only_b)]
    unpaired = only_a[len(pairs) :] + only_b[len(pairs) :]
    e = Echelon([*vector, *both, *only_a, *only_b])
    outside = [v for v in span if e.add(v)]
    # A bank basis below the word may be shared by lanes or unused by them, not one of a pair, whose partner lies in a segment.
    first = (both + outside)[:below_word]
    rest_both = [v for v in both if v not in first]
    outside = [v for v in outside if v not in first]
    used_banks = [*first, *rest_both, *only_a[: len(pairs)], *unpaired]
    fill = max(0, banks - len(used_banks))
    return [*used_banks, *outside[:fill], *pairs, *outside[fill:]]
