"""The yardstick's kinds of kernels under each side's own autotuner, timed in turns: anytile beside Triton on one GPU, torch between them.

    python bench/gpu_turns.py [--rounds 8] [--only WORD …] [--out FILE]

Two processes live side by side, one with anytile, one with the Triton that is installed.  For each case both tune first; then they take
turns, a burst of launches each (L2 flushed before each launch), who begins alternating from round to round.  torch's own kernel (cuBLAS,
cuDNN) takes part in the process with Triton.  So none of them always runs behind a long tuning at full power: a GPU at its power limit
lowers its clock for what comes next, by up to a fifth, which a run of one side after the other takes for a difference between them.

A row says for each side the median of its launches (TFLOP/s or GB/s), the multiprocessors' clock during its bursts (GHz), seconds and
choice of the tuning, and the error; ``ratio`` is anytile's speed over Triton's.  The last row has the geometric means.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_compile import invocation

LAUNCHES = 12
"""In a burst."""
PATIENCE = 120
"""Seconds that a process may take for one answer."""
CASES = (
    "add",
    "softmax 4096",
    "softmax 12000",
    "layer norm",
    "cross entropy",
    "matmul bfloat16 4096",
    "matmul bfloat16 8192",
    "matmul float16 8192",
    "matmul float32 4096",
    "attention 64",
    "attention 128",
    "attention 128 causal",
)


class Case:
    """``launch``, torch's own ``library`` call, ``work`` (floating-point operations or bytes), ``error()`` of the last launch."""

    def __init__(self, name: str) -> None:
        import gpu_compile_kernels as k
        import gpu_turns_kernels as tuned
        import torch

        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = True

        def tensor(*shape: int, dtype: Any) -> Any:
            return torch.randn(*shape, device="cuda", dtype=dtype)

        self.tuner: Any = None
        self.unit = "GB/s"
        kind, *rest = name.split()
        if name == "add":
            n = 1 << 26
            x, y = tensor(n, dtype=torch.float32), tensor(n, dtype=torch.float32)
            out = torch.empty_like(x)
            self.launch: Callable[[], Any] = lambda: k.add[(n // 1024,)](x, y, out, n, BLOCK=1024)
            self.library: Callable[[], Any] = lambda: torch.add(x, y)
            self.work = 12 * n
        elif kind == "softmax":
            n = int(rest[0])
            m = 8192 if n == 4096 else 4096
            x = tensor(m, n, dtype=torch.float16)
            out = torch.empty_like(x)
            block = 1 << (n - 1).bit_length()
            self.launch = lambda: k.softmax[(m,)](out, x, n, n, BLOCK=block, num_warps=8)
            self.library = lambda: torch.softmax(x, -1)
            self.work = 4 * m * n
        elif name == "layer norm":
            m, n = 8192, 4096
            x, w, b = tensor(m, n, dtype=torch.float16), tensor(n, dtype=torch.float16), tensor(n, dtype=torch.float16)
            out, means = torch.empty_like(x), torch.empty(m, device="cuda")
            self.launch = lambda: k.layer_norm[(m,)](x, out, w, b, means, n, n, 1e-5, BLOCK=4096, num_warps=8)
            self.library = lambda: torch.nn.functional.layer_norm(x, (n,), w, b)
            self.work = 4 * m * n
        elif name == "cross entropy":
            m, n = 4096, 128256
            x, labels = tensor(m, n, dtype=torch.bfloat16), torch.randint(0, n, (m,), device="cuda")
            out = torch.empty(m, device="cuda")
            self.launch = lambda: k.cross_entropy[(m,)](x, n, out, labels, n, BLOCK=8192, num_warps=8)
            self.library = lambda: torch.nn.functional.cross_entropy(x.float(), labels, reduction="none")
            self.work = 2 * m * n
        elif kind == "matmul":
            n = int(rest[1])
            a, b = (tensor(n, n, dtype=getattr(torch, rest[0])) for _ in range(2))
            out = torch.empty_like(a)
            self.tuner, self.unit, self.work = tuned.tuned_matmul, "TFLOP/s", 2 * n**3
            self.launch = lambda: tuned.tuned_matmul[lambda c: (-(-n // c["BM"]) * -(-n // c["BN"]),)](a, b, out, n, n, n, n, n, n)
            self.library = lambda: torch.matmul(a, b)
        else:
            d, causal = int(rest[0]), "causal" in rest
            batch, heads, n = 4, 32, 4096
            q, keys, v = (tensor(batch, heads, n, d, dtype=torch.bfloat16) for _ in range(3))
            out = torch.empty_like(q)
            self.tuner, self.unit = tuned.tuned_attention, "TFLOP/s"
            self.work = 4 * batch * heads * n * n * d // (2 if causal else 1)
            self.launch = lambda: tuned.tuned_attention[lambda c: (n // c["BM"], batch * heads)](
                q, keys, v, out, d**-0.5, n * d, d, n, D=d, CAUSAL=causal
            )
            self.library = lambda: torch.nn.functional.scaled_dot_product_attention(q, keys, v, is_causal=causal)
        self.out = out

    def error(self) -> float:
        """‖out − torch's‖ / ‖torch's‖."""
        want = self.library().double()
        return ((self.out.double() - want).norm() / want.norm()).item()


def work() -> None:
    """Answers requests, a JSON line each: ``case`` (makes it, and tunes), ``time`` (a burst; of the library where ``library``)."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import gpu_turns_kernels as kernels
    import torch

    flush = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    before, after = (torch.zeros(512, dtype=torch.int64, device="cuda") for _ in range(2))
    blocks = 4 * torch.cuda.get_device_properties(0).multi_processor_count
    case: Any = None

    def burst(launch: Callable[[], Any], launches: int) -> dict[str, Any]:
        events = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(launches)]
        launch()
        kernels.clocks[(blocks,)](before, num_warps=1)
        for begin, end in events:
            flush.zero_()
            begin.record()
            launch()
            end.record()
        kernels.clocks[(blocks,)](after, num_warps=1)
        torch.cuda.synchronize()
        cycles, ns = (after - before).view(-1, 2)[: blocks // 4].double().unbind(1)
        return {"ms": [a.elapsed_time(b) for a, b in events], "GHz": (cycles / ns).median().item()}

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "case" in asked:
                case = None  # gives its memory back
                case = Case(asked["case"])
                start = time.perf_counter()
                case.launch()
                torch.cuda.synchronize()
                answer = {"first_s": round(time.perf_counter() - start, 2), "error": case.error(), "work": case.work, "unit": case.unit}
                if case.tuner is not None:
                    answer["chosen"] = str(case.tuner.best_config)
            else:
                answer = burst(case.library if asked.get("library") else case.launch, LAUNCHES)
        except Exception as e:
            answer = {"failed": f"{type(e).__name__}: {e}"[:500]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Process:
    """One compiler's side."""

    def __init__(self, anytile: bool, cache: str) -> None:
        command, env = invocation(anytile, Path(__file__).resolve(), cache)
        self.process = subprocess.Popen([*command, "--worker"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Its answer; ``failed`` says why there is none."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return {"failed": "the process has ended"}
        if not select.select([stdout], [], [], PATIENCE)[0]:
            self.process.kill()
            return {"failed": f"no answer within {PATIENCE} s"}
        line = stdout.readline()
        return json.loads(line) if line else {"failed": "the process has ended"}


def measured(sides: dict[str, Process], name: str, rounds: int) -> dict[str, Any]:
    """The row of one case."""
    row: dict[str, Any] = {"case": name}
    made = {side: process.ask(case=name) for side, process in sides.items()}
    asked = {side: (process, {"time": True}) for side, process in sides.items() if "failed" not in made[side]}
    if "triton" in asked:
        asked["torch"] = (sides["triton"], {"time": True, "library": True})
    times: dict[str, list[float]] = {side: [] for side in asked}
    clocks: dict[str, list[float]] = {side: [] for side in asked}
    for n in range(rounds):
        order = list(asked) if n % 2 == 0 else list(reversed(asked))
        for side in order:
            process, request = asked[side]
            got = process.ask(**request)
            if "failed" in got:
                made.setdefault(side, {})["failed"] = got["failed"]
                continue
            times[side] += got["ms"]
            clocks[side].append(got["GHz"])
    speeds: dict[str, float] = {}
    for side in dict.fromkeys([*made, *asked]):
        said = made.get(side, {})
        row[side] = {key: said[key] for key in ("first_s", "chosen", "error", "failed") if key in said}
        if times.get(side):
            answer = made[side if side in sides else "triton"]
            scale = 1e9 if answer["unit"] == "TFLOP/s" else 1e6
            speeds[side] = answer["work"] / statistics.median(times[side]) / scale
            row[side] |= {answer["unit"]: round(speeds[side], 1), "GHz": round(statistics.median(clocks[side]), 3)}
    if {"anytile", "triton"} <= set(speeds):
        row["ratio"] = round(speeds["anytile"] / speeds["triton"], 3)
    if {"anytile", "torch"} <= set(speeds):
        row["to_torch"] = round(speeds["anytile"] / speeds["torch"], 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="cases whose names have one of these words")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work()
        return
    lines: list[str] = []

    def say(row: dict[str, Any]) -> None:
        lines.append(json.dumps(row))
        print(lines[-1], flush=True)
        if args.out:
            args.out.write_text("\n".join(lines) + "\n")

    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="anytile-gpu-turns-") as folder:
        sides = {name: Process(name == "anytile", str(Path(folder, name))) for name in ("anytile", "triton")}
        for name in CASES:
            if not args.only or any(word in name for word in args.only):
                row = measured(sides, name, args.rounds)
                say(row)
                if "ratio" in row:
                    ratios[name] = row["ratio"]
        for process in sides.values():
            process.process.kill()
    if ratios:
        same = [r for name, r in ratios.items() if "float32" not in name] or list(ratios.values())
        say(
            {
                "cases": len(ratios),
                "mean": round(statistics.geometric_mean(ratios.values()), 3),
                "without_tf32": round(statistics.geometric_mean(same), 3),
            }
        )


if __name__ == "__main__":
    main()
