"""Two dots of a loop in a row, by two warpgroups in turns: what stands around them, read off the PTX."""

from __future__ import annotations

import re

import pytest
from ptx_text import loops

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def attention(q, k, v, out, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, EARLY: tl.constexpr, ACROSS: tl.constexpr):
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + rows[:, None] * D + d[None, :])
    top, total = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    for start in range(0, n, BN):
        at = start + tl.arange(0, BN)
        if EARLY:
            acc = acc * 0.5
        scores = tl.dot(queries, tl.load(k + at[None, :] * D + d[:, None]))
        higher = tl.maximum(top, tl.max(scores, 1))
        if ACROSS:
            higher = tl.maximum(higher, tl.max(higher, 0))
        p, less = tl.exp2(scores - higher[:, None]), tl.exp2(top - higher)
        total = total * less + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype.element_ty), tl.load(v + at[:, None] * D + d[None, :]), acc * less[:, None])
        top = higher
    tl.store(out + rows[:, None] * D + d[None, :], (acc / total[:, None]).to(out.dtype.element_ty))


def compiled(bm: int, bn: int, warps: int, stages: int, early: bool = False, across: bool = False):
    constants = {"D": 128, "BM": bm, "BN": bn, "EARLY": early, "ACROSS": across}
    signature = {"q": "*bf16", "k": "*bf16", "v": "*bf16", "out": "*bf16", "n": "i32", **dict.fromkeys(constants, "constexpr")}
    attrs = {(i,): [["tt.divisibility", 16]] for i in range(5)}
    source = ASTSource(attention, signature, constants, attrs)
    return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})


_STEPS = {
    r"wgmma\.fence": "fence",
    r"wgmma\.mma_async": "dot",
    r"wgmma\.commit": "commit",
    r"wgmma\.wait_group\.sync\.aligned\s+0": "wait",
    r"cp\.async\.wait_group\s+(\d+)": "copied",
    r"cp\.async\.c[ag]\.shared": "copy",
    r"cp\.async\.commit_group": "group",
    r"(?<!\S)bar\.sync": "barrier",
    r"@%p\d+ bar\.sync": "extra barrier",
    r"@%p\d+ exit": "apart",
}


def steps(ptx: str) -> list[str]:
    """What the kernel does, in the order of the text; the same several times in a row is once."""
    out: list[str] = []
    for line in ptx.splitlines():
        line = line.split("//")[0].strip()
        for pattern, name in _STEPS.items():
            for found in re.finditer(pattern, line) if name != "barrier" or not line.startswith("@") else ():
                said = f"{name} {found[1]}" if found.groups() else name
                if not out or out[-1] != said:
                    out.append(said)
    return out


def loop(ptx: str) -> list[str]:
    """The `steps` of the loop with dots."""
    return next(made for lines in loops(ptx) if "dot" in (made := steps("\n".join(lines))))


@pytest.mark.parametrize("bn, stages", [(128, 3), (64, 3), (128, 2)])
def test_two_warpgroups_take_turns(bn, stages):
    """One barrier where the first product is there, one in front of the second, half an iteration apart for the two warpgroups."""
    ptx = compiled(128, bn, 8, stages).asm["ptx"]
    first = ["fence", "dot", "commit", f"copied {stages - 2}", "wait", "barrier", "apart"]
    second = ["fence", "apart", "barrier", "dot", "commit", "copy", "group"]
    assert loop(ptx) == first + second
    assert steps(ptx).count("extra barrier") == 2


@pytest.mark.parametrize("bm, warps", [(64, 4), (256, 16)])
def test_other_numbers_of_warpgroups_leave_the_second_product_in_flight(bm, warps):
    ptx = compiled(bm, 64, warps, 2).asm["ptx"]
    assert loop(ptx) == ["fence", "dot", "commit", "copied 0", "wait", "fence", "barrier", "dot", "commit", "copy", "group"]
    assert "extra barrier" not in steps(ptx)


def test_an_accumulator_that_is_used_first_is_waited_for():
    made = loop(compiled(128, 64, 8, 3, early=True).asm["ptx"])
    assert made.count("wait") == 2 and "apart" not in made


def test_a_barrier_inside_keeps_warpgroups_together():
    """A maximum over rows of several warps goes through shared memory, with barriers that would meet those of the turns."""
    made = steps(compiled(128, 64, 8, 3, across=True).asm["ptx"])
    assert "extra barrier" not in made and "apart" not in made
    assert "copied 1" in made  # the second product is in flight as before


@jit
def with_bias(q, k, v, bias, out, n, STAGES: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + rows[:, None] * D + d[None, :])
    top, acc = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM, D], tl.float32)
    for start in tl.range(0, n, BN, num_stages=STAGES):
        at = start + tl.arange(0, BN)
        added = tl.load(bias + rows[:, None] * n + at[None, :]).to(tl.float32)
        scores = tl.dot(queries, tl.load(k + at[None, :] * D + d[:, None])) * 0.5 + added
        higher = tl.maximum(top, tl.max(scores, 1))
        higher = tl.maximum(higher, tl.max(higher, 0))
        p, less = tl.exp2(scores - higher[:, None]), tl.exp2(top - higher)
        acc = tl.dot(p.to(v.dtype.element_ty), tl.load(v + at[:, None] * D + d[None, :]), acc * less[:, None])
        top = higher
    tl.store(out + rows[:, None] * D + d[None, :], acc.to(out.dtype.element_ty))


