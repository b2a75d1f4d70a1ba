"""The mathematical rows against torch.special in float64 and against identities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anytile.ir.ops import MATH_BINARY, MATH_UNARY
from anytile.ir.types import BF16, F16, F32, F64

rng = np.random.default_rng(2)


def close(got, want, rtol=1e-12, atol=0.0):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", ["j0", "j1", "y0", "y1"])
def test_bessel_functions(row, name):
    mpmath = pytest.importorskip("mpmath")  # torch's own are wrong by up to 1e-6 in places
    x = np.concatenate([[1e-6, 1e-3], np.linspace(0.01, 29.99, 60), np.linspace(30, 200, 20)])
    fn = mpmath.besselj if name[0] == "j" else mpmath.bessely
    want = np.array([float(fn(int(name[1]), mpmath.mpf(v))) for v in x])
    close(row(name, (x, F64)), want, rtol=1e-13, atol=1e-14)
    if name[0] == "j":
        close(row(name, (-x, F64)), -want if name == "j1" else want, rtol=1e-13, atol=1e-14)


def test_bessel_edges(row):
    x = np.array([0.0, np.inf, np.nan, 1e-8])
    np.testing.assert_array_equal(row("j0", (x, F64)), [1, 0, np.nan, 1])
    np.testing.assert_array_equal(row("j1", (x, F64)), [0, 0, np.nan, 5e-9])
    np.testing.assert_array_equal(row("y0", (np.array([0.0, -1, np.inf]), F64)), [-np.inf, np.nan, 0])
    np.testing.assert_array_equal(row("y1", (np.array([0.0, -1, np.inf]), F64)), [-np.inf, np.nan, 0])


@pytest.mark.parametrize("n", [0, 1])
def test_modified_bessel_functions(row, n):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-40, 40, 201), [1e-9, 700.0]])
    close(row(f"cyl_bessel_i{n}", (x, F64)), getattr(torch.special, f"i{n}")(torch.tensor(x)).numpy(), rtol=1e-12)
    assert np.isinf(row(f"cyl_bessel_i{n}", ([800.0], F64)))


def test_error_functions(row):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-6, 30, 400), [1e-10, -1e-10, 0.0, 1e3]])
    close(row("erf", (x, F64)), torch.special.erf(torch.tensor(x)).numpy())
    close(row("erfcx", (x, F64)), torch.special.erfcx(torch.tensor(x)).numpy(), rtol=2e-13)
    close(row("erfcx", ([-30.0, np.inf, -np.inf, np.nan], F64)), [np.inf, 0, np.inf, np.nan])
    close(
        row("normcdf", ([-30.0, -1.0, 0.0, 2.0], F64)), [4.906713927148187e-198, 0.15865525393145705, 0.5, 0.9772498680518208], rtol=1e-12
    )


def test_inverse_error_functions(row):
    y = np.concatenate([np.linspace(-0.999, 0.999, 401), [1e-300, 1e-12, 1 - 1e-12, 1 - 2.0**-53]])
    x = row("erfinv", (y, F64))
    # The residual, in units of the inverse's own sensitivity (dx = dy·√π/2·exp(x²)), is at rounding level.
    residual = np.array([math.erf(v) for v in x]) - y
    inner = np.abs(y) < 0.9
    assert np.abs(residual[inner] / np.maximum(np.abs(y[inner]), 1e-300)).max() < 3e-16 * 3
    tail = y > 0.5
    close(np.array([math.erfc(v) for v in x[tail]]), 1 - y[tail], rtol=1e-13)
    np.testing.assert_array_equal(row("erfinv", ([0.0, 1, -1, 2, np.nan], F64)), [0, np.inf, -np.inf, np.nan, np.nan])
    q = np.concatenate([10.0 ** np.arange(-300, 0, 7), np.linspace(0.01, 1.99, 301)])
    close(np.array([math.erfc(v) for v in row("erfcinv", (q, F64))]), q, rtol=2e-13)
    np.testing.assert_array_equal(row("erfcinv", ([0.0, 1, 2, -1], F64)), [np.inf, 0, -np.inf, np.nan])
    close(row("normcdfinv", ([0.5, 0.975, 1e-10], F64)), [0, 1.959963984540054, -6.361340902404056], rtol=1e-12, atol=1e-16)


def test_gamma(row):
    x = np.array([0.5, 5.0, -0.5, 100.5, 0.0, -0.0, -2.0, 1e3, np.inf])
    want = [math.gamma(0.5), 24, math.gamma(-0.5), math.gamma(100.5), np.inf, -np.inf, np.nan, np.inf, np.inf]
    close(row("tgamma", (x, F64)), want)
    close(
        row("lgamma", ([0.5, 3.0, -1.0, -0.5, 0.0, 1e300], F64)),
        [math.lgamma(0.5), math.log(2), np.inf, math.lgamma(-0.5), np.inf, math.lgamma(1e300)],
    )


def test_pi_functions_are_exact_at_quarters(row):
    x = np.array([0, 0.5, 1, 1.5, 2, -0.5, 1e15, 2.0**60])
    np.testing.assert_array_equal(row("sinpi", (x, F64)), [0, 1, 0, -1, 0, -1, 0, 0])
    np.testing.assert_array_equal(row("cospi", (x, F64)), [1, 0, -1, 0, 1, 0, 1, 1])
    y = rng.uniform(-3, 3, 200)
    close(row("sinpi", (y, F64)), np.sin(np.pi * y), atol=1e-15)
    close(row("cospi", (y, F64)), np.cos(np.pi * y), atol=1e-15)


def test_rounding_functions(row):
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49999999999999994, 2.0**52 + 1, -0.2])
    np.testing.assert_array_equal(row("round", (x, F64)), [1, 2, 3, -1, -3, 0, 2.0**52 + 1, 0])
    np.testing.assert_array_equal(row("rint", (x, F64)), [0, 2, 2, 0, -2, 0, 2.0**52 + 1, 0])
    assert np.signbit(row("round", (x, F64))[7]) and np.signbit(row("ceil", (x, F64))[7])
    np.testing.assert_array_equal(row("trunc", (x, F64))[:5], [0, 1, 2, 0, -2])
    np.testing.assert_array_equal(row("floor", (x, F64))[:5], [0, 1, 2, -1, -3])


def test_logb(row):
    np.testing.assert_array_equal(row("logb", ([1.0, 0.75, 8, -9, 0, np.inf, 5e-324], F64)), [0, -1, 3, 3, -np.inf, np.inf, -1074])


def test_binary_functions(row):
    f = lambda name, x, y: row(name, (np.array(x, float), F64), (np.array(y, float), F64))  # noqa: E731
    np.testing.assert_array_equal(f("pow", [2, -2, 0, -8, np.nan], [10, 3, -1, 0.5, 0]), [1024, -8, np.inf, np.nan, 1])
    close(f("atan2", [1, -1, 0], [-1, -1, -0.0]), [math.atan2(1, -1), math.atan2(-1, -1), math.pi])
    close(f("hypot", [3e300, np.inf], [4e300, np.nan]), [5e300, np.inf])
    close(f("rhypot", [3], [4]), [0.2])
    np.testing.assert_array_equal(f("fdim", [3, 1, np.nan], [1, 3, 1]), [2, 0, np.nan])
    np.testing.assert_array_equal(f("remainder", [5, 7, 1, np.inf], [3, 2, 0, 1]), [-1, -1, np.nan, np.nan])
    np.testing.assert_array_equal(f("copysign", [1, -2], [-0.0, 3]), [-1, 2])


def test_nextafter_steps_in_its_own_format(row):
    assert row("nextafter", ([1.0], F32), ([2.0], F32))[0] == np.float32(1 + 2.0**-23)
    assert row("nextafter", ([1.0], F64), ([2.0], F64))[0] == 1 + 2.0**-52
    assert row("nextafter", ([0.0], F16), ([-1.0], F16))[0] == -(2.0**-24)


@pytest.mark.parametrize("name", sorted(set(MATH_UNARY) | set(MATH_BINARY)))
@pytest.mark.parametrize("fmt", [F16, BF16, F32, F64], ids=str)
def test_every_function_keeps_shape_and_format(row, name, fmt):
    x = rng.uniform(-1, 1, (2, 4))
    if name == "nextafter" and fmt is BF16:
        return
    row(name, *[(x, fmt)] * (1 + (name in MATH_BINARY)))
    row(name, *[(np.array(0.25), fmt)] * (1 + (name in MATH_BINARY)))


@pytest.mark.parametrize("name, fn", [("exp", np.exp), ("sin", np.sin), ("tanh", np.tanh), ("log1p", np.log1p), ("cbrt", np.cbrt)])
def test_float32_results_are_the_rounded_float64_results(row, name, fn):
    x = rng.uniform(-0.9, 5, 1000).astype(np.float32)
    np.testing.assert_array_equal(row(name, (x, F32)), fn(x.astype(np.float64)).astype(np.float32))
