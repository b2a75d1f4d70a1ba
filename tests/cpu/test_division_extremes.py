"""Tiles divided by one scalar, which multiplies by its reciprocal: special and extreme operands."""

from __future__ import annotations

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


def divide(x, d, o, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(o + i, tl.load(x + i) / tl.load(d))


EXTREMES = [0.0, 1.0, 1.5, 1e-40, 1e-45, 1.2e-38, 1e-20, 1e20, 1.7e38, 3e38, np.inf, np.nan]
DIVIDENDS = np.array([s * v for v in EXTREMES for s in (1, -1)] + [0.1 * k for k in range(1, 41)], np.float32)


@pytest.mark.parametrize("divisor", [s * v for v in [*EXTREMES, 0.5, 3.0, 0.1] for s in (1, -1)])
def test_quotients_of_extreme_operands(divisor: float) -> None:
    x, d, o = DIVIDENDS, np.array([divisor], np.float32), np.zeros_like(DIVIDENDS)
    launch(CpuTarget(), divide, (1, 1, 1), x=x, d=d, o=o, B=64)
    with np.errstate(all="ignore"):
        want = x / d
    # Correctly rounded but where the quotient is subnormal: it is rounded twice.
    np.testing.assert_allclose(o, want, rtol=2e-7, atol=2e-45)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.signbit(o[finite]), np.signbit(want[finite]))
