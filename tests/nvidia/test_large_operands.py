"""Operands of mma.sync that would fill a thread's registers are read from shared memory piece by piece."""

from __future__ import annotations

import pytest
from ptx_text import loops

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def scores(q_ptr, k_ptr, out_ptr, n, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    m, j, d = tl.arange(0, M), tl.arange(0, N), tl.arange(0, D)
    q = tl.load(q_ptr + m[:, None] * D + d[None, :])
    best = tl.full([M], -float("inf"), tl.float32)
    for start in range(0, n, N):
        k = tl.load(k_ptr + (start + j)[None, :] * D + d[:, None])
        best = tl.maximum(best, tl.max(tl.dot(q, k), 1))
    tl.store(out_ptr + m, best)


def compiled(d: int, stages: int, arch: int):
    constants = {"D": d, "M": 32, "N": 32}
    signature = {"q_ptr": "*bf16", "k_ptr": "*bf16", "out_ptr": "*fp32", "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(scores, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(4)})
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 4, "num_stages": stages})


def in_loop(ptx: str, instruction: str) -> int:
    """How often it stands in the longest loop."""
    return sum(instruction in line for line in max(loops(ptx), key=len))


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("stages", [1, 2])
def test_queries_of_512_are_read_in_the_loop(stages, arch):
    kernel = compiled(512, stages, arch)
    multiplied = in_loop(kernel.asm["ptx"], "mma.sync")
    assert multiplied == 512 // 16 * 2
    # A warp has 16 rows of queries and 16 of keys; an instruction gives four pieces of 8 rows and 16 bytes of either.
    assert in_loop(kernel.asm["ptx"], "ldmatrix") == 2 * 512 // 16
    assert kernel.metadata.resources["stack"] == 0
    assert "fence.proxy" not in kernel.asm["ptx"], "which is for wgmma, and waits for all that is on its way"


def test_small_queries_stay_in_registers():
    kernel = compiled(64, 2, 80)
    assert in_loop(kernel.asm["ptx"], "ldmatrix") == 64 // 16  # the keys alone


def test_a_gpu_with_too_little_shared_memory_keeps_them_in_registers():
    """Three tiles of 64 KiB would be refused where a block has 99 KiB."""
    kernel = compiled(1024, 1, 86)
    assert "ldmatrix" not in kernel.asm["ptx"] and kernel.metadata.shared <= 99 * 1024


@jit
def turned(x_ptr, y_ptr, out_ptr, n, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """What is not loaded counts as 1, so nothing is copied ahead; neighbours of x in memory are not neighbours along k."""
    m, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc = tl.zeros([M, N], tl.float32)
    for start in range(0, n, K):
        inside = start + k < n
        x = tl.load(x_ptr + (start + k)[:, None] * M + m[None, :], mask=inside[:, None], other=1.0)
        y = tl.load(y_ptr + (start + k)[:, None] * N + j[None, :], mask=inside[:, None], other=1.0)
        acc = tl.dot(x.T, y, acc)
    tl.store(out_ptr + m[:, None] * N + j[None, :], acc)


@pytest.mark.parametrize("arch", [75, 80, 90])
def test_operands_that_a_loop_loads_itself_are_stored_as_they_were_loaded(arch):
    """16 bytes at a time, both behind one barrier and before another, and read transposed: not element by element."""
    constants = {"M": 32, "N": 32, "K": 32}
    signature = {"x_ptr": "*fp16", "y_ptr": "*fp16", "out_ptr": "*fp32", "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(turned, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(4)})
    loop = "\n".join(max(loops(compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 4}).asm["ptx"]), key=len))
    if arch == 75:
        assert "ldmatrix" not in loop, "products there are multiply-adds"
        return
    assert loop.count("st.shared.v4") == 2 and loop.count("st.shared") == 2 and loop.count("bar.sync") == 2
    assert loop.count(".trans") == loop.count("ldmatrix") == 4 and "fence" not in loop
