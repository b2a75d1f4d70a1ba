"""What makes autotuning quick: compiling ahead in several processes, giving up early on slow configurations, a progress bar.

`Autotuner` asks `compile_ahead` for all kernels first and then races them with `race`, one after another, on the
machine that will run them.
"""

from __future__ import annotations

import contextvars
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from ..cpus import usable_cpus
from . import knobs
from .async_compile import AsyncCompileMode, active_mode
from .elsewhere import remote_executor
from .workers import WorkerPool

__all__ = ["Progress", "chosen_executor", "compile_ahead", "executor", "race", "race_on_gpu"]

#: Seconds that child processes must save before they are started: they take about half a second to be there.
WORTH_WORKERS = 1.0
#: Compilations from which on child processes are started before anything is known of their time.
WORTH_PREPARING = 4
_IDLE_SECONDS = 20.0

# --- which executor ---------------------------------------------------------------------------------------------

_executors: list[Any] = []  # a stack for all threads: autograd launches backward kernels from threads of its own


@contextmanager
def executor(pool: Any) -> Iterator[Any]:
    """While entered, configurations are compiled by ``pool``: anything with ``submit(function, *arguments)`` that gives a future.

    A `concurrent.futures.Executor`, ``client.get_executor()`` of Dask, an ``MPIPoolExecutor`` … on machines with the
    same versions of anytile and llvmlite.  None: compile in this process, one after another.
    """
    if pool is not None and not hasattr(pool, "submit"):
        raise TypeError(f"an executor has a method submit(function, *arguments); {type(pool).__name__} has none")
    _executors.append(pool)
    try:
        yield pool
    finally:
        _executors.remove(pool)


def chosen_executor(seconds_ahead: float) -> Any:
    """The executor entered last; else child processes of this machine where ``seconds_ahead`` of work make them worth it."""
    if _executors:
        return _executors[-1]
    n = knobs.autotuning.workers or _free_cores()
    if n < 2 or seconds_ahead * (1 - 1 / n) < WORTH_WORKERS or not sys.executable:
        return None
    return _own_pool(n)


def _prepared_pool(compilations: int, prepare: Callable[[], None]) -> Any:
    """Child processes of this machine that have begun with ``prepare``; None where they would not pay, or where an executor is chosen."""
    n = min(knobs.autotuning.workers or _free_cores(), compilations - 1)
    if _executors or n < 2 or compilations < WORTH_PREPARING or not sys.executable:
        return None
    pool = _own_pool(n)
    for _ in range(n):
        pool.submit(prepare)
    return pool


def _free_cores() -> int:
    """Cores for child processes: one traces the kernels in this process, and what other programs keep busy helps nobody."""
    usable = usable_cpus()
    try:
        # The load is that of the machine, of which this process may have a part.
        busy = round(os.getloadavg()[0] * usable / (os.cpu_count() or 1))
    except (AttributeError, OSError):  # Windows does not tell
        busy = 0
    return usable - max(1, busy)


_own: tuple[WorkerPool, threading.Timer] | None = None
_own_lock = threading.Lock()


def _own_pool(n: int) -> WorkerPool:
    """The pool of this process, which ends after some time without use."""
    global _own
    with _own_lock:
        if _own is not None:
            _own[1].cancel()
        pool = _own[0] if _own is not None else WorkerPool(n)
        timer = threading.Timer(_IDLE_SECONDS, _end_own_pool)
        timer.daemon = True
        timer.start()
        _own = pool, timer
        return pool


def _end_own_pool() -> None:
    global _own
    with _own_lock:
        own, _own = _own, None
    if own is not None:
        own[0].shutdown()


def _forget_after_fork() -> None:
    global _own, _own_lock
    _own, _own_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


# --- compiling ahead --------------------------------------------------------------------------------------------


def compile_ahead(
    compilations: Sequence[Callable[[], Any]],
    failures: tuple[type[BaseException], ...],
    done: Callable[[], None],
    prepare: Callable[[], None] | None = None,
) -> list[Any]:
    """Runs ``compilations`` (each a launch with ``warmup=True``), and says for each what error of kind ``failures`` it met, or None.

    Those that this process runs itself tell by their time whether the rest is worth other processes (not the first, which
    imports the compiler).  ``prepare``: what other processes begin with, for a target whose kernels are always worth them: they do it
    while this process compiles the first.  ``done()`` is called after each.
    Tracing stays in this process, in threads; what an executor does is the compilation proper.
    """
    met: list[Any] = []
    seconds = 0.0
    early = _prepared_pool(len(compilations), prepare) if prepare is not None else None
    for n, compilation in enumerate(compilations):
        pool = chosen_executor(seconds * (len(compilations) - n)) if len(compilations) - n > 1 else None
        if n and early is not None:
            pool = pool or early
        if pool is not None:
            return met + _in_parallel(pool, compilations[n:], failures, done)
        start = time.perf_counter()
        met.append(_attempt(compilation, failures)[1])
        seconds = time.perf_counter() - start if n else 0.0
        done()
    return met


class _InContext:
    """An executor for `AsyncCompileMode`: threads that share the submitter's context, so that `remote_executor` holds in them."""

    def __init__(self, threads: ThreadPoolExecutor):
        self._threads = threads

    def submit(self, fn: Callable[..., Any]) -> Any:
        return self._threads.submit(contextvars.copy_context().run, fn)


