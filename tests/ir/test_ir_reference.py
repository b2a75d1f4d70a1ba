"""docs/ir-reference.md is what the operation table says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_reference_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "ir_reference.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
