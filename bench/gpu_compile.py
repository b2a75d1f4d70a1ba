"""Seconds until a kernel's first launch is done, its cache empty: anytile beside Triton on one GPU, in turns of fresh processes.

    python bench/gpu_compile.py [--rounds 3] [--only NAME …] [--out FILE]     both, Triton being what is installed
    python bench/gpu_compile.py --plain …                                     the installed Triton alone
    python bench/gpu_compile.py --anytile …                                   anytile alone

Each round starts a process for each, with a cache folder of its own.  The process makes its tensors, launches one tiny kernel (``start``:
the seconds of that, in which imports and the driver's beginnings fall) and then every case once, by the host's clock from the call to
the end of the launch.  A case is a kernel with one configuration.  One JSON line for each case: the median of the rounds for both, their
ratio, registers and bytes spilled; last the geometric means over the matmuls, the attentions and the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WORKER = "ANYTILE_BENCH_WORKER"
MATMULS = [(128, 256, 64, 3, 8), (128, 256, 64, 4, 8), (128, 128, 64, 4, 4), (128, 128, 64, 3, 8), (64, 256, 64, 4, 4)]
ATTENTIONS = [(128, 64, 3, 4), (128, 64, 3, 8), (128, 128, 2, 8)]


def cases(torch: Any, k: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, its launch) of every case; ``k``: the module of the kernels."""

    def tensor(*shape: int, dtype: Any = torch.bfloat16) -> Any:
        return torch.randn(*shape, device="cuda", dtype=dtype)

    x, y = tensor(1 << 20, dtype=torch.float32), tensor(1 << 20, dtype=torch.float32)
    yield "add", lambda: k.add[(1024,)](x, y, x, 1 << 20, BLOCK=1024)
    rows, weight, sums = tensor(1024, 4096), tensor(4096), tensor(1024, dtype=torch.float32)
    yield "softmax 4096", lambda: k.softmax[(1024,)](rows, rows, 4096, 4096, BLOCK=4096, num_warps=8)
    yield "softmax 12000", lambda: k.softmax[(128,)](rows, rows, 12000, 12000, BLOCK=16384, num_warps=8)
    yield "layer norm", lambda: k.layer_norm[(1024,)](rows, rows, weight, weight, sums, 4096, 4096, 1e-5, BLOCK=4096, num_warps=8)
    labels = torch.zeros(128, device="cuda", dtype=torch.int64)
    yield "cross entropy", lambda: k.cross_entropy[(128,)](rows, 32000, sums, labels, 32000, BLOCK=8192, num_warps=8)
    n = 1024
    for kind in (torch.bfloat16, torch.float32):
        a, b, c = (tensor(n, n, dtype=kind) for _ in range(3))
        for bm, bn, bk, stages, warps in MATMULS if kind is torch.bfloat16 else [(128, 128, 32, 3, 4)]:
            yield (
                f"matmul {str(kind)[6:]} {bm}x{bn}x{bk} stages {stages} warps {warps}",
                lambda a=a, b=b, c=c, bm=bm, bn=bn, bk=bk, stages=stages, warps=warps: k.matmul[(-(-n // bm) * -(-n // bn),)](
                    a, b, c, n, n, n, n, n, n, BM=bm, BN=bn, BK=bk, GROUP=8, num_stages=stages, num_warps=warps
                ),
            )
    for d, causal in ((64, False), (128, True)):
        q, key, v, o = (tensor(8, n, d) for _ in range(4))
        for bm, bn, stages, warps in ATTENTIONS:
            yield (
                f"attention {d}{' causal' if causal else ''} {bm}x{bn} stages {stages} warps {warps}",
                lambda q=q, key=key, v=v, o=o, d=d, causal=causal, bm=bm, bn=bn, stages=stages, warps=warps: k.attention[(n // bm, 8)](
                    q, key, v, o, d**-0.5, n * d, d, n, D=d, CAUSAL=causal, BM=bm, BN=bn, num_stages=stages, num_warps=warps
                ),
            )


def work(only: list[str]) -> None:
    """Launches the cases, timed, with whatever serves ``triton``: one JSON line each."""
    import gpu_compile_kernels as kernels
    import torch

    def timed(launch: Callable[[], Any]) -> tuple[float, Any]:
        torch.cuda.synchronize()
        start = time.perf_counter()
        kernel = launch()
        torch.cuda.synchronize()
        return time.perf_counter() - start, kernel

    x = torch.zeros(16, device="cuda")
    print(json.dumps({"case": "start", "s": timed(lambda: kernels.tiny[(1,)](x, BLOCK=16))[0]}), flush=True)
    for name, launch in cases(torch, kernels):
        if only and not any(word in name for word in only):
            continue
        seconds, kernel = timed(launch)
        print(json.dumps({"case": name, "s": seconds, "registers": kernel.n_regs, "spills": kernel.n_spills}), flush=True)


def invocation(anytile: bool, script: Path, cache: str) -> tuple[list[str], dict[str, str]]:
    """(command, environment) of a process that runs ``script`` under anytile or the installed Triton, with ``cache`` for its folder."""
    command = [sys.executable, *(("-m", "anytile", "run") if anytile else ()), str(script)]
    env = {**os.environ, "TRITON_CACHE_DIR": cache, "ANYTILE_CACHE_DIR": cache, "CUDA_CACHE_DISABLE": "1"}
    if anytile:
        env["PYTHONPATH"] = os.pathsep.join([str(script.parents[1] / "src"), *filter(None, [env.get("PYTHONPATH")])])
    return command, env


def started(anytile: bool, only: list[str]) -> list[dict[str, Any]]:
    """What a fresh process with an empty cache measures."""
    with tempfile.TemporaryDirectory(prefix="anytile-gpu-compile-") as cache:
        command, env = invocation(anytile, Path(__file__).resolve(), cache)
        command += ["--only", *only] if only else []
        done = subprocess.run(command, env={**env, WORKER: "1"}, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def kind(case: str) -> str:
    word = case.split()[0]
    return word if word in ("matmul", "attention", "start") else "other"


def summary(found: dict[str, dict[str, list[dict[str, Any]]]]) -> Iterator[dict[str, Any]]:
    """A row for each case, then one for each kind; ``found``: case → implementation → what each round said."""
    ratios: dict[str, list[float]] = {}
    for case, by in found.items():
        row: dict[str, Any] = {"case": case}
        for name, rounds in by.items():
            row[name] = {"s": round(statistics.median(r["s"] for r in rounds), 3), "rounds": len(rounds)}
            row[name] |= {key: rounds[0][key] for key in ("registers", "spills") if key in rounds[0]}
        if {"anytile", "triton"} <= set(by):
            ratio = row["anytile"]["s"] / row["triton"]["s"]
            row["ratio"] = round(ratio, 3)
            ratios.setdefault(kind(case), []).append(ratio)
        yield row
    for name, values in ratios.items():
        mean = statistics.geometric_mean(values)
        yield {"what": name, "cases": len(values), "mean_ratio": round(mean, 3), "largest_ratio": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="cases whose names have one of these words")
    parser.add_argument("--out", type=Path)
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--plain", action="store_true", help="Triton alone")
    alone.add_argument("--anytile", action="store_true", help="anytile alone")
    args = parser.parse_args()
    if os.environ.get(WORKER):
        work(args.only)
        return
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for _ in range(args.rounds):
        for name in ("anytile", "triton"):
            if name == "anytile" and args.plain or name == "triton" and args.anytile:
                continue
            for row in started(name == "anytile", args.only):
                found.setdefault(row.pop("case"), {}).setdefault(name, []).append(row)
        lines = [json.dumps(row) for row in summary(found)]
        if args.out:  # after each round, so that what a time limit ends keeps what it has measured
            args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
