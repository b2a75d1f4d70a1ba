"""How often the doctor names the true cause of a report, from the text of the log alone.

    python bench/doctor.py CASES.jsonl [--lines odd|even|all] [--title] [--wrong] [--record SET]

Each line of the file is a JSON object with `id`, `error_text` and `cause_class` (and `title`, which is added with --title: people
paste it with the log). Prints how often the true cause came first and among the first three, and with --wrong what it said instead.

--record appends the set, by that name, to `results/doctor-unseen.jsonl`: for a set of reports that was never looked at while rules
were written, once, before anything is learnt from it. The texts stay where they are; the file gets repository and number, label, verdict.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anytile.env.diagnose import diagnose
from anytile.env.log import read_log

RESULTS = Path(__file__).parent / "results" / "doctor-unseen.jsonl"


def counts(verdicts: list[tuple[str, str, str]]) -> tuple[int, int]:
    """How many true causes came first, and among the first three."""
    first = sum(v == "first" for _, _, v in verdicts)
    return first, first + sum(v == "among three" for _, _, v in verdicts)


def record(name: str, verdicts: list[tuple[str, str, str]]) -> None:
    """Appends the set ``name``: (repository-number, label, "first" | "among three" | "missed") of each report."""
    known = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    if f'"set": "{name}"' in known:
        raise SystemExit(f"set {name} is in {RESULTS.name} already: a set is scored once; give a new set a new name")
    first, third = counts(verdicts)
    total = len(verdicts)
    rows = [{"set": name, "reports": total, "first_percent": round(100 * first / total), "among_three_percent": round(100 * third / total)}]
    rows += [{"set": name, "report": report, "cause": cause, "verdict": verdict} for report, cause, verdict in verdicts]
    with RESULTS.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--lines", choices=("odd", "even", "all"), default="all")
    parser.add_argument("--title", action="store_true")
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--record", metavar="SET", help="append the verdicts to the results of unseen reports, as the set of this name")
    options = parser.parse_args()
    cases = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").splitlines() if line.strip()]
    chosen = {"all": cases, "odd": cases[0::2], "even": cases[1::2]}[options.lines]
    verdicts: list[tuple[str, str, str]] = []
    for case in chosen:
        text = case["error_text"] + ("\n" + case["title"] if options.title else "")
        causes, true = list(dict.fromkeys(f.cause for f in diagnose(read_log(text)))), case["cause_class"]
        verdict = "first" if causes[:1] == [true] else "among three" if true in causes[:3] else "missed"
        verdicts.append((case["id"], true, verdict))
        if options.wrong and verdict != "first":
            print(f"{case['id']}: {true}, said {', '.join(causes[:3]) or 'nothing'}")
    total = len(chosen) or 1
    first, third = counts(verdicts)
    print(f"{len(chosen)} reports: first {first} ({first / total:.1%}), among the first three {third} ({third / total:.1%})")
    if options.record and verdicts:
        record(options.record, verdicts)


if __name__ == "__main__":
    main()
