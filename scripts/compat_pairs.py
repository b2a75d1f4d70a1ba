"""torch x Triton pairs: what `anytile compat check` says of them beside what happens when they are run; no GPU is needed.

    python scripts/compat_pairs.py facts FOLDER                 write src/anytile/compatcheck/upstream.json from the wheels there
    python scripts/compat_pairs.py run FOLDER [--pairs A,B]     run pairs ("2.6.0+3.2.0", "2.6.0+anytile"); append to RESULTS
    python scripts/compat_pairs.py table                        the Markdown table of RESULTS

FOLDER holds ``torch-VERSION/`` and ``triton/VERSION/``, unpacked wheels: CUDA builds of torch for Linux, which run without a GPU where
stub libraries stand in for NVIDIA's.  Each pair runs in a process of its own (`compat_pairs_child.py`), in four steps: importing
Inductor's modules, analysing a user-defined kernel, compiling an Inductor kernel for sm_80 and for sm_90 up to the launcher, and
(for anytile) compiling and running on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from anytile.compat.level import Level
from anytile.compatcheck.check import Torch
from anytile.compatcheck.definitions import TritonSources
from anytile.compatcheck.sources import Sources

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "compat-pairs.jsonl"
FACTS = ROOT / "src" / "anytile" / "compatcheck" / "upstream.json"
STEPS = ("import", "analysis", "sm_80", "sm_90", "cpu")
_SECONDS = 2400  # of the clock, for the steps of one process: on a machine that is busy with other things


def _folders(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    def order(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    torches = {p.name.removeprefix("torch-"): p for p in folder.glob("torch-*") if (p / "torch").is_dir()}
    tritons = {p.name: p for p in (folder / "triton").iterdir() if (p / "triton").is_dir()}
    return {v: torches[v] for v in sorted(torches, key=order)}, {v: tritons[v] for v in sorted(tritons, key=order)}


def write_facts(folder: Path) -> None:
    torches, tritons = _folders(folder)
    asked: set[tuple[str, str]] = set()
    for place in torches.values():
        asked |= Torch(Sources(place, "torch")).questions
    present: dict[str, list[int]] = {}
    known = {v: TritonSources(Sources(place, "triton")) for v, place in tritons.items()}
    for name, how in sorted(asked):
        minors = [t.level[1] for t in known.values() if t.has(name, how) is not False]
        if len(minors) < len(known):
            present[f"{how} {name}"] = minors
    text = json.dumps({"torch": list(torches), "triton": list(tritons), "present": present}, indent=0)
    FACTS.write_text(text + "\n", encoding="utf-8")
    print(f"{len(asked)} names of torch {', '.join(torches)}; {len(present)} are not in every Triton")


def _said(torch: Torch, triton: str, tritons: dict[str, Path]) -> dict[str, Any]:
    verdict = torch.judged(torch.face() if triton == "anytile" else TritonSources(Sources(tritons[triton], "triton")))
    return {"ok": verdict.ok, "breaks": verdict.breaks()}


def _ran(torch: Path, triton: Path | None, level: Level | None, compiles: bool, before: dict[str, str]) -> dict[str, str]:
    """Step → "ok", "skipped" or the last line of what went wrong.

    What a Triton's wheel compiles for is not in question here, and it has no CPU: it goes through fewer steps, and through compiling
    only where ``compiles``.  Processes of whose steps ``before`` has results are not started again.
    """
    out: dict[str, str] = {}
    theirs = ("import", "analysis", *(["sm_80"] if compiles else []))
    for steps in [theirs] if triton else [("import", "analysis", "sm_80"), ("sm_90",), ("cpu",)]:
        if _complete({step: before.get(step, "no result") for step in steps}) and "skipped" not in (before[step] for step in steps):
            out |= {step: before[step] for step in steps}
        elif out.get("import", "ok") == "ok":
            out |= _steps(steps, torch, triton, level)
    return {step: out.get(step, "skipped") for step in STEPS if triton is None or step not in ("sm_90", "cpu")}


def _steps(steps: tuple[str, ...], torch: Path, triton: Path | None, level: Level | None) -> dict[str, str]:
    """These steps in one process."""
    with tempfile.TemporaryDirectory(prefix="pair-") as scratch:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON_", "TORCH", "ANYTILE_"))}
        env["PYTHONPATH"] = os.pathsep.join(map(str, [torch, *([triton] if triton else []), ROOT / "src"]))
        env |= {
            "TORCHINDUCTOR_CACHE_DIR": scratch,
            "TRITON_CACHE_DIR": f"{scratch}/t",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "HOME": scratch,
        }
        if level is not None:
            env |= {"ANYTILE_TRITON_API": level.version, "ANYTILE_TARGET": "cpu"}
        command = [
            sys.executable,
            str(ROOT / "scripts" / "compat_pairs_child.py"),
            ",".join(steps),
            "anytile" if triton is None else "triton",
        ]
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_SECONDS, cwd=scratch)
        except subprocess.TimeoutExpired:
            return dict.fromkeys(steps, f"no result: {_SECONDS} s were over")
    results = (line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("RESULT "))
    out = {step: result for _, step, result in results}
    if not out.get("import", "ok") == "ok":
        return out
    return {step: out.get(step, f"crashed: {' '.join(done.stderr.splitlines()[-2:])[:300]}") for step in steps}


def _agrees(said: dict[str, Any], ran: dict[str, str]) -> bool:
    """Whether the steps that failed are those for which the check names a break."""
    breaks = said["breaks"]
    imports = "import" not in breaks
    compiles = imports and "compile" not in breaks and "call" not in breaks
    analysis = imports and "analysis" not in breaks and "signatures by name" not in breaks.get("compile", ())
    expected = {"import": imports, "analysis": analysis, "sm_80": compiles, "sm_90": compiles, "cpu": compiles}
    return all(
        expected[step] == (result == "ok") for step, result in ran.items() if result != "skipped" and not result.startswith("no result")
    )


def run(folder: Path, wanted: list[str], reuse: bool, brief: bool, resume: bool) -> None:
    torches, tritons = _folders(folder)
    known = {pair: row["ran"] for pair, row in _recorded().items()}
    read: dict[str, Torch] = {}
    for pair in wanted:
        torch, _, triton = pair.partition("+")
        if resume and _complete(known.get((torch, triton), {})):
            continue
        if torch not in read:
            read.clear()
            read[torch] = Torch(Sources(torches[torch], "torch"))
        said = _said(read[torch], triton, tritons)
        begin = time.time()
        before = known.get((torch, triton), {})
        if reuse and before:
            ran = before
        else:
            level = read[torch].level if triton == "anytile" else None
            compiles = not brief or "compile" in said["breaks"] or triton.startswith(f"{read[torch].pin}")
            ran = _ran(torches[torch], tritons.get(triton), level, compiles, before if resume else {})
        row = {
            "torch": torch,
            "triton": triton,
            "agree": _agrees(said, ran),
            "said": said,
            "ran": ran,
            "seconds": round(time.time() - begin),
        }
        with RESULTS.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row).replace(str(folder.resolve()), "…") + "\n")  # results are for everybody
        print(pair, "agree" if row["agree"] else "DISAGREE", said["breaks"], {k: v[:90] for k, v in ran.items()}, flush=True)


def _recorded() -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of RESULTS; of a pair the last counts."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {(row["torch"], row["triton"]): row for row in map(json.loads, lines)}


def _complete(ran: dict[str, str]) -> bool:
    return bool(ran) and not any(result.startswith("no result") for result in ran.values())


def table() -> None:
    rows = _recorded()

    def order(version: str) -> list[int]:
        return [int(part) for part in version.split(".")] if version[0].isdigit() else [99]

    columns = sorted({triton for _, triton in rows}, key=order)
    print("| torch \\ Triton | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for torch in sorted({t for t, _ in rows}, key=order):
        print(f"| {torch} | " + " | ".join(_cell(rows.get((torch, c))) for c in columns) + " |")
    complete = [r for r in rows.values() if _complete(r["ran"])]
    print(
        f"\n{len(complete)} pairs ran to the end, {sum(r['agree'] for r in complete)} agree with the check; {len(rows) - len(complete)} unfinished"
    )


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if not _complete(row["ran"]):
        return "unfinished"
    failed = [step for step, result in row["ran"].items() if result not in ("ok", "skipped")]
    return ("ok" if not failed else ", ".join(failed) + " fail") + ("" if row["agree"] else " (check says otherwise)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("facts", "run", "table"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pairs", default="", help="comma-separated TORCH+TRITON; default: every torch with every Triton and anytile")
    parser.add_argument(
        "--brief", action="store_true", help="compile with a Triton only where torch pins it, or the check names a break there"
    )
    parser.add_argument("--resume", action="store_true", help="leave out pairs that RESULTS has all results of")
    parser.add_argument("--reuse", action="store_true", help="of pairs that RESULTS has, keep what the runs gave and check anew")
    a = parser.parse_args()
    if a.command == "table":
        return table()
    if a.folder is None:
        parser.error("FOLDER is needed")
    if a.command == "facts":
        return write_facts(a.folder)
    torches, tritons = _folders(a.folder)
    run(
        a.folder,
        a.pairs.split(",") if a.pairs else [f"{t}+{x}" for t in torches for x in [*tritons, "anytile"]],
        a.reuse,
        a.brief,
        a.resume,
    )


if __name__ == "__main__":
    main()
