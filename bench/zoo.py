"""The model zoo under torch.compile with Triton as Inductor's backend: equal to eager, and how fast.

    python bench/zoo.py [--size small|bench] [--only mlp,qwen2] [--beside-cpp] [--out FILE]
    python bench/zoo.py --device cuda --size bench [--plain] [--against FILE] [--turns FOLDER] [--graphs]

Each member of `zoo_models` runs eagerly and compiled, forward and backward; results and gradients are compared.  One JSON line per
member: ``state`` ("equal", "wrong", "failed" with the error, "unavailable" with the reason), the largest relative errors, how many
Triton kernels and C++ kernels Inductor wrote (C++ ones only where ``--beside-cpp`` asked for them), and seconds until the first
result.  With ``--beside-cpp`` the same member is also compiled by Inductor's C++ backend, and the three are timed in turns in one
process: milliseconds (median over rounds of the best of a round) of forward and backward together, and ``ratio`` = C++ / Triton
(above 1: anytile is ahead).  With ``--device cuda`` compiled and eager are timed; ``--plain`` runs with the triton that is installed instead
of anytile, and ``--against`` adds the ratio to such a run's times (``ratio``) and to its seconds until the first result
(``cold_ratio``, below 1: anytile compiles faster).  Two such runs that are started together, one of them with ``--plain``, both with
``--turns FOLDER``, compile side by side and time in turns.  ``--graphs`` compiles each member once more, with CUDA graphs (``graphs_ms``;
``graphs`` says why there is none).  ``--workers`` waits until torch's compile workers are
ready, so that they compile what is measured as "first"; ``--kernels`` adds the microseconds of each kernel on the GPU in one call.
``--set triton.autotune_pointwise=False`` sets an option of Inductor's.  The first line names versions and machine; the last one counts
states and gives the geometric mean.

Exit status: 1 where a member is wrong or failed.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_turns import Turns

if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:  # nothing that an earlier run left: kernels are counted as they are written
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="anytile-zoo-")
sys.path.insert(0, str(Path(__file__).parent))

import torch  # noqa: E402
from zoo_models import ZOO, Case, Unavailable  # noqa: E402

Results = tuple[list[torch.Tensor], list[torch.Tensor]]


def results(function: Callable[..., Any], case: Case, inputs: tuple[Any, ...]) -> Results:
    """(outputs and changed buffers, gradients) of one call; the cotangents are fixed, uneven numbers."""
    kept = list(case.function.buffers()) if isinstance(case.function, torch.nn.Module) else []
    before = [b.clone() for b in kept]
    outputs, gradients = both_ways(function, case, inputs, [])
    changed = [b.clone() for b in kept]
    for b, old in zip(kept, before):
        b.copy_(old)
    return [o.detach().clone() for o in outputs] + changed, [g.clone() for g in gradients]  # CUDA graphs write over them at the next call


def both_ways(function: Callable[..., Any], case: Case, inputs: tuple[Any, ...], cotangents: list[torch.Tensor]) -> Results:
    """Forward and backward: (outputs, gradients).  ``cotangents``: one for each differentiable output; made, and left there, where empty."""
    made = function(*inputs)
    outputs = [made] if isinstance(made, torch.Tensor) else list(made)
    differentiable = [o for o in outputs if o.requires_grad]
    leaves = [t for t in (*case.parameters, *inputs) if isinstance(t, torch.Tensor) and t.requires_grad]
    if not (differentiable and leaves):
        return outputs, []
    if not cotangents:
        cotangents += [_uneven(o) for o in differentiable]
    return outputs, [g for g in torch.autograd.grad(differentiable, leaves, cotangents, allow_unused=True) if g is not None]


def _uneven(like: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.arange(like.numel(), dtype=torch.float32, device=like.device) * 0.37).reshape(like.shape).to(like.dtype)


def largest_error(got: list[torch.Tensor], want: list[torch.Tensor]) -> float:
    """Largest |difference| over the largest |element|, tensor by tensor; infinite where shapes, types or NaNs differ."""
    if len(got) != len(want):
        return math.inf
    worst = 0.0
    for g, w in zip(got, want):
        if g.shape != w.shape or g.dtype != w.dtype:
            return math.inf
        if not g.numel():
            continue
        if not w.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(g, w) else math.inf)
            continue
        g, w = g.double(), w.double()
        if not torch.equal(g.isnan(), w.isnan()):
            return math.inf
        scale = max(float(w.nan_to_num().abs().max()), 1e-3)
        worst = max(worst, float((g - w).nan_to_num().abs().max()) / scale)
    return worst


#: The ways of compiling a member → Inductor's options for it.
WAYS: dict[str, dict[str, Any]] = {
    "triton": {"cpu_backend": "triton"},
    "cpp": {"cpu_backend": "cpp"},
    "graphs": {"triton.cudagraphs": True},
}


def compiled(case: Case, way: str) -> Callable[..., Any]:
    """``case.function`` through torch.compile; compiled at its first call."""
    options = {**case.options, **WAYS[way]}
    if _on_gpu():  # what a graph has of the CPU is left to C++, as with every Triton
        options.pop("cpu_backend", None)

    def through(function: Callable[..., Any]) -> Callable[..., Any]:
        def enter(*inputs: Any) -> Any:
            return function(*inputs)

        enter.__code__ = enter.__code__.replace(co_name=f"enter_{way}")  # Dynamo keeps compilations by code object
        return torch.compile(enter, dynamic=case.dynamic, options=options)

    return case.assemble(through) if case.assemble else through(case.function)


def check(name: str, size: str, way: str = "triton") -> tuple[dict[str, Any], Case | None, Callable[..., Any] | None]:
    """One member compiled and compared: its row, and what timing needs (None where the member is not equal)."""
    from torch._inductor.utils import run_and_get_code

    row: dict[str, Any] = {"member": name}
    try:
        case = ZOO[name](size)
        if way == "triton":  # the others are compiled beside it
            torch._dynamo.reset()
        function = compiled(case, way)
        _finish()
        start = time.perf_counter()
        first, codes = run_and_get_code(results, function, case, case.inputs)
        _finish()
        row["first_s"] = round(time.perf_counter() - start, 2)
        pairs = [(first, results(case.function, case, case.inputs))]
        pairs += [(results(function, case, inputs), results(case.function, case, inputs)) for inputs in case.more]
    except Unavailable as e:
        return {**row, "state": "unavailable", "reason": str(e)}, None, None
    except Exception as e:
        return {**row, "state": "failed", "error": f"{type(e).__name__}: {_shortened(str(e).strip())}", "where": _innermost(e)}, None, None
    code = "\n".join(codes)
    row["triton_kernels"], row["cpp_kernels"] = code.count("@triton.jit"), code.count("async_compile.cpp_pybinding(")
    row["error"] = max(largest_error(g[0], w[0]) for g, w in pairs)
    row["gradient_error"] = max(largest_error(g[1], w[1]) for g, w in pairs)
    tolerance = case.tolerance * (10 if _on_gpu() else 1)  # sums in another order, and TF32
    equal = max(row["error"], row["gradient_error"]) <= tolerance
    if equal and way == "triton" and (not row["triton_kernels"] or row["cpp_kernels"] and not _on_gpu()):
        return {**row, "state": "failed", "error": "Inductor wrote no Triton kernel, or a C++ one"}, None, None
    return {**row, "state": "equal" if equal else "wrong", "tolerance": tolerance}, case, function


def _on_gpu() -> bool:
    return torch.get_default_device().type == "cuda"


def _finish() -> None:
    """Waits for the GPU, where one is used."""
    if _on_gpu():
        torch.cuda.synchronize()


def _shortened(text: str) -> str:
    """Head and tail: an error of a compile worker's carries its traceback, and says at the end what it was."""
    return text if len(text) <= 2500 else f"{text[:200]} … {text[-2300:]}"


