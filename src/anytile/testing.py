"""Measuring kernels and comparing tensors: `do_bench`, `assert_close`, `perf_report`.

numpy is imported where it is used.  matplotlib is needed for plots and pandas for data frames only, and an ImportError
says so; tables are printed, and .csv files written, without them.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

from .cpus import usable_cpus
from .errors import UnsupportedError

__all__ = [
    "Benchmark",
    "Mark",
    "assert_close",
    "cublas",
    "cuda_graph_without_gc",
    "cuda_memcheck",
    "do_bench",
    "do_bench_cudagraph",
    "do_bench_cudagraph_proton",
    "do_bench_proton",
    "get_dram_gbps",
    "get_max_simd_tflops",
    "get_max_tensorcore_tflops",
    "nvsmi",
    "perf_report",
    "set_gpu_clock",
]

_MAX_REPEATS = 100_000


class DeviceClock(Protocol):
    """Times work that a device does beside Python."""

    def synchronize(self) -> None:
        """Waits for all queued work."""

    def mark(self) -> Any:
        """A point in time between what was queued before and after."""

    def milliseconds(self, start: Any, end: Any) -> float:
        """From one mark to another; waits for both."""

    def flush(self) -> None:
        """Queues the emptying of the device's caches."""


#: The clock of the device in use, or None where work is done when the call returns.  The runtime puts its own function here.
device_clock: Callable[[], DeviceClock | None] = lambda: None  # noqa: E731
_COPY_BYTES = 256 << 20


def do_bench(
    fn: Callable[[], Any],
    warmup: float = 25,
    rep: float = 100,
    grad_to_none: Sequence[Any] | None = None,
    quantiles: Sequence[float] | None = None,
    return_mode: str = "mean",
    fast_flush: bool = True,
) -> Any:
    """Milliseconds that a call of ``fn`` takes: by wall clock, or by the GPU's clock where one is in use.

    ``fn`` runs about ``warmup`` ms untimed and then about ``rep`` ms timed, call by call, once each at least.
    ``grad_to_none``: tensors whose ``.grad`` is dropped before each call.  ``quantiles``: the times at these
    quantiles (a number for one, else a list); else ``return_mode``: "mean", "min", "max", "median" or "all".

    On a CPU caches stay warm between the calls: emptying them takes far longer than most kernels run.  On a GPU the level 2 cache is
    emptied before each; ``fast_flush``, which Triton had up to 3.1, chose by what, and changes nothing.
    """
    _check_mode(return_mode)
    clock = device_clock()
    if clock is not None:
        return summarize(_device_times(fn, clock, warmup, rep, grad_to_none or ()), quantiles, return_mode)
    fn()
    start = time.perf_counter()
    for done in range(1, 6):  # noqa: B007
        fn()
        if time.perf_counter() - start > rep / 1e3:
            break
    estimate = max((time.perf_counter() - start) / done * 1e3, 1e-6)
    for _ in range(min(_MAX_REPEATS, max(1, int(warmup / estimate)))):
        fn()
    times = []
    for _ in range(min(_MAX_REPEATS, max(1, int(rep / estimate)))):
        for x in grad_to_none or ():
            x.grad = None
        before = time.perf_counter_ns()
        fn()
        times.append((time.perf_counter_ns() - before) / 1e6)
    return summarize(times, quantiles, return_mode)


def _check_mode(return_mode: str) -> None:
    if return_mode not in ("mean", "min", "max", "median", "all"):
        raise ValueError(f"return_mode is {return_mode!r}: it must be mean, min, max, median or all")


def _device_times(fn: Callable[[], Any], clock: DeviceClock, warmup: float, rep: float, gradients: Sequence[Any]) -> list[float]:
    """Milliseconds of each timed call, as in `do_bench`."""
    fn()
    clock.synchronize()
    start = clock.mark()
    for _ in range(5):
        clock.flush()
        fn()
    estimate = max(clock.milliseconds(start, clock.mark()) / 5, 1e-3)
    for _ in range(min(_MAX_REPEATS, max(1, int(warmup / estimate)))):
        fn()
    marks = []
    for _ in range(min(_MAX_REPEATS, max(1, int(rep / estimate)))):
        for x in gradients:
            x.grad = None
        clock.flush()
        before = clock.mark()
        fn()
        marks.append((before, clock.mark()))
    return [clock.milliseconds(before, after) for before, after in marks]


def summarize(times: list[float], quantiles: Sequence[float] | None, return_mode: str) -> Any:
    """What `do_bench` returns for these times."""
    if quantiles is not None:
        out = [quantile(times, q) for q in quantiles]
        return out[0] if len(out) == 1 else out
    if return_mode == "all":
        return times
    reduce: dict[str, Callable[[list[float]], float]] = {"mean": statistics.fmean, "min": min, "max": max, "median": statistics.median}
    return reduce[return_mode](times)


