"""Every elementwise row on every element type, and random programs: nothing crashes the code generator or LLVM.

LLVM aborts the process on what it cannot select, so rows are compiled in a process of their own: this file, run as a program
with an architecture, a first case and a step, writes the name of each case before it compiles it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "cpu"


def compile_rows(arch: int, first: int, step: int) -> None:
    sys.path.insert(0, str(CASES))
    from canary_cases import build, cases

    from anytile.runtime.options import Options
    from anytile.targets.nvidia.chips import chip
    from anytile.targets.nvidia.codegen import lower
    from anytile.targets.nvidia.target import make_ptx

    for name in list(cases())[first::step]:
        print(name, flush=True)
        text, _ = lower(build(name)[0], Options(num_warps=1), chip(arch))
        ptx = make_ptx(text, chip(arch), level="none")
        assert ".extern .func" not in ptx, f"{name} calls a function that no GPU has"


@pytest.mark.parametrize("arch,first", [(75, 0), (80, 4), (90, 8), (120, 12)])
def test_rows_compile(arch, first):
    done = subprocess.run([sys.executable, __file__, str(arch), str(first), "16"], capture_output=True, text=True)
    last = (done.stdout.splitlines() or ["nothing"])[-1]
    assert done.returncode == 0, f"at {last!r}: {done.stderr[-1500:]}"


def test_random_programs_compile():
    from hypothesis import HealthCheck, given, settings
    from programs import tile_programs

    from anytile.runtime.options import Options
    from anytile.targets.nvidia.chips import chip
    from anytile.targets.nvidia.codegen import lower
    from anytile.targets.nvidia.target import make_ptx

    @settings(max_examples=15, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(tile_programs())
    def check(program):
        text, _ = lower(program.module, Options(num_warps=4), chip(90))
        make_ptx(text, chip(90), level="none")

    check()


if __name__ == "__main__":
    compile_rows(*map(int, sys.argv[1:]))
