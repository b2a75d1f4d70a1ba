"""Paths inside a new environment: written while it lay beside the old one, right once it has taken its place.

Console scripts name their interpreter by its absolute path, on Windows inside an executable. The new environment is therefore built
under a name *of the same length* as the final one: the path can then be replaced in any file, text or not, without moving a byte.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import string
from collections.abc import Iterator
from pathlib import Path

from .errors import CannotRebuild

__all__ = ["broken_scripts", "fresh_name", "relocate"]

_FOLDERS = ("bin", "Scripts", "etc", "share")  # where programs put paths of the environment
_SUFFIXES = (".pth", ".egg-link")
_DRAFT = ".relocated"
_LARGEST = 64 << 20  # bytes; an executable with an archive behind it may be large, a library is not looked at


def fresh_name(target: Path) -> Path:
    """A free name beside ``target`` of the same length in bytes: it differs in the last character."""
    for last in "~_" + string.digits + string.ascii_lowercase:
        candidate = target.with_name(target.name[:-1] + last)
        if len(os.fsencode(candidate.name)) == len(os.fsencode(target.name)) and not os.path.lexists(candidate) and candidate != target:
            return candidate
    raise CannotRebuild(f"beside {target} there is no free name that differs in the last character only; remove some of those folders")


def _candidates(folder: Path) -> Iterator[Path]:
    """Files that may hold the path: scripts, settings, what Python reads at its start, what installers recorded."""
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
    for name in _FOLDERS:
        for base, _, files in os.walk(folder / name):
            yield from (Path(base, f) for f in files)
    for site in [*folder.glob("lib/python3*/site-packages"), folder / "Lib" / "site-packages"]:
        if site.is_dir():
            for entry in os.scandir(site):
                if entry.is_file(follow_symlinks=False) and entry.name.endswith(_SUFFIXES):
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False) and entry.name.endswith((".dist-info", ".egg-info")):
                    yield from (Path(base, f) for base, _, files in os.walk(entry.path) for f in files)


def _spellings(path: Path) -> Iterator[bytes]:
    """The path as files write it: as it is, with doubled or turned separators, in UTF-8 and in UTF-16."""
    text = str(path)
    for spelling in dict.fromkeys((text, text.replace("\\", "\\\\"), text.replace("\\", "/"))):
        yield spelling.encode()
        yield spelling.encode("utf-16-le")


def _replace_file(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + _DRAFT)
    draft.write_bytes(content)
    os.chmod(draft, path.stat().st_mode)
    os.replace(draft, path)


def relocate(folder: Path, final: Path) -> list[Path]:
    """Makes the environment that lies in ``folder`` one of ``final``; returns the files changed. May be done again."""
    pairs = list(zip(_spellings(folder), _spellings(final)))
    changed = []
    candidates = list(_candidates(folder))
    for path in candidates:
        if path.name.endswith(_DRAFT):  # of an attempt that was interrupted
            path.unlink()
    for path in candidates:
        if path.name.endswith(_DRAFT):
            continue
        if path.is_symlink():
            to = os.readlink(path)
            if to.startswith(str(folder) + os.sep):
                draft = path.with_name(path.name + _DRAFT)
                draft.symlink_to(str(final) + to[len(str(folder)) :])
                os.replace(draft, path)
            continue
        if path.stat().st_size > _LARGEST:
            continue
        before = after = path.read_bytes()
        for old, new in pairs:
            after = after.replace(old, new)
        if after != before:
            _replace_file(path, after)
            changed.append(path)
    _rehash(folder, changed)
    return changed


def _rehash(folder: Path, changed: list[Path]) -> None:
    """The hashes that installers recorded of changed files, made right again."""
    hashes = {
        os.path.realpath(p): "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(p.read_bytes()).digest()).decode().rstrip("=")
        for p in changed
    }
    for site in [*folder.glob("lib/python3*/site-packages"), folder / "Lib" / "site-packages"]:
        for record in site.glob("*.dist-info/RECORD"):
            text = record.read_text(encoding="utf-8")
            rows = list(csv.reader(text.splitlines()))
            touched = False
            for row in rows:
                new = hashes.get(os.path.realpath(site / row[0])) if len(row) == 3 and row[1] else None
                if new and new != row[1]:
                    row[1], touched = new, True
            if touched:
                out = io.StringIO()
                csv.writer(out, lineterminator="\n").writerows(rows)
                _replace_file(record, out.getvalue().encode())


def broken_scripts(target: Path, fresh: Path) -> list[str]:
    """What is wrong with the console scripts of ``target``: interpreters that are not there, paths of ``fresh``."""
    wrong = []
    stale = list(_spellings(fresh))
    for name in ("bin", "Scripts"):
        for path in sorted((target / name).iterdir()) if (target / name).is_dir() else ():
            if path.is_symlink() and not path.exists():
                wrong.append(f"{path} is a link to nothing")
            if not path.is_file() or path.is_symlink() or path.stat().st_size > _LARGEST:
                continue
            content = path.read_bytes()
            if any(s in content for s in stale):
                wrong.append(f"{path} names {fresh}")
            elif content.startswith(b"#!/"):
                interpreter = os.fsdecode(content[2:].split(b"\n", 1)[0].strip().split(b" ")[0])
                if not os.access(interpreter, os.X_OK):
                    wrong.append(f"{path} wants {interpreter}, which is not there")
    return wrong