def quantile(values: Sequence[float], q: float) -> float:
    """The ``q`` quantile (0 … 1), interpolated linearly between neighbours."""
    if not 0 <= q <= 1:
        raise ValueError(f"quantile {q} does not lie between 0 and 1")
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def do_bench_cudagraph(
    fn: Callable[[], Any],
    rep: float = 20,
    grad_to_none: Sequence[Any] | None = None,
    quantiles: Sequence[float] | None = None,
    return_mode: str = "mean",
) -> Any:
    """Milliseconds of GPU time that a call of ``fn`` takes when it is replayed from a CUDA graph: without the host's part.

    About ``rep`` ms of calls are recorded once and replayed ten times; the rest is as in `do_bench`.  Needs torch with CUDA:
    UnsupportedError where no GPU is in use.
    """
    _check_mode(return_mode)
    if device_clock() is None:
        raise UnsupportedError("do_bench_cudagraph", "the CPU target", "use do_bench")
    import torch

    with torch.cuda.stream(torch.cuda.Stream()):
        fn()
        for x in grad_to_none or ():
            x.detach_()
            x.requires_grad_(True)
            x.grad = None
        once = _graph_milliseconds(torch, fn, 5, grad_to_none or (), 1)[0]
        count = min(_MAX_REPEATS, max(1, int(rep / max(once, 1e-3))))
        return summarize(_graph_milliseconds(torch, fn, count, grad_to_none or (), 10), quantiles, return_mode)


def _graph_milliseconds(torch: Any, fn: Callable[[], Any], calls: int, gradients: Sequence[Any], replays: int) -> list[float]:
    """For each replay of a graph of ``calls`` calls: milliseconds a call."""
    graph = torch.cuda.CUDAGraph()
    with cuda_graph_without_gc(graph):
        for _ in range(calls):
            for x in gradients:
                x.grad = None
            fn()
    torch.cuda.synchronize()
    out = []
    for _ in range(replays):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        out.append(start.elapsed_time(end) / calls)
    return out


