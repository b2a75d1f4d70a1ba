"""Accuracy of every expansion: f64 against mpmath, f32 against NumPy's float64 or the f64 formulas.

ANYTILE_EXHAUSTIVE=1 tries every f32 of the functions of one argument (minutes, not seconds).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import truth
from evaluate import evaluator, ulp_error

from anytile.ir.ops import MATH_BINARY, MATH_UNARY
from anytile.ir.types import F32, F64
from anytile.math.library import EXPANSIONS, NEAR

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

EXHAUSTIVE = os.environ.get("ANYTILE_EXHAUSTIVE") == "1"
ROWS = [*MATH_UNARY, *MATH_BINARY, "frem"]
BITWISE = ("nextafter",)  # has a test of its own
# Largest error allowed, in units of the last place.
F32_LIMIT = dict.fromkeys(ROWS, 2.0) | {"tan": 4.0, "atanh": 2.5}
F64_LIMIT = dict.fromkeys(ROWS, 2.0) | {"tan": 2.5, "normcdf": 4, "normcdfinv": 4, "erfinv": 3, "erfcinv": 3, "erfcx": 3, "erfc": 3}
F64_LIMIT |= {"tgamma": 16, "cyl_bessel_i0": 6, "cyl_bessel_i1": 6}
SLOW = ("y0", "y1", "j0", "j1", "cyl_bessel_i0", "cyl_bessel_i1")  # in mpmath
# Near their zeros these are judged by absolute error instead, in units of 2^-53.
ABSOLUTE = {"lgamma": 8, "j0": 8, "j1": 8, "y0": 8, "y1": 8}


def arity(row: str) -> int:
    return 2 if row in MATH_BINARY or row == "frem" else 1


def flushed(row: str, got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The f32 exponentials give 0 for subnormal results."""
    return (got == 0) & (np.abs(want) < 2.0**-126) if row in ("exp", "exp2", "exp10") else np.zeros(got.shape, bool)


def describe(row, xs, got, want, err):
    i = int(np.argmax(err))
    return f"{row}{tuple(x[i] for x in xs)} gives {got[i]!r}, not {want[i]!r}: {err[i]:.2f} ulp"


def f32_inputs(row: str) -> tuple[np.ndarray, ...]:
    if arity(row) == 2:
        return truth.samples(row, np.float32, 1_000_000, 2)
    random = truth.samples(row, np.float32, 500_000, 1)[0]
    steps = np.arange(0, 2**32, 8191, dtype=np.uint64).astype(np.uint32)
    tops = np.arange(2**16, dtype=np.uint32) << 16
    return (np.concatenate([random, steps.view(np.float32), tops.view(np.float32)]),)


def f32_truth(row: str, xs: tuple[np.ndarray, ...]) -> np.ndarray:
    wide = [x.astype(np.float64) for x in xs]
    if row in truth.NUMPY:
        return truth.NUMPY[row](*wide)
    return evaluator(EXPANSIONS[row, "f64"], *[F64] * len(xs))(*wide)


@pytest.mark.parametrize("row", [r for r in ROWS if r not in BITWISE])
def test_f32(row):
    f = evaluator(EXPANSIONS[row, "f32"], *[F32] * arity(row))
    chunks = [f32_inputs(row)]
    if EXHAUSTIVE and arity(row) == 1:
        chunks = [(np.arange(i, i + 2**24, dtype=np.uint32).view(np.float32),) for i in range(0, 2**32, 2**24)]
    for xs in chunks:
        got, want = f(*xs), f32_truth(row, xs)
        err = np.where(flushed(row, got, want), 0, ulp_error(got, want))
        assert err.max() <= F32_LIMIT[row], describe(row, xs, got, want, err)


@pytest.mark.parametrize("row", [row for row, _ in NEAR])
def test_the_short_way_of_usual_arguments(row):
    """Below the limit, as right as the formula for all; dense near multiples of π/2, where few digits of the argument are left."""
    limit, formula = NEAR[row, "f32"]
    f = evaluator(formula, F32)
    top = int(np.float32(limit).view(np.uint32))
    quarters = (np.arange(int(limit / (np.pi / 2)) - 1) * (np.pi / 2)).astype(np.float32)
    chunks = [
        np.random.default_rng(1).integers(0, top, 1 << 20).astype(np.uint32).view(np.float32),
        quarters,
        np.nextafter(quarters, np.float32(9e9)),
    ]
    if EXHAUSTIVE:
        chunks += [np.arange(i, min(i + 2**24, top), dtype=np.uint32).view(np.float32) for i in range(0, top, 2**24)]
    for chunk in chunks:
        for xs in (chunk, -chunk):
            got, want = f(xs), f32_truth(row, (xs,))
            err = ulp_error(got, want)
            assert err.max() <= 1.55, describe(row, (xs,), got, want, err)
            assert (np.signbit(got) == np.signbit(want)).all()


@pytest.mark.parametrize("row", [r for r in ROWS if r not in BITWISE])
def test_f64(row):
    f = evaluator(EXPANSIONS[row, "f64"], *[F64] * arity(row))
    count = 200 if row in SLOW else 600 if row in truth.EXACT else 100_000
    xs = truth.samples(row, np.float64, count, arity(row), seed=3)
    want = truth.mp_values(row, xs) if row in truth.EXACT else truth.NUMPY[row](*xs).astype(np.longdouble)
    got = f(*xs)
    err = ulp_error(got, want)
    if row in ABSOLUTE:
        with np.errstate(all="ignore"):
            near_zero = np.abs(got - want) * 2.0**53 <= ABSOLUTE[row]
        err = np.where(near_zero, 0, err)
    assert err.max() <= F64_LIMIT[row] + (14 if row in ABSOLUTE else 0), describe(row, xs, got, want, err)


@pytest.mark.parametrize("elem,dtype", [(F32, np.float32), (F64, np.float64)], ids=["f32", "f64"])
def test_nextafter(elem, dtype):
    x, y = truth.samples("nextafter", dtype, 100_000, 2)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
    x, y = np.concatenate([x, np.repeat(special, 8)]), np.concatenate([y, np.tile(special, 8)])
    got, want = evaluator(EXPANSIONS["nextafter", str(elem)], elem, elem)(x, y), np.nextafter(x, y)
    np.testing.assert_array_equal(got, want)
    assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()
