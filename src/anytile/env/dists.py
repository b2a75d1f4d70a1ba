"""Installed distributions, read from their *.dist-info folders."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .facts import Distribution

__all__ = ["leftovers", "read_distributions", "triton_requirement"]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _fields(text: str) -> dict[str, list[str]]:
    """The fields at the head of METADATA or WHEEL, by lower-case name: what follows the first empty line may be long. Ten times as fast
    as the standard library's parser of mails, which takes a third of the doctor's time."""
    fields: dict[str, list[str]] = {}
    last: list[str] = []
    for line in text.splitlines():
        if not line.strip():
            break
        if line[0] in " \t":
            if last:
                last[-1] += "\n" + line
            continue
        name, _, value = line.partition(":")
        last = fields.setdefault(name.strip().lower(), [])
        last.append(value.strip())
    return fields


def _first(fields: dict[str, list[str]], name: str) -> str | None:
    return fields[name][0] if name in fields else None


def _one(folder: Path) -> Distribution | None:
    metadata = _text(folder / "METADATA")
    if metadata is None:
        return None
    fields, wheel = _fields(metadata), _fields(_text(folder / "WHEEL") or "")
    record = _text(folder / "RECORD")
    packages: set[str] = set()
    extensions: list[str] = []
    for line in (record or "").splitlines():
        file = next(csv.reader([line]))[0] if line.startswith('"') else line.rpartition(",")[0].rpartition(",")[0]
        if not file.endswith((".so", ".pyd", ".dll", ".py")) and ".so." not in file:
            continue
        file = file.replace("\\", "/")
        top, _, rest = file.partition("/")
        if not top.endswith((".dist-info", ".data")) and top != "..":
            packages.add(top if rest else top.split(".")[0])
        if not file.endswith(".py"):
            extensions.append(file)
    direct = _text(folder / "direct_url.json")
    return Distribution(
        name=re.sub(r"[-_.]+", "-", _first(fields, "name") or folder.name.split("-")[0]).lower(),
        version=_first(fields, "version") or "",
        location=str(folder.parent),
        requires=tuple(fields.get("requires-dist", ())),
        requires_python=_first(fields, "requires-python"),
        tags=tuple(wheel.get("tag", ())),
        packages=tuple(sorted(packages)),
        extensions=tuple(extensions),
        installer=(_text(folder / "INSTALLER") or "").strip() or None,
        direct_url=m.group(1) if direct and (m := re.search(r'"url":\s*"([^"]*)"', direct)) else None,
        has_record=record is not None,
        modified=folder.stat().st_mtime,
    )


def read_distributions(site_packages: list[Path]) -> tuple[Distribution, ...]:
    """All of them, in the order of the folders: of two with one name, the first is the one that Python takes."""
    found = [_one(f) for site in site_packages if site.is_dir() for f in sorted(site.glob("*.dist-info"))]
    return tuple(d for d in found if d is not None)


def leftovers(site_packages: list[Path]) -> tuple[str, ...]:
    """What an interrupted pip leaves: packages renamed to `~ackage`, and dist-info folders that were never filled."""
    found = [str(f) for site in site_packages if site.is_dir() for f in sorted(site.glob("~*"))]
    for site in site_packages:
        found += [str(f) for f in (sorted(site.glob("*.dist-info")) if site.is_dir() else ()) if not (f / "METADATA").is_file()]
    return tuple(found)


def triton_requirement(torch_requires: Iterable[str]) -> Requirement | None:
    """What torch asks of Triton in its metadata, whatever the marker: the Windows wheel carries the text of the Linux one."""
    for text in torch_requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name).startswith(("triton", "pytorch-triton")) and requirement.specifier:
            return requirement
    return None
