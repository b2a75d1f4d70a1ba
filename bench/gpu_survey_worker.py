"""One side of `gpu_survey.py`: runs programs, keeps each kernel's first launch of a kind, and times that launch alone.

    gpu_survey_worker.py LIBRARY TIMED CONFIGS KINDS CUBINS [SETUP]

Started under anytile or under the installed Triton.  Tasks come as lines on standard input, ``PROGRAM`` or ``PROGRAM::FUNCTION``; for each
kind of launch a line of JSON goes to standard output, then ``{"done": task, …}``.  Programs run one after the other in a child process that
is forked after torch and triton are imported and before CUDA is begun: a program that ends its process, or leaves the GPU in an error,
costs a fork and not the imports.

How a launch is timed: the program's own launch compiles the kernel; its arguments' memory is kept; the same launch is recorded into a CUDA
graph several times and the graph replayed, so that no host time is in between; then the memory is put back as it was and the program goes
on.  Caches are warm on both sides.  Without a GPU, the host's clock around each launch.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MEASUREMENTS = 7
"""Of each launch; their median is reported, and their minimum."""
MEASURED_S = 1.5e-3
"""How long one measurement goes on, at least one replay."""
GRAPH_S, LAUNCHES = 0.3e-3, 20
"""How much work a graph holds, and how many launches at most."""
LEARNT = 4
"""Launches before: a library may learn a launch that recurs, and what that takes is not the kernel's."""
UNTOLD = {"num_ctas", "ir_override", "minRegAutoWS", "maxRegAutoWS"}
"""Options that releases of Triton hand on, or do not, where nobody has asked for them."""
KEPT_BYTES = 8 << 30
"""Arguments beyond that are not kept: the launch is not timed."""


def described(value: Any) -> str:
    """An argument in words that are the same under both libraries."""
    if hasattr(value, "untyped_storage"):
        shape, strides = list(value.shape), list(value.stride())
        dense = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        return f"{str(value.dtype).removeprefix('torch.')}{shape}{'' if strides == dense else '/' + str(strides)}"
    if hasattr(value, "block_shape"):
        return f"descriptor{list(value.block_shape)} of {described(value.base)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(described, value))})"
    if hasattr(value, "fn"):
        return getattr(value, "__name__", "function")
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return str(getattr(value, "value", value))


def tensors(value: Any) -> list[Any]:
    """The tensors in an argument."""
    if hasattr(value, "untyped_storage"):
        return [value]
    if hasattr(value, "block_shape"):
        return [value.base]
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in tensors(v)]
    return []


class Memory:
    """The memory behind a launch's tensors, kept to be put back."""

    def __init__(self, values: Sequence[Any]) -> None:
        import torch

        found = {}
        for tensor in (t for v in values for t in tensors(v)):
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
        self.size = sum(whole.numel() for whole in found.values())
        self.kept = [(whole, whole.clone()) for whole in found.values()] if self.size <= KEPT_BYTES else []

    def restore(self) -> None:
        for whole, copy in self.kept:
            whole.copy_(copy)


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def by_host(launch: Callable[[], Any]) -> list[float]:
    found = []
    for _ in range(MEASUREMENTS):
        start = time.perf_counter()
        launch()
        found.append(time.perf_counter() - start)
    return found


def by_gpu(launch: Callable[[], Any]) -> list[float]:
    """Seconds a launch, one number a measurement: replays of a graph of launches between two events."""
    import torch

    for _ in range(LEARNT):
        launch()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()

    def graph_of(count: int) -> Any:
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for _ in range(count):
                launch()
        finally:
            graph.capture_end()
        graph.replay()  # uploads it
        stream.synchronize()
        return graph

    def seconds(graph: Any, replays: int) -> float:
        torch.cuda._sleep(200_000)  # replays queue up behind it
        begin.record()
        for _ in range(replays):
            graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    with torch.cuda.stream(stream):
        single = graph_of(1)
        once = seconds(single, 1)
        count = max(1, min(LAUNCHES, int(GRAPH_S / max(once, 1e-6))))
        graph = graph_of(count)
        replays = max(1, min(100, int(MEASURED_S / max(seconds(graph, 1), 1e-6))))
        found = [seconds(graph, replays) / (replays * count) for _ in range(MEASUREMENTS)]
    torch.cuda.current_stream().wait_stream(stream)
    graph.reset()
    single.reset()
    return found


