"""What keeps compiling short: few instructions for the assembler, none that it would only take out again; read off the PTX."""

from __future__ import annotations

import re

import nvidia_kernels as kernels
import pytest
from test_packing import ptx

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def shares(x, out, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    v = tl.load(x + at).to(tl.float32)
    tl.store(out + at, (v / tl.sum(v, axis=1)[:, None]).to(out.dtype.element_ty))


@jit
def quotients(x, y, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i) / tl.load(y + i))


def test_quotients_of_one_divisor_share_its_reciprocal():
    text = ptx(shares, x="*fp32", out="*fp32", constants={"M": 1, "N": 2048})
    assert text.count("rcp.approx.ftz.f32") == 1 and "div.full" not in text


def test_quotients_of_a_few_are_divided():
    text = ptx(quotients, x="*fp32", y="*fp32", out="*fp32", constants={"N": 1024})
    assert text.count("div.full.f32") == 8 and "rcp.approx" not in text


@jit
def exact_quotients(x, y, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.div_rn(tl.load(x + i), tl.load(y)))


def test_quotients_that_are_to_be_exact_share_nothing():
    text = ptx(exact_quotients, x="*fp32", y="*fp32", out="*fp32", constants={"N": 1024})
    assert text.count("div.rn.f32") == 8 and "rcp.approx" not in text


def test_words_of_pairs_are_neither_unpacked_nor_packed():
    """bf16 is widened by a shift or a mask; what is made in pairs is stored in pairs."""
    text = ptx(shares, x="*bf16", out="*bf16", constants={"M": 1, "N": 2048})
    assert "cvt.f32.bf16" not in text and not re.search(r"mov\.b32 \t\{|mov\.b32 \t%r\d+, \{", text)
    assert text.count("cvt.rn.bf16x2.f32") == 8


@pytest.mark.parametrize("stages", [3, 4])
def test_the_first_copies_of_a_ring_are_a_loop(stages):
    """Nobody unrolls it, and it has as many copies as the loop behind it."""
    constants = {"M": 64, "N": 64, "K": 32, "PRECISION": None, "OUT": tl.float32, "TURN_X": False, "TURN_Y": False, "IMPRECISE": None}
    signature = {"x_ptr": "*fp16", "y_ptr": "*fp16", "out_ptr": "*fp32", "steps": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(kernels.product, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    text = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": stages}).asm["ptx"]
    fill, loop = text.split("cp.async.commit_group")[:2]
    assert '.pragma "nounroll";' in fill and fill.count("cp.async.c") == loop.count("cp.async.c") > 0


@jit
def row_sums(x, out, stride, n, M: tl.constexpr, N: tl.constexpr):
    rows, columns = tl.arange(0, M), tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, n, M):
        total += tl.load(x + (start + rows)[:, None] * stride + columns[None, :])
    tl.store(out + rows[:, None] * N + columns[None, :], total)


def test_what_a_loop_does_not_change_is_added_in_front_of_it():
    """One addition for each address of a row, not one for the row and one for the columns."""
    text = ptx(row_sums, x="*fp32", out="*fp32", stride="i32", n="i32", constants={"M": 32, "N": 64})
    label = re.search(r"\n(\$L__BB0_\d+):", text)[1]
    loop = text[text.index(f"\n{label}:") : text.rindex(f"{label};")]
    assert loop.count("add.s64") == loop.count("ld.global.b32") == 16


@jit
def softmax(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    weights = tl.exp(tl.load(x + i))
    tl.store(out + i, weights / tl.sum(weights, 0))


def test_quotients_by_a_sum_of_exponentials_need_no_scale():
    """Such a sum is zero or normal; others may be subnormal, whose reciprocals are infinite."""
    text = ptx(softmax, x="*fp32", out="*fp32", constants={"N": 2048})
    assert text.count("rcp.approx.f32") == 1 and "rcp.approx.ftz" not in text
    assert len(re.findall(r"\tmul[.\w]*f32", text[text.index("rcp.approx") :])) == 16
