"""Atomic additions that are combined before they reach memory, and those that must not be."""

import numpy as np
import pytest
from differential import OPTIONS, launch
from test_panels import CPU

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu import combining


def count_kernel(x, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.atomic_add(o + tl.load(x + i, mask=i < n, other=0), 1, mask=i < n)


def weigh_kernel(x, v, o, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.atomic_add(o + tl.load(x + i), tl.load(v + i), sem="relaxed")


@pytest.mark.parametrize("bins", [1, 10, 4096, 1 << 20])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_histogram(bins, index):
    n = 100_000
    x = np.random.default_rng(bins).integers(0, bins, n).astype(index)
    o = np.zeros(bins, "int32")
    launch(CPU, count_kernel, (-(-n // 1024), 1, 1), x=x, o=o, n=n, B=1024)
    np.testing.assert_array_equal(o, np.bincount(x, minlength=bins))


def test_sums_of_64_bits_on_top_of_what_is_there():
    rng = np.random.default_rng(0)
    x, v = rng.integers(0, 999, 8192).astype("int32"), rng.integers(-(1 << 60), 1 << 60, 8192)
    o = rng.integers(-100, 100, 999)
    want = o.copy()
    np.add.at(want, x, v)
    launch(CPU, weigh_kernel, (16, 1, 1), x=x, v=v, o=o, B=512)
    np.testing.assert_array_equal(o, want)


def test_lines_that_drive_each_other_out(monkeypatch):
    """Every element a line of its own: combined at first, then directly."""
    monkeypatch.setattr(combining, "PATIENCE", 1000)
    x = (np.random.default_rng(1).permutation(1 << 14) * 16).astype("int32")
    o = np.zeros(1 << 18, "int32")
    launch(CPU, count_kernel, (16, 1, 1), x=x, o=o, n=len(x), B=1024)
    assert o.sum() == len(x) and (o[x] == 1).all()


def test_launch_after_launch():
    x = np.random.default_rng(2).integers(0, 100, 5000).astype("int32")
    o = np.zeros(100, "int32")
    for _ in range(3):
        launch(CPU, count_kernel, (5, 1, 1), x=x, o=o, n=5000, B=1024)
    np.testing.assert_array_equal(o, 3 * np.bincount(x, minlength=100))


# --- where a program could tell ---------------------------------------------------------------------------------------


def used_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(x + i, tl.atomic_add(o + i, 1))


def read_after_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.atomic_add(o + i, 1)
    tl.store(x + i, tl.load(o + i))


def two_kinds_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.atomic_max(o + i, 3)
    tl.atomic_add(o + i, 1)


def waiting_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    seen = tl.atomic_cas(x, 0, 1)
    tl.atomic_add(o + i, seen)


def watching_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.atomic_add(o + i, tl.load(x + i, volatile=True))


def looping_kernel(x, o, B: tl.constexpr):
    i = tl.arange(0, B)
    for k in range(3):
        tl.atomic_add(o + tl.load(x + k * B + i), 1)


def combines(kernel) -> bool:
    source = JITCallable(kernel)
    signature = {name: "*i32" for name in source.arg_names}
    signature["B"] = "constexpr"
    module = trace(source, signature, {(source.arg_names.index("B"),): 512}, {}, OPTIONS)
    return "@hand_over_all" in CPU.compile(module, OPTIONS).stages["llir"]


@pytest.mark.parametrize("kernel", [used_kernel, read_after_kernel, two_kinds_kernel, waiting_kernel, watching_kernel, looping_kernel])
def test_each_addition_by_itself(kernel):
    assert not combines(kernel)


def test_combined():
    assert combines(weigh_kernel)
