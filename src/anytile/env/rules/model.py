"""What a rule is.

A rule is data: the cause it stands for, clues that speak for it, clues that speak against it, and what mends it. A clue is a
function from facts to the evidence that it finds, with a weight: the probability that the cause is real if nothing but this clue
is known. Independent clues add up as probabilities do, `1 - (1 - a)(1 - b)`; a clue against divides the rest, `c (1 - a)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..facts import Facts, Mention
from ..managers import MANAGERS

__all__ = ["CERTAIN", "Clue", "Evidence", "Finding", "Fix", "Rule", "install", "quote"]

CERTAIN = 0.97  # a fact read from the files proves the cause


@dataclass(frozen=True)
class Evidence:
    """One observation. ``where`` is a file, `log line N`, or empty."""

    text: str
    where: str = ""


@dataclass(frozen=True)
class Fix:
    """A remedy. ``safe`` means that it deletes nothing and changes no installed package."""

    summary: str
    commands: tuple[str, ...] = ()
    safe: bool = False


@dataclass(frozen=True)
class Clue:
    """``find`` yields the evidence; the clue holds when it yields any."""

    weight: float
    find: Callable[[Facts], Iterable[Evidence]]


@dataclass(frozen=True)
class Rule:
    """One cause. ``decide`` are commands whose output would settle it, for a reader who has only a log."""

    cause: str  # the class of the taxonomy
    summary: str
    clues: tuple[Clue, ...]
    fixes: Callable[[Facts], Iterable[Fix]]
    against: tuple[Clue, ...] = ()
    rules_out: tuple[str, ...] = ()  # causes that cannot be the reason when this one is proved
    decide: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A rule that applies, with what it rests on."""

    cause: str
    confidence: float
    summary: str
    evidence: tuple[Evidence, ...]
    fixes: tuple[Fix, ...]
    ruled_out: tuple[str, ...] = ()
    decide: tuple[str, ...] = ()


def quote(mentions: Iterable[Mention | None]) -> list[Evidence]:
    """Mentions of a log as evidence: the line and its number."""
    return [Evidence(m.text, f"log line {m.line}") for m in mentions if m is not None]


def install(facts: Facts, *requirements: str, index: str | None = None) -> tuple[str, ...]:
    """The commands with which the user's own tool installs ``requirements``, from the package index ``index`` if one is needed.

    pip's is written for a bare ``python``, as in all rules; `env.remedies.fit` names the interpreter.
    """
    quoted = " ".join(f'"{r}"' if set(r) & set("<>=!~[ ") else r for r in requirements)
    tool = facts.project.tool
    if tool == "poetry":
        source = (f"poetry source add --priority=explicit pytorch-gpu {index}",) if index else ()
        return (*source, f"poetry add {quoted}{' --source pytorch-gpu' if index else ''}")
    if tool == "uv":
        return (f"uv add {quoted}{f' --index pytorch-gpu={index}' if index else ''}",)
    if not index and (add := next((m.add for m in MANAGERS if m.tool == tool), "")):
        return (f"{add} {quoted}",)
    # The same version from another index is another build, which pip takes for installed; its dependencies differ too.
    how = f"--force-reinstall {quoted} --index-url {index}" if index else f"--upgrade {quoted}"
    return (f"python -m pip install {how}",)
