"""Rounding to bf16: every NaN stays one, also where code does not look for NaNs in tiles, or only in the scalars that come in."""

from __future__ import annotations

import re

import numpy as np
import pytest
from differential import OPTIONS, launch

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.runtime.jit import jit
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import named

CPU = CpuTarget()

#: Bits of f32: NaNs of all kinds, infinities, ordinary and subnormal numbers.
ODD = np.array(
    [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF80FFFF, 0x7FC00000, 0xFFC00000, 0x7F800000, 0xFF800000, 0x3FC00000, 0, 1], np.uint32
)
PAIRS = np.array([(a, b) for a in ODD for b in ODD], np.uint32).view(np.float32)
X = np.resize(np.array([0x3F80, 0xBF80, 0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x0000, 0x8001, 0x4049], np.uint16), 64).view(np.int16)


def scaled_kernel(x, s, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    row = tl.program_id(0)
    a, b = tl.load(s + 2 * row), tl.load(s + 2 * row + 1)
    v = tl.load(x + i).to(tl.bfloat16, bitcast=True)
    tl.store(o + row * B + i, (v.to(tl.float32) * a + b).to(tl.bfloat16).to(tl.int16, bitcast=True))


def carried_kernel(x, s, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    row = tl.program_id(0)
    a = 0.0
    for k in range(n):
        a += tl.load(s + 2 * row + k)
    v = tl.load(x + i).to(tl.bfloat16, bitcast=True)
    tl.store(o + row * B + i, (tl.where(v > 0, a, -a) * v.to(tl.float32)).to(tl.bfloat16).to(tl.int16, bitcast=True))


def rows_kernel(x, s, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    row = tl.program_id(0)
    v = tl.load(x + i).to(tl.bfloat16, bitcast=True)
    tl.store(o + row * B + i, (v.to(tl.float32) + tl.load(s + 2 * row + i % n)).to(tl.bfloat16).to(tl.int16, bitcast=True))


def copied_kernel(x, s, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    row = tl.program_id(0)
    a = tl.broadcast_to(tl.load(s + 2 * row), (B,))
    v = tl.load(x + i).to(tl.bfloat16, bitcast=True)
    tl.store(o + row * 2 * B + i, (v.to(tl.float32) * a).to(tl.bfloat16).to(tl.int32))
    tl.store(o + row * 2 * B + B + i, a.to(tl.int32, bitcast=True))


def wide(x: np.ndarray) -> np.ndarray:
    """What bf16 with these bits are, in f32."""
    return (x.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """Bits of f32 rounded to bf16; 0x7FC0 for any NaN."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return np.where(np.isnan(x), np.uint16(0x7FC0), ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16))


def expected(kernel, x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if kernel is scaled_kernel:
        return (x.astype(np.float64) * a + b).astype(np.float32)
    if kernel is carried_kernel:
        total = a + b
        return np.where(x > 0, total, -total) * x
    return x + np.where(np.arange(64) % 2, b, a)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kernel", [scaled_kernel, carried_kernel, rows_kernel])
def test_nans_of_all_kinds_stay_nans(kernel):
    o = np.zeros((len(PAIRS), 64), np.int16)
    launch(CPU, kernel, (len(PAIRS), 1, 1), x=X, s=PAIRS.copy(), o=o, n=2, B=64)
    want = rounded(expected(kernel, wide(X), PAIRS[:, :1], PAIRS[:, 1:]))
    got = o.view(np.uint16)
    assert ((got == want) | (got & 0x7FFF > 0x7F80) & (want == 0x7FC0)).all()


def test_a_scalar_that_is_copied_keeps_its_bits():
    o = np.zeros((len(PAIRS), 128), np.int32)
    launch(CPU, copied_kernel, (len(PAIRS), 1, 1), x=X, s=PAIRS.copy(), o=o, n=2, B=64)
    assert (o[:, 64:] == PAIRS[:, :1].view(np.int32)).all()


@jit
def first_sum(a, i, b, j):
    return a + b, i


def mixed_kernel(x, s, o, n, B: tl.constexpr):
    i = tl.arange(0, 8 * B)
    v = tl.load(x + i % B).to(tl.bfloat16, bitcast=True).to(tl.float32)
    pairs = tl.reshape(v, (8, B)), tl.zeros((8, B), tl.int32) + n
    total, _ = tl.reduce(pairs, 0, first_sum)
    tl.store(o + tl.arange(0, B), (total * 0.5).to(tl.bfloat16).to(tl.int16, bitcast=True))


@pytest.mark.filterwarnings("ignore")
def test_integers_that_are_reduced_beside_are_not_asked_for_nans():
    o = np.zeros(64, np.int16)
    launch(CPU, mixed_kernel, (1, 1, 1), x=X, s=PAIRS.copy(), o=o, n=2, B=64)
    want = rounded(wide(X) * 4)
    got = o.view(np.uint16)
    assert ((got == want) | (got & 0x7FFF > 0x7F80) & (want == 0x7FC0)).all()


@pytest.mark.parametrize("machine", ["avx512", "avx2", "neon"])
@pytest.mark.parametrize(("kernel", "looks"), [(scaled_kernel, False), (carried_kernel, False), (rows_kernel, True)])
def test_where_tiles_are_looked_at_for_nans(kernel, looks, machine):
    signature = {"x": "*i16", "s": "*fp32", "o": "*i16", "n": "i32", "B": "constexpr"}
    module = trace(JITCallable(kernel), signature, {(4,): 64}, {}, OPTIONS)
    assert bool(re.search(r"fcmp uno <\d+ x float>", lower(module, OPTIONS, named(machine))[1])) == looks