def _in_parallel(
    pool: Any, compilations: Sequence[Callable[[], Any]], failures: tuple[type[BaseException], ...], done: Callable[[], None]
) -> list[Any]:
    met: list[Any] = []
    token = remote_executor.set(pool)
    with ThreadPoolExecutor(max(4, 2 * usable_cpus())) as threads:
        mode = AsyncCompileMode(_InContext(threads))  # type: ignore[arg-type]
        outer = active_mode.set(mode)
        try:
            futures = [_attempt(c, failures) for c in compilations]
        finally:
            active_mode.reset(outer)
            remote_executor.reset(token)
        for kernel, error in futures:
            if error is None and hasattr(kernel, "result"):
                _, error = _attempt(kernel.result, failures)
            met.append(error)
            done()
    return met


def _attempt(call: Callable[[], Any], failures: tuple[type[BaseException], ...]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except failures as e:
        return None, e


# --- measuring --------------------------------------------------------------------------------------------------

#: A configuration is given up when its fastest run so far is slower than the best median by this factor:
HOPELESS = 3.0  # after two runs,
SLOWER = 1.25  # after five, warmed up


def race(call: Callable[[], Any], quantiles: Sequence[float], best: float | None, warmup: float, rep: float) -> list[float]:
    """Milliseconds of ``call`` at ``quantiles``, by at most ``warmup`` + ``rep`` ms of runs.

    ``best``: the median to beat, or None.  A call that clearly does not beat it is stopped early; its times are
    those of the runs made.
    """
    from ..testing import quantile

    call()  # loads the kernel, touches the memory
    times = [_timed(call), _timed(call)]
    if best is not None and min(times) > HOPELESS * best:
        return [quantile(times, q) for q in quantiles]
    until = time.perf_counter() + (warmup - sum(times)) / 1e3
    while time.perf_counter() < until:
        call()
    times, spent = [], 0.0
    while spent < rep or not times:
        times.append(_timed(call))
        spent += times[-1]
        if best is not None and len(times) >= 5 and min(times) > SLOWER * best:
            break
    return [quantile(times, q) for q in quantiles]


#: On a GPU, whose runs scatter little, a configuration is given up after some ten that are slower than the best median by this factor,
SLOWER_ON_GPU = 1.15
GPU_NOISE = 0.003  # and by this many ms.
#: So many ms of runs do where the best ones run again (`duel_on_gpu`):
BEFORE_A_DUEL = 40


def race_on_gpu(
    call: Callable[[], Any], quantiles: Sequence[float], best: float | None, bench: Callable[..., Any], warmup: float, rep: float
) -> list[float]:
    """As `race`, by the GPU's clock: ``bench`` is `testing.do_bench`.

    Every run less is heat less: a GPU at its power limit lowers its clock, and the last configurations of a long race would lose by that.
    """
    from ..testing import quantile

    if best is not None:
        times = bench(call, warmup=best, rep=4 * best, return_mode="all")
        if min(times) > SLOWER_ON_GPU * best + GPU_NOISE:
            return [quantile(times, q) for q in quantiles]
    return bench(call, warmup=warmup, rep=rep, quantiles=quantiles)


#: Configurations whose medians are within this factor of the best run once more, in turns: the clock may have changed while they raced,
CLOSE = 1.12
FINALISTS = 4  # so many at most,
ROUNDS = 3  # in so many rounds,
DUEL_MS = 15.0  # so long each a round.


def finalists(medians: Sequence[float]) -> list[int]:
    """Which of the ``medians`` (ms, infinite for what failed) are close to the least, that one included: their indices, fastest first."""
    order = sorted(range(len(medians)), key=lambda i: medians[i])
    return [i for i in order if medians[i] <= CLOSE * medians[order[0]] + GPU_NOISE and not math.isinf(medians[i])][:FINALISTS]


def duel_on_gpu(calls: Sequence[Callable[[], Any]], quantiles: Sequence[float], bench: Callable[..., Any]) -> list[list[float]]:
    """Milliseconds of each call at ``quantiles``, all timed in turns, so that what the GPU's clock does meets them alike."""
    from ..testing import quantile

    times: list[list[float]] = [[] for _ in calls]
    for n in range(ROUNDS):
        turn = list(enumerate(calls))
        for i, call in turn if n % 2 == 0 else reversed(turn):
            times[i] += bench(call, warmup=0, rep=DUEL_MS, return_mode="all")
    return [[quantile(t, q) for q in quantiles] for t in times]


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


# --- telling ----------------------------------------------------------------------------------------------------


class Progress:
    """A bar on the terminal for a tuning that takes more than half a second; nothing where stderr is no terminal."""

    _DELAY = 0.5
    _shown = False  # a tuning inside another one has no bar

    def __init__(self, kernel: str, steps: int):
        self._kernel, self._steps, self._done = kernel, steps, 0
        self._start = time.perf_counter()
        self._bar: Any = None
        self._off = not (hasattr(sys.stderr, "isatty") and sys.stderr.isatty())

    def __enter__(self) -> Progress:
        return self

    def step(self, n: int = 1) -> None:
        self._done += n
        if self._bar is None:
            if self._off or Progress._shown or time.perf_counter() - self._start < self._DELAY:
                return
            self._open()
        self._bar.update(self._task, completed=self._done)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(f"tuning {self._kernel}", total=self._steps)
        self._bar.start()
        Progress._shown = True

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            Progress._shown = False
