"""Loops: bounds at the ends of their type, tiles that are carried."""

import numpy as np
import pytest
from differential import OPTIONS, launch, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current


def count_kernel(out, lb, ub, step):
    n = 0
    for _ in range(lb, ub, step):
        n += 1
    tl.store(out, n)


def count_down_kernel(out, lb, ub, STEP: tl.constexpr):
    n = 0
    for _ in range(lb, ub, STEP):
        n += 1
    tl.store(out, n)


BIG = 2**31 - 1
CASES = [(0, 10, 3), (5, 5, 2), (6, 5, 2), (BIG - 5, BIG, 4), (BIG - 2, BIG, 7), (-5, -BIG, 2**30), (10, 0, -3), (-BIG + 3, -BIG, -5)]


@pytest.mark.parametrize("lb, ub, step", CASES)
def test_trip_counts(lb, ub, step):
    for kernel, args in ((count_kernel, {"step": step}), (count_down_kernel, {"STEP": step})):
        out = np.zeros(1, "int32")
        launch(CpuTarget(), kernel, (1, 1, 1), out=out, lb=lb, ub=ub, **args)
        assert out[0] == len(range(lb, ub, step))


# --- tiles that the first iteration writes before it reads them --------------------------------------------------------


def long_sums(p, o, first, last, STEP: tl.constexpr, READ_TWICE: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    total = tl.full((B,), 1.5, tl.float32)
    count = tl.zeros((B,), tl.int32)
    for r in range(first, last, STEP):
        x = tl.load(p + r * 8 + i)
        if READ_TWICE:
            tl.store(o + 2 * B + r, tl.sum(total, axis=0))
        scaled = x * tl.sum(x, axis=0)
        tl.store(o + (r + 4) * B + i, scaled)
        total += scaled
        count += (x > 3).to(tl.int32)
    tl.store(o + i, total)
    tl.store(o + B + i, count.to(tl.float32))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("first", "last", "step"), [(0, 0, 1), (3, 0, 1), (0, 1, 1), (1, 4, 2), (2, 7, 1), (6, -1, -3), (2, 6, -1)])
def test_long_sums(first, last, step, twice):
    p = np.round(np.sin(np.arange(2200, dtype=np.float32)) * 8)
    same(long_sums, rtol=1e-5, p=p, o=np.zeros(11 * 2048, np.float32), first=first, last=last, STEP=step, READ_TWICE=twice, B=2048)


def square_sums(p, o, n, B: tl.constexpr):
    i = tl.arange(0, B)[:, None] * B + tl.arange(0, B)[None, :]
    least, most = tl.full((B, B), 1e9, tl.float32), tl.full((B, B), -1e9, tl.float32)
    for r in range(n):
        for c in range(2):
            x = tl.load(p + r * 3 + c + i)
            tl.store(o + 2 * B * B + i, x)
            least, most = tl.minimum(least, x), tl.maximum(most, x * 2)
    tl.store(o + i, least)
    tl.store(o + B * B + i, most)


@pytest.mark.skipif(not current().masked_memory, reason="elsewhere they are begun in front of the loop")
def test_long_sums_are_begun_by_the_first_iteration_unless_somebody_else_reads_them():
    signature = {
        "p": "*fp32",
        "o": "*fp32",
        "first": "i32",
        "last": "i32",
        "STEP": "constexpr",
        "READ_TWICE": "constexpr",
        "B": "constexpr",
    }
    reads = []
    for twice in (False, True):
        module = trace(JITCallable(long_sums), signature, {(4,): 1, (5,): twice, (6,): 2048}, {}, OPTIONS)
        lines = lower(module, OPTIONS, current())[1].splitlines()
        assert sum(line.startswith("never") for line in lines) == 1
        reads.append(sum("= call" in line and "masked.load" in line for line in lines))
    assert reads[0] == 2 * reads[1] > 0


@pytest.mark.parametrize("n", [0, 1, 3])
def test_long_sums_of_nested_loops(n):
    same(square_sums, p=np.cos(np.arange(4200, dtype=np.float32)), o=np.zeros(3 * 64 * 64, np.float32), n=n, B=64)


def averages(p, o, n, BRANCH: tl.constexpr, B: tl.constexpr):
    """What the first iteration has written is read once more by it."""
    i = tl.arange(0, B)
    mean = tl.full((B,), 2.0, tl.float32)
    for r in range(n):
        x = tl.load(p + r * 3 + i)
        mean = tl.sqrt(mean * 0.5 + x) / (x + 1.0)
        tl.store(o + r * B + i, mean)
        if BRANCH:
            if n > r + 1:
                tl.store(o + (r + 4) * B + i, mean * 2)
        else:
            tl.debug_barrier()
            tl.store(o + (r + 4) * B + i, mean * 2)


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_what_the_first_iteration_began_is_read_by_it_again(n, branch):
    p = np.abs(np.sin(np.arange(4200, dtype=np.float32)))
    same(averages, rtol=1e-6, p=p, o=np.zeros(8 * 4096, np.float32), n=n, BRANCH=branch, B=4096)