def _innermost(e: BaseException) -> str:
    frames = traceback.extract_tb(e.__traceback__)
    return f"{frames[-1].filename.split('site-packages/')[-1]}:{frames[-1].lineno}" if frames else ""


Turn = Callable[[str], AbstractContextManager[None]]


def time_in_turns(functions: dict[str, tuple[Callable[..., Any], Case]], rounds: int, seconds: float, turn: Turn) -> dict[str, float]:
    """Milliseconds of forward and backward for each: the median over ``rounds`` of the best call within ``seconds``.

    Each function comes with the case that it was made of: gradients with respect to another's parameters are computed by nobody.
    A round is within ``turn`` of its name.
    """
    best: dict[str, list[float]] = {name: [] for name in functions}
    cotangents: list[torch.Tensor] = []
    for function, case in functions.values():
        for _ in range(3):  # CUDA graphs are recorded at the second and third call
            both_ways(function, case, case.inputs, cotangents)
        _finish()
    for i in range(rounds):
        with turn(f"round-{i}"):
            for name, (function, case) in functions.items():
                both_ways(function, case, case.inputs, cotangents)
                _finish()
                least, end = math.inf, time.perf_counter() + seconds
                while time.perf_counter() < end:
                    start = time.perf_counter()
                    both_ways(function, case, case.inputs, cotangents)
                    _finish()
                    least = min(least, time.perf_counter() - start)
                best[name].append(least * 1e3)
    return {name: statistics.median(times) for name, times in best.items()}


