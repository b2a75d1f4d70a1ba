"""Shape rows, reductions, dot."""

from __future__ import annotations

import numpy as np
import pytest

from anytile.ir import Block, Builder, scalar, tile
from anytile.ir.types import BF16, BOOL, F8E5M2, F16, F32, F64, I8, I32, I64
from anytile.targets import formats

rng = np.random.default_rng(3)


def block(elems, build):
    """A block of scalars: ``build(builder, *args)`` gives the values it yields."""
    b = Block(tuple(scalar(e) for e in elems))
    builder = Builder(b)
    builder.yield_(*build(builder, *b.args))
    return b


def test_constants(row):
    assert row("constant", value=-3, type=tile((2, 4), I8)).tolist() == [[-3] * 4] * 2
    assert row("constant", value=1, type=scalar(BOOL)).tolist() is True
    assert formats.decode(row("constant", value=1.5, type=tile((2,), BF16)), BF16).tolist() == [1.5, 1.5]
    assert row("arange", start=4, end=8).tolist() == [4, 5, 6, 7]
    assert [int(row("program_id", axis=i)) for i in range(3)] == [1, 2, 3]
    assert [int(row("num_programs", axis=i)) for i in range(3)] == [4, 5, 6]


def test_shapes(row):
    x = np.arange(8).reshape(2, 4)
    assert row("splat", (np.array(3), I32), shape=(2, 2)).tolist() == [[3, 3], [3, 3]]
    np.testing.assert_array_equal(row("broadcast", (x[:, None], I32), shape=(2, 8, 4)), np.broadcast_to(x[:, None], (2, 8, 4)))
    np.testing.assert_array_equal(row("expand_dims", (x, I32), axis=1), x[:, None])
    np.testing.assert_array_equal(row("reshape", (x, I32), shape=(4, 2)), x.reshape(4, 2))
    np.testing.assert_array_equal(row("permute", (x, I32), order=(1, 0)), x.T)
    y = rng.integers(0, 9, (2, 4, 8))
    np.testing.assert_array_equal(row("permute", (y, I32), order=(2, 0, 1)), y.transpose(2, 0, 1))
    joined = row("join", (x, I32), (-x, I32))
    np.testing.assert_array_equal(joined[..., 1], -x)
    a, b = row("split", (joined, I32))
    np.testing.assert_array_equal([a, b], [x, -x])
    assert int(row("split", (np.array([5, 6]), I32))[1]) == 6


def test_gather_and_histogram(row):
    x = rng.standard_normal((4, 8)).astype(np.float32)
    index = rng.integers(0, 4, (2, 8))
    np.testing.assert_array_equal(row("gather", (x, F32), (index, I32), axis=0), np.take_along_axis(x, index, 0))
    row("gather", (x, F32), (index + 100, I64), axis=0)  # out of range: unspecified, but harmless
    v = np.array([0, 1, 1, 3, 9, -1, 3, 3])
    assert row("histogram", (v, I32), bins=4).tolist() == [1, 2, 0, 3]
    assert row("histogram", (v, I32), (v != 1, BOOL), bins=4).tolist() == [1, 0, 0, 3]


@pytest.mark.parametrize("axis", [0, 1])
def test_reduce(row, axis):
    x = rng.integers(-1000, 1000, (4, 8))
    add = block([I32, I32], lambda b, p, q: [b.add(p, q)])
    np.testing.assert_array_equal(row("reduce", (x, I32), blocks=[add], axis=axis), x.sum(axis))
    assert int(row("reduce", (x[0], I32), blocks=[add], axis=0)) == x[0].sum()


def argmax_block():
    def build(b, v, i, w, j):
        greater = b.fcmp(v, w, pred="ogt")
        tie = b.and_(b.fcmp(v, w, pred="oeq"), b.icmp(i, j, pred="slt"))
        left = b.or_(greater, tie)
        return b.select(left, v, w), b.select(left, i, j)

    return block([F32, I32, F32, I32], build)


def test_reduce_of_several_tiles(row):
    x = rng.integers(0, 5, (4, 16)).astype(np.float32)
    index = np.broadcast_to(np.arange(16), x.shape)
    best, where = row("reduce", (x, F32), (index, I32), blocks=[argmax_block()], axis=1)
    np.testing.assert_array_equal(best, x.max(1))
    np.testing.assert_array_equal(where, x.argmax(1))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_keeps_order(row, reverse):
    x = rng.integers(1, 4, (8, 2))
    affine = block([I32, I32, I32, I32], lambda b, a, c, p, q: [b.mul(a, p), b.add(b.mul(p, c), q)])  # x ↦ p(ax + c) + q: not commutative
    got = row("scan", (x, I32), (x + 1, I32), blocks=[affine], axis=0, reverse=reverse)
    rows = list(range(8))[:: -1 if reverse else 1]
    a, c = x[rows[0]], x[rows[0]] + 1
    for n, r in enumerate(rows):
        if n:
            a, c = a * x[r], x[r] * c + x[r] + 1
        np.testing.assert_array_equal([got[0][r], got[1][r]], [a, c])


def test_blocks_with_control_flow_run_lane_by_lane(row):
    def build(b, p, q):
        taken, other = Block(), Block()
        Builder(taken).yield_(p)
        other_builder = Builder(other)
        other_builder.yield_(other_builder.add(q, q))
        return [b.make("if", [b.icmp(p, q, pred="sgt")], blocks=(taken, other), types=(scalar(I32),)).result]

    x, y = rng.integers(0, 9, (4, 2)), rng.integers(0, 9, (4, 2))
    got = row("map", (x, I32), (y, I32), blocks=[block([I32, I32], build)], types=(tile((4, 2), I32),))
    np.testing.assert_array_equal(got, np.where(x > y, x, y + y))


def test_map_packs_the_minor_dimension(row):
    x = np.arange(8).reshape(2, 4)
    y = x * 10
    swap = block([I32] * 4, lambda b, x0, x1, y0, y1: [b.add(x0, y1), b.add(x1, y0), x1, b.const(7, I32)])
    first, second = row("map", (x, I32), (y, I32), blocks=[swap], types=(tile((2, 4), I32),) * 2, pack=2)
    np.testing.assert_array_equal(first[:, 0::2], x[:, 0::2] + y[:, 1::2])
    np.testing.assert_array_equal(first[:, 1::2], x[:, 1::2] + y[:, 0::2])
    np.testing.assert_array_equal(second[:, 0::2], x[:, 1::2])
    assert (second[:, 1::2] == 7).all()


@pytest.mark.parametrize("elem, acc", [(F32, F32), (F16, F32), (F16, F16), (BF16, F32), (F8E5M2, F32), (F64, F64)], ids=str)
def test_dot(row, elem, acc):
    a, b, c = (rng.integers(-4, 5, s).astype(float) for s in ((4, 8), (8, 2), (4, 2)))
    got = formats.decode(row("dot", (a, elem), (b, elem), (c, acc)), acc)
    np.testing.assert_array_equal(got, a @ b + c)


def test_batched_and_integer_dot(row):
    a, b = rng.integers(-128, 128, (2, 4, 32)), rng.integers(-128, 128, (2, 32, 2))
    c = np.full((2, 4, 2), 2**31 - 1)
    got = row("dot", (a, I8), (b, I8), (c, I32))
    np.testing.assert_array_equal(got, (np.matmul(a, b) + c).astype(np.int32))
