"""Reductions: how partial results that lie along the reduced axis of a tile are brought together.

After each thread has combined what it holds itself, it has one partial result for each *result* (element of the reduced tile) that it
has a part of; the lanes and warps along the axis have parts of the same results.  `plan(kept, lanes, warps)` says how these meet:

Butterfly   Two lanes whose numbers differ in one bit swap their partial results and both combine them: with n results, n shuffles and n
            combinations for each bit.  Every lane ends with all results.
Halving     The lane whose bit is 0 keeps one half of the results, its partner the other half; each sends what the other keeps.  So the
            first bit takes n/2 shuffles, the next n/4, and n results over 32 lanes 31·n/32 instead of 5·n.  Every lane ends with a part
            of the results.  Those that want all of them read them from there, one shuffle each: still less than butterflies take.
Warps       All partial results go through shared memory.  Who reads which result is free to choose: each of the warps reads all, or,
            where there are many, each a part.  Where lanes differ in no result and warps are many, each lane reads one warp's part, and
            butterflies combine them: a thread need not have room for all of them.

Which results a lane keeps is a basis of its layout: halving over lane bit k along basis b makes a register's basis that of the lane.  Thus
a plan's outcome is two layouts more, of the partial results when the lanes are done and of the results, and nothing else is to be known.

Order of the combinations, with halving or without: far lanes first, then far warps, the lower lane's or warp's part on the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .linear import LANE, REGISTER, WARP, LinearLayout

__all__ = ["Reduction", "Step", "plan"]

HALVED_RESULTS, HALVED_LANES = 4, 3
"""From so many results in a thread and lane bits along the axis on, halving takes fewer shuffles though all lanes want all results then."""
SHARED_RESULTS = 16
"""From so many results in a thread on, warps that meet in shared memory share them out."""
SHARED_PARTS, SHARED_FEW = 64, 4
"""So they do from so many parts on that a thread would read, of so many results."""
LANES_READ = 16
"""From so many warps on, lanes that all want the same results read a part each and combine them by butterflies."""


@dataclass(frozen=True)
class Step:
    """Lanes that differ in bit ``lane`` meet.  The one whose bit is 0 keeps the results whose registers contribute ``kept`` to the index; its
    partner, in the same registers, those with ``basis`` beside it.  Basis 0: both keep all."""

    lane: int
    basis: int
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Reduction:
    """``steps`` in their order, which make of partial results in the layout ``kept`` such in ``partial``; then the parts of all warps that
    differ in ``warps`` (bit numbers) alone are combined, which gives ``result``: ``by_lanes``, of which each reads another warp's part."""

    kept: LinearLayout
    steps: tuple[Step, ...]
    partial: LinearLayout
    warps: tuple[int, ...]
    result: LinearLayout
    by_lanes: bool


@lru_cache(maxsize=1024)
def plan(kept: LinearLayout, lanes: int, warps: int) -> Reduction:
    """How partial results meet that lie as in ``kept``: the operand's layout without the axis, and without copies in registers.

    ``lanes``, ``warps``: masks of the bits that lay along the axis; their bases are 0 in ``kept``.
    """
    register, lane, warp = sorted(kept.ins[REGISTER]), list(kept.ins[LANE]), list(kept.ins[WARP])
    along = [k for k in range(len(lane)) if lanes >> k & 1]
    meeting = [k for k in range(len(warp)) if warps >> k & 1]
    if len(along) >= HALVED_LANES and 1 << len(register) >= HALVED_RESULTS:
        # The far lanes halve, since they come first.  Among them low lanes get low bits of the index, as accesses to memory want it.
        for k in along[-len(register) :]:
            lane[k] = register.pop(0)
    steps, held = [], sorted(kept.ins[REGISTER])
    for k in reversed(along):
        held = [b for b in held if b != lane[k]]
        steps.append(Step(k, lane[k], tuple(_span(held))))
    partial = _layout(kept, register, lane, warp)
    by_lanes = 1 << len(meeting) >= LANES_READ and len(meeting) <= len(lane) and not any(lane)
    results = 1 << len(register)
    if results >= SHARED_RESULTS or not by_lanes and results >= SHARED_FEW and results << len(meeting) >= SHARED_PARTS:
        for k in meeting[: len(register)]:
            warp[k] = register.pop(0)
    return Reduction(kept, tuple(steps), partial, tuple(meeting), _layout(kept, register, lane, warp), by_lanes)


def _span(bases: list[int]) -> list[int]:
    """What the registers that have these bases contribute to the index, in their order."""
    out = [0]
    for b in bases:
        out += [c ^ b for c in out]
    return out


def _layout(like: LinearLayout, register: list[int], lane: list[int], warp: list[int]) -> LinearLayout:
    return LinearLayout.make({REGISTER: tuple(register), LANE: tuple(lane), WARP: tuple(warp)}, dict(like.outs))
