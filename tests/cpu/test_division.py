"""Division by a uniform divisor goes through its reciprocal; the quotient stays the correctly rounded one."""

import numpy as np
from differential import launch

import anytile.language as tl
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