def add_times(row: dict[str, Any], case: Case, function: Callable[..., Any], arguments: argparse.Namespace, turns: Turns | None) -> None:
    """Adds to ``row`` the times of eager and Triton, and those of C++ and of CUDA graphs where asked for, or why these have none."""
    name = row["member"]
    ours = {"eager": (case.function, case), "triton": (function, case)}
    for way in ["cpp"] * arguments.beside_cpp + ["graphs"] * arguments.graphs:
        other, its_case, its_function = check(name, arguments.size, way)
        if its_function is not None and its_case is not None and other["state"] == "equal":
            ours[way] = its_function, its_case
        else:
            row[way] = other.get("error") or other.get("reason") or other["state"]
    if turns is None:
        with one_at_a_time(arguments.device):
            times = time_in_turns(ours, arguments.rounds, 0.2, lambda point: nullcontext())
    else:
        both = turns.meet(f"{name}-timing") is not None
        times = time_in_turns(ours, arguments.rounds, 0.2, lambda point: turns.turn(f"{name}-{point}") if both else nullcontext())
    row.update({f"{who}_ms": round(ms, 4) for who, ms in times.items()})
    row["eager_ratio"] = round(times["eager"] / times["triton"], 3)
    if "cpp" in times:
        row["ratio"] = round(times["cpp"] / times["triton"], 3)


@contextmanager
def one_at_a_time(device: str) -> Iterator[None]:
    """Runs beside each other on one machine take turns in using its GPU."""
    if device != "cuda":
        yield
        return
    from filelock import FileLock

    with FileLock(Path(tempfile.gettempdir()) / "anytile-zoo-gpu.lock"):
        yield


def add_ratios(row: dict[str, Any], against: dict[str, dict[str, Any]]) -> None:
    """Adds the ratios to the same member's row in another run."""
    other = against.get(row["member"], {})
    if "triton_ms" in other and "triton_ms" in row:
        row["ratio"] = round(other["triton_ms"] / row["triton_ms"], 3)
        row["cold_ratio"] = round(row["first_s"] / max(other["first_s"], 0.01), 3)


def kernel_times(case: Case, function: Callable[..., Any]) -> dict[str, float]:
    """Microseconds on the GPU in one call (forward and backward) by kernel, averaged over twenty, those of at least 0.5 µs."""
    from torch.profiler import ProfilerActivity, profile

    calls = 20
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(calls):
            results(function, case, case.inputs)
        _finish()
    times = {event.key[:100]: round(event.device_time_total / calls, 2) for event in found.key_averages()}
    return {name: us for name, us in sorted(times.items(), key=lambda item: -item[1]) if us >= 0.5}


