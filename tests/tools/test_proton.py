"""`triton.profiler`: what a session writes of the launches under its scopes, and how it is read."""

from __future__ import annotations

import json

import pytest

import anytile.language as tl
from anytile.errors import UnsupportedError
from anytile.runtime import knobs
from anytile.runtime.jit import jit
from anytile.tools import proton, proton_viewer

torch = pytest.importorskip("torch")


def told(grid, kernel, args):
    return {"name": f"fill {args['N']}", "flops32": 2.0 * args["N"], "bytes": 4.0 * args["N"]}


@jit(launch_metadata=told)
def fill(out, N: tl.constexpr):
    tl.store(out + tl.arange(0, N), 1.0)


@jit
def plain(out):
    tl.store(out, 2.0)


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not proton._sessions and not proton._scopes.names and proton._enter not in knobs.runtime.launch_enter_hook


def frames(tree, path=()):
    at = (*path, tree["frame"]["name"])
    return {at: tree["metrics"]} | {k: v for c in tree["children"] for k, v in frames(c, at).items()}


def read(path):
    tree, devices = json.loads(path.read_text())
    return frames(tree), devices


def test_launches_are_told_under_their_scopes(tmp_path):
    out = torch.zeros(64)
    session = proton.start(str(tmp_path / "run"), hook="triton")
    with proton.scope("layer", metrics={"tokens": 7}):
        fill[(1,)](out, 64)
        fill[(1,)](out, 64)
        with proton.state("again"):
            plain[(1,)](out)
    proton.deactivate(session)
    plain[(1,)](out)
    proton.activate(session)
    plain[(1,)](out)
    proton.finalize()
    found, devices = read(tmp_path / "run.hatchet")
    assert found["ROOT", "layer"] == {"tokens": 7}
    both = found["ROOT", "layer", "fill 64"]
    assert both["count"] == 2 and both["flops32"] == 256.0 and both["bytes"] == 512.0 and both["time (ns)"] > 0
    assert both["device_type"] == "CPU" and devices["CPU"]["0"]["num_sms"] >= 1
    assert found["ROOT", "layer", "again", "plain"]["count"] == 1 and found["ROOT", "plain"]["count"] == 1


def test_without_the_hook_kernels_are_told_by_their_names(tmp_path):
    @proton.profile(name=str(tmp_path / "calls"))
    @proton.scope("all")
    def work(out):
        fill[(1,)](out, 16)

    work(torch.zeros(16))
    found, _ = read(tmp_path / "calls.hatchet")
    assert set(found["ROOT", "all", "fill"]) == {"count", "device_id", "device_type", "time (ns)"}


def test_what_the_program_spends_itself(tmp_path):
    proton.start(str(tmp_path / "own"))
    with proton.cpu_timed_scope("outside"):
        pass
    assert proton.enter_scope("a") == 1 and proton.enter_scope("b", metrics={"x": 1.5}) == 2
    assert proton.exit_scope(metrics={"x": 2}) == 2 and proton.exit_scope("a") == 1 and proton.exit_scope() is None
    proton.finalize(0 if 0 in proton._sessions else None)
    found, _ = read(tmp_path / "own.hatchet")
    assert found["ROOT", "outside"]["cpu_time (ns)"] > 0 and found["ROOT", "a", "b"] == {"x": 3.5}


def test_turned_off(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_PROTON_DISABLE", "1")
    assert proton.start(str(tmp_path / "off")) is None and proton.enter_scope("a") is None
    proton.finalize()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "what", [{"context": "python"}, {"data": "trace"}, {"backend": "instrumentation"}, {"mode": "periodic_flushing"}, {"hook": "x"}]
)
def test_what_it_cannot_do(what):
    with pytest.raises(UnsupportedError, match=rf"start\({next(iter(what))}='.*'\) is not supported on anytile; it takes "):
        proton.start("x", **what)


TREE = {
    "frame": {"name": "ROOT"},
    "metrics": {},
    "children": [
        {"frame": {"name": "a"}, "metrics": {"count": 4, "time (ns)": 2e6, "flops16": 6e9, "bytes": 1e6}, "children": []},
        {"frame": {"name": "b"}, "metrics": {"count": 1, "time (ns)": 1e6}, "children": []},
    ],
}


def test_viewer(tmp_path, capsys):
    path = tmp_path / "t.hatchet"
    path.write_text(json.dumps([TREE, {}]))
    tree, metrics = proton_viewer.parse(["time/ms", "avg_time/us", "tflop16/s", "gbyte/s", "count"], str(path))
    assert tree.shown == {"time/ms": 3.0, "avg_time/us": 600.0, "tflop16/s": 2.0, "gbyte/s": pytest.approx(1 / 3), "count": 5.0}
    assert tree.children[1].shown["tflop16/s"] is None
    proton_viewer.print_tree(tree, metrics, print_sorted=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("5.000 ROOT") and lines[2] == "  2.000  500.000  3.000  0.500  4.000 a" and " - " in lines[3]
    assert [c.name for c in proton_viewer.parse(["time/s"], str(path), include="^a$")[0].children] == ["a"]
    assert [c.name for c in proton_viewer.parse(["time/s"], str(path), exclude="a")[0].children] == ["b"]
    assert [c.name for c in proton_viewer.parse(["time/s"], str(path), threshold=0.5)[0].children] == ["a"]
    with pytest.raises(ValueError, match=r"no metric is called 'hours/run'"):
        proton_viewer.parse(["hours/run"], str(path))
