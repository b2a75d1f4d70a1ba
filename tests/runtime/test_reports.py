"""`perf_report`: tables, plots where matplotlib is there, what is said where it is not; what a CPU can tell of itself."""

from __future__ import annotations

import sys
import warnings

import pytest

from anytile import testing
from anytile.errors import UnsupportedError

BENCHMARK = testing.Benchmark(["m", "n"], [(1, 2), (3, 4)], "p", ["a", "b"], ["A", "B"], "speed", {"k": 10}, ylabel="GB/s", x_log=True)


@testing.perf_report([BENCHMARK])
def measured(m, n, p, k, scale=1.0):
    value = scale * k * m * (1 if p == "a" else 2)
    return value, value - 0.5, value + 0.5


def test_tables(capsys, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measured.run(print_data=True, save_path=str(tmp_path), diff_col=True, save_precision=2, scale=0.5)
    out = capsys.readouterr().out
    assert "speed:" in out and "A (GB/s)" in out and "Diff" in out and "5.000000" in out
    assert (tmp_path / "speed.csv").read_text().splitlines() == [
        "m,n,A (GB/s),B (GB/s),Diff",
        "1,2,5.00,10.00,5.00",
        "3,4,15.00,30.00,15.00",
    ]


def test_without_matplotlib_and_pandas(monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.pyplot", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    calls = []
    report = testing.perf_report(BENCHMARK)(lambda **given: calls.append(given) or 1.0)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        report.run(show_plots=True)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.run(return_df=True)
    assert not calls
    with pytest.warns(UserWarning, match="no plots"):
        report.run(save_path=str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["speed.csv"]


def test_plots(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    measured.run(save_path=str(tmp_path), show_plots=False)
    assert (tmp_path / "speed.png").stat().st_size > 5000 and "speed.png" in (tmp_path / "results.html").read_text()


def test_data_frames():
    pytest.importorskip("pandas")
    (frame,) = measured.run(return_df=True)
    assert list(frame.columns) == ["m", "n", "A (GB/s)", "B (GB/s)"] and frame["B (GB/s)"].tolist() == [20.0, 60.0]


def test_what_a_cpu_can_tell(monkeypatch):
    monkeypatch.setattr(testing, "_COPY_BYTES", 8 << 20)
    testing._copy_bandwidth.cache_clear()
    assert 0.1 < testing.get_dram_gbps() < 1e5
    testing._copy_bandwidth.cache_clear()
    for call in (lambda: testing.nvsmi(["clocks.sm"]), testing.set_gpu_clock, lambda: testing.get_max_tensorcore_tflops(None, 1)):
        with pytest.raises(UnsupportedError, match="the CPU target"):
            call()
    assert testing.cuda_memcheck(n=[1])(len) is len
