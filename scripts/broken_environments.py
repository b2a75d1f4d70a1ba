#!/usr/bin/env python3
"""Breaks environments made of genuine wheels, has the doctor diagnose and mend them; bench/results/broken-environments.jsonl.

    python scripts/broken_environments.py [--record] [--list] [NAME-PART ...]

Downloads about a gigabyte into ~/.cache/anytile-tests (ANYTILE_TEST_WHEELS), once. The light ones are also tests
(tests/env/test_broken.py). With --record the results replace the recorded ones of the same names.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "env"), str(ROOT / "src")]

import broken_scenarios  # noqa: E402, F401
import broken_windows  # noqa: E402, F401
from broken import SCENARIOS, play  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "broken-environments.jsonl"


def main() -> int:
    parts = [a for a in sys.argv[1:] if not a.startswith("--")]
    chosen = [s for s in SCENARIOS if not parts or any(p in s.name for p in parts)]
    if "--list" in sys.argv:
        for s in chosen:
            print(f"{s.name:45} {'heavy' if s.heavy else 'light'}  {' '.join((s.build.__doc__ or '').split())}")
        return 0
    outcomes = []
    for s in chosen:
        with tempfile.TemporaryDirectory(prefix="broken-") as folder:
            outcome = play(s, Path(folder) / "box")
        outcomes.append(outcome)
        print(
            f"{outcome.name:45} {'right' if outcome.right else 'WRONG':6} {outcome.seconds:6.1f} s  {'; '.join(outcome.found)[:100]}",
            flush=True,
        )
        if not outcome.right:
            print(f"    {outcome.error[:1500]}", flush=True)
    print(f"{sum(o.right for o in outcomes)} of {len(outcomes)} diagnosed, mended and verified")
    if "--record" in sys.argv:
        old = [json.loads(x) for x in RESULTS.read_text().splitlines()[1:]] if RESULTS.exists() else []
        rows = {r["name"]: r for r in old} | {o.name: {**dataclasses.asdict(o), "right": o.right} for o in outcomes}
        ordered = [rows[s.name] for s in SCENARIOS if s.name in rows]
        head = {
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
            "right": sum(r["right"] for r in ordered),
            "of": len(ordered),
        }
        text = "".join(json.dumps(r) + "\n" for r in (head, *ordered))
        RESULTS.write_text(re.sub(r"[\w/.-]*/broken-\w+/box", "BOX", text), encoding="utf-8")  # a folder that nobody has
    return 0 if all(o.right for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
