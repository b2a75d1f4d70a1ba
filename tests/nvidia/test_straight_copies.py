"""Operands that no loop loads: copied where they are loaded, waited for where a dot reads them.  Shared memory that nobody reads any more."""

from __future__ import annotations

import re

import pytest
from lockstep import lowered

import anytile.language as tl
from anytile.ir import Func
from anytile.passes.axis_info import AxisInfo
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia.assignment import Assignment
from anytile.targets.nvidia.values import Generator, Means

TYPES = {"x": "*bf16", "y": "*bf16", "z": "*bf16", "out": "*bf16"}
SIZES = {"N": 64}


@jit
def at(N: tl.constexpr):
    return tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]


@jit
def chunk(x, y, z, out, N: tl.constexpr):
    """The third and the fourth tile are asked for before the first product, and read by the second and the third."""
    a, b, c, d = tl.load(x + at(N)), tl.load(y + at(N)), tl.load(z + at(N)), tl.load(y + N * N + at(N))
    product = tl.dot(a, b).to(tl.bfloat16)
    product = tl.dot(product, c).to(tl.bfloat16)
    tl.store(out + at(N), tl.dot(product, d).to(tl.bfloat16))


@jit
def replaced(x, y, z, out, N: tl.constexpr):
    """What is loaded is written before it is multiplied."""
    a, b = tl.load(x + at(N)), tl.load(y + at(N))
    c, d, e = tl.load(y + N * N + at(N)), tl.load(y + 2 * N * N + at(N)), tl.load(y + 3 * N * N + at(N))
    tl.store(x + at(N), tl.load(z + at(N)))
    tl.store(out + at(N), (tl.dot(a, b) + tl.dot(c, d) + tl.dot(c, e)).to(tl.bfloat16))


@jit
def behind_a_barrier(x, y, z, out, N: tl.constexpr):
    a, b, c, d = tl.load(x + at(N)), tl.load(y + at(N)), tl.load(x + N * N + at(N)), tl.load(y + N * N + at(N))
    tl.store(z + at(N), tl.load(out + at(N)))
    tl.debug_barrier()
    tl.store(out + at(N), (tl.dot(a, b) + tl.dot(c, d)).to(tl.bfloat16))


@jit
def alone(x, y, z, out, N: tl.constexpr):
    product = tl.dot(tl.load(x + at(N)), tl.load(y + at(N))).to(tl.bfloat16)
    tl.store(out + at(N), tl.dot(product, tl.load(z + at(N))).to(tl.bfloat16))


@jit
def one_after_the_other(x, y, z, out, N: tl.constexpr):
    product = tl.load(x + at(N))
    for i in tl.static_range(6):
        factor = tl.load(y + i * N * N + at(N)) + i
        product = tl.dot(product, factor).to(tl.bfloat16)
    tl.store(out + at(N), product)


@jit
def both_ways(x, y, z, out, N: tl.constexpr):
    a, b = tl.load(x + at(N)) + 1.0, tl.load(y + at(N)) + 1.0
    tl.store(out + at(N), (tl.dot(a, b) + tl.dot(tl.trans(a), tl.trans(b))).to(tl.bfloat16))


@jit
def rows(x, y, z, out, n, N: tl.constexpr):
    """The same factor in each iteration."""
    a = tl.load(x + at(N))
    for i in range(n):
        b = tl.load(y + i * N * N + at(N)) * 2
        tl.store(out + i * N * N + at(N), tl.dot(a, b).to(tl.bfloat16))


def text(kernel, warps: int, **more: str) -> str:
    return lowered(kernel, warps, SIZES, **TYPES, **more)


def copies(llir: str) -> int:
    return llir.count("cp.async.cg")


@pytest.mark.parametrize("warps", [2, 4])
def test_operands_are_copied_and_waited_for_in_turn(warps):
    llir = text(chunk, warps)
    assert copies(llir) == 4 * 64 * 64 * 2 // 16 // (32 * warps) and "ld.global" not in llir
    waits = ["wait_group 2", "wait_group 1", "wait_group 0"]
    assert re.findall(r"cp\.async\.(commit_group|wait_group \d)", llir) == ["commit_group"] * 4 + waits


def test_what_is_written_in_between_is_loaded_at_once():
    llir = text(replaced, 4)
    assert copies(llir) == 4 * 64 * 64 * 2 // 16 // 128, "all of y, not x"
    assert llir.index("st.global") > llir.rindex("ld.global")


def test_a_barrier_waits_for_what_stands_before_it():
    llir = text(behind_a_barrier, 4)
    assert copies(llir) == 4 * 64 * 64 * 2 // 16 // 128
    waits = [m.start() for m in re.finditer(r"cp\.async\.wait_group 0", llir)]
    assert len(waits) == 1 and llir.index("st.global") < waits[0]


def test_the_operands_of_two_dots_in_a_row_are_no_crowd():
    llir = text(alone, 4)
    assert copies(llir) == 0 and llir.count("ld.global") == 3 * 64 * 64 * 2 // 16 // 128


def compiled(kernel, warps: int):
    source = ASTSource(kernel, {**TYPES, "N": "constexpr"}, SIZES, {(i,): [["tt.divisibility", 16]] for i in range(4)})
    return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})


def test_shared_memory_is_used_again():
    """Seven operands of 8 KiB, of which a product reads two."""
    assert compiled(one_after_the_other, 4).metadata.shared <= 3 * 8192


def test_a_tile_and_its_transpose_are_stored_once():
    assert compiled(both_ways, 4).metadata.shared == 3 * 8192, "one for the result on its way to where it is stored"


def test_a_crowded_loop_reads_what_stays_the_same_in_shared_memory():
    """Two warps have 64 results each in a thread; four have wgmma, which reads it there anyway."""
    kernel = lowered(rows, 2, SIZES, **TYPES, n="i32")
    loop = kernel[kernel.index("phi") :]
    assert loop.count("ldmatrix") >= 2 * 64 * 64 * 2 // (8 * 16 * 4) // 2
    waits = [m.start() for m in re.finditer(r"cp\.async\.wait_group", kernel)]
    assert waits and waits[0] < kernel.index("phi"), "in front of the loop, which may have no iteration"


def test_what_a_loop_gave_back_has_one_owner_afterwards():
    """Its memory and what lies before it are one gap in the loop; behind the loop the gap ends where the loop's memory begins."""
    func = Func("none", (), ())
    g = Generator(func, 4, 3, 90, True, True, Assignment(func, 4, 90, AxisInfo(func)), AxisInfo(func), Means())
    assert [g.buffer(name, 4096) for name in "ab"] == [0, 4096]
    top = g.buffer_top
    assert g.buffer("of the loop", 8192) == top
    g.free("b")
    g.free("of the loop")
    assert g.buffer("of both", 12288) == 4096
    g.release(top)
    assert [g.buffer(name, 4096) for name in "cd"] == [4096, 8192] and g.buffer_top == 12288
