"""Chains of two dots whose next first product is asked for together with this second one: what stands around them, read off the PTX."""

from __future__ import annotations

import re

import pytest
from ptx_text import loops
from sass_text import needs_nvdisasm

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def attention(
    q,
    k,
    v,
    out,
    n,
    D: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    ITERATIONS: tl.constexpr,
    MOVING: tl.constexpr,
    ACROSS: tl.constexpr,
):
    keys = tl.make_tensor_descriptor(k, [n, D], [D, 1], [BN, D])
    values = tl.make_tensor_descriptor(v, [n, D], [D, 1], [BN, D])
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + rows[:, None] * D + d[None, :])
    top, total = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    first = tl.program_id(0) * BM if ITERATIONS else 0
    last = first + ITERATIONS * BN if ITERATIONS else n
    for start in range(first, last, BN):
        if MOVING:
            queries = queries * 2
        scores = tl.dot(queries, keys.load([start, 0]).T)
        higher = tl.maximum(top, tl.max(scores, 1))
        if ACROSS:
            higher = tl.maximum(higher, tl.max(higher, 0))
        p, less = tl.exp2(scores - higher[:, None]), tl.exp2(top - higher)
        total = total * less + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype.element_ty), values.load([start, 0]), acc * less[:, None])
        top = higher
    tl.store(out + rows[:, None] * D + d[None, :], (acc / total[:, None]).to(out.dtype.element_ty))


def compiled(bm: int, bn: int, warps: int, stages: int, **more):
    constants = {"D": 128, "BM": bm, "BN": bn, "ITERATIONS": 0, "MOVING": False, "ACROSS": False} | more
    signature = {"q": "*bf16", "k": "*bf16", "v": "*bf16", "out": "*bf16", "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(attention, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(5)})
    return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})


_STEPS = {
    r"wgmma\.mma_async": "dot",
    r"wgmma\.wait_group\.sync\.aligned\s+(\d)": "wait",
    r"nanosleep": "pause",
    r"mbarrier\.try_wait": "filled",
    r"(?<!\S)bar\.sync\s+%r": "turn",
    r"(?<!\S)bar\.sync\s+0": "barrier",
    r"(?<!\S)bar\.arrive": "next turn",
    r"cp\.async\.bulk\.tensor": "fetch",
    r"mbarrier\.arrive\.shared": "arrive",
    r"st\.volatile\.shared": "keep",
}


def steps(lines: list[str]) -> list[str]:
    """What is done, in the order of the text; the same several times in a row is once."""
    out: list[str] = []
    for line in lines:
        for pattern, name in _STEPS.items():
            for found in re.finditer(pattern, line.split("//")[0].strip()):
                said = f"{name} {found[1]}" if found.groups() else name
                if not out or out[-1] != said:
                    out.append(said)
    return out


def loop(ptx: str) -> list[str]:
    """The lines of the loop with dots."""
    return next(lines for lines in loops(ptx) if any("wgmma.mma_async" in line for line in lines))


_BEFORE = ["wait 1", "pause", "wait 0", "keep", "filled"]


@pytest.mark.parametrize("bn, stages", [(128, 3), (64, 3), (64, 4)])
def test_both_products_are_asked_for_in_a_turn(bn, stages):
    """Whatever is in flight, the copies' part comes last: behind it is the wait of the next iteration, and no branch but the loop's."""
    ptx = compiled(128, bn, 8, stages).asm["ptx"]
    body = loop(ptx)
    assert steps(body) == [*_BEFORE, "turn", "dot", "next turn", "fetch", "arrive"]
    begin = next(n for n, line in enumerate(body) if "bar.sync" in line)
    assert sum("wgmma.mma_async" in line for line in body) == 2  # one text for each product
    assert not any(re.search(r"\bbra\b", line) for line in body[begin:])
    assert steps(ptx.splitlines()).count("turn") == 3  # of the first product alone, of an iteration, of the last second product alone


@needs_nvdisasm
def test_the_assembler_adds_no_waits():
    """Of its own it would wait for each instruction, or for p·v with q·k: there is one wait for each that the text has."""
    kernel = compiled(128, 128, 8, 3)
    lines = [line for line in kernel.asm["sass"].splitlines() if re.search(r"WARPGROUP\.DEPBAR|MUFU\.EX2|HGMMA", line)]
    names = [re.search(r"WARPGROUP\.DEPBAR\.LE gsb0, (0x\d)|MUFU|HGMMA", line)[0][-3:] for line in lines]
    waits = [n for n, x in enumerate(names) if x.startswith("0x")]
    assert [names[n] for n in waits] == ["0x1", "0x0", "0x0"]
    assert names[waits[0] : waits[1]].count("UFU") >= 64  # exponentials while p·v goes on


@pytest.mark.parametrize(
    "bm, bn, warps, stages, more",
    [
        (128, 128, 8, 2, {}),  # a slot for each of three iterations is needed
        (128, 64, 8, 3, {"MOVING": True}),  # the next queries are not there yet
        (256, 64, 16, 3, {}),
        (64, 64, 4, 3, {}),  # of one warpgroup several blocks share a multiprocessor
        (128, 128, 8, 3, {"ITERATIONS": 1}),
        (128, 64, 8, 3, {"ITERATIONS": 2}),
    ],
)
def test_else_the_first_product_is_asked_for_in_its_own_iteration(bm, bn, warps, stages, more):
    assert "wait 1" not in steps(compiled(bm, bn, warps, stages, **more).asm["ptx"].splitlines())


def test_three_iterations_are_enough():
    assert "wait 1" in steps(loop(compiled(128, 64, 8, 3, ITERATIONS=3).asm["ptx"]))


def test_a_barrier_inside_keeps_warpgroups_together():
    """A maximum over rows of several warps goes through shared memory, with barriers of all threads: nobody takes turns."""
    made = steps(compiled(128, 64, 8, 3, ACROSS=True).asm["ptx"].splitlines())
    assert not {"turn", "next turn", "wait 1"} & set(made)
