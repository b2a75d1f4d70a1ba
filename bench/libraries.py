"""Kernels of libraries beside torch eager, both under the same conditions, by the cases of a harness.

    anytile run bench/libraries.py [--budget 1.0] [--only TEXT] [--malloc kept|system] [--out FILE] HARNESS [ITS ARGUMENTS …]

HARNESS is one of the yardstick's programs (run_unsloth_kernels.py, run_liger_kernels.py).  Its cases, sizes and references are
taken as they are; how they are timed is not, since that measures what neither side has to answer for: it counts a copy of every input
that needs a gradient for the kernels and not for eager, and which side pays the page faults of fresh memory depends on what ran
before.  Here both sides work on copies made before the clock starts, take turns, and every backward has a graph of its own (some
kernels overwrite what the forward saved).

``--malloc kept`` (default; glibc only): freed memory stays with the process, as with the allocators that one trains with, so page
faults are paid once, by untimed rounds.  ``--malloc system``: as glibc does it; each line says how many faults a round had.

One JSON line for each direction of a case: median milliseconds of both, eager/anytile (``ratio``), page faults, and the largest error
beside float64 of both.  A case with a backward has a third line, ``both``: forward and backward of a round together, as some libraries
compute gradients in their forwards, and then neither direction is compared with its like.  ``kernels_ms``, the median of rounds of their
own: what of the library's time is in kernels.  ``hollow_ms``: the library's time in further turns of the same rounds, in which launches
do nothing at all, so it is that of its Python and of the operations of torch that it calls.  ``most`` is the ratio to that: where it is
low, no compiler can help.  What `ms` has besides the two is launching.  ``counted`` is false where eager's reference hands out a tensor
that was made beforehand (the same one twice).  The last line has the geometric mean of the counted ratios of single directions and those
below 0.8, and the same for ``both``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import ctypes
import datetime
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

TOLERANCE = {torch.float32: 5e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def keep_memory() -> None:
    """From now on glibc's malloc asks the system for memory only when it has none left, and returns none."""
    trim_threshold, mmap_max = -1, -4  # numbers of malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_max, 0)):
        sys.exit("--malloc kept: this system's mallopt refused; use --malloc system")


def faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def tensors(result: Any) -> tuple[torch.Tensor, ...]:
    return tuple(t for t in (result if isinstance(result, tuple) else (result,)) if torch.is_tensor(t))


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest difference, in parts of the largest exact value; infinite where shapes or NaNs differ."""
    found, exact = found.detach().double().cpu(), exact.detach().double().cpu()
    if found.shape != exact.shape or found.isnan().any() != exact.isnan().any():
        return math.inf
    difference = torch.where(found == exact, 0.0, (found - exact).abs())
    return (difference.max() / exact.abs().clamp(max=1e30).max().clamp(min=1e-30)).item() if difference.numel() else 0.0


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """While this lasts, launches do nothing: what they should have written is whatever the memory held."""
    from triton.runtime.jit import JITFunction, KernelInterface

    classes = (JITFunction, KernelInterface)  # the second has the launches of autotuners and heuristics
    launches = [c.__getitem__ for c in classes]
    for c in classes:
        c.__getitem__ = lambda self, grid: _nothing
    try:
        yield
    finally:
        for c, launch in zip(classes, launches):
            c.__getitem__ = launch


def _nothing(*args: Any, **kwargs: Any) -> None:
    """A launch."""


class Side:
    """One of the two that are compared: ``run(**inputs)``, its times and faults by direction, its last results."""

    def __init__(self, run: Any):
        self.run = run
        self.ms: dict[str, list[float]] = {"forward": [], "backward": []}
        self.faults: dict[str, list[int]] = {"forward": [], "backward": []}
        self.results: dict[str, tuple[torch.Tensor, ...]] = {}

    def clock(self, direction: str, work: Any) -> tuple[torch.Tensor, ...]:
        before, start = faults(), time.perf_counter()
        result = work()
        self.ms[direction].append((time.perf_counter() - start) * 1e3)
        self.faults[direction].append(faults() - before)
        self.results[direction] = tensors(result)
        return self.results[direction]

    def round(self, inputs: dict, grads: tuple[str, ...], outer: list[torch.Tensor | None]) -> None:
        """Forward, and backward where ``grads`` names inputs; ``outer``: the gradients of the outputs."""
        self.results.clear()
        leaves, given = self.inputs(inputs, grads)
        out = self.clock("forward", lambda: self.run(**given))
        if grads:
            self.clock("backward", self.backward(out, leaves, grads, outer))

    def kernels_ms(self, inputs: dict, grads: tuple[str, ...], outer: list[torch.Tensor | None]) -> dict[str, float]:
        """Milliseconds between the hooks around launches, in one round, by direction."""
        from triton import knobs

        entered, spent = [0.0], [0.0]

        def enter(*_: Any) -> None:
            entered[0] = time.perf_counter()

        def leave(*_: Any) -> None:
            spent[0] += time.perf_counter() - entered[0]

        knobs.runtime.launch_enter_hook.add(enter)
        knobs.runtime.launch_exit_hook.add(leave)
        try:
            leaves, given = self.inputs(inputs, grads)
            out = tensors(self.run(**given))
            found = {"forward": spent[0] * 1e3}
            if grads:
                self.backward(out, leaves, grads, outer)()
                found["backward"] = spent[0] * 1e3 - found["forward"]
            return found
        finally:
            knobs.runtime.launch_enter_hook.remove(enter)
            knobs.runtime.launch_exit_hook.remove(leave)

    @staticmethod
    def inputs(inputs: dict, grads: tuple[str, ...]) -> tuple[dict, dict]:
        """(leaves, what the function is given): copies; not the leaves themselves, since kernels may write into their inputs."""
        leaves = {k: v.detach().clone().requires_grad_(k in grads) if torch.is_tensor(v) else v for k, v in inputs.items()}
        return leaves, {k: v.clone() if torch.is_tensor(v) and v.requires_grad else v for k, v in leaves.items()}

    @staticmethod
    def backward(out: tuple, leaves: dict, grads: tuple[str, ...], outer: list[torch.Tensor | None]) -> Any:
        """The call that computes the gradients of ``grads``; ``outer``: those of the outputs."""
        gradients = [None if g is None else g.to(o.dtype).clone() for g, o in zip(outer, out)]
        return lambda: torch.autograd.grad(list(out), [leaves[k] for k in grads], gradients)

    def add_up(self) -> None:
        """Times and faults of ``both``: forward and backward of each round together."""
        self.ms["both"] = [sum(pair) for pair in zip(self.ms["forward"], self.ms["backward"])]
        self.faults["both"] = [sum(pair) for pair in zip(self.faults["forward"], self.faults["backward"])]

    def forget(self) -> None:
        for lists in (self.ms, self.faults):
            for values in lists.values():
                values.clear()


class Bench:
    """Stands in for a harness's ``compare``."""

    def __init__(self, budget: float, only: str, out: str | None):
        self.budget, self.only, self.out = budget, only, out
        self.rows: list[dict] = []
        self.harness: dict[str, Any] = {"bench": self, "rows_out": []}  # the harness's globals

    def say(self, facts: dict) -> None:
        print(json.dumps(facts), flush=True)
        if self.out:
            with open(self.out, "a", encoding="utf-8") as f:
                f.write(json.dumps(facts) + "\n")

    def compare(self, case: str, inputs: dict, kern: Any, ref: Any, grads: tuple = (), tol: float | None = None, dtype: Any = None) -> None:
        if self.only not in case:
            return
        dtype = dtype or next(v.dtype for v in inputs.values() if torch.is_tensor(v) and v.is_floating_point())
        exact, generator = Side(ref), torch.Generator().manual_seed(1)
        wide = {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in inputs.items()}
        shapes = tensors(ref(**wide))
        outer = [torch.randn(o.shape, generator=generator) if o.is_floating_point() else None for o in shapes]
        # a gradient for a loss is one number: its sign and size should not make the case
        outer = [torch.tensor(1.5) if g is not None and not g.dim() else g for g in outer]
        exact.round(wide, grads, outer)
        ours, eager, hollow = Side(kern), Side(ref), Side(kern)
        self.warm_up(ours, eager, inputs, grads, outer)
        try:
            self.hollow_round(hollow, inputs, grads, outer)
            hollow.forget()
        except Exception:  # a library that looks at what its kernels have written
            hollow = None
        computes = all(a.data_ptr() != b.data_ptr() for a, b in zip(tensors(ref(**inputs)), tensors(ref(**inputs))))
        start, rounds = time.perf_counter(), 0
        while rounds < 3 or rounds < 40 and time.perf_counter() - start < self.budget * (1 if rounds >= 9 else 4):
            for side in (ours, eager) if rounds % 2 else (eager, ours):
                side.round(inputs, grads, outer)
            if hollow:
                self.hollow_round(hollow, inputs, grads, outer)
            rounds += 1
        ours.kernels_ms(inputs, grads, outer)  # untimed: without eager's turns memory is handed out in another order
        probes, start = [ours.kernels_ms(inputs, grads, outer)], time.perf_counter()
        while len(probes) < 5 and time.perf_counter() - start < self.budget / 2:
            probes.append(ours.kernels_ms(inputs, grads, outer))
        directions = ("forward", "backward") if grads else ("forward",)
        kernels = {d: statistics.median(p[d] for p in probes) for d in directions}
        errors = {
            d: [max((error(f, x) for f, x in zip(s.results[d], exact.results[d])), default=0.0) for s in (ours, eager)] for d in directions
        }
        if grads:
            for side in (ours, eager, hollow) if hollow else (ours, eager):
                side.add_up()
            kernels["both"] = kernels["forward"] + kernels["backward"]
            errors["both"] = [max(pair) for pair in zip(errors["forward"], errors["backward"])]
        for direction in (*directions, "both") if grads else directions:
            wrong = errors[direction]
            ms, eager_ms = (statistics.median(s.ms[direction]) for s in (ours, eager))
            rest = statistics.median(hollow.ms[direction]) if hollow else None
            row = {
                "case": case,
                "direction": direction,
                "dtype": str(dtype)[6:],
                "ms": round(ms, 4),
                "eager_ms": round(eager_ms, 4),
                "ratio": round(eager_ms / ms, 3),
                "kernels_ms": round(kernels[direction], 4),
                "hollow_ms": round(rest, 4) if rest else None,
                "most": round(eager_ms / rest, 3) if rest else None,
                "counted": computes,
                "rounds": rounds,
                "faults": [int(statistics.median(s.faults[direction])) for s in (ours, eager)],
                "right": wrong[0] <= max(TOLERANCE[dtype] if tol is None else tol, 4 * wrong[1]),
                "errors": wrong,
            }
            self.rows.append(row)
            self.say(row)
        self.harness["rows_out"].append({"case": case, "dtype": str(dtype), "ok": self.rows[-1]["right"]})

    def warm_up(self, ours: Side, eager: Side, inputs: dict, grads: tuple[str, ...], outer: list[torch.Tensor | None]) -> None:
        """Untimed rounds: two at least, since a kernel's second launch makes the next ones native code, and up to four where they are short."""
        start = time.perf_counter()
        for done in range(1, 5):
            for side in (ours, eager):
                side.round(inputs, grads, outer)
                side.forget()
            if done > 1 and time.perf_counter() - start > self.budget / 2:
                break

    @staticmethod
    def hollow_round(side: Side, inputs: dict, grads: tuple[str, ...], outer: list[torch.Tensor | None]) -> None:
        """A round in which launches do nothing."""
        with without_kernels():
            side.round(inputs, grads, outer)

    def summary(self) -> dict:
        single, both = ([r for r in self.rows if r["counted"] and (r["direction"] == "both") == b] for b in (False, True))
        return {
            "geometric_mean": geometric_mean(single),
            "counted": len(single),
            "wrong": [r["case"] for r in self.rows if not r["right"]],
            "below_0.8": low(single),
            "both": {"geometric_mean": geometric_mean(both), "counted": len(both), "below_0.8": low(both)},
        }


