"""More blocks on a multiprocessor, where fewer registers allow it.

An assembler that writes code to be linked (nvJitLink, ``ptxas -c``) schedules a thread for itself: it takes 72 registers where 32 would
do, and does not know that blocks of 512 threads then run one at a time instead of four.  Kernels that wait for memory lose by that.  So a
kernel of few resident threads is assembled again with a limit, and the result is taken if it spills nothing.

Kernels that reduce tiles hold them and compute on them: they gain by a second or third block, where it costs next to nothing, but not by
much fewer registers, for which numbers are computed anew.  Only where one block is alone, so that nothing is read while it computes, it is
worth a quarter of them to have a second one; and where there is no loop, and they are twice what is reduced, a fifth to have a third.
Where a loop reduces what it loads, as one query's attention does, half of the threads are wanted.  And a block of 1,024 threads that is
alone for want of registers leaves half of the multiprocessor empty: whatever it computes but by wgmma, 32 registers are tried.

A loop that streams asks for all of an iteration's tiles before it computes with the first.  With fewer registers than these and what it
carries take, it would ask for one after the other; so it keeps them.

Kernels of small dots by multiply-adds (`multiply_add`) wait for shared memory and for each other: they are asked for as many blocks as
streaming ones are, by far fewer registers.

Kernels with wgmma are left alone: they fill the multiprocessor by one block or two, and are slow to assemble.  But for an attention whose
products have few results in a thread (`chain.SMALL`), and for products whose A is computed in registers (`asked`): they need a second
block, which multiplies while the first computes.  So does whatever multiplies by mma.sync, which waits for each product, where no more
than a quarter of the threads are resident: four warps for each scheduler.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .chips import Chip
from .straight import has_loop

__all__ = ["Work", "gave_away", "limited", "register_limits", "roomy"]

_FEW = 2
"""Blocks: a kernel with more of them at a time gets one more only if it streams."""
_NEAR = 0.9
"""How small a part of its registers a kernel is asked to make do with for one block more."""
_NEAR_IF_STRAIGHT = 0.8
"""The same without a loop, where half of them have room for what is reduced: a row's layer norm and the like."""
_NEAR_IF_SMALL = 0.75
"""The same for an attention of few results, and for a kernel of few threads with mma.sync."""
_NEAR_IF_ALONE = 0.75
"""The same for a kernel that reduces, of which one block is resident."""
_HALF = 0.5
"""Of the threads that a multiprocessor has room for: so many of a loop that reduces what it loads hide that it waits for memory."""
_NEAR_IF_HALF = 0.75
"""How small a part of its registers such a kernel is asked to make do with for that."""
_FEW_THREADS = 0.25
"""Of those that a multiprocessor has room for: with more resident ones products by mma.sync hide each other."""
_ENOUGH = 0.75
"""Of the threads that a multiprocessor has room for: with as many resident ones, more of a streaming kernel hide little more."""
_LARGE = 512
"""Threads of a block: of such blocks as many as there is room for, since one of them is much of what runs."""
_NEAR_IF_STREAMING = (0.55, 0.75)
_NEAR_IF_LARGE = (0.4, 0.55, 0.75)
"""How small a part of its registers a streaming kernel is asked to make do with, first and where that is too little."""
_BESIDE = 20
"""Registers of a streaming loop for addresses and the like, beside the tiles that it loads and carries."""
_FEW_PRODUCTS = 8
"""Results of a dot by multiply-adds in a thread: each waits for the one before it, and nothing hides that but other blocks."""
_NEAR_IF_MULTIPLYING = (0.35, 0.5)
"""How small a part of its registers such a kernel is asked to make do with: two spilled numbers cost less than a block."""
_SPILLS_IF_MULTIPLYING = 32
"""Bytes that a thread of it may spill."""
_MATRICES = re.compile(r"\bw?g?mma\b")
_ALLOCATED = 8
"""Registers are given to threads in such portions."""


