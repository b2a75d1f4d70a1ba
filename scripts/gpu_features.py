"""The table of language features (tests/targets) on a GPU, each case beside the reference target and the CPU: a row each.

    python scripts/gpu_features.py [--out FILE.jsonl] [--only TEXT] [--jobs 8]

Needs a GPU and llvmlite; no torch.  Every case runs in one of ``--jobs`` processes, so that a fault on the GPU ends that process alone:
its case is told apart and the rest goes on in a new one.  The exit status is 1 where a case differs.  Each line of the file: case,
``state`` ("same", "differs", "fails"; "skipped" where the GPU is too old), the largest relative difference of GPU and CPU from the reference, seconds, registers, spills.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "targets"), str(ROOT / "src")]


def row(name: str) -> dict[str, Any]:
    """Runs one case on the three targets."""
    import feature_run as run
    from feature_table import load_all

    case = load_all()[name]
    found: dict[str, Any] = {"case": name, "state": "same"}
    start = time.perf_counter()
    if case.arch > run.target("cuda").arch:
        return found | {"state": "skipped", "why": f"needs compute capability {case.arch / 10}"}
    try:
        if case.fails:
            wrong = [t for t in run.TARGETS if not run.failure_matches(case, t)]
            return found | ({"state": "differs", "why": f"another message on {', '.join(wrong)}"} if wrong else {})
        want, outcomes = run.run(case, "reference"), {t: run.run(case, t) for t in ("cuda", "cpu")}
        for target, got in outcomes.items():
            apart = {n: run.difference(case, n, got.arrays[n], want.arrays[n]) for n in want.arrays}
            found[target] = max(apart.values(), default=0.0)
            if not found[target] <= case.tolerance:
                place = max(apart, key=lambda n: apart[n])
                values = f"{got.arrays[place].ravel()[:4]} for {want.arrays[place].ravel()[:4]}"
                found |= {"state": "differs", "why": f"{target}: {place} by {found[target]:.2g}, allowed {case.tolerance:.2g}: {values}"}
            if got.lines != want.lines:
                found |= {"state": "differs", "why": f"{target} printed {sorted(got.lines ^ want.lines)[:4]}"}
        resources = run.compiled(case, run.target("cuda")).metadata["resources"]
        found |= {"registers": resources["registers"], "spills": resources["spill_stores"]}
    except Exception as error:
        found |= {"state": "fails", "why": f"{type(error).__name__}: {str(error)[-400:]}"}
    return found | {"seconds": round(time.perf_counter() - start, 2)}


def serve() -> None:
    """Cases by line from standard input, rows to standard error (standard output belongs to the kernels)."""
    for line in sys.stdin:
        print(json.dumps(row(line.strip())), file=sys.stderr, flush=True)


def work(names: list[str], rows: list[dict[str, Any]], lock: threading.Lock, report: Any) -> None:
    """Takes names until there are none; a process that ends at a case is replaced."""
    child: subprocess.Popen[str] | None = None
    while True:
        with lock:
            if not names:
                break
            name = names.pop()
        if child is None:
            child = subprocess.Popen(
                [sys.executable, __file__, "--serve"], text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
        assert child.stdin is not None and child.stderr is not None
        child.stdin.write(name + "\n")
        child.stdin.flush()
        said: list[str] = []
        while (line := child.stderr.readline()) and not line.startswith('{"case"'):
            said.append(line)
        found = json.loads(line) if line else {"case": name, "state": "fails", "why": "the process ended: " + "".join(said)[-300:]}
        if not line or "KernelFaultError" in found.get("why", ""):
            child.kill()
            child = None
        with lock:
            rows.append(found)
            report(found)
    if child is not None and child.stdin is not None:
        child.stdin.close()
        child.wait(60)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, help="file for the rows")
    options.add_argument("--only", default="", help="cases whose name holds this text")
    options.add_argument("--jobs", type=int, default=8)
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve()
        return 0
    from feature_table import load_all

    names = [name for name in load_all() if given.only in name][::-1]
    total, rows, lock = len(names), [], threading.Lock()

    def report(found: dict[str, Any]) -> None:
        print(f"{found['state']:<8} {found['case'][:90]:<90} {found.get('cuda', 0):8.1e} {found.get('why', '')}", flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(found) + "\n")

    threads = [threading.Thread(target=work, args=(names, rows, lock, report)) for _ in range(given.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same, skipped = (sum(r["state"] == state for r in rows) for state in ("same", "skipped"))
    print(f"{same} of {total} cases the same on reference, CPU and GPU, {skipped} skipped")
    return 0 if same + skipped == total else 1


if __name__ == "__main__":
    sys.exit(main())
