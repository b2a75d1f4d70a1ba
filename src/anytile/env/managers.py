"""Managers of projects that are recognised, and whose files nothing here writes: PDM, Hatch, pixi, Pipenv.

Poetry, uv and pip are what `lock` writes for and `rebuild` drives. A project of another manager has to be told apart from theirs: tables
for uv in a project of PDM's change nothing, and an environment made by pip beside one that pixi keeps is nobody's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MANAGERS", "Manager", "manager_name", "manager_of"]


@dataclass(frozen=True)
class Manager:
    """``files`` of a folder, or a table of pyproject.toml that matches ``table``, make it this manager's.

    ``add``: the command that adds requirements, which follow it; empty where the manager has none. ``again``: the commands that build its
    environment anew.
    """

    tool: str
    name: str  # as its authors write it
    files: tuple[str, ...]
    table: str
    add: str
    again: tuple[str, ...]


MANAGERS = (
    # [tool.pdm.build] and [tool.pdm.version] are read by pdm-backend, which builds packages for whatever manager.
    Manager(
        "pdm",
        "PDM",
        ("pdm.lock", ".pdm-python"),
        r"tool\.pdm(?!\.(?:build|version))\b",
        "pdm add",
        ("pdm venv remove in-project", "pdm install"),
    ),
    Manager("pixi", "pixi", ("pixi.toml", "pixi.lock"), r"tool\.pixi\b", "pixi add --pypi", ("pixi clean", "pixi install")),
    Manager("pipenv", "Pipenv", ("Pipfile", "Pipfile.lock"), r"tool\.pipenv\b", "pipenv install", ("pipenv --rm", "pipenv sync")),
    Manager("hatch", "Hatch", (), r"tool\.hatch\.envs\b", "", ("hatch env prune", "hatch env create")),
)


def manager_name(tool: str) -> str:
    """How the authors of ``tool`` write it."""
    return next((m.name for m in MANAGERS if m.tool == tool), tool)


def manager_of(folder: Path) -> Manager | None:
    """The manager of the project in ``folder``, where it is one of these and no file says Poetry or uv."""
    project = folder / "pyproject.toml"
    text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
    if (
        (folder / "poetry.lock").is_file()
        or (folder / "uv.lock").is_file()
        or re.search(r"^\s*\[+tool\.(?:poetry|uv)\b", text, re.MULTILINE)
    ):
        return None
    for manager in MANAGERS:
        if any((folder / f).is_file() for f in manager.files) or re.search(rf"^\s*\[+{manager.table}", text, re.MULTILINE):
            return manager
    return None
