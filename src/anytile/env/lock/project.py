"""What the user's own file already says: which tool reads it, which Pythons it is for, what it depends on, where from."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..managers import manager_of
from .errors import LockError, RequestError
from .index import PYPI
from .request import parse_requirement
from .resolve import Source

__all__ = ["HEADER", "Project", "caret", "read"]

HEADER = "# Written by `anytile lock`."  # how a requirements file of ours begins; no other is overwritten


@dataclass(frozen=True)
class Project:
    """A project file as found. ``text`` is empty where there is none yet."""

    path: Path
    tool: str
    text: str = ""
    python: str | None = None
    dependencies: tuple[Requirement, ...] = ()
    sources: tuple[Source, ...] = ()
    sourced: tuple[tuple[str, str], ...] = ()  # (package, source) as the file has it, where it holds on every platform
    notes: tuple[str, ...] = ()


def read(path: Path | None, tool: str | None, folder: Path) -> Project:
    """The project in ``folder``, or the file ``path``.

    Raises `RequestError` where the file is no such file, and `LockError` without tomlkit, which comes with an extra of anytile.
    """
    if importlib.util.find_spec("tomlkit") is None:
        raise LockError(
            "files are edited by tomlkit, and it is not installed: run `pip install tomlkit uv`, which is what the extra anytile[lock] names"
        )
    notes: tuple[str, ...] = ()
    if path is None:
        pyproject, requirements = folder / "pyproject.toml", folder / "requirements.txt"
        path = requirements if tool == "pip" or (tool is None and not pyproject.exists()) else pyproject
        notes = _others(path, tool, folder)
    if not path.exists():
        return Project(path, tool or ("uv" if path.suffix == ".toml" else "pip"), notes=notes)
    with path.open(encoding="utf-8", newline="") as f:  # line ends stay what they are
        text = f.read()
    if path.suffix != ".toml":
        if tool not in (None, "pip"):
            raise RequestError(f"{path} is for pip; {tool} reads pyproject.toml (--file)")
        return _requirements(path, text, notes)
    return _pyproject(path, text, tool, folder, notes)


#: Files that say what a project depends on, and are not read.
_UNREAD = ("setup.cfg", "setup.py", "environment.yml", "environment.yaml", "Pipfile", "pixi.toml")


def _others(path: Path, tool: str | None, folder: Path) -> tuple[str, ...]:
    """What to know where the project is another manager's, or files speak of it that are not read.

    Raises `RequestError` where the file is there and its manager reads no table that could be written.
    """
    manager, notes = manager_of(folder), []
    if manager is not None and tool is None and path.suffix == ".toml":
        if manager.tool != "hatch":
            raise RequestError(
                f"{path} is {manager.name}'s, which reads neither uv's nor Poetry's tables: give --file requirements.lock and what is wanted "
                "for a list with hashes, or --tool uv to have uv's tables written into it all the same"
            )
        notes.append(
            "this project is Hatch's, which reads [project] alone: what [tool.uv] says of sources and of Triton holds where uv installs"
        )
    if path.suffix != ".toml":
        unread = [name for name in _UNREAD if (folder / name).is_file()]
        notes += [f"{name} was not read: what it depends on took part only where you named it" for name in unread]
    return tuple(notes)


def _requirements(path: Path, text: str, notes: tuple[str, ...]) -> Project:
    if not text.startswith(HEADER) and text.strip():
        raise RequestError(
            f"{path} was not written by `anytile lock` and would be replaced as a whole: "
            "name another file with --file, such as requirements.lock, and give what is wanted on the command line"
        )
    return Project(path, "pip", text, notes=notes)


def _pyproject(path: Path, text: str, tool: str | None, folder: Path, told: tuple[str, ...]) -> Project:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: Mapping[str, Any] = tomlkit.parse(text).unwrap()
    except TOMLKitError as e:
        raise RequestError(f"{path} is no valid TOML: {e}") from e
    tools, project = document.get("tool", {}), document.get("project", {})
    poetry, uv = tools.get("poetry", {}), tools.get("uv", {})
    known = "poetry" if poetry or (folder / "poetry.lock").exists() else "uv"
    notes = [*told, *_beyond(document, path)]
    local = {canonicalize_name(n): k for table in (poetry.get("dependencies", {}), uv.get("sources", {})) for n, k in _local(table)}
    dependencies = [r for r in map(parse_requirement, map(str, project.get("dependencies", ()))) if canonicalize_name(r.name) not in local]
    if project.get("dependencies"):
        notes += [f"{name} comes from {kind} and took no part in the search" for name, kind in local.items()]
    python = project.get("requires-python")
    for name, value in poetry.get("dependencies", {}).items():
        if name.lower() == "python":
            python = python or caret(str(value))
        elif not project.get("dependencies"):
            dependencies += _of_poetry(name, value, notes)
    sources = [
        Source(s["name"], s["url"], s.get("priority") == "explicit")
        for s in poetry.get("source", ())
        if s.get("url") and s["url"].rstrip("/") != PYPI
    ] + [Source(s["name"], s["url"], bool(s.get("explicit"))) for s in uv.get("index", ()) if s.get("name") and not s.get("default")]
    pairs = {n: v["source"] for n, v in poetry.get("dependencies", {}).items() if isinstance(v, Mapping) and "source" in v}
    pairs |= {n: v["index"] for n, v in uv.get("sources", {}).items() if isinstance(v, Mapping) and "index" in v and "marker" not in v}
    sourced = tuple((canonicalize_name(n), s) for n, s in pairs.items())
    return Project(path, tool or known, text, python, tuple(dependencies), tuple(sources), sourced, tuple(notes))


_ELSEWHERE = {"workspace": "a workspace", "path": "a path", "git": "a repository", "url": "a URL"}


def _local(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The packages that a table of sources takes from elsewhere than an index, and from where."""
    for name, entry in table.items():
        entries = entry if isinstance(entry, list) else [entry]
        kinds = [where for e in entries if isinstance(e, Mapping) for k, where in _ELSEWHERE.items() if e.get(k)]
        if kinds and len(kinds) == len(entries):
            yield name, kinds[0]