def geometric_mean(rows: list[dict]) -> float | None:
    return statistics.geometric_mean(r["ratio"] for r in rows) if rows else None


def low(rows: list[dict]) -> list[tuple]:
    """(ratio, most, case, direction, dtype) of those below 0.8."""
    found = [(r["ratio"], r["most"], r["case"], r["direction"], r["dtype"]) for r in rows if r["ratio"] < 0.8]
    return sorted(found, key=lambda row: row[0])


def environment(threads_of_torch: int, malloc: str) -> dict:
    import anytile
    from anytile.targets.cpu.machine import current
    from anytile.targets.cpu.pool import num_threads

    with open("/proc/cpuinfo", encoding="utf-8") as f:
        processor = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {
        "what": "environment",
        "command": " ".join(os.path.basename(a) if os.sep in a else a for a in sys.argv),
        "anytile": anytile.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": current().name,
        "processor": processor,
        "threads": num_threads(),
        "torch_threads": threads_of_torch,
        "malloc": malloc,
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each case; up to four times as long for nine rounds")
    parser.add_argument("--only", default="", help="cases whose names contain this text")
    parser.add_argument("--malloc", choices=["kept", "system"], default="kept")
    parser.add_argument("--out", help="file that the lines are appended to")
    parser.add_argument("harness")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.malloc == "kept":
        keep_memory()
    bench = Bench(args.budget, args.only, args.out)
    bench.say(environment(torch.get_num_threads(), args.malloc))
    # The harness runs whole, but for its `compare`, which is replaced as soon as it is defined.
    with open(args.harness, encoding="utf-8") as f:
        tree = ast.parse(f.read(), args.harness)
    places = [i for i, s in enumerate(tree.body) if isinstance(s, ast.FunctionDef) and s.name == "compare"]
    if not places:
        sys.exit(f"{args.harness} defines no `compare` to stand in for")
    tree.body[places[0]] = ast.parse("compare = bench.compare").body[0]
    bench.harness.update(__name__="__harness__", __file__=os.path.abspath(args.harness))
    sys.argv = [args.harness, *args.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.harness)))
    try:
        exec(compile(tree, args.harness, "exec"), bench.harness)
    except SystemExit as end:
        print(f"{args.harness} ended with {end.code}", file=sys.stderr)
    bench.say(bench.summary())


if __name__ == "__main__":
    main()
