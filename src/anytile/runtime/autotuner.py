"""`autotune`: kernels whose compile-time parameters are chosen for them.

    @autotune(configs=[Config({"BLOCK": 128}), Config({"BLOCK": 1024}, num_warps=8)], key=["n"])
    @jit
    def add(x, y, out, n, BLOCK: tl.constexpr): ...

The first launch for each value of the ``key`` arguments (and the element types of all tensors) times every
configuration and keeps the fastest.  Tuning runs the kernel many times on the caller's own tensors: name those
it updates in place in ``restore_value``, those it accumulates into in ``reset_to_zero``.

All configurations are compiled first, several at once (`tuning`); then they race, and one that is clearly slower
than the best so far is given up.  On a GPU, whose clock changes with what it computes, those that are close run again,
in turns.  Configurations that differ in nothing the target can tell apart, such as ``num_warps`` on a CPU, are compiled
and timed once.

Threads may launch one autotuner at a time: one of them tunes, and the others wait for what it finds if they need it.  What a tuning keeps on
the autotuner (``nargs``, saved tensors, errors) is its own; a launch whose key is known keeps nothing there.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from .. import testing
from . import knobs
from .config import Config
from .driver import CpuDriver, driver, target_object
from .elsewhere import prepare_nvidia
from .errors import AutotunerError, OutOfResources, PTXASError
from .heuristics import Heuristics, heuristics, parameters
from .jit import JITFunction, KernelInterface
from .tuning import BEFORE_A_DUEL, Progress, compile_ahead, duel_on_gpu, finalists, race, race_on_gpu

__all__ = ["Autotuner", "Config", "Heuristics", "OutOfResources", "autotune", "heuristics"]

_QUANTILES = (0.5, 0.2, 0.8)
_GPU_ONLY = (
    "num_warps",
    "num_stages",
    "num_ctas",
    "maxnreg",
    "num_buffers_warp_spec",
    "num_consumer_groups",
    "reg_dec_producer",
    "reg_inc_consumer",
)


#: Who tunes; beside the autotuners, which may be copied.
_locks: WeakKeyDictionary[Autotuner, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


def _renew_locks_after_fork() -> None:
    """A forked child has none of the threads that held the old ones."""
    global _locks, _locks_lock
    _locks, _locks_lock = WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_after_fork)


class Autotuner(KernelInterface):
    """A kernel with configurations.  ``cache``: key → chosen `Config`; ``best_config``: that of the last launch; ``nargs``: while it tunes,
    the launch's positional arguments by name.

    ``configs_timings`` of the last tuning: config → milliseconds (median, 20 % and 80 % quantile).
    """

    def __init__(
        self,
        fn: Any,
        arg_names: Sequence[str],
        configs: list[Config],
        key: Sequence[str],
        reset_to_zero: Sequence[str] | None,
        restore_value: Sequence[str] | None,
        pre_hook: Callable[..., Any] | None = None,
        post_hook: Callable[..., Any] | None = None,
        prune_configs_by: dict[str, Any] | None = None,
        warmup: int | None = None,
        rep: int | None = None,
        use_cuda_graph: bool = False,
        do_bench: Callable[..., Any] | None = None,
        cache_results: bool = False,
    ):
        self.fn = fn
        self.arg_names = list(arg_names)
        self.configs = list(configs) or [Config({})]
        self.keys = list(key)
        self.cache: dict[tuple[Any, ...], Config] = {}
        self.reset_to_zero = list(reset_to_zero or ())
        self.restore_value = list(restore_value or ())
        self.cache_results = cache_results or knobs.autotuning.cache
        self.user_defined_pre_hook, self.user_defined_post_hook = pre_hook is not None, post_hook is not None
        self.pre_hook = pre_hook or self._save_and_reset
        self.post_hook = post_hook or self._restore
        prune = prune_configs_by or {}
        self.perf_model: Callable[..., Any] | None = prune.get("perf_model")
        self.configs_top_k: float = prune.get("top_k", 1.0)
        self.early_config_prune: Callable[..., Any] | None = prune.get("early_config_prune")
        self.num_warmups, self.num_reps = warmup, rep
        self.use_cuda_graph = use_cuda_graph
        self._do_bench = do_bench
        self._saved: dict[str, Any] = {}
        self._to_beat: float | None = None  # median of the best configuration so far, in ms
        self._errors: dict[Config, BaseException] = {}
        self.nargs: dict[str, Any] | None = None
        self.best_config: Config | None = None
        self.configs_timings: dict[Config, list[float]] = {}
        self.bench_time = 0.0
        inner = fn
        while not inspect.isfunction(inner):
            inner = inner.fn
        self.base_fn = inner
        self.__name__ = inner.__name__

    # -- tensors that tuning must not spoil ---------------------------------------------------------------

    def _save_and_reset(self, args: dict[str, Any], reset_only: bool = False) -> None:
        for name in self.reset_to_zero:
            if args.get(name) is not None:  # an optional tensor that this launch goes without
                _zero(args[name])
        if not reset_only:
            self._saved = {name: _copy_of(args[name]) for name in self.restore_value if args.get(name) is not None}

    def _restore(self, args: dict[str, Any], exception: BaseException | None) -> None:
        for name, saved in self._saved.items():
            _assign(args[name], saved)
        self._saved = {}

    # -- timing ---------------------------------------------------------------------------------------------

    @cached_property
    def do_bench(self) -> Callable[..., Any]:
        """``do_bench(call, quantiles=…)`` → milliseconds at those quantiles.

        A configuration that does not beat the best so far is given up early; another driver's benchmarker is used as it is.
        """
        if self._do_bench is not None:
            return self._do_bench
        warmup, rep = self.num_warmups or 25, self.num_reps or 100
        if isinstance(driver.active, CpuDriver):
            return lambda call, quantiles: race(call, quantiles, self._to_beat, warmup, rep)
        bench = driver.active.get_benchmarker()
        if self._timed_by_us_on_gpu():
            rep = self.num_reps or BEFORE_A_DUEL
            return lambda call, quantiles: race_on_gpu(call, quantiles, self._to_beat, bench, warmup, rep)
        if self.num_warmups is None and self.num_reps is None:
            return bench
        return lambda call, quantiles: bench(call, warmup=warmup, rep=rep, quantiles=quantiles)

    def _timed_by_us_on_gpu(self) -> bool:
        """Whether `testing.do_bench` times on a GPU: no benchmarker of the caller's or of another driver's."""
        active = driver.active
        return self._do_bench is None and not isinstance(active, CpuDriver) and active.get_benchmarker() is testing.do_bench

    @staticmethod
    def _failures() -> tuple[type[BaseException], ...]:
        """The errors that only mean that a configuration is out."""
        from ..frontend.errors import CompileTimeAssertionFailure

        return (OutOfResources, CompileTimeAssertionFailure, PTXASError)

    def _refuse_conflicts(self, config: Config, meta: dict[str, Any]) -> None:
        if conflicts := sorted(meta.keys() & config.all_kwargs().keys()):
            raise ValueError(
                f"Conflicting meta-parameters: {', '.join(conflicts)}. The launch passes what the configurations of {self.__name__} set: leave them out"
            )

    def _bench(self, *args: Any, config: Config, **meta: Any) -> list[float]:
        """Milliseconds of one configuration; infinities where it cannot be compiled."""
        try:
            return self.do_bench(self._call(*args, config=config, **meta), quantiles=_QUANTILES)
        except self._failures() as e:
            return self._failed(config, e)

    def _call(self, *args: Any, config: Config, **meta: Any) -> Callable[[], None]:
        """A launch with ``config``, its hooks included."""
        self._refuse_conflicts(config, meta)
        keywords = {**meta, **config.all_kwargs()}
        named = {**(self.nargs or {}), **keywords}

        def call() -> None:
            if config.pre_hook:
                config.pre_hook(named)
            self.pre_hook(named)
            try:
                self.fn.run(*args, **keywords)
            except Exception as e:
                try:
                    self.post_hook(named, exception=e)
                finally:
                    raise
            self.post_hook(named, exception=None)

        return call

    def _failed(self, config: Config, error: BaseException) -> list[float]:
        self._errors[config] = error
        if knobs.autotuning.print:
            print(f"Autotuning failed with {error}")
        return [math.inf] * len(_QUANTILES)

    def _tune(self, key: tuple[Any, ...], configs: list[Config], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        start = time.perf_counter()
        groups = self._alike(configs)
        self._errors, self._to_beat = {}, None
        timings: dict[Config, list[float]] = {}
        with Progress(self.__name__, 2 * len(groups)) as progress:
            errors = self._compile_all([g[0] for g in groups], args, kwargs, progress.step)
            for group, error in zip(groups, errors):
                got = self._bench(*args, config=group[0], **kwargs) if error is None else self._failed(group[0], error)
                timings.update(dict.fromkeys(group, got))
                if not math.isinf(_first(got)):
                    self._to_beat = min(_first(got), self._to_beat or math.inf)
                progress.step()
            duelled = self._duel(timings, args, kwargs)
        self.bench_time = time.perf_counter() - start
        timings = {c: timings[c] for c in configs}
        best = min(duelled or timings, key=lambda c: _first(timings[c]))
        failed, self._errors = self._errors, {}  # errors hold their frames, and so the memory of the launch
        if math.isinf(_first(timings[best])):
            raise self._nothing_works(failed, len(configs))
        self.configs_timings, self.cache[key] = timings, best
        self.pre_hook({**(self.nargs or {}), **kwargs, **best.all_kwargs()}, reset_only=True)

    def _duel(self, timings: dict[Config, list[float]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Config]:
        """On a GPU: those that are close to the best in ``timings`` run again, in turns; they get the times of that, and are returned.

        The best is one of them: times of the race, maybe at a higher clock, do not compare with those of the duel.
        """
        if not self._timed_by_us_on_gpu():
            return []
        configs = list(timings)
        close = [configs[i] for i in finalists([_first(t) for t in timings.values()])]
        if len(close) < 2:
            return []
        calls = [self._call(*args, config=c, **kwargs) for c in close]
        timings.update(zip(close, duel_on_gpu(calls, _QUANTILES, testing.do_bench), strict=True))
        return close

    def _alike(self, configs: list[Config]) -> list[list[Config]]:
        """``configs`` in groups that the target cannot tell apart, in order of their first members."""
        inner = self._kernel()
        if inner is None or inner.target().backend not in ("cpu", "reference"):
            return [[c] for c in configs]
        ignored = [n for n in _GPU_ONLY if n not in inner.arg_names]
        groups: dict[Any, list[Config]] = {}
        for c in configs:
            told = {k: v for k, v in c.all_kwargs().items() if k not in ignored}
            groups.setdefault((repr(sorted(told.items(), key=lambda item: item[0])), c.pre_hook), []).append(c)
        return list(groups.values())

    def _kernel(self) -> JITFunction | None:
        """The kernel below heuristics; None where something else stands between."""
        inner = self.fn
        while isinstance(inner, (Heuristics, Autotuner)):
            inner = inner.fn
        return inner if isinstance(inner, JITFunction) else None

    def _compile_all(self, configs: list[Config], args: tuple[Any, ...], kwargs: dict[str, Any], done: Callable[..., None]) -> list[Any]:
        """Per configuration the error that puts it out, or None; compiled unless that waits for the first launch."""
        if self._kernel() is None or isinstance(self.fn, Autotuner):
            done(len(configs))
            return [None] * len(configs)

        def compilation(config: Config) -> Callable[[], Any]:
            def compile() -> Any:
                self._refuse_conflicts(config, kwargs)
                keywords = {**kwargs, **config.all_kwargs()}
                if config.pre_hook:  # may change arguments, such as the block shapes of descriptors
                    config.pre_hook({**(self.nargs or {}), **keywords})
                return self.fn.run(*args, **{**keywords, "warmup": True})

            return compile

        inner = self._kernel()
        on_gpu = inner is not None and inner.target().backend == "cuda"
        return compile_ahead([compilation(c) for c in configs], self._failures(), done, prepare_nvidia if on_gpu else None)

    def _nothing_works(self, failed: dict[Config, BaseException], n: int) -> AutotunerError:
        """All configurations failed: how many, and each kind of error with the configurations that met it."""
        kinds: dict[str, list[Config]] = {}
        for config, error in failed.items():
            text = f"{type(error).__name__}: {getattr(error, 'error_message', None) or error}"
            kinds.setdefault(" ".join(text.split()), []).append(config)
        lines = [
            f"  {text} ({', '.join(f'[{c}]' for c in configs[:3])}{' …' if len(configs) > 3 else ''})" for text, configs in kinds.items()
        ]
        error = AutotunerError(f"none of the {n} configurations of {self.__name__} can be compiled:\n" + "\n".join(lines))
        error.__cause__ = next(reversed(failed.values()), None)
        return error

    def check_disk_cache(self, tuning_key: tuple[Any, ...], configs: list[Config], bench_fn: Callable[[], None]) -> bool:
        """Take the choice for ``tuning_key`` from disk, or call ``bench_fn`` and store it; whether it was there."""
        from . import remote
        from .cache import get_cache_manager, toolchain

        if not tuning_key or any(c.pre_hook for c in configs):
            bench_fn()
            return False
        inner = self.fn
        while not isinstance(inner, JITFunction):
            inner = inner.fn
        shared = knobs.cache.url or knobs.cache.remote_manager_class is not None
        parts = [
            remote.sources() if shared else toolchain(),
            target_object(inner.target()).fingerprint(),
            inner.cache_key,
            str(tuning_key),
            *map(str, configs),
        ]
        manager = get_cache_manager(hashlib.sha256("\0".join(parts).encode()).hexdigest())
        name = f"{self.__name__[:150]}.autotune.json"
        path = manager.get_file(name)
        if path is not None:
            try:
                with open(path) as f:
                    stored = json.load(f)
                by_text = {str(c): c for c in configs}
                self.cache[tuning_key] = by_text[stored["best"]]
                self.configs_timings = {by_text[text]: t for text, t in stored["configs_timings"]}
                return True
            except (OSError, ValueError, KeyError, TypeError):
                pass  # damaged: tune again
        bench_fn()
        record = {
            "key": list(map(str, tuning_key)),
            "best": str(self.cache[tuning_key]),  # not always the least of the times: see `_duel`
            "configs_timings": [[str(c), t] for c, t in self.configs_timings.items()],
        }
        manager.put(json.dumps(record), name, binary=False)
        return False

    # -- launching ------------------------------------------------------------------------------------------

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Choose (tuning first where this key is new) and launch."""
        nargs = dict(zip(self.arg_names, args))
        if len(self.configs) > 1:
            key = self._key({**nargs, **kwargs})
            config = self.cache.get(key) or self._choose(key, nargs, args, kwargs)
        else:
            config = self.configs[0]
        self.best_config = config
        chosen = config.all_kwargs()
        if not chosen.keys().isdisjoint(kwargs):
            self._refuse_conflicts(config, kwargs)
        if config.pre_hook is not None:
            config.pre_hook({**nargs, **kwargs, **chosen})
        return self.fn.run(*args, **kwargs, **chosen)

    def _key(self, named: dict[str, Any]) -> tuple[Any, ...]:
        """The values of the key arguments and the element types of all tensors, in order of the parameters."""
        key = [named[k] for k in self.keys if k in named]
        for name in self.arg_names:
            dtype = getattr(named.get(name), "dtype", None)
            if dtype is not None:
                key.append(_text(dtype))
        return tuple(key)

    def _choose(self, key: tuple[Any, ...], nargs: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Config:
        """The configuration for ``key``, by tuning; another thread that asks meanwhile waits, for this key and for others."""
        if kwargs.get("warmup"):
            return self.configs[0]
        with self._tuning(nargs):
            return self.cache.get(key) or self._choose_anew(key, args, kwargs)

    @contextmanager
    def _tuning(self, nargs: dict[str, Any]) -> Iterator[None]:
        """While entered, this thread alone tunes, for a launch with these positional arguments."""
        with _locks_lock:
            lock = _locks.setdefault(self, threading.RLock())
        with lock:
            former, self.nargs = self.nargs, nargs
            try:
                yield
            finally:
                self.nargs = former

    def _choose_anew(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Config:
        for what, names in (("reset_to_zero", self.reset_to_zero), ("restore_value", self.restore_value)):
            if strange := sorted(set(names) - set(self.arg_names)):
                raise AutotunerError(
                    f"{what} names {', '.join(strange)}, and {self.__name__} has no such parameter: it has {', '.join(self.arg_names)}"
                )
        configs = self.prune_configs(kwargs)
        if len(configs) == 1:
            self.cache[key] = configs[0]
            return configs[0]

        def bench() -> None:
            self._tune(key, configs, args, kwargs)

        hit = False
        if self.cache_results:
            hit = self.check_disk_cache(key, configs, bench)
        else:
            bench()
        best = self.cache[key]
        if knobs.autotuning.print and not hit:
            print(
                f"Triton autotuning for function {self.__name__},\nwith key as {key},\nfinished after {self.bench_time:.2f}s,\nbest config selected: {best};"
            )
        if knobs.autotuning.listener is not None:
            knobs.autotuning.listener(
                fn=self.fn,
                key=key,
                best_config=best,
                configs_timings=self.configs_timings,
                duration=None if hit else self.bench_time,
                cache_hit=hit,
            )
        return best

    def prune_configs(self, kwargs: dict[str, Any]) -> list[Config]:
        """The configurations worth timing.  AutotunerError where none is left."""
        configs = self.configs
        named = self.nargs or {}
        if self.early_config_prune is not None:
            configs = list(self.early_config_prune(configs, named, **kwargs))
            if not configs:
                raise AutotunerError("No valid autotuner configs after pruning. `early_config_prune` should return at least one config.")
        if self.perf_model is not None:
            top = self.configs_top_k
            if isinstance(top, float) and top <= 1.0:
                top = int(len(self.configs) * top)
            elif not isinstance(top, int):
                raise TypeError(f"top_k is {top!r}: it must be an integer, or a fraction up to 1.0")
            if len(configs) > top:
                estimates = {c: self.perf_model(**named, **kwargs, **c.all_kwargs()) for c in configs}
                configs = sorted(estimates, key=lambda c: estimates[c])[: int(top)]
        return configs

    def warmup(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Compile every configuration that is left after pruning; the compiled kernels."""
        with self._tuning(dict(zip(self.arg_names, args))):
            configs = self.prune_configs(kwargs)
        return [self.fn.warmup(*args, **kwargs, **config.all_kwargs()) for config in configs]


_TEXTS: dict[Any, str] = {}


def _text(dtype: Any) -> str:
    """``str(dtype)``, which torch makes anew each time."""
    try:
        return _TEXTS[dtype]
    except KeyError:
        return _TEXTS.setdefault(dtype, str(dtype))
    except TypeError:  # a type of somebody's own that has no hash
        return str(dtype)


def _first(timing: Any) -> float:
    return timing[0] if isinstance(timing, (list, tuple)) else timing


def _zero(x: Any) -> None:
    if hasattr(x, "zero_"):
        x.zero_()
    else:
        x.fill(0)


def _copy_of(x: Any) -> Any:
    return x.clone() if hasattr(x, "clone") else x.copy()


def _assign(x: Any, saved: Any) -> None:
    if hasattr(x, "copy_"):
        x.copy_(saved)
    else:
        x[...] = saved


def autotune(
    configs: list[Config],
    key: Sequence[str],
    prune_configs_by: dict[str, Any] | None = None,
    reset_to_zero: Sequence[str] | None = None,
    restore_value: Sequence[str] | None = None,
    pre_hook: Callable[..., Any] | None = None,
    post_hook: Callable[..., Any] | None = None,
    warmup: int | None = None,
    rep: int | None = None,
    use_cuda_graph: bool = False,
    do_bench: Callable[..., Any] | None = None,
    cache_results: bool = False,
) -> Callable[[Any], Autotuner]:
    """Decorator: time ``configs`` on the first launch for each value of the ``key`` arguments.

    ``prune_configs_by``: ``early_config_prune(configs, named_args, **kwargs)`` returns those worth timing;
    ``perf_model(**args)`` estimates a time, and the ``top_k`` best (a number, or a fraction) are timed.
    ``pre_hook(args, reset_only=False)`` and ``post_hook(args, exception)`` run around each timed launch, in
    place of what ``reset_to_zero`` and ``restore_value`` do.  ``warmup``, ``rep``: milliseconds for `do_bench`.
    ``do_bench(call, quantiles)``: a timer to use instead.  ``cache_results``: keep choices on disk.
    ``use_cuda_graph`` has a meaning on CUDA devices only.
    """

    def decorate(fn: Any) -> Autotuner:
        return Autotuner(
            fn,
            parameters(fn, "autotune"),
            configs,
            key,
            reset_to_zero,
            restore_value,
            pre_hook=pre_hook,
            post_hook=post_hook,
            prune_configs_by=prune_configs_by,
            warmup=warmup,
            rep=rep,
            use_cuda_graph=use_cuda_graph,
            do_bench=do_bench,
            cache_results=cache_results,
        )

    return decorate
