"""Words with which rules ask a log.

Each returns a function from facts to evidence, so that a rule reads like a sentence:
`Clue(0.6, all_of(seen("failed_extension", "libtriton"), unless(seen("win_error", "193"))))`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from ..facts import Facts
from .model import Evidence, quote

__all__ = ["USER_SITE", "Find", "all_of", "any_of", "compiled", "failing", "in_log", "on", "raised_in", "seen", "text", "unless"]

Find = Callable[[Facts], Iterable[Evidence]]
USER_SITE = (
    r"AppData[\\/]+Roaming[\\/]+Python|[\\/]\.local[\\/](?:lib[\\/]python|bin[\\/])"  # the folder of packages that `pip --user` fills
)


@cache
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """``pattern`` for rules, compiled when a log is first asked: an environment asks for none, and all of them take a while."""
    return re.compile(pattern, flags)


def seen(kind: str, value: str | None = None, detail: str | None = None) -> Find:
    """The log has a mention of ``kind`` whose value matches ``value`` as a whole and whose detail contains ``detail`` (patterns).

    Mentions in the listings that people paste below do not count: versions are read from them, and no complaint.
    """

    def find(facts: Facts) -> list[Evidence]:
        if facts.log is None:
            return []
        wanted, inside = compiled(value or ".*", re.I | re.S), compiled(detail or "", re.I)
        listed = facts.log.listed
        said = (m for m in facts.log.of(kind) if m.line not in listed)
        return quote([m for m in said if wanted.fullmatch(m.value) and inside.search(m.detail)][:2])

    return find


def raised_in(file: str, *kinds: str) -> Find:
    """The frame above the first mention of one of ``kinds`` is in a file whose path matches ``file``: that file made the request."""

    def find(facts: Facts) -> list[Evidence]:
        failure = next(iter(facts.log.of(*kinds)), None) if facts.log else None
        if facts.log is None or failure is None:
            return []
        above = [m for m in facts.log.of("frame") if m.line < failure.line]
        return quote([above[-1]]) if above and compiled(file).search(above[-1].value) else []

    return find


def text(pattern: str) -> Find:
    """A line of the log contains ``pattern``: for identifiers inside paths and calls, not for sentences that a system translates.

    The entries of listings that people paste below do not count.
    """

    def find(facts: Facts) -> list[Evidence]:
        if facts.log is None:
            return []
        wanted, log = compiled(pattern), facts.log
        found = ((n, line) for n, line in enumerate(log.lines, start=1) if wanted.search(line) and n not in log.listed)
        return [Evidence(line.strip()[:160], f"log line {n}") for n, line in found][:1]

    return find


def all_of(*finds: Find) -> Find:
    """Holds when each of them holds; the evidence of all."""

    def find(facts: Facts) -> list[Evidence]:
        found: list[Evidence] = []
        for f in finds:
            part = list(f(facts))
            if not part:
                return []
            found += part
        return list(dict.fromkeys(found))

    return find


def any_of(*finds: Find) -> Find:
    """Holds when one of them holds."""
    return lambda facts: list(dict.fromkeys(e for f in finds for e in f(facts)))


def unless(*finds: Find) -> Find:
    """Holds, in an `all_of`, where none of them does."""

    def find(facts: Facts) -> list[Evidence]:
        return [] if any(list(f(facts)) for f in finds) else [Evidence("")]

    return find


def failing(facts: Facts) -> list[Evidence]:
    """Holds, in an `all_of`, for a log that tells of a failure."""
    return [Evidence("")] if facts.log is not None and facts.log.failing else []


def in_log(facts: Facts) -> list[Evidence]:
    """Holds, in an `all_of`, where a log was read and no environment looked at."""
    return [Evidence("")] if facts.log is not None else []


def on(*systems: str | None) -> Find:
    """Holds, in an `all_of`, on one of these systems; None stands for a log that does not tell its system."""

    def find(facts: Facts) -> list[Evidence]:
        return [Evidence("")] if facts.platform.system in systems else []

    return find
