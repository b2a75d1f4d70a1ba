"""`anytile lock` against recorded genuine metadata, served on the loopback interface: the resolver is the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lock_cases import CASES, Case
from lock_index import RecordedIndex
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

tomlkit = pytest.importorskip("tomlkit")
pytest.importorskip("uv")


@pytest.fixture(scope="module")
def index() -> Iterator[RecordedIndex]:
    served = RecordedIndex()
    yield served
    served.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def lock(folder: Path, *arguments: str, index: RecordedIndex | None = None) -> subprocess.CompletedProcess[str]:
    mirrors = [word for m in index.mirrors for word in ("--mirror", m)] if index else []
    command = [sys.executable, "-m", "anytile", "lock", *arguments, *mirrors, "--no-look-inside"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def written(folder: Path) -> str:
    files = [f for f in folder.iterdir() if f.name in ("pyproject.toml", "requirements.txt")]
    return files[0].read_text() if files else ""


# The others take half a minute each of a loaded machine; scripts/lock_requests.py runs them all, and so does ANYTILE_THOROUGH=1.
_QUICK = {"classic-poetry", "classic-uv", "classic-pip", "cpu-linux-uv", "cuda128-pip-urls", "cuda124-poetry-urls", "newest-windows-uv"}
_CASES = [c for c in CASES if c.name in _QUICK or c.error or os.environ.get("ANYTILE_THOROUGH")]


@pytest.mark.parametrize("case", _CASES, ids=lambda c: c.name)
def test_request(case: Case, tmp_path: Path, index: RecordedIndex) -> None:
    done = lock(tmp_path, *case.packages, *case.options, index=index)
    if case.error:
        assert done.returncode == 1 and case.error in " ".join(done.stderr.split())
        assert not list(tmp_path.iterdir())
        return
    assert done.returncode == 0, done.stderr
    text = written(tmp_path)
    assert index.url not in text, "the file names the servers, not their mirrors"
    for pin in case.pins:
        name, version = pin.split()
        if version == "-":
            assert not any(line.startswith(name) for line in text.splitlines())
        else:
            assert pinned(text, name, version), f"{pin} is not in\n{text}"
    if case.name == "classic-poetry":
        classic_stack(tomlkit.parse(text).unwrap()["tool"]["poetry"])
    if "poetry" in case.options:
        poetry_accepts(tmp_path, text)
    elif "uv" in case.options:
        uv_accepts(tmp_path, text, index)


def pinned(text: str, name: str, version: str) -> bool:
    lines = [x for x in text.splitlines() if x.strip().strip('"').startswith(name)]
    if not any(x.startswith((f"{name} =", f"{name}=")) or f"{name}==" in x or f"{name} @" in x or f"{name}[" in x for x in lines):
        return False
    address = version.replace("+", "%2B")
    return any(f"=={version}" in x or f'"{version}"' in x or f"-{address}-" in x for x in text.splitlines())


def classic_stack(document: dict[str, Any]) -> None:
    """What every guide to this stack has the reader type by hand."""
    assert document["source"] == [{"name": "pytorch-gpu", "url": "https://download.pytorch.org/whl/cu124", "priority": "explicit"}]
    dependencies = document["dependencies"]
    assert dependencies["python"] == ">=3.11,<3.12"
    assert dependencies["torch"] == {"version": "2.5.1+cu124", "source": "pytorch-gpu"}
    assert dependencies["xformers"] == {"version": "0.0.29.post1", "source": "pytorch-gpu"}
    assert dependencies["triton-windows"] == {"version": "3.1.0.post17", "markers": "sys_platform == 'win32'"}
    assert dependencies["unsloth"]["extras"] == ["cu124onlytorch251", "huggingface"]


def poetry_accepts(folder: Path, text: str) -> None:
    """What `poetry check` looks at before the lock file: the schema, and whether the dependencies can be read."""
    factory = pytest.importorskip("poetry.core.factory").Factory
    problems = factory.validate(tomlkit.parse(text).unwrap(), strict=True)
    assert not problems["errors"], problems
    factory().create_poetry(folder)


def uv_accepts(folder: Path, text: str, index: RecordedIndex) -> None:
    """uv locks the project from its own file: the same versions, with the addresses exchanged for the recorded index."""
    from anytile.env.lock.resolve import _uv

    for mirror in reversed(index.mirrors):
        real, served = mirror.split("=", 1)
        text = text.replace(real.removesuffix("/simple"), served.removesuffix("/simple")) if "pytorch" in real else text
    (folder / "pyproject.toml").write_text(text)
    command = [*_uv(), "lock", "--default-index", f"{index.url}/simple", "--python", sys.executable, "--no-build", "-q"]
    required = tomlkit.parse(text)["project"]["requires-python"]
    if not SpecifierSet(required).contains("{}.{}.{}".format(*sys.version_info[:3])):
        return  # uv locks a project with a Python that the project allows, and only this one is there
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    locked = {f"{p['name']}=={p['version']}" for p in tomlkit.parse((folder / "uv.lock").read_text())["package"] if "version" in p}
    for line in tomlkit.parse(text).unwrap()["project"]["dependencies"]:
        pin = Requirement(line)
        assert f"{pin.name}{pin.specifier}" in locked, (line, sorted(locked))


def test_a_second_run_changes_nothing_and_comments_stay(tmp_path: Path, index: RecordedIndex) -> None:
    before = """\
