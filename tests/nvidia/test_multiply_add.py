"""Dots by multiply-adds, executed without a GPU: what they compute, what they read, and where their results lie."""

from __future__ import annotations

import re

import numpy as np
import pytest
from lockstep import launch, lowered

import anytile.language as tl
from anytile.runtime.jit import jit
from anytile.targets.nvidia.multiply_add import result_place


@jit
def product(
    a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, AM: tl.constexpr, AK: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr
):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + m[:, None] * AM + k[None, :] * AK)
    y = tl.load(b + k[:, None] * BK + n[None, :] * BN)
    z = tl.load(out + m[:, None] * N + n[None, :])
    tl.store(out + m[:, None] * N + n[None, :], tl.dot(x, y, z, input_precision="ieee", out_dtype=z.dtype))


@jit
def batches(a, b, out, L: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, m, n, k = tl.arange(0, L)[:, None, None], tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + i * (M * K) + m[None, :, None] * K + k[None, None, :])
    y = tl.load(b + i * (K * N) + k[None, :, None] * N + n[None, None, :])
    tl.store(out + i * (M * N) + m[None, :, None] * N + n[None, None, :], tl.dot(x, y, input_precision="ieee"))


def text(m, n, k, warps, at="*fp32", bt="*fp32", ot="*fp32", turned=False):
    strides = {"AM": 1, "AK": m, "BK": 1, "BN": k} if turned else {"AM": k, "AK": 1, "BK": n, "BN": 1}
    return lowered(product, warps, {"M": m, "N": n, "K": k, **strides}, a=at, b=bt, out=ot)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "m, n, k, warps",
    [
        (16, 16, 16, 8),  # an element a thread
        (16, 16, 16, 1),  # two rows of four
        (32, 32, 64, 4),
        (64, 64, 64, 4),  # a loop along k
        (8, 16, 32, 4),  # copies in half of the threads
        (4, 4, 128, 2),
        (64, 2, 8, 4),
        (16, 64, 4, 1),
        (2, 128, 2, 2),
    ],
)
def test_products(m, n, k, warps, turned):
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(-8, 8, shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    out = c.copy()
    x, y = (np.ascontiguousarray(v.T) if turned else v for v in (a, b))
    launch(text(m, n, k, warps, turned=turned), warps, x, y, out)
    assert (out == a @ b + c).all()


@pytest.mark.parametrize("at, ot, t", [("*fp64", "*fp64", np.float64), ("*i8", "*i32", np.int8), ("*fp16", "*fp32", np.float16)])
@pytest.mark.parametrize("m, n, k", [(8, 8, 32), (8, 64, 32)])
def test_element_types(at, ot, t, m, n, k):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-8, 8, shape).astype(t) for shape in ((m, k), (k, n)))
    out = np.zeros((m, n), {np.float16: np.float32, np.int8: np.int32}.get(t, t))
    launch(text(m, n, k, 4, at, at, ot), 4, a, b, out)
    assert (out == a.astype(np.float64) @ b.astype(np.float64)).all()


@pytest.mark.parametrize("shape, warps", [((4, 8, 8, 16), 4), ((2, 16, 16, 16), 1)])
def test_batches(shape, warps):
    count, m, n, k = shape
    rng = np.random.default_rng(3)
    a, b = rng.integers(-8, 8, (count, m, k)).astype(np.float32), rng.integers(-8, 8, (count, k, n)).astype(np.float32)
    out = np.zeros((count, m, n), np.float32)
    launch(lowered(batches, warps, dict(zip("LMNK", shape, strict=True)), a="*fp32", b="*fp32", out="*fp32"), warps, a, b, out)
    assert (out == a @ b).all()


def reads(llir: str) -> list[str]:
    return re.findall(r"= load (.*?), ptr addrspace\(3\)", llir)


def test_threads_have_one_element_each_and_read_it_by_sixteen_bytes():
    """16×16 in eight warps once was four elements in each of 64 threads, and copies in the others."""
    place = result_place((16, 16), 8)
    assert place.registers == 1 and place.owners == 0
    llir = text(16, 16, 16, 8)
    assert llir.count("call float @llvm.fma.f32") == 16 and reads(llir) == ["<4 x float>"] * 8


def test_many_products_are_a_loop_that_holds_few_operands():
    llir = text(64, 64, 64, 4)
    assert llir.count("call float @llvm.fma.f32") == 32 * 4 and reads(llir) == ["<4 x float>"] * (8 + 4)
