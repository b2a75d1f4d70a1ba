"""The layouts that other tests start from, against their definitions, place by place."""

from __future__ import annotations

import itertools
from collections import Counter

import hardware_layouts as C
import pytest

from anytile.errors import IRError
from anytile.layouts.linear import LANE, OFFSET, REGISTER, WARP, LinearLayout


def places(layout: LinearLayout):
    for x in itertools.product(*(range(layout.size(d)) for d in layout.ins)):
        yield dict(zip(layout.ins, x))


def copies(layout: LinearLayout) -> int:
    """In how many places each index lives; asserts that it is the same for all."""
    count = Counter(layout(**p) for p in places(layout))
    assert set(count) == set(range(1 << layout.index_bits))
    assert len(set(count.values())) == 1
    return next(iter(count.values()))


@pytest.mark.parametrize(
    "shape, per, lanes, warps, order, expected",
    [
        ((64, 128), (1, 8), (2, 16), (4, 1), (1, 0), 1),
        ((128, 64), (4, 1), (32, 1), (1, 4), (0, 1), 1),
        ((16, 16), (1, 8), (2, 16), (4, 1), (1, 0), 8),  # 16 lanes of 8 elements are 8 times the row
        ((256,), (4,), (32,), (4,), (0,), 2),
        ((4, 8, 16), (1, 1, 2), (2, 2, 8), (1, 4, 1), (2, 1, 0), 1),
        ((1, 1), (1, 1), (1, 32), (1, 4), (1, 0), 128),
    ],
)
def test_blocked(shape, per, lanes, warps, order, expected):
    got = C.blocked(shape, per, lanes, warps, order)
    assert copies(got) == expected
    assert got.free(REGISTER) == 0
    # By the definition: mixed-radix digits of register, lane and warp, order[0] fastest; coordinates wrap to broadcasts.
    for p in places(got):
        x = [0] * len(shape)
        stride = [1] * len(shape)
        for place, sizes in ((REGISTER, per), (LANE, lanes), (WARP, warps)):
            v = p[place]
            for d in order:
                n = sizes[d]
                if place == REGISTER:
                    n = min(n, shape[d])
                room = max(1, shape[d] // stride[d])
                x[d] += stride[d] * (v % n % room)
                v //= n
                stride[d] *= min(n, room)
            if place == REGISTER:
                rest = v
        for d in order:
            room = shape[d] // stride[d]
            x[d] += stride[d] * (rest % room)
            rest //= room
        assert tuple(got.apply(**p).values()) == tuple(x)


@pytest.mark.parametrize(
    "shape, contiguity, bits, warps, width, axis",
    [
        ((64, 128), (1, 128), 16, 4, 8, 1),
        ((64, 128), (64, 1), 32, 4, 4, 0),
        ((1024,), (1024,), 16, 4, 8, 0),
        ((1024,), (1024,), 32, 8, 4, 0),
        ((64,), (64,), 32, 4, 1, 0),
        ((2048,), (2,), 8, 4, 2, 0),
        ((8, 8), (1, 1), 64, 4, 1, 1),
    ],
)
def test_coalesced(shape, contiguity, bits, warps, width, axis):
    got = C.coalesced(shape, contiguity, bits, warps)
    copies(got)
    walk = [got.apply(register=r)[f"dim{axis}"] for r in range(width)]
    assert walk == list(range(width))
    assert got.apply(lane=1) == {f"dim{d}": (width if d == axis else 0) for d in range(len(shape))}
    assert got.size(WARP) == warps and got.size(LANE) == 32


def test_coalesced_obeys_the_alignment():
    got = C.coalesced((1024,), (1024,), 16, 4, (4,))
    assert got.ins[LANE][0] == 2


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_mma_fragments(bits):
    w, k_size = 32 // bits, 256 // bits
    a, b, acc = C.mma_a((16, k_size), bits, (1, 1)), C.mma_b((k_size, 8), bits, (1, 1)), C.mma_accumulator((16, 8), (1, 1))
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        for i in range(4):
            assert acc.apply(register=i, lane=lane) == {"dim0": g + 8 * (i >> 1), "dim1": 2 * t + (i & 1)}
        for i in range(4 * w):
            word, e = divmod(i, w)
            assert a.apply(register=i, lane=lane) == {"dim0": g + 8 * (word & 1), "dim1": w * t + e + 4 * w * (word >> 1)}
        for i in range(2 * w):
            word, e = divmod(i, w)
            assert b.apply(register=i, lane=lane) == {"dim0": w * t + e + 4 * w * word, "dim1": g}


@pytest.mark.parametrize("warps", [(1, 1), (4, 1), (2, 2), (1, 8)])
def test_mma_tiles(warps):
    m, n, k = 64, 128, 64
    acc = C.mma_accumulator((m, n), warps)
    assert copies(acc) == 1
    assert copies(C.mma_a((m, k), 16, warps)) == warps[1]
    assert copies(C.mma_b((k, n), 16, warps)) == warps[0]
    a, b = C.mma_a((m, k), 16, warps), C.mma_b((k, n), 16, warps)
    tiles = n // 8 // warps[1]
    for warp in range(warps[0] * warps[1]):  # each warp's operands are for its rows and columns
        rows = {acc.apply(register=r, warp=warp)["dim0"] // 16 for r in range(acc.size(REGISTER))}
        columns = {acc.apply(register=r, warp=warp)["dim1"] // 8 for r in range(acc.size(REGISTER))}
        assert rows == {a.apply(register=r, warp=warp)["dim0"] // 16 for r in range(a.size(REGISTER))}
        assert columns == {b.apply(register=r, warp=warp)["dim1"] // 8 for r in range(b.size(REGISTER))}
    for tile in range(tiles):  # registers: tiles of n, then of m, and the operands in the same order
        assert acc.apply(register=4 * tile)["dim1"] == b.apply(register=4 * (k // 16) * tile)["dim1"]
    batched = C.mma_accumulator((2, m, n), warps)
    assert batched.apply(register=batched.size(REGISTER) // 2) == {"dim0": 1, "dim1": 0, "dim2": 0}


@pytest.mark.parametrize("warps, n", [((4, 1), 128), ((8, 1), 256), ((4, 2), 256), ((4, 1), 8)])
def test_wgmma(warps, n):
    m = 64 * (warps[0] // 4) * 2
    acc = C.wgmma_accumulator((m, n), warps)
    assert copies(acc) == 1
    width = min(256, n // warps[1])
    for lane, warp, d in itertools.product(range(32), range(4), range(width // 2)):
        assert acc.apply(register=d, lane=lane, warp=warp) == {
            "dim0": warp * 16 + lane // 4 + 8 * (d >> 1 & 1),
            "dim1": (d >> 2) * 8 + lane % 4 * 2 + (d & 1),
        }
    a = C.wgmma_a((m, 64), 16, warps)
    assert copies(a) == warps[1]
    # attention: the accumulator packed to 16 bits is the fragment of the next dot
    if warps[1] == 1 and n >= 16:
        p = C.wgmma_accumulator((64, n), (4, 1))
        assert p == C.wgmma_a((64, n), 16, (4, 1))


def test_shared_row_major():
    got = C.shared_row_major((4, 8))
    assert [got(offset=i) for i in range(32)] == list(range(32))
    assert C.shared_row_major((4, 8), (0, 1)).apply(offset=6) == {"dim0": 2, "dim1": 1}


@pytest.mark.parametrize("swizzle", [32, 64, 128])
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_swizzle(swizzle, bits, order):
    """The hardware's permutation of byte addresses, spelled out."""
    item = bits // 8
    shape = (32, 256) if order == (1, 0) else (256, 32)
    got = C.shared_swizzled(shape, bits, swizzle, order)
    assert copies(got) == 1
    columns = swizzle // item
    for outer, inner in itertools.product(range(32), range(0, 256, 5)):
        panel, column = divmod(inner, columns)
        address = (panel * 32 * columns + outer * columns + column) * item
        address ^= (address >> 7 & (swizzle // 16 - 1)) << 4
        index = got.apply(offset=address // item)
        assert (index[f"dim{order[1]}"], index[f"dim{order[0]}"]) == (outer, inner)


def test_swizzle_of_a_ring():
    got = C.shared_swizzled((4, 64, 64), 16, 128)
    assert copies(got) == 1
    assert got.apply(offset=64 * 64)["dim0"] == 1
    one = C.shared_swizzled((64, 64), 16, 128)
    assert all(got(offset=i) == one(offset=i) for i in range(64 * 64))


def test_slices_and_replicas():
    parent = C.blocked((64, 128), (1, 8), (2, 16), (4, 1), (1, 0))
    row = C.sliced(parent, 0)
    assert row.shape == (128,) and copies(row) == 2 * 4 and row.size(REGISTER) == 8
    column = C.sliced(parent, 1)
    assert copies(column) == 16 and column.size(REGISTER) == 8
    assert copies(C.replicated((4, 4), 2)) == 64


def test_what_is_refused():
    with pytest.raises(IRError, match="fits no warp"):
        C.blocked((64,), (1,), (16,), (4,), (0,))
    with pytest.raises(IRError, match="no operands of 64 bits"):
        C.mma_a((64, 64), 64, (4, 1))
    with pytest.raises(IRError, match="multiple of four warps"):
        C.wgmma_accumulator((64, 64), (2, 2))
    with pytest.raises(IRError, match="narrower than the 128-byte swizzle"):
        C.shared_swizzled((64, 16), 16, 128)
    assert OFFSET in C.shared_row_major((2, 2)).ins
