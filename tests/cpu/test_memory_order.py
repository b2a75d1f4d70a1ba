"""Masks, and accesses to memory that must keep their order, in kernels that once went wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from differential import OPTIONS, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current


def ramp(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32)


# --- masks ------------------------------------------------------------------------------------------------


def square(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    m = i < n
    at = i[:, None] * B + i[None, :]
    tl.store(o + at, tl.load(p + at, mask=m[:, None] & m[None, :], other=-1.0))


def square_store(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    m = i < n
    at = i[:, None] * B + i[None, :]
    tl.store(o + at, tl.load(p + at), mask=m[:, None] & m[None, :])


def mask_also_selects(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    m = i < n
    at = i[:, None] * B + i[None, :]
    tl.store(o + at, tl.where(m[:, None], tl.load(p + at, mask=m[None, :], other=-1.0), 5.0))


@pytest.mark.parametrize("n", [0, 1, 20, 48, 63, 64])
@pytest.mark.parametrize("kernel", [square, square_store, mask_also_selects])
def test_one_condition_on_two_axes(kernel, n):
    same(kernel, o=ramp(64 * 64) * 0, p=ramp(64 * 64), n=n, B=64)


def under_reshape(o, p, n, B: tl.constexpr):
    r = tl.arange(0, B)
    at = r[:, None] * 16 + tl.arange(0, 16)[None, :]
    v = tl.load(p + at, mask=(r < n)[:, None], other=-1.0)
    tl.store(o + tl.arange(0, B * 16), tl.reshape(v, (B * 16,)))


@pytest.mark.parametrize("n", [0, 20, 64])
def test_mask_under_a_reshape(n):
    same(under_reshape, o=ramp(1024) * 0, p=ramp(1024), n=n, B=64)


def periodic(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    m = (i % 32) < n
    tl.store(o + i, tl.load(p + i, mask=m, other=-1.0), mask=m)


def blockwise(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    m = (i // 32) < n
    tl.store(o + i, tl.load(p + i, mask=m, other=-1.0), mask=m)


@pytest.mark.parametrize("n", [0, 1, 2, 20, 40])
@pytest.mark.parametrize("kernel", [periodic, blockwise])
def test_mask_that_is_no_prefix(kernel, n):
    same(kernel, o=ramp(128) * 0, p=ramp(128), n=n, B=128)


def transposed(o, p, n, B: tl.constexpr):
    r, c = tl.arange(0, B), tl.arange(0, B)
    v = tl.load(p + c[None, :] * B + r[:, None], mask=(c < n)[None, :], other=-1.0)
    tl.store(o + r[:, None] * B + c[None, :], tl.dot(v, v))


def test_mask_along_the_other_axis_of_a_transposing_nest():
    same(transposed, o=ramp(32 * 32) * 0, p=ramp(32 * 32) % 7, n=20, B=32)


# --- order ------------------------------------------------------------------------------------------------


def load_between(o, p, q, B: tl.constexpr):
    i = tl.arange(0, B)
    total = tl.sum(tl.load(q + i), axis=0)
    x = tl.load(p + i)
    tl.store(p + i, x + 1)  # shares a nest with the sum, which comes before the load
    tl.store(o + i, x + total)


def dependent_load_between(o, p, q, B: tl.constexpr):
    i = tl.arange(0, B)
    at = tl.max(tl.load(q + i), axis=0).to(tl.int32) % 2
    x = tl.load(o + i + at, mask=i + at < B, other=0.0)
    tl.store(o + i, tl.load(p + i))
    tl.store(p + i, x)


@pytest.mark.parametrize("kernel", [load_between, dependent_load_between])
def test_load_before_a_store_of_an_earlier_nest(kernel):
    same(kernel, o=ramp(64) + 5, p=ramp(64), q=ramp(64), B=64)


def reverse(p, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(p + i, tl.load(p + B - 1 - i))


def shift_up(p, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(p + i + 1, tl.load(p + i, mask=i < B - 1), mask=i < B - 1)


def transpose_in_place(p, B: tl.constexpr):
    S: tl.constexpr = B // 32
    at = tl.arange(0, 32)[:, None] * S + tl.arange(0, S)[None, :]
    back = tl.arange(0, S)[:, None] * 32 + tl.arange(0, 32)[None, :]
    tl.store(p + back, tl.trans(tl.load(p + at)))


def same_pointer_transposed(p, B: tl.constexpr):
    at = tl.arange(0, 32)[:, None] * 32 + tl.arange(0, 32)[None, :]
    tl.store(p + at, tl.trans(tl.load(p + at)))


def overlapping_stores(p, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(p + i)
    tl.store(p + i, x + 1000)
    tl.store(p + B - 1 - i, x)


def broadcast_first(p, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(p + i, tl.load(p + i * 0) + tl.load(p + i))


def atomic_neighbour(p, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.atomic_add(p + i, tl.load(p + (i + 1) % B))


def rows_added_to(o, p, rows, start, n, B: tl.constexpr):
    i, r = tl.arange(0, B), tl.arange(0, 4)
    row = tl.load(rows + r)
    x = tl.load(p + r[:, None] * B + i[None, :])
    tl.atomic_add(o + start + row[:, None] * B + i[None, :], x, mask=(i < n)[None, :] & (row >= 0)[:, None])
    tl.atomic_add(o + start + i, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 5, 30, 32])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_floats_added_by_rows(start, n, dtype):
    rows = np.array([2, 0, -1, 2], np.int32)
    same(rows_added_to, grid=(3,), o=ramp(128).astype(dtype), p=ramp(128).astype(dtype), rows=rows, start=start, n=n, B=32)


def bf16_atomics(o, p, n, B: tl.constexpr):
    i = tl.arange(0, B)
    kind: tl.constexpr = tl.pointer_type(tl.bfloat16)
    q, x = p.to(kind, bitcast=True) + i, i.to(tl.bfloat16)
    old = tl.atomic_add(q, x, mask=i < n).to(tl.float32)
    old += tl.atomic_add(q + B, x).to(tl.float32)
    old += tl.atomic_xchg(q + 2 * B, x, mask=i < n).to(tl.float32)
    tl.store(o + i, old)


@pytest.mark.parametrize("n", [0, 5, 16])
def test_atomics_of_bf16(n):
    """Carried as bits everywhere else; only the atomic instruction itself computes in bfloat."""
    numbers = np.linspace(-3, 3, 48, dtype=np.float32)
    same(bf16_atomics, o=np.zeros(16, np.float32), p=(numbers.view(np.uint32) >> 16).astype(np.int16), n=n, B=16)


def halves(p, B: tl.constexpr):
    i = tl.arange(0, B // 2)
    x, y = tl.load(p + i), tl.load(p + i + B // 2)
    tl.store(p + i, x - y)
    tl.store(p + i + B // 2, x + y)


@pytest.mark.parametrize(
    "kernel",
    [reverse, shift_up, transpose_in_place, same_pointer_transposed, overlapping_stores, broadcast_first, atomic_neighbour, halves],
)
def test_in_place(kernel):
    same(kernel, p=ramp(1024), B=1024)


def swap(p, q, s, B: tl.constexpr):
    i = tl.arange(0, B) + tl.max(tl.load(s + tl.arange(0, B)), axis=0).to(tl.int32) * 0
    a, b = tl.load(p + i), tl.load(q + i)
    tl.store(p + i, b)
    tl.store(q + i, a)


def test_swap_with_addresses_from_a_reduction():
    same(swap, p=ramp(64), q=ramp(64) + 100, s=ramp(64), B=64)


def statistic_first(p, o, at, n, WIDE: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(p + 16 + i, mask=i < n, other=2.0)
    total = tl.sum(x, axis=0)
    if WIDE:
        tl.store((p + at).to(tl.pointer_type(tl.float64), bitcast=True), total.to(tl.float64))
    else:
        tl.store(p + at, total)
    tl.store(o + i, x - total)


@pytest.mark.parametrize("at", [15, 16, 40, 16 + 99, 16 + 100, 16 + 127, 16 + 128])
@pytest.mark.parametrize("n", [0, 100, 128])
def test_row_that_a_scalar_is_stored_into(at, n):
    """The row is read where it is only if the store goes elsewhere; that is decided at run time."""
    same(statistic_first, p=ramp(256), o=ramp(128), at=at, n=n, WIDE=False, B=128)


@pytest.mark.parametrize("at", [14, 15, 16, 16 + 127, 16 + 128])
def test_row_that_a_wider_scalar_reaches_into(at):
    same(statistic_first, p=ramp(256), o=ramp(128), at=at, n=100, WIDE=True, B=128)


def broken_row_first(p, q, o, n, HOW: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    if HOW == "remainder":
        at = (i + 10) % n
    elif HOW == "narrow":
        at = i.to(tl.int8).to(tl.int32) + 128
    elif HOW == "xor":
        at = i ^ 5
    else:
        at = i & 15
    x = tl.load(p + at)
    tl.store(q, 5.0)
    tl.store(o + i, x)


@pytest.mark.parametrize("how", ["remainder", "narrow", "xor", "and"])
def test_addresses_that_run_on_only_for_a_while_are_no_row(how):
    same(broken_row_first, p=ramp(512), q=ramp(1), o=ramp(256), n=100, HOW=how, B=256)


def sums_beside_a_store(p, q, o, rows, n, IN_PLACE: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    m = i < n
    products, total = tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for r in range(rows):
        x, y = tl.load(p + r * B + i, mask=m, other=1.0), tl.load(q + r * B + i, mask=m, other=0.0)
        c = tl.sum(x * y, axis=0) / n
        d = tl.sum(y, axis=0) / n
        tl.store((p if IN_PLACE else o + 2 * B) + r * B + i, y * c - x * d, mask=m)
        products += x * y
        total += y
    tl.store(o + i, products, mask=m)
    tl.store(o + B + i, total)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("n", [7, 64])
def test_sums_that_a_loop_carries_beside_a_store(n, in_place):
    small = np.round(np.cos(ramp(256)) * 8)
    same(sums_beside_a_store, rtol=1e-6, p=small, q=small[::-1].copy(), o=ramp(384), rows=4, n=n, IN_PLACE=in_place, B=64)


def carried_crosswise(p, o, rows, B: tl.constexpr):
    i = tl.arange(0, B)
    a, b = tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for r in range(rows):
        x = tl.load(p + r * B + i)
        tl.store(o + (r + 2) * B + i, x + a - b)
        a, b = b + x, a - x
    tl.store(o + i, a)
    tl.store(o + B + i, b)


def carried_reversed(p, o, rows, B: tl.constexpr):
    i = tl.arange(0, B)
    a = tl.zeros((B,), tl.float32)
    for r in range(rows):
        x = tl.load(p + r * B + i)
        tl.store(o + (r + 2) * B + i, x * 2)
        a = tl.flip(a) + x
    tl.store(o + i, a)


@pytest.mark.parametrize("kernel", [carried_crosswise, carried_reversed])
def test_carried_tiles_that_read_each_other(kernel):
    same(kernel, p=ramp(256), o=ramp(384), rows=3, B=64)


def stages(p, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    before = tl.load(p + i)
    for k in range(n):
        x = tl.load(p + i)
        tl.store(p + (i ^ (1 << k)), x + k)
    tl.store(o + i, before - tl.load(p + i))


def test_load_before_a_loop_that_stores():
    same(stages, p=ramp(64), o=ramp(64), n=5, B=64)


def weights_before_rows(p, q, o, at, first, last, stride, n, CARRIED: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    m = i < n
    w = tl.load(p + at + i, mask=m, other=2.0)
    total = tl.zeros((B,), tl.float32)
    row = p + 512 + first * stride
    for r in range(first, last, 2):
        x = tl.load(q + i) + r
        if CARRIED:
            tl.store(row + i, x * w, mask=m)
            row += 2 * stride
        else:
            tl.store(p + 512 + r * stride + i, x * w, mask=m)
        tl.store(p + r, r * 1.0)
        total += x * w
    tl.store(o + i, total * w)


# rows 1, 3 and 5 begin at 576, 704 and 832, or at 448, 320 and 192; 1, 3 and 5 are numbers
@pytest.mark.parametrize("at", [1, 4, 6, 160, 192, 288, 470, 497, 511, 512, 545, 560, 577, 650, 831, 832, 863, 864])
@pytest.mark.parametrize("stride", [64, -64])
def test_row_that_a_loop_stores_into(at, stride):
    same(weights_before_rows, p=ramp(1024), q=ramp(32), o=ramp(32), at=at, first=1, last=6, stride=stride, n=32, CARRIED=at % 2, B=32)


@pytest.mark.parametrize("at", [576, 592, 593, 600, 895])
@pytest.mark.parametrize("n", [0, 17, 40])
def test_row_that_a_loop_stores_into_partly(at, n):
    same(weights_before_rows, p=ramp(1024), q=ramp(32), o=ramp(32), at=at, first=1, last=6, stride=64, n=n, CARRIED=False, B=32)


@pytest.mark.parametrize("last", [-5, 1, 2])
def test_row_and_a_loop_that_stores_once_or_never(last):
    same(weights_before_rows, p=ramp(1024), q=ramp(32), o=ramp(32), at=570, first=1, last=last, stride=64, n=32, CARRIED=True, B=32)


def window(p, o, at, n, B: tl.constexpr):
    i = tl.arange(0, B)
    w = tl.load(p + B + i)
    total = tl.zeros((B,), tl.float32)
    for r in range(n):
        total += w
        tl.store(p + at + i, i * 1.0 + r, mask=(i < r * 8) & (i < (n - 1 - r) * 8))
    tl.store(o + i, total)


@pytest.mark.parametrize("n", [1, 2, 7, 9, 20])
def test_row_that_only_the_iterations_in_the_middle_reach(n):
    """In the first and the last one, no lane of the store is on."""
    same(window, p=ramp(256), o=ramp(64), at=40, n=n, B=64)


@pytest.mark.parametrize("carried", [False, True])
def test_row_beside_a_loop_that_stores_is_copied_only_if_they_meet(carried):
    signature = {"p": "*fp32", "q": "*fp32", "o": "*fp32", "CARRIED": "constexpr", "B": "constexpr"}
    signature.update(dict.fromkeys(("at", "first", "last", "stride", "n"), "i32"))
    source = JITCallable(weights_before_rows)
    ordered = {name: signature[name] for name in source.arg_names}
    module = trace(source, ordered, {(8,): carried, (9,): 32}, {}, OPTIONS)
    text = lower(module, OPTIONS, current())[1]
    assert len(re.findall(r"^meets\d+:", text, re.MULTILINE)) == 1


# --- index arithmetic that wraps around ----------------------------------------------------------------------


def widened(o, B: tl.constexpr):
    i = tl.arange(0, B)
    below = (i - 5).to(tl.uint32, bitcast=True).to(tl.uint64)
    narrow = (i + 5).to(tl.int8).to(tl.int32)
    hashed = (i * 0x3779B9 * 12345).to(tl.int64) >> 8
    tl.store(o + i, below.to(tl.float64))
    tl.store(o + B + i, narrow.to(tl.float64))
    tl.store(o + 2 * B + i, hashed.to(tl.float64))


def test_widening_after_wrapping():
    same(widened, o=np.zeros(768), B=256)
