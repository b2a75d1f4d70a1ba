"""Integers that are known to be short reach 16-bit floats by way of f32, all others by way of f64."""

from __future__ import annotations

import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def cast(x_ptr, out_ptr, MASK: tl.constexpr, LESS: tl.constexpr, KIND: tl.constexpr):
    i = tl.arange(0, 64)
    tl.store(out_ptr + i, ((tl.load(x_ptr + i).to(KIND) & MASK) - LESS).to(tl.float16))


def by_f64(mask: int, less: int, kind: tl.dtype) -> bool:
    constants = {"MASK": mask, "LESS": less, "KIND": kind}
    signature = {"x_ptr": "*i32", "out_ptr": "*fp16", **dict.fromkeys(constants, "constexpr")}
    text = compile(ASTSource(cast, signature, constants), target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm["ptx"]
    assert "f64" in text or "cvt.rn.f32." in text
    return "f64" in text


@pytest.mark.parametrize("kind", [tl.int32, tl.int64])
def test_up_to_what_f32_holds(kind):
    assert not by_f64(15, 8, kind)
    assert not by_f64(0xFFFFFF, 0, kind), "2**24 - 1"
    assert not by_f64(0xFFF, 1 << 24, kind), "-2**24 ..."
    assert by_f64(0x1FFFFFF, 0, kind), "2**25 - 1"
    assert by_f64(0xFFF, (1 << 24) + 1, kind)


def test_unsigned_numbers_are_not_negative():
    assert not by_f64(0xFFFFFF, 0, tl.uint32)
    assert by_f64(15, 8, tl.uint32), "what is below zero wraps"
