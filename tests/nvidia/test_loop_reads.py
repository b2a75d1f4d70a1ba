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


@jit
def few(a_ptr, b_ptr, c_ptr, TRIPS: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    tile = i[:, None] * B + i[None, :]
    c = tl.zeros((B, B), tl.float32)
    for t in range(TRIPS):
        a = tl.load(a_ptr + t * B * B + tile)
        b = tl.load(b_ptr + t * B * B + tile)
        c = tl.dot((a * 2.0).to(tl.bfloat16), b, c)
    tl.store(c_ptr + tile, c)


@pytest.mark.parametrize("trips", [2, 3, 4, 8])
def test_iterations_that_are_known_to_be_few(trips):
    """All of their copies are asked for in front of the loop, and a ring has a slot for each."""
    types = {"a_ptr": "*bf16", "b_ptr": "*bf16", "c_ptr": "*fp32"}
    constants = {"TRIPS": trips, "B": 64}
    source = ASTSource(
        few, {**types, "TRIPS": "constexpr", "B": "constexpr"}, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)}
    )
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 4})
    slots = min(trips, 4)
    assert slots * 2 * 8192 <= kernel.metadata.shared < (slots + 1) * 2 * 8192 + 8192
    asked = sum(size * n for size, n in copies(kernel).items())
    assert asked == 2 * 8192 // 128 * (1 if trips <= 4 else 2), "in front of the loop, and in it where more are to come"
