"""Loads that lie where a dot's A is computed from them: weights stored in the order of wgmma's fragments, by the PTX of a kernel for Hopper."""

from __future__ import annotations

import re

import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def weights_in_order(
    w_ptr, s_ptr, x_ptr, o_ptr, K, N: tl.constexpr, M: tl.constexpr, B: tl.constexpr, ORDERED: tl.constexpr, TURNED: tl.constexpr
):
    """oᵀ = (w · s) · xᵀ: w of 8 bits, 16 × 32 of it for each warp together, 16 bytes for each lane; a scale for each row and 32 of k."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, B)
    half, double, group = tl.arange(0, N // 2), tl.arange(0, 2 * B), tl.arange(0, B // 32)
    acc = tl.zeros((M, N) if TURNED else (N, M), tl.float32)
    for at in range(0, K, B):
        if ORDERED:
            w = tl.load(w_ptr + half[:, None] * (2 * K) + (2 * at + double)[None, :])
            w = w.reshape(N // 16, 8, B // 32, 4, 2, 2, 2, 2).permute(0, 6, 1, 2, 4, 5, 3, 7).reshape(N, B)
        else:
            w = tl.load(w_ptr + n[:, None] * K + (at + k)[None, :])
        s = tl.load(s_ptr + n[:, None] * (K // 32) + (at // 32 + group)[None, :])
        s = tl.broadcast_to(s[:, :, None], (N, B // 32, 32)).reshape(N, B)
        x = tl.load(x_ptr + m[:, None] * K + (at + k)[None, :])
        if TURNED:
            acc = tl.dot(w.to(tl.bfloat16) * s, x.T, acc.T).T
        else:
            acc = tl.dot(w.to(tl.bfloat16) * s, x.T, acc)
    if TURNED:
        acc = acc.T
    tl.store(o_ptr + m[None, :] * N + n[:, None], acc)


def made(num_warps=4, ordered=True, turned=False, n=64, m=32, b=128, arch=90):
    types = {"w_ptr": "*i8", "s_ptr": "*bf16", "x_ptr": "*bf16", "o_ptr": "*fp32", "K": "i32"}
    constants = {"N": n, "M": m, "B": b, "ORDERED": ordered, "TURNED": turned}
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    attributes = {(i,): [["tt.divisibility", 16]] for i in range(len(types))}
    options = {"num_warps": num_warps, "num_stages": 4}
    kernel = compile(ASTSource(weights_in_order, signature, constants, attributes), target=GPUTarget("cuda", arch, 32), options=options)
    return kernel, body(kernel.asm["ptx"])


def body(ptx: str) -> str:
    """The loop with the product."""
    labels = re.findall(r"\n(\$L__\w+):", ptx)
    for label in labels:
        begin = ptx.index(f"\n{label}:")
        for end in re.finditer(rf"bra(\.uni)?\s+{re.escape(label)};", ptx[begin:]):
            text = ptx[begin : begin + end.end()]
            if "wgmma.mma_async" in text:
                return text
    raise AssertionError("no loop has the product")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("num_warps, n", [(4, 64), (8, 128), (8, 256)])
def test_nothing_goes_through_shared_memory_but_copies(turned, num_warps, n):
    kernel, loop = made(num_warps, turned=turned, n=n)
    assert "st.shared" not in loop and "shfl" not in loop
    pieces = n * 128 // (32 * num_warps) // 16  # of 16 bytes, for each thread
    assert loop.count("ld.shared.v4") == pieces
    assert len(re.findall(r"wgmma\.mma_async[\w.]* \{[^}]*\}, \{", loop)) == 8 * n // 64 // (num_warps // 4)  # A from registers
    assert kernel.asm["ptx"].count("cp.async.cg.shared.global") >= 2 * (pieces + 1)


@pytest.mark.parametrize("turned", [False, True])
def test_words_are_computed_beside_the_product(turned):
    """Each step of k is a group; the last is waited for before the loop goes on, whose registers of A may be others' then."""
    _, loop = made(turned=turned)
    assert loop.count("wgmma.commit_group") == 8 and loop.count("wgmma.wait_group.sync.aligned 0") == 1
    assert loop.rindex("wgmma.commit_group") < loop.index("wgmma.wait_group.sync.aligned 0")
    _, loop = made(turned=turned, b=64)
    assert loop.count("wgmma.commit_group") == 4


def test_weights_in_another_order_lie_as_before():
    _, loop = made(ordered=False)
    assert "st.shared" in loop and not re.search(r"wgmma\.mma_async[\w.]* \{[^}]*\}, \{", loop)
