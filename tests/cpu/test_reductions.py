"""Reductions of several values, whose last lanes are combined as scalars."""

from __future__ import annotations

import numpy as np
import pytest
from differential import same

import anytile.language as tl


def places_kernel(x, least, most, N: tl.constexpr):
    a = tl.load(x + tl.arange(0, N))
    tl.store(least, tl.argmin(a, 0))
    tl.store(most, tl.argmax(a, 0))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int8"])
@pytest.mark.parametrize("n", [2, 4, 8, 16, 64, 1024])
def test_the_place_of_an_extremum(dtype: str, n: int) -> None:
    """With AVX-512, LLVM 22 compared doubles with themselves where only the first lane of a comparison was wanted."""
    for seed in range(5):
        x = np.random.default_rng(seed).integers(-100, 100, n).astype(dtype)
        out = same(places_kernel, x=x, least=np.zeros(1, "int32"), most=np.zeros(1, "int32"), N=n)
        assert (out["least"][0], out["most"][0]) == (x.argmin(), x.argmax())
