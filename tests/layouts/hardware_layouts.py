"""Layouts that hardware and coalescing ask for, each filled bit by bit from its definition: what conversions are tested on.

A layout is a list of bits: *the next bit of register is the next bit of dim1*.  Every constructor below is a sequence of such
statements, `Filling.take`, in the order of significance.  Where a place dimension has more bits than the tile has left, they are
broadcasts (lanes, warps) or left out (registers: a thread needs no element twice).

    blocked                          what one writes in Triton's BlockedLayout
    coalesced                        blocked, with sizes chosen for one access to global memory
    mma_accumulator, mma_a, mma_b    fragments of mma.sync.m16n8 (PTX ISA, "Matrix fragments for mma.m16n8k…")
    wgmma_accumulator, wgmma_a       fragments of wgmma.m64 (PTX ISA, "Register fragments for wgmma.mma_async.m64n…k…")
    shared_row_major, shared_swizzled    offset (in elements) → index, for buffers in shared memory

All functions are cached; a cold call costs tens of microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from anytile.errors import IRError
from anytile.layouts.linear import LANE, OFFSET, REGISTER, WARP, LinearLayout, dims_of, log2

WARP_SIZE = 32


class Filling:
    """A layout under construction: which bits of each dimension of ``shape`` are taken, and by whom."""

    def __init__(self, shape: Sequence[int], places: Sequence[str] = (REGISTER, LANE, WARP)):
        self.shape = tuple(shape)
        self.bits = [log2(n) for n in shape]
        self.first = [sum(self.bits[d + 1 :]) for d in range(len(shape))]  # packed position of each dimension's low bit
        self.used = [0] * len(shape)
        self.ins: dict[str, list[int]] = {p: [] for p in places}

    def take(self, place: str, dim: int, n: int) -> None:
        """The next ``log2(n)`` bits of ``place`` walk the next bits of ``dim``; beyond the tile's end they broadcast."""
        for _ in range(log2(n)):
            if self.used[dim] < self.bits[dim]:
                self.ins[place].append(1 << (self.first[dim] + self.used[dim]))
                self.used[dim] += 1
            elif place != REGISTER:
                self.ins[place].append(0)

    def rest(self, order: Sequence[int], place: str = REGISTER) -> LinearLayout:
        """What is left of the tile goes to ``place``, dimensions in ``order``; the layout."""
        for d in order:
            self.take(place, d, 1 << (self.bits[d] - self.used[d]))
        return LinearLayout.make({p: tuple(b) for p, b in self.ins.items()}, dims_of(self.shape))


def _check_order(order: Sequence[int], rank: int) -> None:
    if sorted(order) != list(range(rank)):
        raise IRError(f"order {tuple(order)} does not name each of {rank} dimensions once")


@lru_cache(maxsize=1024)
def blocked(
    shape: tuple[int, ...],
    size_per_thread: tuple[int, ...],
    threads_per_warp: tuple[int, ...],
    warps: tuple[int, ...],
    order: tuple[int, ...],
) -> LinearLayout:
    """A block of elements a thread, a block of threads a warp, a block of warps, all with ``order[0]`` fastest, repeated over ``shape``.

    Raises IRError unless ``threads_per_warp`` multiplies to 32 and all four tuples have the rank of ``shape``.
    """
    _check_order(order, len(shape))
    threads = 1
    for n in threads_per_warp:
        threads *= n
    if threads != WARP_SIZE or not len(shape) == len(size_per_thread) == len(threads_per_warp) == len(warps):
        raise IRError(f"blocked {size_per_thread} × {threads_per_warp} × {warps} fits no warp of 32 over shape {shape}")
    f = Filling(shape)
    for place, sizes in ((REGISTER, size_per_thread), (LANE, threads_per_warp), (WARP, warps)):
        for d in order:
            f.take(place, d, sizes[d])
    return f.rest(order)