class Recorder:
    """What the program launches: a row for each kind of launch, at most ``kinds`` of one kernel outside of tuning."""

    def __init__(self, library: str, timed: bool, configs: int, kinds: int, cubins: Path | None) -> None:
        self.library, self.timed, self.configs, self.kinds, self.cubins = library, timed, configs, kinds, cubins
        self.inside = False
        self.begin("")

    def begin(self, task: str) -> None:
        self.task = task
        self.seen: set[str] = set()
        self.counts: dict[str, int] = {}
        self.chosen: dict[str, Any] = {}
        self.config = ""
        self.rows = 0

    def emit(self, row: dict[str, Any]) -> None:
        self.rows += 1
        print(json.dumps({"library": self.library, "program": self.task, **row}), flush=True, file=PIPE)

    def launch(self, function: Any, call: Callable[..., Any], grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``call(grid, *args, **kwargs)``, the library's own launch, recorded where it is the first of its kind."""
        if self.inside:
            return call(grid, *args, **kwargs)
        used: list[Any] = []

        def noted(meta: dict[str, Any]) -> Any:
            used[:] = [grid(meta)]
            return used[0]

        start = time.perf_counter()
        kernel = call(noted if callable(grid) else grid, *args, **kwargs)
        seconds = time.perf_counter() - start
        sizes = used[0] if callable(grid) and used else grid
        sizes = [int(n) for n in (sizes if isinstance(sizes, (tuple, list)) else [sizes])]
        name = getattr(function, "__name__", str(function))
        told = ", ".join(
            [*map(described, args), *(f"{k}={described(kwargs[k])}" for k in sorted(kwargs) if k not in UNTOLD and kwargs[k] is not None)]
        )
        kind = f"{name} {sizes} {told}"
        if kind in self.seen or (not self.config and self.counts.get(name, 0) >= self.kinds):
            return kernel
        self.seen.add(kind)
        self.counts[name] = self.counts.get(name, 0) + 1
        row = {"kernel": name, "grid": sizes, "args": told[:1500], "kind": hashlib.md5(kind.encode()).hexdigest()[:12]}
        row |= {"config": self.config} if self.config else {}
        row |= {"first_s": round(seconds, 3), **resources(kernel)}
        if self.timed:
            self.inside = True
            try:
                row |= self.times(lambda: call(tuple(sizes), *args, **kwargs), [*args, *kwargs.values()])
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            finally:
                self.inside = False
            self.keep(row, kernel)
        self.emit(row)
        return kernel

    def times(self, launch: Callable[[], Any], values: list[Any]) -> dict[str, Any]:
        memory = Memory(values)
        if not memory.kept and memory.size:
            return {"error": f"arguments of {memory.size >> 20} MiB"}
        try:
            found = by_gpu(launch) if on_gpu() else by_host(launch)
        finally:
            memory.restore()
        return {"us": round(statistics.median(found) * 1e6, 3), "min_us": round(min(found) * 1e6, 3), "bytes": memory.size}

    def keep(self, row: dict[str, Any], kernel: Any) -> None:
        """The kernel's machine code, and what it is compiled from, in files named by kind and library."""
        if self.cubins is None:
            return
        for stage in ("cubin", "ptx"):
            text = getattr(kernel, "asm", {}).get(stage)
            if text:
                path = self.cubins / f"{row['kind']}.{self.library}.{stage}"
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        source: Any = getattr(kernel, "src", None)
        if hasattr(source, "fn") and hasattr(source, "signature"):
            told = {"kernel": row["kernel"], "file": source.fn.fn.__code__.co_filename, "signature": source.signature}
            told["constants"] = {str(k): described(v) for k, v in source.constants.items()}
            told["attrs"] = {str(k): v for k, v in source.attrs.items()}
            told["options"] = {k: getattr(kernel.metadata, k, None) for k in ("num_warps", "num_stages", "maxnreg")}
            (self.cubins / f"{row['kind']}.{self.library}.json").write_text(json.dumps(told, default=str))

    def tuned(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``Autotuner.run`` that launches some of the configurations and goes on with the first of them that can be launched."""

        def run(tuner: Any, *args: Any, **kwargs: Any) -> Any:
            if len(tuner.configs) < 2 or kwargs.get("warmup") or self.inside:
                return original(tuner, *args, **kwargs)
            tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))
            key = f"{id(tuner)} " + ", ".join([*map(described, args), *(f"{k}={described(v)}" for k, v in kwargs.items() if k != "grid")])
            if key not in self.chosen:
                self.chosen[key] = self.tried(tuner, args, kwargs)
            return self.configured(tuner, self.chosen[key], args, kwargs)

        return run

    def tried(self, tuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The first configuration that can be launched; all those that were picked, evenly spread, have a row then.  Memory is as before."""
        try:
            configs = list(tuner.prune_configs(kwargs))
        except Exception:
            configs = list(tuner.configs)
        step = max(1, len(configs) - 1) / max(1, self.configs - 1)
        possible: list[Any] = []
        error: Exception = RuntimeError(f"{tuner.base_fn.__name__} has no configurations")
        for i in dict.fromkeys(min(len(configs) - 1, round(i * step)) for i in range(self.configs)):
            memory = Memory([*args, *kwargs.values()])
            try:
                self.configured(tuner, configs[i], args, kwargs)
                possible.append(configs[i])
            except Exception as refused:
                error = refused
                told = f"{type(error).__name__}: {str(error)[:200]}"
                self.emit({"kernel": tuner.base_fn.__name__, "config": str(configs[i]), "error": told})
            finally:
                memory.restore()
        if not possible:
            raise error
        return possible[0]

    def configured(self, tuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One launch with a configuration, whose rows name it."""
        outer, self.config = self.config, str(config)
        try:
            return launched(tuner, config, args, kwargs)
        finally:
            self.config = outer


def launched(tuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One launch with a configuration, as the autotuner does behind tuning."""
    chosen = config.all_kwargs()
    if config.pre_hook is not None:
        config.pre_hook({**dict(zip(tuner.arg_names, args, strict=False)), **kwargs, **chosen})
    return tuner.fn.run(*args, **kwargs, **chosen)


def resources(kernel: Any) -> dict[str, Any]:
    """What a thread and a block take, where the library tells."""
    found = {}
    for name, where in (("regs", "n_regs"), ("spills", "n_spills")):
        value = getattr(kernel, where, None)
        if isinstance(value, int):
            found[name] = value
    metadata = getattr(kernel, "metadata", None)
    for name in ("shared", "num_warps", "num_stages"):
        value = getattr(metadata, name, None)
        if isinstance(value, int):
            found[name] = value
    return found


def hook(recorder: Recorder) -> None:
    """Puts the recorder between programs and the library that answers ``import triton``."""
    from triton.runtime.jit import JITFunction

    if recorder.library == "anytile":
        index = JITFunction.__getitem__

        def getitem(function: Any, grid: Any) -> Callable[..., Any]:
            def call(used: Any, *args: Any, **kwargs: Any) -> Any:
                return index(function, used)(*args, **kwargs)

            return lambda *args, **kwargs: recorder.launch(function, call, grid, args, kwargs)

        JITFunction.__getitem__ = getitem
    else:
        run = JITFunction.run

        def recorded(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            def call(used: Any, *args: Any, **kwargs: Any) -> Any:
                return run(function, *args, grid=used, warmup=warmup, **kwargs)

            return call(grid, *args, **kwargs) if warmup else recorder.launch(function, call, grid, args, kwargs)

        JITFunction.run = recorded


def hook_tuners(recorder: Recorder, done: set[type]) -> None:
    """Every kind of autotuner there is by now, libraries' own among them."""
    from triton.runtime.autotuner import Autotuner

    todo = [Autotuner]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind not in done and "run" in vars(kind):
            kind.run = recorder.tuned(kind.run)  # type: ignore[method-assign]
        done.add(kind)


def perform(task: str, modules: dict[str, Any], prepared: Callable[[], None]) -> None:
    """Runs a program, or a function of it; a program with functions is loaded once."""
    path, _, function = task.partition("::")
    if not function or path not in modules:
        import importlib.util

        stem = Path(path).stem
        spec = importlib.util.spec_from_file_location(stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[stem] = module
        spec.loader.exec_module(module)
        if function:
            modules[path] = module
    if function:
        prepared()
        getattr(modules[path], function)()


def child(library: str, timed: bool, configs: int, kinds: int, cubins: Path | None, setup: str) -> None:
    """Takes tasks until there are no more, or the GPU is in an error."""
    import torch

    recorder = Recorder(library, timed, configs, kinds, cubins)
    hook(recorder)
    tuners: set[type] = set()
    if setup:
        exec(compile(Path(setup).read_text(), setup, "exec"), {"__name__": "setup", "__file__": setup})
    modules: dict[str, Any] = {}
    while task := line():
        recorder.begin(task)
        start = time.perf_counter()
        done: dict[str, Any] = {"done": task, "library": library}
        broken = False
        hook_tuners(recorder, tuners)
        try:
            torch.manual_seed(0)
            perform(task, modules, lambda: hook_tuners(recorder, tuners))
        except BaseException as error:
            done |= {"error": f"{type(error).__name__}: {str(error)[:300]}", "where": traceback.format_exc()[-600:]}
        try:
            if on_gpu():
                torch.cuda.synchronize()
        except Exception as error:
            done["error"] = done.get("error") or str(error)[:300]
            broken = True
        recorder.chosen.clear()
        if not broken:
            gc.collect()
            torch.cuda.empty_cache() if on_gpu() else None
        print(json.dumps({**done, "rows": recorder.rows, "s": round(time.perf_counter() - start, 2)}), flush=True, file=PIPE)
        if broken:
            os._exit(3)
    os._exit(0)


def line() -> str:
    """The next line of standard input, unbuffered: children that come later read on where this one stopped."""
    text = b""
    while (byte := os.read(TASKS, 1)) not in (b"", b"\n"):
        text += byte
    return text.decode()


if __name__ == "__main__":
    # Programs print and may read: the protocol keeps both ends for itself.
    PIPE, TASKS = os.fdopen(os.dup(1), "w"), os.dup(0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # is_available() begins CUDA otherwise, which children cannot use then
    library, timed, configs, kinds, cubins, *setup = sys.argv[1:]
    import torch  # noqa: F401
    import triton
    import triton.language  # noqa: F401

    print(json.dumps({"ready": library, "version": triton.__version__, "file": triton.__file__}), flush=True, file=PIPE)
    while True:
        pid = os.fork()
        if pid == 0:
            child(library, timed == "1", int(configs), int(kinds), Path(cubins) if cubins else None, setup[0] if setup else "")
        status = os.waitpid(pid, 0)[1]
        if status == 0:
            break
        print(json.dumps({"died": library, "status": status}), flush=True, file=PIPE)
