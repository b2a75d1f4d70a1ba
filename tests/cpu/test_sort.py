"""The bitonic network against NumPy, for every width that takes another path (n < W, n = W, n > W)."""

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


def sort_kernel(x, out, ROWS: tl.constexpr, N: tl.constexpr, DESCENDING: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + at, tl.sort(tl.load(x + at), descending=DESCENDING))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("rows, n", [(1, 1), (1, 2), (2, 8), (1, 16), (4, 32), (1, 512)])
def test_sort(rows, n, dtype, descending):
    x = np.random.default_rng(n).integers(-100, 100, (rows, n)).astype(dtype)
    out = np.ones_like(x)
    launch(CpuTarget(), sort_kernel, (1, 1, 1), x=x, out=out, ROWS=rows, N=n, DESCENDING=descending)
    want = np.sort(x, axis=-1)
    np.testing.assert_array_equal(out, want[:, ::-1] if descending else want)


def test_nan_is_kept():
    """Where NaN ends up is unspecified, but no element may be lost or doubled."""
    x = np.array([[3.0, np.nan, 1.0, np.nan, 2.0, 0.0, 5.0, 4.0] * 8], "float32")
    out = np.zeros_like(x)
    launch(CpuTarget(), sort_kernel, (1, 1, 1), x=x, out=out, ROWS=1, N=64, DESCENDING=False)
    np.testing.assert_array_equal(np.sort(out.view("int32").ravel()), np.sort(x.view("int32").ravel()))