@lru_cache(maxsize=1024)
def coalesced(
    shape: tuple[int, ...], contiguity: tuple[int, ...], bits: int, num_warps: int, alignment: tuple[int, ...] | None = None
) -> LinearLayout:
    """The blocked layout for one access to global memory: up to 16 bytes a thread, neighbouring lanes at neighbouring addresses.

    ``contiguity[d]``: how many neighbours along d lie side by side in memory; ``alignment[d]``: what the address of each such run is
    divisible by, in bytes (None: as far as needed); ``bits``: of an element in memory.  Both come from `passes.axis_info`.

    The most contiguous dimension is walked first (the minor one among equals).  A thread takes no more than leaves every thread
    something to do: with 1024 elements and 128 threads 8 elements, whatever their size.
    """
    rank, item = len(shape), max(1, bits // 8)
    order = sorted(range(rank), key=lambda d: (-min(contiguity[d], shape[d]), -d))
    numel = 1
    for n in shape:
        numel *= n
    f = Filling(shape)
    if not rank:
        order = []
        width = 1
    else:
        first = order[0]
        width = min(contiguity[first], shape[first], max(1, 16 // item), max(1, numel // (WARP_SIZE * num_warps)))
        if alignment is not None:
            width = min(width, max(1, alignment[first] // item))
        f.take(REGISTER, first, 1 << (width.bit_length() - 1))
    for place, n in ((LANE, WARP_SIZE), (WARP, num_warps)):
        left = log2(n)
        for d in order:
            got = min(left, f.bits[d] - f.used[d])
            f.take(place, d, 1 << got)
            left -= got
        f.ins[place] += [0] * left
    return f.rest(order)


@lru_cache(maxsize=256)
def replicated(shape: tuple[int, ...], num_warps: int) -> LinearLayout:
    """Every thread holds the whole tile."""
    f = Filling(shape)
    f.ins[LANE], f.ins[WARP] = [0] * log2(WARP_SIZE), [0] * log2(num_warps)
    return f.rest(range(len(shape))[::-1])


def dropped(parent: LinearLayout, axis: int) -> LinearLayout:
    """Dimension ``axis`` dropped from every basis: places keep their numbers, those that differed only along it now hold copies."""
    outs = dims_of([n for i, n in enumerate(parent.shape) if i != axis])

    def without(basis: int) -> tuple[int, ...]:
        return tuple(x for i, x in enumerate(parent.unpack(basis).values()) if i != axis)

    return LinearLayout({place: [without(b) for b in bases] for place, bases in parent.ins.items()}, outs)


def sliced(parent: LinearLayout, axis: int) -> LinearLayout:
    """The layout of a row (column …) of a tile laid out as ``parent``: dimension ``axis`` dropped, each thread's copies too."""
    return dropped(parent, axis).without_copies()


# --- mma.sync: D[16×8] += A[16×k] · B[k×8], a warp ---------------------------------------------------------------
#
# One picture holds for all element types.  With g = lane / 4, t = lane mod 4 and w = 32 / bits elements in a register:
#     C, D   row g (+ 8)    column 2t, 2t + 1
#     A      row g (+ 8)    k = w·t … w·t + w − 1 (+ 4w)
#     B      column g       k = w·t … w·t + w − 1 (+ 4w)
# Warps beside each other come next, then repetitions in registers: of the minor dimension first.


def _batches(f: Filling) -> LinearLayout:
    """Leading dimensions of a batched dot: one after the other in registers."""
    return f.rest(range(len(f.shape))[::-1])


def _fragment_check(what: str, shape: Sequence[int], least: tuple[int, int]) -> None:
    if len(shape) < 2 or shape[-2] < least[0] or shape[-1] < least[1]:
        raise IRError(f"{what} needs at least {least[0]}×{least[1]} elements, the tile is {tuple(shape)}")


@lru_cache(maxsize=256)
def mma_accumulator(shape: tuple[int, ...], warps: tuple[int, int]) -> LinearLayout:
    """Accumulator […, M, N] of mma.m16n8; ``warps`` along (M, N), those along N numbered first.

    Register = c + 4·(n tile) + 4·(n tiles)·(m tile) with c as in the PTX ISA; tiles count those of one warp.
    """
    _fragment_check("an mma accumulator", shape, (16, 8))
    f, m, n = Filling(shape), len(shape) - 2, len(shape) - 1
    f.take(REGISTER, n, 2)
    f.take(LANE, n, 4)
    f.take(LANE, m, 8)
    f.take(REGISTER, m, 2)
    f.take(WARP, n, warps[1])
    f.take(WARP, m, warps[0])
    return _batches(f)


@lru_cache(maxsize=256)
def mma_a(shape: tuple[int, ...], bits: int, warps: tuple[int, int]) -> LinearLayout:
    """Operand A […, M, K] of mma.m16n8k(256 / bits) for the accumulator of the same ``warps``; those along N hold copies.

    ``bits``: 8, 16 or 32 (tf32).  Registers: 128 / bits elements of an instruction, then tiles of k, then of m.
    """
    w = _per_register(bits)
    _fragment_check("operand A of mma", shape, (16, 8 * w))
    f, m, k = Filling(shape), len(shape) - 2, len(shape) - 1
    f.take(REGISTER, k, w)
    f.take(LANE, k, 4)
    f.take(LANE, m, 8)
    f.take(REGISTER, m, 2)
    f.take(REGISTER, k, 2)
    f.ins[WARP] += [0] * log2(warps[1])
    f.take(WARP, m, warps[0])
    return _batches(f)


@lru_cache(maxsize=256)
def mma_b(shape: tuple[int, ...], bits: int, warps: tuple[int, int]) -> LinearLayout:
    """Operand B […, K, N] of mma.m16n8k(256 / bits); warps along M hold copies.  Registers: one instruction, tiles of k, then of n."""
    w = _per_register(bits)
    _fragment_check("operand B of mma", shape, (8 * w, 8))
    f, k, n = Filling(shape), len(shape) - 2, len(shape) - 1
    f.take(REGISTER, k, w)
    f.take(LANE, k, 4)
    f.take(LANE, n, 8)
    f.take(REGISTER, k, 2)
    f.take(WARP, n, warps[1])
    f.ins[WARP] += [0] * log2(warps[0])
    return f.rest([k, n, *range(len(shape) - 3, -1, -1)])


def _per_register(bits: int) -> int:
    if bits not in (8, 16, 32):
        raise IRError(f"mma has no operands of {bits} bits; it has 8, 16 and 32 (tf32)")
    return 32 // bits


# --- wgmma: D[64×N] += A[64×k] · B[k×N], four warps (a warpgroup) --------------------------------------------------


def _warpgroups(num_warps: tuple[int, int]) -> tuple[int, int]:
    if num_warps[0] % 4:
        raise IRError(f"wgmma needs a multiple of four warps along M, not {num_warps[0]}")
    return num_warps[0] // 4, num_warps[1]


@lru_cache(maxsize=256)
def wgmma_accumulator(shape: tuple[int, int], warps: tuple[int, int], instruction_n: int | None = None) -> LinearLayout:
    """Accumulator [M, N] of wgmma.m64n(instruction_n); ``warps`` along (M, N), the first a multiple of four.

    Each warp of a group has 16 rows, each group ``instruction_n`` columns (the most possible up to 256 if None).
    Register = d + (N / 2)·(n tile) + …, with d as in the PTX ISA.
    """
    _fragment_check("a wgmma accumulator", shape, (64, 8))
    groups_m, groups_n = _warpgroups(warps)
    width = instruction_n or max(8, min(256, shape[1] // groups_n))
    f = Filling(shape)
    f.take(REGISTER, 1, 2)
    f.take(LANE, 1, 4)
    f.take(LANE, 0, 8)
    f.take(REGISTER, 0, 2)
    f.take(WARP, 0, 4)
    f.take(REGISTER, 1, width // 8)
    f.take(WARP, 0, groups_m)
    f.take(WARP, 1, groups_n)
    return f.rest((1, 0))


@lru_cache(maxsize=256)
def wgmma_a(shape: tuple[int, int], bits: int, warps: tuple[int, int]) -> LinearLayout:
    """Operand A [M, K] of wgmma in registers: the mma fragment, 16 rows a warp.  Registers: an instruction, tiles of k, then of m."""
    w = _per_register(bits)
    _fragment_check("operand A of wgmma", shape, (64, 8 * w))
    groups_m, groups_n = _warpgroups(warps)
    f = Filling(shape)
    f.take(REGISTER, 1, w)
    f.take(LANE, 1, 4)
    f.take(LANE, 0, 8)
    f.take(REGISTER, 0, 2)
    f.take(REGISTER, 1, 2)
    f.take(WARP, 0, 4 * groups_m)
    f.ins[WARP] += [0] * log2(groups_n)
    return f.rest((1, 0))


# --- shared memory: offset in elements → index ---------------------------------------------------------------------


@lru_cache(maxsize=256)
def shared_row_major(shape: tuple[int, ...], order: tuple[int, ...] | None = None) -> LinearLayout:
    """Elements side by side, ``order[0]`` fastest (the last dimension if None)."""
    order = order or tuple(range(len(shape)))[::-1]
    _check_order(order, len(shape))
    return Filling(shape, (OFFSET,)).rest(order, OFFSET)


@lru_cache(maxsize=256)
def shared_swizzled(shape: tuple[int, ...], bits: int, swizzle: int, order: tuple[int, ...] | None = None) -> LinearLayout:
    """A buffer as TMA writes it and wgmma reads it: panels of ``swizzle`` bytes of the inner dimension, in them 16-byte chunks permuted.

    ``order``: inner dimension, then that of the rows, then others (default: the last dimension is inner, the one before it rows).
    In address bits: bits 4 … 4 + s of the chunk are xored with bits 7 … 7 + s, where 16·2^(s+1) = ``swizzle``.  So eight rows of one
    column of chunks, which wgmma reads together, lie in eight different groups of banks.  Rows come before panels.

    The buffer must be aligned to 8·``swizzle`` bytes.  ``swizzle`` 0 is row-major.
    """
    if swizzle == 0:
        return shared_row_major(shape, order)
    order = order or tuple(range(len(shape)))[::-1]
    _check_order(order, len(shape))
    if swizzle not in (32, 64, 128) or bits not in (8, 16, 32, 64) or len(shape) < 2:
        raise IRError(f"no {swizzle}-byte swizzle of {bits}-bit elements over {shape}: 32, 64 or 128 bytes and two dimensions")
    item, (inner, rows) = bits // 8, order[:2]
    if shape[inner] * item < swizzle:
        raise IRError(f"rows of {shape[inner]} elements of {bits} bits are narrower than the {swizzle}-byte swizzle")
    f = Filling(shape, (OFFSET,))
    f.take(OFFSET, inner, swizzle // item)
    f.take(OFFSET, rows, shape[rows])
    f.rest([inner, rows, *order[2:]], OFFSET)
    bases = f.ins[OFFSET]
    chunk, row = log2(16 // item), log2(128 // item)  # offset bits of the 16-byte chunk, and of the address's bit 7
    for j in range(log2(swizzle // 16)):
        if row + j < log2(swizzle // item) + log2(shape[rows]):
            bases[row + j] ^= bases[chunk + j]
    return LinearLayout.make({OFFSET: tuple(bases)}, dims_of(shape))