@dataclass(frozen=True)
class Work:
    """What a kernel's text does not tell of it.

    ``small_chain``: whether a second block should multiply while the first computes; ``reduces``: how many elements a thread has of the
    largest tile that is reduced, scanned or sorted, 0 if of none; ``reduces_in_loop``: whether a loop reduces and loads; ``held_in_loop``:
    32-bit words of the tiles that a thread loads and carries in a loop, at most; ``products``: how many results of a dot by multiply-adds a
    thread has, at most, 0 if of none.
    """

    small_chain: bool = False
    reduces: int = 0
    reduces_in_loop: bool = False
    held_in_loop: int = 0
    products: int = 0

    @property
    def multiplies(self) -> bool:
        """Whether it waits for small dots by multiply-adds."""
        return 0 < self.products <= _FEW_PRODUCTS

    @property
    def spills(self) -> int:
        """Bytes that a thread may spill for another block."""
        return _SPILLS_IF_MULTIPLYING if self.multiplies else 0


def register_limits(chip: Chip, ptx: str, threads: int, registers: int, shared: int, work: Work) -> list[int]:
    """Limits of registers a thread with which more blocks of ``threads`` would be resident, in the order in which to try them."""
    blocks = chip.occupancy(threads, registers, shared)
    if not blocks:
        return []
    full = chip.warp_size * chip.warps // threads
    streams = not _MATRICES.search(ptx) and not work.reduces
    limits: list[int] = []

    def most(count: int) -> int:
        """Registers a thread with which ``count`` blocks have room."""
        return chip.registers // (count * threads) // _ALLOCATED * _ALLOCATED

    half = int(_HALF * full)
    if work.reduces_in_loop and not _MATRICES.search(ptx) and blocks < half:  # all the way or not at all: a block or two more hide little
        limit = most(half)
        if _NEAR_IF_HALF * registers <= limit < registers and chip.occupancy(threads, limit, shared) >= half:
            limits.append(limit)
    if blocks == 1 and full == 2 and "wgmma" not in ptx and chip.occupancy(threads, most(2), shared) == 2:
        limits.append(most(2))
    wanted, parts = _wanted(chip, ptx, threads, blocks, work)
    least = work.held_in_loop + _BESIDE if work.held_in_loop and streams else 0
    for part in parts:
        for more in range(wanted, blocks, -1):  # as many as are wanted, or else the most that this part of the registers allows
            limit = most(more)
            if max(part * registers, least) <= limit < registers and chip.occupancy(threads, limit, shared) > blocks:
                limits.append(limit)
                break
    return list(dict.fromkeys(limits))


def _wanted(chip: Chip, ptx: str, threads: int, blocks: int, work: Work) -> tuple[int, tuple[float, ...]]:
    """(Blocks that there should be instead of ``blocks``; how small parts of its registers the kernel is asked to make do with for that)."""
    full = chip.warp_size * chip.warps // threads
    matrices = _MATRICES.search(ptx) is not None
    if work.multiplies and not matrices:
        return math.ceil(_ENOUGH * full), _NEAR_IF_MULTIPLYING
    if not matrices and not work.reduces:
        return (full, _NEAR_IF_LARGE) if threads >= _LARGE else (math.ceil(_ENOUGH * full), _NEAR_IF_STREAMING)
    if blocks <= _FEW and (work.small_chain or not matrices):
        if work.small_chain:
            return blocks + 1, (_NEAR_IF_SMALL,)
        if blocks == 1:
            return blocks + 1, (_NEAR_IF_ALONE,)
        once = not has_loop(ptx) and (blocks + 1) * threads * 2 * work.reduces <= chip.registers
        return blocks + 1, (_NEAR_IF_STRAIGHT if once else _NEAR,)
    if "mma.sync" in ptx and "wgmma" not in ptx and blocks <= _FEW_THREADS * full:
        return blocks + 1, (_NEAR_IF_SMALL,)
    return 0, ()


def limited(ptx: str, registers: int) -> str:
    """The same kernel with a limit of registers."""
    return re.sub(r"(\n\.reqntid [\d, ]+)", rf"\1\n.maxnreg {registers}", ptx, count=1)


def gave_away(chip: Chip, threads: int, registers: int) -> bool:
    """Whether an assembler that spills has left ``registers`` unused, for more blocks: ptxas does, of whole programs."""
    return registers + _ALLOCATED <= min(chip.registers // threads, chip.registers_per_thread)


def roomy(ptx: str) -> str:
    """The same kernel, for which one block at a time is enough."""
    return re.sub(r"(\n\.reqntid [\d, ]+)", r"\1\n.minnctapersm 1", ptx, count=1)
