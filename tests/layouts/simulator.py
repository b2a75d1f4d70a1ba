"""Executes conversion plans on lists: ``state[(warp, lane)][register]`` is the index of the element there."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from anytile.layouts.convert import Conversion, Nothing, Permute, Shuffle, ThroughShared
from anytile.layouts.linear import LANE, REGISTER, WARP, LinearLayout
from anytile.layouts.shared import Access

State = dict[tuple[int, int], list]


@lru_cache(maxsize=32)
def held(layout: LinearLayout) -> State:
    """The state in which every place holds the index that the layout gives it."""
    registers = range(layout.size(REGISTER))
    return {
        (w, lane): [layout(register=r, lane=lane, warp=w) for r in registers]
        for w in range(layout.size(WARP))
        for lane in range(layout.size(LANE))
    }


def linear(columns, v: int) -> int:
    out = 0
    for k, c in enumerate(columns):
        if v >> k & 1:
            out ^= c
    return out


def _select(state: State, selects) -> State:
    for s in selects:
        state = {
            (w, lane): [x[r ^ s.xor] if bin(lane & s.lanes).count("1") % 2 else x[r] for r in range(len(x))]
            for (w, lane), x in state.items()
        }
    return state


def thread_base(side: Access, warp: int, lane: int) -> int:
    return linear(side.lanes, lane) ^ linear(side.warps, warp)


def run(plan: Conversion, state: State, n_registers: int) -> State:
    """The state after the conversion; asserts what the plan promises (alignment, scope, scratch size, widths)."""
    if isinstance(plan, Nothing):
        return state
    if isinstance(plan, Permute):
        return {t: [x[r] for r in plan.registers] for t, x in state.items()}
    if isinstance(plan, Shuffle):
        state = _select(state, plan.before)
        got: State = {t: [None] * n_registers for t in state}
        for e in plan.exchanges:
            assert len(e.sources) == len(e.targets) and len(e.sources) * plan.bits <= max(32, plan.bits)
            for w, lane in state:
                source = state[w, e.base ^ linear(plan.lanes, lane)]
                for s, t in zip(e.sources, e.targets):
                    got[w, lane][t] = source[s]
        got = _select(got, plan.after)
        return {t: [x[plan.copies[r]] for r in range(n_registers)] for t, x in got.items()}
    assert isinstance(plan, ThroughShared)
    item = plan.bits // 8
    got = {t: [None] * n_registers for t in state}
    assert len(plan.store.rounds) == len(plan.load.rounds)
    for stores, loads in zip(plan.store.rounds, plan.load.rounds):
        memory: dict = {}
        writer = defaultdict(set)
        for (w, lane), x in state.items():
            base = thread_base(plan.store, w, lane)
            for t in stores:
                assert len(t.registers) == plan.store.vector and base & t.add == 0
                address = (base ^ t.xor) + t.add
                assert address % (item * plan.store.vector) == 0
                for k, r in enumerate(t.registers):
                    at = address + k * item
                    assert at + item <= plan.scratch
                    assert memory.setdefault(at, x[r]) == x[r], "two different elements at one address"
                    writer[at].add(w)
        for w, lane in state:
            base = thread_base(plan.load, w, lane)
            for t in loads:
                address = (base ^ t.xor) + t.add
                assert address % (item * plan.load.vector) == 0
                for k, r in enumerate(t.registers):
                    got[w, lane][r] = memory[address + k * item]
                    assert plan.scope == "block" or writer[address + k * item] == {w}
    return {t: [x[plan.load.copies[r]] for r in range(n_registers)] for t, x in got.items()}


def wavefronts(side: Access) -> set[int]:
    """Wavefronts of each instruction of warp 0, counted: lanes in groups by width, distinct words of each bank."""
    item = side.bits // 8
    width = side.vector * item
    group = min(32, 128 // max(4, width))
    found = set()
    for t in side.transfers:
        total = 0
        for first in range(0, 32, group):
            banks = defaultdict(set)
            for lane in range(first, first + group):
                address = (thread_base(side, 0, lane) ^ t.xor) + t.add
                for word in range(address // 4, (address + width - 1) // 4 + 1):
                    banks[word % 32].add(word)
            total += max(map(len, banks.values()))
        found.add(total)
    return found
