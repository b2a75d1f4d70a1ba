"""Reductions, scans and gathers: which places they combine, and where the result lives.

Reductions
----------
Drop the reduced axis from a layout: places that differed only along it now have one index, and what was a basis along the axis is free.
These bases are what the reduction combines, from near to far:

    registers   in the thread
    lanes       by butterfly: after `shfl.bfly` with each mask every lane has the result, so nothing is sent back
    warps       each warp's result goes to shared memory, and every thread reads those of all warps: the *interim* layout, which is
                the result's with one more dimension, the warps' results, in registers (or in lanes that the axis has freed)

The second half is a reduction again, of the interim layout along the new dimension, and needs no third.  The result's layout is the
operand's with the axis dropped: whoever wants the sum back beside the row finds it in his own registers.

Copies are not combined twice: a basis that was free before the axis was dropped is no part of the reduction.

Scans
-----
Order matters, so the axis must run through the places as the digits of a number do: low registers, lanes, warps, high registers, each
ascending.  `scan_layout` gives the layout to convert to where that is not so (it is for every blocked layout), `plan_scan` the schedule.

Gathers
-------
The position is data, so the tile goes to shared memory as it stands, and each element is loaded from where its index says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import IRError
from .constructors import Filling, shared_row_major
from .convert import SCRATCH_LIMIT, ThroughShared, plan
from .linear import LANE, REGISTER, WARP, Echelon, LinearLayout, dims_of, log2
from .shared import Access, access, representative

__all__ = [
    "Butterfly",
    "GatherPlan",
    "ReducePlan",
    "ReduceRound",
    "ScanPlan",
    "plan_gather",
    "plan_reduce",
    "plan_scan",
    "scan_layout",
]

PARTIAL = "partial"
_FEW_LOADS = 16  # up to so many values a thread, reading all warps' results beats shuffling them


@dataclass(frozen=True)
class Butterfly:
    """Register r becomes the combination of itself and register ``r ^ xor`` of lane ``lane ^ mask``; all r at once."""

    mask: int
    xor: int


@dataclass(frozen=True)
class ReduceRound:
    """``groups[i]``: the registers, in the order of the axis, whose combination is partial result i; then the butterflies on those."""

    groups: tuple[tuple[int, ...], ...]
    butterflies: tuple[Butterfly, ...]


@dataclass(frozen=True)
class ReducePlan:
    """First ``first``; where ``second`` is given, its registers go from layout ``partial`` to ``interim`` (`exchange`), then ``second``.

    The last round's registers are the result's, in layout ``result``.
    """

    first: ReduceRound
    result: LinearLayout
    partial: LinearLayout | None = None
    interim: LinearLayout | None = None
    second: ReduceRound | None = None

    def exchange(self, bits: int) -> ThroughShared:
        """How operands of ``bits`` bits get from the first round to the second; the rounds of several operands may share barriers."""
        if self.partial is None or self.interim is None:
            raise IRError("this reduction stays within warps: there is nothing to exchange")
        got = plan(self.partial, self.interim, bits, SCRATCH_LIMIT)
        assert isinstance(got, ThroughShared)
        return got


def _kernel(near: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """(bit, mask): combinations of ``columns`` that lie in the span of ``near``, each with the one bit that no other has."""
    e, got = Echelon(), []
    for v in near:
        e.add(v, 0)
    for k, v in enumerate(columns):
        rest, used = e.reduce(v, 1 << k)
        if rest:
            e.add(v, 1 << k)
        else:
            got.append((k, used))
    return got


def _xor(columns: Sequence[int], mask: int) -> int:
    v = 0
    for k, c in enumerate(columns):
        if mask >> k & 1:
            v ^= c
    return v


def _round(layout: LinearLayout, dim: str) -> tuple[ReduceRound, LinearLayout]:
    """What one warp can combine along ``dim``, and the layout of its results (other dimensions keep their names)."""
    dropped = layout.sliced(dim)
    kept = dropped.without_copies()
    classes = Echelon(kept.ins[REGISTER])
    copies = representative(layout)
    members: dict[int, list[int]] = {}
    for r in range(layout.size(REGISTER)):
        if copies[r] == r:
            c = classes.solve(_xor(dropped.ins[REGISTER], r))
            assert c is not None
            members.setdefault(c, []).append(r)
    groups = tuple(tuple(sorted(members[c], key=lambda r: layout(register=r))) for c in range(kept.size(REGISTER)))
    held = Echelon(layout.ins[REGISTER])
    butterflies = []
    for _, mask in _kernel(dropped.ins[REGISTER], dropped.ins[LANE]):
        if held.add(_xor(layout.ins[LANE], mask)):  # else those lanes hold copies
            xor = classes.solve(_xor(dropped.ins[LANE], mask))
            assert xor is not None
            butterflies.append(Butterfly(mask, xor))
    return ReduceRound(groups, tuple(butterflies)), kept


@lru_cache(maxsize=512)
def plan_reduce(layout: LinearLayout, axis: int) -> ReducePlan:
    """How to reduce a tile of this layout along dimension ``axis``."""
    dim = list(layout.outs)[axis]
    first, kept = _round(layout, dim)
    result = kept.reshape(dims_of(kept.shape))
    dropped = layout.sliced(dim)

    # Warps: each combination of warp bits that differs only along the axis is a bit of the number of a partial result.
    held = Echelon()
    for v in layout.ins[REGISTER] + layout.ins[LANE]:
        held.add(v, 0)
    number = [0] * len(layout.ins[WARP])
    q = 0
    for bit, mask in _kernel(dropped.ins[REGISTER] + dropped.ins[LANE], dropped.ins[WARP]):
        rest, used = held.reduce(_xor(layout.ins[WARP], mask))
        if rest:
            held.add(_xor(layout.ins[WARP], mask), 1 << q)
            number[bit] = 1 << q
            q += 1
        else:
            number[bit] = used  # these warps hold copies of others: the same number
    if not q:
        return ReducePlan(first, result)
    outs = {**result.outs, PARTIAL: 1 << q}
    columns = {d: tuple(v << q for v in bases) for d, bases in result.ins.items()}
    partial = LinearLayout.make({**columns, WARP: tuple(v | n for v, n in zip(columns[WARP], number))}, outs)
    registers: list[int] = []
    lanes = list(columns[LANE])
    idle = [k for k, v in enumerate(lanes) if v == 0] if result.size(REGISTER) << q > _FEW_LOADS else []
    for j in range(q):
        if idle:
            lanes[idle.pop(0)] = 1 << j
        else:
            registers.append(1 << j)
    interim = LinearLayout.make({**columns, REGISTER: (*registers, *columns[REGISTER]), LANE: tuple(lanes)}, outs)
    second, _ = _round(interim, PARTIAL)
    return ReducePlan(first, result, partial, interim, second)


# --- scan ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanPlan:
    """A scan, line by line.  ``lines[i]``: one line's chunks in scan order, each the registers of this thread in scan order.

    For each line, for each chunk:

    1. combine along the registers: each with the one before it.  The last is the thread's total.
    2. Let p = ``position(lane)`` in 0 … ``lanes`` − 1, and *before(s)* the value of the lane s positions earlier (``lane_step``·s lower;
       higher with ``reverse``).  For s = 1, 2, 4 … below ``lanes``: where p ≥ s, total = before(s)(total) ∘ total.  Then where p > 0
       all registers combine with before(1)(total).
    3. With ``warps`` > 1 the last lane stores its total at slot ``totals(register=first of the chunk, lane, warp)``; after a barrier
       each thread combines the slots of the warps before its own, in order, and puts the outcome before all its registers.
    4. With several chunks, the total of all warps of a chunk goes before everything in the next.

    ``warp_shift``, ``lane_shift``: low bit of the position in the number of the warp, the lane; with ``reverse`` positions count down.
    ``totals`` gives coordinates (other dimensions …, warp position); its packed index is the slot.
    """

    lines: tuple[tuple[tuple[int, ...], ...], ...]
    reverse: bool
    lanes: int
    lane_shift: int
    warps: int
    warp_shift: int
    totals: LinearLayout
    copies: tuple[int, ...]

    @property
    def lane_step(self) -> int:
        return 1 << self.lane_shift

    @property
    def slots(self) -> int:
        return 1 << self.totals.index_bits

    def position(self, lane: int) -> int:
        """Where a lane stands in scan order."""
        p = lane >> self.lane_shift & (self.lanes - 1)
        return self.lanes - 1 - p if self.reverse else p

    def warp_position(self, warp: int) -> int:
        p = warp >> self.warp_shift & (self.warps - 1)
        return self.warps - 1 - p if self.reverse else p


def _digits(layout: LinearLayout, axis: int) -> list[tuple[str, int]] | None:
    """Who holds each bit of the axis, low to high; None where a bit has no owner of its own or an owner has other bits too."""
    first, n = layout.field(list(layout.outs)[axis])
    along = ((1 << n) - 1) << first
    owner: dict[int, tuple[str, int]] = {}
    for place, bases in layout.ins.items():
        free = layout.free(place)
        for k, b in enumerate(bases):
            if b & along and not free >> k & 1:
                if b & (b - 1):
                    return None
                owner[b.bit_length() - 1 - first] = place, k
    return [owner[j] for j in range(n)] if len(owner) == n else None


def _runs(digits: list[tuple[str, int]]) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Bits of low registers, lanes, warps, high registers; None unless in this order, lanes and warps in consecutive bits."""
    parts: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
    stage = 0
    for place, k in digits:
        want = {LANE: 1, WARP: 2}.get(place, 0 if stage == 0 else 3)
        if want < stage or place not in (REGISTER, LANE, WARP):
            return None
        stage = want
        if want in (1, 2) and parts[want] and k != parts[want][-1] + 1:
            return None
        parts[want].append(k)
    return parts


