"""The kernels that programs launch, each timed alone, under anytile and under the installed Triton on the same GPU.

    python bench/gpu_survey.py [--out FILE.jsonl] PROGRAM.py … PROGRAM.py::FUNCTION …
    python bench/gpu_survey.py --tell FILE.jsonl …                                        the table once more, of one or several files

A program is run as it is; of each kernel it launches, the first launches of a kind (grid, arguments, options) are timed alone
(`gpu_survey_worker.py` says how), and the same kinds on both sides are put beside each other.  First every program runs once in several
processes a side, at the same time, which fills the caches of compiled kernels (``--jobs``, 0: not); then one process a side takes the
programs, in turns, and times.  Kernels under an autotuner are timed in some of their configurations (``--configs``, the same ones on both
sides), not tuned.  What comes out 3 % or more slower than Triton is timed once more, as time permits, and the better times of each side count.

``--setup FILE`` is executed in each process before the first program (paths, seeds, what a program expects to find); ``--limit`` ends it
all after so many seconds, ``--compiling`` its first half; ``--patience`` is how long a program may go on without a new kernel.  Rows are written as they come:
``library, program, kernel, grid, args, kind, config, us (median of 7), min_us, bytes (of its arguments), regs, spills, shared, num_warps``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_compile import invocation

SIDES = ("anytile", "triton")
LOSS = 0.97


class Worker:
    """A process of one side; :meth:`begin` gives it a program, :meth:`rows` what has come of it since."""

    def __init__(self, side: str, cache: Path, timed: bool, options: argparse.Namespace) -> None:
        script = Path(__file__).resolve().with_name("gpu_survey_worker.py")
        command, env = invocation(side == "anytile", script, str(cache / side))
        arguments = [side, str(int(timed)), str(options.configs), str(options.kinds), options.cubins or "", *filter(None, [options.setup])]
        self.side, self.command, self.env = side, [*command, *arguments], env
        self.task, self.since = "", 0.0
        self.log = Path(options.log).open("a") if options.log else subprocess.DEVNULL
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, start_new_session=True
        )
        assert self.process.stdout is not None
        self.output, self.text, self.ready = self.process.stdout.fileno(), b"", False

    def begin(self, task: str) -> None:
        assert self.process.stdin is not None
        self.task, self.since = task, time.monotonic()
        try:
            self.process.stdin.write(task.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, which `rows` reports

    def rows(self) -> Iterator[dict[str, Any]]:
        """Lines that are there; the worker is free again (``task`` empty) behind a ``done`` or ``died``."""
        found = os.read(self.output, 1 << 16)
        if not found:  # it ended: its imports failed, or it was killed
            task, self.task = self.task, ""
            self.process.wait()
            yield {"died": self.side, "program": task, "status": self.process.returncode}
            return
        *lines, self.text = (self.text + found).split(b"\n")
        for each in lines:
            self.since = time.monotonic()
            row = json.loads(each)
            self.ready = True
            if "died" in row:
                row["program"] = self.task
            if "done" in row or "died" in row:
                self.task = ""
            yield row

    def waits(self) -> float:
        """Seconds since it has told anything; imports count for nothing."""
        return time.monotonic() - self.since if self.ready else 0.0

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Survey:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.begun = time.monotonic()
        self.cache = Path(options.cache)
        self.found: list[dict[str, Any]] = []

    def left(self) -> float:
        return self.options.limit - (time.monotonic() - self.begun)

    def keep(self, row: dict[str, Any], **more: Any) -> None:
        row = {**row, **more}
        self.found.append(row)
        if self.options.out:
            with Path(self.options.out).open("a") as file:
                file.write(json.dumps(row) + "\n")

    def compile(self, programs: Sequence[str]) -> None:
        """Every program once on both sides, ``jobs`` processes in all, two thirds of them Triton's, which compiles longer."""
        until = time.monotonic() + self.options.compiling
        jobs = max(2, self.options.jobs)
        mine = max(1, jobs // 3)
        workers = [
            Worker(side, self.cache, False, self.options)
            for side in ["anytile"] * mine + ["triton"] * (jobs - mine)
            if side in self.options.sides
        ]
        todo = {side: list(programs) for side in SIDES}
        while time.monotonic() < until:
            for worker in workers:
                if not worker.task and worker.process.poll() is None and todo[worker.side]:
                    worker.begin(todo[worker.side].pop(0))
            busy = [w for w in workers if w.task]
            if not busy:
                break
            ready, _, _ = select.select([w.output for w in busy], [], [], 1.0)
            for worker in busy:
                if worker.output in ready:
                    for row in worker.rows():
                        if "kernel" not in row:
                            self.keep(row, phase="compile")
                        elif row.get("first_s", 0) > 0.02:
                            self.keep({k: row[k] for k in ("library", "program", "kernel", "kind", "first_s")}, phase="compile")
                    if not worker.task and worker.process.poll() is not None:
                        worker.start()
                elif worker.waits() > self.options.patience:
                    self.keep({"died": worker.side, "program": worker.task, "status": "patience"}, phase="compile")
                    worker.task = ""
                    worker.restart()
        for worker in workers:
            worker.stop()
        print(f"compiled: {time.monotonic() - self.begun:.0f} s, left {[len(t) for t in todo.values()]}", flush=True)

    def time(self, programs: Sequence[str]) -> None:
        workers = {side: Worker(side, self.cache, True, self.options) for side in self.options.sides}
        for number, program in enumerate(programs):
            for side in list(workers)[:: 1 if number % 2 else -1]:
                self.turn(workers[side], program)
            if self.left() < 0:
                break
        again = list(dict.fromkeys(row["program"] for row in beside(self.found) if row["ratio"] < LOSS))
        print(f"timed: {time.monotonic() - self.begun:.0f} s, again {len(again)}", flush=True)
        for number, program in enumerate(again):
            for side in list(workers)[:: -1 if number % 2 else 1]:
                self.turn(workers[side], program)
        for worker in workers.values():
            worker.stop()

    def turn(self, worker: Worker, program: str) -> None:
        """One program on one side; the other waits."""
        if self.left() < 0:
            return
        worker.begin(program)
        while worker.task:
            patience = min(self.options.patience - worker.waits(), self.left() + 5)
            if patience < 0:
                self.keep({"died": worker.side, "program": program, "status": "patience"}, phase="time")
                worker.task = ""
                worker.restart()
            elif select.select([worker.output], [], [], min(patience + 0.1, 1.0))[0]:
                for row in worker.rows():
                    self.keep(row, phase="time")
                if not worker.task and worker.process.poll() is not None:
                    worker.start()


def beside(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kinds that both sides timed, slowest beside Triton first: ``ratio`` is Triton's time by anytile's, best of the rounds each."""
    best: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if "us" in row:
            sides = best.setdefault((row["program"], row["kind"]), {})
            if row["library"] not in sides or row["us"] < sides[row["library"]]["us"]:
                sides[row["library"]] = row
    pairs = [sides for sides in best.values() if len(sides) == 2]
    found = []
    for sides in pairs:
        mine, other = (sides[side] for side in SIDES)
        row = {k: mine[k] for k in ("program", "kernel", "grid", "kind", "config", "bytes", "num_warps") if k in mine}
        row |= {"ratio": round(other["us"] / mine["us"], 3), "us": mine["us"], "triton_us": other["us"]}
        row |= {k: [mine.get(k), other.get(k)] for k in ("regs", "spills", "shared")} | {"args": mine["args"]}
        found.append(row)
    return sorted(found, key=lambda row: row["ratio"])


def tell(rows: Sequence[dict[str, Any]]) -> None:
    found = beside(rows)
    if not found:
        print("nothing that both sides timed")
        return
    print(f"{'ratio':>6} {'us':>9} {'triton':>9}  regs spills shared (anytile/Triton)  kernel, grid, program")
    for row in found:
        resources = " ".join(f"{a}/{b}" for a, b in (row["regs"], row["spills"], row["shared"]))
        name = f"{row['kernel']} {row['grid']} {Path(row['program']).name}"
        print(
            f"{row['ratio']:6.2f} {row['us']:9.2f} {row['triton_us']:9.2f}  {resources:24} w{row.get('num_warps')} {name} {row.get('config', '')}"
        )

    def mean(rows: Sequence[dict[str, Any]]) -> str:
        return f"{math.exp(sum(math.log(r['ratio']) for r in rows) / max(1, len(rows))):.3f} of {len(rows)}" if rows else "none"

    long = [row for row in found if row["triton_us"] >= 10]
    print(f"geometric mean of Triton's time by anytile's: {mean(found)}; of 10 us and more: {mean(long)}")
    print(f"below 0.95: {sum(r['ratio'] < 0.95 for r in found)}; of 10 us and more: {sum(r['ratio'] < 0.95 for r in long)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--tell", action="store_true")
    parser.add_argument("--setup", default="")
    parser.add_argument("--configs", type=int, default=3)
    parser.add_argument("--kinds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--compiling", type=float, default=600)
    parser.add_argument("--limit", type=float, default=1200)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--no-times", action="store_true", help="compile only")
    parser.add_argument("--cache", default="/tmp/gpu-survey")
    parser.add_argument("--cubins", default="")
    parser.add_argument("--log", default="")
    options = parser.parse_args()
    if options.tell:
        tell([json.loads(each) for path in options.programs for each in Path(path).read_text().splitlines()])
        return
    for folder in (options.cache, options.cubins):
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
    survey = Survey(options)
    if options.jobs:
        survey.compile(options.programs)
    if not options.no_times:
        survey.time(options.programs)
        tell(survey.found)


if __name__ == "__main__":
    main()
