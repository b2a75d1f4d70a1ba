"""Masks of two-dimensional tiles: whole tiles are computed without them, others with them, and both right."""

from __future__ import annotations

import numpy as np
import pytest
from differential import OPTIONS, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import named


def scaled_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    i = tl.program_id(0) * M + tl.arange(0, M)
    j = tl.program_id(1) * N + tl.arange(0, N)
    inside = (i[:, None] < m) & (j[None, :] < n)
    x = tl.load(p + i[:, None] * n + j[None, :], mask=inside, other=7.0)
    tl.store(o + i[:, None] * n + j[None, :], x * 2 + tl.where(inside, 1.0, 5.0), mask=inside)


def band_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    """A mask that holds at the last corner and not everywhere."""
    i = tl.program_id(0) * M + tl.arange(0, M)
    j = tl.program_id(1) * N + tl.arange(0, N)
    inside = (i[:, None] + 3 > j[None, :]) & (i[:, None] < m) & (j[None, :] < n)
    x = tl.load(p + i[:, None] * n + j[None, :], mask=inside, other=7.0)
    tl.store(o + i[:, None] * n + j[None, :], x + 1, mask=inside)


def other_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    """The loads are masked, the stores are not."""
    i, j = tl.arange(0, M), tl.arange(0, N)
    x = tl.load(p + i[:, None] * N + j[None, :], mask=(i[:, None] < m) & (j[None, :] <= n), other=7.0)
    tl.store(o + i[:, None] * N + j[None, :], x)


@pytest.mark.parametrize("size", [(32, 64), (20, 64), (32, 37), (17, 5)], ids=str)
@pytest.mark.parametrize("kernel", [scaled_kernel, band_kernel])
def test_tiles_that_stick_out(kernel, size):
    m, n = size
    p = np.arange(m * n, dtype="float32")
    same(kernel, grid=(2, 2), o=np.zeros(m * n, "float32"), p=p, m=m, n=n, M=16, N=32)


@pytest.mark.parametrize("size", [(16, 32), (16, 31), (15, 31), (0, 0), (-3, 40)], ids=str)
def test_loads_that_stick_out(size):
    m, n = size
    same(other_kernel, o=np.zeros(512, "float32"), p=np.arange(512, dtype="float32"), m=m, n=n, M=16, N=32)


def halo_kernel(o, p, before, n, WIDE: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    """Both ends of a row by one comparison, of unsigned numbers or of what they are in 64 bits."""
    i, j = tl.arange(0, M), tl.arange(0, N)
    from_first = j.to(tl.uint32) - before.to(tl.uint32)
    if WIDE:
        inside = (from_first.to(tl.int64) < n)[None, :]
    else:
        inside = (from_first < n.to(tl.uint32))[None, :]
    at = i[:, None] * N + j[None, :]
    x = tl.load(p + at, mask=inside, other=7.0)
    tl.store(o + at, x + 1, mask=inside & (j < n)[None, :])


@pytest.mark.parametrize("before, n", [(3, 70), (3, 40), (3, 20), (0, 29), (-5, 33), (40, 8)])
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("wide", [False, True])
def test_unsigned_positions_that_begin_below_zero(wide, rows, before, n):
    p = np.arange(rows * 64, dtype="float32")
    same(halo_kernel, o=np.zeros(rows * 64, "float32"), p=p, before=before, n=n, WIDE=wide, M=rows, N=64)


def exists_twice(kernel, machine):
    names = {"o": "*fp32", "p": "*fp32", "m": "i32", "n": "i32", "M": "constexpr", "N": "constexpr"}
    text = lower(trace(JITCallable(kernel), names, {(4,): 16, (5,): 32}, {}, OPTIONS), OPTIONS, named(machine))[1]
    return "inside" in text


def test_where_a_nest_exists_twice():
    assert exists_twice(scaled_kernel, "avx512") and exists_twice(other_kernel, "avx512")
    assert not exists_twice(band_kernel, "avx512")
    assert not exists_twice(scaled_kernel, "avx2")
