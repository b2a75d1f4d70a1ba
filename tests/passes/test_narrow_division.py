"""Divisions of 64 bits whose operands have 32 are such of 32 bits, and give the same."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.passes.pipeline import optimize
from anytile.runtime.compiler import ASTSource, Options
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit

LEAST = -(1 << 31)


@jit
def quotients(x, y, q, r, N: tl.constexpr, SHIFT: tl.constexpr):
    i = tl.arange(0, N)
    a, b = tl.load(x + i).to(tl.int64) >> SHIFT, tl.load(y + i).to(tl.int64)
    tl.store(q + i, a // b)
    tl.store(r + i, a % b)


@jit
def places(out, n):
    pid = tl.program_id(0).to(tl.int64)
    tl.store(out + pid, pid // n * 1000 + pid % n)


def divisions(fn, signature: dict[str, str], constants: dict[str, object]) -> list[tuple[str, int]]:
    source = ASTSource(fn, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
    module = source.make_module(Options.of({}, GPUTarget("cuda", 90, 32), "k"))
    optimize(module)
    return [(op.name, op.results[0].type.elem.bits) for op in module.walk() if op.name[1:] in ("div", "rem")]


def test_a_programs_number_is_divided_in_32_bits():
    assert divisions(places, {"out": "*i64", "n": "i32"}, {}) == [("sdiv", 32), ("srem", 32)]
    assert divisions(places, {"out": "*i64", "n": "i64"}, {}) == [("sdiv", 64), ("srem", 64)]


@pytest.mark.parametrize("shift, bits", [(0, 64), (1, 32)])
def test_what_could_overflow_keeps_its_bits(shift, bits):
    """The least number of 32 bits by −1; half of it is divided in 32 bits."""
    constants = {"N": 4, "SHIFT": shift}
    assert divisions(quotients, {"x": "*i32", "y": "*i32", "q": "*i64", "r": "*i64"}, constants) == [("sdiv", bits), ("srem", bits)]


@pytest.mark.parametrize("shift", [0, 1])
def test_quotients(shift):
    values = np.array([LEAST, LEAST + 1, -7, -1, 1, 2, 7, 1 << 30], np.int32)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    q, r = np.zeros((2, 64), np.int64)
    quotients[(1,)](x.copy(), y.copy(), q, r, N=64, SHIFT=shift)
    a, b = x.astype(np.int64) >> shift, y.astype(np.int64)
    want = np.where((a < 0) != (b < 0), -(abs(a) // abs(b)), abs(a) // abs(b))
    assert (q == want).all() and (r == a - want * b).all()


def test_places():
    out = np.zeros(20, np.int64)
    places[(20,)](out, 3)
    assert (out == np.arange(20) // 3 * 1000 + np.arange(20) % 3).all()
