"""Reductions, scans and gathers, run as their plans say, against the definition."""

from __future__ import annotations

import itertools

import pytest
from simulator import held, linear, run, thread_base

from anytile.errors import IRError
from anytile.layouts import constructors as C
from anytile.layouts.linear import LinearLayout
from anytile.layouts.reduce import Butterfly, plan_gather, plan_reduce, plan_scan, scan_layout

SHAPE = (32, 64)
LAYOUTS = {
    "rows": C.blocked(SHAPE, (1, 8), (4, 8), (4, 1), (1, 0)),
    "columns": C.blocked(SHAPE, (4, 1), (8, 4), (1, 4), (0, 1)),
    "spread": C.blocked(SHAPE, (1, 2), (1, 32), (2, 2), (1, 0)),
    "accumulator": C.mma_accumulator(SHAPE, (2, 2)),
    "operand": C.mma_a(SHAPE, 16, (2, 2)),
    "one_row": C.coalesced((2048,), (2048,), 32, 4),
    "overshoot": C.coalesced((64,), (64,), 32, 4),
    "tall": C.blocked((64, 8), (1, 2), (8, 4), (1, 8), (1, 0)),
    "swizzled": LinearLayout({"register": (1, 2, 96), "lane": (4 ^ 8, 8, 16), "warp": (32, 64 ^ 1)}, {"dim0": 8, "dim1": 16}),
}
CASES = [(n, a) for n, x in LAYOUTS.items() for a in range(len(x.shape))]


def _combine_round(state, r):
    got = {}
    for t, x in state.items():
        got[t] = [tuple(sorted(sum((x[i] for i in group), ()))) for group in r.groups]
    for b in r.butterflies:
        assert isinstance(b, Butterfly)
        got = {(w, lane): [tuple(sorted(x[i] + got[w, lane ^ b.mask][i ^ b.xor])) for i in range(len(x))] for (w, lane), x in got.items()}
    return got


@pytest.mark.parametrize("name, axis", CASES)
def test_reductions_combine_each_element_once(name, axis):
    """Values are sets of indices: the result is exactly the line, without repetition, in every place of the result's layout."""
    layout = LAYOUTS[name]
    plan = plan_reduce(layout, axis)
    state = {t: [(i,) for i in x] for t, x in held(layout).items()}
    state = _combine_round(state, plan.first)
    if plan.second is not None:
        state = run(plan.exchange(32), state, plan.interim.size("register"))
        state = _combine_round(state, plan.second)
    assert plan.result.free("register") == 0
    dim = f"dim{axis}"
    lines: dict[int, list[int]] = {}
    for i in range(1 << layout.index_bits):
        rest = 0
        for d, x in layout.unpack(i).items():
            if d != dim:
                rest = rest * layout.outs[d] + x
        lines.setdefault(rest, []).append(i)
    for t, want in held(plan.result).items():
        assert state[t] == [tuple(lines[i]) for i in want]


def test_a_row_of_an_accumulator_needs_two_shuffles():
    plan = plan_reduce(C.wgmma_accumulator((64, 128), (4, 1)), 1)
    assert [b.mask for b in plan.first.butterflies] == [1, 2] and plan.second is None
    assert len(plan.first.groups) == 2 and len(plan.first.groups[0]) == 32


def test_a_row_over_all_warps_is_read_back_by_everyone():
    plan = plan_reduce(LAYOUTS["one_row"], 0)
    assert len(plan.first.butterflies) == 5 and plan.second.groups == ((0, 1, 2, 3),) and not plan.second.butterflies
    exchange = plan.exchange(32)
    assert exchange.scratch == 16 and exchange.load.vector == 4


@pytest.mark.parametrize("name, axis", CASES)
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(name, axis, reverse):
    """Values are sequences of positions: each element ends with those up to its own, in order."""
    layout = scan_layout(LAYOUTS[name], axis)
    plan = plan_scan(layout, axis, reverse)
    dim, n = f"dim{axis}", layout.shape[axis]

    def position(i):
        return layout.unpack(i)[dim]

    state = {t: [(position(i),) for i in x] for t, x in held(layout).items()}
    sign = -1 if reverse else 1
    for line in plan.lines:
        carry: dict = {t: () for t in state}
        for chunk in line:
            for x in state.values():
                for before, r in zip(chunk, chunk[1:]):
                    x[r] = x[before] + x[r]
            total = {t: x[chunk[-1]] for t, x in state.items()}
            s = 1
            while s < plan.lanes:
                total = {
                    (w, lane): (total[w, lane - sign * s * plan.lane_step] if plan.position(lane) >= s else ()) + v
                    for (w, lane), v in total.items()
                }
                s *= 2
            for (w, lane), x in state.items():
                if plan.position(lane) > 0:
                    for r in chunk:
                        x[r] = total[w, lane - sign * plan.lane_step] + x[r]
            slots: dict = {}
            for (w, lane), v in total.items():
                if plan.position(lane) == plan.lanes - 1:
                    at = plan.totals(register=chunk[0], lane=lane, warp=w)
                    assert at < plan.slots and slots.setdefault(at, v) == v
            for (w, lane), x in state.items():
                own = plan.totals(register=chunk[0], lane=lane, warp=w)
                line_at = own & ~(plan.warps - 1)
                order = range(plan.warps)[::sign]
                earlier = sum((slots[line_at | k] for k in list(order)[: plan.warp_position(w)]), ())
                for r in chunk:
                    x[r] = carry[w, lane] + earlier + x[r]
                carry[w, lane] += sum((slots[line_at | k] for k in order), ())
    for t, x in held(layout).items():
        for r, i in enumerate(x):
            p = position(i)
            assert state[t][plan.copies[r]] == tuple(range(n - 1, p - 1, -1) if reverse else range(p + 1))


def test_scans_keep_blocked_layouts():
    assert scan_layout(LAYOUTS["rows"], 1) == LAYOUTS["rows"]
    assert scan_layout(LAYOUTS["accumulator"], 1) == LAYOUTS["accumulator"]
    assert scan_layout(LAYOUTS["swizzled"], 1) != LAYOUTS["swizzled"]
    with pytest.raises(IRError, match="convert to scan_layout"):
        plan_scan(LAYOUTS["swizzled"], 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_gather(axis):
    src, index = LAYOUTS["accumulator"], C.blocked((16, 64) if axis == 0 else (32, 16), (1, 1), (4, 8), (4, 1), (1, 0))
    plan = plan_gather(src, index, axis, 16)
    memory = {}
    for (w, lane), x in held(src).items():
        for t in plan.store.transfers:
            for k, r in enumerate(t.registers):
                at = (thread_base(plan.store, w, lane) ^ t.xor) + t.add + 2 * k
                assert memory.setdefault(at, x[r]) == x[r] and at < plan.scratch
    for (w, lane), r in itertools.product([(0, 0), (3, 17), (2, 31)], range(index.size("register"))):
        where = index.apply(register=r, lane=lane, warp=w)
        for x in (0, 5, src.shape[axis] - 1):
            base = plan.registers[r] ^ linear(plan.lanes, lane) ^ linear(plan.warps, w)
            got = src.unpack(memory[base + x * plan.stride])
            assert got == {**where, f"dim{axis}": x}
