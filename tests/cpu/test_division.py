"""Division by a uniform divisor goes through its reciprocal; the quotient stays the correctly rounded one."""

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.runtime.jit import jit
from anytile.targets.cpu import CpuTarget


def divide_kernel(x, y, out, N: tl.constexpr):
    row, i = tl.program_id(0), tl.arange(0, N)
    tl.store(out + row * N + i, tl.load(x + row * N + i) / tl.load(y + row))


def test_uniform_divisor():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((256, 1024)) * 10.0 ** rng.integers(-20, 20, (256, 1024))).astype("float32")
    y = (rng.standard_normal(256) * 10.0 ** rng.integers(-15, 15, 256)).astype("float32")
    x[:4, :6] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0]
    y[:4] = [0.0, np.inf, -0.0, np.nan]
    out = np.zeros_like(x)
    launch(CpuTarget(), divide_kernel, (256, 1, 1), x=x, y=y, out=out, N=1024)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, x / y[:, None])


@jit
def remainder_kernel(out, off, m, N: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, N)
    j = (tl.program_id(0) - 4) * N + i
    tl.store(out + i, (i + off) % m)
    tl.store(out + N + i, (i + off) % C)
    tl.store(out + 2 * N + i, j % m)
    tl.store(out + 3 * N + i, (i - 256) % C)
    for k in range(-2, 0):
        tl.store(out + (6 + k) * N + i, (k * N + i) % m)


@pytest.mark.parametrize("off", [-64, -60, -128, 0, 32])
def test_signed_remainders_of_blocks_of_neighbours(off):
    """A block of neighbours whose first one is a negative multiple: 0, then the greatest magnitudes."""
    n, m = 64, 32
    out = np.full(6 * n, 99, "int32")
    remainder_kernel[(1,)](out, off, m, N=n, C=m)
    i = np.arange(n)
    np.testing.assert_array_equal(out.reshape(6, n), np.fmod([i + off, i + off, i - 4 * n, i - 256, i - 2 * n, i - n], m))


@jit
def wrapped_load_kernel(x, out, off, m, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + m + (i + off) % m))
    tl.store(out + N + i, tl.load(x + m + (i - N) % m))
    tl.store(out + 2 * N + i, tl.load(x + m + (tl.program_id(0) * N + i) % m))


def test_addresses_of_negative_remainders():
    n, m = 64, 32
    x, out = np.arange(2 * m, dtype="int32"), np.full(3 * n, 99, "int32")
    wrapped_load_kernel[(1,)](x, out, -n, m, N=n)
    i = np.arange(n)
    np.testing.assert_array_equal(out.reshape(3, n), x[m + np.fmod([i - n, i - n, i], m)])


@jit
def grouped_kernel(x, out, m, size, GROUP: tl.constexpr, N: tl.constexpr):
    pid = tl.program_id(0)
    group = GROUP * tl.cdiv(size, N)
    first = pid // group * GROUP
    rows = tl.minimum(tl.cdiv(m, N) - first, GROUP)
    at = ((first + pid % rows) * N + tl.arange(0, N)) % m
    tl.store(out + tl.arange(0, N), tl.load(x + at))


def test_positions_of_a_grouped_matmul_stay_together():
    """The loads of a matmul with grouped programs: no gather, although the sign of M is not known."""
    n = 64
    x, out = np.arange(256, dtype="float32"), np.zeros(n, "float32")
    kernel = grouped_kernel[(1,)](x, out, 256, 256, GROUP=8, N=n)
    np.testing.assert_array_equal(out, x[:n])
    assert "gather" not in kernel.asm["llir"]


@jit
def falling_kernel(x, out, m, step, DOWN: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    at = tl.program_id(0)
    for k in range(0, -3, -1):
        tl.store(out - k * N + i, tl.load(x + m + ((k if DOWN else at) * N + i) % m))
        at += step


@pytest.mark.parametrize("down", [False, True])
def test_positions_that_a_loop_makes_negative(down):
    n, m = 64, 32
    x, out = np.arange(2 * m, dtype="int32"), np.full(3 * n, 99, "int32")
    falling_kernel[(1,)](x, out, m, -1, DOWN=down, N=n)
    at = -np.arange(3)[:, None] * n + np.arange(n)
    np.testing.assert_array_equal(out.reshape(3, n), x[m + np.fmod(at, m)])


@jit
def web_kernel(x, out, n, N: tl.constexpr):
    i = tl.arange(0, N)
    at = tl.program_id(0) * N + i
    for k in tl.static_range(48):
        at = tl.minimum(at + k, at * 3)  # every value is used twice: 2**48 ways to the remainder
    at = at % n
    tl.store(out + i, tl.load(x + at))


def test_positions_whose_values_are_used_many_times():
    x, out = np.arange(64, dtype="int32"), np.zeros(64, "int32")
    web_kernel[(1,)](x, out, 64, N=64)
    at = np.arange(64)
    for k in range(48):
        at = np.minimum(at + k, at * 3)
    np.testing.assert_array_equal(out, x[at % 64])


@jit
def repeated_kernel(x, out, d, n, N: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, N)
    mask = i < n
    tl.store(out + i, tl.load(x + 50 + i // d) + tl.load(x + 70 + i // C, mask=mask, other=-1), mask=mask)


@pytest.mark.parametrize("d", [1, 3, 7, 16, 20, 33, 64, 1000, -5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int8"])
def test_addresses_that_are_mostly_one(d, dtype):
    """Where a vector's lanes all read the same place it is read once; which of them do changes along the row."""
    n, x = 200, (np.random.default_rng(0).integers(0, 100, 320) % 7).astype(dtype)
    out = np.zeros(256, "float64")
    kernel = repeated_kernel[(1,)](x, out, d, n, N=256, C=24)
    assert d == 1 or "gather.one" in kernel.asm["llir"]
    i = np.arange(n)
    np.testing.assert_array_equal(out[:n], x[50 + np.trunc(i / d).astype(int)].astype(float) + x[70 + i // 24])
    assert not out[n:].any()
