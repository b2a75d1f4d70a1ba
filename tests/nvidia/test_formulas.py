"""How short the GPU's own formulas are: which instructions one register of them takes."""

from __future__ import annotations

import re

import pytest

import anytile.language as tl
from anytile.ir import Builder, Func, Module, ptr
from anytile.ir.types import F32
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.runtime.options import Options
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.codegen import lower
from anytile.targets.nvidia.target import make_ptx


def formula(write, elements=32, **options) -> str:
    """PTX of y = write(x), by one warp."""
    f = Func("k", (ptr(F32), ptr(F32)), ("x", "y"))
    b = Builder(f.body)
    at = b.arange(start=0, end=elements)
    x = b.load(b.addptr(b.splat(f.args[0], shape=(elements,)), at))
    b.store(b.addptr(b.splat(f.args[1], shape=(elements,)), at), write(b, x))
    b.op("return")
    text, _ = lower(Module([f]), Options(num_warps=1, **options), chip(90))
    return make_ptx(text, chip(90))


def sigmoid(b, x):
    one = b.const(1.0, x.type)
    return b.fdiv(one, b.fadd(one, b.exp(b.fneg(x))))


def floats(ptx: str) -> list[str]:
    """The instructions that compute on f32."""
    return re.findall(r"^\s+((?!ld|st|mov)[a-z0-9]+(?:\.[a-z0-9]+)*\.f32)\b", ptx, re.M)


def test_sigmoid_divides_by_one_reciprocal():
    assert sorted(i.split(".")[0] for i in floats(formula(sigmoid))) == [
        "add",
        "ex2",
        "mul",
        "rcp",
    ]  # the sign goes into the product with log₂e


@pytest.mark.parametrize("options,ftz", [({}, True), ({"enable_reflect_ftz": False}, False)], ids=["flushing", "gradual"])
def test_the_reciprocal_flushes_only_where_exp_does(options, ftz):
    assert ("rcp.approx.ftz.f32" in formula(sigmoid, **options)) is ftz


def test_a_reciprocal_of_anything_keeps_subnormal_divisors():
    ptx = formula(lambda b, x: b.fdiv(b.const(1.0, x.type), x))
    assert "rcp.approx.f32" in ptx and "div" not in ptx


def test_other_dividends_are_divided():
    assert "div.full.f32" in formula(lambda b, x: b.fdiv(b.const(2.0, x.type), x))
    assert "rcp.rn.f32" in formula(lambda b, x: b.fdiv(b.const(1.0, x.type), x, precise=True))


def test_tanh_takes_one_exponential_and_one_reciprocal():
    ptx = formula(lambda b, x: b.tanh(x))
    assert ptx.count("ex2.approx.ftz.f32") == 1 and ptx.count("rcp.approx.ftz.f32") == 1 and "div" not in ptx


@pytest.mark.parametrize("row", ["sin", "cos"])
def test_small_angles_need_no_f64(row):
    """One branch decides for all registers of a thread; the long way is a function that all of them call."""
    ptx = formula(lambda b, x: getattr(b, row)(x), elements=256)
    kernel, _, function = ptx.partition(".entry k(")[2].partition("\n}")
    assert ".f64" not in kernel and len(re.findall(r"@%p\d+ bra", kernel)) == 1 and len(re.findall(r"\bcall\.uni\b", kernel)) == 8
    assert ".f64" in ptx.partition(".entry k(")[0] + function


@jit
def turned(x_ptr, out_ptr, steps, N: tl.constexpr):
    i = tl.arange(0, N)
    acc = tl.zeros((N,), tl.float32)
    for k in range(steps):
        acc += tl.cos(tl.load(x_ptr + k)) * tl.sin(i * 0.5)
    tl.store(out_ptr + i, acc)


def test_angles_of_scalars_and_of_indices():
    """Equal ones are computed once; what a loop does not change is not moved in front of it, since it branches."""
    signature = {"x_ptr": "*fp32", "out_ptr": "*fp32", "steps": "i32", "N": "constexpr"}
    ptx = compile(ASTSource(turned, signature, {"N": 128}), target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert ptx.count("call.uni") == 2


def test_beside_wgmma_the_long_way_is_written_in_line():
    @jit
    def rotated(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
        i = tl.arange(0, N)
        at = i[:, None] * N + i[None, :]
        tl.store(out_ptr + at, tl.sin(tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at))))

    signature = {"a_ptr": "*fp16", "b_ptr": "*fp16", "out_ptr": "*fp32", "N": "constexpr"}
    ptx = compile(ASTSource(rotated, signature, {"N": 64}), target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert "wgmma" in ptx and "call.uni" not in ptx and ".f64" in ptx
