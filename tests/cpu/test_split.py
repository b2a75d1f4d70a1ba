"""A lone program's loop in parts: which loops are split, that the results are those of one core, whatever runs first."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anytile.language as tl
from anytile.targets.base import Artifact
from anytile.targets.cpu import CpuTarget, pool, pool_record
from anytile.targets.cpu.driver import compile_module
from anytile.targets.cpu.target import CpuKernel
from anytile.targets.reference import ReferenceTarget

from .differential import launch

LAUNCHER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 2, *[ctypes.c_int32] * 3)
RECORD = struct.Struct("=6q3i")


_known: dict[tuple[str, bool], Artifact] = {}


def compiled(module: Any, options: Any, machine: Any, pool: bool) -> Artifact:
    """`compile_module`, once for each kernel."""
    key = (str(module), pool)
    if key not in _known:
        _known[key] = compile_module(module, options, machine, pool)
    return _known[key]


class Watched(CpuTarget):
    """The CPU target; ``parts``: into how many parts the last launch was divided.  ``order``, if given, says in which order they run, all
    on this thread."""

    def __init__(self, order: Callable[[list[int]], None] | None = None):
        super().__init__()
        self.parts, self.order = 1, order

    def compile(self, module: Any, options: Any = None) -> Artifact:
        self.artifact = compiled(module, options, self.machine, pool=True)
        return self.artifact

    def load(self, artifact: Artifact) -> CpuKernel:
        kernel = super().load(artifact)
        if artifact.metadata.get("split"):
            self.hook = LAUNCHER(self.share)
            variable = ctypes.c_void_p.from_address(kernel._object.address(pool_record.LAUNCHER))
            assert variable.value == pool.launcher_address()
            variable.value = ctypes.cast(self.hook, ctypes.c_void_p).value
        return kernel

    def share(self, record: int, args: int) -> int:
        address, scratch, *_, gx, gy, gz = RECORD.unpack(ctypes.string_at(record, RECORD.size))
        self.parts = gx
        if self.order is None:
            return LAUNCHER(pool.launcher_address())(record, args)
        todo = list(range(gx))
        self.order(todo)
        for i in todo:
            KERNEL(address)(args, scratch, i, i + 1, gx, gy, gz)
        return 0


class Whole(CpuTarget):
    """The CPU target without splitting.  It takes different parameters for memory apart within one iteration, which the reference does not."""

    def compile(self, module: Any, options: Any = None) -> Artifact:
        return compiled(module, options, self.machine, pool=False)


class Memory:
    """One array; arguments are places in it, so that they may overlap."""

    def __init__(self, size: int, dtype: type, seed: int = 0):
        self.first = np.random.default_rng(seed).integers(-50, 50, size).astype(dtype)

    def run(self, target: Any, fn: Any, grid: tuple[int, ...], places: dict[str, int], **args: Any) -> np.ndarray:
        memory = self.first.copy()
        launch(target, fn, (*grid, 1, 1)[:3], **{name: memory[at:] for name, at in places.items()}, **args)
        return memory

    def same(
        self, fn: Any, places: dict[str, int], grid: tuple[int, ...] = (1,), rtol: float = 0.0, like: Any = ReferenceTarget, **args: Any
    ) -> int:
        """Asserts that a kernel leaves what target ``like`` leaves, whoever runs its parts, in which order; returns their number."""
        want = self.run(like(), fn, grid, places, **args)
        found, counts = [], []
        for order in (None, list.reverse, random.Random(1).shuffle):
            target = Watched(order)
            found.append(self.run(target, fn, grid, places, **args))
            counts.append(target.parts)
            np.testing.assert_allclose(found[-1], want, rtol=rtol, atol=rtol)
            np.testing.assert_array_equal(found[-1], found[0])
        assert len(set(counts)) == 1
        return counts[0]


# --- kernels: `per` rows for each program ----------------------------------------------------------------------------


def backward(x, dy, dx, w, mean, dw, db, n, stride, cols, per, BLOCK):
    """Of a norm: a row of gradients in each iteration, and two sums over all rows."""
    pid = tl.program_id(0)
    c = tl.arange(0, BLOCK)
    mask = c < cols
    weight = tl.load(w + c, mask=mask, other=0)
    sum_w = tl.zeros([BLOCK], dw.dtype.element_ty)
    sum_b = tl.zeros([BLOCK], dw.dtype.element_ty)
    for i in range(pid * per, min((pid + 1) * per, n)):
        a = tl.load(x + i * stride + c, mask=mask, other=0) - tl.load(mean + i)
        g = tl.load(dy + i * stride + c, mask=mask, other=0)
        tl.store(dx + i * stride + c, g * weight - tl.sum(a, axis=0), mask=mask)
        sum_w += g * a
        sum_b += g
    tl.store(dw + pid * cols + c, sum_w, mask=mask)
    tl.store(db + pid * cols + c, sum_b, mask=mask)


def places(n: int, stride: int, **changed: int) -> dict[str, int]:
    size = n * stride + 1024
    apart = {"x": 0, "dy": size, "dx": 2 * size, "w": 3 * size, "mean": 3 * size + 1024, "dw": 4 * size + 1024, "db": 4 * size + 2048}
    return apart | changed


def memory(n: int, stride: int, dtype: type = np.int32) -> Memory:
    return Memory(4 * (n * stride + 1024) + 4096, dtype)


@pytest.mark.parametrize("n, parts", [(0, 1), (1, 1), (11, 1), (12, 2), (37, 6), (100, 16), (131, 16)])
def test_rows_of_a_norm(n, parts):
    assert memory(n, 1024).same(backward, places(n, 1024), n=n, stride=1024, cols=1000, per=n, BLOCK=1024) == parts


def test_sums_of_floats_are_the_same_in_any_order_of_the_parts():
    n = 64
    assert memory(n, 512, np.float32).same(backward, places(n, 512), rtol=1e-4, n=n, stride=512, cols=512, per=n, BLOCK=512) > 1


def test_rows_that_touch_but_for_the_mask():
    assert memory(40, 1000).same(backward, places(40, 1000), n=40, stride=1000, cols=1000, per=40, BLOCK=1024) == 6


def test_gradients_in_place():
    where = places(40, 1024, dx=places(40, 1024)["dy"])
    assert memory(40, 1024).same(backward, where, n=40, stride=1024, cols=1000, per=40, BLOCK=1024) == 6


@pytest.mark.parametrize("shift", [1024, -1024, 512, 25, -25, -3 * 1024])
def test_rows_that_another_iteration_reads_are_not_split(shift):
    where = places(40, 1024)
    where["dx"] = where["dy"] + shift
    where["x"] = where["dx"] + 2 * (40 * 1024 + 1024)
    m = Memory(8 * 41 * 1024, np.int32)
    where = {k: v + 4 * 1024 for k, v in where.items()}
    assert m.same(backward, where, like=Whole, n=40, stride=1024, cols=1000, per=40, BLOCK=1024) == 1


def test_rows_side_by_side_in_one_matrix():
    where = places(40, 2048)
    where["dx"] = where["dy"] + 1000  # the other half of each row
    assert memory(40, 2048).same(backward, where, n=40, stride=2048, cols=1000, per=40, BLOCK=1024) == 6


@pytest.mark.parametrize("name, at", [("w", 5 * 1024), ("mean", 3), ("w", 39 * 1024 + 999)])
def test_a_load_that_a_store_of_any_row_meets_is_not_split(name, at):
    where = places(40, 1024)
    where[name] = where["dx"] + at
    assert memory(40, 1024).same(backward, where, n=40, stride=1024, cols=1000, per=40, BLOCK=1024) == 1


def test_rows_on_top_of_each_other_are_not_split():
    assert memory(40, 1024).same(backward, places(40, 1024), n=40, stride=900, cols=1000, per=40, BLOCK=1024) == 1
    assert memory(40, 1024).same(backward, places(40, 1024), n=40, stride=0, cols=1000, per=40, BLOCK=1024) == 1


def test_rows_backwards():
    where = {k: v + 39 * 1024 * (k in ("x", "dy", "dx")) for k, v in places(40, 1024).items()}
    assert memory(40, 1024).same(backward, where, n=40, stride=-1024, cols=1000, per=40, BLOCK=1024) == 6


def test_several_programs_are_not_split():
    size = 4 * 41 * 1024
    m, where = Memory(size + 8192, np.int32), places(40, 1024, dw=size + 1024, db=size + 4096)  # room for the sums of both
    assert m.same(backward, where, (2,), n=40, stride=1024, cols=1000, per=20, BLOCK=1024) == 1


def blocks(x, y, total, n, cols, ROWS, BLOCK):
    """Blocks of rows, the last of them partial; a sum of two dimensions, and one of scalars."""
    r, c = tl.arange(0, ROWS), tl.arange(0, BLOCK)
    sums = tl.zeros([ROWS, BLOCK], tl.int32)
    count = 7
    for i in range(tl.program_id(0) * ROWS, n, tl.num_programs(0) * ROWS):
        rows = i + r
        mask = (rows < n)[:, None] & (c < cols)[None, :]
        a = tl.load(x + rows[:, None] * cols + c[None, :], mask=mask, other=1)
        tl.store(y + rows[:, None] * cols + c[None, :], a * 2 + i, mask=mask)
        sums += a
        count += tl.sum(tl.sum(a, axis=1), axis=0)
    tl.store(total + r[:, None] * BLOCK + c[None, :], sums)
    tl.store(total + ROWS * BLOCK, count)


@pytest.mark.parametrize("n, parts", [(128, 3), (129, 3), (511, 12), (15, 1)])
def test_blocks_of_rows(n, parts):
    m = Memory(n * 500 * 2 + 8192, np.int32)
    where = {"x": 0, "y": n * 500, "total": n * 1000}
    assert m.same(blocks, where, n=n, cols=500, ROWS=8, BLOCK=512) == parts
    in_place = {"x": 0, "y": 0, "total": n * 1000}
    assert m.same(blocks, in_place, n=n, cols=500, ROWS=8, BLOCK=512) == parts


@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(0, 300),
    cols=st.sampled_from([1, 400, 500, 512]),
    x=st.integers(50, 160),
    y=st.integers(50, 160),
    shift=st.sampled_from([0, 0, 0, 1, 7, 300]),
)
def test_blocks_anywhere(n, cols, x, y, shift):
    m = Memory(400 * 1024, np.int32)
    assert m.same(blocks, {"x": 1024 * x, "y": 1024 * y + shift, "total": 390 * 1024}, like=Whole, n=n, cols=cols, ROWS=8, BLOCK=512) >= 1


def moving(x, y, n, stride, BLOCK):
    """Pointers that the loop moves; nothing is added up."""
    c = tl.arange(0, BLOCK)
    source, into = x + c, y
    for i in range(tl.program_id(0), n, tl.num_programs(0)):
        tl.store(into + c, tl.load(source) + i)
        source += stride
        into += 2 * stride
    tl.store(into + c, tl.load(source))


def test_pointers_that_move():
    m = Memory(100 * 512 * 4, np.int32)
    assert m.same(moving, {"x": 0, "y": 110 * 512}, n=90, stride=512, BLOCK=512) == 5
    assert m.same(moving, {"x": 0, "y": 0}, n=90, stride=512, BLOCK=512) == 1


def branches(x, y, out, n, BLOCK):
    """A branch in the loop, the sum by subtraction, positions of 64 bits."""
    c = tl.arange(0, BLOCK)
    total = tl.full([BLOCK], 100, tl.int32)
    for i in range(tl.program_id(0).to(tl.int64) * n, n):
        a = tl.load(x + tl.multiple_of(i * BLOCK, 16) + c)
        if i % 3 == 1:
            tl.store(y + i * BLOCK + c, a)
        total -= a
    tl.store(out + c, total)


def test_branches():
    m = Memory(60 * 2048 + 2048, np.int32)
    assert m.same(branches, {"x": 0, "y": 60 * 1024, "out": 120 * 1024}, n=60, BLOCK=1024) == 7


def by_data(x, index, y, n, BLOCK):
    c = tl.arange(0, BLOCK)
    for i in range(tl.program_id(0), n):
        tl.store(y + (tl.load(index + i) % 3) * BLOCK + c, tl.load(x + i * BLOCK + c))


def running(x, y, n, BLOCK):
    c = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.int32)
    for i in range(tl.program_id(0), n):
        total += tl.load(x + i * BLOCK + c)
        tl.store(y + i * BLOCK + c, total)


def largest(x, y, n, BLOCK):
    c = tl.arange(0, BLOCK)
    most = tl.zeros([BLOCK], tl.int32)
    for i in range(tl.program_id(0), n):
        most = tl.maximum(most, tl.load(x + i * BLOCK + c))
    tl.store(y + c, most)


def atomically(x, y, n, BLOCK):
    c = tl.arange(0, BLOCK)
    for i in range(tl.program_id(0), n):
        tl.atomic_add(y + c, tl.load(x + i * BLOCK + c))


def elsewhere(x, y, n, BLOCK):
    """The bounds say nothing of programs: as likely as not there are many."""
    c = tl.arange(0, BLOCK)
    for i in range(n):
        tl.store(y + i * BLOCK + c, tl.load(x + i * BLOCK + c))


@pytest.mark.parametrize("fn", [by_data, running, largest, atomically, elsewhere], ids=lambda f: f.__name__)
def test_what_is_not_split(fn):
    target, m = Watched(), Memory(60 * 2048 + 1024, np.int32)
    where = {"x": 0, "y": 60 * 1024} | ({"index": 0} if fn is by_data else {})
    got = m.run(target, fn, (1,), where, n=60, BLOCK=1024)
    assert "split" not in target.artifact.metadata
    np.testing.assert_array_equal(got, m.run(ReferenceTarget(), fn, (1,), where, n=60, BLOCK=1024))


@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(0, 60),
    stride=st.sampled_from([-512, 0, 300, 500, 512, 1024]),
    cols=st.sampled_from([1, 300, 500, 512]),
    at=st.fixed_dictionaries({name: st.integers(30, 160) for name in ("x", "dy", "dx", "w", "mean", "dw", "db")}),
)
def test_arguments_anywhere(n, stride, cols, at):
    where = {name: 1024 * unit for name, unit in at.items()}
    Memory(300 * 1024, np.int32).same(backward, where, like=Whole, n=n, stride=stride, cols=cols, per=n, BLOCK=512)


def slow(x, y, n, AGAIN, BLOCK):
    c = tl.arange(0, BLOCK)
    for i in range(tl.program_id(0), n):
        a = tl.load(x + i * BLOCK + c)
        for _ in range(AGAIN):
            a = tl.sin(a)
        tl.store(y + i * BLOCK + c, a)


def test_a_launch_that_takes_longer_than_a_time_slice():
    """The pool comes back every tenth of a second; the parts go on."""
    m, where = Memory(2 * 64 * 4096, np.float32), {"x": 0, "y": 64 * 4096}
    target, args = Watched(), {"n": 64, "AGAIN": 500, "BLOCK": 4096}
    got = m.run(target, slow, (1,), where, **args)
    assert target.parts == 16
    np.testing.assert_array_equal(got, m.run(Whole(), slow, (1,), where, **args))


def test_the_knob(monkeypatch):
    args = {"x": np.ones(60 * 512, np.float32), "y": np.zeros(60 * 512, np.float32), "n": 60, "AGAIN": 1, "BLOCK": 512}
    before = Watched().fingerprint()
    for value, split in (("1", True), ("0", False)):
        monkeypatch.setenv("ANYTILE_SPLIT_LOOPS", value)
        target = Seen()
        launch(target, slow, (1, 1, 1), **args)
        assert ("split" in target.artifact.metadata) == split
        assert (target.fingerprint() == before) == split


class Seen(CpuTarget):
    def compile(self, module: Any, options: Any = None) -> Artifact:
        self.artifact = super().compile(module, options)
        return self.artifact
