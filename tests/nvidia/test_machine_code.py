"""The machine code of the yardstick's kernels for Hopper, without a GPU: registers, spills, and which instructions do the work.

Needs what ``pip install anytile[cuda-check]`` brings: NVIDIA's linker, which assembles, and its disassembler.  The kernels and their
arguments are the cases of scripts/gpu_kernels_check.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import pytest
from nvidia_cases import sources

from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.targets.nvidia import assemble
from anytile.targets.nvidia.chips import chip

pytestmark = pytest.mark.skipif(
    assemble.find_tool("nvdisasm") is None or not assemble.assemblers(chip(90)), reason="needs pip install anytile[cuda-check]"
)

#: Loads and stores of local memory: registers that did not suffice.
_LOCAL = ("LDL", "STL")


class Expected(NamedTuple):
    """``registers``: at most.  ``made``: instruction, up to its first modifiers → how many stand in the code, exactly."""

    registers: int
    made: dict[str, int]


#: Case → what its code has.  A count that changes is looked at: is the new one better?  WARPGROUP.DEPBAR waits for tensor cores: in a loop
#: and behind it; where the assembler does not see that it need not, behind each product.
YARDSTICK = {
    "add_fp32_16777216": Expected(40, {"LDG.E.128": 4, "STG.E.128": 2, "LDG": 4, "STG": 2, "BAR": 0}),
    "softmax_fp16_4096x4096": Expected(40, {"LDG.E.128": 2, "STG.E.128": 2, "LDG": 2, "STG": 2, "SHFL": 10, "BAR": 4, "MUFU.EX2": 16}),
    "layernorm": Expected(72, {"LDG.E.128": 8, "LDG.E.64": 4, "LDG": 12, "STG.E.64": 4, "SHFL": 10, "BAR": 4}),
    "cross_entropy": Expected(64, {"LDG.E.128": 4, "SHFL": 10, "BAR": 4, "MUFU.EX2": 33}),
    "matmul_bf16_4096x4096x4096_128x256x64w8": Expected(
        200, {"HGMMA": 4, "WARPGROUP.DEPBAR": 2, "LDGSTS": 24, "LDG": 0, "STG.E.128": 16, "STG": 16}
    ),
    "matmul_bf16_4096x4096x4096_128x128x64w8": Expected(
        128, {"HGMMA": 4, "WARPGROUP.DEPBAR": 2, "LDGSTS": 16, "LDG": 0, "STG.E.128": 8, "STG": 8}
    ),
    "matmul_fp16_4096x4096x4096_128x128x32w4": Expected(
        200, {"HGMMA": 4, "WARPGROUP.DEPBAR": 2, "LDGSTS": 16, "LDG": 0, "STG.E.128": 16, "STG": 16}
    ),
    "matmul_fp32_tf32_4096x4096x4096_128x128x32w8": Expected(
        144, {"HGMMA": 4, "WARPGROUP.DEPBAR": 2, "LDGSTS": 16, "LDG": 0, "STG.E.128": 16, "STG": 16}
    ),
    "attention_d64_128x64w4": Expected(232, {"HGMMA": 16, "WARPGROUP.DEPBAR": 2, "LDGSTS": 16, "LDG.E.128": 8, "LDG": 8, "SHFL": 16}),
    "attention_d128_128x64w8": Expected(184, {"HGMMA": 12, "WARPGROUP.DEPBAR": 2, "LDGSTS": 28, "LDG.E.128": 8, "LDG": 8, "SHFL": 8}),
}


@lru_cache(maxsize=1)
def machine_code(name: str) -> Any:
    """(kernel, its SASS) of a case."""
    cases, kernels = sources()
    case = next(c for c in cases.CASES if c.name == name)
    fn = getattr(kernels, case.kernel)
    source = ASTSource(fn, *cases.specialised(case, fn.arg_names))
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": case.num_warps})
    return kernel, kernel.asm["sass"]


def count(sass: str, instruction: str) -> int:
    return len(re.findall(rf"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?{re.escape(instruction)}[.\s]", sass, re.MULTILINE))


@pytest.mark.parametrize("name", YARDSTICK)
def test_yardstick(name):
    kernel, sass = machine_code(name)
    expected = YARDSTICK[name]
    assert {i: count(sass, i) for i in (*expected.made, *_LOCAL)} == {**expected.made, **dict.fromkeys(_LOCAL, 0)}
    resources = kernel.metadata.resources
    assert (resources["stack"], resources["spill_stores"], resources["spill_loads"]) == (0, 0, 0)
    assert resources["registers"] <= expected.registers


@pytest.mark.parametrize("name", [name for name in YARDSTICK if name.startswith("matmul")])
def test_no_offset_is_made_anew_between_the_copies_of_a_product(name):
    """Wide products are slow, and the next tiles' copies wait for them."""
    _, sass = machine_code(name)
    start, end = loop(sass)
    inside = "\n".join(sass.splitlines()[start:end])
    assert "GMMA" in inside and "LDGSTS" in inside and "IMAD.WIDE" not in inside


def loop(sass: str) -> tuple[int, int]:
    """The first and the last line of the first loop with wgmma."""
    lines = sass.splitlines()
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\.L_\w+):", line))}
    for i, line in enumerate(lines):
        target = re.search(r"BRA `\((\.L_\w+)\)", line)
        if target and labels.get(target[1], i) < i and "GMMA" in "\n".join(lines[labels[target[1]] : i]):
            return labels[target[1]], i
    raise AssertionError("there is no loop")
