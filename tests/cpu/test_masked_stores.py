"""A masked store writes the lanes of its mask and nothing behind them."""

from __future__ import annotations

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


def part_kernel(x, out, FIRST: tl.constexpr, END: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i) + 1, mask=(i >= FIRST) & (i < END))


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "float16", "float32"])
@pytest.mark.parametrize("source", ["int32", "int64", "float64"])
def test_masks_that_are_known(source: str, kind: str) -> None:
    """With AVX-512, LLVM 22 stored a lone lane at the length that it had before it was shortened."""
    for n in (2, 8, 16, 32, 64):
        for first, end in ((0, 1), (n - 1, n), (1, n // 2 + 1)):
            out = np.full(n + 8, 9, kind)
            launch(CpuTarget(), part_kernel, (1, 1, 1), x=np.arange(n).astype(source), out=out, FIRST=first, END=end, N=n)
            want = np.full(n + 8, 9, kind)
            want[first:end] = np.arange(first, end) + 1
            np.testing.assert_array_equal(out, want)
