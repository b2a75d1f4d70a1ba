r"""Which causes the words of a text are like.

`words.tsv` counts, over reports whose cause is known, in how many reports of each cause a word stands: a naive Bayes model.
`scripts/doctor_words.py` writes it and measures it on sets of reports that it was not counted over.  What a program says has rules;
the words decide between causes for which rules speak about equally, and say what a complaint is about that no rule understands.
"""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.resources import files

from ...errors import AnytileError
from ..facts import Log

__all__ = ["TABLE", "ALL", "likeness", "vocabulary"]

TABLE = "words.tsv"
ALL = "*"  # the row of the table that counts the reports of each cause
_WORD = re.compile(r"[a-z]{2,}|[а-яё]{2,}|[\u4e00-\u9fff]")
_COMMON = frozenset("the an is to of and in for on with it this that be at by as or my are was from if can have".split())
_FOLDERS = re.compile(r"(?:[\\/]+[\w.+@~-]*)+[\\/]+((?:[\w.+@~-]+[\\/]+){2}[\w.+@~-]+)")  # of a path the last three parts count
_LONG = 12  # lines; of a longer text only the complaining ones are read
_MAX_LINE = 600  # characters
_SMOOTHING = 0.5  # reports that each cause is taken to have beside the counted ones, with the words of all causes
_FREQUENCY = 0.6  # how much it counts that a cause is frequent: the next reports need not be made of the same causes
_WEIGHT = 0.2  # of words against rules: they decide between weak ones, and seldom against a strong one


def vocabulary(log: Log) -> set[str]:
    """The words of a log, in small letters, and the kinds of what it mentions as `<kind>`.

    Names of folders (but for the last ones) and listings are left out, and the lines of a long text that complain of nothing.
    """
    lines = {number for number, _ in log.said()}
    if len(lines) > _LONG and log.complaining:
        lines = set(log.complaining)
    found = {f"<{m.kind}>" for m in log.mentions if m.line in lines}
    for number in lines:
        found |= set(_WORD.findall(_FOLDERS.sub(r" \1 ", log.lines[number - 1].lower()[:_MAX_LINE])))
    return found - _COMMON


@cache
def _table() -> dict[str, dict[str, int]]:
    """word → cause → reports.  Raises `AnytileError` where the table cannot be read: it is a part of the package."""
    place = files(__package__) / TABLE
    try:
        rows = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        again = "python -m pip install --force-reinstall --no-deps anytile"
        raise AnytileError(
            f"anytile's installation is damaged: the table of words {place} cannot be read ({e}); install it again: {again}"
        ) from e
    parts = (row.split("\t") for row in rows if not row.startswith("#"))
    return {word: {cause: int(n) for cause, _, n in (c.partition(":") for c in counts.split())} for word, counts in parts}


def likeness(log: Log, table: dict[str, dict[str, int]] | None = None) -> dict[str, float]:
    """The logarithm of how much likelier each cause is by the words of the log, with the best at 0.

    ``table`` takes the place of `words.tsv`, for measurements.
    """
    table = table or _table()
    of_cause = table[ALL]
    reports = sum(of_cause.values())
    rows = [row for word in vocabulary(log) if word != ALL and (row := table.get(word))]
    known = [(row, sum(row.values()) / reports) for row in rows]
    many = math.sqrt(max(len(known), 1))  # words depend on each other: the sum over many would be too sure of itself
    like = {}
    for cause, n in of_cause.items():
        total = 0.0
        for row, usual in known:
            total += math.log((row.get(cause, 0) + _SMOOTHING * usual) / (n + _SMOOTHING) / usual)
        like[cause] = _WEIGHT * (_FREQUENCY * math.log(n / reports) + total / many)
    best = max(like.values())
    return {cause: value - best for cause, value in like.items()}
