"""Masks of 64-bit positions that are compared in 32 bits: the same masks, on the reference executor."""

from __future__ import annotations

import struct

import numpy as np
import pytest

import anytile.language as tl
from anytile.ir.verifier import verify
from anytile.passes.pipeline import optimize
from anytile.runtime.compiler import ASTSource, Options
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia.short_masks import short_masks
from anytile.targets.reference import ReferenceTarget


@jit
def inside(out, n, first, PRED: tl.constexpr, N: tl.constexpr):
    """Which positions are below n (and so on): rows of a tile whose first position is a number times 2**24."""
    i = tl.arange(0, N)
    rows = first.to(tl.int64) * 16777216 + i
    if PRED == "slt":
        mask = rows < n
    if PRED == "sle":
        mask = rows <= n
    if PRED == "sgt":
        mask = n > rows[:, None]
        mask = tl.sum(mask.to(tl.int32), 1) > 0
    if PRED == "sge":
        mask = rows >= n
    tl.store(out + i, mask.to(tl.int32))


def module_of(pred: str, kind: str = "i32", warps: int = 1):
    signature = {"out": "*i32", "n": kind, "first": "i32", "PRED": "constexpr", "N": "constexpr"}
    source = ASTSource(inside, signature, {"PRED": pred, "N": 64})
    module = source.make_module(Options.of({"num_warps": warps}, GPUTarget("cuda", 90, 32), "k"))
    optimize(module)
    return module


def bits(module) -> list[int]:
    return [op.operands[0].type.elem.bits for op in module.walk() if op.name == "icmp" and not op.operands[0].type.is_scalar]


@pytest.mark.parametrize("pred", ["slt", "sle", "sgt", "sge"])
def test_the_same_masks(pred):
    module = module_of(pred)
    assert bits(module)[0] == 64
    assert short_masks(module)
    verify(module)
    assert bits(module)[0] == 32
    compare = {"slt": np.less, "sle": np.less_equal, "sgt": np.less, "sge": np.greater_equal}[pred]
    kernel = ReferenceTarget().load(ReferenceTarget().compile(module))
    for first in (0, 1, 127, 128, -1, -128, 1 << 30, -(1 << 30)):
        for n in (0, 1, 63, 64, -1, 16777216 + 5, (1 << 31) - 1, (1 << 31) - 70, -(1 << 31), -(1 << 31) + 20):
            out = np.zeros(64, np.int32)
            kernel.run(struct.pack("<Qqq", out.ctypes.data, n, first), 1, 1, 1)
            assert (out == compare(first * 16777216 + np.arange(64), n)).all(), (first, n)


def test_a_number_of_64_bits_may_be_too_far_away():
    assert not short_masks(module_of("slt", "i64"))


def test_few_positions_for_a_warp_are_left_as_they_are():
    assert short_masks(module_of("slt", warps=2)) and not short_masks(module_of("slt", warps=4))
