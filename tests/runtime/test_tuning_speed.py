"""What makes tuning quick: compilation by executors and child processes, early stopping, twins, the bar."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import anytile.language as tl
from anytile import tune
from anytile.frontend.errors import CompilationError
from anytile.runtime import autotuner, driver, elsewhere, knobs, tuning
from anytile.runtime.autotuner import Config, autotune
from anytile.runtime.cache import CacheWarning
from anytile.runtime.errors import AutotunerError
from anytile.runtime.jit import jit

ON_CPU = pytest.mark.usefixtures("cpu_target")


@pytest.fixture(autouse=True)
def own_settings():
    with knobs.autotuning.scope():
        yield


@pytest.fixture
def cpu_target(monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", "cpu")


def double(x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


def picky(x, n, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK < 64, "too wide")
    tl.store(x, 1.0)


def wrong(x, n, BLOCK: tl.constexpr):
    tl.store(x, undefined_name)  # noqa: F821


def grid(META):
    return (-(-META["n"] // META["BLOCK"]),)


BLOCKS = [Config({"BLOCK": 32 << i}) for i in range(3)]


class Recorder:
    """An executor as a cluster's: jobs go through pickle."""

    def __init__(self, pool=None):
        self.jobs, self.pool = [], pool

    def submit(self, fn, /, *args):
        self.jobs.append(pickle.dumps((fn, args)))
        fn, args = pickle.loads(self.jobs[-1])
        if self.pool is not None:
            return self.pool.submit(fn, *args)
        future = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(fn(*args))))
        except Exception as e:
            future.set_exception(e)
        return future


def tuned(fn, configs=BLOCKS, **options):
    made = autotune(configs, key=["n"], restore_value=["x"], warmup=1, rep=1, **options)(jit(fn))
    return made


@ON_CPU
def test_an_executor_compiles_every_configuration():
    fn, x = tuned(double), np.ones(100, np.float32)
    recorder = Recorder()
    with tune.executor(recorder):
        fn[grid](x, 100)
    assert (x == 2).all() and len(recorder.jobs) == 3
    assert not tuning._executors


@ON_CPU
def test_child_processes():
    fn, x = tuned(double), np.ones(100, np.float32)
    with tune.WorkerPool(1) as pool, tune.executor(Recorder(pool)):
        fn[grid](x, 100)
        assert (x == 2).all()
        pool._children[0].process.kill()
        with pytest.raises(elsewhere.WorkerError, match="ended unexpectedly"):
            pool.submit(abs, -3).result()
        assert pool.submit(abs, -3).result() == 3
        with pytest.raises(TypeError):
            pool.submit(abs, "x").result()


@ON_CPU
def test_a_broken_executor_costs_only_time():
    class Broken:
        def submit(self, fn, /, *args):
            raise ConnectionError("the cluster is gone")

    fn, x = tuned(double), np.ones(100, np.float32)
    with tune.executor(Broken()), pytest.warns(CacheWarning, match="the cluster is gone"):
        fn[grid](x, 100)
    assert (x == 2).all()
    with pytest.raises(TypeError, match="submit"), tune.executor(object()):
        pass


def test_workers_of_other_versions_refuse():
    with pytest.raises(elsewhere.WorkerError, match="install the same versions"):
        elsewhere.compile_elsewhere("", None, None, "anytile 0")


