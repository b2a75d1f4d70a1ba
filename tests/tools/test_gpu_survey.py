"""bench/gpu_survey.py: what it finds in a program, with anytile alone and on the CPU; how two sides are put beside each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, torch, triton, triton.language as tl

@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 512, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def add_to(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) + tl.load(y + i, mask=i < n), mask=i < n)

def sums():
    x, y = torch.ones(3000), torch.zeros(3000)
    add_to[lambda meta: (triton.cdiv(3000, meta["BLOCK"]),)](x, y, 3000)
    assert (y == 1).all(), "timing and tuning left traces"

def dies():
    os._exit(7)

def raises():
    raise ValueError("the program's own")
"""


def test_survey_times_kinds_and_outlives_programs(tmp_path):
    program, out = tmp_path / "program.py", tmp_path / "rows.jsonl"
    program.write_text(PROGRAM)
    tasks = [f"{program}::{name}" for name in ("sums", "dies", "raises", "sums")]
    options = ["--sides", "anytile", "--jobs", "0", "--configs", "2", "--out", str(out), "--cache", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "gpu_survey.py"), *options, *tasks],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ANYTILE_TARGET": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    told = [row.get("kernel") or Path(row.get("done") or row["program"]).name.partition("::")[2] for row in rows if "ready" not in row]
    assert told == ["add_to", "add_to", "sums", "dies", "raises", "add_to", "add_to", "sums"]
    first, last = (row for row in rows[1:3])
    assert first["config"].startswith("BLOCK: 256, num_warps: 4") and last["config"].startswith("BLOCK: 1024, num_warps: 8")
    assert first["grid"] == [12] and first["us"] > 0 and first["bytes"] == 24000
    assert "error" not in rows[3] and rows[4]["status"] >> 8 == 7 and "the program's own" in rows[5]["error"]


def test_sides_are_compared_by_kind_and_best_time(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    from gpu_survey import beside

    def row(library, kind, us, kernel="k"):
        return {"library": library, "program": "p", "kernel": kernel, "grid": [1], "kind": kind, "us": us, "args": "", "regs": 32}

    rows = [row("anytile", "a", 4.0), row("anytile", "a", 2.0), row("triton", "a", 3.0), row("triton", "b", 1.0), row("anytile", "c", 1.0)]
    rows += [row("triton", "c", 0.5), {"done": "p"}, {"library": "anytile", "program": "p", "kind": "b", "error": "refused"}]
    found = beside(rows)
    assert [(each["kind"], each["ratio"]) for each in found] == [("c", 0.5), ("a", 1.5)]
    assert found[1]["us"] == 2.0 and found[1]["triton_us"] == 3.0 and found[1]["regs"] == [32, 32]
