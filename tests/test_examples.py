"""The examples run and check themselves, and so does the program in the README."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(p.name for p in (ROOT / "examples").glob("*.py"))
ARGUMENTS = {"tour.py": ["--quick"], "compiled_training.py": ["--quick"]}  # sizes small enough for a test, where an example has a choice


NEEDS = {"compiled_training.py": ("torch",), "liger_training.py": ("torch", "transformers", "liger_kernel")}


def run(path: Path, *arguments: str) -> str:
    """Standard output of ``anytile run path``."""
    command = [sys.executable, "-m", "anytile", "run", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    for library in NEEDS.get(name, ()):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}")
    source = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert f"anytile run examples/{name}" in source, "an example says how it is run"
    assert "assert" in source, "an example checks its result"
    assert re.search("numpy", run(ROOT / "examples" / name, *ARGUMENTS.get(name, [])), re.IGNORECASE), "and says that it did"


def test_readme_program(tmp_path: Path) -> None:
    found = re.search(r"```python\n(# add\.py.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert found is not None
    program = tmp_path / "add.py"
    program.write_text(found[1], encoding="utf-8")
    run(program)
