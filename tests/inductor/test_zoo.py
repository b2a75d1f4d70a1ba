"""Small members of the model zoo, compiled through anytile and compared with eager, forward and backward.

The whole zoo takes minutes: `python bench/zoo.py`, and under many releases of torch scripts/zoo.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

BENCH = Path(__file__).parents[2] / "bench"
FAST = "mlp,scatter_gather,dynamic_shapes,user_kernel,triton_op"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """One run of the zoo's program: compile workers take some seconds to start, so the members share them."""
    out = tmp_path_factory.mktemp("zoo") / "rows.jsonl"
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(out.parent / "cache")}
    done = subprocess.run(
        [sys.executable, str(BENCH / "zoo.py"), "--only", FAST, "--set", "triton.autotune_pointwise=False", "--out", str(out)],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines, done.stderr
    # Nothing of torch's analysis gave up on a kernel of the user's.
    assert "assuming every input is mutated" not in done.stderr
    return {line["member"]: line for line in lines if "member" in line}


@pytest.mark.parametrize("name", FAST.split(","))
def test_a_member_is_equal_to_eager(rows, name):
    row = rows[name]
    assert row["state"] == "equal", row
    assert row["triton_kernels"] > 0 and row["cpp_kernels"] == 0
