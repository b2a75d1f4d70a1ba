"""The kernels of libraries on a GPU, beside Triton: times of a yardstick harness's cases, with whatever serves `triton`.

    anytile run bench/gpu_libraries.py [--out FILE] [--repeat 20] HARNESS [ARGUMENTS …]      anytile
    python bench/gpu_libraries.py [--out FILE] [--repeat 20] HARNESS [ARGUMENTS …]           the installed Triton
    python bench/gpu_libraries.py --beside ANYTILE.jsonl TRITON.jsonl                        ratios, slowest first; a file may hold several runs

HARNESS is ``run_unsloth_kernels.py`` or ``run_liger_kernels.py`` of the yardstick, ARGUMENTS are its own (``--src DIR --device cuda
--size real --dtype bf16``).  The cases and their references are the harness's; the measuring is done here, so that it is the same for
both libraries: inputs are copied before the clock starts, each function runs twice before it is timed, and every case is written as
soon as it is finished (a run that a time limit ends keeps what it has measured).  Times of a case, in milliseconds, least of the
repetitions: ``fwd``, ``bwd`` by the host's clock from an idle GPU to an idle GPU (launches included), ``fwd_gpu``, ``bwd_gpu`` between
two events behind work that keeps the GPU busy while the host prepares (only what the GPU does; left out on a CPU, and where the function
itself waits for the GPU, as losses do that ask whether the gradient from above is 1: what they take is the host's time).
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BUSY_CYCLES = 4_000_000  # about 2 ms of an H100: longer than any of these functions takes to queue


class Harness:
    """A harness's names with its measuring replaced; :meth:`run` runs its cases."""

    def __init__(self, path: Path, out: Path | None, repeat: int) -> None:
        self.out, self.repeat = out, repeat
        body = ast.parse(path.read_text()).body
        # What stands before ``if A.list`` defines the cases; what stands behind it runs them.
        start = next(i for i, node in enumerate(body) if isinstance(node, ast.If) and ast.unparse(node.test) == "A.list")
        self.path, self.rest = path, body[start:]
        self.names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
        exec(compile(ast.Module(body[:start], []), str(path), "exec"), self.names)
        self.names["compare"], self.names["emit"] = self.compare, self.emit

    def run(self) -> None:
        exec(compile(ast.Module(self.rest, []), str(self.path), "exec"), self.names)

    def emit(self, row: dict[str, Any]) -> None:
        """Writes one case; the harness itself calls it for a case that could not be set up."""
        self.names["rows_out"].append(row)
        print(json.dumps(row), flush=True)
        if self.out:
            with self.out.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def compare(
        self,
        case: str,
        inputs: dict[str, Any],
        kern: Callable[..., Any],
        ref: Callable[..., Any],
        grads: Sequence[str] = (),
        tol: float | None = None,
        dtype: Any = None,
        note: str = "",
        rounded: Sequence[str] = (),
    ) -> None:
        """One case of the harness: ``kern`` and ``ref`` take ``inputs`` by keyword, ``grads`` are differentiated."""
        dtype = dtype or next(v.dtype for v in inputs.values() if floating(v))
        row: dict[str, Any] = {"case": case, "dtype": str(dtype).removeprefix("torch.")}
        try:
            truth, upstream = self.truth(inputs, ref, grads, dtype)
            got = self.values(kern, inputs, grads, upstream)
            eager = self.values(ref, inputs, grads, upstream)
            tolerance = self.names["TOL"][dtype] if tol is None else tol
            errors = [(distance(g, t), distance(e, t)) for g, e, t in zip(got, eager, truth, strict=True)]
            row["ok"] = all(mine <= max(tolerance, 4 * theirs) for mine, theirs in errors)
            row["error"] = max(mine for mine, _ in errors)
            row |= self.times(kern, inputs, grads, upstream)
        except Exception as error:
            row |= {"ok": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
        self.emit(row)

    def truth(self, inputs: dict[str, Any], ref: Callable[..., Any], grads: Sequence[str], dtype: Any) -> tuple[list[Any], list[Any]]:
        """(results and gradients in float64, gradients that arrive from above)."""
        import torch

        wide = {k: v.double().requires_grad_(k in grads) if floating(v) else v for k, v in inputs.items()}
        outputs = tensors(ref(**wide))
        generator = torch.Generator().manual_seed(1)
        upstream = [torch.randn(o.shape, generator=generator).to(o.device, dtype) for o in outputs]
        found = torch.autograd.grad(outputs, [wide[k] for k in grads], [u.double() for u in upstream]) if grads else []
        return [*outputs, *found], upstream

    def values(self, function: Callable[..., Any], inputs: dict[str, Any], grads: Sequence[str], upstream: list[Any]) -> list[Any]:
        """Results and gradients of ``function``, in the inputs' own types."""
        import torch

        leaves = copies(inputs, grads)
        outputs = tensors(function(**handed(leaves)))
        if not grads:
            return outputs
        kept = [o.detach().clone() for o in outputs]
        arriving = [u.to(o.dtype, copy=True) for u, o in zip(upstream, outputs, strict=True)]
        return [*kept, *torch.autograd.grad(outputs, [leaves[k] for k in grads], arriving)]

    def times(self, kern: Callable[..., Any], inputs: dict[str, Any], grads: Sequence[str], upstream: list[Any]) -> dict[str, float]:
        import torch

        found: dict[str, list[float]] = {}
        on_gpu = self.names["cuda"]
        for turn in range(2 + self.repeat):
            for clock in (self.by_host, self.by_gpu) if on_gpu else (self.by_host,):
                leaves = copies(inputs, grads)
                given = handed(leaves)
                outputs = tensors(clock(found, "fwd", lambda given=given: kern(**given)))
                if grads:
                    arriving = [u.to(o.dtype, copy=True) for u, o in zip(upstream, outputs, strict=True)]
                    wanted = [leaves[k] for k in grads]
                    clock(found, "bwd", lambda o=outputs, w=wanted, a=arriving: torch.autograd.grad(o, w, a))
            if turn == 1:
                found.clear()  # compiled, tuned and loaded by now
        return {name: min(values) for name, values in found.items()}

    def by_host(self, found: dict[str, list[float]], name: str, function: Callable[[], Any]) -> Any:
        self.names["sync"]()
        start = time.perf_counter()
        result = function()
        self.names["sync"]()
        found.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        return result

    def by_gpu(self, found: dict[str, list[float]], name: str, function: Callable[[], Any]) -> Any:
        import torch

        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(BUSY_CYCLES)
        begin.record()
        result = function()
        waited = begin.query()  # the GPU has got to work already: the function asked for a number of it, and the host's time is in between
        end.record()
        torch.cuda.synchronize()
        if not waited:
            found.setdefault(name + "_gpu", []).append(begin.elapsed_time(end))
        return result


def floating(value: Any) -> bool:
    return hasattr(value, "is_floating_point") and value.is_floating_point()


def copies(inputs: dict[str, Any], grads: Sequence[str]) -> dict[str, Any]:
    copied = {k: v.clone() if hasattr(v, "clone") else v for k, v in inputs.items()}
    return {k: v.requires_grad_() if k in grads else v for k, v in copied.items()}


def handed(leaves: dict[str, Any]) -> dict[str, Any]:
    """What a kernel gets: it may write into its inputs, which a leaf that wants a gradient would not bear."""
    return {k: v.clone() if hasattr(v, "requires_grad") and v.requires_grad else v for k, v in leaves.items()}


def tensors(result: Any) -> list[Any]:
    return [x for x in (result if isinstance(result, tuple) else (result,)) if hasattr(x, "dtype")]


def distance(got: Any, want: Any) -> float:
    """Largest difference relative to the largest value; equal infinities do not differ."""
    got, want = got.detach().double(), want.detach().double()
    if got.shape != want.shape or got.isnan().any() != want.isnan().any():
        return math.inf
    difference = (got - want).abs().where(got != want, got.new_zeros(()))
    return (difference.max() / want.abs().clamp(max=1e30).max().clamp(min=1e-30)).item() if got.numel() else 0.0


def case_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What tells a row from the others; files that hold several harnesses say which library it is of."""
    return tuple(row[name] for name in ("library", "case", "dtype") if name in row)


def rows_of(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of a file by case.  Of a case that stands there several times (runs in turns), the least of each time."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in map(json.loads, path.read_text().splitlines()):
        before = found.setdefault(case_of(row), row)
        times = {n: min(before.get(n, math.inf), row[n]) for n in ("fwd", "bwd", "fwd_gpu", "bwd_gpu") if n in row}
        found[case_of(row)] = {**before, **times, "ok": before["ok"] and row["ok"]}
    return found


def beside(mine: Path, theirs: Path) -> None:
    """Prints what is wrong, and the ratios of speed (theirs by mine: above 1 is faster) with their geometric means."""
    a, b = rows_of(mine), rows_of(theirs)
    wrong = [case for case, row in a.items() if not row["ok"]]
    print(f"{mine.name}: {len(a) - len(wrong)} of {len(a)} right; {theirs.name}: {sum(r['ok'] for r in b.values())} of {len(b)}")
    for case in wrong:
        print("  wrong:", *case, a[case]["error"], "| Triton:", b.get(case, {}).get("ok"), b.get(case, {}).get("error"))
    for names, clock in ((("fwd", "bwd"), "host's clock"), (("fwd_gpu", "bwd_gpu"), "GPU's clock")):
        ratios = [(b[c][n] / a[c][n], c, n, a[c][n], b[c][n]) for c in a if c in b for n in names if n in a[c] and n in b[c]]
        if not ratios:
            continue
        mean = statistics.geometric_mean(r[0] for r in ratios)
        print(f"{clock}: geometric mean {mean:.3f} over {len(ratios)} times")
        for ratio, case, name, x, y in sorted(ratios)[:16]:
            print(f"  {ratio:.2f} {name} {x:.3f} ms ({y:.3f}) {' '.join(case)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("harness", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.beside:
        beside(args.harness, Path(args.arguments[0]))
        return
    sys.argv = [str(args.harness), *args.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.harness)))
    Harness(args.harness, args.out, args.repeat).run()


if __name__ == "__main__":
    main()
