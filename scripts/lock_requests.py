#!/usr/bin/env python3
"""Puts the requests of tests/env/lock_cases.py to `anytile lock` and the live package index; bench/results/lock-requests.jsonl.

    python scripts/lock_requests.py [--record] [--pytorch] [CASE ...]

PyPI is asked itself. download.pytorch.org is answered by what is recorded of it (tests/env/data), unless --pytorch says to ask it too.
What comes out for Poetry goes through `poetry check`, where Poetry is installed. With --record the results replace the recorded ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "env")]

from lock_cases import CASES, Case  # noqa: E402
from lock_index import RecordedIndex  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "lock-requests.jsonl"


def ask(case: Case, mirrors: list[str]) -> dict[str, object]:
    words = [w for m in mirrors for w in ("--mirror", m)]
    inside = [] if case.live or not mirrors else ["--no-look-inside"]  # recorded wheels have no inside
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "anytile", "lock", *case.packages, *case.options, *words, *inside]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, timeout=580)
        row: dict[str, object] = {
            "case": case.name,
            "request": " ".join([*case.packages, *case.options]),
            "against": "PyPI" if case.live else "PyPI; download.pytorch.org as recorded" if mirrors else "PyPI, download.pytorch.org",
            "exit": done.returncode,
            "seconds": round(time.perf_counter() - start, 1),
        }
        file = next((f for f in Path(folder).iterdir()), None)
        if case.error:
            row["right"] = done.returncode == 1 and case.error in " ".join(done.stderr.split()) and file is None
            row["said"] = " ".join(done.stderr.split())[:300]
            return row
        text = file.read_text() if file else ""
        missing = [p for p in case.pins if not p.endswith(" -") and p.split()[1].replace("+", "%2B") not in text.replace("+", "%2B")]
        row["right"] = done.returncode == 0 and not missing
        row["missing"] = missing
        row["said"] = done.stderr.strip().splitlines()[-8:] if done.returncode else []
        row["needs"] = [x for x in done.stderr.splitlines() if x.startswith(("needs", "note"))]
        if "poetry" in case.options and (poetry := shutil.which("poetry")):
            check = subprocess.run([poetry, "check"], cwd=folder, capture_output=True, text=True)
            row["poetry check"] = check.stdout.strip() or check.stderr.strip()
            row["right"] = row["right"] and check.returncode == 0
        row["file"] = [x for x in text.splitlines() if x.strip() and not x.lstrip().startswith(("--hash", "#"))][:40]
        return row


def main() -> int:
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    index = RecordedIndex()
    mirrors = [] if "--pytorch" in sys.argv else [m for m in index.mirrors if "pytorch" in m]
    rows = []
    for case in CASES:
        if not names or case.name in names:
            rows.append(ask(case, [] if case.live else mirrors))
            print(f"{case.name:28} {'right' if rows[-1]['right'] else 'WRONG':6} {rows[-1]['seconds']} s", flush=True)
            if not rows[-1]["right"]:
                print(json.dumps(rows[-1], indent=1))
    if "--record" in sys.argv:
        RESULTS.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    print(f"{sum(bool(r['right']) for r in rows)} of {len(rows)} right")
    return 0 if all(r["right"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
