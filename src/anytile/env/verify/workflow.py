"""A GitHub workflow that proves the same on other systems, Pythons and torch releases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ...errors import AnytileError
from ..facts import Facts

__all__ = ["SYSTEMS", "WorkflowError", "github_workflow", "pythons_of", "torch_of", "write_workflow"]

SYSTEMS = ("ubuntu-latest", "windows-latest", "macos-latest")
_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")  # those that anytile runs on


class WorkflowError(AnytileError):
    """The workflow cannot be written as asked."""


_TEMPLATE = """\
# Written by `anytile verify --ci github`: does this environment work on every system, Python and torch that it is for?
# A combination for which torch has no wheel is asked of the index and skipped; nothing else is.
name: environment

on:
  push:
  pull_request:
  workflow_dispatch:
  schedule:
    - cron: "17 4 * * 1"  # what was released in the meantime may break it too

permissions:
  contents: read

jobs:
  verify:
    name: ${{{{ matrix.os }}}}, Python ${{{{ matrix.python }}}}, torch ${{{{ matrix.torch }}}}
    runs-on: ${{{{ matrix.os }}}}
    timeout-minutes: 45
    strategy:
      fail-fast: false
      matrix:
        os: [{systems}]
        python: [{pythons}]
        torch: [{torches}]
    defaults:
      run:
        shell: bash
    env:
      TORCH: ${{{{ matrix.torch }}}}
      PIP_EXTRA_INDEX_URL: https://download.pytorch.org/whl/cpu
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{{{ matrix.python }}}}
          allow-prereleases: true
      - name: Is there a torch for this Python and system?
        id: wheel
        run: |
          if python -m pip download --quiet --no-deps --only-binary :all: --dest wheels "torch==$TORCH"; then
            echo "there=true" >> "$GITHUB_OUTPUT"
          else
            echo "::notice::torch $TORCH has no wheel for this Python and system"
          fi
      - name: Install
        if: steps.wheel.outputs.there == 'true'
        run: |
          python -m pip install --find-links wheels "torch==$TORCH"
          {install}
          python -m pip install anytile
          python -c 'import importlib.util, subprocess, sys; sys.exit(importlib.util.find_spec("triton") is None and subprocess.call(["anytile", "enable"]))'
      - name: A C++ compiler for torch.compile
        if: steps.wheel.outputs.there == 'true' && runner.os == 'Windows'
        uses: ilammy/msvc-dev-cmd@v1
      - name: Look
        if: steps.wheel.outputs.there == 'true'
        run: anytile doctor
      - name: Verify
        if: steps.wheel.outputs.there == 'true'
        run: anytile verify --json > verify.json || {{ cat verify.json; exit 1; }}
      - uses: actions/upload-artifact@v4
        if: always() && steps.wheel.outputs.there == 'true'
        with:
          name: verify-${{{{ matrix.os }}}}-${{{{ matrix.python }}}}-${{{{ matrix.torch }}}}
          path: verify.json
"""


def pythons_of(facts: Facts) -> tuple[str, ...]:
    """The Python of this environment and the one after it."""
    minor = facts.interpreter.minor
    at = _PYTHONS.index(minor) if minor in _PYTHONS else 1
    return _PYTHONS[at : at + 2]


def torch_of(facts: Facts) -> tuple[str, ...]:
    """The torch of this environment, without its local version: other systems have other builds of it."""
    if facts.torch is None or not facts.torch.version:
        raise WorkflowError("no torch is installed here, so the workflow cannot take its release; name releases with --torch 2.6.0,2.13.0")
    return (facts.torch.version.partition("+")[0],)


def _listed(values: Sequence[str], what: str) -> str:
    for v in values:
        if what == "system":
            if not re.fullmatch(r"[\w.-]+", v):
                raise WorkflowError(f"{v!r} is no name of a runner, such as {SYSTEMS[0]}")
            continue
        try:
            Version(v)
        except InvalidVersion:
            raise WorkflowError(f"{v!r} is no release of {what}, such as {'3.12' if what == 'Python' else '2.13.0'}") from None
    return ", ".join(f'"{v}"' for v in dict.fromkeys(values))


def _install(root: Path) -> str:
    """How the project's own requirements are added: with what the project has, so that torch stays the one of the matrix."""
    if (root / "requirements.txt").is_file():
        return 'grep -viE "^(torch|--hash|-i |--index-url)\\b" requirements.txt > others.txt; python -m pip install -r others.txt'
    if (root / "pyproject.toml").is_file() and "[project]" in (root / "pyproject.toml").read_text(encoding="utf-8", errors="replace"):
        return 'python -m pip install . "torch==$TORCH"'
    return "true  # this project names no requirements of its own"


def github_workflow(root: Path, systems: Sequence[str], pythons: Sequence[str], torches: Sequence[str]) -> str:
    """The workflow as YAML, for the project in the folder ``root``."""
    return _TEMPLATE.format(
        systems=_listed(systems, "system"), pythons=_listed(pythons, "Python"), torches=_listed(torches, "torch"), install=_install(root)
    )


def write_workflow(path: Path, text: str, overwrite: bool) -> None:
    """Writes the file; one that is there and differs is kept unless ``overwrite``."""
    if path.is_file() and path.read_text(encoding="utf-8") != text and not overwrite:
        raise WorkflowError(f"{path} is there and differs; give --overwrite to replace it, or --output FILE")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
