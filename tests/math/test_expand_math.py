"""The pass: what it replaces, what it leaves, at which type."""

from __future__ import annotations

import pytest

from anytile.ir import Block, Builder, Func, Module, ptr
from anytile.ir.ops import MATH_BINARY, MATH_UNARY
from anytile.ir.types import BF16, F16, F32, F64, I32, scalar
from anytile.ir.verifier import verify
from anytile.passes.expand_math import EXPANDABLE, expand_math


def kernel(row, elem, shape=(8,)):
    f = Func("k", (ptr(elem, shape), ptr(elem, shape)), ("p", "q"))
    b = Builder(f.body)
    xs = [b.load(p) for p in f.args[: 2 if row in MATH_BINARY or row == "frem" else 1]]
    b.store(f.args[0], b.op(row, *xs))
    b.op("return")
    return Module([f])


def names(m):
    return {op.name for op in m.walk()}


@pytest.mark.parametrize("elem", [F16, BF16, F32, F64], ids=str)
@pytest.mark.parametrize("row", [*MATH_UNARY, *MATH_BINARY, "frem"])
def test_everything_expands(row, elem):
    m = kernel(row, elem)
    assert expand_math(m, {"sqrt"})
    verify(m)
    assert not names(m) & EXPANDABLE


def test_native_rows_stay():
    for native in ({"exp"}, {"exp.f32"}):
        m = kernel("exp", F32)
        assert not expand_math(m, native)
        assert "exp" in names(m)
    m = kernel("exp", F64)
    assert expand_math(m, {"exp.f32"})


def test_expansions_use_native_rows():
    m = kernel("sin", F32)
    expand_math(m, {"rint"})
    assert "rint" in names(m)


def test_inside_loops_and_at_scalars():
    f = Func("k", (scalar(F32),), ("x",))
    b = Builder(f.body)
    zero, n, one = (b.const(v, I32) for v in (0, 4, 1))
    body = Block((scalar(I32), scalar(F32)))
    inner = Builder(body)
    inner.make("yield", [inner.exp(body.args[1])])
    b.make("for", [zero, n, one, f.args[0]], blocks=(body,))
    b.op("return")
    m = Module([f])
    assert expand_math(m, frozenset())
    verify(m)
    assert "exp" not in names(m)
