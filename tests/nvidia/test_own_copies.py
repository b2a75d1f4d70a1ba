"""Loads that no dot reads, ahead of a loop that asks for it: the PTX of a kernel for Hopper."""

from __future__ import annotations

import re

import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


def made(fn, types, arch=90, **constants):
    """The compiled kernel; pointers and integers are multiples of 16."""
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    attributes = {(i,): [["tt.divisibility", 16]] for i in range(len(types))}
    return compile(ASTSource(fn, signature, constants, attributes), target=GPUTarget("cuda", arch, 32), options={"num_warps": 4})


def loop_of(ptx: str) -> str:
    """The text of the only loop: from its label to the branch back."""
    label = next(m for m in re.findall(r"\n(\$L__\w+):", ptx) if re.search(rf"bra(\.uni)?\s+{re.escape(m)};", ptx[ptx.index(f"\n{m}:") :]))
    return ptx[ptx.index(f"\n{label}:") : ptx.rindex(f"{label};")]


@jit
def column_sums(x_ptr, out_ptr, n, m, STAGES: tl.constexpr, R: tl.constexpr, C: tl.constexpr, OTHER: tl.constexpr, STORE: tl.constexpr):
    columns = tl.program_id(0) * C + tl.arange(0, C)
    acc = tl.zeros((R, C), tl.float32)
    for start in tl.range(0, n, R, num_stages=STAGES):
        rows = start + tl.arange(0, R)
        inside = (rows < n)[:, None] & (columns < m)[None, :]
        acc += tl.load(x_ptr + rows[:, None] * m + columns[None, :], mask=inside, other=OTHER)
        if STORE:
            tl.store(out_ptr + columns, tl.sum(acc, 0))
    tl.store(out_ptr + columns, tl.sum(acc, 0), mask=columns < m)


def sums(stages, arch=90, rows=64, other=0.0, store=False, x="fp32"):
    types = {"x_ptr": f"*{x}", "out_ptr": "*fp32", "n": "i32", "m": "i32"}
    return made(column_sums, types, arch, STAGES=stages, R=rows, C=64, OTHER=other, STORE=store)


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_each_thread_copies_for_itself(stages):
    """64×64 floats by 128 threads: eight copies of 16 bytes an iteration, and no thread waits for another."""
    kernel = sums(stages)
    ptx = kernel.asm["ptx"]
    assert (
        len(re.findall(r"cp\.async\.cg\.shared\.global \[%\w+\+\d+\], \[%\w+\], 16", ptx)) == 8 * stages
    )  # stages - 1 in front, one inside
    assert "ld.global" not in ptx and kernel.metadata.shared == stages * 64 * 64 * 4
    loop = loop_of(ptx)
    assert f"cp.async.wait_group {stages - 2};" in loop and "bar.sync" not in loop
    assert len(re.findall(r"ld\.shared\.v4", loop)) == 8


def test_only_where_the_loop_asks():
    assert "cp.async" not in sums(None).asm["ptx"]  # the launch's three stages are for dots
    assert "cp.async" not in sums(1).asm["ptx"]
    assert "cp.async" not in sums(3, arch=75).asm["ptx"]


def test_only_what_may_be_read_earlier_and_copied():
    assert "cp.async" not in sums(3, store=True).asm["ptx"]  # what the loop writes may be what it reads
    assert "cp.async" not in sums(3, other=1.0).asm["ptx"]  # copies leave zeros
    assert "cp.async" in sums(3, x="bf16").asm["ptx"]


@jit
def scaled(a_ptr, b_ptr, s_ptr, out_ptr, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc, total = tl.zeros((M, N), tl.float32), tl.zeros((M, K), tl.float32)
    for start in tl.range(0, k, K, num_stages=2):
        at = start + inner
        a, b = tl.load(a_ptr + i[:, None] * k + at[None, :]), tl.load(b_ptr + at[:, None] * N + j[None, :])
        acc = tl.dot(a, b, acc)
        total += tl.load(s_ptr + i[:, None] * k + at[None, :])
    tl.store(out_ptr + i[:, None] * N + j[None, :], acc + tl.sum(total, 1)[:, None])


def test_beside_a_dot_they_give_way_where_shared_memory_is_small():
    """Two stages of two operands take 64 KiB, and of the third tile as many again: Hopper has room for both, other GPUs have not."""
    types = {"a_ptr": "*bf16", "b_ptr": "*bf16", "s_ptr": "*fp32", "out_ptr": "*fp32", "k": "i32"}
    large, small = (made(scaled, types, arch, M=128, N=128, K=64) for arch in (90, 86))
    assert large.metadata.shared == 128 * 1024 and "ld.global" not in large.asm["ptx"]
    assert small.metadata.shared < 99 * 1024 and "cp.async" in small.asm["ptx"] and "ld.global" in small.asm["ptx"]


def test_rings_keep_to_their_share_of_shared_memory():
    """Five stages would take 80 KiB, so there are four; of tiles of 64 KiB there is no ring."""
    assert sums(5).metadata.shared == 4 * 64 * 64 * 4
    assert "cp.async" not in sums(3, rows=256).asm["ptx"]
