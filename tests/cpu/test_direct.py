"""A operands of dots that are read in place: tiles inside, on the edge, outside; and when they must be packed."""

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.targets.cpu import CpuTarget


def matmul_kernel(a, b, c, m_size, n_size, k_size, sam, sbk, scm, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, k_size, BK):
        x = tl.load(a + m[:, None] * sam + (start + k)[None, :], mask=(m[:, None] < m_size) & ((start + k)[None, :] < k_size), other=0.0)
        y = tl.load(b + (start + k)[:, None] * sbk + n[None, :], mask=((start + k)[:, None] < k_size) & (n[None, :] < n_size), other=0.0)
        acc += tl.dot(x, y)
    tl.store(c + m[:, None] * scm + n[None, :], acc, mask=(m[:, None] < m_size) & (n[None, :] < n_size))


@pytest.mark.parametrize("m, n, k", [(64, 64, 64), (33, 17, 70), (1, 1, 1), (32, 100, 31), (65, 32, 32)])
def test_masked_matmul(m, n, k):
    rng = np.random.default_rng(m * n * k)
    a = np.full((m, k + 5), np.nan, "float32")  # what lies beside a row must never be used
    b = np.full((k, n + 3), np.nan, "float32")
    a[:, :k], b[:, :n] = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    c = np.zeros((m, n), "float32")
    grid = (-(-m // 32), -(-n // 32), 1)
    launch(
        CpuTarget(), matmul_kernel, grid,
        a=a, b=b, c=c, m_size=m, n_size=n, k_size=k, sam=k + 5, sbk=n + 3, scm=n, BM=32, BN=32, BK=32,
    )  # fmt: skip
    np.testing.assert_allclose(c, a[:, :k] @ b[:, :n], rtol=1e-4, atol=1e-4)


def overwritten_kernel(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    x = tl.load(a + at)
    tl.store(a + at, tl.zeros((N, N), tl.float32))  # after the load: the dot must see the old values
    tl.store(c + at, tl.dot(x, tl.load(b + at)))


def test_memory_written_between_load_and_dot():
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((32, 32)).astype("float32") for _ in range(2))
    want, c = a @ b, np.zeros((32, 32), "float32")
    launch(CpuTarget(), overwritten_kernel, (1, 1, 1), a=a, b=b, c=c, N=32)
    np.testing.assert_allclose(c, want, rtol=1e-4, atol=1e-4)
    assert not a.any()


def broken_rows_kernel(a, b, c, start, m_size, k_size, HOW: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    if HOW == "remainder":
        rows = (start + i) % m_size
    else:
        rows = i ^ 5
    acc = tl.zeros((N, N), tl.float32)
    for k in range(0, k_size, N):
        x = tl.load(a + rows[:, None] * k_size + (k + i)[None, :], mask=((k + i) < k_size)[None, :], other=0.0)
        acc = tl.dot(x, tl.load(b + (k + i)[:, None] * N + i[None, :]), acc)
    tl.store(c + i[:, None] * N + i[None, :], acc)


@pytest.mark.parametrize("how, start, m", [("remainder", s, m) for s in (0, 8, 40, 99) for m in (100, 48, 20, 1)] + [("xor", 0, 32)])
def test_rows_that_begin_again_inside_the_tile(how, start, m):
    """The rows of a matmul that stays inside its matrix by a remainder: those behind the last are the first again."""
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, 64)).astype("float32"), rng.standard_normal((64, 32)).astype("float32")
    c = np.zeros((32, 32), "float32")
    launch(CpuTarget(), broken_rows_kernel, (1, 1, 1), a=a, b=b, c=c, start=start, m_size=m, k_size=64, HOW=how, N=32)
    rows = (start + np.arange(32)) % m if how == "remainder" else np.arange(32) ^ 5
    np.testing.assert_allclose(c, a[rows] @ b, rtol=1e-4, atol=1e-4)


def broken_mask_kernel(a, b, c, limit, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(a + i[:, None] * N + i[None, :], mask=((i ^ 31) < limit)[:, None], other=0.0)
    tl.store(c + i[:, None] * N + i[None, :], tl.dot(x, tl.load(b + i[:, None] * N + i[None, :])))


def test_a_mask_that_holds_at_the_last_row_and_not_before():
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((32, 32)).astype("float32") for _ in range(2))
    c = np.zeros((32, 32), "float32")
    launch(CpuTarget(), broken_mask_kernel, (1, 1, 1), a=a, b=b, c=c, limit=5, N=32)
    np.testing.assert_allclose(c, np.where(np.arange(32)[:, None] >= 27, a, 0) @ b, rtol=1e-4, atol=1e-4)


def unsigned_mask_kernel(a, b, c, before, limit, N: tl.constexpr):
    i = tl.arange(0, N)
    mask = i.to(tl.uint32) - before.to(tl.uint32) < limit.to(tl.uint32)
    x = tl.load(a + i[:, None] * N + i[None, :], mask=mask[None, :], other=0.0)
    tl.store(c + i[:, None] * N + i[None, :], tl.dot(x, tl.load(b + i[:, None] * N + i[None, :])))


def test_an_unsigned_mask_whose_first_columns_are_below_zero():
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((32, 32)).astype("float32") for _ in range(2))
    c = np.zeros((32, 32), "float32")
    launch(CpuTarget(), unsigned_mask_kernel, (1, 1, 1), a=a, b=b, c=c, before=3, limit=40, N=32)
    np.testing.assert_allclose(c, np.where(np.arange(32) >= 3, a, 0) @ b, rtol=1e-4, atol=1e-4)
