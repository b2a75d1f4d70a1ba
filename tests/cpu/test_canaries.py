"""One-op kernels in processes of their own: no operation may crash the compiler or compute something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from canary_cases import cases
from test_properties import lesser_rows

from anytile.errors import UnsupportedError
from anytile.llvm import engine
from anytile.targets.cpu import machine, microkernels
from anytile.targets.cpu.driver import native_casts
from anytile.targets.cpu.machine import MACHINES, current

WORKER = Path(__file__).with_name("canary_cases.py")
FOREIGN = {"aarch64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu", "": "riscv64-unknown-linux-gnu"}
# What a run on lesser rows and on foreign machines is narrowed to: rows that arithmetic, not a pass, implements.
CORE = [c for c in cases() if not c.split()[0].startswith(("cyl", "erf", "gamma", "lgamma", "norm"))]


def judge(names: list[str], mode: str, environment: dict[str, str]) -> list[str]:
    """What went wrong, one line a case.  A case during which the process died is reported; the rest go on in a new one."""
    wrong: list[str] = []
    left = names
    while left:
        done = subprocess.run(
            [sys.executable, str(WORKER), mode], input="\n".join(left), capture_output=True, text=True, env={**os.environ, **environment}
        )
        lines = done.stdout.splitlines()
        wrong += [line for line in lines if line.startswith("bad ")]
        begun = [line.removeprefix("begin ") for line in lines if line.startswith("begin ")]
        finished = sum(line.startswith(("ok ", "bad ")) for line in lines)
        if finished == len(left):
            break
        if not begun:
            raise RuntimeError(f"the canary process did not start:\n{done.stderr}")
        wrong.append(f"crash {begun[-1]}: exit status {done.returncode}: {done.stderr[-300:]}")
        left = left[len(begun) :]
    return wrong


def test_every_row_and_element_on_this_machine() -> None:
    assert len(cases()) > 700
    assert judge(list(cases()), "run", {}) == []


@pytest.mark.parametrize("row", lesser_rows())
def test_lesser_rows(row: str) -> None:
    assert judge(CORE[:: 2 if row == "sse2" else 8], "run", {"ANYTILE_CPU": row}) == []


@pytest.mark.parametrize("architecture", [a for a in FOREIGN if a != current().architecture])
def test_foreign_architectures_compile(architecture: str) -> None:
    assert judge(CORE[::5], FOREIGN[architecture], {}) == []


@pytest.mark.parametrize("row", [m for m in MACHINES if m.architecture], ids=lambda m: m.name)
def test_microkernels_compile(row: machine.Machine) -> None:
    """Every kind that the row names is chosen for some types, and LLVM makes an object of it."""
    kinds = set()
    for element, acc in (("bfloat", "float"), ("half", "float"), ("i8", "i32"), ("float", "float"), ("double", "double"), ("i64", "i64")):
        for m, n, k in ((16, 16, 32), (64, 64, 64), (1, 8, 16)):
            try:
                kernel = microkernels.select(row, element, element, acc, m, n, k)
            except UnsupportedError:
                continue
            kinds.add(kernel.kind)
            text = kernel.emit("kernel").replace("define internal", "define")
            assert engine.compile_object(text, row.tune, row.features, triple=FOREIGN[row.architecture])
    assert kinds


def test_no_x86_machine_narrows_to_bf16_in_hardware() -> None:
    """vcvtneps2bf16 makes zeros of subnormals; torch and GPUs keep them."""
    assert [m.name for m in MACHINES if m.architecture == "x86_64" and "fpcast.f32.bf16" in native_casts(m)] == []