def wait_for_workers() -> None:
    """Starts torch's compile workers, and returns when they can compile."""
    from torch._inductor.async_compile import AsyncCompile

    AsyncCompile.wait_pool_ready()


def take_turns(arguments: argparse.Namespace) -> Turns | None:
    """The partner that ``--turns`` asks for.  Imported here, for Windows has no such locks."""
    if not arguments.turns:
        return None
    from zoo_turns import Turns

    turns = Turns(arguments.turns, arguments.plain)
    turns.guard_autotuning()
    return turns


def geometric_mean(values: list[float]) -> float | None:
    return round(statistics.geometric_mean(values), 3) if values else None


def arguments_of_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "bench"), default="small")
    parser.add_argument("--only", default="", help="members, separated by commas")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--plain", action="store_true", help="without anytile")
    parser.add_argument("--beside-cpp", action="store_true")
    parser.add_argument("--against", help="JSON lines of another run")
    parser.add_argument("--set", action="append", default=[], help="an option of torch._inductor.config, such as max_autotune=True")
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--graphs", action="store_true")
    parser.add_argument("--turns", help="folder, empty at first, through which two runs agree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="file that receives the JSON lines too")
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sets up torch as the command line says; the first line of the output."""
    enabled: list[str] = []
    if not arguments.plain:
        import anytile.torch

        enabled = [str(line) for line in anytile.torch.enable(cpu=True if arguments.device == "cpu" else None, say=False).lines]
    import torch._inductor.config
    import triton

    for text in arguments.set:
        path, _, value = text.partition("=")
        *inner, name = path.split(".")
        holder = torch._inductor.config
        for part in inner:
            holder = getattr(holder, part)
        setattr(holder, name, ast.literal_eval(value))
    torch.set_default_device(arguments.device)
    # Inductor lays convolutions out otherwise than eager: cuDNN's TF32 would round them differently, whoever compiles the rest.
    torch.backends.cudnn.allow_tf32 = False
    if arguments.workers:
        wait_for_workers()
    return {
        "torch": torch.__version__,
        "triton": triton.__version__,
        "by": triton.__file__ if arguments.plain else "anytile",
        "python": platform.python_version(),
        "machine": platform.machine() if arguments.device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "size": arguments.size,
        "date": datetime.date.today().isoformat(),
        "set": arguments.set,
        "enabled": enabled,
    }


def main() -> int:
    arguments = arguments_of_command_line()
    head = prepare(arguments)
    timed = arguments.beside_cpp or arguments.device == "cuda"
    against: dict[str, dict[str, Any]] = {}
    if arguments.against:
        lines = [json.loads(line) for line in Path(arguments.against).read_text(encoding="utf-8").splitlines()]
        against = {row["member"]: row for row in lines if "member" in row}
    out = open(arguments.out, "w", encoding="utf-8") if arguments.out else None

    def say(row: dict[str, Any]) -> None:
        text = json.dumps(row, ensure_ascii=False)
        print(text, flush=True)
        if out:
            out.write(text + "\n")
            out.flush()

    say(head)
    turns = take_turns(arguments)
    rows = []
    for name in arguments.only.split(",") if arguments.only else ZOO:
        row, case, function = check(name, arguments.size)
        equal = timed and row["state"] == "equal"
        partner = turns if turns and turns.meet(f"{name}-compiled", str(equal)) == "True" else None
        if equal and case is not None and function is not None:
            add_times(row, case, function, arguments, partner)
            add_ratios(row, against)
            if arguments.kernels:
                with partner.turn(f"{name}-kernels") if partner else nullcontext():
                    row["kernels"] = kernel_times(case, function)
        rows.append(row)
        say(row)
    states = {state: sum(row["state"] == state for row in rows) for state in ("equal", "wrong", "failed", "unavailable")}
    means = {f"geometric_mean_{kind}": geometric_mean([row[kind] for row in rows if kind in row]) for kind in ("ratio", "cold_ratio")}
    say({**states, **{kind: mean for kind, mean in means.items() if mean is not None}})
    return 1 if states["wrong"] or states["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
