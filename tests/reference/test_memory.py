"""Loads, stores, atomics and bounds checking on NumPy memory."""

from __future__ import annotations

import numpy as np
import pytest

from anytile.ir.types import BF16, BOOL, F8E4M3, F32, I16, I32, I64, ptr_element
from anytile.targets import formats
from anytile.targets.reference import memory

rng = np.random.default_rng(4)


def addresses(array, index):
    return (array.ctypes.data + np.asarray(index) * array.itemsize).astype(np.uint64)


@pytest.fixture
def bounds():
    yield memory.register
    memory.clear()


def test_gather_and_masks(row):
    x = rng.standard_normal(64).astype(np.float32)
    p = ptr_element(F32)
    index = rng.integers(0, 64, (4, 8))
    np.testing.assert_array_equal(row("load", (addresses(x, index), p)), x[index])
    mask = rng.integers(0, 2, (4, 8)).astype(bool)
    wild = np.where(mask, addresses(x, index), np.uint64(8))  # masked-off lanes point nowhere
    np.testing.assert_array_equal(row("load", (wild, p), (mask, BOOL)), np.where(mask, x[index], 0))
    other = np.full((4, 8), 7.0)
    np.testing.assert_array_equal(row("load", (wild, p), (mask, BOOL), (other, F32)), np.where(mask, x[index], 7))
    row("load", (np.zeros(4, np.uint64), p), (np.zeros(4, bool), BOOL))


@pytest.mark.parametrize("elem", [BOOL, BF16, F8E4M3, I16, I64], ids=str)
def test_storing_what_was_loaded_keeps_all_bits(row, elem):
    size = formats.storage(elem).itemsize
    raw = rng.integers(0, 2 if elem is BOOL else 256, 16 * size, dtype=np.uint8)
    out = np.zeros(16 * size + 1, np.uint8)
    p = ptr_element(elem)
    lanes = np.arange(16, dtype=np.uint64) * np.uint64(size)
    x = row("load", (np.uint64(raw.ctypes.data) + lanes, p))
    row("store", (np.uint64(out.ctypes.data + 1) + lanes, p), (x, elem))  # unaligned
    np.testing.assert_array_equal(out[1:], raw)


def test_masked_store_and_scalars(row):
    out = np.zeros(8, np.int32)
    p = ptr_element(I32)
    mask = np.arange(8) % 2 == 1
    row("store", (np.where(mask, addresses(out, np.arange(8)), np.uint64(0)), p), (np.arange(8), I32), (mask, BOOL))
    assert out.tolist() == [0, 1, 0, 3, 0, 5, 0, 7]
    row("store", (addresses(out, 2), p), (np.array(-1), I32))
    assert int(row("load", (addresses(out, 2), p))) == -1


@pytest.mark.parametrize(
    "kind, want", [("add", 8 + 1 + 2 + 3), ("xchg", 3), ("smax", 8), ("smin", 1), ("umin", 1), ("and", 0), ("or", 11), ("xor", 8)]
)
def test_atomics_of_lanes_at_one_address(row, kind, want):
    x = np.array([8], np.int32)
    old = row("atomic_rmw", (addresses(x, [0, 0, 0, 0]), ptr_element(I32)), ([1, 2, 3, 100], I32), ([1, 1, 1, 0], BOOL), kind=kind)
    assert x[0] == want
    assert old[0] == 8 and old[3] == 0
    if kind == "add":
        assert old.tolist() == [8, 9, 11, 0]


def test_float_atomics(row):
    x = np.array([1.0, np.nan], np.float32)
    p = ptr_element(F32)
    row("atomic_rmw", (addresses(x, [0, 0]), p), ([0.5, 2], F32), kind="fadd")
    assert x[0] == 3.5
    row("atomic_rmw", (addresses(x, [0, 1]), p), ([9, 4], F32), kind="fmax")
    assert x.tolist() == [9, 4]
    half = formats.encode(np.array([1.0], np.float32), BF16)
    row("atomic_rmw", (addresses(half, [0]), ptr_element(BF16)), ([2.0**-9], BF16), kind="fadd")
    assert formats.decode(half, BF16)[0] == 1


def test_unsigned_atomics_compare_unsigned(row):
    x = np.array([-1], np.int32)
    row("atomic_rmw", (addresses(x, [0]), ptr_element(I32)), ([5], I32), kind="umax")
    assert x[0] == -1


def test_compare_and_swap_compares_bits(row):
    x = np.array([np.nan, -0.0, 3], np.float32)
    before = x.copy()
    old = row("atomic_cas", (addresses(x, [0, 1, 2, 2]), ptr_element(F32)), ([np.nan, 0.0, 3, 3], F32), ([1, 1, 4, 5], F32))
    assert x.tolist() == [1, 0, 4] and np.signbit(x[1])
    np.testing.assert_array_equal(old, [*before, 4])


def test_bounds_name_argument_program_and_lane(row, bounds):
    x, y = np.zeros(8, np.float32), np.zeros(8, np.float32)
    bounds(x.ctypes.data, x.nbytes, "x")
    p = ptr_element(F32)
    with pytest.raises(memory.BoundsError, match=r"load .* program \(1, 2, 3\), lane \(2,\) accesses 4 bytes .* 'x', 4 bytes past its end"):
        row("load", (addresses(x, [0, 7, 9, 1]), p))
    with pytest.raises(memory.BoundsError, match=r"store .* 'x', at byte 30 of its 32"):
        row("store", (np.array([x.ctypes.data + 30], np.uint64), p), ([1.0], F32))
    with pytest.raises(memory.BoundsError, match="4 bytes before its begin"):
        row("atomic_rmw", (addresses(x, [-1]), p), ([1.0], F32), kind="fadd")
    row("load", (addresses(x, [0, 9]), p), ([1, 0], BOOL))
    bounds(y.ctypes.data, y.nbytes, "y")
    row("load", (addresses(y, [0, 7]), p))
    memory.unregister(y.ctypes.data)
    with pytest.raises(memory.BoundsError):
        row("load", (addresses(y, [0, 7]), p))
    assert not y.any() and not x.any()