def _beyond(document: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Notes on requirements of the project that are in other tables, and on the workspace that it may be a part of."""
    tools, project = document.get("tool", {}), document.get("project", {})
    groups = [name for name, g in tools.get("poetry", {}).get("group", {}).items() if g.get("dependencies")]
    groups += [name for name, entries in document.get("dependency-groups", {}).items() if entries]
    groups += [name for name, entries in project.get("optional-dependencies", {}).items() if entries]
    if groups:
        yield (
            f"what the group{'s' * (len(groups) > 1)} {', '.join(dict.fromkeys(groups))} ask{'s' * (len(groups) == 1)} for took no part in "
            "the search: name it on the command line, too, where it has to fit"
        )
    if root := _workspace(path.resolve().parent):
        yield (
            f"this is a part of the workspace in {root}, and uv reads environments and override-dependencies from there alone: "
            "run `anytile lock` there"
        )


def _workspace(folder: Path) -> Path | None:
    """The folder of the uv workspace that the project in ``folder`` is a member of."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    for above in folder.parents:
        try:
            tools = tomlkit.parse((above / "pyproject.toml").read_text(encoding="utf-8")).unwrap().get("tool", {})
        except (OSError, ValueError, TOMLKitError):
            continue
        members = tools.get("uv", {}).get("workspace", {}).get("members", ())
        if any(folder in above.glob(str(m)) for m in members):
            return above
    return None


def _of_poetry(name: str, value: Any, notes: list[str]) -> Iterator[Requirement]:
    """One entry of Poetry's own table as requirements. What no index has (paths, repositories) is left to Poetry, and said."""
    for entry in value if isinstance(value, list) else [value]:
        table: Mapping[str, Any] = {"version": entry} if isinstance(entry, str) else entry
        if table.get("optional"):
            continue
        if "url" not in table and "version" not in table:
            notes.append(f"{name} comes from {next(iter(table), 'nowhere')} and took no part in the search")
            continue
        extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
        markers = [f"({table['markers']})"] if table.get("markers") else []
        if table.get("python"):
            markers += [f"python_version {s}" for s in _quoted(caret(str(table["python"])))]
        if table.get("platform"):
            markers.append(f"sys_platform == '{table['platform']}'")
        what = f" @ {table['url']}" if "url" in table else caret(str(table["version"]))
        yield parse_requirement(f"{name}{extras}{what}{' ; ' + ' and '.join(markers) if markers else ''}")


def _quoted(specifier: str) -> list[str]:
    return [re.sub(r"^([<>=!~]+)\s*(.*)$", r"\1 '\2'", s.strip()) for s in specifier.split(",") if s.strip()]


def caret(constraint: str) -> str:
    """Poetry's ways of saying a range (`^1.2`, `~1.2`, `1.2`, `1.2.*`, `*`) in those of every other tool."""
    parts = []
    for part in (p.strip() for p in constraint.split(",")):
        sign, number = re.match(r"(\^|~(?!=))?\s*(.*)", part).groups()  # type: ignore[union-attr]
        if part in ("", "*"):
            continue
        if sign is None:
            parts.append(part.replace(" ", "") if part[0] in "<>=!~" else f"=={part}")
            continue
        try:
            release = Version(number).release
        except InvalidVersion as e:
            raise RequestError(f"{constraint!r} is no range of versions") from e
        if sign == "^":  # up to the next change of the first number that is not zero
            fixed = next((i for i, n in enumerate(release) if n), len(release) - 1)
        else:  # up to the next change of the second number, or of the first where there is no second
            fixed = min(1, len(release) - 1)
        parts.append(f">={number},<{'.'.join(map(str, (*release[:fixed], release[fixed] + 1)))}")
    return ",".join(parts)