def test_own_processes_only_where_they_save_time(monkeypatch):
    knobs.autotuning.workers = 4
    monkeypatch.setattr(tuning, "usable_cpus", lambda: 4)
    assert tuning.chosen_executor(1.2) is None
    pool = tuning.chosen_executor(10.0)
    assert isinstance(pool, tune.WorkerPool) and tuning.chosen_executor(10.0) is pool
    tuning._end_own_pool()
    knobs.autotuning.workers = 1
    assert tuning.chosen_executor(10.0) is None
    knobs.autotuning.workers = 0
    monkeypatch.setattr("os.getloadavg", lambda: (2.2, 0, 0), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert tuning._free_cores() == 2
    monkeypatch.setattr("os.cpu_count", lambda: 8)  # half of them are this process's, and so is half of the load
    assert tuning._free_cores() == 3
    monkeypatch.setattr("os.getloadavg", lambda: (19.0, 0, 0))
    assert tuning.chosen_executor(10.0) is None


@ON_CPU
def test_configurations_that_fail():
    x = np.zeros(4, np.float32)
    fn = tuned(picky)
    fn[(1,)](x, 4)
    assert fn.best_config.kwargs["BLOCK"] == 32 and fn.configs_timings[BLOCKS[2]][0] == float("inf")
    with pytest.raises(AutotunerError, match=r"none of the 2 configurations of picky .*\n.*too wide.*BLOCK: 64.*BLOCK: 128"):
        tuned(picky, BLOCKS[1:])[(1,)](x, 4)
    with tune.executor(ThreadPoolExecutor(2)), pytest.raises(AutotunerError, match="none of the 2"):
        tuned(picky, BLOCKS[1:])[(1,)](x, 4)
    with pytest.raises(CompilationError, match="undefined_name"):
        tuned(wrong)[(1,)](x, 4)


@ON_CPU
def test_twins_are_measured_once():
    benched = []

    def bench(call, quantiles):
        benched.append(1)
        call()
        return [1.0, 1.0, 1.0]

    configs = [Config({"BLOCK": b}, num_warps=w, num_stages=s) for b in (32, 64) for w in (1, 4) for s in (1, 2)]
    fn = tuned(double, configs, do_bench=bench)
    fn[grid](np.ones(8, np.float32), 8)
    assert len(benched) == 2 and len(fn.configs_timings) == 8 and fn.best_config is configs[0]

    def shown(x, n, num_warps: tl.constexpr):
        tl.store(x, num_warps)

    told = autotune([Config({}, num_warps=w) for w in (1, 2)], key=["n"], do_bench=bench)(jit(shown))
    assert [len(g) for g in told._alike(told.configs)] == [1, 1]


def test_slow_ones_are_given_up(monkeypatch):
    calls = []
    now = 0  # ns, by a clock that only calls move

    def slow():
        nonlocal now
        calls.append(1)
        now += 2_000_000

    clock = SimpleNamespace(perf_counter=lambda: now / 1e9, perf_counter_ns=lambda: now)
    monkeypatch.setattr(tuning, "time", clock)
    assert tuning.race(slow, [0.5], None, 0, 20) == [2.0] and len(calls) == 13
    calls.clear()
    assert tuning.race(slow, [0.5, 0.2, 0.8], 0.5, 100, 100) == [2.0] * 3 and len(calls) == 3
    calls.clear()
    tuning.race(slow, [0.5], 1.2, 0, 1000)
    assert len(calls) == 8


def test_slow_ones_are_given_up_on_a_gpu():
    asked = []

    def bench(call, warmup, rep, quantiles=None, return_mode="mean"):
        asked.append(rep)
        return [2.1, 2.0, 2.2] if return_mode == "all" else [2.0] * len(quantiles)

    assert tuning.race_on_gpu(print, [0.5, 0.0], None, bench, 25, 100) == [2.0, 2.0] and asked == [100]
    assert tuning.race_on_gpu(print, [0.5, 0.0], 1.9, bench, 25, 100) == [2.0, 2.0] and asked[1:] == [7.6, 100]
    assert tuning.race_on_gpu(print, [0.5, 0.0], 1.0, bench, 25, 100) == [2.1, 2.0] and asked[3:] == [4.0]


def test_close_ones_run_again_in_turns_on_a_gpu():
    """The clock falls while they race: the second is faster at any clock, and loses the race all the same."""
    assert tuning.finalists([1.0, 1.1, math.inf, 1.05, 1.3]) == [0, 3, 1]
    assert tuning.finalists([math.inf, math.inf]) == []
    clock = iter(range(100))
    asked = []

    def bench(call, warmup, rep, return_mode):
        asked.append(call)
        return [call() * (1 + next(clock) / 10)] * 3

    first, second = (lambda: 1.0), (lambda: 0.95)
    got = tuning.duel_on_gpu([first, second], [0.5, 0.0], bench)
    assert asked == [first, second, second, first, first, second]
    assert got[1][0] < got[0][0]


@ON_CPU
def test_a_gpu_s_tuning_ends_with_a_duel(monkeypatch):
    """The race says that the second is slower; in turns it is faster, and chosen, though the third had less in the race, at a higher clock."""

    class Gpu:  # all but its class is the CPU's driver
        def __init__(self, cpu):
            self._cpu = cpu

        def __getattr__(self, name):
            return getattr(self._cpu, name)

        def get_benchmarker(self):
            return bench

    asked = []

    def bench(call, warmup, rep, quantiles=None, return_mode="mean"):
        call()
        asked.append("race" if quantiles is not None or warmup else "duel")
        n = len(asked)
        return [{3: 1.05, 5: 1.4}.get(n, 1.0), 1.0, 1.0] if asked[-1] == "race" else [2.0 if n in (6, 9, 10) else 1.5] * 3

    monkeypatch.setattr(autotuner.testing, "do_bench", bench)
    monkeypatch.setattr(driver.driver, "_active", Gpu(driver.driver.active))

    @jit
    def inner(out, n, B: tl.constexpr):
        i = tl.program_id(0) * B + tl.arange(0, B)
        tl.store(out + i, 1.0, mask=i < n)

    def tuned():
        return autotune(configs=[Config({"B": 32}), Config({"B": 64}), Config({"B": 16})], key=["n"], cache_results=True)(inner)

    fill = tuned()
    out = np.zeros(64, np.float32)
    fill[lambda c: (64 // c["B"],)](out, 64)
    assert asked == ["race"] * 5 + ["duel"] * 6
    assert fill.best_config.kwargs == {"B": 64} and fill.configs_timings[fill.best_config][0] == 1.5
    assert (out == 1).all()
    again = tuned()  # the choice is kept, not only the times
    again[lambda c: (64 // c["B"],)](out, 64)
    assert len(asked) == 11 and again.best_config.kwargs == {"B": 64} and len(again.configs_timings) == 3


def test_child_processes_start_early_where_kernels_are_worth_them(monkeypatch):
    """For a GPU: they prepare while this process compiles the first configuration, and compile the others."""
    knobs.autotuning.workers = 2
    ran = []

    class Pool(ThreadPoolExecutor):
        def submit(self, fn, /, *args):
            ran.append(fn)
            return super().submit(fn, *args)

    monkeypatch.setattr(tuning, "_own_pool", lambda n: Pool(n))
    seen = []
    jobs = [lambda i=i: seen.append((i, elsewhere.remote_executor.get() is not None)) for i in range(5)]
    prepare = seen.copy
    assert tuning.compile_ahead(jobs, (ValueError,), lambda: None, prepare) == [None] * 5
    assert ran == [prepare, prepare] and seen == [(0, False), *((i, True) for i in range(1, 5))]
    assert tuning._prepared_pool(3, prepare) is None  # too few
    with tune.executor(None):
        assert tuning._prepared_pool(9, prepare) is None


def test_kernels_for_nvidia_are_compiled_by_own_processes_only(monkeypatch):
    """What other machines have for an assembler nobody knows."""
    from anytile.runtime.workers import WorkerPool
    from anytile.targets.nvidia.target import NvidiaTarget

    target = pickle.loads(pickle.dumps(NvidiaTarget(90, (12, 8))))
    assert target.chip.arch == 90 and target.driver == (12, 8)
    monkeypatch.setattr(NvidiaTarget, "compile", lambda self, module, options: "here")
    monkeypatch.setattr(elsewhere, "_by", lambda executor, text, machine, module, options: "there")
    monkeypatch.setattr("anytile.ir.print_module", lambda module: "")
    for executor, where in ((None, "here"), (ThreadPoolExecutor(1), "here"), (WorkerPool(1), "there")):
        token = elsewhere.remote_executor.set(executor)
        try:
            assert elsewhere.target_compile(target, None, None) == where
        finally:
            elsewhere.remote_executor.reset(token)


def test_bar_only_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(tuning.Progress, "_DELAY", 0.0)
    with tuning.Progress("k", 2) as bar:
        bar.step()
    assert bar._bar is None and capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with tuning.Progress("k", 2) as bar:
        bar.step()
        with tuning.Progress("inner", 2) as inner:
            inner.step()
    assert bar._bar is not None and inner._bar is None


def test_reference_target_still_tunes(monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", "reference")
    driver.driver.reset_active()
    fn, x = tuned(double), np.ones(8, np.float32)
    with tune.executor(Recorder()) as recorder:
        fn[grid](x, 8)
    assert (x == 2).all() and not recorder.jobs
