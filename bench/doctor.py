"""How often the doctor names the true cause of a report, from the text of the log alone.

    python bench/doctor.py CASES.jsonl [--lines odd|even|all] [--title] [--wrong]

Each line of the file is a JSON object with `error_text` and `cause_class` (and `title`, which is added with --title: people paste
it with the log). Prints how often the true cause came first and among the first three, and with --wrong what it said instead.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anytile.env.diagnose import diagnose
from anytile.env.log import read_log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--lines", choices=("odd", "even", "all"), default="all")
    parser.add_argument("--title", action="store_true")
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    cases = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").splitlines() if line.strip()]
    chosen = {"all": cases, "odd": cases[0::2], "even": cases[1::2]}[options.lines]
    first = third = 0
    for case in chosen:
        text = case["error_text"] + ("\n" + case["title"] if options.title else "")
        causes = list(dict.fromkeys(f.cause for f in diagnose(read_log(text))))
        first += causes[:1] == [case["cause_class"]]
        third += case["cause_class"] in causes[:3]
        if options.wrong and causes[:1] != [case["cause_class"]]:
            print(f"{case['id']}: {case['cause_class']}, said {', '.join(causes[:3]) or 'nothing'}")
    total = len(chosen) or 1
    print(f"{len(chosen)} reports: first {first} ({first / total:.1%}), among the first three {third} ({third / total:.1%})")


if __name__ == "__main__":
    main()