def test_a_barrier_inside_is_found_where_rings_were_given_up():
    """The bias's ring does not fit, and without it the two products are a chain: its barriers count as those of the first try."""
    constants = {"STAGES": 5, "D": 128, "BM": 128, "BN": 64}
    pointers = {"q": "*bf16", "k": "*bf16", "v": "*bf16", "bias": "*i8", "out": "*bf16"}
    signature = {**pointers, "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(with_bias, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(6)})
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    made = steps(kernel.asm["ptx"])
    assert "extra barrier" not in made and "apart" not in made
    assert "copied 3" in made and kernel.metadata.shared <= 227 * 1024


@jit
def with_row(q, k, v, bias, out, n, scale, SCALED: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + rows[:, None] * D + d[None, :])
    top, acc = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM, D], tl.float32)
    for start in range(0, n, BN):
        at = start + tl.arange(0, BN)
        scores = tl.dot(queries, tl.load(k + at[None, :] * D + d[:, None]))
        scores = (scores * scale if SCALED else scores) + tl.load(bias + at)[None, :]
        higher = tl.maximum(top, tl.max(scores, 1))
        p, less = tl.exp2(scores - higher[:, None]), tl.exp2(top - higher)
        acc = tl.dot(p.to(v.dtype.element_ty), tl.load(v + at[:, None] * D + d[None, :]), acc * less[:, None])
        top = higher
    tl.store(out + rows[:, None] * D + d[None, :], acc.to(out.dtype.element_ty))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bn", [64, 128])
def test_a_row_that_is_added_to_the_first_product_leaves_the_turns(bn, scaled):
    """It is loaded where the product lies, and added behind it: no barrier, and nothing to write into the accumulators before."""
    constants = {"SCALED": scaled, "D": 128, "BM": 128, "BN": bn}
    pointers = {"q": "*bf16", "k": "*bf16", "v": "*bf16", "bias": "*fp32", "out": "*bf16"}
    signature = {**pointers, "n": "i32", "scale": "fp32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(with_row, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(6)})
    ptx = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "num_stages": 3}).asm["ptx"]
    assert steps(ptx).count("extra barrier") == 2
    body = next("\n".join(lines) for lines in loops(ptx) if any("wgmma.mma" in line for line in lines))
    assert body.count("ld.global") == bn // 8 and body.rindex("ld.global") < body.index("wgmma.mma")  # on their way while it multiplies


@jit
def powers(x, k, v, out, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows, d = tl.arange(0, BM), tl.arange(0, D)
    acc = tl.load(x + rows[:, None] * D + d[None, :])
    for start in range(0, n, BN):
        at = start + tl.arange(0, BN)
        p = tl.maximum(tl.dot(acc, tl.load(k + at[None, :] * D + d[:, None])), 0)
        acc = tl.dot(p, tl.load(v + at[:, None] + d[None, :] * n), acc)
    tl.store(out + rows[:, None] * D + d[None, :], acc)


def test_an_accumulator_that_the_first_product_multiplies_is_waited_for():
    constants = {"D": 128, "BM": 64, "BN": 64}
    signature = {**dict.fromkeys(("x", "k", "v", "out"), "*fp32"), "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(powers, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(5)})
    made = loop(compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 2}).asm["ptx"])
    assert made.count("wait") == 2 and made[-1] == "wait"


@jit
def quantized(q, k, v, out, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + rows[:, None] * D + d[None, :])
    acc, top = tl.zeros([BM, D], tl.float32), tl.full([BM], -float("inf"), tl.float32)
    for start in range(0, n, BN):
        at = start + tl.arange(0, BN)
        scores = tl.dot(queries, tl.load(k + at[None, :] * D + d[:, None])).to(tl.float32) * 0.01
        higher = tl.maximum(top, tl.max(scores, 1))
        p = tl.exp2(scores - higher[:, None]).to(tl.float16)
        acc = tl.dot(p, tl.load(v + at[:, None] * D + d[None, :]), acc * tl.exp2(top - higher)[:, None])
        top = higher
    tl.store(out + rows[:, None] * D + d[None, :], acc)


@pytest.mark.parametrize("bm, warps", [(128, 8), (64, 4)])
def test_products_of_two_types_are_waited_for_apart(bm, warps):
    """Integers and floats, as attention with 8-bit queries and keys has."""
    constants = {"D": 128, "BM": bm, "BN": 64}
    signature = {"q": "*i8", "k": "*i8", "v": "*fp16", "out": "*fp32", "n": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(quantized, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(5)})
    ptx = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": 3}).asm["ptx"]
    assert loop(ptx).count("wait") == 2 and "s32.s8.s8" in ptx and "f32.f16.f16" in ptx
