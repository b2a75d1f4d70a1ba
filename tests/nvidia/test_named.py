"""Sums of products in registers that PTX knows by name: which loops have them, what they begin with, what is left in LLVM's text."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from ptx_text import loops

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia import assemble as assembling
from anytile.targets.nvidia.chips import chip

M, N, K = 128, 128, 64


@jit
def product(x, y, out, steps, begin, BEGIN: tl.constexpr, LAST: tl.constexpr, SCALE: tl.constexpr):
    m, n, k = tl.arange(0, 128), tl.arange(0, 128), tl.arange(0, 64)
    acc = tl.load(begin + m[:, None] * 128 + n[None, :]) if BEGIN else tl.zeros((128, 128), tl.float32)
    last = 0
    for i in range(0, steps):
        a = tl.load(x + m[:, None] * 512 + (i * 64 + k)[None, :])
        b = tl.load(y + (i * 64 + k)[:, None] * 128 + n[None, :])
        acc = tl.dot(a, b, acc)
        last = i
        if SCALE:
            acc *= 0.5
    if LAST:
        acc += last
    tl.store(out + m[:, None] * 128 + n[None, :], acc)


@jit
def products(x, y, out, steps, rounds):
    m, n, k = tl.arange(0, 64), tl.arange(0, 64), tl.arange(0, 64)
    for j in range(0, rounds):
        first, second = tl.zeros((64, 64), tl.float32), tl.zeros((64, 64), tl.float32)
        for i in range(0, steps):
            first = tl.dot(
                tl.load(x + m[:, None] * 512 + (i * 64 + k)[None, :]), tl.load(y + (i * 64 + k)[:, None] * 64 + n[None, :]), first
            )
        for i in range(0, steps):
            second = tl.dot(
                tl.load(x + m[:, None] * 512 + (j * 64 + k)[None, :]), tl.load(y + (i * 64 + k)[:, None] * 64 + n[None, :]), second
            )
        tl.store(out + j * 4096 + m[:, None] * 64 + n[None, :], first - second)


def made(kernel, signature: dict[str, str], constants: dict[str, object] | None = None, warps: int = 4) -> SimpleNamespace:
    """``text``: LLVM's; ``ptx``; ``loop``: the PTX of the last loop with wgmma; ``resources``."""
    constants = constants or {}
    attrs = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t.startswith("*")}
    source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants, attrs)
    got = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    ptx = got.asm["ptx"]
    loop = "\n".join(next(lines for lines in reversed(loops(ptx)) if "wgmma" in "\n".join(lines)))
    return SimpleNamespace(text=got.asm["llir"], ptx=ptx, loop=loop, resources=got.metadata.resources)


def one(begin=False, last=False, scale=False, kind="bf16", warps=4) -> SimpleNamespace:
    signature = {"x": f"*{kind}", "y": f"*{kind}", "out": "*fp32", "steps": "i32", "begin": "*fp32"}
    return made(product, signature, {"BEGIN": begin, "LAST": last, "SCALE": scale}, warps)


@pytest.mark.parametrize("kind, warps", [("bf16", 4), ("bf16", 8), ("fp32", 4)])
def test_a_sum_that_begins_with_zeros_has_no_zeros(kind, warps):
    """The first instruction of the first iteration overwrites; LLVM sees no register of the sum before the loop has ended."""
    kernel = one(kind=kind, warps=warps)
    count = M * N // (32 * warps)
    assert kernel.ptx.count(f".reg .b32 %named0_<{count}>;") == 1 and "mov.b32 %named" not in kernel.ptx
    assert not re.search(r"phi float|phi i32 .*\[ 0x", kernel.text)
    adds = re.findall(r"wgmma\.mma_async[^;]*\}, (?:[^;]*?), (%?p\d*), 1, 1", kernel.loop)
    per_instruction = 64 // (8 if kind == "fp32" else 16)
    blocks = 2 if warps == 4 else 1  # of 64 rows in a warpgroup
    assert len(adds) == per_instruction * blocks
    assert [a != "p" for a in adds] == ([True] + [False] * (per_instruction - 1)) * blocks
    assert kernel.resources["spill_stores"] == kernel.resources["stack"] == 0


def test_its_loop_asks_at_its_end_whether_it_goes_on():
    """So its first iteration takes place even where there is none: on copies of nothing, which are zeros."""
    kernel = one()
    first = kernel.loop.splitlines()[:3]
    assert not any("bra" in line for line in first)
    assert kernel.loop.count("bra") == 0  # the branch back is the line behind


def test_a_loop_that_carries_something_else_out_begins_with_zeros():
    """The last index is not known to have been an index, had an iteration taken place that there is not."""
    kernel = one(last=True)
    assert kernel.ptx.count("mov.b32 %named0_0, 0;") == 1
    assert re.search(r"wgmma\.mma_async[^;]*, p, 1, 1, 0, 1;", kernel.loop)
    assert "bra" in kernel.loop


def test_a_sum_that_begins_with_a_tile_is_given_it_by_name():
    kernel = one(begin=True)
    assert re.search(r"mov\.b32 %named0_127, %\w+;", kernel.ptx) and "bra" in kernel.loop


def test_a_sum_that_is_used_in_its_loop_has_no_names():
    assert "%named" not in one(scale=True).ptx


def test_loops_in_loops_declare_their_registers_once_at_the_entry():
    kernel = made(products, {"x": "*bf16", "y": "*bf16", "out": "*fp32", "steps": "i32", "rounds": "i32"})
    declared = [m.start() for m in re.finditer(r"\.reg \.b32 %named\d_<32>;", kernel.ptx)]
    assert len(declared) == 2 and declared[-1] < kernel.ptx.index("$L__BB0_1:")
    assert len(set(re.findall(r"%named\d", kernel.ptx))) == 2


def test_what_is_behind_the_loop_waits_before_it_reads():
    kernel = one()
    behind = kernel.ptx[kernel.ptx.rindex("wgmma.mma_async") :]
    assert behind.index("wgmma.wait_group.sync.aligned 0;") < behind.index(", %named0_0;")


@pytest.mark.parametrize("version, zeros", [((12, 8), 128), ((12, 9), 128), ((13, 0), 0)])
def test_assemblers_of_cuda_12_are_given_first_values(monkeypatch, version, zeros):
    """They would take registers without them for registers that the loop defines, and wait for each instruction (their note C7515)."""
    seen = []

    class Older(assembling.NvJitLink):
        version = (12, 8)

        def run(self, ptx, chip, kernel, options):
            seen.append(ptx)
            return super().run(ptx, chip, kernel, options)

    found = [a for a in assembling.assemblers(chip(90)) if a.name == "nvjitlink"]
    if not found:
        pytest.skip("needs pip install anytile[cuda-check]")
    older = Older(found[0].path)
    monkeypatch.setattr(Older, "version", version)
    monkeypatch.setattr(assembling, "assemblers", lambda chip: (older,))
    kernel = one()
    assert [len(re.findall(r"mov\.b32 %named0_\d+, 0;", text)) for text in seen] == [zeros]
    assert "mov.b32 %named" not in kernel.ptx and kernel.resources["spill_stores"] == 0
