"""Counts the words of labelled reports for the doctor (`src/anytile/env/rules/words.tsv`).

    python scripts/doctor_words.py SET.jsonl [SET.jsonl ...] [--check]

Each line of a set is a JSON object with `id`, `error_text` and `cause_class`.  The texts stay where they are; the table gets words
that stand in reports of three repositories at least, so that nobody's folder or name is among them.  --check writes nothing: each
set in turn is left out of the counting, and its causes are told from their words alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from anytile.env.facts import Log
from anytile.env.log import read_log
from anytile.env.rules import words

TABLE = Path(words.__file__).with_name(words.TABLE)
REPOSITORIES = 3
Report = tuple[str, str, str]  # repository, cause, text


def reports(path: Path) -> list[Report]:
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(re.sub(r"-\d+$", "", case["id"]), case["cause_class"], case["error_text"]) for case in cases]


@cache  # every set is counted once for each other set that is left out
def read(text: str) -> Log:
    log = read_log(text).log
    assert log is not None
    return log


def count(cases: Iterable[Report]) -> dict[str, dict[str, int]]:
    """word → cause → number of reports, and the row of all reports."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    places: dict[str, set[str]] = defaultdict(set)
    for repository, cause, text in cases:
        for word in words.vocabulary(read(text)):
            table[word][cause] += 1
            places[word].add(repository)
        table[words.ALL][cause] += 1
    return {word: dict(row) for word, row in table.items() if word == words.ALL or len(places[word]) >= REPOSITORIES}


def write(table: dict[str, dict[str, int]], number: int) -> None:
    head = [
        f"# Words of {number} reports whose cause is known: in how many reports of each cause a word stands; <kind>: a mention of env/log.py.",
        f"# Made by scripts/doctor_words.py, with words of {REPOSITORIES} repositories at least; read by words.py.",
    ]
    rows = [f"{word}\t{' '.join(f'{cause}:{n}' for cause, n in sorted(row.items()))}" for word, row in sorted(table.items())]
    TABLE.write_text("\n".join(head + rows) + "\n", encoding="utf-8")


def check(sets: dict[str, list[Report]]) -> None:
    """How often the words alone tell the cause of reports that they were not counted over."""
    right = third = 0
    for left_out, cases in sets.items():
        table = count(case for name, others in sets.items() if name != left_out for case in others)
        for _, cause, text in cases:
            like = words.likeness(read(text), table)
            order = sorted(like, key=lambda c: -like[c])
            right += order[0] == cause
            third += cause in order[:3]
    total = sum(map(len, sets.values()))
    print(
        f"{total} reports in {len(sets)} sets, each told from the words of the others: first {right / total:.1%}, among three {third / total:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--check", action="store_true", help="leave each set out in turn, and write nothing")
    options = parser.parse_args()
    sets = {str(path): reports(path) for path in options.sets}
    if options.check:
        check(sets)
        return
    cases = [case for others in sets.values() for case in others]
    table = count(cases)
    write(table, len(cases))
    print(f"{TABLE}: {len(table) - 1} words of {len(cases)} reports")


if __name__ == "__main__":
    main()
