"""Placements by brute force: every rule against the elements that each register of each thread holds."""

from __future__ import annotations

import functools
import itertools
import random

import numpy as np
import pytest

from anytile.ir import Builder, Func
from anytile.ir.types import BF16, F8E4M3, F16, F32, F64, I8, I32, tile
from anytile.targets.nvidia import wgmma
from anytile.targets.nvidia.dot import accumulator, fragments
from anytile.targets.nvidia.dot_table import instruction
from anytile.targets.nvidia.matrices import row_addresses
from anytile.targets.nvidia.placement import Placement, blocked
from anytile.targets.nvidia.reduce import outcome, reducible
from anytile.targets.nvidia.scan import scan_place
from anytile.targets.nvidia.wgmma import Panels, Rows


def held(p: Placement) -> np.ndarray:
    """[register, lane, warp] → flat index."""
    places = itertools.product(range(p.registers), range(32), range(1 << len(p.warp)))
    return np.array([p.element(*place) for place in places]).reshape(p.registers, 32, -1)


def random_placement(rng: random.Random, shape: tuple[int, ...], warps: int) -> Placement:
    bits = [1 << k for k in range(sum(n.bit_length() - 1 for n in shape))]
    rng.shuffle(bits)
    take = lambda n: [bits.pop() if bits and rng.random() < 0.8 else 0 for _ in range(n)]  # noqa: E731
    lane, warp = take(5), take(warps.bit_length() - 1)
    return Placement(shape, tuple(bits), tuple(lane), tuple(warp))


@pytest.mark.parametrize("seed", range(12))
def test_views(seed):
    rng = random.Random(seed)
    shape = tuple(1 << rng.randrange(4) for _ in range(3))
    p = random_placement(rng, shape, 4)
    index = held(p)
    coordinates = np.stack(np.unravel_index(index, shape))
    order = tuple(rng.sample(range(3), 3))
    source = tuple(shape[order.index(d)] for d in range(3))
    got = np.stack(np.unravel_index(held(p.before_permute(source, order)), source))
    for i, s in enumerate(order):
        assert (got[s] == coordinates[i]).all()
    narrow = tuple(1 if rng.random() < 0.5 else n for n in shape)
    got = np.stack(np.unravel_index(held(p.before_broadcast(narrow)), narrow))
    for d in range(3):
        assert (got[d] == (coordinates[d] if narrow[d] != 1 else 0)).all()
    axis = rng.randrange(3)
    rest = shape[:axis] + shape[axis + 1 :]
    got = np.stack(np.unravel_index(held(p.without(axis)), rest))
    assert (got == np.delete(coordinates, axis, 0)).all()


@pytest.mark.parametrize("seed", range(8))
def test_owners_hold_each_element_once(seed):
    rng = random.Random(seed)
    p = random_placement(rng, (8, 16), 4)
    p = Placement(p.shape, (*p.register, p.register[0] if p.register else 0), p.lane, p.warp)  # a register that is a copy
    index = held(p)
    own = [index[r, lane, warp] for r in p.own_registers for lane in range(32) for warp in range(4) if not (lane | warp << 5) & p.owners]
    assert sorted(own) == sorted(set(index.ravel()))


@pytest.mark.parametrize("shape,warps,vector", [((1024,), 4, 4), ((64, 32), 4, 8), ((4, 4), 8, 1), ((2,), 1, 2), ((16, 8, 4), 2, 2)])
def test_blocked_covers(shape, warps, vector):
    for order in itertools.permutations(range(len(shape))):
        p = blocked(shape, warps, vector, order)
        assert set(held(p).ravel()) == set(range(int(np.prod(shape))))
        for axis in range(len(shape)):
            assert reducible(p, axis)
            q = outcome(p, axis)
            assert set(held(q).ravel()) == set(range(int(np.prod(q.shape))))


@pytest.mark.parametrize("shape,axis,warps", [((16, 256), 1, 4), ((64, 4), 0, 4), ((2048,), 0, 8), ((2, 8, 4), 1, 2)])
def test_scans_walk_their_axis_in_order(shape, axis, warps):
    """Along the axis a higher register, then lane, then warp means a higher coordinate."""
    p = scan_place(shape, axis, warps)
    by_rest: dict[tuple[int, ...], dict[int, tuple[int, int, int]]] = {}
    for r, lane, warp in itertools.product(range(p.registers), range(32), range(warps)):
        if (lane | warp << 5) & p.owners:
            continue
        at = [int(x) for x in np.unravel_index(p.element(r, lane, warp), shape)]
        i = at.pop(axis)
        by_rest.setdefault(tuple(at), {})[i] = (warp, lane, r)
    for places in by_rest.values():
        assert sorted(places) == list(range(shape[axis]))
        ordered = [places[i] for i in range(shape[axis])]
        assert ordered == sorted(ordered)


# --- fragments of matrix instructions, from the tables of the PTX ISA ------------------------------------------------


def dot_op(m: int, n: int, k: int, elem=F16, acc=F32, precision: str = "tf32"):
    f = Func("f", (tile((m, k), elem), tile((k, n), elem), tile((m, n), acc)), ("a", "b", "c"))
    return Builder(f.body).make("dot", f.args, {"precision": precision})


