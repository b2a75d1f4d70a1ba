"""The command `anytile compat check`: what to look at, the report, the exit status."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..compat.level import Level, for_torch
from .declined import why_declined
from .definitions import Definitions, TritonSources
from .face import Face
from .facts import MADE_FOR
from .fetch import download, in_range
from .forms import torch_forms
from .sources import LookError, Sources
from .uses import uses_of
from .verdict import STAGES, Verdict, judge

__all__ = ["Torch", "check", "report", "run"]

_VERSION = re.compile(r"\d+(\.\d+)+")
_STAGE_TEXT = {
    "import": "fails when torch is imported",
    "call": "fails while torch compiles",
    "compile": "fails while torch compiles",
    "analysis": "user-defined kernels: every argument counts as written",
    "generated": "in kernels that torch writes with some options",
    "elsewhere": "in parts of torch beside torch.compile",
}


def run(torch: str | None, triton: str, as_json: bool, ci: str | None) -> int:
    """The command; the exit status: 0 all answered, 1 not, 2 could not look."""
    import sys

    from .recipe import RECIPES

    if ci is not None:
        if ci not in RECIPES:
            print(f"anytile: there is no recipe for {ci!r}; there is one for {', '.join(RECIPES)}", file=sys.stderr)
            return 2
        print(RECIPES[ci], end="")
        return 0
    try:
        verdicts = list(check(torch, triton))
    except LookError as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps([v.as_dict() for v in verdicts], indent=1))
    else:
        for verdict in verdicts:
            print("\n".join(report(verdict)))
    return 0 if all(v.ok for v in verdicts) else 1


def check(torch: str | None, triton: str = "anytile") -> Iterator[Verdict]:
    """A verdict for each torch that ``torch`` names: None for the installed one, else a wheel, a folder, a version, a range.

    ``triton``: "anytile", or a wheel, a folder or a version of Triton.  LookError where one of them cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="anytile-compat-") as scratch:
        other = None if triton == "anytile" else TritonSources(_sources("triton", triton, Path(scratch)))
        for one in _named_torches(torch):
            read = Torch(_sources("torch", one, Path(scratch)))
            yield read.judged(other or read.face())
            for wheel in Path(scratch).glob("torch-*.whl"):  # half a gigabyte each
                wheel.unlink()


def _minor(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        raise LookError(f"{version!r} is no release of torch that could be looked up; give a wheel that names its version")
    return int(found[1]), int(found[2])


class Torch:
    """What is read of a torch, once: its ``uses`` of Triton, their ``forms``, and the Triton release that it was ``made_for``.

    ``level``: at which anytile answers it; ``pin``: the Triton release in its metadata, or None.  LookError where it names no version.
    """

    def __init__(self, sources: Sources) -> None:
        self.version, self.pin = sources.version, sources.triton_pin
        release = _minor(self.version)
        self.made_for = _minor(self.pin) if self.pin else MADE_FOR.get(release)
        self.uses, self.forms = uses_of(sources), torch_forms(sources)

    @property
    def level(self) -> Level:
        return for_torch(self.version, self.pin)

    @property
    def questions(self) -> set[tuple[str, str]]:
        """All that `judge` will ask of a face: the uses, and the names that guards probe for."""
        probed = {(g.partition(":")[2], "attribute") for u in self.uses for g in u.guards if g.startswith(("has:", "lacks:"))}
        return probed | {(u.name, u.how) for u in self.uses}

    def face(self) -> Face:
        """anytile's answers to it."""
        return Face(self.level, self.questions)

    def judged(self, triton: Definitions) -> Verdict:
        return judge(self.version, self.uses, self.forms, triton, self.made_for)


def _named_torches(torch: str | None) -> list[str]:
    if torch is None or Path(torch).exists() or _VERSION.fullmatch(torch):
        return [torch or ""]
    return in_range("torch", torch)


def _sources(package: str, named: str, scratch: Path) -> Sources:
    """The sources of ``package``: the installed one for "", else a wheel, a folder that holds it (or is it), or a version to fetch."""
    if not named:
        spec = find_spec(package)
        place = spec.submodule_search_locations if spec else None
        if not place:
            raise LookError(f"no {package} is installed here; name one: --{package} VERSION, WHEEL or PATH")
        return Sources(Path(place[0]).parent, package)
    path = Path(named)
    if path.exists():
        return Sources(path.parent if path.is_dir() and path.name == package and (path / "__init__.py").exists() else path, package)
    if not _VERSION.fullmatch(named):
        raise LookError(f"{named!r} is no file and no version of {package}; give a version such as 2.9.1, a wheel or a folder")
    return Sources(download(package, named, scratch), package)


def report(verdict: Verdict) -> list[str]:
    """The verdict in lines of text."""
    lines = [f"torch {verdict.torch} with {verdict.triton}: {'answered' if verdict.ok else 'NOT ANSWERED'}"]
    lines.append(f"  {len(verdict.answered)} names are there, {len(verdict.unknown)} only a run can tell of")
    for stage in STAGES:
        for m in verdict.missing:
            if m.stage == stage:
                lines.append(f"  missing: {m.name}  ({_STAGE_TEXT[stage]}; {', '.join(m.places[:2])})")
        for name, s, message in verdict.forms:
            if s == stage:
                lines.append(f"  changed: {name}  ({_STAGE_TEXT[stage]}) {message}")
    for m in verdict.missing:
        if m.status == "declined":
            lines.append(f"  without: {m.name}  ({why_declined(m.name)})")
    others = [m for m in verdict.missing if m.status in ("probed", "version", "platform")]
    if others:
        lines.append(f"  torch asks first for {', '.join(m.name for m in others)}")
    dead = sum(m.status == "as upstream" for m in verdict.missing)
    if dead:
        lines.append(f"  {dead} names that the Triton it was made for lacks too")
    return lines
