"""Tiles divided by one scalar, which multiplies by its reciprocal: special and extreme operands."""

from __future__ import annotations

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.runtime.jit import jit
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


@jit
def whole(x, d, q, r, B: tl.constexpr):
    i = tl.arange(0, B)
    n = tl.load(x + i)
    divisor = tl.load(d)
    tl.store(q + i, n // divisor)
    tl.store(r + i, n % divisor)


def edges(dtype: type) -> list[int]:
    """Numbers where a quotient computed in floats might go wrong: ends of the range, powers of two and those beside them."""
    info = np.iinfo(dtype)
    near = [s * (1 << k) + e for k in range(info.bits) for e in (-1, 0, 1) for s in (1, -1)]
    return sorted({v for v in [*near, info.min, info.max, 3, 7, 10, 641, 6700417] if info.min <= v <= info.max})


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_whole_numbers_by_one_divisor(dtype: type) -> None:
    """As C divides; by zero there is no answer, but no trap either."""
    numbers, rng, size = edges(dtype), np.random.default_rng(0), 512
    for divisor in edges(dtype)[:: 3 if np.iinfo(dtype).bits == 32 else 1]:
        multiples = [divisor * k + e for k in range(-40, 41) for e in (-1, 0, 1)]
        inside = [v for v in multiples if np.iinfo(dtype).min <= v <= np.iinfo(dtype).max]
        x = np.array([*numbers, *inside], np.int64).astype(dtype)
        x = np.concatenate([x, rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, size - len(x), dtype)])
        q, r = np.zeros_like(x), np.zeros_like(x)
        whole[(1,)](x, np.array([divisor], dtype), q, r, B=size)
        if divisor:
            a = x.astype(object)
            want = np.array([abs(v) // abs(divisor) * (1 if (v < 0) == (divisor < 0) else -1) for v in a], object)
            np.testing.assert_array_equal(q, want.astype(np.int64).astype(dtype))
            np.testing.assert_array_equal(r, (a - want * divisor).astype(np.int64).astype(dtype))
