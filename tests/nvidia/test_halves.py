"""Arithmetic of 16-bit floats goes two at a time; what is not exactly that stays f32 arithmetic.  Read off the PTX."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def calculation(x_ptr, y_ptr, out_ptr, KIND: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr + i)
    if KIND == "mul":
        z = x * y
    elif KIND == "add":
        z = x + y
    elif KIND == "sub":
        z = x - y
    elif KIND == "half":
        z = x * 0.5
    elif KIND == "wide":
        z = (x.to(tl.float32) * 0.1).to(x.dtype)  # 0.1 is no bfloat16: the product of f32 is another number
    elif KIND == "twice":
        w = x.to(tl.float32) * y.to(tl.float32)
        z = w.to(x.dtype) + (w * w).to(x.dtype)
    else:
        z = x / y
    tl.store(out_ptr + i, z)


def instructions(kind: str, dtype: str, elements: int, arch: int = 90) -> Counter[str]:
    """Instruction → how often it stands in the text, for 32 threads."""
    constants = {"KIND": kind, "B": elements}
    signature = {"x_ptr": f"*{dtype}", "y_ptr": f"*{dtype}", "out_ptr": f"*{dtype}", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(calculation, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    kernel = compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 1})
    return Counter(re.findall(r"^\s*(?:\{ .*?; )?((?:fma|mul|add|sub|cvt|div)\.[\w.]*f(?:16|32)[\w.]*)", kernel.asm["ptx"], re.MULTILINE))


@pytest.mark.parametrize("kind", ["mul", "add", "sub", "half"])
@pytest.mark.parametrize("dtype, arch", [("bf16", 80), ("bf16", 90), ("fp16", 80)])
def test_pairs(kind, dtype, arch):
    instruction = "fma.rn.bf16x2" if dtype == "bf16" else f"{'mul' if kind == 'half' else kind}.rn.f16x2"
    assert instructions(kind, dtype, 256, arch) == {instruction: 4}


@pytest.mark.parametrize("kind", ["wide", "div"])
def test_what_f32_computes_otherwise_stays(kind):
    assert not any("x2" in name and not name.startswith("cvt") for name in instructions(kind, "bf16", 256))


def test_a_product_that_is_used_in_f32_too_is_computed_once():
    found = instructions("twice", "bf16", 256)
    assert found["mul.rn.f32"] + found["mul.f32"] == 16
    assert found["fma.rn.bf16x2"] == 4  # the sum of two rounded ones


def test_one_number_a_thread_stays_f32():
    assert not any("x2" in name and not name.startswith("cvt") for name in instructions("mul", "bf16", 32))


@jit
def scaled(x_ptr, s_ptr, out_ptr, ROWS: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    s = tl.load(s_ptr + i) if ROWS else tl.load(s_ptr + j)
    tl.store(out_ptr + i * N + j, tl.load(x_ptr + i * N + j) * s)


@pytest.mark.parametrize("rows", [False, True])
def test_a_scale_for_each_row_or_column(rows):
    """It is widened in front of the broadcast, which is looked through."""
    constants = {"ROWS": rows, "M": 4, "N": 64}
    signature = {"x_ptr": "*fp16", "s_ptr": "*fp16", "out_ptr": "*fp16", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(scaled, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    text = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm["ptx"]
    assert text.count("mul.rn.f16x2") == 4 and not re.search(r"cvt|mul\.\w*\.?f32", text)
