"""Promotion tables, operators and conversions against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import anytile.language as tl
from anytile.language.promotion import common_type
from anytile.language.types import SCALARS

FLOAT_ORDER = [tl.float64, tl.float32, tl.float16]


@pytest.mark.parametrize("a, b", list(itertools.product(SCALARS, SCALARS)), ids=str)
def test_promotion_of_tensors(a, b):
    if a.is_fp8() != b.is_fp8() and (a if b.is_fp8() else b).is_int():
        with pytest.raises(TypeError, match="invalid operands"):
            common_type(a, False, b, False)
        return
    got = common_type(a, False, b, False)
    assert got == common_type(b, False, a, False)
    for t in FLOAT_ORDER:
        if t in (a, b):
            assert got == t
            return
    if tl.bfloat16 in (a, b):
        assert got == (tl.bfloat16 if a == b else tl.float32)
    elif a.is_fp8() and b.is_fp8():
        assert got == (a if a == b else tl.float16)
    elif a.int_signedness == b.int_signedness:
        assert got.int_bitwidth == max(a.int_bitwidth, b.int_bitwidth)
    else:
        u, s = (a, b) if a.is_int_unsigned() else (b, a)
        assert got == (u if u.int_bitwidth >= s.int_bitwidth else s)


@pytest.mark.parametrize(
    "x, scalar, want",
    [
        (tl.int8, 1, tl.int8),
        (tl.uint8, True, tl.uint8),
        (tl.int1, 1, tl.int32),
        (tl.float16, 1.5, tl.float16),
        (tl.bfloat16, 1, tl.bfloat16),
        (tl.float8e5, 1.0, tl.float8e5),
        (tl.float32, 1e300, tl.float32),
        (tl.int32, 1.5, tl.float32),
        (tl.int8, 1e300, tl.float64),
    ],
)
def test_promotion_with_scalars(recording, x, scalar, want):
    with recording([x]) as (a,):
        assert (a + scalar).dtype == want
        assert (scalar + a).dtype == want
        assert (a + tl.constexpr(scalar)).dtype == want
        assert (tl.constexpr(scalar) + a).dtype == want


def test_scalar_literals(recording):
    with recording([]):
        kinds = {True: "int1", 5: "int32", 2**31: "uint32", 2**32: "int64", 2**63: "uint64", -(2**31): "int32", -(2**31) - 1: "int64"}
        for value, name in kinds.items():
            assert tl.to_tensor(value).dtype.name == name
        assert [tl.to_tensor(v).dtype.name for v in (0.5, 0.0, float("inf"), 1e-45, 1e39)] == ["fp32"] * 3 + ["fp64"] * 2
        with pytest.raises(ValueError, match="64 bits"):
            tl.to_tensor(2**64)
        with pytest.raises(TypeError, match="cannot convert 'x' of type str"):
            tl.to_tensor("x")
        with pytest.raises(TypeError, match="None is used as a number or a pointer here"):
            tl.to_tensor(None)


def test_a_shape_of_numpy_integers_is_told_from_one_of_run_time_values(recording):
    with recording([]), pytest.raises(ValueError, match="constexpr") as failure:
        tl.arange(0, np.int64(4))
    assert failure.value.advice.endswith("of type int64; write int(...) where it comes from")


def test_refusals(recording):
    with recording([tl.pointer_type(tl.float32), tl.int32, tl.uint32, tl.float32, tl.uint8]) as (p, i, u, f, b):
        cases = [
            (lambda: i // u, TypeError, "different signedness"),
            (lambda: i % u, TypeError, "different signedness"),
            (lambda: f // i, TypeError, "// needs integers, not fp32"),
            (lambda: f & i, TypeError, "invalid operands"),
            (lambda: f << 1, TypeError, "invalid operands"),
            (lambda: ~f, TypeError, "unary invert"),
            (lambda: -p, TypeError, "unary minus"),
            (lambda: p + p, TypeError, "cannot add pointers"),
            (lambda: tl.arange(0, 4) < p, TypeError, "a pointer is an address; read the number there with tl.load"),
            (lambda: p == i, TypeError, "pass a number instead of a tensor"),
            (lambda: p > 0, TypeError, "a pointer is an address"),
            (lambda: p + f, TypeError, "invalid operands"),
            (lambda: p * i, TypeError, "invalid operands"),
            (lambda: i**2, TypeError, "not an operator of tensors"),
            (lambda: b - 300, ValueError, "out of range for type uint8"),
            (lambda: u + -1, ValueError, "negative scalar -1"),
            (lambda: bool(i), TypeError, "known only when the kernel runs"),
            (lambda: tl.arange(0, 4) + tl.arange(0, 8), ValueError, "4 and 8"),
            (lambda: tl.arange(0, 3), ValueError, "power of 2"),
            (lambda: tl.arange(0, i), ValueError, "constexpr"),
            (lambda: tl.program_id(3), ValueError, "must be 0, 1, or 2"),
            (lambda: tl.exp(i), TypeError, "but got int32"),
            (lambda: tl.arange(0, 4)[0], ValueError, "unsupported tensor index"),
            (lambda: tl.store(i, 1), ValueError, "Unsupported ptr type"),
            (lambda: tl.load((i,)), ValueError, "in `tl.load`: a tuple of one value, not a pointer; does a comma stand behind"),
            (lambda: tl.load(p, other=0.0), ValueError, "without `mask`"),
            (lambda: tl.load(p, tl.arange(0, 4) < 2), ValueError, "Mask argument cannot be block type"),
            (lambda: tl.store(p, tl.arange(0, 4)), ValueError, "Value argument cannot be block type"),
            (lambda: tl.load(p + tl.arange(0, 4), 1), ValueError, "boolean"),
            (lambda: f.to(tl.float64, fp_downcast_rounding="rtz"), ValueError, "truncating fp"),
            (lambda: i.to(tl.float16, bitcast=True), ValueError, "Cannot bitcast"),
        ]
        for make, kind, text in cases:
            with pytest.raises(kind, match=text.replace("(", r"\(")):
                make()


def test_pointers_compare_with_pointers_and_literals(recording):
    with recording([tl.pointer_type(tl.float32), tl.pointer_type(tl.float32)]) as (p, q):
        assert all(made.dtype.is_int1() for made in (p == q, p < q + 4, p == 0, 0 != p, tl.constexpr(0) == p))


def test_const_pointers_are_read_only(recording):
    with recording([tl.pointer_type(tl.float32, const=True)]) as (p,):
        tl.load(p)
        for write in (lambda: tl.store(p, 1.0), lambda: tl.atomic_add(p + tl.arange(0, 4), 1.0)):
            with pytest.raises(ValueError, match="constant pointer"):
                write()


def test_integer_division_truncates(evaluate):
    x, y = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    quotient, remainder, ratio = evaluate(lambda a, b: (a // b, a % b, a / b), x, y)
    np.testing.assert_array_equal(quotient, [3, -3, -3, 3])
    np.testing.assert_array_equal(remainder, [1, -1, 1, -1])
    np.testing.assert_array_equal(ratio, np.float32([3.5, -3.5, -3.5, 3.5]))
    assert evaluate.last[2].scalar is tl.float32


def test_unsigned_operations(evaluate):
    x = np.array([2**32 - 1, 3, 2**31, 8], np.uint32)
    got = evaluate(lambda a: (a >> 1, a // 3, a % 5, a > 5, tl.maximum(a, 7), a.to(tl.int64), a.to(tl.float64)), x)
    for g, want in zip(got, (x >> 1, x // 3, x % 5, x > 5, np.maximum(x, 7), x.astype(np.int64), x.astype(np.float64))):
        np.testing.assert_array_equal(g, want)


def test_signed_shift_and_bits(evaluate):
    x = np.array([-8, 5, -1, 127], np.int8)
    got = evaluate(lambda a: (a >> 1, a << 1, a & 3, a | 3, a ^ 3, ~a, -a, abs(a), 1 << (a & 3)), x)
    for g, want in zip(got, (x >> 1, x << 1, x & 3, x | 3, x ^ 3, ~x, -x, abs(x), 1 << (x & 3))):
        np.testing.assert_array_equal(g, want)


def test_half_division_is_in_fp32(evaluate):
    x, y = np.float16([1, 2, 10, 1]), np.float16([3, 3, 7, 0])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(evaluate(lambda a, b: a / b, x, y), x.astype(np.float32) / y)
    assert evaluate.last[0].scalar is tl.float32


def test_booleans(evaluate):
    x = np.array([True, False, True, False])
    y = np.array([True, True, False, False])
    got = evaluate(lambda a, b: (a & b, ~a, a < b, a.to(tl.int32), a.logical_or(b), a + 0, tl.where(a, 1.5, 2), a.to(tl.float32)), x, y)
    for g, want in zip(got, (x & y, ~x, ~x & y, x.astype(int), x | y, x.astype(int), np.where(x, 1.5, 2), x.astype(float))):
        np.testing.assert_array_equal(g, want)


def test_comparison_with_nan_and_signed_zero(evaluate):
    x = np.float32([np.nan, 0.0, -0.0, 1.0])
    ne, eq, neg, nan_min, nan_min_all = evaluate(
        lambda a: (a != a, a == a, -a, tl.minimum(a, 0.5), tl.minimum(a, 0.5, propagate_nan=tl.PropagateNan.ALL)), x
    )
    np.testing.assert_array_equal(ne, [True, False, False, False])
    np.testing.assert_array_equal(eq, [False, True, True, True])
    np.testing.assert_array_equal(np.signbit(neg[1:]), [True, False, True])
    np.testing.assert_array_equal(nan_min, np.float32([0.5, 0, 0, 0.5]))
    assert np.isnan(nan_min_all[0])


CASTS = [t for t in SCALARS if t.name != "fp8e4b15"]


@pytest.mark.parametrize("to", CASTS, ids=str)
def test_casts_of_small_integers_are_exact(evaluate, to):
    x = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.int32)
    for start in CASTS:
        want = (x != 0) if tl.int1 in (start, to) else x
        got = evaluate(lambda a: a.to(start).to(to), x)
        np.testing.assert_array_equal(got.astype(np.float64), np.asarray(want, np.float64), err_msg=f"{start} → {to}")


def test_cast_edges(evaluate):
    x = np.float32([1.9, -1.9, 0.3, 1e6])
    down, truth, e4m3, rtz, bits = evaluate(
        lambda a: (a.to(tl.int32), a.to(tl.int1), a.to(tl.float8e4nv), a.to(tl.bfloat16, "rtz"), a.to(tl.int32, bitcast=True)), x
    )
    np.testing.assert_array_equal(down, [1, -1, 0, 1000000])
    assert truth.all()
    assert e4m3[3] == 448
    assert rtz[0] == 1.8984375
    np.testing.assert_array_equal(bits, x.view(np.int32))


def test_dtype_objects_convert(evaluate):
    np.testing.assert_array_equal(evaluate(lambda a: tl.float32(a) / 2, np.array([1, 2], np.int8)), np.float32([0.5, 1]))


def test_broadcasting(evaluate):
    x, y = np.arange(4, dtype=np.int32), np.arange(8, dtype=np.int32)
    np.testing.assert_array_equal(evaluate(lambda a, b: a[:, None] * 10 + b[None, :], x, y), x[:, None] * 10 + y)
    np.testing.assert_array_equal(evaluate(lambda a, b: a[:, None] + b, x, y), x[:, None] + y)


def test_where_on_pointers_and_scalars(evaluate):
    x = np.arange(8, dtype=np.int32)
    np.testing.assert_array_equal(evaluate(lambda a: tl.where(a > 3, a, -1), x), np.where(x > 3, x, -1))
    np.testing.assert_array_equal(evaluate(lambda a: tl.where(tl.sum(a) > 3, a, 0), x), x)


def test_sanitized_overflow_asserts(recording):
    for debug, sanitize, want in ((True, True, 1), (True, False, 0), (False, True, 0)):
        kernel = recording([tl.int32, tl.int64], debug=debug, sanitize_overflow=sanitize)
        with kernel as (i, wide):
            i + i
            wide + wide
            tl.add(i, i, sanitize_overflow=False)
        assert sum(op.name == "assert" for op in kernel.module.walk()) == want


def test_one_context_per_thread(recording):
    import threading

    seen = []
    with recording([tl.int32]):
        thread = threading.Thread(target=lambda: seen.append(tl.core.is_builtin(tl.load)) or _fails(seen))
        thread.start()
        thread.join()
    assert seen == [True, "ValueError"]


def _fails(seen):
    try:
        tl.arange(0, 2)
    except ValueError as e:
        seen.append(type(e).__name__)
