"""Tiles that fill the registers: loaded 16-bit numbers are widened for each user, and light branches are computed always."""

from __future__ import annotations

import re

import pytest
from test_packing import ptx

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def logsumexp(x, out, label, has_label, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    row = tl.load(x + column, mask=column < BLOCK - 96, other=-float("inf")).to(tl.float32)
    top = tl.max(row, 0)
    e = tl.exp(row - top)
    if has_label != 0:
        e = tl.where(column == label, 0.0, e)
    tl.store(out, top + tl.log(tl.sum(e, 0)))


TYPES = {"out": "*fp32", "label": "i32", "has_label": "i32"}


def widenings(text: str, t: str) -> int:
    return len(re.findall(r"shl\.b32\s+\S+ \S+ 16;|and\.b32\s+\S+ \S+ -65536;" if t == "*bf16" else r"cvt\.f32\.f16", text))


@pytest.mark.parametrize("t", ["*bf16", "*fp16"])
def test_each_user_widens_for_itself(t):
    large = ptx(logsumexp, 90, 32, {"BLOCK": 65536}, x=t, **TYPES)
    assert widenings(large, t) == 2 * 64, "64 numbers of a thread, for the maximum and for the sum"
    small = ptx(logsumexp, 90, 32, {"BLOCK": 16384}, x=t, **TYPES)
    assert widenings(small, t) == 16, "where registers are plenty, once for all"


def test_nothing_is_spilled():
    source = ASTSource(logsumexp, {"x": "*bf16", **TYPES, "BLOCK": "constexpr"}, {"BLOCK": 65536}, {(0,): [["tt.divisibility", 16]]})
    resources = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 32}).metadata.resources
    assert resources["registers"] <= 64 and resources["stack"] == 0


def test_light_branches_are_computed_always():
    text = ptx(logsumexp, 90, 4, {"BLOCK": 512}, x="*bf16", **TYPES)
    between = text[text.index("ex2.approx") :]
    assert "bra" not in between[: between.index("bar.sync")], "the sum begins behind the exponentials"


@jit
def scaled_product(x, y, out, N: tl.constexpr):
    """A tile of which a dot's operand is made, and which is stored itself."""
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tile, other = tl.load(x + at), tl.load(y + at)
    half = (tile.to(tl.float32) * 0.3).to(tl.bfloat16)
    tl.store(out + at, tl.dot(half, other))
    tl.store(out + N * N + at, tile.to(tl.float32) + 1.0)


@pytest.mark.parametrize(("warps", "times"), [(2, 2), (4, 1)])
def test_beside_dots_a_quarter_of_a_threads_registers_is_too_many(warps, times):
    text = ptx(scaled_product, 90, warps, {"N": 64}, x="*bf16", y="*bf16", out="*fp32")
    assert widenings(text, "*bf16") == times * 64 * 64 // (32 * warps)
