"""`AsyncCompileMode`: compile many kernels at once in a pool of workers.

    with ThreadPoolExecutor(8) as pool, AsyncCompileMode(pool):
        kernel.warmup(..., grid=(1,))          # returns a FutureKernel at once
        kernel.warmup(..., grid=(1,))
        kernel[(1,)](...)                      # a launch waits for the kernel that it needs

Leaving the block waits for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["AsyncCompileMode", "FutureKernel", "active_mode"]

active_mode: ContextVar[AsyncCompileMode | None] = ContextVar("async_compile_mode", default=None)


class FutureKernel:
    """A kernel in the making.  ``result()`` waits for it; any other attribute is the finished kernel's."""

    def __init__(self, finish: Callable[[Any], Any], future: Future[Any]):
        self._finish, self._future = finish, future
        self._kernel: Any = None

    def result(self) -> Any:
        """The finished kernel.  Raises what its compilation raised."""
        if self._kernel is None:
            self._kernel = self._finish(self._future.result())
        return self._kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result(), name)


class AsyncCompileMode:
    """While entered, `warmup` hands compilations to ``executor``.

    ``ignore_errors``: leaving the block passes over compilations that failed.
    """

    def __init__(self, executor: Executor, *, ignore_errors: bool = False):
        self.executor, self.ignore_errors = executor, ignore_errors
        self.future_kernels: dict[Any, FutureKernel] = {}
        self._token: Token[Any] | None = None

    def submit(self, key: Any, compile: Callable[[], Any], finish: Callable[[Any], Any]) -> FutureKernel:
        """The future of ``finish(compile())`` for ``key``; a key that was submitted before is not compiled again."""
        future = self.future_kernels.get(key)
        if future is None:
            future = self.future_kernels[key] = FutureKernel(finish, self.executor.submit(compile))
        return future

    def __enter__(self) -> AsyncCompileMode:
        if active_mode.get() is not None:
            raise RuntimeError("AsyncCompileMode is entered already; it does not nest")
        self._token = active_mode.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._token is not None
        active_mode.reset(self._token)
        if exc[0] is not None:
            return  # an error on its way out: the executor may never get to the rest
        for future in self.future_kernels.values():
            try:
                future.result()
            except Exception:
                if not self.ignore_errors:
                    raise
