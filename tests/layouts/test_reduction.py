"""Plans of reductions, executed on trees: what is combined with what, in which order, and where it lies then."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anytile.layouts.linear import LANE, REGISTER, WARP, LinearLayout
from anytile.layouts.reduction import HALVED_LANES, HALVED_RESULTS, SHARED_RESULTS, Reduction, plan


def span(bases) -> list[int]:
    out = [0]
    for b in bases:
        out += [c ^ b for c in out]
    return out


def carried_out(how: Reduction, lanes: int, warps: int) -> dict[tuple[int, int], dict[int, object]]:
    """(warp, lane) → index of a result → the tree of combinations there; leaves are (index, bits of the thread along the axis)."""
    threads = [(w, lane) for w in range(how.kept.size(WARP)) for lane in range(how.kept.size(LANE))]

    def index(layout: LinearLayout, c: int, w: int, lane: int) -> int:
        return layout(lane=lane, warp=w) ^ c

    state = {(w, x): {c: (index(how.kept, c, w, x), (w & warps, x & lanes)) for c in span(how.kept.ins[REGISTER])} for w, x in threads}
    for step in how.steps:
        bit, made = 1 << step.lane, {}
        for w, x in threads:
            low, high = state[w, x & ~bit], state[w, x | bit]
            if step.basis:  # in the same registers, the results with the basis where the bit is set
                b = step.basis if x & bit else 0
                made[w, x] = {c: (low[c ^ b], high[c ^ b]) for c in step.kept}
            else:  # the own part on the left
                first, second = (high, low) if x & bit else (low, high)
                made[w, x] = {c: (first[c], second[c]) for c in low}
        state = made
    for place, parts in state.items():
        assert set(parts) == set(span(how.partial.ins[REGISTER]))
        for c, tree in parts.items():
            while isinstance(tree[0], tuple):
                tree = tree[0]
            assert tree[0] == index(how.partial, c, *place)
    owner = ~sum(1 << s.lane for s in how.steps if not s.basis)
    slots: dict[tuple[int, int], object] = {}
    for (w, x), parts in state.items():
        if x & owner == x:
            for c, tree in parts.items():
                assert slots.setdefault((index(how.partial, c, w, x), w & warps), tree) == tree
    out = {}
    for w, x in threads:
        out[w, x] = {}
        for c in span(how.result.ins[REGISTER]):
            i = index(how.result, c, w, x)
            items = {v: slots[i, v] for v in range(how.kept.size(WARP)) if v & warps == v}
            for k in reversed(how.warps):
                items = {v: (items[v], items[v | 1 << k]) for v in items if not v >> k & 1}
            out[w, x][c] = i, items[0]
    return out


def expected(i: int, lanes: int, warps: int) -> object:
    """Far lanes first, then far warps, the lower one on the left."""
    items = {(w, x): (i, (w, x)) for w in range(warps + 1) for x in range(lanes + 1) if w & warps == w and x & lanes == x}
    for at, mask in ((1, lanes), (0, warps)):
        for k in reversed(range(mask.bit_length())):
            if mask >> k & 1:
                far = (0, 1 << k) if at else (1 << k, 0)
                items = {(w, x): (t, items[w | far[0], x | far[1]]) for (w, x), t in items.items() if not (w, x)[at] >> k & 1}
    return items[0, 0]


@st.composite
def kept_layouts(draw):
    """(layout of partial results, lanes and warps along the axis)."""
    bits, n_lanes, n_warps = draw(st.integers(0, 6)), 4, 2
    columns = list(draw(st.permutations([1 << k for k in range(bits)])))
    for _ in range(draw(st.integers(0, 2)) if bits > 1 else 0):
        i, j = draw(st.integers(0, bits - 1)), draw(st.integers(0, bits - 1))
        if i != j:
            columns[i] ^= columns[j]
    lanes, warps = draw(st.integers(0, (1 << n_lanes) - 1)), draw(st.integers(0, (1 << n_warps) - 1))
    lane = tuple(columns.pop() if columns and not lanes >> k & 1 and draw(st.booleans()) else 0 for k in range(n_lanes))
    warp = tuple(columns.pop() if columns and not warps >> k & 1 and draw(st.booleans()) else 0 for k in range(n_warps))
    return LinearLayout({REGISTER: columns, LANE: lane, WARP: warp}, {"dim0": 1 << bits}), lanes, warps


def check(kept: LinearLayout, lanes: int, warps: int) -> Reduction:
    how = plan(kept, lanes, warps)
    trees: dict[int, set] = {}
    for (w, x), parts in carried_out(how, lanes, warps).items():
        for c, (i, tree) in parts.items():
            assert how.result(lane=x, warp=w) ^ c == i
            trees.setdefault(i, set()).add(tree)
            if not warps and any(not s.basis and x >> s.lane & 1 for s in how.steps):
                continue  # after butterflies the order is that of the lane
            assert tree == expected(i, lanes, warps)
    assert len(trees) == 1 << kept.index_bits
    return how


@settings(max_examples=80, deadline=None)
@given(kept_layouts())
def test_every_part_is_combined_once_and_in_order(made):
    kept, lanes, warps = made
    how = check(kept, lanes, warps)
    results, along = 1 << len(kept.ins[REGISTER]), bin(lanes).count("1")
    halving = results >= HALVED_RESULTS and along >= HALVED_LANES
    assert any(s.basis for s in how.steps) == halving
    shuffles, left = 0, results
    for s in how.steps:
        left //= 2 if s.basis else 1
        shuffles += left
    assert shuffles <= results * along
    if halving:  # even where every lane reads every result afterwards
        assert shuffles + results < results * along


def test_rows_in_registers_end_one_in_a_lane():
    kept = LinearLayout({REGISTER: [1, 2, 4, 8, 16], LANE: [0] * 5, WARP: [32, 64]}, {"dim0": 128})
    how = check(kept, 31, 0)
    assert [(s.lane, s.basis) for s in how.steps] == [(4, 16), (3, 8), (2, 4), (1, 2), (0, 1)]
    assert how.result == LinearLayout({REGISTER: [], LANE: [1, 2, 4, 8, 16], WARP: [32, 64]}, {"dim0": 128})


def test_where_results_run_out_the_near_lanes_swap():
    kept = LinearLayout({REGISTER: [1, 2], LANE: [0] * 5, WARP: [0, 4]}, {"dim0": 8})
    how = check(kept, 31, 1)
    assert [(s.lane, s.basis) for s in how.steps] == [(4, 2), (3, 1), (2, 0), (1, 0), (0, 0)]
    assert how.warps == (0,) and how.result == how.partial


def test_warps_share_out_what_many_results_are_left():
    bits = 32 * SHARED_RESULTS
    kept = LinearLayout({REGISTER: [1 << k for k in range(bits.bit_length() - 1)], LANE: [0] * 5, WARP: [0, 0]}, {"dim0": bits})
    how = check(kept, 31, 3)
    assert len(how.partial.ins[REGISTER]) == 4 and len(how.result.ins[REGISTER]) == 2 and how.result.ins[WARP] == (32, 64)


def test_more_warps_than_results():
    """Thirty-two warps along the axis, and sixteen results left in a thread: the farthest two warps read the same ones."""
    kept = LinearLayout({REGISTER: [1, 2, 4, 8], LANE: [16, 32, 64, 128, 256], WARP: [0] * 5}, {"dim0": 512})
    how = plan(kept, 0, 31)
    assert how.result.ins[REGISTER] == () and how.result.ins[WARP] == (1, 2, 4, 8, 0) and how.warps == (0, 1, 2, 3, 4)


def test_two_results_or_four_lanes_are_not_worth_halving():
    two = LinearLayout({REGISTER: [1], LANE: [0] * 5, WARP: [2, 4]}, {"dim0": 8})
    assert not any(s.basis for s in check(two, 31, 0).steps)
    quads = LinearLayout({REGISTER: [1, 2, 4], LANE: [0, 0, 8, 16, 32], WARP: [64, 128]}, {"dim0": 256})
    assert not any(s.basis for s in check(quads, 3, 0).steps)
