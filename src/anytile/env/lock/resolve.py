"""uv finds the versions: one run for each platform and Python, in a folder of its own.

The folder holds a project that asks for the same as the user's, with the same indexes. So what uv finds there, it finds again from
the file that is written at the end.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .errors import ConflictError, LockError, NetworkError
from .index import Mirrors
from .request import Platform, Request, Target, marker_for

__all__ = ["Package", "Question", "Solution", "Source", "resolve"]

_SECONDS = 540
_AT_ONCE = 4
_YOU = "you"  # how the folder's project is called in what is handed back


@dataclass(frozen=True)
class Source:
    """An index beside the default one. An explicit one serves those packages only which name it."""

    name: str
    url: str
    explicit: bool = True


@dataclass(frozen=True)
class Package:
    """One package of a solution. ``via`` are the packages that ask for it, "you" among them."""

    name: str
    version: Version | None  # None: given by its URL
    hashes: tuple[str, ...] = ()  # "sha256:…"
    via: tuple[str, ...] = ()
    url: str | None = None


Solution = dict[str, Package]


@dataclass(frozen=True)
class Question:
    """What uv is asked. ``sourced`` packages come from the source of that name, on the platforms given."""

    roots: tuple[Requirement, ...]
    sources: tuple[Source, ...] = ()
    sourced: dict[str, tuple[str, tuple[Platform, ...]]] = field(default_factory=dict)
    constraints: tuple[Requirement, ...] = ()
    left_out: tuple[str, ...] = ()  # packages that nothing may bring in
    mirrors: Mirrors = field(default_factory=Mirrors)
    default_index: str | None = None


def _uv() -> list[str]:
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    if found is None:
        raise LockError("uv is needed to find versions and is not installed: run `pip install uv`")
    return [found]


def _project(question: Question, python: str, platforms: tuple[Platform, ...]) -> str:
    import tomlkit

    document = tomlkit.document()
    document["project"] = {
        "name": "anytile-lock",
        "version": "0",
        "requires-python": f">={python}",
        "dependencies": [str(r) for r in question.roots],
    }
    settings: dict[str, object] = {
        "constraint-dependencies": [str(r) for r in question.constraints],
        "override-dependencies": [f"{name}; sys_platform == 'never'" for name in question.left_out],
        "index": [
            {"name": s.name, "url": question.mirrors.ask(s.url), **({"explicit": True} if s.explicit else {})} for s in question.sources
        ]
        + ([{"name": "default", "url": question.default_index, "default": True}] if question.default_index else []),
    }
    settings["sources"] = {
        name: [{"index": source, "marker": marker}] if (marker := marker_for(where, platforms)) else {"index": source}
        for name, (source, where) in question.sourced.items()
    }
    document["tool"] = {"uv": settings}
    return tomlkit.dumps(document)


def resolve(question: Question, request: Request, told: Callable[[Target], None] = lambda _: None) -> dict[Target, Solution]:
    """A solution for each target of the request; ``told`` hears of each that is done.

    Raises `ConflictError` with the resolver's own explanation where there is none, `NetworkError` where an index did not answer.
    """
    uv = _uv()
    with tempfile.TemporaryDirectory(prefix="anytile-lock-") as folder:

        def one(target: Target) -> Solution:
            home = Path(folder) / f"{target.platform.name}-{target.python}"
            home.mkdir()
            (home / "pyproject.toml").write_text(_project(question, target.python, request.platforms), encoding="utf-8")
            result = _run(uv, home, target, question)
            told(target)
            return result

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(request.targets, pool.map(one, request.targets), strict=True))


def _run(uv: list[str], home: Path, target: Target, question: Question) -> Solution:
    command = [*uv, "pip", "compile", "pyproject.toml", "--python", sys.executable, "--python-version", target.python]
    command += ["--python-platform", target.platform.uv, "--generate-hashes", "--no-header", "--annotation-style", "line"]
    command += ["--quiet", "--color", "never", "--only-binary", ":all:"]
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_PROJECT", "UV_CONSTRAINT", "UV_OVERRIDE")}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment.setdefault("MACOSX_DEPLOYMENT_TARGET", "14.0")  # uv would take 13, for which wheels are no longer built
    try:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as e:
        raise LockError(f"uv found no answer for {target} within {_SECONDS} s; nothing was written") from e
    if done.returncode == 0:
        return parse(done.stdout)
    raise _failure(target, done.stderr.strip(), question.mirrors)


def _failure(target: Target, said: str, mirrors: Mirrors) -> LockError:
    address = re.search(r"(?:Failed to fetch|error sending request for url)[:\s(]*`?(https?://[^`\s)]+)", said)
    if address or "Connectivity is disabled" in said or "dns error" in said:
        causes = re.findall(r"(?:Caused by|cause): (.*)", said)
        return NetworkError(
            mirrors.name(address[1]) if address else "the package index", causes[-1].strip() if causes else said.splitlines()[-1]
        )
    for mirror, real in ((there, here) for here, there in mirrors.pairs):
        said = said.replace(mirror, real)
    return ConflictError(str(target), said.replace("anytile-lock==0", "the request").replace("anytile-lock", "the request"))


def parse(text: str) -> Solution:
    """What `uv pip compile` prints, with the annotations on one line."""
    solution: Solution = {}
    name, version, url, hashes = "", None, None, []  # type: str, Version | None, str | None, list[str]
    for line in text.splitlines():
        stripped = line.strip().rstrip("\\").strip()
        if stripped.startswith("--hash="):
            hashes.append(stripped[7:])
        elif stripped.startswith("# via"):
            asked = tuple(_who(w) for w in stripped[5:].split(",") if w.strip() and not w.strip().startswith("-"))
            solution[name] = Package(name, version, tuple(hashes), asked, url)
        elif stripped and not stripped.startswith("#"):
            requirement = Requirement(stripped.split(" --hash")[0].strip())
            name, url, hashes = canonicalize_name(requirement.name), requirement.url, []
            version = None if url else Version(next(iter(requirement.specifier)).version)
            solution[name] = Package(name, version, (), (), url)
    return solution


def _who(word: str) -> str:
    word = word.strip()
    return _YOU if word.startswith("anytile-lock") else canonicalize_name(word.split(" ")[0])
