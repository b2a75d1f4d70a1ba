"""Reductions of tiles in many threads: their shuffles, counted in the PTX, and what they compute, executed without a GPU."""

from __future__ import annotations

import re

import numpy as np
import pytest
from lockstep import launch, lowered

import anytile.language as tl
from anytile.runtime.jit import jit
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.reduce import _spread
from anytile.targets.nvidia.target import make_ptx


@jit
def last_greater(a, i, b, j):
    greater = a > b
    return tl.where(greater, a, b), tl.where(greater, i, j)


@jit
def several(a, b, c, d):
    return a + c, tl.maximum(b, d)


@jit
def reduced(
    x, out, back, M: tl.constexpr, N: tl.constexpr, SM: tl.constexpr, SN: tl.constexpr, AXIS: tl.constexpr, HOW: tl.constexpr
):  # fmt: skip
    """The result, and the tile less the result."""
    at = tl.arange(0, M)[:, None] * SM + tl.arange(0, N)[None, :] * SN
    v = tl.load(x + at)
    if HOW == "sum":
        r = tl.sum(v, AXIS)
    elif HOW == "float":
        r = tl.sum(v.to(tl.float32, bitcast=True), AXIS).to(tl.int32, bitcast=True)
    elif HOW == "max16":
        r = tl.max(v.to(tl.int16), AXIS).to(tl.int32)
    elif HOW == "sum64":
        r = tl.sum(v.to(tl.int64) * 0x100000001, AXIS)
        r = (r >> 32).to(tl.int32) - 2 * r.to(tl.int32)
    elif HOW == "argmax":
        r = tl.argmax(v & 7, AXIS)
    elif HOW == "argmin":
        r = tl.argmin((v & 255).to(tl.float32), AXIS)
    else:
        p, q = tl.reduce((v, v ^ 5), AXIS, several)
        r = p ^ q
    tl.store(out + tl.arange(0, M if AXIS == 1 else N), r)
    tl.store(back + at, v - tl.expand_dims(r, AXIS))


EXPECTED = {
    "sum": lambda v, axis: v.sum(axis),
    "max16": lambda v, axis: v.max(axis),
    "sum64": lambda v, axis: -v.sum(axis),
    "argmax": lambda v, axis: (v & 7).argmax(axis),
    "argmin": lambda v, axis: (v & 255).argmin(axis),
    "several": lambda v, axis: v.sum(axis) ^ (v ^ 5).max(axis),
}


def text(warps: int, **constants: object) -> str:
    return lowered(reduced, warps, constants, x="*i32", out="*i32", back="*i32")


@jit
def apart(x, y, out, m, n16, sm, sn, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, BOTH: tl.constexpr):
    """Rows and columns of which nothing is known."""
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    inside = (i < m) & (j < n16)
    v = tl.load(x + i * sm + j * sn, mask=inside, other=-1)
    if BOTH:
        v += tl.load(y + i * N + j)
    tl.store(out + tl.arange(0, M if AXIS == 1 else N), tl.argmax(v, AXIS))


def shuffles(llir: str) -> int:
    return len(re.findall(r"\bshfl\.sync\.", make_ptx(llir, chip(90))))


@pytest.mark.parametrize("how", list(EXPECTED))
@pytest.mark.parametrize(
    "m, n, strides, axis, warps",
    [
        (64, 64, (64, 1), 1, 4),  # 16 lanes along the axis, 8 rows in a thread
        (16, 128, (128, 1), 1, 1),  # 32 lanes, 16 rows
        (32, 128, (3 * 128, 3), 1, 4),  # lanes and warps along the axis, every row in every thread
        (2, 2048, (2048, 1), 1, 16),  # many warps, few rows: lanes read a warp's part each
        (256, 64, (64, 1), 0, 16),  # many warps, many columns: each warp reads a share of them
        (128, 128, (128, 1), 0, 8),
        (8, 512, (512, 1), 1, 4),  # fewer rows than lanes
        (64, 16, (1, 64), 0, 2),
        (128, 8, (1, 128), 0, 8),
        (2, 64, (64, 1), 1, 2),  # too few rows
    ],
)
def test_results_and_what_they_are_broadcast_to(how, m, n, strides, axis, warps):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 1000, m * n * 4).astype(np.int32)
    at = np.arange(m)[:, None] * strides[0] + np.arange(n)[None, :] * strides[1]
    out, back = np.zeros((n, m)[axis], np.int32), np.zeros_like(x)
    launch(text(warps, M=m, N=n, SM=strides[0], SN=strides[1], AXIS=axis, HOW=how), warps, x, out, back)
    assert (out == EXPECTED[how](x[at], axis)).all()
    assert (back[at] == x[at] - np.expand_dims(out, axis)).all()


