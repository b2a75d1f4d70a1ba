"""Installed distributions, read from their *.dist-info folders."""

from __future__ import annotations

import csv
import re
from email.parser import HeaderParser
from pathlib import Path

from .facts import Distribution

__all__ = ["leftovers", "read_distributions"]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _headers(text: str) -> str:
    """METADATA without the description, which may be long."""
    return re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]


def _one(folder: Path) -> Distribution | None:
    metadata = _text(folder / "METADATA")
    if metadata is None:
        return None
    fields = HeaderParser().parsestr(_headers(metadata))
    wheel = HeaderParser().parsestr(_text(folder / "WHEEL") or "")
    record = _text(folder / "RECORD")
    packages: set[str] = set()
    extensions: list[str] = []
    for row in csv.reader((record or "").splitlines()):
        file = row[0].replace("\\", "/") if row else ""
        if file.endswith((".so", ".pyd", ".dll", ".py")) or ".so." in file:
            top, _, rest = file.partition("/")
            if not top.endswith((".dist-info", ".data")) and top != "..":
                packages.add(top if rest else top.split(".")[0])
            if not file.endswith(".py"):
                extensions.append(file)
    direct = _text(folder / "direct_url.json")
    return Distribution(
        name=re.sub(r"[-_.]+", "-", fields.get("Name", folder.name.split("-")[0])).lower(),
        version=fields.get("Version", ""),
        location=str(folder.parent),
        requires=tuple(fields.get_all("Requires-Dist") or ()),
        requires_python=fields.get("Requires-Python"),
        tags=tuple(wheel.get_all("Tag") or ()),
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
