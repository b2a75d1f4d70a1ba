"""One block more on a multiprocessor, where a few registers less allow it.

An assembler schedules a thread for itself: it takes 139 registers where 128 would do, and does not know that blocks of 256 threads
then run one at a time instead of two.  Kernels that wait for memory lose by that.  So a kernel of few resident blocks whose registers
are just too many is assembled once more with a limit, and the result is taken if it spills nothing.

Kernels with matrix instructions are left alone: they fill the multiprocessor by one block or two, and are slow to assemble.  But for an
attention whose products have few results in a thread (`chain.SMALL`): it needs a second block, which multiplies while the first computes.
"""

from __future__ import annotations

import re

from .chips import Chip

__all__ = ["limited", "register_limit"]

_FEW = 2
"""Blocks: with more of them at a time, another one hides little more."""
_NEAR = 0.9
"""How small a part of its registers a kernel may be asked to make do with."""
_NEAR_IF_SMALL = 0.75
"""The same for an attention of few results."""
_MATRICES = re.compile(r"\bw?g?mma\b")
_ALLOCATED = 8
"""Registers are given to threads in such portions."""


def register_limit(chip: Chip, ptx: str, threads: int, registers: int, shared: int, small_chain: bool = False) -> int | None:
    """Registers a thread with which one block of ``threads`` more would be resident; None where that is not worth a try."""
    blocks = chip.occupancy(threads, registers, shared)
    if not 0 < blocks <= _FEW or _MATRICES.search(ptx) and not small_chain:
        return None
    limit = chip.registers // ((blocks + 1) * threads) // _ALLOCATED * _ALLOCATED
    if not (_NEAR_IF_SMALL if small_chain else _NEAR) * registers <= limit < registers or chip.occupancy(threads, limit, shared) <= blocks:
        return None
    return limit


def limited(ptx: str, registers: int) -> str:
    """The same kernel with a limit of registers."""
    return re.sub(r"(\n\.reqntid [\d, ]+)", rf"\1\n.maxnreg {registers}", ptx, count=1)
