"""Conversion plans, executed by the simulator, give what the destination's layout says; costs are what a count gives."""

from __future__ import annotations

import itertools

import hardware_layouts as C
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import held, run, wavefronts

from anytile.errors import IRError, UnsupportedError
from anytile.layouts.convert import Nothing, Permute, Shuffle, ThroughShared, plan
from anytile.layouts.linear import LinearLayout
from anytile.layouts.shared import access

SHAPE = (32, 64)
BLOCKED = C.blocked(SHAPE, (1, 8), (4, 8), (4, 1), (1, 0))
LAYOUTS = {
    "rows": BLOCKED,
    "columns": C.blocked(SHAPE, (8, 1), (4, 8), (1, 4), (0, 1)),
    "wide": C.coalesced(SHAPE, (1, 64), 32, 4),
    "accumulator": C.mma_accumulator(SHAPE, (2, 2)),
    "a16": C.mma_a(SHAPE, 16, (2, 2)),
    "a8": C.mma_a(SHAPE, 8, (2, 2)),
    "b16": C.mma_b(SHAPE, 16, (2, 2)),
    "rows_accumulator": C.mma_accumulator(SHAPE, (4, 1)),
    "everywhere": C.replicated(SHAPE, 4),
}


def check(src, dst, bits, limit=1 << 20):
    got = plan(src, dst, bits, limit)
    assert run(got, held(src), dst.size("register")) == held(dst)
    if isinstance(got, ThroughShared):
        for side in (got.store, got.load):
            assert wavefronts(side) == {side.wavefronts // len(side.transfers)}
    return got


@pytest.mark.parametrize("src, dst", list(itertools.product(LAYOUTS, LAYOUTS)))
def test_between_all_layouts(src, dst):
    got = check(LAYOUTS[src], LAYOUTS[dst], {"a8": 8, "wide": 64}.get(dst, 16))
    if src == dst:
        assert got == Nothing()


@st.composite
def distributed(draw, bits):
    """A random layout of a tile of 2^bits elements over 8 lanes and 4 warps, with or without broadcasts and swizzles."""
    columns = list(draw(st.permutations([1 << k for k in range(bits)])))
    for _ in range(draw(st.integers(0, 3))):
        i, j = draw(st.integers(0, bits - 1)), draw(st.integers(0, bits - 1))
        if i != j:
            columns[i] ^= columns[j]
    lane = [columns.pop() if columns and draw(st.integers(0, 4)) else 0 for _ in range(3)]
    warp = [columns.pop() if columns and draw(st.integers(0, 4)) else 0 for _ in range(2)]
    if draw(st.booleans()):
        columns.append(draw(st.integers(0, (1 << bits) - 1)))
    return LinearLayout({"register": columns, "lane": lane, "warp": warp}, {"dim0": 1 << bits})


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_between_random_layouts(data):
    bits = data.draw(st.integers(3, 7))
    src = data.draw(distributed(bits))
    dst = data.draw(distributed(bits))
    got = plan(src, dst, data.draw(st.sampled_from([8, 16, 32, 64])), data.draw(st.sampled_from([64, 1 << 20])))
    assert run(got, held(src), dst.size("register")) == held(dst)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_within_random_warps(data):
    """The same warps: whatever is cheaper, shuffles or shared memory, no element leaves its warp."""
    bits = data.draw(st.integers(3, 6))
    warps = data.draw(st.integers(0, 1))
    sides = []
    for _ in range(2):
        x = data.draw(distributed(bits))
        places = {
            "register": x.ins["register"],
            "lane": x.ins["lane"] + x.ins["warp"],
            "warp": tuple(1 << (bits + k) for k in range(warps)),
        }
        sides.append(LinearLayout(places, {"dim0": 1 << (bits + warps)}))
    got = plan(*sides, data.draw(st.sampled_from([8, 16, 32, 64])))
    assert run(got, held(sides[0]), sides[1].size("register")) == held(sides[1])
    assert not isinstance(got, ThroughShared) or got.scope == "warp"


def test_registers_in_another_order_cost_nothing():
    other = LinearLayout({**BLOCKED.ins, "register": BLOCKED.ins["register"][::-1]}, dict(BLOCKED.outs))
    got = check(BLOCKED, other, 16)
    assert isinstance(got, Permute) and got.registers[1] == 8


def test_slices_agree_with_what_they_are_slices_of():
    """expand_dims of a slice, seen in the parent: registers are repeated, nothing moves."""
    column = C.sliced(BLOCKED, 1)
    parent = C.dropped(BLOCKED, 1)
    assert isinstance(check(column, parent, 32), (Nothing, Permute))


def test_a_lane_rotation_is_one_shuffle_a_word():
    dst = LinearLayout({**BLOCKED.ins, "lane": BLOCKED.ins["lane"][1:] + BLOCKED.ins["lane"][:1]}, dict(BLOCKED.outs))
    got = check(BLOCKED, dst, 16)
    assert isinstance(got, Shuffle) and not got.before and not got.after and not got.butterfly
    assert len(got.exchanges) == BLOCKED.size("register") // 2 and got.exchanges[0].sources == (0, 1)
    wide = check(BLOCKED, dst, 32)
    assert len(wide.exchanges) == BLOCKED.size("register")


def test_what_one_lane_has_all_lanes_read_without_selects():
    """Rows one in a lane, to every lane all of them: as after a reduction that halves, where its result is broadcast."""
    src = LinearLayout({"register": [], "lane": [0, 1, 2, 4, 0], "warp": [8, 16]}, {"dim0": 32})
    dst = LinearLayout({"register": [1, 2, 4], "lane": [0] * 5, "warp": [8, 16]}, {"dim0": 32})
    got = check(src, dst, 32)
    assert isinstance(got, Shuffle) and len(got.exchanges) == 8
    assert not got.before and not got.after and got.lanes == (1, 0, 0, 0, 16)


def test_a_transpose_between_registers_and_lanes_swaps():
    """Register bit ↔ lane bit: half of the registers stay, the others cross, with one select before and one after."""
    src = LinearLayout({"register": (1,), "lane": (2, 4, 8, 16, 32), "warp": ()}, {"dim0": 64})
    dst = LinearLayout({"register": (2,), "lane": (1, 4, 8, 16, 32), "warp": ()}, {"dim0": 64})
    got = check(src, dst, 32)
    assert isinstance(got, Shuffle) and len(got.before) == len(got.after) == 1
    assert got.butterfly and sorted(e.base for e in got.exchanges) == [0, 1]


def test_the_accumulator_is_the_next_operand():
    acc = C.mma_accumulator((64, 64), (4, 1))
    assert plan(acc, C.mma_a((64, 64), 16, (4, 1)), 16) == Nothing()
    wgmma = C.wgmma_accumulator((64, 128), (4, 1))
    assert plan(wgmma, C.wgmma_a((64, 128), 16, (4, 1)), 16) == Nothing()
    fp8 = plan(acc, C.mma_a((64, 64), 8, (4, 1)), 8)
    assert isinstance(fp8, Shuffle) or fp8.scope == "warp"


def test_bank_conflicts_that_are_known():
    """Two bytes a lane and row: rows of 256 bytes meet in one bank; the 128-byte swizzle spreads eight rows."""
    shape = (64, 128)
    blocked, wgmma = C.blocked(shape, (1, 8), (2, 16), (4, 1), (1, 0)), C.wgmma_accumulator(shape, (4, 1))
    row_major, swizzled = C.shared_row_major(shape), C.shared_swizzled(shape, 16, 128)

    def conflicts(layout, memory):
        side = access(layout, memory, 16)
        return side.vector, side.conflicts

    assert conflicts(blocked, row_major) == (8, 0)
    assert conflicts(wgmma, row_major) == (2, 7)
    assert conflicts(blocked, swizzled) == (8, 0)
    assert conflicts(wgmma, swizzled) == (2, 0)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("name", LAYOUTS)
def test_closed_form_is_what_counting_gives(name, bits):
    for memory in (C.shared_row_major(SHAPE), C.shared_row_major(SHAPE, (0, 1)), C.shared_swizzled(SHAPE, bits, 32)):
        side = access(LAYOUTS[name], memory, bits)
        each = side.wavefronts // len(side.transfers)
        assert wavefronts(side) == {each}
        assert each == side.conflicts + max(1, 32 * side.vector * bits // 8 // 128)


@pytest.mark.parametrize("bits, vectors, conflict_free", [(32, (4, 1), True), (16, (8, 1), True)])
def test_transposes_through_shared_memory(bits, vectors, conflict_free):
    """No common register: one side has vectors, the other none, and neither waits for banks."""
    shape = (64, 64)
    src = C.coalesced(shape, (1, 64), bits, 4)
    dst = C.coalesced(shape, (64, 1), bits, 4)
    got = check(src, dst, bits)
    assert isinstance(got, ThroughShared) and got.scope == "block"
    assert got.store.wavefronts + got.load.wavefronts <= 2 * 64 * 64 // 128  # what scalars without conflicts would take


def test_little_scratch_means_more_rounds():
    src = C.blocked((64, 128), (1, 8), (2, 16), (4, 1), (1, 0))
    dst = C.mma_accumulator((64, 128), (2, 2))
    whole, part = check(src, dst, 32), check(src, dst, 32, 16 * 1024)
    assert whole.scratch == 32 * 1024 and len(whole.store.rounds) == 1
    assert part.scratch == 16 * 1024 and len(part.store.rounds) == 2


def test_a_copy_in_another_warp_is_no_reason_for_rounds():
    """Element 8 is a register of warp 0 and the first of warp 1: it cannot wait for the second round in one of them."""
    src = LinearLayout({"register": (16, 4, 2, 8), "lane": (32, 0, 1), "warp": (8, 0)}, {"dim0": 64})
    dst = LinearLayout({"register": (32, 16, 8), "lane": (1, 2, 4), "warp": (0, 0)}, {"dim0": 64})
    got = plan(src, dst, 64, 64)
    assert run(got, held(src), dst.size("register")) == held(dst)


def test_what_is_refused():
    one = LinearLayout({"register": (), "lane": (1,), "warp": (), "block": (2,)}, {"dim0": 4})
    two = LinearLayout({"register": (), "lane": (2,), "warp": (), "block": (1,)}, {"dim0": 4})
    with pytest.raises(UnsupportedError, match="between the blocks of a cluster"):
        plan(one, two, 32)
    with pytest.raises(IRError, match="4 and 8 places along 'warp'"):
        plan(C.replicated((4,), 4), C.replicated((4,), 8), 32)