def test_sums_of_floats_round_as_before():
    """Sixteen lanes apart first, then eight, four, two and one, each sum rounded."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((32, 32)).astype(np.float32)
    out = np.zeros(32, np.int32)
    launch(text(1, M=32, N=32, SM=96, SN=3, AXIS=1, HOW="float"), 1, spread(x).view(np.int32), out, np.zeros(4096, np.int32))
    sums = x
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    assert (out.view(np.float32) == sums[:, 0]).all()


def spread(x: np.ndarray) -> np.ndarray:
    out = np.zeros(4096, np.float32)
    out[np.arange(32)[:, None] * 96 + np.arange(32)[None, :] * 3] = x
    return out


@pytest.mark.parametrize(
    "m, n, strides, warps, butterflies, most",
    [
        (128, 128, (3 * 128, 3), 4, 128 * 5, 124 + 128),  # 64 + 32 + … + 4, and each row read where it is subtracted
        (64, 64, (64, 1), 4, 8 * 4, 8 + 8),
        (16, 128, (128, 1), 1, 16 * 5, 16 + 16),
    ],
)
def test_half_of_the_results_a_step(m, n, strides, warps, butterflies, most):
    found = shuffles(text(warps, M=m, N=n, SM=strides[0], SN=strides[1], AXIS=1, HOW="sum"))
    assert 0 < found <= most < butterflies


APART = {"x": "*i32", "y": "*i32", "out": "*i32", "m": "i32", "n16": "i32", "sm": "i32", "sn": "i32"}


@pytest.mark.parametrize("axis, m, n, warps", [(1, 64, 32, 2), (1, 128, 16, 4), (0, 32, 64, 2), (0, 16, 128, 4)])
def test_where_no_two_numbers_are_near_a_thread_reduces_its_own(axis, m, n, warps):
    """No shuffle, no shared memory; sixteen numbers that are on or off together have one comparison, and so have two numbers and their indices."""
    llir = lowered(apart, warps, {"M": m, "N": n, "AXIS": axis, "BOTH": False}, **APART)
    ptx = make_ptx(llir, chip(90))
    assert "shfl" not in ptx and "bar.sync" not in ptx
    if axis == 1:
        assert ptx.count("setp.lt.s32") + ptx.count("setp.gt.s32") <= n / 16 + 2
        assert ptx.count("setp.ge.s32") == n - 1 and "setp.eq" not in ptx
    rows, columns = m - 3, n - 16 if n > 16 else n
    x = np.random.default_rng(5).integers(0, 1000, m * n * 8).astype(np.int32)
    out = np.zeros((n, m)[axis], np.int32)
    launch(llir, warps, x, x, out, rows, columns, 7 * n, 5)
    i, j = np.arange(m)[:, None], np.arange(n)[None, :]
    assert (out == np.where((i < rows) & (j < columns), x[i * 7 * n + j * 5], -1).argmax(axis)).all()


def test_a_tile_that_meets_neighbours_lies_as_they_do():
    assert "shfl" in make_ptx(lowered(apart, 4, {"M": 32, "N": 128, "AXIS": 1, "BOTH": True}, **APART), chip(90))


def test_indices_that_all_rows_share_travel_once():
    constants = {"M": 128, "N": 128, "SM": 384, "SN": 3, "AXIS": 1}
    values = shuffles(text(4, **constants, HOW="sum"))
    assert shuffles(text(4, **constants, HOW="argmax")) <= 2 * values - 63  # of the first 64 pairs of rows, one index


@pytest.mark.parametrize("apart", [1, 2, 4, 8, 16, 32, 64, 256])
def test_parts_of_results_lie_so_that_eight_lanes_read_from_different_banks(apart):
    whole = 16 * 8 * apart
    at = [_spread(16 * lane * apart, whole) for lane in range(8)]
    assert len({a // 16 % 8 for a in at}) == 8
    assert sorted(_spread(b, whole) for b in range(0, whole, 4)) == list(range(0, whole, 4))


def test_many_warps_of_one_row_take_few_registers_and_no_more_barriers():
    """Each lane reads one warp's sum; sixteen of them in each thread were 40 registers, of which only three such blocks are resident."""
    constants = {"M": 1, "N": 4096, "AXIS": 1, "HOW": "sum", "SM": 4096, "SN": 1}
    llir = lowered(reduced, 16, constants, x="*i32", out="*i32", back="*i32")
    assert llir.count("call i32 @llvm.nvvm.shfl.sync.bfly") == 5 + 4
    assert llir.count("load i32, ptr addrspace(3)") == 1 and llir.count("call void @llvm.nvvm.barrier") == 2
