"""More blocks on a multiprocessor, where fewer registers allow it.

An assembler that writes code to be linked (nvJitLink, ``ptxas -c``) schedules a thread for itself: it takes 72 registers where 32 would
do, and does not know that blocks of 512 threads then run one at a time instead of four.  Kernels that wait for memory lose by that.  So a
kernel with few resident threads is assembled again with a limit, and the result is taken if it spills nothing.

Kernels with matrix instructions are left alone: they fill the multiprocessor by one block or two, and are slow to assemble.  But for an
attention whose products have few results in a thread (`chain.SMALL`): it needs a second block, which multiplies while the first computes.
"""

from __future__ import annotations

import re

from .chips import Chip

__all__ = ["limited", "register_limits"]

_ENOUGH = 0.75
"""Of the threads that a multiprocessor has room for: with as many resident ones, more of them hide little more."""
_NEAR = (0.55, 0.75)
"""How small a part of its registers a kernel is asked to make do with, first and where that is too little."""
_NEAR_IF_SMALL = (0.75,)
"""The same for an attention of few results."""
_FEW = 2
"""Resident blocks of such an attention: more of them is not asked for."""
_MATRICES = re.compile(r"\bw?g?mma\b")
_ALLOCATED = 8
"""Registers are given to threads in such portions."""


def register_limits(chip: Chip, ptx: str, threads: int, registers: int, shared: int, small_chain: bool = False) -> list[int]:
    """Limits of registers a thread with which more blocks of ``threads`` would be resident, in the order in which to try them."""
    blocks = chip.occupancy(threads, registers, shared)
    if not blocks:
        return []
    limits = []
    parts: tuple[float, ...] = _NEAR
    wanted = -(-int(_ENOUGH * chip.warp_size * chip.warps) // threads)
    if _MATRICES.search(ptx):
        wanted, parts = blocks + 1, _NEAR_IF_SMALL if small_chain and blocks <= _FEW else ()
    for part in parts:
        for more in range(wanted, blocks, -1):  # as many as are wanted, or else the most that this part of the registers allows
            limit = chip.registers // (more * threads) // _ALLOCATED * _ALLOCATED
            if part * registers <= limit < registers and chip.occupancy(threads, limit, shared) > blocks:
                limits.append(limit)
                break
    return list(dict.fromkeys(limits))


def limited(ptx: str, registers: int) -> str:
    """The same kernel with a limit of registers."""
    return re.sub(r"(\n\.reqntid [\d, ]+)", rf"\1\n.maxnreg {registers}", ptx, count=1)
