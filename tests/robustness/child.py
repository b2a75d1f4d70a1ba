"""Programs in processes of their own, for tests that kill, fork, interrupt and exhaust them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

#: ``ANYTILE_THOROUGH=1``: the sizes that the project promises; else smaller ones that fit a test run.
THOROUGH = os.environ.get("ANYTILE_THOROUGH", "") == "1"

# Two quick kernels and one of several thousand instructions, whose compilation takes long enough to be hit by signals.
KERNELS = """
import os, signal, sys, threading, time
import numpy as np
import anytile.language as tl
from anytile.runtime.jit import jit

@jit
def add(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i, mask=i < n) + tl.load(y + i, mask=i < n), mask=i < n)

@jit
def softmax(x, o, n, B: tl.constexpr):
    i = tl.program_id(0) * n + tl.arange(0, B)
    v = tl.load(x + i, mask=tl.arange(0, B) < n, other=-float("inf"))
    v = tl.exp(v - tl.max(v, 0))
    tl.store(o + i, v / tl.sum(v, 0), mask=tl.arange(0, B) < n)

@jit
def long(x, o, ROUNDS: tl.constexpr):
    v = tl.load(x + tl.arange(0, 16))
    for r in tl.static_range(ROUNDS):
        v = tl.sin(v) * tl.cos(v + r) + tl.exp(-v * v)
    tl.store(o + tl.arange(0, 16), v)

@jit
def spin(o, n):
    v = 0
    for i in range(n):
        v = v * 5 + i
    tl.store(o + tl.program_id(0), v)

def check_add(n=1000, block=256):
    x, y, o = np.arange(n, dtype="f4"), np.ones(n, "f4"), np.zeros(n, "f4")
    add[(-(-n // block),)](x, y, o, n, B=block)
    assert (o == x + 1).all(), o

def check_softmax(rows=3, n=100):
    x, o = np.random.default_rng(1).random((rows, n), "f4"), np.zeros((rows, n), "f4")
    softmax[(rows,)](x, o, n, B=128)
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.allclose(o, e / e.sum(1, keepdims=True), atol=1e-5)

def check_long(rounds=12):
    x, o = np.linspace(0, 1, 16, dtype="f4"), np.zeros(16, "f4")
    long[(1,)](x, o, rounds)
    for r in range(rounds):
        x = np.sin(x) * np.cos(x + r) + np.exp(-x * x)
    assert np.allclose(o, x, atol=1e-3)

def check_all():
    check_add(); check_softmax(); check_long()
"""


def start(folder: Path, code: str, **environment: str) -> subprocess.Popen[str]:
    """A process that runs `KERNELS` and then ``code`` with its compile cache in ``folder/cache``."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"program{len(list(folder.glob('program*')))}.py"
    program.write_text(textwrap.dedent(code))
    kernels = folder / "kernels.py"  # one file, so that every process has the same kernels
    if not kernels.exists():
        kernels.write_text(KERNELS)
    launcher = f"import sys; sys.path.insert(0, {str(folder)!r}); from kernels import *; from pathlib import Path; "
    launcher += f"exec(Path({str(program)!r}).read_text())"
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON_", "ANYTILE_"))}
    return subprocess.Popen(
        [sys.executable, "-c", launcher],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**settings, "ANYTILE_CACHE_DIR": str(folder / "cache"), **environment},
    )


def run(folder: Path, code: str, timeout: float = 120, **environment: str) -> str:
    """`start` to the end; what it printed.  AssertionError with its errors where it fails."""
    child = start(folder, code, **environment)
    try:
        out, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        raise AssertionError(f"still running after {timeout} s: {child.communicate()}") from None
    assert child.returncode == 0, f"exit status {child.returncode}\n{out}\n{errors}"
    return out
