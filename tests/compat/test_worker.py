"""What torch's compile workers get from the process that forks them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

# Said by the process that runs the file: what `triton_key` has imported.
PROGRAM = """
import sys
import anytile
anytile.install()
import torch
from triton.runtime.cache import triton_key
assert triton_key() == triton_key()
print("anytile.targets.cpu.program" in sys.modules)
"""


@pytest.mark.parametrize(("name", "loads"), [("torch/_inductor/compile_worker/__main__.py", True), ("program.py", False)])
def test_the_process_that_forks_the_workers_loads_the_compiler(tmp_path, name, loads):
    program = tmp_path / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(PROGRAM)
    environment = {**os.environ, "ANYTILE_TARGET": "cpu", "ANYTILE_CACHE_DIR": str(tmp_path), "ANYTILE_TRITON_API": "3.6"}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.strip() == str(loads), done.stderr
