"""Reductions of many rows on a GPU: anytile, other trees of it, and the installed Triton, in turns.

    python bench/gpu_reductions.py [--beside NAME=FOLDER …] [--rounds 3] [--only WORD …] [--seconds N] [--out FILE]

FOLDER holds another checkout's ``src``.  Each side is a process of its own; for each case all make it and launch it once, side by side, then
they take turns.  A row says for each side: µs of a launch (the median over the rounds of the median of a burst, L2 flushed before each
launch), registers, and the largest distance of a result from torch's, relative to its norm.  Kernels: argmax over far columns, sums,
softmax and others of rows in blocks, columns of a product, and two that reduce in each step of a loop.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAUNCHES = 15
"""In a burst."""
ROOT = Path(__file__).resolve().parent.parent


def rows(kernel: str, m: int, n: int, warps: int, total: int = 65536, dtype: str = "float32") -> dict[str, Any]:
    """A case over ``total`` rows of ``n``, ``m`` of them a block."""
    return {"kernel": kernel, "M": m, "N": n, "num_warps": warps, "rows": total, "dtype": dtype}


CASES: list[dict[str, Any]] = [
    {"kernel": "far argmax", "shape": [2048, 512, 32]},
    {"kernel": "far argmax", "shape": [1, 1024, 4096]},
    rows("sums", 8, 512, 4),
    rows("sums", 128, 64, 4, 524288),
    rows("sums", 32, 32, 1, 524288),
    rows("argmax", 16, 256, 4),
    rows("argmax", 16, 256, 1),
    rows("softmax", 8, 512, 4),
    rows("softmax", 64, 64, 4, 262144),
    rows("softmax", 128, 64, 4, 262144),
    rows("softmax", 16, 256, 1),
    rows("softmax", 2, 1024, 4, 32768),
    rows("softmax", 4, 512, 2, dtype="bfloat16"),
    rows("norm", 4, 1024, 4, 32768),
    rows("norm", 8, 512, 4, dtype="bfloat16"),
    rows("norm", 16, 128, 1, 131072, dtype="bfloat16"),
    rows("variances", 8, 512, 4),
    rows("online", 4, 1024, 4, 4096),
    rows("online", 16, 256, 4, 4096, dtype="bfloat16"),
    {"kernel": "cube", "A": 8, "B": 16, "C": 64, "num_warps": 4},
    {"kernel": "recurrent", "K": 64, "BV": 8, "num_warps": 1},
    {"kernel": "recurrent", "K": 128, "BV": 8, "num_warps": 1},
    {"kernel": "recurrent", "K": 128, "BV": 16, "num_warps": 4},
    {"kernel": "decode", "BN": 32, "num_warps": 4, "dtype": "bfloat16"},
    {"kernel": "decode", "BN": 64, "num_warps": 4, "dtype": "float32"},
    {"kernel": "columns", "BM": 128, "BN": 128, "num_warps": 8},
    {"kernel": "columns", "BM": 64, "BN": 128, "num_warps": 4},
]


def prepared(case: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], tuple[Any, Any]]]:
    """(a launch, the launch's result beside torch's) of a case, on fresh tensors."""
    import gpu_reductions_kernels as k
    import torch

    torch.manual_seed(0)
    kernel, warps = case["kernel"], case.get("num_warps", 4)

    def tensor(*shape: int, dtype: Any = torch.float32) -> Any:
        return torch.randn(*shape, device="cuda", dtype=dtype)

    def zeros(*shape: int, dtype: Any = torch.float32) -> Any:
        return torch.zeros(*shape, device="cuda", dtype=dtype)

    if kernel == "far argmax":
        m, n, last = case["shape"]
        x, out = tensor(m, n, last), zeros(m, last, dtype=torch.int64)
        return (lambda: k.far_argmax[(-(-m // 128), last)](x, out, m, n, last, BM=128, BN=128)), lambda: (out, x.argmax(1))
    if kernel == "recurrent":
        batch, steps, d, v = 64, 512, case["K"], 128
        query, key = (torch.nn.functional.normalize(tensor(batch, steps, d), dim=-1) for _ in range(2))
        value, beta, out = tensor(batch, steps, v), torch.rand(batch, steps, device="cuda"), zeros(batch, steps, v)

        def first_steps() -> tuple[Any, Any]:
            state, made = zeros(batch, d, v), []
            for t in range(16):
                new = (value[:, t] - torch.einsum("bkv,bk->bv", state, key[:, t])) * beta[:, t, None]
                state = state + key[:, t, :, None] * new[:, None, :]
                made.append(torch.einsum("bkv,bk->bv", state, query[:, t]))
            return out[:, :16], torch.stack(made, 1)

        grid = (batch, v // case["BV"])
        return (lambda: k.recurrent[grid](query, key, value, beta, out, steps, K=d, V=v, BV=case["BV"], num_warps=warps)), first_steps
    if kernel == "columns":
        n, depth, bm, bn = 4096, 1024, case["BM"], case["BN"]
        a, b, out = tensor(n, depth, dtype=torch.bfloat16), tensor(depth, n, dtype=torch.bfloat16), zeros(n // bm, n)
        return (
            lambda: k.column_maxima[(n // bm, n // bn)](a, b, out, depth, depth, n, BM=bm, BN=bn, BK=64, num_warps=warps),
            lambda: (out, (a.float() @ b.float()).view(n // bm, bm, n).amax(1)),
        )
    if kernel == "cube":
        a, b, c = (case[name] for name in "ABC")
        x, out = tensor(262144 // b, b, c), zeros(262144 // b, b)
        return (lambda: k.cube[(len(x) // a,)](x, out, A=a, B=b, C=c, num_warps=warps)), lambda: (out, x.amax(2))
    dtype = getattr(torch, case["dtype"])
    if kernel == "decode":
        heads, n, d = 1024, 512, 128
        q, keys, values = tensor(heads, d, dtype=dtype), tensor(heads, n, d, dtype=dtype), tensor(heads, n, d, dtype=dtype)
        out = zeros(heads, d)
        return (
            lambda: k.decode[(heads,)](q, keys, values, out, n, D=d, BN=case["BN"], num_warps=warps),
            lambda: (out, (torch.softmax((keys.float() @ q.float()[:, :, None]) * 0.1, 1) * values.float()).sum(1)),
        )
    m, n, total = case["M"], case["N"], case["rows"]
    width = 8192 if kernel == "online" else n
    x = tensor(total, width, dtype=dtype)
    one, whole, weight = zeros(total, dtype=torch.int32 if kernel == "argmax" else torch.float32), torch.empty_like(x), tensor(n)
    grid, block = (total // m,), {"M": m, "N": n, "num_warps": warps}
    by_name: dict[str, tuple[Callable[[], Any], Callable[[], tuple[Any, Any]]]] = {
        "sums": (lambda: k.sums[grid](x, one, n, **block), lambda: (one, x.float().sum(1))),
        "argmax": (lambda: k.argmax[grid](x, one, n, **block), lambda: (one, x.argmax(1))),
        "variances": (lambda: k.variances[grid](x, one, n, **block), lambda: (one, x.float().var(1, unbiased=False))),
        "softmax": (lambda: k.softmax[grid](x, whole, n, **block), lambda: (whole, torch.softmax(x.float(), 1))),
        "online": (lambda: k.online[grid](x, whole, width, width, **block), lambda: (whole, torch.softmax(x.float(), 1))),
        "norm": (
            lambda: k.norm[grid](x, whole, weight, n, **block),
            lambda: (whole, torch.nn.functional.layer_norm(x.float(), (n,), weight)),
        ),
    }
    return by_name[kernel]


def work() -> None:
    """Answers requests, a JSON line each: a case is made and launched once; ``null`` asks for a burst of it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    flush = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    launch: Callable[[], Any] = lambda: None  # noqa: E731  until there is one

    def burst() -> float:
        events = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(LAUNCHES)]
        for begin, end in events:
            flush.zero_()
            begin.record()
            launch()
            end.record()
        torch.cuda.synchronize()
        return 1000 * statistics.median(a.elapsed_time(b) for a, b in events)

    for line in sys.stdin:
        case = json.loads(line)
        try:
            if case is None:
                answer: dict[str, Any] = {"us": burst()}
            else:
                launch = lambda: None  # noqa: E731  gives its memory back
                launch, results = prepared(case)
                kernel = launch()
                got, want = (t.double() for t in results())
                answer = {"registers": kernel.n_regs, "spills": kernel.n_spills, "error": ((got - want).norm() / want.norm()).item()}
        except Exception as e:
            answer = {"failed": f"{type(e).__name__}: {e}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Side:
    """A process with one compiler: anytile from the sources in ``src``, or the installed Triton (None)."""

    def __init__(self, src: Path | None, cache: str) -> None:
        run = ["-m", "anytile", "run"] if src else []
        env = {**os.environ, "TRITON_CACHE_DIR": cache, "ANYTILE_CACHE_DIR": cache, **({"PYTHONPATH": str(src)} if src else {})}
        command = [sys.executable, *run, str(Path(__file__).resolve()), "--worker"]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, request: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says so

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": "the process has ended"}


def measured(sides: dict[str, Side], case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """The row of one case."""
    for side in sides.values():
        side.send(case)
    made = {name: side.answer() for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name, facts in made.items() if "failed" not in facts}
    for _ in range(rounds):
        for name, found in times.items():
            sides[name].send(None)
            found.append(sides[name].answer().get("us", float("nan")))
    facts = {name: {"us": round(statistics.median(times[name]), 2), **made[name]} if name in times else made[name] for name in sides}
    return {**case, **facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", nargs="*", default=[], metavar="NAME=FOLDER", help="other trees of anytile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="cases whose kernels' names have one of these words")
    parser.add_argument("--seconds", type=float, default=1e9, help="no case begins later")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work()
        return
    start, lines = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="anytile-gpu-reductions-") as folder:
        trees = {"anytile": ROOT, **{name: Path(path).resolve() for name, path in (pair.split("=", 1) for pair in args.beside)}}
        sides = {name: Side(path / "src", f"{folder}/{name}") for name, path in trees.items()}
        sides["triton"] = Side(None, f"{folder}/triton")
        for case in CASES:
            if time.monotonic() - start > args.seconds or args.only and not any(word in case["kernel"] for word in args.only):
                continue
            lines.append(json.dumps(measured(sides, case, args.rounds)))
            print(lines[-1], flush=True)
            if args.out:  # after each case, so that what a time limit ends keeps what it has measured
                args.out.write_text("\n".join(lines) + "\n")
        for side in sides.values():
            side.process.kill()


if __name__ == "__main__":
    main()
