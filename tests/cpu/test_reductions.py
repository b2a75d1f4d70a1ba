"""Reductions of several values, whose last lanes are combined as scalars."""

from __future__ import annotations

import re

import numpy as np
import pytest
from differential import OPTIONS, same, traced

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


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


def two_sums(x, w, o, N: tl.constexpr, TYPE: tl.constexpr):
    i = tl.arange(0, N)
    squares = weighted = 0.0
    for row in range(4):
        values = tl.load(x + row * N + i).to(TYPE)
        weight = tl.load(w + row).to(TYPE)
        squares += tl.sum(values * values).to(tl.float32)
        weighted += tl.sum(values * weight).to(tl.float32)
    tl.store(o, squares)
    tl.store(o + 1, weighted)


def test_scalars_between_two_sums_do_not_part_them():
    """In bfloat16 a sum is rounded, and a weight widened, by scalars that stand between the sums: they share a loop as in float32."""
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((4, 2048)).astype("float32"), rng.standard_normal(4).astype("float32")
    loops = {}
    for kind, rtol in ((tl.float32, 1e-4), (tl.bfloat16, 2e-2)):
        module, _ = traced(two_sums, x=x, w=w, o=np.zeros(2, "float32"), N=2048, TYPE=kind)
        text = CpuTarget().compile(module, OPTIONS).stages["llir"]
        loops[str(kind)] = len(re.findall(r"^loop\d*:", text, re.MULTILINE))
        got = same(two_sums, x=x, w=w, o=np.zeros(2, "float32"), N=2048, TYPE=kind, rtol=rtol)["o"]
        np.testing.assert_allclose(got[0], (x * x).sum(), rtol=rtol)
    assert loops["bf16"] == loops["fp32"], loops
