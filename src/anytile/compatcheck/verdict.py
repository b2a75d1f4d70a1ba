"""Uses against definitions: what is answered, what torch finds out for itself, what is missing, and what that breaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .declined import why_declined
from .definitions import Definitions
from .facts import lacked_by
from .forms import RULES, TorchForms
from .uses import Use

__all__ = ["STAGES", "Missing", "Verdict", "judge"]

#: What a missing name breaks, the worst first.  "generated": kernels that Inductor writes with some options only; "elsewhere": parts of
#: torch beside `torch.compile`.
STAGES = ("import", "call", "compile", "analysis", "generated", "elsewhere")
_PATH = ("core", "user kernels")  # areas on the path of every `torch.compile`


@dataclass(frozen=True)
class Missing:
    """A name that is not there.

    ``status``: "missing"; "probed" (torch asks first, or goes on after the failure, and takes another way); "version" (behind a
    test of versions); "platform" (for another device); "as upstream" (the Triton that this torch was made for lacks it too);
    "declined" (`declined.py` says what torch does without).
    ``stage``: what it breaks where it is "missing", else "".
    """

    name: str
    status: str
    stage: str
    places: tuple[str, ...]


@dataclass
class Verdict:
    """``answered``: names that are there; ``unknown``: names that only a run can tell of (compiled modules)."""

    torch: str
    triton: str
    answered: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    forms: list[tuple[str, str, str]] = field(default_factory=list)  # (rule, stage, message)

    def breaks(self) -> dict[str, list[str]]:
        """Stage → what breaks it, without the stages where nothing does."""
        out: dict[str, list[str]] = {}
        for stage in STAGES:
            found = [m.name for m in self.missing if m.stage == stage] + [name for name, s, _ in self.forms if s == stage]
            if found:
                out[stage] = found
        return out

    @property
    def ok(self) -> bool:
        """Whether everything is answered, options of code generation included; other parts of torch do not count."""
        return not any(stage != "elsewhere" for stage in self.breaks())

    def as_dict(self) -> dict[str, Any]:
        return {
            "torch": self.torch,
            "triton": self.triton,
            "ok": self.ok,
            "breaks": self.breaks(),
            "answered": self.answered,
            "unknown": self.unknown,
            "missing": [{"name": m.name, "status": m.status, "stage": m.stage, "places": list(m.places)} for m in self.missing],
            "forms": [{"rule": name, "stage": stage, "message": message} for name, stage, message in self.forms],
        }


def judge(torch: str, uses: Sequence[Use], torch_forms: TorchForms, triton: Definitions, made_for: tuple[int, int] | None) -> Verdict:
    """What ``triton`` answers of ``uses``; ``made_for``: the Triton that this torch was made for, None where nobody knows."""
    verdict = Verdict(torch, triton.label)
    found = {(u.name, u.how): triton.has(u.name, u.how) for u in uses}
    absent = [u for u in uses if found[u.name, u.how] is False]
    failed = {g.removeprefix("try:") for u in absent for g in u.guards if g.startswith("try:")}
    by_name: dict[str, list[tuple[Use, str]]] = defaultdict(list)
    for use in absent:
        as_upstream = made_for is not None and lacked_by(made_for, use.name, use.how)
        by_name[use.name].append((use, "as upstream" if as_upstream else _status(use, triton, failed)))
    there = {name for (name, _), has in found.items() if has}
    for name in sorted({u.name for u in uses}):
        if name in by_name:
            verdict.missing.append(_missing(name, by_name[name], triton.is_face))
        elif name in there:
            verdict.answered.append(name)
        else:
            verdict.unknown.append(name)
    verdict.forms = [(r.name, r.stage, r.message) for r in RULES if r.breaks(torch_forms, triton.forms)]
    return verdict


def _status(use: Use, triton: Definitions, failed: set[str]) -> str:
    """What becomes of a use whose name is not there: where it is reached, the innermost guard says."""
    if not all(_lets_through(guard, triton, failed) for guard in use.guards):
        return "probed"
    for guard in reversed(use.guards):
        if guard == "platform":
            return "platform"
        if guard == "rare" or guard.startswith("try:"):
            return "probed"
        if guard == "version":
            return "version"
    return "missing"


def _lets_through(guard: str, triton: Definitions, failed: set[str]) -> bool:
    """Whether what is behind ``guard`` can be reached; ``failed``: the tries whose body fails."""
    kind, _, what = guard.partition(":")
    if kind == "has":
        return triton.has(what, "attribute") is not False
    if kind == "lacks":
        return triton.has(what, "attribute") is not True
    if kind == "except":
        return what in failed
    return kind != "passed" or what not in failed


def _missing(name: str, uses: list[tuple[Use, str]], own: bool) -> Missing:
    """One row for a name: of its uses the worst counts.  ``own``: it is anytile's face that was asked."""
    worst = [u for u, status in uses if status == "missing"]
    if worst and own and why_declined(name):
        return Missing(name, "declined", "", _places(worst))
    if not worst:
        order = ("version", "platform", "probed", "as upstream")
        status = min((s for _, s in uses), key=order.index)
        return Missing(name, status, "", _places([u for u, _ in uses]))
    stage = min((_stage(u) for u in worst), key=STAGES.index)
    return Missing(name, "missing", stage, _places([u for u in worst if _stage(u) == stage]))


def _stage(use: Use) -> str:
    if use.phase in ("gen", "kernel"):  # helpers that are kernels are called by some generated code only
        return "generated" if use.area in (*_PATH, "templates") else "elsewhere"
    if use.area not in _PATH:
        return "elsewhere"
    if use.phase == "import":
        return "import"
    return "analysis" if use.file.endswith("triton_kernel_wrap.py") else "call"  # torch catches whatever goes wrong in there


def _places(uses: Sequence[Use]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{u.file}:{u.line}" for u in uses))[:5]
