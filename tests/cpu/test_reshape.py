"""Tiles that are stored in another shape than they are computed in."""

from __future__ import annotations

import numpy as np
import pytest
from differential import OPTIONS, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current
from anytile.targets.cpu.shape import runs


@pytest.mark.parametrize(
    ("src", "dst", "expected"),
    [
        ((8, 512), (8, 32, 16), [([0], [0]), ([1], [1, 2])]),
        ((8, 256, 2), (8, 32, 16), [([0], [0]), ([1, 2], [1, 2])]),
        ((4, 1, 8), (1, 32), [([0, 2], [1])]),
        ((2, 8, 1, 4), (16, 4), [([0, 1], [0]), ([3], [1])]),
        ((1, 1), (1,), []),
        ((64,), (2, 2, 16), [([0], [0, 1, 2])]),
    ],
)
def test_runs_of_dimensions_that_correspond(src, dst, expected):
    assert list(runs(src, dst)) == expected
    assert list(runs(dst, src)) == [(theirs, mine) for mine, theirs in expected]


def scaled_groups(p, scale, o, n, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, TWICE: tl.constexpr):
    r, c = tl.arange(0, A), tl.arange(0, B)
    byte = tl.load(p + r[:, None] * B + c[None, :], mask=c[None, :] < n, other=7)
    low, high = (byte & 15).to(tl.float32), (byte >> 4).to(tl.float32)
    for _ in tl.static_range(3):
        low, high = low * low - high, high * 3 + low
    g = tl.arange(0, 2 * B // C)
    s = tl.load(scale + r[:, None] * (2 * B // C) + g[None, :])
    x = tl.reshape(tl.join(low, high), (A, 2 * B // C, C)) * tl.sqrt(s / 3)[:, :, None]
    y = tl.reshape(x, (A, 2 * B))
    oc = tl.arange(0, 2 * B)
    tl.store(o + r[:, None] * (2 * B) + oc[None, :], y, mask=oc[None, :] < 2 * n)
    if TWICE:
        tl.store(o + A * 2 * B + r[:, None] * (2 * B) + oc[None, :], y + 1)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("a", "b", "c"), [(8, 64, 16), (4, 32, 32), (2, 16, 4), (1, 64, 16), (16, 8, 16)])
@pytest.mark.parametrize("n", [0, 5, 64])
def test_pairs_scaled_by_groups(a, b, c, n, twice):
    p = (np.arange(a * b) * 37 % 256).astype(np.int32)
    scale = np.arange(2 * a * b // c, dtype=np.float32) + 1
    same(scaled_groups, rtol=1e-6, p=p, scale=scale, o=np.zeros(4 * a * b, np.float32), n=min(n, b), A=a, B=b, C=c, TWICE=twice)


def test_what_is_joined_and_stored_needs_buffers_for_the_pairs_and_the_groups_only():
    signature = {"p": "*i32", "scale": "*fp32", "o": "*fp32", "n": "i32", "A": "constexpr", "B": "constexpr", "C": "constexpr"}
    constants = {(4,): 8, (5,): 64, (6,): 16, (7,): False}
    module = trace(JITCallable(scaled_groups), signature | {"TWICE": "constexpr"}, constants, {}, OPTIONS)
    text = lower(module, OPTIONS, current())[1]
    assert text.count("getelementptr i8, ptr %scratch") == 2


def regrouped(p, o, n, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, A)[:, None, None] * (B * C) + tl.arange(0, B)[None, :, None] * C + tl.arange(0, C)[None, None, :]
    x = tl.load(p + i, mask=i < n, other=1.0)
    y = tl.sqrt(x) / (x + 1) + x
    j = tl.arange(0, A * B)[:, None] * C + tl.arange(0, C)[None, :]
    tl.store(o + j, tl.reshape(y, (A * B, C)), mask=j < n)
    k = tl.arange(0, A)[:, None] * (B * C) + tl.arange(0, B * C)[None, :]
    tl.store(o + A * B * C + k, tl.reshape(y * 2, (A, B * C)))


@pytest.mark.parametrize("n", [0, 77, 1024])
@pytest.mark.parametrize(("a", "b", "c"), [(4, 8, 32), (2, 2, 16), (8, 16, 2), (1, 4, 64)])
def test_dimensions_that_are_merged(a, b, c, n):
    p = np.arange(a * b * c, dtype=np.float32)
    same(regrouped, rtol=1e-6, p=p, o=np.zeros(2 * a * b * c, np.float32), n=n, A=a, B=b, C=c)
