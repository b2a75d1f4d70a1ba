"""Loops that store while their loads are copied ahead, and loads with work between them and the dot: the PTX of kernels for Hopper."""

from __future__ import annotations

import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def states(k_ptr, v_ptr, g_ptr, h_ptr, n, KIND: tl.constexpr, STORE: tl.constexpr, B: tl.constexpr):
    """The state of a linear attention, stored in front of each chunk; k is scaled by a row and the state by a number, both loaded."""
    i = tl.arange(0, B)
    tile = i[:, None] * B + i[None, :]
    h = tl.zeros((B, B), tl.float32)
    for t in range(n):
        if STORE == "other":
            tl.store(h_ptr + t * B * B + tile, h.to(tl.bfloat16))
        if STORE == "sum":
            tl.atomic_add(h_ptr + tile, h)
        if STORE == "old":
            h += tl.atomic_add(h_ptr + tile, h)
        if STORE == "same":
            tl.store(k_ptr + t * B * B + tile, h.to(tl.bfloat16))
        if STORE == "barrier":
            tl.debug_barrier()
        k = tl.load(k_ptr + t * B * B + tile)
        v = tl.load(v_ptr + t * B * B + tile)
        if KIND != "plain":
            g = tl.load(g_ptr + t * B + i)
            k = (k * tl.exp2(g)[:, None]).to(tl.bfloat16)
        if KIND == "number":
            h *= tl.load(g_ptr + t * B)
        h = tl.dot(k, v, h)
    tl.store(h_ptr + tile, h.to(h_ptr.dtype.element_ty))


def made(kind="plain", store="other", warps=4, arch=90, h="bf16", stages=3):
    types = {"k_ptr": "*bf16", "v_ptr": "*bf16", "g_ptr": "*fp32", "h_ptr": f"*{h}", "n": "i32"}
    constants = {"KIND": kind, "STORE": store, "B": 64}
    attributes = {(i,): [["tt.divisibility", 16]] for i in range(4)}
    source = ASTSource(states, {**types, **dict.fromkeys(constants, "constexpr")}, constants, attributes)
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages})


def copies(kernel) -> dict[int, int]:
    """Bytes of a copy → how many of them the text has."""
    ptx = kernel.asm["ptx"]
    return {size: ptx.count(f"], {size}, size;") for size in (4, 8, 16) if f"], {size}, size;" in ptx}


@pytest.mark.parametrize("arch", [80, 90])
def test_a_store_to_another_argument_keeps_no_load_back(arch):
    """Two tiles of 8 KB by 128 threads are 8 copies a thread, in front of the loop and in it."""
    assert copies(made(arch=arch)) == {16: 16}


def test_sums_whose_old_values_nobody_asks_for():
    assert copies(made(store="sum", h="fp32")) == {16: 16}
    assert not copies(made(store="old", h="fp32"))


def test_what_the_loop_itself_may_write_is_not_read_ahead():
    assert copies(made(store="same")) == {16: 8}, "v alone"


def test_behind_a_barrier_nothing_is_read_ahead():
    assert not copies(made(store="barrier"))


@pytest.mark.parametrize("warps", [4, 8])
def test_what_a_dot_is_computed_from_is_copied_by_each_thread_for_itself(warps):
    """Behind the barrier of the other operand's copies: no register waits for memory in the loop."""
    kernel = made("row", warps=warps)
    assert "ld.global" not in kernel.asm["ptx"]
    found = copies(kernel)
    assert found[16] == 2 * 8 * 4 // warps and found[4] > 0, "k and v; the row"


def test_numbers():
    assert copies(made("number"))[4] == copies(made("row"))[4] + 2, "one more, in front of the loop and in it"
    assert "ld.global" not in made("number").asm["ptx"]


def test_one_stage():
    assert not copies(made("row", stages=1))


def test_before_ampere():
    assert not copies(made("row", arch=75))