def do_bench_proton(fn: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
    """`do_bench` by the Proton profiler: always raises UnsupportedError."""
    raise UnsupportedError("do_bench_proton, which needs the Proton profiler,", "anytile", "use do_bench")


def do_bench_cudagraph_proton(fn: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
    """`do_bench_cudagraph` by the Proton profiler: always raises UnsupportedError."""
    raise UnsupportedError("do_bench_cudagraph_proton, which needs the Proton profiler,", "anytile", "use do_bench_cudagraph")


def cublas() -> Any:
    """A handle of cuBLAS to compare with: always raises UnsupportedError."""
    raise UnsupportedError("triton.testing.cublas", "anytile", "torch.matmul calls cuBLAS")


@contextmanager
def cuda_graph_without_gc(*args: Any, **kwargs: Any) -> Iterator[None]:
    """``torch.cuda.graph(*args, **kwargs)`` without garbage collection meanwhile.

    A kernel that is collected unloads its module, which CUDA forbids during a capture.
    """
    import gc

    import torch

    enabled = gc.isenabled()
    gc.disable()
    try:
        with torch.cuda.graph(*args, **kwargs):
            yield
    finally:
        if enabled:
            gc.enable()


def get_dram_gbps(device: Any = None) -> float:
    """GB/s (10⁹ bytes read and written) of a copy by all cores between arrays far larger than the caches.

    Measured once per process, in about a second; ``device`` is ignored, for a CPU has no nominal figure to look up.
    """
    return _copy_bandwidth()


@lru_cache(maxsize=1)
def _copy_bandwidth() -> float:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    cores = usable_cpus()
    share = max(_COPY_BYTES // cores, 1 << 20)
    arrays = [(np.ones(share, np.uint8), np.zeros(share, np.uint8)) for _ in range(cores)]

    def copy(pair: tuple[Any, Any]) -> None:
        np.copyto(pair[1], pair[0])  # without the GIL

    best = math.inf
    with ThreadPoolExecutor(cores) as threads:
        for _ in range(6):
            start = time.perf_counter()
            list(threads.map(copy, arrays))
            best = min(best, time.perf_counter() - start)
    return 2 * share * cores / best / 1e9


def get_max_simd_tflops(dtype: Any, clock_rate: Any, device: Any = None) -> float:
    """A GPU's peak rate without tensor cores: always raises UnsupportedError here."""
    raise UnsupportedError("get_max_simd_tflops", "the CPU target", "measure a matmul with do_bench")


def get_max_tensorcore_tflops(dtype: Any, clock_rate: Any, device: Any = None) -> float:
    """A GPU's peak rate with tensor cores: always raises UnsupportedError here."""
    raise UnsupportedError("get_max_tensorcore_tflops", "the CPU target", "measure a matmul with do_bench")


def nvsmi(attrs: Sequence[str]) -> list[int]:
    """What nvidia-smi says: always raises UnsupportedError here."""
    raise UnsupportedError("nvsmi", "the CPU target", "there is no NVIDIA driver to ask")


def set_gpu_clock(ref_sm_clock: int = 1350, ref_mem_clock: int = 1215) -> Any:
    """Fixing a GPU's clocks for a while: always raises UnsupportedError here."""
    raise UnsupportedError("set_gpu_clock", "the CPU target", "fix the CPU's clock with the tools of the system")


def cuda_memcheck(**target_kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of tests that run fewer cases under CUDA's memory checker, which never runs here: leaves the test as it is."""
    return lambda test: test


def assert_close(x: Any, y: Any, atol: Any = None, rtol: Any = None, err_msg: str = "") -> None:
    """AssertionError unless |x − y| ≤ atol + rtol·|y| everywhere (NaN equals NaN).

    ``x``, ``y``: tensors, arrays, numbers or lists.  ``atol`` (default 1e-2) and ``rtol`` (default 0) may be
    functions of the element type of ``x``.
    """
    import numpy as np

    a, b = _as_array(x), _as_array(y)
    atol, rtol = 1e-2 if atol is None else atol, 0.0 if rtol is None else rtol
    atol = atol(getattr(x, "dtype", a.dtype)) if callable(atol) else atol
    rtol = rtol(getattr(x, "dtype", a.dtype)) if callable(rtol) else rtol
    if a.size == 1 and b.size == 1:
        np.testing.assert_allclose(a.item(), b.item(), rtol=rtol, atol=atol, equal_nan=True, err_msg=err_msg)
        return
    if a.shape != b.shape:
        raise AssertionError(f"{err_msg + ': ' if err_msg else ''}shapes differ: {a.shape} and {b.shape}")
    close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return
    with np.errstate(all="ignore"):
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    worst = tuple(
        int(i) for i in np.unravel_index(int(np.nanargmax(np.where(close, -1.0, np.nan_to_num(difference, nan=np.inf)))), a.shape)
    )
    raise AssertionError(
        f"{err_msg + ': ' if err_msg else ''}{int((~close).sum())} of {a.size} elements differ by more than atol={atol} + rtol={rtol}·|y|; "
        f"the worst is at {worst}: {a[worst]} and {b[worst]}"
    )


def _as_array(x: Any) -> Any:
    import numpy as np

    if hasattr(x, "detach"):
        x = x.detach().cpu()
        if x.dtype.is_floating_point and x.dtype.itemsize < 4:
            x = x.float()  # NumPy has no bfloat16 or float8
        return x.numpy()
    return np.asarray(x)


class Benchmark:
    """A plot: ``x_names`` take ``x_vals`` along the axis, ``line_arg`` takes ``line_vals``, one line each."""

    def __init__(
        self,
        x_names: list[str],
        x_vals: list[Any],
        line_arg: str,
        line_vals: list[Any],
        line_names: list[str],
        plot_name: str,
        args: dict[str, Any],
        xlabel: str = "",
        ylabel: str = "",
        x_log: bool = False,
        y_log: bool = False,
        styles: list[tuple[str, str]] | None = None,
        color: Any = None,  # Triton takes and ignores it
    ):
        self.x_names, self.x_vals, self.x_log = x_names, x_vals, x_log
        self.line_arg, self.line_vals, self.line_names = line_arg, line_vals, line_names
        self.y_log, self.styles = y_log, styles
        self.xlabel, self.ylabel = xlabel, ylabel
        self.plot_name, self.args = plot_name, args


class Mark:
    """A function to measure and the benchmarks to measure it by; made with `perf_report`.

    The function returns a number, or (number, low, high).
    """

    def __init__(self, fn: Callable[..., Any], benchmarks: Benchmark | list[Benchmark]):
        self.fn, self.benchmarks = fn, benchmarks

    def _rows(self, bench: Benchmark, kwargs: dict[str, Any]) -> list[list[Any]]:
        """Per x: its values, then the number, low and high of each line."""
        rows = []
        for x in bench.x_vals:
            values = list(x) if isinstance(x, (list, tuple)) else [x] * len(bench.x_names)
            if len(values) != len(bench.x_names):
                raise ValueError(
                    f"{bench.plot_name}: x value {x!r} has {len(values)} parts for the {len(bench.x_names)} names {bench.x_names}"
                )
            row: list[Any] = list(values)
            for line in bench.line_vals:
                got = self.fn(**dict(zip(bench.x_names, values)), **{bench.line_arg: line}, **bench.args, **kwargs)
                row += list(got) if isinstance(got, (list, tuple)) else [got, None, None]
            rows.append(row)
        return rows

    def run(
        self,
        show_plots: bool = False,
        print_data: bool = False,
        save_path: str = "",
        return_df: bool = False,
        diff_col: bool = False,
        save_precision: int = 6,
        **kwargs: Any,
    ) -> Any:
        """Measure all; ``kwargs`` go to the function.

        ``save_path``: a directory for a plot and a table (``save_precision`` digits) of each benchmark, and a page that
        shows the plots (tables only, and a warning, without matplotlib).  ``return_df``: pandas data frames, one for each
        benchmark of a list.  ``diff_col``: a column "Diff" where there are two lines: the second minus the first.
        ImportError, before anything is measured, where ``show_plots`` or ``return_df`` lacks its package.
        """
        plots = _can_plot(show_plots) if show_plots or save_path else False
        if return_df:
            _pandas()
        benches = self.benchmarks if isinstance(self.benchmarks, list) else [self.benchmarks]
        frames = []
        if save_path:
            os.makedirs(save_path, exist_ok=True)
        for bench in benches:
            rows = self._rows(bench, kwargs)
            columns = [*bench.x_names, *(f"{n} ({bench.ylabel})" if bench.ylabel else n for n in bench.line_names)]
            shown = [[*r[: len(bench.x_names)], *r[len(bench.x_names) :: 3]] for r in rows]
            if diff_col and len(bench.line_names) == 2:
                columns.append("Diff")
                shown = [[*r, r[-1] - r[-2]] for r in shown]
            if print_data:
                print(f"{bench.plot_name}:")
                print(_table(columns, shown))
            if save_path:
                _write_csv(os.path.join(save_path, f"{bench.plot_name}.csv"), columns, shown, save_precision)
            if plots and bench.plot_name:
                _plot(bench, rows, show_plots, save_path)
            if return_df:
                frames.append(_pandas().DataFrame(shown, columns=columns))
        if save_path and plots:
            with open(os.path.join(save_path, "results.html"), "w", encoding="utf-8") as page:
                page.write("<html><body>\n" + "".join(f'<img src="{b.plot_name}.png"/>\n' for b in benches) + "</body></html>\n")
        if return_df:
            return frames if isinstance(self.benchmarks, list) else frames[0]
        return None


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    """Rows under their columns, numbered, as pandas prints a frame."""
    text = [["", *columns]] + [[str(i), *(f"{v:.6f}" if isinstance(v, float) else str(v) for v in r)] for i, r in enumerate(rows)]
    widths = [max(len(r[i]) for r in text) for i in range(len(columns) + 1)]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(r, widths)) for r in text)


def _write_csv(path: str, columns: list[str], rows: list[list[Any]], precision: int) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([columns, *([f"{v:.{precision}f}" if isinstance(v, float) else v for v in r] for r in rows)])


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("return_df=True gives pandas data frames, and pandas is not installed: pip install pandas") from None
    return pandas


def _can_plot(required: bool) -> bool:
    """Whether matplotlib is there; without it an ImportError where plots are ``required``, else a warning."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        if required:
            raise ImportError("show_plots=True needs matplotlib, which is not installed: pip install matplotlib") from None
        warnings.warn("matplotlib is not installed: save_path gets the tables and no plots", stacklevel=3)
        return False
    return True


def _plot(bench: Benchmark, rows: list[list[Any]], show: bool, save_path: str) -> None:
    """One line per provider with a band from low to high; x is the first of the ``x_names``."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    n = len(bench.x_names)
    xs = [r[0] for r in rows]
    for i, name in enumerate(bench.line_names):
        color, style = bench.styles[i] if bench.styles else (None, None)
        ys, lows, highs = ([r[n + 3 * i + k] for r in rows] for k in range(3))
        axes.plot(xs, ys, label=name, color=color, linestyle=style)
        if all(v is not None for v in lows) and all(v is not None for v in highs):
            axes.fill_between(xs, lows, highs, alpha=0.15, color=color)
    axes.legend()
    axes.set_xlabel(bench.xlabel or bench.x_names[0])
    axes.set_ylabel(bench.ylabel)
    axes.set_xscale("log" if bench.x_log else "linear")
    axes.set_yscale("log" if bench.y_log else "linear")
    if save_path:
        figure.savefig(os.path.join(save_path, f"{bench.plot_name}.png"))
    if show:
        plt.show()
    plt.close(figure)


def perf_report(benchmarks: Benchmark | list[Benchmark]) -> Callable[[Callable[..., Any]], Mark]:
    """Decorator: ``fn.run(print_data=True)`` measures ``fn`` by these benchmarks."""
    return lambda fn: Mark(fn, benchmarks)
