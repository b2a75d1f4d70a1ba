"""Shapes, memory, reductions, sorting, dot, windows: values against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import UnsupportedError

X = np.arange(32, dtype=np.int32).reshape(4, 8)
rng = np.random.default_rng(3)


# --- shapes ---------------------------------------------------------------------------------------------


def test_shape_operations(evaluate):
    got = evaluate(
        lambda x: (
            x.T,
            tl.trans(x),
            tl.reshape(x, (2, 16)),
            x.reshape([8, 4]),
            tl.view(x, 32),
            x.ravel(),
            tl.expand_dims(x, (0, -1)),
            x[None, :, None, :],
            tl.flip(x),
            tl.flip(x, 0),
            tl.permute(x, 1, 0),
            tl.join(x, -x),
            tl.interleave(x, -x),
            tl.cat(x, -x),
            tl.cat(x, -x, dim=1),
            tl.broadcast_to(x[:, None, :], 4, 2, 8),
            tl.squeeze(x[:, None], 1),
            tl.unsqueeze(x, 0),
            tl.zeros_like(x),
            tl.full((2, 2), 7, tl.uint8),
        ),
        X,
    )
    wants = (
        *(X.T, X.T, X.reshape(2, 16), X.reshape(8, 4), X.ravel(), X.ravel(), X[None, :, :, None], X[None, :, None, :]),
        *(X[:, ::-1], X[::-1], X.T, np.stack([X, -X], -1), np.stack([X, -X], -1).reshape(4, 16)),
        *(np.concatenate([X, -X]), np.concatenate([X, -X], 1), np.broadcast_to(X[:, None], (4, 2, 8)), X, X[None], X * 0),
        np.full((2, 2), 7, np.uint8),
    )
    assert len(got) == len(wants)
    for i, (g, want) in enumerate(zip(got, wants)):
        np.testing.assert_array_equal(g, want, err_msg=str(i))


def test_true_is_one_in_shapes(evaluate):
    """A block size that is the largest of some comparisons: True, an integer to Python, and so to Triton."""
    (one,) = evaluate(lambda x: x + tl.arange(0, tl.constexpr(True))[:, None] + tl.zeros((True, 8), tl.int32), X[0])
    np.testing.assert_array_equal(one.reshape(8), X[0])


def test_split_and_scalars(evaluate):
    low, high = evaluate(lambda x: tl.split(tl.reshape(x, 4, 4, 2)), X)
    np.testing.assert_array_equal(low, X.reshape(4, 4, 2)[..., 0])
    np.testing.assert_array_equal(high, X.reshape(4, 4, 2)[..., 1])
    a, b = evaluate(lambda x: tl.split(tl.join(tl.sum(x), 5)), X)
    assert (a, b) == (X.sum(), 5)
    assert evaluate(lambda x: tl.full((1, 1), 3, tl.int32).item(), X) == 3


def test_shape_attributes(recording):
    with recording([tl.int32]):
        x = tl.zeros((4, 8), tl.float16)
        assert x.shape == (4, 8) and x.shape[0] == 4 and len(x.shape) == 2 and isinstance(x.shape[1], tl.constexpr)
        assert x.numel == 32 and x.dtype is tl.float16 and x.type.shape == (4, 8)
        assert tl.zeros(x.shape, x.dtype).type == x.type
        assert tl.zeros([x.shape[1], 2], tl.int8).type.shape == (8, 2)
        assert str(x) == "fp16[constexpr[4], constexpr[8]]"  # what tl.static_print shows
        assert x[:, None, :, :].type.shape == (4, 1, 8)  # a ':' too many is nothing
        for make, text in [
            (lambda: x.reshape(4, 4), "total number of elements"),
            (lambda: tl.permute(x, 0, 0), "permutation"),
            (lambda: tl.split(x), "size 2"),
            (lambda: tl.expand_dims(x, (0, 0)), "duplicate axes"),
            (lambda: x.sum(2), "invalid axis 2: out of range"),
            (lambda: tl.broadcast_to(x, 8, 8), "non-singleton"),
            (lambda: x[:, :, :, None], "invalid axis 3"),
        ]:
            with pytest.raises(ValueError, match=text):
                make()


def test_gather_and_histogram(evaluate):
    i = rng.integers(0, 8, (4, 2)).astype(np.int32)
    np.testing.assert_array_equal(evaluate(lambda x, i: tl.gather(x, i, 1), X, i), np.take_along_axis(X, i, 1))
    v = rng.integers(-1, 9, 64).astype(np.int32)
    all_, some = evaluate(lambda v: (tl.histogram(v, 8), v.histogram(8, mask=v > 3)), v)
    np.testing.assert_array_equal(all_, np.bincount(v[(v >= 0) & (v < 8)], minlength=8))
    np.testing.assert_array_equal(some, np.bincount(v[(v > 3) & (v < 8)], minlength=8))


# --- reductions, scans, order ---------------------------------------------------------------------------


def test_reductions(evaluate):
    x = rng.standard_normal((8, 16)).astype(np.float32)
    got = evaluate(
        lambda x: (tl.sum(x, 1), x.sum(), x.max(0), tl.min(x, 1, keep_dims=True), x.argmax(1), tl.argmin(x, 0), tl.max(x, keep_dims=True)),
        x,
    )
    for g, want in zip(got, (x.sum(1), x.sum(), x.max(0), x.min(1, keepdims=True), x.argmax(1), x.argmin(0), x.max(keepdims=True))):
        np.testing.assert_allclose(g, want, rtol=1e-5)


def test_widening_of_reductions(recording):
    with recording([tl.int32]):
        sums = {
            tl.int8: tl.int32,
            tl.int1: tl.uint32,
            tl.uint16: tl.uint32,
            tl.int64: tl.int64,
            tl.float16: tl.float16,
            tl.bfloat16: tl.bfloat16,
        }
        for t, want in sums.items():
            assert tl.sum(tl.zeros((8,), t)).dtype == want
        extrema = {tl.int8: tl.int32, tl.uint16: tl.int32, tl.float16: tl.float32, tl.bfloat16: tl.float32, tl.uint64: tl.uint64}
        for t, want in extrema.items():
            assert tl.max(tl.zeros((8,), t)).dtype == want
        assert tl.sum(tl.zeros((8,), tl.float16), dtype=tl.float32).dtype == tl.float32
        assert tl.cumsum(tl.zeros((8,), tl.bfloat16)).dtype == tl.float32


def test_argmax_ties_and_nan(evaluate):
    x = np.float32([1, 5, np.nan, 5, -np.inf, 2, np.nan, 0])
    value, index = evaluate(lambda x: tl.max(x, 0, return_indices=True), x)
    assert (value, index) == (5, 1)
    assert evaluate(lambda x: tl.argmin(x, 0), x) == 4
    value, index = evaluate(lambda x: tl.max(tl.reshape(x, 2, 4), None, return_indices=True), x)
    assert (value, index) == (5, 1)


def test_scans(evaluate):
    x = rng.integers(-3, 4, (4, 16)).astype(np.int32)
    a, b, c = evaluate(lambda x: (tl.cumsum(x, 1), tl.cumsum(x, 0, reverse=True), tl.cumprod(x, 1)), x)
    np.testing.assert_array_equal(a, x.cumsum(1))
    np.testing.assert_array_equal(b, x[::-1].cumsum(0)[::-1])
    np.testing.assert_array_equal(c, x.cumprod(1))


def test_reduce_and_scan_by_builtins(evaluate):
    x = rng.integers(0, 100, (4, 16)).astype(np.int32)
    a, b = evaluate(lambda x: (tl.reduce(x, 1, tl.maximum), tl.associative_scan(x, 1, tl.maximum)), x)
    np.testing.assert_array_equal(a, x.max(1))
    np.testing.assert_array_equal(b, np.maximum.accumulate(x, 1))
    y, z = evaluate(lambda x: tl.reduce((x, -x), 0, tl.core.builtin(lambda a, b, c, d: (a + c, tl.minimum(b, d)))), x)
    np.testing.assert_array_equal(y, x.sum(0))
    np.testing.assert_array_equal(z, (-x).min(0))


def test_combine_function_checks(recording):
    with recording([tl.int32]):
        x = tl.zeros((8,), tl.int32)
        with pytest.raises(TypeError, match="returns fp32 where the operand has int32"):
            tl.reduce(x, 0, tl.core.builtin(lambda a, b: a / b))
        with pytest.raises(ValueError, match="returns 2 values for 1"):
            tl.reduce(x, 0, tl.core.builtin(lambda a, b: (a, b)))
        with pytest.raises(TypeError, match="combine function must be"):
            tl.reduce(x, 0, 3)


def test_map_elementwise(evaluate):
    x = np.arange(8, dtype=np.int32)
    double, swapped = evaluate(
        lambda x: (
            tl.map_elementwise(tl.core.builtin(lambda a: a * 2), x),
            tl.map_elementwise(tl.core.builtin(lambda a0, a1: (a1, a0)), x, pack=2),
        ),
        x,
    )
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_array_equal(swapped, x.reshape(4, 2)[:, ::-1].ravel())


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_sorting(evaluate, n):
    x = rng.integers(-50, 50, (4, n)).astype(np.int32)
    up, down = evaluate(lambda x: (tl.sort(x), tl.sort(x, descending=True)), x)
    np.testing.assert_array_equal(up, np.sort(x))
    np.testing.assert_array_equal(down, np.sort(x)[:, ::-1])
    k = max(1, n // 4)
    top, low = evaluate(lambda x: (tl.topk(x, k), tl.topk(x, k, descending=False)), x)
    np.testing.assert_array_equal(top, np.sort(x)[:, ::-1][:, :k])
    np.testing.assert_array_equal(low, np.sort(x)[:, :k])
    bitonic = np.concatenate([np.sort(x[:, : n // 2]), np.sort(x[:, n // 2 :])[:, ::-1]], 1)
    np.testing.assert_array_equal(evaluate(lambda x: tl.bitonic_merge(x), bitonic), np.sort(x))


def test_softmax_and_sigmoid(evaluate):
    x = rng.standard_normal((4, 8)).astype(np.float32)
    soft, soft1, sig = evaluate(lambda x: (tl.softmax(x), tl.softmax(x, 1), tl.sigmoid(x)), x)
    e = np.exp(x - x.max(0))
    np.testing.assert_allclose(soft, e / e.sum(0), rtol=1e-5)
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(soft1, e / e.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(sig, 1 / (1 + np.exp(-x)), rtol=1e-5)


def test_swizzle_and_cdiv(evaluate):
    i, j = evaluate(lambda x: tl.swizzle2d(tl.arange(0, 4)[:, None], tl.arange(0, 8)[None, :], 4, 8, 2), X)
    assert (i[0, 0], j[0, 0], i[0, 1], j[0, 1], i[0, 2], j[0, 2]) == (0, 0, 1, 0, 0, 1)
    assert len(set(zip(i.ravel().tolist(), j.ravel().tolist()))) == 32
    a, b = evaluate(lambda x: (tl.cdiv(x, 3), tl.cdiv(64, x + 1)), X)
    np.testing.assert_array_equal(a, -(-X // 3))
    np.testing.assert_array_equal(b, -(-64 // (X + 1)))


# --- dot ------------------------------------------------------------------------------------------------


def test_dot(evaluate):
    a, b = rng.standard_normal((16, 32)).astype(np.float32), rng.standard_normal((32, 8)).astype(np.float32)
    c = np.ones((16, 8), np.float32)
    np.testing.assert_allclose(evaluate(lambda a, b, c: tl.dot(a, b, c), a, b, c), a @ b + c, rtol=1e-4, atol=1e-5)
    i, k = rng.integers(-128, 128, (2, 16, 16)).astype(np.int8), rng.integers(-128, 128, (2, 16, 16)).astype(np.int8)
    np.testing.assert_array_equal(evaluate(lambda a, b: tl.dot(a, b), i, k), i.astype(np.int32) @ k.astype(np.int32))


def test_dot_types(recording):
    with recording([tl.int32]):

        def z(t, *shape):
            return tl.zeros(shape or (16, 16), t)

        assert tl.dot(z(tl.float16), z(tl.float16)).dtype == tl.float32
        assert tl.dot(z(tl.float16), z(tl.float16), out_dtype=tl.float16).dtype == tl.float16
        assert tl.dot(z(tl.float16), z(tl.float16), z(tl.float16)).dtype == tl.float16
        assert tl.dot(z(tl.bfloat16), z(tl.bfloat16)).dtype == tl.float32
        assert tl.dot(z(tl.float64), z(tl.float64)).dtype == tl.float64
        assert tl.dot(z(tl.float8e5), z(tl.float8e4nv)).dtype == tl.float32
        assert tl.dot(z(tl.int8), z(tl.int8)).dtype == tl.int32
        assert tl.dot(z(tl.float32, 4, 16, 32), z(tl.float32, 4, 32, 8)).type.shape == (4, 16, 8)
        for make, kind, text in [
            (lambda: tl.dot(z(tl.float16), z(tl.float32)), TypeError, "same dtype"),
            (lambda: tl.dot(z(tl.int32), z(tl.int32)), TypeError, "int8"),
            (lambda: tl.dot(z(tl.float16, 16, 32), z(tl.float16)), ValueError, "not compatible for matmul"),
            (lambda: tl.dot(z(tl.float16), z(tl.float16), out_dtype=tl.bfloat16), ValueError, "bfloat16"),
            (lambda: tl.dot(z(tl.float16), z(tl.float16), z(tl.int32)), (ValueError, TypeError), "int32"),
            (lambda: tl.dot(z(tl.float32), z(tl.float32), input_precision="tf64"), ValueError, "must be one of"),
        ]:
            with pytest.raises(kind, match=text):
                make()


def test_dot_precision(recording):
    kernel = recording([tl.int32], precision="tf32")
    with kernel:
        x = tl.zeros((16, 16), tl.float32)
        tl.dot(x, x)
        tl.dot(x, x, input_precision="IEEE")
        tl.dot(x, x, allow_tf32=False)
        tl.dot(x, x, input_precision="bf16x3")
    assert [op.attrs["precision"] for op in kernel.module.walk() if op.name == "dot"] == ["tf32", "ieee", "ieee", "bf16x3"]


E2M1 = np.float32([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


@pytest.mark.parametrize("k_pack", [True, False])
def test_dot_scaled(evaluate, k_pack):
    m, k, n = 32, 64, 16
    packed = rng.integers(0, 256, (m, k // 2) if k_pack else (m // 2, k)).astype(np.uint8)
    a = np.stack([E2M1[packed & 15], E2M1[packed >> 4]], -1).reshape(m, k) if k_pack else None
    if a is None:
        a = np.stack([E2M1[packed & 15], E2M1[packed >> 4]], 1).reshape(m, k)
    sa, sb = rng.integers(120, 135, (m, 2)).astype(np.uint8), rng.integers(120, 135, (n, 2)).astype(np.uint8)
    b = rng.integers(-4, 5, (k, n)).astype(np.float32)
    got = evaluate(lambda a, sa, b, sb: tl.dot_scaled(a, sa, "e2m1", b.to(tl.float8e4nv), sb, "e4m3", lhs_k_pack=k_pack), packed, sa, b, sb)
    scaled_a = a * np.repeat(2.0 ** (sa.astype(float) - 127), 32, 1)
    scaled_b = b * np.repeat(2.0 ** (sb.astype(float) - 127), 32, 1).T
    np.testing.assert_allclose(got, scaled_a @ scaled_b, rtol=1e-5, atol=1e-3)


# --- memory ---------------------------------------------------------------------------------------------


def test_masked_memory(recording):
    x, out = np.arange(8, dtype=np.float32), np.full(8, -1, np.float32)
    kernel = recording([tl.pointer_type(tl.float32)] * 2 + [tl.int32])
    with kernel as (p, q, n):
        i = tl.arange(0, 8)
        # both positional orders: up to 3.8 cache_modifier is the sixth argument, from 3.9 it is a keyword
        v = tl.load(p + i, i < n, 9, (), "", ".ca", "evict_last") + tl.load(p + i, mask=i < n, other=0.0, cache_modifier=".cg")
        v = tl.where(i < 8, v, tl.load(p + i, cache_modifier=".cs"))
        tl.store(q + i, v, mask=i != 0, cache_modifier=".wt")
    kernel.launch(x, out, 5)
    np.testing.assert_array_equal(out, [-1, 2, 4, 6, 8, 9, 9, 9])


def test_infinities_for_memory_of_integers(recording):
    """Published reductions give other=float("inf") whatever the element type is."""
    x, out = np.arange(4, dtype=np.int16), np.zeros((3, 4), np.int16)
    kernel = recording([tl.pointer_type(tl.int16)] * 2)
    with kernel as (p, q):
        i = tl.arange(0, 4)
        for row, other in enumerate((float("inf"), float("-inf"), float("nan"))):
            tl.store(q + row * 4 + i, tl.load(p + i, mask=i < 2, other=other))
    kernel.launch(x, out)
    np.testing.assert_array_equal(out, [[0, 1, 32767, 32767], [0, 1, -32768, -32768], [0, 1, 0, 0]])


def test_store_converts_and_broadcasts(recording):
    out, flags = np.zeros((2, 4), np.int16), np.zeros(4, np.bool_)
    kernel = recording([tl.pointer_type(tl.int16), tl.pointer_type(tl.int1)])
    with kernel as (p, b):
        i = tl.arange(0, 2)[:, None] * 4 + tl.arange(0, 4)[None, :]
        tl.store(p + i, tl.arange(0, 4)[None, :] + 0.75)
        tl.store(b + tl.arange(0, 4), tl.arange(0, 4))
        tl.store(p, 77)
    kernel.launch(out, flags)
    np.testing.assert_array_equal(out, [[77, 1, 2, 3], [0, 1, 2, 3]])
    np.testing.assert_array_equal(flags, [False, True, True, True])


def test_unsigned_offsets_do_not_go_backwards(recording):
    out = np.zeros(256, np.int8)
    kernel = recording([tl.pointer_type(tl.int8)])
    with kernel as (p,):
        tl.store(p + tl.full((), 200, tl.uint8), 5)
        tl.store(p + 10 - tl.full((), 3, tl.int8), 6)
    kernel.launch(out)
    assert out[200] == 5 and out[7] == 6


@pytest.mark.parametrize("name", ["max", "min"])
def test_float_atomic_extrema(recording, name):
    start = np.float32([-2, 2, -0.0, 3])
    for value in (-1.0, 1.0, 5.0, -7.0):
        x, old = start.copy(), np.zeros(4, np.float32)
        kernel = recording([tl.pointer_type(tl.float32)] * 2)
        with kernel as (p, q):
            i = tl.arange(0, 4)
            tl.store(q + i, getattr(tl, f"atomic_{name}")(p + i, value, mask=i < 3))
        kernel.launch(x, old)
        fn = np.maximum if name == "max" else np.minimum
        np.testing.assert_array_equal(x, [*fn(start[:3], np.float32(value)), 3])
        np.testing.assert_array_equal(old[:3], start[:3])


def test_integer_atomics(recording):
    x = np.array([12], np.int32)
    kernel = recording([tl.pointer_type(tl.int32)])
    with kernel as (p,):
        tl.atomic_add(p, 1, sem="relaxed", scope="cta")
        tl.atomic_or(p, 16)
        tl.atomic_and(p, 28)
        tl.atomic_xor(p, 1)
        tl.atomic_max(p, 5)
        tl.atomic_cas(p, 29, 100)
        tl.atomic_add(p, tl.atomic_load(p))
        tl.atomic_add(p, tl.atomic_xchg(p, 3))
    kernel.launch(x)
    assert x[0] == 203
    with recording([tl.pointer_type(tl.int8), tl.pointer_type(tl.float32)]) as (p, f):
        for make, text in [
            (lambda: tl.atomic_add(p, 1), "does not support int8"),
            (lambda: tl.atomic_or(f, 1), "needs integers"),
            (lambda: tl.atomic_add(f, 1, sem="strong"), "memory semantic 'strong'"),
        ]:
            with pytest.raises(ValueError, match=text):
                make()
        with pytest.raises(UnsupportedError, match="atomic_poll"):
            tl.atomic_poll(f, 1)


# --- windows --------------------------------------------------------------------------------------------


def test_block_pointers(recording):
    x, out = np.arange(10 * 12, dtype=np.float32).reshape(10, 12), np.zeros((8, 8), np.float32)
    kernel = recording([tl.pointer_type(tl.float32)] * 2 + [tl.int32, tl.int64])
    with kernel as (p, q, rows, stride):
        src = tl.make_block_ptr(p, (rows, 12), (stride, 1), (0, 4), (8, 8), (1, 0))
        src = tl.advance(src, [4, 2])
        assert src.unflatten(src.flatten()).structure() == src.structure()
        assert src.dtype.element_ty.scalar is tl.float32
        dst = tl.make_block_ptr(q, (8, 8), (8, 1), (0, 0), (8, 8), (1, 0))
        v = tl.load(src, boundary_check=(0, 1), padding_option="nan")
        tl.store(dst, v.to(dst.dtype.element_ty), boundary_check=(0,))
    kernel.launch(x, out, 10, 12)
    want = np.full((8, 8), np.nan, np.float32)
    want[:6, :6] = x[4:, 6:]
    np.testing.assert_array_equal(out, want)
    with recording([tl.pointer_type(tl.int32)]) as (p,):
        b = tl.make_block_ptr(p, (8,), (1,), (0,), (8,), (0,))
        for make, text in [
            (lambda: tl.load(b, boundary_check=(0,), padding_option="nan"), "not supported for integers"),
            (lambda: tl.load(b, mask=True), "block pointers"),
            (lambda: tl.load(b, boundary_check=(1,)), "boundary_check"),
            (lambda: tl.load(p + tl.arange(0, 8), boundary_check=(0,)), "belong to block pointers"),
            (lambda: tl.store(b, tl.zeros((4,), tl.int32)), "mismatch"),
            (lambda: tl.make_block_ptr(p, (8, 8), (1,), (0,), (8,), (0,)), "Expected 1 extents"),
        ]:
            with pytest.raises(ValueError, match=text):
                make()


def test_tensor_descriptors(recording):
    x, out = np.arange(10 * 12, dtype=np.float32).reshape(10, 12), np.zeros((10, 12), np.float32)
    rows = np.zeros((8, 8), np.float32)
    kernel = recording([tl.pointer_type(tl.float32)] * 3 + [tl.int32])
    with kernel as (p, q, r, m):
        src = tl.make_tensor_descriptor(p, [m, 12], [12, 1], [8, 8])
        dst = tl.make_tensor_descriptor(q, [m, 12], [12, 1], [8, 8])
        assert src.unflatten(src.flatten()).structure() == src.structure() and src.block_shape == (8, 8)
        dst.store([4, 8], src.load([4, 8]) + 1)
        dst.atomic_add([-4, 0], tl.full((8, 8), 2.0, tl.float32))
        one = tl.make_tensor_descriptor(p, [m, 12], [12, 1], [1, 8])
        picked = one.gather(15 - tl.arange(0, 8) * 2, 6)
        tl.store(r + tl.arange(0, 8)[:, None] * 8 + tl.arange(0, 8)[None, :], picked)
        tl.make_tensor_descriptor(q, [m, 12], [12, 1], [1, 8]).scatter(picked, tl.arange(0, 8) + 9, 0)
    kernel.launch(x, out, rows, 10)
    picked = np.zeros((8, 8), np.float32)
    for i in range(8):
        row = 15 - 2 * i
        if row < 10:
            picked[i, :6] = x[row, 6:]
    want = np.zeros((10, 12), np.float32)
    want[4:, 8:] = x[4:, 8:] + 1
    want[:4, :8] += 2
    want[9, :8] = picked[0]
    np.testing.assert_array_equal(rows, picked)
    np.testing.assert_array_equal(out, want)
    with recording([tl.pointer_type(tl.float16), tl.int32]) as (p, n):
        for make, text in [
            (lambda: tl.make_tensor_descriptor(p, [n], [1], [4]), "16 bytes in the last dimension"),
            (lambda: tl.make_tensor_descriptor(p, [n], [n], [16]), "last dim must be 1"),
            (lambda: tl.make_tensor_descriptor(p, [n, n], [n, 1], [16]), "block_shape to have 2 dimensions"),
            (lambda: tl.make_tensor_descriptor(p, [n] * 6, [1] * 6, [16] * 6), "1 <= ndim <= 5"),
        ]:
            with pytest.raises(ValueError, match=text):
                make()
        halves = tl.make_tensor_descriptor(p, [n], [1], [16])
        halves.atomic_add([0], tl.full([16], 1.0, tl.float16))
        with pytest.raises(TypeError, match="Unsupported dtype fp16 of atomic_max of a descriptor"):
            halves.atomic_max([0], tl.full([16], 1.0, tl.float16))


# --- aggregates -----------------------------------------------------------------------------------------


def test_user_aggregates(recording):
    @tl.aggregate
    class Pair:
        left: tl.tensor
        right: tl.tensor
        width: tl.constexpr

        def __init__(self, left, width):
            self.left = left
            self.right = left + 1
            self.width = width

        def total(self):
            return self.left + self.right

    with recording([tl.int32]) as (n,):
        pair = Pair(n, 3)
        assert pair.width == 3 and len(pair.flatten()) == 2
        assert pair.total().dtype is tl.int32
        again = pair.unflatten(pair.flatten())
        assert again.structure() == pair.structure()
        assert tl.aggregate_replace(pair, width=4).structure() != pair.structure()
        with pytest.raises(TypeError, match="does not change"):
            pair.left = n
        with pytest.raises(TypeError, match="no field middle"):
            tl.aggregate_replace(pair, middle=1)
