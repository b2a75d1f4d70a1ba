"""The README's test line on a machine without torch: what test files import at their top comes with the extra `test`."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import tomlkit

TESTS = Path(__file__).parent
SHORTER = {"poetry_core": "poetry"}  # a requirement → the package that it brings


def test_collecting_needs_only_the_extra_test() -> None:
    """Anything else is asked for by `pytest.importorskip`; CI, which has torch and what torch brings, would not notice it missing."""
    project = tomlkit.parse((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = [re.split(r"[^\w-]", text)[0].replace("-", "_") for text in (*project["dependencies"], *extras["test"], *extras["lock"])]
    ours = {f.stem for folder in (TESTS, TESTS.parent / "scripts") for f in folder.rglob("*.py")} | {"anytile", "triton"}
    given = {SHORTER.get(n, n) for n in names} | sys.stdlib_module_names | ours
    wrong = []
    for file in sorted(TESTS.rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            wrong += [f"{file.relative_to(TESTS)}:{node.lineno} imports {m}" for m in modules if m.partition(".")[0] not in given]
    assert not wrong, "not in the extra `test`:\n  " + "\n  ".join(wrong)
