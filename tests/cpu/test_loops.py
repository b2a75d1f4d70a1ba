"""Loop bounds at the ends of their type."""

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


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
