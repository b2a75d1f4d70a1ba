"""Type objects, constexprs and tuples: no kernel needed."""

from __future__ import annotations

import pytest

import anytile.language as tl
from anytile.language.types import SCALARS, parse_signature_type


def test_names_and_spellings():
    assert repr(tl.float32) == "triton.language.float32"
    assert repr(tl.float8e4nv) == "triton.language.float8e4nv"
    assert repr(tl.bfloat16) == "triton.language.bfloat16"
    assert str(tl.float16) == tl.float16.name == "fp16"
    assert [t.mangle() for t in (tl.int1, tl.int8, tl.uint64, tl.bfloat16)] == ["i1", "i8", "u64", "bf16"]
    assert tl.dtype("fp32") == tl.float32
    with pytest.raises(ValueError, match="no dtype called 'float32'"):
        tl.dtype("float32")


@pytest.mark.parametrize("t", SCALARS, ids=str)
def test_every_scalar(t):
    assert getattr(tl, t.codegen_name()) is t
    assert parse_signature_type(t.mangle()) is t
    assert parse_signature_type(t.name) is t
    assert t.is_int() != t.is_floating()
    assert t.to_ir().elem.bits == t.primitive_bitwidth
    assert t.scalar is t and t.shape == () and t.numel == 1
    if t.is_int():
        n = t.int_bitwidth
        assert t.get_int_max_value() - t.get_int_min_value() == 2**n - 1


def test_signatures():
    assert parse_signature_type("*fp16") == tl.pointer_type(tl.float16)
    p = parse_signature_type("*ki8")
    assert p.is_ptr() and p.is_const() and p.element_ty is tl.int8
    assert p != tl.pointer_type(tl.int8)
    assert parse_signature_type("**fp32").element_ty == tl.pointer_type(tl.float32)
    for text in ("tensordesc<fp16[64,32]>", "tensordesc<fp32[8],nan>"):
        assert parse_signature_type(text).mangle() == text
    assert parse_signature_type("tensordesc< fp16 [64, 32] >").block_type == tl.block_type(tl.float16, [64, 32])
    with pytest.raises(ValueError, match="tensor descriptor"):
        parse_signature_type("tensordesc<fp16>")
    with pytest.raises(ValueError, match="'float' is not a type"):
        parse_signature_type("float")


def test_block_types():
    t = tl.block_type(tl.float16, [4, 8])
    assert t.is_block() and t.shape == (4, 8) and t.numel == 32 and t.scalar is tl.float16 and t.nbytes == 64
    assert t == tl.block_type(tl.float16, (tl.constexpr(4), 8)) and hash(t) == hash(tl.block_type(tl.float16, [4, 8]))
    assert t != tl.block_type(tl.float16, [8, 4]) and t != tl.float16
    with pytest.raises(ValueError, match="power of 2"):
        tl.block_type(tl.int32, [3])
    with pytest.raises(ValueError, match="exceeds triton maximum tensor numel"):
        tl.block_type(tl.int32, [2048, 1024])


def test_constexpr_folds():
    five = tl.constexpr(tl.constexpr(5))
    assert five.value == 5 and repr(five) == "constexpr[5]" and f"{five:03d}" == "005"
    assert (five + 2).value == 7 and (2 - five).value == -3 and (five // 2).value == 2 and (-five // 2).value == -3
    assert (five**2).value == 25 and (1 << five).value == 32 and (five / 2).value == 2.5 and (7 % five).value == 2
    assert isinstance(five < 6, tl.constexpr) and five == 5 and five != 4 and not five < 5
    assert (~five).value == -6 and abs(tl.constexpr(-1)).value == 1
    assert list(range(five)) == [0, 1, 2, 3, 4] and [10, 11, 12, 13, 14, 15][five] == 15
    assert {five: 1}[tl.constexpr(5)] == 1
    assert tl.constexpr("abc")[1].value == "b"
    assert tl.constexpr(True).logical_and(tl.constexpr(False)).value is False and five.not_().value is False
    assert five.type == tl.constexpr_type(5) and five.type != tl.constexpr_type(5.0)


def test_tuples():
    t = tl.tuple([tl.constexpr(1), tl.float32, (tl.constexpr(2), tl.constexpr(3))])
    assert len(t) == 3 and t[1] is tl.float32 and isinstance(t[2], tl.tuple) and t[tl.constexpr(-1)][0] == 2
    assert len(t[1:]) == 2 and len(t + (tl.constexpr(4),)) == 4 and len(t * 2) == 6
    assert bool(tl.tuple([1, 2]) == tl.tuple([1, 2])) and not bool(tl.tuple([1, 2]) == tl.tuple([1])) and bool(tl.tuple([1]) != (2,))
    named = tl.tuple([tl.constexpr(1), tl.constexpr(2)], tl.tuple_type([tl.int32, tl.int32], ["x", "y"]))
    assert named.y == 2
    with pytest.raises(AttributeError, match="its fields are x, y"):
        _ = named.z


def test_importing_is_light():
    import subprocess
    import sys

    code = "import sys, anytile.language; print(*(m for m in ('numpy', 'torch', 'llvmlite') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


def test_outside_of_a_kernel():
    with pytest.raises(ValueError, match="outside of a kernel"):
        tl.arange(0, 4)
    assert tl.cdiv(7, 2) == 4
