"""Values made of several SSA values: block pointers, user aggregates, across loops and branches."""

from __future__ import annotations

import numpy as np
from harness import run

import anytile.language as tl
from anytile.language.records import aggregate
from anytile.language.source import device_function


def block_pointers(x, o, n):
    p = tl.make_block_ptr(x, (n,), (1,), (0,), (4,), (0,))
    total = tl.zeros((4,), tl.float32)
    for _ in range(0, n, 4):
        total += tl.load(p, boundary_check=(0,), padding_option="zero")
        p = tl.advance(p, (4,))
    tl.store(o, tl.sum(total))


def test_block_pointers_are_carried():
    x, o = np.arange(10, dtype=np.float32), np.zeros(1, np.float32)
    m = run(block_pointers, x, o, 10)
    assert o[0] == 45
    (loop,) = [op for op in m.walk() if op.name == "for"]
    assert len(loop.results) == 2  # the sum and the offset: base, shape and stride do not change


@aggregate
class Running:
    count: tl.tensor
    width: tl.constexpr

    @device_function
    def __init__(self, count, width: tl.constexpr):
        self.count = count
        self.width = width

    @device_function
    def plus(self, x):
        return Running(self.count + x * self.width, self.width)


def aggregates(o, n):
    r = Running(n * 0, 3)
    for i in range(n):
        if i != 2:
            r = r.plus(i)
    tl.store(o + tl.arange(0, 2), r.count + tl.arange(0, 2) * r.width)


def test_aggregates_cross_loops_and_branches():
    o = np.zeros(2, np.int32)
    run(aggregates, o, 5)
    assert o.tolist() == [24, 27]


def conditional_tuple(o, n):
    scale, offset = (2, n) if n > 3 else (3, 0)
    tl.store(o, n * scale + offset)


def test_tuples_in_conditional_expressions():
    o = np.zeros(1, np.int32)
    run(conditional_tuple, o, 4)
    assert o[0] == 12
    run(conditional_tuple, o, 2)
    assert o[0] == 6


def standard_functions(x, o, B: tl.constexpr):
    v = tl.load(x + tl.arange(0, B))
    tl.store(o, tl.max(v, axis=0))
    tl.store(o + 1, v.sum())
    tl.store(o + 2, tl.argmax(v, axis=0))
    tl.store(o + tl.arange(0, B) + 4, tl.cumsum(v, 0))
    tl.store(o + tl.arange(0, B) + 16, tl.sort(v))


def test_functions_written_in_the_language():
    x, o = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.float32), np.zeros(32, np.float32)
    run(standard_functions, x, o, constexprs={"B": 8})
    assert o[:3].tolist() == [9, 31, 5]
    assert (o[4:12] == x.cumsum()).all() and (o[16:24] == np.sort(x)).all()
