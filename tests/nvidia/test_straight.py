"""Long texts without loops are assembled with less pains; loops, matrices, short and very long texts, and what would spill, with all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia import assemble as assembling
from anytile.targets.nvidia import target as nvidia_target
from anytile.targets.nvidia.straight import straight

LINE = "\tadd.f32 \t%r1, %r1, %r2;\n"
PTX = "\n.reqntid 256\n{\n" + 600 * LINE + "}\n"


@pytest.mark.parametrize(
    "text, threads, expected",
    [
        (PTX, 256, True),
        (PTX, 512, False),
        (PTX.replace(LINE, "", 200), 256, False),
        (PTX + 600 * LINE, 256, False),
        ("$L__BB0_1:\n" + PTX + "\t@%p1 bra \t$L__BB0_1;\n", 256, False),
        ("$L__BB0_1:\n" + PTX + "\tbra.uni \t$L__BB0_1;\n", 256, False),
        ("\t@%p1 bra \t$L__BB0_1;\n" + PTX + "$L__BB0_1:\n$L__BB0_2:\n", 256, True),
        (PTX + "mma.sync.aligned.m16n8k16\n", 256, False),
        (PTX + "wgmma.mma_async\n", 256, False),
    ],
)
def test_straight(text, threads, expected):
    assert straight(text, threads) == expected


def made(monkeypatch, stacks: list[int], **options: object) -> list[bool]:
    """Whether with less pains, one assembly after the other."""
    seen: list[bool] = []

    def assemble(ptx, chip, entry, ptx_options, driver, quick):
        seen.append(quick)
        return SimpleNamespace(registers=96, shared=0, stack=stacks[len(seen) - 1], spill_stores=0)

    monkeypatch.setattr(nvidia_target.assembling, "assemble", assemble)
    metadata = {"entry": "k", "num_warps": 8, "shared": 0, "work": {"reduces": 64}}
    nvidia_target.NvidiaTarget(90, None)._assembled(PTX, metadata, SimpleNamespace(**options))
    return seen


def test_what_would_spill_is_assembled_again(monkeypatch):
    assert made(monkeypatch, [0]) == [True]
    assert made(monkeypatch, [16, 0]) == [True, False]
    assert made(monkeypatch, [0], maxnreg=128) == [False]


@jit
def softmax(x, out, n, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i, mask=i < n, other=-float("inf")).to(tl.float32)
    weights = tl.exp(v - tl.max(v, 0))
    tl.store(out + i, (weights / tl.sum(weights, 0)).to(out.dtype.element_ty), mask=i < n)


@pytest.mark.skipif(not assembling._find_nvjitlink(), reason="needs pip install anytile[cuda-check]")
@pytest.mark.parametrize("options, level", [({}, ["-O1"]), ({"ptx_options": "-lineinfo"}, [])])
def test_a_long_row_is_assembled_at_level_1_unless_options_say_something(monkeypatch, options, level):
    seen = []
    run = assembling.NvJitLink.run
    monkeypatch.setattr(
        assembling.NvJitLink, "run", lambda self, *args: (seen.append([o for o in args[3] if o[:2] == "-O"]), run(self, *args))[1]
    )
    source = ASTSource(
        softmax,
        {"x": "*bf16", "out": "*bf16", "n": "i32", "N": "constexpr"},
        {"N": 16384},
        {(i,): [["tt.divisibility", 16]] for i in range(3)},
    )
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, **options})
    assert seen[0] == level and kernel.metadata.resources["stack"] == 0