def scan_layout(layout: LinearLayout, axis: int) -> LinearLayout:
    """This layout if a scan along ``axis`` can run in it, else one where it can; with the same lanes and warps."""
    digits = _digits(layout, axis)
    if digits is not None and _runs(digits) is not None:
        return layout
    f = Filling(layout.shape)
    others = [d for d in reversed(range(len(layout.shape))) if d != axis]
    numel = 1 << layout.index_bits
    f.take(REGISTER, axis, min(4, layout.shape[axis], max(1, numel // (layout.size(LANE) * layout.size(WARP)))))
    for place, order in ((LANE, [axis, *others]), (WARP, [*others, axis])):
        left = log2(layout.size(place))
        for d in order:
            got = min(left, f.bits[d] - f.used[d])
            f.take(place, d, 1 << got)
            left -= got
        f.ins[place] += [0] * left
    return f.rest([axis, *others])


@lru_cache(maxsize=256)
def plan_scan(layout: LinearLayout, axis: int, reverse: bool = False) -> ScanPlan:
    """The schedule for a layout that `scan_layout` accepts; IRError for another."""
    digits = _digits(layout, axis)
    runs = _runs(digits) if digits is not None else None
    if runs is None:
        raise IRError(f"a scan along dimension {axis} cannot run in this layout; convert to scan_layout() first:\n{layout}")
    low, lanes, warps, high = runs
    copies = representative(layout)
    dim = list(layout.outs)[axis]
    first, n = layout.field(dim)
    within = 1 << len(low)
    lines: dict[int, dict[int, list[int]]] = {}
    dropped = layout.sliced(dim)
    for r in range(layout.size(REGISTER)):
        if copies[r] == r:
            chunk = layout(register=r) >> first & ((1 << n) - 1)
            lines.setdefault(dropped(register=r), {}).setdefault(chunk // within, []).append(r)
    ordered = []
    for chunks in lines.values():
        line = [tuple(sorted(rs, key=lambda r: layout(register=r), reverse=reverse)) for _, rs in sorted(chunks.items(), reverse=reverse)]
        ordered.append(tuple(line))
    q = len(warps)
    outs = {**dropped.outs, "warp position": 1 << q}
    ins = {d: tuple(v << q for v in bases) for d, bases in dropped.ins.items()}
    ins[WARP] = tuple(v | (1 << warps.index(k) if k in warps else 0) for k, v in enumerate(ins[WARP]))
    totals = LinearLayout.make(ins, outs)
    lane_shift, warp_shift = lanes[0] if lanes else 0, warps[0] if warps else 0
    return ScanPlan(tuple(ordered), reverse, 1 << len(lanes), lane_shift, 1 << q, warp_shift, totals, copies)


# --- gather -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GatherPlan:
    """Stores ``store`` to ``scratch`` bytes, a barrier, then loads: the element at index value x for register r of a thread lies at

        (registers[r] ^ lanes and warps as in `Access`) + x · stride       bytes

    The first term names the coordinates other than the axis and touches no bit of the second.
    """

    store: Access
    registers: tuple[int, ...]
    lanes: tuple[int, ...]
    warps: tuple[int, ...]
    stride: int
    scratch: int


@lru_cache(maxsize=256)
def plan_gather(src: LinearLayout, index: LinearLayout, axis: int, bits: int) -> GatherPlan:
    """How to gather from a tile in layout ``src`` along ``axis`` for indices, and a result, in layout ``index``."""
    item = max(1, bits // 8)
    memory = shared_row_major(src.shape)
    dim = list(src.outs)[axis]
    strides, step = {}, item
    for d, n in list(src.outs.items())[::-1]:
        strides[d] = step
        step *= n
    for d, n in index.outs.items():
        if d != dim and n > src.outs[d]:
            raise IRError(f"gather: the index has {n} elements along {d}, the operand only {src.outs[d]}")

    def offset(v: int) -> int:
        return sum(x * strides[d] for d, x in index.unpack(v).items() if d != dim)

    registers = tuple(offset(index(register=r)) for r in range(index.size(REGISTER)))
    lanes, warps = (tuple(map(offset, index.ins[p])) for p in (LANE, WARP))
    return GatherPlan(access(src, memory, max(8, bits)), registers, lanes, warps, strides[dim], step)