@pytest.mark.parametrize("elem,acc", [(F16, F32), (BF16, F32), (F32, F32), (I8, I32)])
@pytest.mark.parametrize("m,n,warps", [(16, 8, 1), (32, 32, 4), (128, 64, 8), (16, 128, 4), (64, 16, 4)])
def test_mma_fragments(elem, acc, m, n, warps):
    k = 64
    op = dot_op(m, n, k, elem, acc)
    row = instruction(op, 80)
    assert row is not None
    c = accumulator(op, warps, 80, False, None)
    a, b = fragments(op, c, row.pack)
    assert set(held(c).ravel()) == set(range(m * n))
    p = row.pack
    for lane, warp in itertools.product(range(32), range(warps)):
        g, t = lane // 4, lane % 4
        m0, n0 = divmod(c.element(0, 0, warp), n)
        for i in range(4):  # c0 c1: row g, c2 c3: row g + 8
            assert c.element(i, lane, warp) == (m0 + g + 8 * (i // 2)) * n + n0 + 2 * t + i % 2
        for i in range(4 * p):  # a: rows g, g + 8; k packs t, t + 4
            word, inside = divmod(i, p)
            assert a.element(i, lane, warp) == (m0 + g + 8 * (word % 2)) * k + (word // 2) * 4 * p + t * p + inside
        for i in range(2 * p):
            word, inside = divmod(i, p)
            assert b.element(i, lane, warp) == (word * 4 * p + t * p + inside) * n + n0 + g


@pytest.mark.parametrize("m,n,warps", [(64, 16, 4), (128, 256, 8), (64, 128, 8), (256, 32, 8), (128, 64, 4)])
def test_wgmma_accumulators(m, n, warps):
    op = dot_op(m, n, 64)
    assert wgmma.usable(op, warps, 90)
    c = wgmma.accumulator_place(op, warps)
    assert sorted(held(c).ravel()) == list(range(m * n))
    a, _ = fragments(op, c, 2)
    gm, gn = wgmma._groups(m, warps)
    columns = n // gn
    for r, lane, warp in itertools.product(range(c.registers), range(0, 32, 3), range(warps)):
        block, i = divmod(r, columns // 2)
        group, row_warp = divmod(warp, 4)
        row = (group % gm) * (m // gm) + block * 64 + row_warp * 16 + 8 * (i // 2 % 2) + lane // 4
        assert c.element(r, lane, warp) == row * n + (group // gm) * columns + 8 * (i // 4) + 2 * (lane % 4) + i % 2
    for k0 in (0, 16, 48):
        first = a.register_of[k0]
        for i in range(8):
            for lane in range(0, 32, 5):
                word, inside = divmod(i, 2)
                assert (
                    a.element(first + i, lane, 1) == (16 + 8 * (word % 2) + lane // 4) * 64 + k0 + 8 * (word // 2) + 2 * (lane % 4) + inside
                )


@pytest.mark.parametrize("m,n,warps", [(64, 64, 4), (128, 256, 8), (256, 64, 8), (16, 128, 4)])
def test_turned_accumulators_are_those_of_the_transposed_product(m, n, warps):
    op = dot_op(m, n, 32, F32)
    assert wgmma.usable(op, warps, 90, turned=True)
    c, t = wgmma.accumulator_place(op, warps, turned=True), wgmma.accumulator_place(dot_op(n, m, 32, F32), warps)
    for r, lane, warp in itertools.product(range(c.registers), range(0, 32, 3), range(warps)):
        row, column = divmod(t.element(r, lane, warp), m)
        assert c.element(r, lane, warp) == column * n + row


@pytest.mark.parametrize("elem,acc,usable", [(I8, I32, True), (F8E4M3, F32, True), (F16, F16, True), (BF16, F16, False), (F64, F64, False)])
def test_what_wgmma_multiplies(elem, acc, usable):
    assert wgmma.usable(dot_op(64, 64, 64, elem, acc), 4, 90) == usable
    assert not wgmma.usable(dot_op(64, 64, 64, elem, acc), 4, 80)
    assert not wgmma.usable(dot_op(64, 64, 64, F32, F32, "tf32x3"), 4, 90)


# --- shared memory as wgmma reads it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 64), (128, 32), (64, 16), (16, 256), (64, 128), (32, 64)])
@pytest.mark.parametrize("inner", [0, 1])
def test_panels_hold_each_element_once_and_are_linear(shape, inner):
    form = Panels(shape, 2, inner)
    n = shape[0] * shape[1]
    offsets = [form.offset(i) for i in range(n)]
    assert sorted(offsets) == list(range(0, 2 * n, 2))
    rng = random.Random(0)
    for _ in range(200):
        x, y = rng.randrange(n), rng.randrange(n)
        assert form.offset(x ^ y) == offsets[x] ^ offsets[y]


def read_by_hardware(form: Panels, inner_is_k: bool, other: int, k: int) -> int:
    """Byte that the hardware reads for element (other, k) of one instruction's 16 of k, from the descriptor at byte 0.

    Core matrices of 8 rows; the swizzle xors address bits 4… with bits 7…, as many as the row has chunks.
    """
    d = form.descriptor(inner_is_k)
    leading, stride = (d >> 16 & 0x3FFF) << 4, (d >> 32 & 0x3FFF) << 4
    row = {1: 128, 2: 64, 3: 32}[d >> 62]
    if inner_is_k:
        at = other // 8 * stride + other % 8 * row + k * form.size
    else:
        width = row // form.size
        at = other // width * leading + k // 8 * stride + k % 8 * row + other % width * form.size
    return at ^ (at >> 7 & (row // 16 - 1)) << 4


@pytest.mark.parametrize("k", [16, 32, 64, 128])
@pytest.mark.parametrize("other", [16, 64, 256])
@pytest.mark.parametrize("inner_is_k", [True, False])
def test_descriptors_find_the_elements(k, other, inner_is_k):
    """Operand (other, k) with either dimension contiguous."""
    form = Panels((other, k), 2, 1 if inner_is_k else 0)
    for k0 in range(0, k, 16):
        for i, j in itertools.product(range(other), range(16)):
            start = form.step_k(k0, inner_is_k)
            seen = read_by_hardware(form, inner_is_k, i, j)
            # The hardware swizzles the whole address: of the start's bits only those below the pattern may interfere.
            plain = _unswizzled(form, start) + _unswizzled(form, seen)
            assert _swizzled(form, plain) == form.offset(i * k + k0 + j)


def _unswizzled(form: Panels, at: int) -> int:
    return at ^ (at >> 7 & (form.row // 16 - 1)) << 4


_swizzled = _unswizzled


@pytest.mark.parametrize("shape", [(32, 64), (64, 128), (32, 256)])
def test_rows_hold_each_element_once_and_fragments_meet_all_banks(shape):
    form = Rows(shape)
    k, n = shape
    offsets = [form.offset(i) for i in range(k * n)]
    assert sorted(offsets) == list(range(0, 4 * k * n, 4))
    for i in range(0, k * n, 7):
        for j in range(0, k * n, 11):
            assert form.offset(i ^ j) == offsets[i] ^ offsets[j]
    for first_row in range(0, k, 4):
        for first_column in range(0, n, 8):
            words = {offsets[(first_row + t) * n + first_column + g] // 4 % 32 for t in range(4) for g in range(8)}
            assert len(words) == 32
    for chunk in range(0, k * n, 4):  # 16 bytes stay together
        assert [o - offsets[chunk] for o in offsets[chunk : chunk + 4]] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    "elem,index,k_is_inner", [(F16, 0, True), (F16, 0, False), (F16, 1, True), (F16, 1, False), (I8, 0, True), (F32, 1, True)]
)
@pytest.mark.parametrize("m,n,warps", [(32, 32, 4), (128, 64, 8), (16, 128, 4), (64, 16, 2)])
def test_ldmatrix_gives_each_thread_its_fragment(elem, index, k_is_inner, m, n, warps):
    """The instruction as the PTX ISA describes it, on addresses."""
    op = dot_op(m, n, 64, elem, I32 if elem is I8 else F32)
    row = instruction(op, 80)
    place = fragments(op, accumulator(op, warps, 80, False, None), row.pack)[index]
    size = 4 // row.pack
    form = Panels(place.shape, size, (1 - index) if k_is_inner else index)
    count, bases = row_addresses(form, place, k_is_inner)
    step = count * row.pack
    for warp, first in itertools.product(range(warps), range(0, place.registers, step)):

        def address(matrix, r):
            thread = matrix * 8 + r | warp << 5
            parts = [b for k, b in enumerate(bases) if thread >> k & 1]
            return functools.reduce(lambda x, y: x ^ y, parts, form.offset(place.constants[first]))

        for matrix, lane, inside in itertools.product(range(count), range(32), range(row.pack)):
            if k_is_inner:
                got = address(matrix, lane // 4) + lane % 4 * 4 + inside * size
            else:
                got = address(matrix, lane % 4 * 2 + inside) + lane // 4 * size
            register = first + matrix * row.pack + inside
            assert got == form.offset(place.element(register, lane, warp))
        for matrix in range(count):  # eight rows of 16 bytes: all 32 banks
            assert len({address(matrix, r) // 16 % 8 for r in range(8)}) == 8 or form.row < 128


def test_halves_of_pairs_that_lie_in_two_lanes():
    """Each of the two lanes takes half of the pairs: the transposed accumulator of wgmma, split into even and odd columns."""
    pairs = Placement((8, 8, 2), (16, 8, 32), (2, 4, 1, 64, 0), (0, 0))
    half = pairs.halved()
    assert half == Placement((8, 8), (8, 4), (1, 2, 16, 32, 0), (0, 0))
    held = {half.element(r, lane, 0) for r in range(half.registers) for lane in range(16)}
    assert held == set(range(64))
    together = Placement((8, 8, 2), (1, 16, 8, 32), (2, 4, 64, 0, 0), (0, 0))
    assert together.halved() == Placement((8, 8), (8, 4, 16), (1, 2, 32, 0, 0), (0, 0))