# my project
[project]
name = "demo"  # its name
version = "1.0"
requires-python = ">=3.11,<3.12"
dependencies = [
    # numerics
    "sympy",  # symbols
    "torch>=2",  # deep things
]

[tool.ruff]
line-length = 100  # wide
"""
    (tmp_path / "pyproject.toml").write_text(before)
    options = ("torch==2.8.0", "--tool", "uv", "--platform", "linux", "--cuda", "cpu")
    dry = lock(tmp_path, *options, "--dry-run", index=index)
    assert dry.returncode == 0 and (tmp_path / "pyproject.toml").read_text() == before
    assert '+    "torch==2.8.0+cpu",  # deep things' in dry.stdout and '-    "torch>=2",  # deep things' in dry.stdout
    assert lock(tmp_path, *options, index=index).returncode == 0
    after = (tmp_path / "pyproject.toml").read_text()
    for kept in ("# my project", "# its name", "# numerics", '"sympy",  # symbols', "# deep things", "line-length = 100  # wide"):
        assert kept in after
    again = lock(tmp_path, *options, index=index)
    assert "says all of this already" in again.stderr and (tmp_path / "pyproject.toml").read_text() == after
    assert sorted(f.name for f in tmp_path.iterdir()) == ["pyproject.toml"]


def test_poetry_own_table_keeps_its_entries(tmp_path: Path, index: RecordedIndex) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry]\nname = "d"\nversion = "1"\n\n[tool.poetry.dependencies]\npython = "~3.11"  # this one\nsympy = "*"\ntorch = "^2.4"  # mine\n'
    )
    assert lock(tmp_path, "torch==2.8.0", "--platform", "linux", "--cuda", "cpu", index=index).returncode == 0
    text = written(tmp_path)
    assert 'python = "~3.11"  # this one' in text and 'sympy = "*"' in text
    assert 'torch = {version = "2.8.0+cpu", source = "pytorch-cpu"} # mine' in text
    poetry_accepts(tmp_path, text)


def test_a_project_that_names_no_versions(tmp_path: Path, index: RecordedIndex) -> None:
    """Nothing is asked for: torch is pinned, and what requires it, and no more."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry]\nname = "d"\nversion = "1"\n\n[tool.poetry.dependencies]\npython = ">=3.11,<3.12"\nsympy = "*"\ntorch = "2.5.1"\nxformers = "*"\n'
    )
    done = lock(tmp_path, "--platform", "linux", index=index)
    assert done.returncode == 0, done.stderr
    text = written(tmp_path)
    assert 'torch = "2.5.1"' in text and 'sympy = "*"' in text
    assert 'xformers = "0.0.29.post1" # pyproject.toml has xformers; the newest that all of this allows' in text


def test_without_a_network_nothing_is_written(tmp_path: Path) -> None:
    dead = ("--mirror", "https://pypi.org/simple=http://127.0.0.1:9/simple")
    done = lock(tmp_path, "torch==2.8.0", "--tool", "uv", "--triton", "upstream", *dead)
    assert done.returncode == 1 and "could not reach https://pypi.org/simple" in done.stderr and "Nothing was written" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_conflict_says_why(tmp_path: Path, index: RecordedIndex) -> None:
    done = lock(tmp_path, "torch==2.8.0", "torchvision==0.20.1", "--tool", "uv", "--python", "3.11", index=index)
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert "torchvision==0.20.1 depends on torch==2.5.1" in " ".join(done.stderr.split())


def test_a_requirements_file_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("torch\n")
    done = lock(tmp_path, "torch", "--tool", "pip")
    assert done.returncode == 1 and "was not written by `anytile lock`" in done.stderr
    assert (tmp_path / "requirements.txt").read_text() == "torch\n"


def test_a_file_that_cannot_be_written(tmp_path: Path, index: RecordedIndex) -> None:
    (tmp_path / "file").write_text("")
    done = lock(tmp_path, "numpy", "--python", "3.11", "--platform", "linux", "--file", "file/requirements.txt", index=index)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "anytile: file/requirements.txt could not be written: " in done.stderr, done.stderr
