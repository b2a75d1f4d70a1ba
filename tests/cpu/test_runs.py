"""Tiles of indices that are read back from memory as what they are: numbers in a row; and gathers of what is narrower than a word."""

from __future__ import annotations

import numpy as np
import pytest
from differential import OPTIONS, same, traced

import anytile.language as tl
from anytile.ir.types import I32
from anytile.targets.cpu.lanes import ramp, uniform, vector
from anytile.targets.cpu.machine import current
from anytile.targets.cpu.memory import Buffer
from anytile.targets.cpu.target import CpuTarget


def wrapped_kernel(o, a, rows, units, steps, UNIT: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    """Indices that wrap around, kept through a loop, as matrix products of Triton's tutorials have them."""
    cols = units * UNIT
    i = (tl.program_id(0) * M + tl.arange(0, M)) % rows
    j = (tl.program_id(0) * N + tl.arange(0, N)) % cols
    at = a + i[:, None] * cols + j[None, :]
    total = tl.zeros((M, N), tl.float32)
    for k in range(steps):
        total += tl.load(at, mask=j[None, :] < cols - k, other=0.5)
        at += rows * cols
    tl.store(o + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], total)


@pytest.mark.parametrize("size", [(4, 16), (3, 16), (11, 3), (31, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("rows", [16, 7])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16"])
def test_indices_that_wrap_around(size, rows, dtype):
    units, unit = size
    cols = units * unit
    a = (np.arange(3 * rows * cols) * 37 % 101).astype(dtype)
    same(wrapped_kernel, grid=(1,), o=np.zeros(16 * 64, "float32"), a=a, rows=rows, units=units, steps=3, UNIT=unit, M=16, N=64)


def promised_kernel(o, table, a, n, M: tl.constexpr, N: tl.constexpr, SELECT: tl.constexpr):
    """Rows that wrap around and are said to be M neighbours, used to read a table whose numbers are places."""
    i = tl.arange(0, M)
    i = tl.where(i < n, i, 0) if SELECT else i % n
    i = tl.max_contiguous(tl.multiple_of(i, M), M)
    rows = tl.load(table + i)
    tl.store(o + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], tl.load(a + rows[:, None] * N + tl.arange(0, N)[None, :]))


@pytest.mark.parametrize("n", [1, 5, 16, 32, 37])
@pytest.mark.parametrize("select", [False, True])
def test_neighbours_promised_of_what_wraps_around(n, select):
    """What lies behind the turn is no place to read: here the table goes on with numbers that lie far outside."""
    table = np.concatenate([np.arange(n) * 7 % n, np.full(64, 1 << 30)]).astype("int32")
    a = np.arange(n * 4, dtype="float32")
    same(promised_kernel, grid=(1,), o=np.zeros(64 * 4, "float32"), table=table, a=a, n=n, M=64, N=4, SELECT=select)


def _text(kernel, **arguments) -> str:
    module, _ = traced(kernel, **arguments)
    return str(CpuTarget().compile(module, OPTIONS).stages["llir"])


def test_blocks_of_a_row_need_no_gather():
    arrays = {"o": np.zeros(16 * 64, "float32"), "a": np.zeros(16 * 64, "float16")}
    text = _text(wrapped_kernel, **arrays, rows=16, units=4, steps=1, UNIT=16, M=16, N=64)
    assert "@llvm.masked.gather" not in text


def last_kernel(o, p, at, n, other, N: tl.constexpr):
    i = tl.arange(0, N)
    where = tl.load(at + i)
    tl.store(o + i, tl.load(p + where, mask=where < n, other=other))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float16"])
@pytest.mark.parametrize("offset", range(4))
def test_narrow_elements_from_anywhere(dtype, offset):
    """Of every place within a word, with lanes that are off, whose elements do not exist."""
    p = (np.arange(300) * 7 % 120).astype(dtype)[offset:]
    at = (np.arange(64) * 29 % 310).astype("int32")
    same(last_kernel, o=np.zeros(64, dtype), p=p, at=at, n=len(p), other=3, N=64)


@pytest.mark.skipif(not current().has("avx512f"), reason="other machines gather narrow elements one by one")
def test_narrow_elements_are_gathered_in_words():
    text = _text(last_kernel, o=np.zeros(64, "int8"), p=np.zeros(64, "int8"), at=np.zeros(64, "int32"), n=1, other=0, N=64)
    assert "@llvm.masked.gather.v16i8" not in text and "@llvm.masked.gather" in text


def test_what_a_buffer_learns():
    b = Buffer.row_major("%b", I32, (4, 64))
    b.learn(1, 16, ramp("%x", I32, 3, 1, 16))
    b.learn(1, 16, ramp("%y", I32, 3, 1, 8))
    assert b.run is not None and (b.run.dim, b.run.width, b.run.stride, b.run.align) == (1, 16, 3, 8)
    whole, half = (b.run.lane(uniform("%first", I32), n) for n in (16, 8))
    assert (whole.val, whole.stride, whole.align) == ("%first", 3, 8) and half.align == 8
    b.learn(1, 16, vector("%z", I32, 1))
    b.learn(1, 16, ramp("%y", I32, 3, 1, 8))
    assert b.run is None  # some are anything


def test_one_number_for_a_whole_vector():
    b = Buffer.row_major("%b", I32, (64,))
    b.learn(0, 16, uniform("%x", I32, 1, 4))
    assert b.run is not None and b.run.lane(uniform("%first", I32), 16).kind == "uniform"
