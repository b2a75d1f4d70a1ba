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


SUMS = """
import anytile; anytile.install()
import numpy as np, triton, triton.language as tl

@triton.jit
def add_up(x, o):
    tl.store(o, tl.sum(tl.load(x + tl.arange(0, 2)), 0))

out = np.zeros(1, np.int32)
add_up[(1,)](np.full(2, 100, np.int8), out)
print(out[0])
"""


@pytest.mark.parametrize(("level", "total"), [("3.2", "-56"), ("3.3", "200")])
def test_sums_of_narrow_integers(tmp_path, level, total):
    """Up to 3.2 they keep their type; torch 2.6 relies on it where it sorts truth values."""
    program = tmp_path / "sums.py"
    program.write_text(SUMS)
    environment = {**os.environ, "ANYTILE_TRITON_API": level, "ANYTILE_TARGET": "cpu"}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.strip() == total, done.stderr


HOST_FUNCTIONS = """
import anytile; anytile.install()
import numpy as np, triton, triton.language as tl

def plain(n):
    return n + 1

@tl.constexpr_function
def more(n):
    return plain(n)

@triton.jit
def store(o):
    tl.store(o, more(3))

out = np.zeros(1, np.int32)
store[(1,)](out)
print(out[0], more(4))
"""


def test_functions_that_run_on_the_host_in_3_4(tmp_path):
    """There they lie in ``triton.language`` and may call any function, as those of that release's triton_kernels do."""
    program = tmp_path / "host.py"
    program.write_text(HOST_FUNCTIONS)
    done = subprocess.run(
        [sys.executable, str(program)], env={**os.environ, "ANYTILE_TRITON_API": "3.4"}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["4", "5"], done.stderr
