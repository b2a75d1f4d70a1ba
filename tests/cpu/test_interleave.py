"""Joins that are written to memory, and buffers that are read in another shape."""

from __future__ import annotations

import numpy as np
import pytest
from differential import same

import anytile.language as tl


def unpack(p, s, o, n, ROWS: tl.constexpr, B: tl.constexpr):
    r, c = tl.arange(0, ROWS), tl.arange(0, B)
    byte = tl.load(p + r[:, None] * B + c[None, :], mask=(c < n)[None, :], other=0)
    low, high = (byte & 15) - 8, (byte >> 4) & 15
    both = tl.join(low.to(tl.float32) * 1.5 + 1, high.to(tl.float32) * low.to(tl.float32) - 2)
    values = tl.reshape(both, (ROWS, B // 4, 8))
    scale = tl.load(s + r[:, None] * (B // 4) + tl.arange(0, B // 4)[None, :])
    out = tl.reshape(values * scale[:, :, None], (ROWS, 2 * B))
    at = tl.arange(0, 2 * B)
    tl.store(o + r[:, None] * 2 * B + at[None, :], out, mask=(at < 2 * n)[None, :])


@pytest.mark.parametrize("n", [0, 7, 64])
@pytest.mark.parametrize("rows", [1, 4])
def test_numbers_unpacked_from_bytes(rows, n):
    p = (np.arange(rows * 64) * 37 % 256).astype(np.int32)
    s = np.arange(rows * 16, dtype=np.float32) + 1
    same(unpack, p=p, s=s, o=np.zeros(rows * 128, np.float32), n=n, ROWS=rows, B=64)


def join_twice(p, o, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(p + i)
    pairs = tl.join(x, x * 2)
    fours = tl.join(pairs, pairs + 100)
    tl.store(o + tl.arange(0, 4 * B), tl.sort(tl.reshape(fours, (4 * B,))))


def join_of_bools(p, o, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(p + i)
    both = tl.reshape(tl.join(x > 3, x % 2 == 0), (2 * B,))
    tl.store(o + tl.arange(0, 2 * B), tl.gather(both.to(tl.float32), 2 * B - 1 - tl.arange(0, 2 * B), axis=0))


@pytest.mark.parametrize("size", [1, 2, 16, 64])
@pytest.mark.parametrize("kernel", [join_twice, join_of_bools])
def test_joins(kernel, size):
    same(kernel, p=np.arange(size, dtype=np.float32), o=np.zeros(4 * size, np.float32), B=size)


def pairs_before_stores(p, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    pairs = tl.join(tl.load(p + i + 1).to(tl.int8), tl.load(p + i).to(tl.int8))  # so much that it gets a buffer
    kept, k = tl.full((B, 2), 5, tl.int8), 0
    while k < n:  # the loop puts the pairs, as they were read before it, into a tile that it carries
        tl.store(p + i, kept.sum(1) + k)
        kept = pairs
        k += 1
    tl.store(o + tl.arange(0, 2 * B), tl.reshape(kept, (2 * B,)))


@pytest.mark.parametrize("size", [2, 16, 64])
def test_a_join_is_of_what_was_loaded(size):
    p = np.arange(size + 1, dtype=np.int32) * 7 + 3
    same(pairs_before_stores, p=p, o=np.zeros(2 * size, np.int8), n=3, B=size)
