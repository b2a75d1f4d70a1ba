"""Commands of remedies, as the environment can carry them out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anytile.env import remedies
from anytile.env.collect import collect
from anytile.env.facts import Facts, Interpreter, Log
from anytile.env.rules.model import Finding, Fix

PYTHON = "/srv/app/.venv/bin/python"
BASE = '"C:\\Python311\\python.exe" -m pip install msvc-runtime'


def commands(given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, uv: bool = False, **known: object) -> tuple[str, ...]:
    monkeypatch.setattr(remedies.shutil, "which", lambda name: "/usr/bin/uv" if uv else None)
    facts = Facts(interpreter=replace(Interpreter(executable=PYTHON, pip=True), **known))
    [found] = remedies.fit([Finding("cause", 0.9, "summary", (), (Fix("fix", given),))], facts)
    return found.fixes[0].commands


def test_the_interpreter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ('python -m pip install "torch==2.6.0"', BASE, "poetry add torch", "rm -r cache")
    assert commands(given, monkeypatch) == (f'{PYTHON} -m pip install "torch==2.6.0"', *given[1:])
    spaces = "C:\\my envs\\Scripts\\python.exe"
    assert commands(given[:1], monkeypatch, executable=spaces) == (f'"{spaces}" -m pip install "torch==2.6.0"',)


def test_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("python -m pip uninstall -y triton", "python -m pip install --upgrade 'triton==3.2.*'", BASE)
    with_uv = (f"uv pip uninstall --python={PYTHON} -y triton", f"uv pip install --python={PYTHON} --upgrade 'triton==3.2.*'", BASE)
    assert commands(given, monkeypatch, pip=False, made_by_uv=True) == with_uv
    assert commands(given, monkeypatch, pip=False, uv=True) == with_uv
    assert commands(given, monkeypatch, pip=False) == (
        f"{PYTHON} -m ensurepip",
        f"{PYTHON} -m pip uninstall -y triton",
        f"{PYTHON} -m pip install --upgrade 'triton==3.2.*'",
        BASE,
    )


def test_a_log_tells_of_no_interpreter() -> None:
    finding = Finding("cause", 0.9, "summary", (), (Fix("fix", ("python -m pip install x",)),))
    assert remedies.fit([finding], Facts(log=Log())) == [finding]


def test_what_is_known_of_pip(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    found = collect(str(tmp_path / "env")).interpreter
    assert found.pip is False and not found.made_by_uv
    config = tmp_path / "env" / "pyvenv.cfg"
    config.write_text(config.read_text() + "uv = 0.13.9\n")
    assert collect(str(tmp_path / "env")).interpreter.made_by_uv
