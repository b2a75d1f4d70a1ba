"""Random programs leave the same memory on the CPU target as on the reference target.

Integers and single float operations agree exactly (contraction is off, float reductions are minima and maxima).
The narrower machine rows run in processes of their own: ``ANYTILE_CPU`` is read once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from programs import TileProgram, assert_agree, tile_programs
from strategies import Program, assert_same, examples, programs

from anytile.errors import AnytileError
from anytile.ir.parser import parse_module
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.machine import MACHINES, _current, current
from anytile.targets.reference import ReferenceTarget

OPTIONS = types.SimpleNamespace(enable_fp_fusion=False)
RELAXED = dict(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
EXAMPLES = examples(50)


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


@settings(max_examples=EXAMPLES, **RELAXED)
@given(program=tile_programs())
def test_tiles_of_real_size(program: TileProgram) -> None:
    for n, m in ((20, 3), (0, 64)):
        want = program.run(ReferenceTarget(), OPTIONS, n, m)
        again = TileProgram(parse_module(str(program.module)))  # compiling rewrites the module
        assert_agree(again.run(CpuTarget(), OPTIONS, n, m), want)


@settings(max_examples=EXAMPLES, **RELAXED)
@given(program=programs())
def test_small_tiles(program: Program) -> None:
    want = program.run(ReferenceTarget(), n=3, m=4)
    got = Program(parse_module(str(program.module))).run(CpuTarget(), n=3, m=4)
    assert_same(got, want, rtol=1e-6)


def lesser_rows() -> list[str]:
    out = []
    for row in MACHINES:
        try:
            _current.__wrapped__(row.name)
        except AnytileError:
            continue
        if row.name not in (current().name, "generic"):
            out.append(row.name)
    return out


@pytest.mark.skipif("ANYTILE_CPU" in os.environ, reason="runs every row itself")
@pytest.mark.parametrize("row", lesser_rows())
def test_lesser_machines_agree(row: str) -> None:
    here = Path(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(here), str(here.with_name("test_memory_order.py"))]
    done = subprocess.run(
        command,
        env={**os.environ, "ANYTILE_CPU": row, "ANYTILE_TEST_EFFORT": str(examples(50) / 100)},
        capture_output=True,
        text=True,
        cwd=here.parents[2],
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
