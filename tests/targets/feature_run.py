"""Runs a case of the table on one target, or compiles it.

As a program: ``python tests/targets/feature_run.py TARGET CASE`` runs one case in a process of its own, for kernels whose assertion
fails: afterwards a GPU serves the process no more.  The message stands on standard error, the exit status is 1.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from feature_table import DTYPES, Array, Case, load_all

from anytile.frontend import trace
from anytile.ir import Module
from anytile.ir.verifier import verify
from anytile.runtime.driver import GPUTarget, machine_arch, target_object
from anytile.runtime.options import Options
from anytile.targets import formats
from anytile.targets.base import Artifact, struct_format

__all__ = ["TARGETS", "Outcome", "compiled", "difference", "message_of_failure", "run", "target", "traced"]

TARGETS = ("reference", "cpu", "cuda")


@dataclass
class Outcome:
    """What a case left: ``arrays`` by parameter as they lie in memory, and the set of ``lines`` that it printed."""

    arrays: dict[str, np.ndarray]
    lines: set[str] = field(default_factory=set)


def target(name: str, arch: int = 0) -> GPUTarget:
    """``arch``: the GPU to compile for; 0 is the one of this machine."""
    if name != "cuda":
        return GPUTarget(name, machine_arch(), 1)
    if not arch:
        from anytile.targets.nvidia import driver_api

        arch = driver_api.cuda().device(0).arch
    return GPUTarget("cuda", arch, 32)


def traced(case: Case, on: GPUTarget) -> tuple[Module, Options]:
    # The dots of every target are made the same way, or there would be nothing to compare.
    options = Options.of({"default_dot_input_precision": "ieee", "debug": True, "sanitize_overflow": False, **case.options}, on, case.name)
    module = trace(case.source, *case.signature(), options)
    verify(module)
    return module, options


def compiled(case: Case, on: GPUTarget) -> Artifact:
    module, options = traced(case, on)
    return target_object(on).compile(module, options)


def run(case: Case, name: str) -> Outcome:
    """``case`` on the target ``name``.  RuntimeError where an assertion of the kernel fails."""
    on = target(name)
    module, options = traced(case, on)
    slots = struct_format([a.type for a in module.kernel.args])
    machine = target_object(on)
    loaded = machine.load(machine.compile(module, options))
    values = case.values()
    grid = (*case.grid, 1, 1)[:3]
    # A failed assertion's message must come out, so only what is compared is kept back.
    with printed_lines() if case.printed else nullcontext(set()) as lines, np.errstate(all="ignore"):
        if name == "cuda":
            _on_gpu(loaded, slots, values, grid)
        else:
            loaded.run(struct.pack(slots, *(v.ctypes.data if isinstance(v, np.ndarray) else v for v in values.values())), *grid)
    return Outcome({n: v for n, v in values.items() if isinstance(v, np.ndarray)}, lines)


def _on_gpu(loaded: Any, slots: str, values: dict[str, Any], grid: tuple[int, ...]) -> None:
    """Launches with copies of the arrays in GPU memory and copies them back."""
    from anytile.targets.nvidia import driver_api

    device = driver_api.cuda().device(0)
    memory = {n: driver_api.DeviceMemory(device, max(v.nbytes, 16)) for n, v in values.items() if isinstance(v, np.ndarray)}
    for n, m in memory.items():
        m.write(values[n].tobytes())
    with device.current():
        loaded.run(struct.pack(slots, *(memory[n].address if n in memory else v for n, v in values.items())), *grid)
        driver_api.cuda().synchronize()
    for n, m in memory.items():
        values[n] = np.frombuffer(m.read()[: values[n].nbytes], values[n].dtype).reshape(values[n].shape)


@contextmanager
def printed_lines() -> Iterator[set[str]]:
    """What is written to the process's standard output inside, by Python or by C, line by line."""
    lines: set[str] = set()
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lines
        finally:
            sys.stdout.flush()
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            lines.update(file.read().decode().splitlines())


def difference(case: Case, name: str, got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference of elements of argument ``name``, relative to the largest of their row (the last dimension).

    Infinite where NaN or ∞ stand elsewhere, and where integers differ.
    """
    argument = case.arguments[name]
    assert isinstance(argument, Array)
    element = DTYPES[argument.kind].element()
    if not element.is_float:
        return 0.0 if np.array_equal(got, want) else float("inf")
    got, want = (formats.decode(x, element).astype(np.float64) for x in (got, want))
    if np.array_equal(got, want, equal_nan=True):
        return 0.0
    special = ~np.isfinite(want)
    if not np.array_equal(got[special], want[special], equal_nan=True) or not np.isfinite(got[~special]).all():
        return float("inf")
    apart, size = (np.where(special, 0, np.abs(x)).reshape(-1, want.shape[-1]) for x in (got - np.where(special, 0, want), want))
    return float(np.max(apart.max(axis=1) / np.maximum(size.max(axis=1), 1e-30)))


def message_of_failure(case: Case, name: str) -> str:
    """What is said when the assertion of ``case`` fails on the target ``name``; empty where nothing fails."""
    if name != "cuda":
        try:
            run(case, name)
        except RuntimeError as error:
            return str(error)
        return ""
    done = subprocess.run([sys.executable, __file__, name, case.name], capture_output=True, text=True, timeout=120)
    return (done.stdout + done.stderr) if done.returncode else ""


def failure_matches(case: Case, name: str) -> bool:
    return re.search(case.fails, message_of_failure(case, name)) is not None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    run(load_all()[sys.argv[2]], sys.argv[1])
