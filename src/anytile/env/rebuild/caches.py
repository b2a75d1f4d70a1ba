"""The caches that a rebuild empties: compiled kernels always, downloads of the tool that builds; sizes first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..caches import cache_places, home_folder
from .errors import CannotRebuild

__all__ = ["COMPILED", "Purge", "finish_purge", "purge", "purges", "size_of"]

COMPILED = ("triton", "inductor")
# A cache may be set to a folder that holds other things: one with any of these is none.
_NO_CACHE = (".git", "pyproject.toml", "pyvenv.cfg", "requirements.txt", ".ssh", ".bashrc", "setup.py")
_PARTS = {  # what of their folders is cache: Poetry keeps its virtual environments there too; "Cache" is the folder's name on Windows
    "poetry": ("artifacts", "cache", "Cache/artifacts", "Cache/cache"),
    "pip": ("http", "http-v2", "wheels", "Cache"),
}
_COMMANDS = {"uv": ("cache", "clean")}  # it locks its cache against others that use it


@dataclass(frozen=True)
class Purge:
    """One cache. ``command`` is how its owner empties it; without one the ``folders`` are removed."""

    kind: str
    folders: tuple[str, ...]
    bytes: int
    command: tuple[str, ...] = ()


def size_of(folder: Path) -> int:
    """Bytes of all files under ``folder``; files that vanish meanwhile count nothing."""
    total = 0
    for base, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(base, name)).st_size
            except OSError:
                continue
    return total


def _guard(kind: str, folder: Path, spared: tuple[Path, ...]) -> None:
    real = folder.resolve()
    if any(real == s or real in s.parents for s in (home_folder().resolve(), Path("/"), *spared)):
        raise CannotRebuild(f"the {kind} cache is set to {folder}, which holds more than a cache; give --keep-caches, or set it elsewhere")
    held = next((name for name in _NO_CACHE if (folder / name).exists()), None)
    if held:
        raise CannotRebuild(f"the {kind} cache is set to {folder}, which holds {held} and so is no cache; give --keep-caches")


def purges(kinds: tuple[str, ...], tools: Mapping[str, tuple[str, ...]], spared: tuple[Path, ...]) -> list[Purge]:
    """The caches of these ``kinds`` that exist. ``tools`` says how a tool is called, ``spared`` what no cache may hold.

    Raises CannotRebuild where what should be emptied is no cache.
    """
    found = []
    for kind, place in cache_places():
        if kind not in kinds or not place.is_dir():
            continue
        folders = [place / part for part in _PARTS[kind]] if kind in _PARTS else [place]
        folders = [f for f in folders if f.is_dir()]
        for folder in folders:
            _guard(kind, folder, spared)
        command = (*tools[kind], *_COMMANDS[kind]) if kind in _COMMANDS and kind in tools else ()
        if folders:
            found.append(Purge(kind, tuple(map(str, folders)), sum(map(size_of, folders)), command))
    return found


def _aside(folder: Path, number: str) -> Path:
    return folder.with_name(f"{folder.name}.purged-{number}")


def purge(folder: Path, number: str) -> None:
    """Removes a cache: first by its name, so that nobody sees half of one, then for good. May be done again."""
    if folder.is_dir() and not _aside(folder, number).exists():
        os.rename(folder, _aside(folder, number))
    finish_purge(folder, number)


def finish_purge(folder: Path, number: str) -> None:
    """Removes what an interrupted `purge` has put aside; there is no way back for half a cache, and no need of one."""
    if _aside(folder, number).exists():
        shutil.rmtree(_aside(folder, number), ignore_errors=True)
