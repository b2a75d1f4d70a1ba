"""Pointers that move together share one step; those that do not, do not."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.passes.pipeline import optimize
from anytile.runtime.compiler import ASTSource, Options
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def sums(x, y, out, n, sy, N: tl.constexpr, SX: tl.constexpr, TWICE: tl.constexpr):
    i = tl.arange(0, N)
    p, q, o = x + i, y + i, out + i
    total = tl.zeros([N], tl.float32)
    for _ in range(n):
        total += tl.load(p) * tl.load(q)
        tl.store(o, total)
        p += SX
        q += sy if TWICE else SX
        o += SX
    tl.store(out + n * SX + i, total)


@pytest.mark.parametrize("twice, scalars", [(False, 1), (True, 2)])
def test_scalars_with_one_step_are_one(twice, scalars):
    signature = {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32", "sy": "i32"}
    constants = {"N": 16, "SX": 16, "TWICE": twice}
    source = ASTSource(sums, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
    module = source.make_module(Options.of({}, GPUTarget("cuda", 90, 32), "sums"))
    optimize(module)
    (loop,) = [op for op in module.walk() if op.name == "for"]
    assert sum(not r.type.shape for r in loop.results) == scalars


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("twice", [False, True])
def test_results(n, twice):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, 256)).astype(np.float32)
    out = np.zeros(256, np.float32)
    step = 32 if twice else 16
    sums[(1,)](x, y, out, n, step, N=16, SX=16, TWICE=twice)
    want = np.zeros_like(out)
    total = np.zeros(16, np.float32)
    for k in range(n):
        total += x[16 * k : 16 * k + 16] * y[step * k : step * k + 16]
        want[16 * k : 16 * k + 16] = total
    want[16 * n : 16 * n + 16] = total
    np.testing.assert_allclose(out, want, rtol=1e-6)
