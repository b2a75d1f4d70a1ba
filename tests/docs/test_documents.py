"""Documents say what the sources say: generated parts are current, tables are complete, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "bench" / "results"
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), RESULTS / "README.md"]
# What stands in backticks, and indented lines up to what explains them, two spaces on.
_COMMAND = re.compile(r"(?:`|^ {4})((?:\S*/bin/)?(?:anytile|python3?) [^`\n]*?)(?=`| {2,}|\n)", re.MULTILINE)


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


def _commands(document: Path) -> list[list[str]]:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    return [command.split() for command in _COMMAND.findall(text + "\n")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_commands_exist(document: Path) -> None:
    """`anytile` knows the subcommands and options that a document uses, and programs of this repository exist and know theirs."""
    from anytile.cli.app import COMMANDS, GROUPS

    for program, *words in _commands(document):
        line = " ".join([program, *words])
        if program.endswith("anytile") and words[0] != "run":
            taken = 2 if " ".join(words[:2]) in COMMANDS else 1
            name, words = " ".join(words[:taken]), words[taken:]
            if name == "--version" or name in GROUPS and not words:
                continue
            assert name in COMMANDS, f"{document.name}: `{line}`: no command {name}"
            known = set(COMMANDS[name].parser()._option_string_actions)
            words = words[: words.index("--")] if "--" in words else words
        else:
            script = next((w for w in words if w.startswith(("bench/", "scripts/", "examples/"))), None)
            if script is None:
                continue
            source = ROOT / script
            assert source.is_file(), f"{document.name}: `{line}`: there is no {script}"
            words = words[words.index(script) + 1 :]
            words = words[: words.index("HARNESS")] if "HARNESS" in words else words  # what follows is the harness's
            known = set(re.findall(r"--[a-z][\w-]*", source.read_text(encoding="utf-8")))
        unknown = [w for w in words if re.match(r"--?[a-z]", w) and w.partition("=")[0] not in known]
        assert not unknown, f"{document.name}: `{line}`: {unknown} is no option"


def test_every_result_is_listed_and_every_listed_result_is_there() -> None:
    """The table names files in its first column; `…-b.jsonl` after `x-a.jsonl` is the file that begins as that one does."""
    listed: set[str] = set()
    there = {f.name for f in RESULTS.iterdir() if f.suffix in (".jsonl", ".txt")}
    for cell in re.findall(r"^\| ([^|]*\.(?:jsonl|txt)) \|", (RESULTS / "README.md").read_text(encoding="utf-8"), re.M):
        first, *others = cell.split(", ")
        listed.add(first)
        for other in others:
            ends = [name for name in there - {first} if name.endswith(other.lstrip("…"))]
            listed.add(max(ends, key=lambda name: len(os.path.commonprefix([name, first])), default=other))
    assert listed == there
