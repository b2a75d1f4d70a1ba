"""`AsyncCompileMode`: compilations in an executor of the caller's."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

import anytile.language as tl
from anytile.frontend.errors import CompilationError
from anytile.runtime.async_compile import AsyncCompileMode, FutureKernel
from anytile.runtime.jit import jit

torch = pytest.importorskip("torch")


@jit
def scaled(x, out, n, FACTOR: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * FACTOR, mask=i < n)


@jit
def wrong(x, BLOCK: tl.constexpr):
    tl.store(x + tl.arange(0, BLOCK), undefined)  # noqa: F821


class Counting(Executor):
    """Compiles at once, and counts."""

    def __init__(self):
        self.submitted = 0

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as e:
            future.set_exception(e)
        return future


@pytest.fixture(autouse=True)
def no_kernels():
    scaled.device_caches.clear()
    wrong.device_caches.clear()


def test_warmups_compile_in_the_pool_and_launches_find_them():
    x, out = np.arange(50, dtype=np.float32), np.zeros(50, dtype=np.float32)
    with ThreadPoolExecutor(2) as pool, AsyncCompileMode(pool):
        futures = [scaled.warmup(torch.float32, torch.float32, 50, FACTOR=f, BLOCK=16, grid=(1,)) for f in (2, 3)]
        assert all(isinstance(f, FutureKernel) for f in futures)
        kernel = scaled[(4,)](x, out, 50, FACTOR=3, BLOCK=16)
        np.testing.assert_array_equal(out, x * 3)
        assert kernel.hash == futures[1].result().hash
    assert futures[0].metadata.name == "scaled"  # an attribute of the finished kernel


def test_a_key_is_submitted_once():
    pool = Counting()
    with AsyncCompileMode(pool):
        for _ in range(3):
            scaled.warmup(torch.float32, torch.float32, 50, FACTOR=5, BLOCK=16, grid=(1,))
    assert pool.submitted == 1


def test_errors_come_when_the_block_ends_unless_they_are_ignored():
    with pytest.raises(CompilationError, match="undefined"), AsyncCompileMode(Counting()):
        wrong.warmup(torch.float32, BLOCK=16, grid=(1,))
    with AsyncCompileMode(Counting(), ignore_errors=True):
        wrong.warmup(torch.float32, BLOCK=32, grid=(1,))


def test_it_does_not_nest():
    with AsyncCompileMode(Counting()), pytest.raises(RuntimeError, match="does not nest"), AsyncCompileMode(Counting()):
        pass
