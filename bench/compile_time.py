"""How long kernels take to compile, over every kernel that a program launches.

    anytile run bench/compile_time.py [--out FILE] [--slowest 5] SCRIPT [ARGUMENTS …]
    python bench/compile_time.py --combine FILE …

Runs SCRIPT with an empty cache and times each compilation in it, from source text to object code: wall clock, and CPU time of the
thread that compiles (on a loaded machine only that says something).  Ends with one JSON line: kernels, median and 95th percentile of
both in milliseconds, the shares of tracing and of LLVM, and the slowest kernels with their constants.  ``--out`` gets the line and one
for each kernel.  ``--combine`` prints such a line for each script of several such files, of each kernel the least of the runs, and one for
all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import sys
import tempfile
import time


def watch(found: list[dict]) -> None:
    """From now on every compilation appends its facts to ``found``."""
    from anytile.llvm import engine
    from anytile.runtime import compiler

    compile_anew = compiler._compile_anew
    inside = {"trace_ms": 0.0, "llvm_ms": 0.0}

    def counted(function, what):
        def count(*args, **kwargs):
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                inside[what] += (time.thread_time() - start) * 1e3

        return count

    def timed(src, *args):
        compiler.import_compiler(args[0])  # the first compilation's imports are no kernel's
        inside.update(trace_ms=0.0, llvm_ms=0.0)
        wall, cpu = time.perf_counter(), time.thread_time()
        result = compile_anew(src, *args)
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        constants = {".".join(map(str, path)): repr(value) for path, value in getattr(src, "constexprs", {}).items()}
        found.append({"kernel": src.name, "wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3, **inside, "constants": constants})
        return result

    compiler._compile_anew = timed
    compiler.ASTSource.make_module = counted(compiler.ASTSource.make_module, "trace_ms")
    engine.compile_object = counted(engine.compile_object, "llvm_ms")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def summary(script: str, found: list[dict], slowest: int) -> dict:
    facts: dict = {"what": os.path.basename(script), "kernels": len(found), "python": platform.python_version()}
    for clock in ("wall_ms", "cpu_ms"):
        times = [f[clock] for f in found]
        facts[clock] = {"median": percentile(times, 0.5), "p95": percentile(times, 0.95), "largest": max(times)}
    for share in ("trace", "llvm"):
        facts[f"{share}_share"] = sum(f[f"{share}_ms"] for f in found) / sum(f["cpu_ms"] for f in found)
    order = sorted(found, key=lambda f: -f["cpu_ms"])[:slowest]
    facts["slowest"] = [{k: f[k] for k in ("kernel", "cpu_ms", "llvm_ms", "constants")} for f in order]
    return facts


def combine(files: list[str], slowest: int) -> None:
    """Prints what several runs of the scripts say together."""
    runs: dict[str, list[list[dict]]] = {}
    for name in files:
        with open(name, encoding="utf-8") as f:
            head, *kernels = (json.loads(line) for line in f)
        runs.setdefault(head["what"], []).append(kernels)
    every: list[dict] = []
    for what, several in runs.items():
        names = [[f["kernel"] for f in one] for one in several]
        if any(n != names[0] for n in names):
            sys.exit(f"the runs of {what} compiled different kernels")
        best = [min(same, key=lambda f: f["cpu_ms"]) for same in zip(*several)]
        print(json.dumps({**summary(what, best, slowest), "runs": len(several)}))
        every += best
    print(json.dumps(summary("all", every, 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    parser.add_argument("--slowest", type=int, default=5)
    parser.add_argument("--combine", action="store_true", help="SCRIPT and ARGUMENTS are files that --out wrote")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.combine:
        combine([args.script, *args.arguments], args.slowest)
        return
    found: list[dict] = []
    watch(found)
    sys.argv = [args.script, *args.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.script)))
    with tempfile.TemporaryDirectory(prefix="anytile-compile-time-") as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        try:
            runpy.run_path(args.script, run_name="__main__")
        except SystemExit as end:
            print(f"{args.script} ended with {end.code}", file=sys.stderr)
    if not found:
        sys.exit(f"{args.script} compiled no kernel")
    lines = [json.dumps(summary(args.script, found, args.slowest)), *(json.dumps(f) for f in found)]
    print(lines[0])
    if args.out:
        with open(args.out, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
