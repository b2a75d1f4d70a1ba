"""Documents say what the sources say: generated parts are current, tables are complete, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("script", ["architecture_journey.py", "language_reference.py", "error_gallery.py"])
def test_generated_parts_are_current(script: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_ours_is_documented() -> None:
    read = set()
    for file in (ROOT / "src").rglob("*.py"):
        read |= set(re.findall(r"[\"'](ANYTILE_[A-Z_]+)[\"']", file.read_text(encoding="utf-8")))
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Environment variables")[2]
    documented = set(re.findall(r"`(ANYTILE_[A-Z_]+)`", table.partition("\n## ")[0]))
    assert documented == read


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}, which does not exist"
