"""What a rebuild will do, decided before anything is done: which environment, by which tool, from which files, with which Python."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..collect import SWITCH, venv_settings
from ..managers import manager_of
from .caches import COMPILED, Purge, purges
from .errors import CannotRebuild
from .relocate import fresh_name

__all__ = ["Command", "Plan", "executable_of", "find_target", "make_plan"]

_SCRIPTS = "Scripts" if os.name == "nt" else "bin"
TOOLS = ("poetry", "uv", "pip")


@dataclass(frozen=True)
class Command:
    """A program with its arguments; ``environment`` is added to that of the process, None removes a variable."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that the steps need. Paths are absolute text; ``number`` tells this rebuild from others."""

    number: str
    target: str
    fresh: str  # where the new environment is built
    old: str  # where the old one lies after the swap
    root: str  # the folder of the project, in which the tool runs
    tool: str
    files: tuple[str, ...]  # what it is built from
    python: str  # the interpreter that the new environment is made of
    had_old: bool
    build: tuple[Command, ...]
    purge: tuple[Purge, ...] = ()
    keep_old: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """What `as_json` gave. Raises CannotRebuild where it is the plan of another version of anytile."""
        try:
            return cls(
                **{
                    **data,
                    "files": tuple(data["files"]),
                    "build": tuple(Command(tuple(c["arguments"]), c["environment"]) for c in data["build"]),
                    "purge": tuple(Purge(p["kind"], tuple(p["folders"]), p["bytes"], tuple(p["command"])) for p in data["purge"]),
                }
            )
        except (KeyError, TypeError) as e:
            raise CannotRebuild(
                f"the journal was written by another version of anytile ({e}); use that one to finish the rebuild"
            ) from None


def executable_of(folder: Path | str) -> str:
    """The interpreter of the virtual environment in ``folder``."""
    return str(Path(folder) / _SCRIPTS / ("python.exe" if os.name == "nt" else "python"))


def find_target(path: str | None, root: Path) -> Path:
    """The environment that is meant: ``path``, else `.venv` or `venv` in the project, else the active one.

    Raises CannotRebuild for a folder that is no virtual environment, and for conda's, which no name but their own can hold.
    """
    if path is not None:
        target = Path(path).expanduser()
        if target.is_file() and target.parent.name.lower() in ("bin", "scripts"):
            target = target.parent.parent
    else:
        active = os.environ.get("VIRTUAL_ENV")
        inside = [root / name for name in (".venv", "venv") if (root / name / "pyvenv.cfg").is_file()]
        target = inside[0] if inside else Path(active) if active else root / ".venv"
    target = Path(os.path.realpath(target))
    if (target / "conda-meta").is_dir():
        raise CannotRebuild(
            f"{target} is conda's: its files name their folder, so conda itself has to build the new one: "
            "`conda env export > environment.yml`, `conda env create -n NEW -f environment.yml`, `anytile verify --python NEW`"
        )
    if target.exists() and not (target / "pyvenv.cfg").is_file():
        raise CannotRebuild(
            f"{target} is no virtual environment (it has no pyvenv.cfg); a rebuild replaces the whole folder, so it takes no other"
        )
    if not target.parent.is_dir():
        raise CannotRebuild(f"there is no folder {target.parent} to build an environment in")
    return target


def _base_python(target: Path, settings: dict[str, str], wanted: str | None) -> str:
    """The interpreter outside of the environment that it was made of."""
    if wanted is not None:
        found = shutil.which(wanted)
        if found is None:
            raise CannotRebuild(f"there is no Python {wanted}; give the path of one with --python")
        if Path(os.path.realpath(target)) in Path(os.path.abspath(found)).parents:
            raise CannotRebuild(f"{found} belongs to the environment that is to be replaced; give the Python that it was made of")
        return found
    if not settings:
        return getattr(sys, "_base_executable", None) or sys.executable
    home = Path(settings.get("home", ""))
    minor = re.match(r"3\.\d+", settings.get("version") or settings.get("version_info") or "")
    named = settings.get("executable") or settings.get("base-executable")
    names = ["python.exe"] if os.name == "nt" else [*([f"python{minor.group()}"] if minor else []), "python3", "python"]
    for candidate in [*([Path(named)] if named else []), *(home / n for n in names)]:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise CannotRebuild(f"the Python that {target} was made of is gone from {home}; give another with --python")


def _find_tool(root: Path, settings: dict[str, str], asked: str | None, files: Sequence[str]) -> str:
    if asked is not None:
        if asked not in TOOLS:
            raise CannotRebuild(f"--tool {asked}: only {', '.join(TOOLS)} can build an environment here")
        return asked
    if files:
        return "uv" if "uv" in settings else "pip"
    manager = manager_of(root)
    if manager and manager.tool != "hatch":  # whose projects are often kept by uv or pip all the same
        raise CannotRebuild(
            f"this project is {manager.name}'s, which makes its environments itself: {'; '.join(manager.again)}. To have one made by pip or uv "
            "here, name what it holds with --requirements"
        )
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
    if (root / "poetry.lock").is_file() or "[tool.poetry" in text:
        return "poetry"
    if (root / "uv.lock").is_file() or "[tool.uv" in text:
        return "uv"
    return "uv" if "uv" in settings else "pip"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CannotRebuild(f"this environment is {name}'s, and there is no program {name} on PATH; install it, or choose --tool")
    return found


