"""Floats that atomics add 8 bytes at a time: right wherever they lie, whatever is masked off, whoever else adds."""

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime.jit import jit

COLS = 64


@jit
def add_rows(into, rows, x, n, cols, kind: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Row i of x is added to row rows[i]; ``kind``: the element type that 16-bit integers stand for."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, COLS)
    mask = (i < n)[:, None] & (c < cols)[None, :]
    where = tl.load(rows + i, mask=i < n, other=0)[:, None] * cols + c[None, :]
    value = tl.load(x + i[:, None] * cols + c[None, :], mask=mask, other=0)
    if kind == tl.bfloat16:
        tl.atomic_add(into.to(tl.pointer_type(kind), bitcast=True) + where, value.to(kind, bitcast=True), mask=mask)
    else:
        tl.atomic_add(into + where, value, mask=mask)


def bits(x, kind):
    """Small whole numbers as elements of ``kind``, so that sums are exact in any order."""
    if kind != tl.bfloat16:
        return x.astype({tl.float32: "float32", tl.float16: "float16"}[kind])
    return (x.astype("float32").view("uint32") >> 16).astype("uint16").view("int16")


@pytest.mark.parametrize("kind", [tl.float32, tl.float16, tl.bfloat16], ids=str)
@pytest.mark.parametrize("cols", [64, 62, 61, 1])
@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_rows(kind, cols, offset):
    rng, n, table = np.random.default_rng(cols + offset), 40, 7
    x, rows = rng.integers(-3, 4, (n, cols)), rng.integers(0, table, n).astype("int32")
    want = np.zeros((table, cols))
    np.add.at(want, rows, x)
    memory = bits(np.zeros(offset + table * cols + 8), kind)
    kernel = add_rows[(3,)](memory[offset:], rows, bits(x, kind), n, cols, kind, ROWS=16, COLS=COLS)
    assert "cmpxchg ptr %p, i64" in kernel.asm["llir"]
    np.testing.assert_array_equal(memory[offset : offset + table * cols].reshape(table, cols), bits(want, kind))
    assert not memory[:offset].any() and not memory[offset + table * cols :].any()


@jit
def add_both_ways(into, n, COLS: tl.constexpr):
    """Every other program adds a row at once, the others each float of it by itself, in another order."""
    c = tl.arange(0, COLS)
    for _ in range(n):
        if tl.program_id(0) % 2 == 0:
            tl.atomic_add(into + c, tl.full([COLS], 1.0, tl.float32))
        else:
            tl.atomic_add(into + (c * 5 + 3) % COLS, tl.full([COLS], 2.0, tl.float32))


def test_nothing_is_lost_beside_other_atomics():
    memory = np.zeros(COLS, "float32")
    add_both_ways[(64,)](memory, 200, COLS)
    assert (memory == 3 * 32 * 200).all()


@jit
def add_and_ask(into, old, COLS: tl.constexpr):
    c = tl.arange(0, COLS)
    tl.store(old + c, tl.atomic_add(into + c, tl.full([COLS], 1.5, tl.float32)))


def test_who_asks_what_was_there_gets_it():
    memory, old = np.arange(COLS, dtype="float32"), np.zeros(COLS, "float32")
    add_and_ask[(1,)](memory, old, COLS)
    np.testing.assert_array_equal(old, np.arange(COLS))
    np.testing.assert_array_equal(memory, old + 1.5)
