"""The API level changes what the host finds, not what kernels can do: one program, old and new at once, at every level."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program_of_all_releases.py")


@pytest.mark.parametrize("level", [f"3.{minor}" for minor in range(10)])
def test_one_program_at_every_level(level):
    done = subprocess.run(
        [sys.executable, "-m", "anytile", "run", str(PROGRAM)],
        env={**os.environ, "ANYTILE_TRITON_API": level},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    version, host, *right = done.stdout.split()
    assert version.startswith(level) and set(right) == {"right"} and len(right) == 3
    # On the host the names are those of the release, so that libraries that ask choose as they would there.
    found = dict(zip(("squeeze", "make_tensor_descriptor", "atomic_load"), host.split(",")))
    since = {"squeeze": 7, "make_tensor_descriptor": 4, "atomic_load": 9}
    assert found == {name: str(int(level[2:]) >= release) for name, release in since.items()}