def _requirements(root: Path, asked: Sequence[str]) -> list[str]:
    """The requirement files to install: those asked for, else the one that the project has."""
    if asked:
        missing = [a for a in asked if not (root / a).is_file()]
        if missing:
            raise CannotRebuild(f"there is no {root / missing[0]}")
        return [str((root / a).resolve()) for a in asked]
    for name in ("requirements.lock", "requirements.txt"):
        if (root / name).is_file():
            return [str(root / name)]
    raise CannotRebuild(
        f"nothing in {root} says what the environment holds: `anytile lock` writes it, "
        f"or `python -m pip freeze > requirements.txt` in the old one; or name a file with --requirements"
    )


def _is_stale(lock: Path, root: Path) -> bool:
    """Whether a project's lock file is absent or older than pyproject.toml, as after `anytile lock`: the tool then has to lock again."""
    return not lock.is_file() or lock.stat().st_mtime < (root / "pyproject.toml").stat().st_mtime


def _is_complete(path: str) -> bool:
    """Whether a requirements file pins everything, dependencies included: what tools write is, what people write is not."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    head = "\n".join(lines[:3])
    return "--hash=" in "\n".join(lines) or "autogenerated by uv" in head or "pip-compile" in head or "anytile lock" in head


def _creation(settings: dict[str, str], python: str, fresh: Path, prompt: str) -> tuple[str, ...]:
    """How an empty environment is made: by what made the old one."""
    system = ("--system-site-packages",) if settings.get("include-system-site-packages") == "true" else ()
    if "virtualenv" in settings:
        return (python, "-m", "virtualenv", "--no-periodic-update", "--prompt", prompt, *system, str(fresh))
    return (python, "-m", "venv", "--prompt", prompt, *system, str(fresh))


def _commands(
    tool: str, root: Path, settings: dict[str, str], python: str, fresh: Path, prompt: str, files: Sequence[str], extra: Sequence[str]
) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """(commands, the files that they read)."""
    inner = executable_of(fresh)
    if tool == "poetry":
        active: dict[str, str | None] = {
            "VIRTUAL_ENV": str(fresh),
            "CONDA_PREFIX": None,
            "PATH": os.pathsep.join([str(fresh / _SCRIPTS), os.environ.get("PATH", "")]),
        }
        poetry = _program("poetry")
        relock = (Command((poetry, "lock", "--no-interaction", "--no-ansi"), active),) if _is_stale(root / "poetry.lock", root) else ()
        return (
            Command(_creation(settings, python, fresh, prompt)),
            *relock,
            Command((poetry, "install", "--no-interaction", "--no-ansi", *extra), active),
        ), (str(root / ("pyproject.toml" if relock else "poetry.lock")),)
    if tool == "uv":
        uv = _program("uv")
        system = ("--system-site-packages",) if settings.get("include-system-site-packages") == "true" else ()
        create = Command((uv, "venv", "--no-project", "--python", python, "--prompt", prompt, *system, str(fresh)))
        if not files and (root / "pyproject.toml").is_file() and not (root / "requirements.lock").is_file():
            stale = _is_stale(root / "uv.lock", root)
            locked = () if stale else ("--locked",)
            here: dict[str, str | None] = {"UV_PROJECT_ENVIRONMENT": str(fresh), "VIRTUAL_ENV": None}
            return (create, Command((uv, "sync", *locked, "--python", inner, *extra), here)), (
                str(root / ("pyproject.toml" if stale else "uv.lock")),
            )
        listed = _requirements(root, files)
        verb = ("sync", *listed) if all(map(_is_complete, listed)) else ("install", *(x for f in listed for x in ("-r", f)))
        return (create, Command((uv, "pip", *verb, "--python", inner, *extra))), tuple(listed)
    listed = _requirements(root, files)
    install = (inner, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *(x for f in listed for x in ("-r", f)), *extra)
    return (Command(_creation(settings, python, fresh, prompt)), Command(install)), tuple(listed)


def make_plan(
    path: str | None,
    root: Path,
    tool: str | None = None,
    requirements: Sequence[str] = (),
    python: str | None = None,
    keep_caches: bool = False,
    keep_downloads: bool = False,
    keep_old: bool = False,
    extra: Sequence[str] = (),
    enable: bool = False,
) -> Plan:
    """The plan for the environment ``path`` of the project in ``root``; raises CannotRebuild where there can be none.

    ``extra`` are arguments for the tool's own install command; ``enable``: anytile answers `import triton` in the new environment, as it
    does anyway where it does so in the old one. Nothing is touched.
    """
    root = root.resolve()
    target = find_target(path, root)
    settings = venv_settings(target)
    if os.name == "nt" and target in Path(sys.executable).parents:
        raise CannotRebuild(
            f"this anytile runs from {target}, and Windows does not move a running program; start it from another Python, as `uvx anytile rebuild`"
        )
    chosen = _find_tool(root, settings, tool, requirements)
    base = _base_python(target, settings, python)
    number = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    fresh = fresh_name(target)
    prompt = settings.get("prompt", "").strip("'\"") or (root.name if target.name in (".venv", "venv") else target.name)
    build, files = _commands(chosen, root, settings, base, fresh, prompt, requirements, extra)
    if enable or any(target.glob(f"lib/python3*/site-packages/{SWITCH}")) or (target / "Lib" / "site-packages" / SWITCH).is_file():
        build = (*build, Command((executable_of(fresh), "-m", "anytile", "enable")))
    kinds: tuple[str, ...] = () if keep_caches else COMPILED if keep_downloads else (*COMPILED, chosen)
    tools = {"uv": (shutil.which("uv") or "uv",)}
    return Plan(
        number=number,
        target=str(target),
        fresh=str(fresh),
        old=str(target.with_name(f"{target.name}.old-{number}")),
        root=str(root),
        tool=chosen,
        files=files,
        python=base,
        had_old=target.exists(),
        build=build,
        purge=tuple(purges(kinds, tools, (root, target, Path(sys.prefix)))),
        keep_old=keep_old,
    )
