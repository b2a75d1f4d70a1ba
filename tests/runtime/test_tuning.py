"""`autotune`, `heuristics`, `do_bench`, `assert_close`, knobs, dumps, target doubles."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
from fake import FakeTarget

import anytile.language as tl
from anytile import testing
from anytile.runtime import compiler, driver, errors, knobs
from anytile.runtime.autotuner import Config, autotune, heuristics
from anytile.runtime.jit import jit
from anytile.runtime.stores import stored_arguments


def increment(x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)


CONFIGS = [Config({"BLOCK": 32}), Config({"BLOCK": 128}, num_warps=8)]


def quick(call, quantiles):
    return testing.do_bench(call, warmup=1, rep=1, quantiles=quantiles)


def grid(META):
    return (-(-META["n"] // META["BLOCK"]),)


@pytest.mark.parametrize("cached", [False, True])
def test_restored_and_tuned_once_per_key(cached):
    benched = []

    def bench(call, quantiles):
        benched.append(1)
        return quick(call, quantiles)

    def tuned():
        return autotune(CONFIGS, key=["n"], restore_value=["x"], do_bench=bench, cache_results=cached)(jit(increment))

    fn, x = tuned(), np.zeros(100, dtype=np.float32)
    for expected in (1, 2):
        fn[grid](x, 100)
        assert (x == expected).all()
    fn[grid](x, n=64)
    assert len(fn.cache) == 2 and len(benched) == 4 and fn.best_config in CONFIGS
    tuned()[grid](x, 100)
    assert len(benched) == (4 if cached else 6)


class FirstFails:
    """A timer for which the first configuration is too large, and all others are equally fast."""

    n = 0

    def __call__(self, call, quantiles):
        self.n += 1
        if self.n == 1:
            raise errors.OutOfResources(5, 4, "shared memory")
        return [1.0, 1.0, 1.0]


def test_what_a_race_was_held_with_is_not_kept():
    bench = FirstFails()
    bench.n = 1
    fn = autotune(CONFIGS, key=["n"], do_bench=bench)(jit(increment))
    fn[grid](np.zeros(1, dtype=np.float32), 1)  # what a process asks once, it asks now
    bench.n = 0
    x = np.zeros(100, dtype=np.float32)
    there = weakref.ref(x)
    fn[grid](x, 100)
    del x
    gc.collect()
    assert there() is None


def test_failing_configurations_lose():
    fn = autotune(CONFIGS, key=["n"], do_bench=FirstFails())(jit(increment))
    fn[grid](np.zeros(8, dtype=np.float32), 8)
    assert fn.best_config is CONFIGS[1]


def test_one_configuration_left_is_not_timed(monkeypatch):
    def bench(call, quantiles):
        raise AssertionError("a single configuration needs no timing")

    told = []
    monkeypatch.setattr(knobs.autotuning, "listener", lambda **facts: told.append(facts))
    fn = autotune(CONFIGS, key=["n"], prune_configs_by={"perf_model": lambda **a: a["BLOCK"], "top_k": 1}, do_bench=bench)(jit(increment))
    fn[grid](np.zeros(8, dtype=np.float32), 8)
    assert fn.best_config is CONFIGS[0] and told == []


def test_listener(monkeypatch):
    told = []
    monkeypatch.setattr(knobs.autotuning, "listener", lambda **facts: told.append(facts))
    fn = autotune(CONFIGS, key=["n"], do_bench=quick)(jit(increment))
    fn[grid](np.zeros(8, dtype=np.float32), 8)
    (facts,) = told
    assert sorted(facts) == ["best_config", "cache_hit", "configs_timings", "duration", "fn", "key"]
    assert facts["duration"] > 0 and facts["cache_hit"] is False


@pytest.mark.parametrize("how", ["restore_value", "reset_to_zero"])
def test_optional_tensors_that_a_launch_goes_without(how):
    @autotune(CONFIGS, key=["n"], do_bench=quick, **{how: ["more"]})
    @jit
    def kernel(x, more, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(x + i, 3, mask=i < n)
        if more is not None:
            tl.store(more + i, 4, mask=i < n)

    x = np.zeros(40, dtype=np.int32)
    kernel[grid](x, None, n=40)
    assert (x == 3).all()


def test_pruned_to_nothing_and_conflicts():
    prune = {"early_config_prune": lambda configs, named, **kwargs: []}
    fn = autotune(CONFIGS, key=["n"], prune_configs_by=prune)(jit(increment))
    with pytest.raises(errors.AutotunerError, match="No valid autotuner configs"):
        fn[grid](np.zeros(8, dtype=np.float32), 8)
    fn = autotune(CONFIGS, key=["n"])(jit(increment))
    with pytest.raises(ValueError, match="Conflicting meta-parameters: BLOCK"):
        fn[grid](np.zeros(8, dtype=np.float32), 8, BLOCK=4)


def scaled(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2 + tl.load(out + i, mask=i < n), mask=i < n)


def test_threads_that_tune_one_kernel_at_once():
    """Each with a key of its own or that of another: arguments, saved tensors and hooks of one never meet those of another."""
    from concurrent.futures import ThreadPoolExecutor

    timed = []

    def bench(call, quantiles):
        timed.append(1)
        return quick(call, quantiles)

    configs = [Config({"BLOCK": b}, pre_hook=lambda args: args["x"].fill(3)) for b in (32, 64)]
    fn = autotune(configs, key=["n"], restore_value=["out"], do_bench=bench)(jit(scaled))

    def launch(k):
        n = 40 + k % 3
        x, out = np.ones(n, np.float32), np.ones(n, np.float32)
        fn[grid](x, out, n)
        return (out == 7).all()

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(launch, range(36)))
    assert len(fn.cache) == 3 and len(timed) == 6 and fn.nargs is None


def test_one_thread_that_failed_leaves_the_others_their_turn():
    fn = autotune(CONFIGS, key=["n"], do_bench=lambda call, quantiles: 1 // 0)(jit(increment))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fn[grid](np.zeros(4, np.float32), 4)
    assert fn.nargs is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_forked_while_another_thread_tunes(tmp_path):
    import threading

    entered, leave = threading.Event(), threading.Event()

    def bench(call, quantiles):
        if os.getpid() == parent:
            entered.set()
            leave.wait(60)
        return quick(call, quantiles)

    parent = os.getpid()
    fn = autotune(CONFIGS, key=["n"], do_bench=bench)(jit(increment))
    thread = threading.Thread(target=lambda: fn[grid](np.zeros(4, np.float32), 4))
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if child == 0:
        try:
            x = np.zeros(4, np.float32)
            fn[grid](x, 4)
            os._exit(0 if x[0] > 0 else 1)
        finally:
            os._exit(2)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_that_a_kernel_does_not_have():
    x = np.zeros(4, np.float32)
    for how in ("reset_to_zero", "restore_value"):
        fn = autotune(CONFIGS, key=["n"], **{how: ["y"]})(jit(increment))
        with pytest.raises(errors.AutotunerError, match=f"{how} names y, and increment has no such parameter: it has x, n, BLOCK"):
            fn[grid](x, 4)
    fn = autotune([Config({"BLOK": 32}), Config({"BLOK": 64})], key=["n"])(jit(increment))
    with pytest.raises(errors.ArgumentError, match="increment is missing argument BLOCK; .*; it has no parameter called BLOK"):
        fn[grid](x, 4)
    fn = heuristics({"BLOCK": lambda args: args["m"] * 2})(jit(increment))
    with pytest.raises(errors.UnknownMetaError, match="the heuristic for BLOCK of increment asks for 'm', .*: it has x, n$"):
        fn[(1,)](x, 4)


def test_a_launch_of_a_tuned_kernel_leaves_its_choices_alone():
    fn, x = autotune(CONFIGS, key=["n"], do_bench=quick)(jit(increment)), np.zeros(4, np.float32)
    for _ in range(2):  # while tuning, and with what was found
        with pytest.raises(
            ValueError, match="Conflicting meta-parameters: BLOCK. The launch passes what the configurations of increment set"
        ):
            fn[grid](x, 4, BLOCK=32)
        with pytest.raises(ValueError, match="Conflicting meta-parameters: num_warps"):
            fn[grid](x, 4, num_warps=4)
        fn[grid](x, 4)


def test_heuristics():
    fn = heuristics({"BLOCK": lambda args: 1 << (args["n"] - 1).bit_length()})(jit(increment))
    x = np.zeros(50, dtype=np.float32)
    kernel = fn[grid](x, 50)
    assert (x == 1).all() and kernel.src.constexprs[(2,)] == 64


def test_decorators_in_the_wrong_order():
    for decorator, name in ((autotune(configs=CONFIGS, key=["n"]), "autotune"), (heuristics({"BLOCK": lambda args: 32}), "heuristics")):
        with pytest.raises(TypeError, match=f"@triton.{name} stands above @triton.jit, and increment is no kernel"):
            jit(decorator(increment))


def test_do_bench_and_quantiles():
    assert testing.do_bench(lambda: None, warmup=1, rep=1, quantiles=[0.5, 0.2])[0] >= 0
    assert testing.quantile([4, 1, 3, 2], 0.5) == 2.5
    with pytest.raises(ValueError, match="return_mode"):
        testing.do_bench(lambda: None, return_mode="mode")


def test_assert_close_names_the_worst():
    testing.assert_close(np.array([1.0, np.nan]), np.array([1.001, np.nan]))
    with pytest.raises(AssertionError, match=r"1 of 2 elements differ .* \(1,\): 2.0 and 5.0"):
        testing.assert_close(np.array([1.0, 2.0]), np.array([1.0, 5.0]))


def test_perf_report(capsys, tmp_path):
    @testing.perf_report(testing.Benchmark(["n"], [1, 2], "p", ["a", "b"], ["A", "B"], "plot", {}))
    def measure(n, p):
        return n * (1.0 if p == "a" else 2.0), 0.0, 9.0

    measure.run(print_data=True, save_path=str(tmp_path))
    assert "2.000000  4.000000" in capsys.readouterr().out and (tmp_path / "plot.csv").exists()


def test_knobs_follow_the_environment(monkeypatch):
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "yes")
    assert knobs.autotuning.print is True
    with knobs.autotuning.scope():
        knobs.autotuning.print = False
        assert knobs.autotuning.print is False
    assert knobs.autotuning.print is True
    monkeypatch.setenv("ANYTILE_CACHE_SIZE", "many")
    with pytest.raises(RuntimeError, match="ANYTILE_CACHE_SIZE='many' is no integer"):
        _ = knobs.cache.size


def test_dump_of_every_stage(tmp_path):
    with knobs.compilation.scope():
        knobs.compilation.anytile_dump = str(tmp_path)
        kernel = jit(increment).warmup(np.zeros(4, dtype=np.float32), 4, BLOCK=16, grid=(1,))
    (folder,) = tmp_path.glob("increment-*")
    names = sorted(p.name for p in folder.iterdir())
    assert "0-tile.tile" in names and "timings.txt" in names and "source.py" in names
    assert kernel.hash.startswith(folder.name.removeprefix("increment-"))


def test_dumps_where_the_locale_is_plain(tmp_path):
    (tmp_path / "program.py").write_text(
        "import numpy as np, triton, triton.language as tl\n@triton.jit\ndef k(x):\n    tl.store(x, 1)  # größer\n\nk[(1,)](np.zeros(1))\n",
        encoding="utf-8",
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "ANYTILE_DUMP": str(tmp_path / "dump")}
    command = [sys.executable, "-m", "anytile", "run", str(tmp_path / "program.py")]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "größer" in next((tmp_path / "dump").glob("k-*/source.py")).read_text(encoding="utf-8")


def test_disk_cache_spares_the_target():
    target = FakeTarget()
    driver.register_target("fake", lambda: target)
    where = driver.GPUTarget("fake", "none", 1)

    def build(block):
        src = compiler.ASTSource(jit(increment), {"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}, {"BLOCK": block})
        return compiler.compile(src, target=where)

    a, b, c = build(16), build(16), build(32)
    assert a.hash == b.hash != c.hash and target.compiled == 2
    a[(2, 3)](np.zeros(16, dtype=np.float32), 5, 16)
    assert a.module.launches[0][1:] == (2, 3, 1)
    assert stored_arguments(a.src.make_module(compiler.Options(target=where))) == [0]
