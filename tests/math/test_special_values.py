"""Zeros with their signs, infinities, NaN and the ends of the domains, as C has them; f32 and f64 alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from evaluate import evaluator

from anytile.ir.ops import MATH_BINARY, MATH_UNARY
from anytile.ir.types import F32, F64
from anytile.math.library import EXPANSIONS

INF, NAN, Z = math.inf, math.nan, -0.0
FORMATS = pytest.mark.parametrize("elem,dtype", [(F32, np.float32), (F64, np.float64)], ids=["f32", "f64"])


def c_pow(x: float, y: float) -> float:
    """math.pow without its exceptions."""
    try:
        return math.pow(x, y)
    except ValueError:  # 0 to a negative power, or a negative number to a fraction
        return math.copysign(INF, x) if x == 0 and y % 2 == 1 else INF if x == 0 else NAN


UNARY: dict[str, list[tuple[float, float]]] = {
    **{n: [(0.0, 1), (Z, 1), (INF, INF), (-INF, 0.0)] for n in ("exp", "exp2", "exp10")},
    "expm1": [(0.0, 0.0), (Z, Z), (INF, INF), (-INF, -1)],
    **{n: [(0.0, -INF), (Z, -INF), (1, 0.0), (INF, INF), (-1, NAN), (-INF, NAN)] for n in ("log", "log2", "log10")},
    "log1p": [(0.0, 0.0), (Z, Z), (-1, -INF), (-2, NAN), (INF, INF), (-INF, NAN)],
    **{n: [(0.0, 0.0), (Z, Z), (INF, NAN), (-INF, NAN)] for n in ("sin", "tan", "sinpi")},
    **{n: [(0.0, 1), (Z, 1), (INF, NAN), (-INF, NAN)] for n in ("cos", "cospi")},
    **{n: [(0.0, 0.0), (Z, Z), (1.5, NAN), (-INF, NAN)] for n in ("asin",)},
    "acos": [(1, 0.0), (2, NAN), (-INF, NAN)],
    "atan": [(0.0, 0.0), (Z, Z), (INF, math.pi / 2), (-INF, -math.pi / 2)],
    **{n: [(0.0, 0.0), (Z, Z), (INF, INF), (-INF, -INF)] for n in ("sinh", "asinh", "cbrt")},
    "cosh": [(0.0, 1), (INF, INF), (-INF, INF)],
    "tanh": [(0.0, 0.0), (Z, Z), (INF, 1), (-INF, -1)],
    "acosh": [(1, 0.0), (0.5, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(0.0, 0.0), (Z, Z), (1, INF), (-1, -INF), (2, NAN)],
    "erf": [(0.0, 0.0), (Z, Z), (INF, 1), (-INF, -1)],
    "erfc": [(0.0, 1), (INF, 0.0), (-INF, 2)],
    "erfcx": [(0.0, 1), (INF, 0.0), (-INF, INF)],
    "erfinv": [(0.0, 0.0), (Z, Z), (1, INF), (-1, -INF), (2, NAN)],
    "erfcinv": [(0.0, INF), (2, -INF), (1, 0.0), (3, NAN), (-1, NAN)],
    "normcdf": [(0.0, 0.5), (INF, 1), (-INF, 0.0)],
    "normcdfinv": [(0.0, -INF), (1, INF), (-1, NAN), (2, NAN)],
    "lgamma": [(0.0, INF), (1, 0.0), (2, 0.0), (-3, INF), (INF, INF), (-INF, INF)],
    "tgamma": [(0.0, INF), (Z, -INF), (1, 1), (5, 24), (-2, NAN), (INF, INF), (-INF, NAN)],
    "rcbrt": [(0.0, INF), (Z, -INF), (8, 0.5), (INF, 0.0), (-INF, Z)],
    "rsqrt": [(0.0, INF), (4, 0.5), (INF, 0.0), (-1, NAN)],
    "floor": [(Z, Z), (-0.5, -1), (2.5, 2), (INF, INF), (-INF, -INF)],
    "ceil": [(Z, Z), (-0.5, Z), (2.5, 3), (INF, INF)],
    "trunc": [(Z, Z), (-0.5, Z), (-2.5, -2), (-INF, -INF)],
    "rint": [(Z, Z), (-0.5, Z), (2.5, 2), (3.5, 4), (INF, INF)],
    "round": [(Z, Z), (0.5, 1), (-2.5, -3), (0.49999997, 0.0), (INF, INF)],
    "j0": [(0.0, 1), (INF, 0.0), (-INF, 0.0)],
    "j1": [(0.0, 0.0), (INF, 0.0)],
    "y0": [(0.0, -INF), (-1, NAN), (INF, 0.0)],
    "y1": [(0.0, -INF), (-1, NAN), (INF, 0.0)],
    "cyl_bessel_i0": [(0.0, 1), (INF, INF), (-INF, INF)],
    "cyl_bessel_i1": [(0.0, 0.0), (INF, INF), (-INF, -INF)],
    "logb": [(0.0, -INF), (1, 0.0), (INF, INF), (-INF, INF), (-0.3, -2)],
}
BINARY: dict[str, list[tuple[float, float, float]]] = {
    "atan2": [
        *((y, x, math.atan2(y, x)) for y in (0.0, Z, 1, -1, INF, -INF) for x in (0.0, Z, 1, -1, INF, -INF)),
        (NAN, 1, NAN),
        (1, NAN, NAN),
    ],
    "pow": [
        *((x, y, c_pow(x, y)) for x in (0.0, Z, 1, -1, 2, -2, 0.5, -0.5, INF, -INF)
          for y in (0.0, Z, 1, -1, 2, -2, 3, -3, 0.5, -0.5, INF, -INF)),
        (NAN, 0, 1),
        (1, NAN, 1),
        (NAN, 1, NAN),
        (2, NAN, NAN),
    ],
    "hypot": [(0.0, 0.0, 0.0), (3, 4, 5), (INF, NAN, INF), (NAN, -INF, INF), (NAN, 1, NAN)],
    "rhypot": [(0.0, 0.0, INF), (3, 4, 0.2), (INF, NAN, 0.0), (NAN, 1, NAN)],
    "copysign": [(1, Z, -1), (-2, 1, 2), (0.0, -1, Z), (INF, -1, -INF)],
    "fdim": [(3, 1, 2), (1, 3, 0.0), (NAN, 1, NAN), (1, NAN, NAN), (INF, INF, 0.0), (-INF, 1, 0.0)],
    "remainder": [(5, 3, -1), (-5, 3, 1), (Z, 1, Z), (1, 0, NAN), (INF, 1, NAN), (1, INF, 1), (3, 2, -1), (1, 2, 1)],
    "frem": [(5, 3, 2), (-5, 3, -2), (Z, 1, Z), (1, 0, NAN), (INF, 1, NAN), (1, INF, 1), (1, NAN, NAN), (6, 3, 0.0), (-6, 3, Z)],
}  # fmt: skip


def check(row, elem, dtype, cases):
    *xs, want = (np.array(c, dtype) for c in zip(*cases))
    with np.errstate(all="ignore"):
        got = evaluator(EXPANSIONS[row, str(elem)], *[elem] * len(xs))(*xs)
    for *x, g, w in zip(*xs, got, want):
        same = (np.isnan(g) and np.isnan(w)) or (g == w or abs(g - w) <= 2 * abs(np.spacing(w))) and np.signbit(g) == np.signbit(w)
        assert same, f"{row}({', '.join(map(str, x))}) is {g}, not {w}"


@FORMATS
@pytest.mark.parametrize("row", UNARY)
def test_unary(row, elem, dtype):
    check(row, elem, dtype, [*UNARY[row], (NAN, NAN)])


@FORMATS
@pytest.mark.parametrize("row", BINARY)
def test_binary(row, elem, dtype):
    check(row, elem, dtype, BINARY[row])


def test_every_row_is_covered():
    assert set(MATH_UNARY) == set(UNARY)
    assert set(MATH_BINARY) | {"frem"} == set(BINARY) | {"nextafter"}


@pytest.mark.parametrize("row", MATH_UNARY)
def test_any_nan_survives(row):
    """Integer arithmetic on the bits must not turn a NaN's payload into an exponent."""
    x = np.array([0x7FC00000, 0x7FC00001, 0x7FFFFFFF, 0xFFC00055], np.uint32).view(np.float32)
    assert np.isnan(evaluator(EXPANSIONS[row, "f32"], F32)(x)).all()


@FORMATS
def test_exact_powers(elem, dtype):
    """2**n is exact for whole n; f32 gives 0 below the normal numbers."""
    low = -126 if dtype is np.float32 else -1074
    n = np.arange(low, 128 if dtype is np.float32 else 1024).astype(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluator(EXPANSIONS["exp2", str(elem)], elem)(n), np.ldexp(dtype(1), n.astype(int)))
