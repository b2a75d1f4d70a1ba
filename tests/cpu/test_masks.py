"""Masks of two-dimensional tiles: whole tiles are computed without them, others with them, and both right."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from differential import OPTIONS, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.ir.parser import parse_module
from anytile.language.source import JITCallable
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import named
from anytile.targets.reference import ReferenceTarget


def scaled_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    i = tl.program_id(0) * M + tl.arange(0, M)
    j = tl.program_id(1) * N + tl.arange(0, N)
    inside = (i[:, None] < m) & (j[None, :] < n)
    x = tl.load(p + i[:, None] * n + j[None, :], mask=inside, other=7.0)
    tl.store(o + i[:, None] * n + j[None, :], x * 2 + tl.where(inside, 1.0, 5.0), mask=inside)


def band_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    """A mask that holds at the last corner and not everywhere."""
    i = tl.program_id(0) * M + tl.arange(0, M)
    j = tl.program_id(1) * N + tl.arange(0, N)
    inside = (i[:, None] + 3 > j[None, :]) & (i[:, None] < m) & (j[None, :] < n)
    x = tl.load(p + i[:, None] * n + j[None, :], mask=inside, other=7.0)
    tl.store(o + i[:, None] * n + j[None, :], x + 1, mask=inside)


def other_kernel(o, p, m, n, M: tl.constexpr, N: tl.constexpr):
    """The loads are masked, the stores are not."""
    i, j = tl.arange(0, M), tl.arange(0, N)
    x = tl.load(p + i[:, None] * N + j[None, :], mask=(i[:, None] < m) & (j[None, :] <= n), other=7.0)
    tl.store(o + i[:, None] * N + j[None, :], x)


@pytest.mark.parametrize("size", [(32, 64), (20, 64), (32, 37), (17, 5)], ids=str)
@pytest.mark.parametrize("kernel", [scaled_kernel, band_kernel])
def test_tiles_that_stick_out(kernel, size):
    m, n = size
    p = np.arange(m * n, dtype="float32")
    same(kernel, grid=(2, 2), o=np.zeros(m * n, "float32"), p=p, m=m, n=n, M=16, N=32)


@pytest.mark.parametrize("size", [(16, 32), (16, 31), (15, 31), (0, 0), (-3, 40)], ids=str)
def test_loads_that_stick_out(size):
    m, n = size
    same(other_kernel, o=np.zeros(512, "float32"), p=np.arange(512, dtype="float32"), m=m, n=n, M=16, N=32)


def halo_kernel(o, p, before, n, WIDE: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    """Both ends of a row by one comparison, of unsigned numbers or of what they are in 64 bits."""
    i, j = tl.arange(0, M), tl.arange(0, N)
    from_first = j.to(tl.uint32) - before.to(tl.uint32)
    if WIDE:
        inside = (from_first.to(tl.int64) < n)[None, :]
    else:
        inside = (from_first < n.to(tl.uint32))[None, :]
    at = i[:, None] * N + j[None, :]
    x = tl.load(p + at, mask=inside, other=7.0)
    tl.store(o + at, x + 1, mask=inside & (j < n)[None, :])


@pytest.mark.parametrize("before, n", [(3, 70), (3, 40), (3, 20), (0, 29), (-5, 33), (40, 8)])
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("wide", [False, True])
def test_unsigned_positions_that_begin_below_zero(wide, rows, before, n):
    p = np.arange(rows * 64, dtype="float32")
    same(halo_kernel, o=np.zeros(rows * 64, "float32"), p=p, before=before, n=n, WIDE=wide, M=rows, N=64)


def exists_twice(kernel, machine):
    names = {"o": "*fp32", "p": "*fp32", "m": "i32", "n": "i32", "M": "constexpr", "N": "constexpr"}
    text = lower(trace(JITCallable(kernel), names, {(4,): 16, (5,): 32}, {}, OPTIONS), OPTIONS, named(machine))[1]
    return "inside" in text


def test_where_a_nest_exists_twice():
    assert exists_twice(scaled_kernel, "avx512") and exists_twice(other_kernel, "avx512")
    assert not exists_twice(band_kernel, "avx512")
    assert not exists_twice(scaled_kernel, "avx2")


def narrow_pointers_kernel(o, q, r, p, n, N: tl.constexpr):
    """One address a row, and masks or values of a whole row."""
    i, j = tl.arange(0, 4)[:, None], tl.arange(0, N)[None, :]
    tl.store(o + i * N + j, tl.load(p + i, mask=(i < n) & (j < 5), other=7))
    tl.store(q + i * N + j, tl.load(p + i, mask=i < n, other=j), mask=j < N - 1)
    tl.store(r + i, tl.load(p + i), mask=(i < n) & (j >= 0))


@pytest.mark.parametrize("size", [1, 8, 64])
def test_pointers_are_as_wide_as_masks_and_values(size):
    p, o = np.array([1, 9, 2, 9], np.int32), np.zeros(4 * size, np.int32)
    same(narrow_pointers_kernel, o=o, q=o.copy(), r=np.zeros(4, np.int32), p=p, n=3, N=size)


def mask_as_number_kernel(o, q, p, n, M: tl.constexpr, N: tl.constexpr):
    """Where a whole row is on, its mask is a constant; with its sign a true one is -1, and less than a false one."""
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    on = tl.broadcast_to(tl.load(p + i) < n, (M, N))
    below = on.to(tl.int32, bitcast=False) < (j < 0).to(tl.int32)
    tl.store(o + i * N + j, on.to(tl.int8) + below.to(tl.int8) * 2, mask=on)
    tl.store(q + i * N + j, on.to(tl.float32), mask=on)


@pytest.mark.parametrize("size", [8, 64])
def test_masks_that_are_numbers(size):
    p = np.array([1, 9, 2, 9], np.int32)
    same(mask_as_number_kernel, o=np.zeros(4 * size, np.int8), q=np.zeros(4 * size, np.float32), p=p, n=4, M=4, N=size)


NUMBERS = """module num_warps = 4
func @k(%p: ptr<i32>, %o: ptr<i8>, %n: i32) {
  %rows = arange {start = 0, end = 4} : tile<4xi32>
  %row = expand_dims %rows {axis = 1} : tile<4x1xi32>
  %ps = splat %p {shape = [4, 1]} : tile<4x1xptr<i32>>
  %at = addptr %ps, %row : tile<4x1xptr<i32>>
  %x = load %at, _, _ : tile<4x1xi32>
  %ns = splat %n {shape = [4, 1]} : tile<4x1xi32>
  %less = icmp %x, %ns {pred = "slt"} : tile<4x1xi1>
  %on = broadcast %less {shape = [4, 8]} : tile<4x8xi1>
  %off = constant {value = 0, type = tile<4x8xi1>} : tile<4x8xi1>
  %one = constant {value = 1, type = tile<4x8xi8>} : tile<4x8xi8>
  %zero = constant {value = 0, type = tile<4x8xi8>} : tile<4x8xi8>
  MADE
  %all = arange {start = 0, end = 32} : tile<32xi32>
  %each = reshape %all {shape = [4, 8]} : tile<4x8xi32>
  %os = splat %o {shape = [4, 8]} : tile<4x8xptr<i8>>
  %to = addptr %os, %each : tile<4x8xptr<i8>>
  store %to, %made, %on
  return
}
"""
COMPARED = """%c = icmp %on, %off {pred = "PRED"} : tile<4x8xi1>
  %made = select %c, %one, %zero : tile<4x8xi8>"""
MADE = {
    "sext": ("%made = sext %on {to = i8} : tile<4x8xi8>", -1),
    "zext": ("%made = zext %on {to = i8} : tile<4x8xi8>", 1),
    "slt": (COMPARED.replace("PRED", "slt"), 1),
    "ult": (COMPARED.replace("PRED", "ult"), 0),
}


@pytest.mark.parametrize("how", MADE)
def test_true_is_minus_one_where_it_has_a_sign(how):
    """Where a whole row is on, its mask is the constant 1; read with its sign it is -1, and less than a false one."""
    text, true = MADE[how]
    for target in (ReferenceTarget(), CpuTarget()):
        p, o = np.array([1, 9, 2, 9], np.int32), np.full((4, 8), 5, np.int8)
        loaded = target.load(target.compile(parse_module(NUMBERS.replace("MADE", text)), OPTIONS))
        loaded.run(struct.pack("PPi4x", p.ctypes.data, o.ctypes.data, 4), 1, 1, 1)
        np.testing.assert_array_equal(o, np.where(p[:, None] < 4, true, 5) + np.zeros((4, 8)), err_msg=type(target).__name__)
