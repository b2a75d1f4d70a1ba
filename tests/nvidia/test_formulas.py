"""How short the GPU's own formulas are: which instructions one register of them takes."""

from __future__ import annotations

import re

import pytest

from anytile.ir import Builder, Func, Module, ptr
from anytile.ir.types import F32
from anytile.runtime.options import Options
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.codegen import lower
from anytile.targets.nvidia.target import make_ptx


def formula(write, **options) -> str:
    """PTX of y = write(x) on one element a thread."""
    f = Func("k", (ptr(F32), ptr(F32)), ("x", "y"))
    b = Builder(f.body)
    at = b.arange(start=0, end=32)
    x = b.load(b.addptr(b.splat(f.args[0], shape=(32,)), at))
    b.store(b.addptr(b.splat(f.args[1], shape=(32,)), at), write(b, x))
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
