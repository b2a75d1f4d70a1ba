"""Fuzzing outside of the tests: ``python scripts/fuzz.py programs --count 100000``, ``kernels``, ``loops``, ``gpu`` or ``mistakes``.

programs: random tile programs (tests/strategies.py, tests/cpu/programs.py) must leave the same memory on the CPU target as on the
    reference executor.  Every worker compiles for another row of the machine table that this CPU can run, or all for the row
    that ANYTILE_CPU names.
kernels: the same for random kernels in Triton's language (tests/fuzz: matrix_kernels, row_kernels, block_kernels), whose arrays stand beside
    pages without access.  Every second worker has two threads.
loops: the same for kernels around loops that carry tiles and store while rows wait to be read (tests/fuzz/loop_kernels.py).
gpu: the kernels of ``kernels`` and ``loops`` on this machine's NVIDIA GPU, with random numbers of warps and stages, and with barriers where
    threads meet in memory.  Nothing is written beside an array, either; what is read there is not seen.
mistakes: kernels with random mistakes (tests/fuzz/mutate.py) must compile or raise an `AnytileError`: no other exception, no
    abort of LLVM, nothing that takes longer than ``--patience`` seconds (on POSIX).

Prints one JSON line per finding, with the seed and the machine that make it again (``ANYTILE_CPU=M python scripts/fuzz.py programs
--seed S --count 1``), and a last line of totals: the cases of each machine (the empty name is this CPU as it is), and what time did
not suffice for, which ``--resume FILE`` (that output) continues, so that every seed is tried exactly once.  Exit code 1 where
something was found.  Workers are processes; one that dies is a finding too, and is replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cpu"), str(ROOT / "tests" / "fuzz")]


class TooSlow(BaseException):
    """A case took longer than the patience; not an Exception, so that nothing in between answers for it."""


def try_program(seed: int) -> dict[str, Any] | None:
    """A finding, or None where both targets agree."""
    import types

    import numpy as np
    from choices import Dice
    from programs import assert_agree, tile_program
    from strategies import assert_same, program

    from anytile.targets.cpu import CpuTarget
    from anytile.targets.reference import ReferenceTarget

    options = types.SimpleNamespace(enable_fp_fusion=False)
    with np.errstate(all="ignore"):
        try:
            if seed.bit_count() % 2:  # both kinds for every worker, whose seeds may all be even
                want = tile_program(Dice(seed)).run(ReferenceTarget(), options, 20, 3)
                assert_agree(tile_program(Dice(seed)).run(CpuTarget(), options, 20, 3), want)
            else:
                want = program(Dice(seed)).run(ReferenceTarget(), n=3, m=4)
                assert_same(program(Dice(seed)).run(CpuTarget(), n=3, m=4), want, rtol=1e-6)
        except Exception as e:  # differences and errors alike are what is looked for
            return {"error": type(e).__name__, "text": str(e)[:600]}
    return None


def try_kernel(seed: int) -> dict[str, Any] | None:
    """A finding, or None where both targets agree."""
    import random

    import anytile

    anytile.install()
    from block_kernels import blocks
    from matrix_kernels import attention, matmul
    from row_kernels import line, rows

    return _compared(random.Random(seed).choice((matmul, matmul, attention, rows, rows, line, blocks, blocks)), seed)


def try_loop(seed: int) -> dict[str, Any] | None:
    """A finding, or None where both targets agree."""
    import anytile

    anytile.install()
    from loop_kernels import loops

    return _compared(loops, seed)


def try_gpu(seed: int) -> dict[str, Any] | None:
    """A finding, or None where the GPU agrees or has not the shared memory or registers that this kernel wants."""
    import random
    from dataclasses import replace

    import anytile

    anytile.install()
    from block_kernels import blocks
    from launches import compare, ordered
    from loop_kernels import loops
    from matrix_kernels import attention, matmul
    from row_kernels import line, rows

    from anytile.errors import OutOfResources
    from anytile.targets.nvidia.cuda_errors import KernelFaultError

    dice = random.Random(seed)
    make = dice.choice((matmul, matmul, attention, attention, rows, line, blocks, loops))
    options = {"num_warps": dice.choice((1, 2, 4, 4, 8, 32)), "num_stages": dice.choice((1, 2, 3, 4))}
    options["default_dot_input_precision"] = dice.choice(("tf32", "ieee"))  # whole numbers are exact in both
    launch = make(seed)
    if make in (line, loops, rows):  # they read what they wrote elsewhere
        launch = ordered(launch)
    try:
        text = compare(replace(launch, options=launch.options | options), "cuda", 1e-4)
    except OutOfResources:
        return None
    except KernelFaultError:
        raise  # the GPU serves this process no more: another one takes its place
    except Exception as e:  # differences and errors alike are what is looked for
        return {"kernel": make.__name__, "error": type(e).__name__, "text": str(e)[-600:], **options}
    return {"kernel": make.__name__, "error": "difference", "text": text, **options} if text else None


def _compared(make: Any, seed: int) -> dict[str, Any] | None:
    from launches import compare

    try:
        text = compare(make(seed))
    except Exception as e:  # differences and errors alike are what is looked for
        return {"kernel": make.__name__, "error": type(e).__name__, "text": str(e)[-600:]}
    return {"kernel": make.__name__, "error": "difference", "text": text} if text else None


def try_mistake(seed: int) -> dict[str, Any] | None:
    """A finding, or None where the kernel compiles or is refused properly."""
    import importlib.util

    import anytile

    anytile.install()
    import triton
    from fuzz_kernels import KERNELS
    from mutate import mutant

    from anytile.errors import AnytileError

    name, source = mutant(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"mutant_{seed}.py")
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except SyntaxError:
            return None  # Python's own refusal
        fn = getattr(module, name)
        types_, constants = KERNELS[name]
        signature = dict(zip([p for p in fn.arg_names if p not in constants], types_)) | dict.fromkeys(constants, "constexpr")
        try:
            triton.compile(triton.compiler.ASTSource(fn, signature, constants))
        except AnytileError as e:
            return _hidden(e, name, path)
        except Exception as e:
            return {"kernel": name, "error": type(e).__name__, "text": str(e)[:300], "at": _innermost(e), "line": _line(e, path)}
    return None


def _hidden(e: BaseException, name: str, path: Path) -> dict[str, Any] | None:
    """An accident inside the compiler that a compile error was wrapped around."""
    cause = e.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    accidents = (AssertionError, KeyError, IndexError, AttributeError, UnboundLocalError, RecursionError)
    from anytile.errors import AnytileError

    if isinstance(cause, accidents) and not isinstance(cause, AnytileError):
        at = _innermost(cause)
        as_python = any(file in at for file in ("compat/face", "language/tuples"))  # these answer as Python's modules and tuples do
        if "anytile" in at and not as_python and "static_assert" not in str(cause):
            return {
                "kernel": name,
                "error": f"{type(e).__name__} from {type(cause).__name__}",
                "text": str(cause)[:200],
                "at": at,
                "line": _line(e, path),
            }
    return None


def _innermost(e: BaseException) -> str:
    frames = traceback.extract_tb(e.__traceback__)
    if not frames:
        return ""
    return f"{frames[-1].filename.split('/src/')[-1]}:{frames[-1].lineno} {frames[-1].name}"


def _line(e: BaseException, path: Path) -> str:
    """The line of the kernel that the message shows, if it does."""
    lines = [text for text in str(e).splitlines() if text.strip()]
    marked = [lines[i - 1].strip() for i, text in enumerate(lines) if text.strip() == "^" and i]
    return marked[0][:160] if marked else ""


WORK = {"programs": try_program, "kernels": try_kernel, "loops": try_loop, "gpu": try_gpu, "mistakes": try_mistake}


def worker(kind: str, first: int, last: int, step: int, patience: float) -> None:
    """Tries seeds; says before each which one, so that a death can be laid at its door."""
    work, out = WORK[kind], sys.stdout

    def alarm(*_: Any) -> None:
        raise TooSlow

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, alarm)
    for seed in range(first, last, step):
        out.write(f"{seed}\n")
        out.flush()
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, patience)
        try:
            found = work(seed)
        except TooSlow:
            found = {"error": "TooSlow", "text": f"longer than {patience} s"}
        finally:
            if hasattr(signal, "SIGALRM"):
                signal.setitimer(signal.ITIMER_REAL, 0)
        if found:
            out.write(json.dumps({"seed": seed, "machine": os.environ.get("ANYTILE_CPU", ""), **found}) + "\n")
    out.write("end\n")


def machine_rows() -> list[str]:
    """The row that ANYTILE_CPU names, or those of the machine table that this CPU can run; "" is its own."""
    from anytile.errors import AnytileError
    from anytile.targets.cpu.machine import MACHINES, _current

    if named := os.environ.get("ANYTILE_CPU"):
        return [named]
    rows = [""]
    for row in MACHINES:
        try:
            _current.__wrapped__(row.name)
        except AnytileError:
            continue
        rows.append(row.name)
    return rows


def cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """One worker and what it has said."""

    def __init__(self, kind: str, first: int, last: int, step: int, machine: str, patience: float):
        self.kind, self.first, self.last, self.step, self.machine, self.patience = kind, first, last, step, machine, patience
        threads = "2" if kind in ("kernels", "loops") and first % 2 else "1"
        environment = {**os.environ, "ANYTILE_NUM_THREADS": threads, "OMP_NUM_THREADS": "1"}
        if machine:
            environment["ANYTILE_CPU"] = machine
        command = [sys.executable, __file__, kind, "--worker", f"{first},{last},{step},{patience}"]
        self.file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdout=self.file, stderr=self.errors, env=environment)

    def result(self) -> tuple[int, list[dict[str, Any]], int | None]:
        """(cases finished, findings, seed at which it ended before its last one, or None)."""
        self.file.seek(0)
        seeds: list[int] = []
        findings, ended = [], False
        for line in self.file:
            if line.startswith("{"):
                findings.append(json.loads(line))
            elif line.startswith("end"):
                ended = True
            elif line.endswith("\n"):
                seeds.append(int(line))
        if ended:
            return len(seeds), findings, None
        return max(0, len(seeds) - 1), findings, seeds[-1] if seeds else self.first

    def after(self, seed: int) -> _Process:
        """A worker for what this one leaves behind ``seed``."""
        return _Process(self.kind, seed + self.step, self.last, self.step, self.machine, self.patience)

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-400:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(WORK))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=cores(), help="worker processes; as many as cores may be used")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this time, whatever the count")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for one case")
    parser.add_argument(
        "--resume", type=Path, help="continue what this output of an earlier run says is left; instead of --count and --seed"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        first, last, step, patience = arguments.worker.split(",")
        worker(arguments.kind, int(first), int(last), int(step), float(patience))
        return 0

    begin = time.monotonic()
    if arguments.resume:
        lanes = json.loads(arguments.resume.read_text().splitlines()[-1])["left"]
    else:
        jobs, last = max(1, min(arguments.jobs, arguments.count)), arguments.seed + arguments.count
        rows = machine_rows()[:jobs] if arguments.kind not in ("mistakes", "gpu") else [""]
        lanes = [[arguments.seed + j, last, jobs, rows[j % len(rows)]] for j in range(jobs)]
    cases_of: dict[str, int] = {}
    left: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("ANYTILE_CACHE_DIR", cache)
        running = [_Process(arguments.kind, *lane, arguments.patience) for lane in lanes]
        found = 0
        stopped = False

        def stop(*_: Any) -> None:
            nonlocal stopped
            stopped = True

        signal.signal(signal.SIGTERM, stop)  # what was tried until then is told
        signal.signal(signal.SIGINT, stop)
        while running:
            time.sleep(0.2)
            stopped = stopped or bool(arguments.minutes) and time.monotonic() - begin > 60 * arguments.minutes
            if stopped:
                for p in running:
                    p.process.kill()
            for p in list(running):
                if p.process.poll() is None:
                    continue
                running.remove(p)
                cases, findings, broken_off = p.result()
                if broken_off is not None and stopped:
                    left.append([broken_off, p.last, p.step, p.machine])
                elif broken_off is not None:
                    findings.append({"seed": broken_off, "machine": p.machine, "error": f"exit {p.process.returncode}", "text": p.said()})
                    cases += 1  # this one was tried, too
                    running.append(p.after(broken_off))
                cases_of[p.machine] = cases_of.get(p.machine, 0) + cases
                for finding in findings:
                    found += 1
                    print(json.dumps(finding), flush=True)
    seconds = round(time.monotonic() - begin, 1)
    totals = {
        "kind": arguments.kind,
        "cases": sum(cases_of.values()),
        "findings": found,
        "machines": cases_of,
        "seconds": seconds,
        "left": left,
    }
    print(json.dumps(totals))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
