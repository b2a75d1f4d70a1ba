"""The .py files of a package, in a wheel, in a folder that holds the package, or installed here."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ..errors import AnytileError

__all__ = ["LookError", "Sources"]

_SUFFIXES = (".py", ".jinja")


class LookError(AnytileError):
    """There is nothing to look at: no such wheel, folder, release or network, or no answer of the face."""


class Sources:
    """Files by their path from the folder that holds ``package``: ``torch/_inductor/config.py``.

    ``place``: a wheel, or a folder with a folder ``package`` in it.  LookError where it is neither.
    """

    def __init__(self, place: Path, package: str) -> None:
        self.place, self.package = place, package
        self._archive: zipfile.ZipFile | None = None
        if place.is_file():
            try:
                self._archive = zipfile.ZipFile(place)
            except zipfile.BadZipFile as e:
                raise LookError(f"{place} is no wheel: {e}; give a .whl file, a folder that holds {package}/, or a version") from e
        if not self.files:
            raise LookError(f"{place} holds no folder {package}/ with Python files; give a wheel of {package}, its folder, or a version")

    @cached_property
    def files(self) -> list[str]:
        """Every .py and .jinja file of the package, sorted."""
        if self._archive is not None:
            names = [n for n in self._archive.namelist() if n.startswith(f"{self.package}/")]
        else:
            root = self.place / self.package
            names = [p.relative_to(self.place).as_posix() for p in root.rglob("*") if p.suffix in _SUFFIXES] if root.is_dir() else []
        return sorted(n for n in names if n.endswith(_SUFFIXES))

    def text(self, name: str) -> str:
        """A file's text; "" where there is no such file."""
        if name not in self._known:
            return ""
        if self._archive is not None:
            return self._archive.read(name).decode("utf-8", "replace")
        return (self.place / name).read_text(encoding="utf-8", errors="replace")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.files)

    def _metadata(self) -> Iterator[str]:
        if self._archive is not None:
            for name in self._archive.namelist():
                if name.endswith(".dist-info/METADATA"):
                    yield self._archive.read(name).decode("utf-8", "replace")
            return
        for file in self.place.glob("*.dist-info/METADATA"):
            if file.parent.name.lower().replace("_", "-").startswith((f"{self.package}-", f"pytorch-{self.package}-")):
                yield file.read_text(encoding="utf-8", errors="replace")

    @cached_property
    def version(self) -> str:
        """The release, from the metadata or the package itself; "unknown" where neither tells."""
        for text in self._metadata():
            if found := re.search(r"^Version: (\S+)", text, re.M):
                return found[1]
        for name in (f"{self.package}/version.py", f"{self.package}/__init__.py"):
            if found := re.search(r"^__version__ *= *['\"]([^'\"]+)", self.text(name), re.M):
                return found[1]
        return "unknown"

    @cached_property
    def triton_pin(self) -> str | None:
        """The Triton release in ``Requires-Dist``, whatever its marker; None without one."""
        for text in self._metadata():
            if found := re.search(r"^Requires-Dist: *(?:pytorch-)?triton *\(?(?:==|~=) *([\d.]+)", text, re.M):
                return found[1]
        return None
