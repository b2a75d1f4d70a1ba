#!/usr/bin/env python3
"""PyTorch's own Inductor tests, each in a process of its own, with anytile as Triton.

    scripts/pytorch_tests.py FOLDER MODULE[:CLASS] … [--seconds 270] [--jobs 15] [--match RE] [--only FILE] [--plain] [--out FILE]

FOLDER is ``test/inductor`` of PyTorch's sources; its files are imported, never changed.  Tests are taken in a seeded order until the
time is over; each runs in a fork of a process that has imported torch and the modules, with a limit of its own, so that a crash or
an endless loop costs one test.  One JSON line per test: ``state`` (passed, failed, error, skipped, xfailed: failed as marked,
xpassed: passed though marked as failing, crashed, timeout), seconds, ``kernels`` (how many Triton kernels torch compiled or took from
a cache) and ``launches`` in it (so that a test that passes without running one can be told), and for what did not pass the end
of its traceback.  The last line counts states, and passed tests without a kernel.

``--cpu-is-gpu`` lets tests that ask for "the GPU" have the CPU.  Tests of an older release than the installed torch find the names
that torch's test helpers have dropped since (`DROPPED`).

``--plain`` leaves `import triton` to the installed one.  ``--only``: file with a test's name on each line (or an earlier output, of
which those are taken that neither passed nor were skipped).  ``--keep-backend``: does not make Triton Inductor's CPU backend; a test
that patches `cpu_backend` has it.

Exit status: 0 where tests ran, 1 where none did.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

#: What torch imports at its first compilation; imported once, before the forks.
PRELOADED = (
    "torch._dynamo.convert_frame torch._inductor.compile_fx torch._inductor.codegen.triton torch._inductor.codegen.wrapper "
    "torch._inductor.scheduler torch._inductor.runtime.triton_heuristics torch._inductor.fx_passes.post_grad "
    "torch._inductor.fx_passes.joint_graph torch._inductor.select_algorithm torch._functorch.aot_autograd sympy"
)
#: Names of torch.testing._internal's modules in older releases → what they are now.
DROPPED = {
    "inductor_utils": {"HAS_CUDA": "HAS_CUDA_AND_TRITON", "HAS_XPU": "HAS_XPU_AND_TRITON"},
    "triton_utils": {"requires_cuda": "requires_cuda_and_triton", "inline_asm_kernel": "inline_asm_kernel_is_pure_false"},
}
UNFINISHED = ("failed", "error", "crashed", "timeout", "xpassed")


class Outcome(unittest.TestResult):
    """What became of one test."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.text = "passed", ""

    def _set(self, state: str, text: str) -> None:
        if self.state in ("passed", "skipped"):  # the first failure of a test with sub-tests is kept
            self.state, self.text = state, text

    def addError(self, test: Any, err: Any) -> None:
        self._set("error", "".join(traceback.format_exception(*err))[-2500:])

    def addFailure(self, test: Any, err: Any) -> None:
        self._set("failed", "".join(traceback.format_exception(*err))[-2500:])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addFailure(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self._set("skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._set("xfailed", str(err[1])[:300])

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._set("xpassed", "")


def collect(names: list[str]) -> list[unittest.TestCase]:
    """The tests of ``module`` or ``module:Class``, in a seeded order."""
    tests: list[Any] = []
    for name in names:
        module_name, _, only = name.partition(":")
        module = importlib.import_module(module_name)
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, unittest.TestCase) and (cls.__name__ == only if only else True):
                tests += unittest.defaultTestLoader.loadTestsFromTestCase(cls)
    tests = sorted({test.id(): test for test in tests}.values(), key=lambda test: test.id())
    random.Random(0).shuffle(tests)
    return tests


def prepare_helpers(cpu_is_gpu: bool) -> None:
    """Names for tests of older releases; and the CPU in the place of the GPU, if asked for, before anything has imported the names."""
    helpers: Any = importlib.import_module("torch.testing._internal.inductor_utils")
    if cpu_is_gpu:
        helpers.GPU_TYPE, helpers.HAS_GPU = "cpu", True
        for name in ("HAS_GPU_AND_TRITON", "HAS_CUDA", "HAS_CUDA_AND_TRITON", "RUN_GPU"):
            if hasattr(helpers, name):
                setattr(helpers, name, True)
    for module, names in DROPPED.items():
        helpers = importlib.import_module(f"torch.testing._internal.{module}")
        for old, new in names.items():
            if not hasattr(helpers, old) and hasattr(helpers, new):
                setattr(helpers, old, getattr(helpers, new))
    wrap: Any = importlib.import_module("torch._higher_order_ops.triton_kernel_wrap")
    analysis = getattr(wrap, "identify_mutated_tensors", None)
    if analysis is not None and analysis.__code__.co_argcount == 3:
        analysis.__defaults__ = ({},)  # metadata of descriptors, which older tests do not pass


def count_kernels() -> Counter[str]:
    """Counts from now on the kernels that Inductor holds and their launches in this process."""
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner

    counted: Counter[str] = Counter()
    make, launch = CachingAutotuner._make_launchers, CachingAutotuner.run

    def _make_launchers(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted["kernels"] += 1
        return make(self, *args, **kwargs)

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted["launches"] += 1
        return launch(self, *args, **kwargs)

    CachingAutotuner._make_launchers, CachingAutotuner.run = _make_launchers, run
    return counted


def run_here(test: Any, folder: str) -> dict[str, Any]:
    """One test in this process, which then ends."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
    os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
    counted = count_kernels()
    outcome = Outcome()
    unittest.TestSuite([test]).run(outcome)
    if not outcome.testsRun and outcome.state == "passed":
        outcome.state = "skipped"
    return {"state": outcome.state, "kernels": counted["kernels"], "launches": counted["launches"], "text": outcome.text}


class Pool:
    """Up to ``jobs`` forks, each with one test and at most ``limit`` seconds."""

    def __init__(self, jobs: int, limit: float, folder: str) -> None:
        self.jobs, self.limit, self.folder = jobs, limit, folder
        self.running: dict[int, tuple[Any, float, str]] = {}

    def start(self, test: Any) -> None:
        place = tempfile.mkdtemp(dir=self.folder)
        pid = os.fork()
        if not pid:
            os.setsid()  # its own children end with it
            log = os.open(os.path.join(place, "log"), os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                row = run_here(test, place)
            except BaseException:
                row = {"state": "error", "text": traceback.format_exc()[-2500:]}
            Path(place, "row").write_text(json.dumps(row), encoding="utf-8")
            os._exit(0)
        self.running[pid] = (test, time.monotonic(), place)

    def finished(self) -> list[dict[str, Any]]:
        """Rows of the tests that have ended; those beyond their limit are ended."""
        rows = []
        for pid, (test, start, place) in list(self.running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            seconds = time.monotonic() - start
            if not done and seconds < self.limit:
                continue
            late = not done
            if late:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            file = Path(place, "row")
            row: dict[str, Any] = {"test": test.id().split(".", 1)[-1]}
            if file.exists():
                row |= json.loads(file.read_text(encoding="utf-8"))
            else:
                log = Path(place, "log").read_text(encoding="utf-8", errors="replace") if Path(place, "log").exists() else ""
                row |= {"state": "timeout" if late else "crashed", "text": f"status {status}\n{log[-1500:]}"}
            rows.append({**row, "s": round(seconds, 1)})
            del self.running[pid]
            shutil.rmtree(place, ignore_errors=True)
        return rows


def wanted(arguments: argparse.Namespace, tests: list[Any]) -> list[Any]:
    out = [t for t in tests if re.search(arguments.match, t.id())]
    if arguments.skip:
        out = [t for t in out if not re.search(arguments.skip, t.id())]
    if arguments.only:
        names = set()
        for line in Path(arguments.only).read_text(encoding="utf-8").splitlines():
            if not line.startswith("{"):
                names.add(line.strip())
            elif (row := json.loads(line)).get("state") in UNFINISHED:
                names.add(row["test"])
        out = [t for t in out if t.id().split(".", 1)[-1] in names]
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--seconds", type=float, default=270, help="no test is begun after these")
    parser.add_argument("--limit", type=float, default=60, help="seconds that one test may take")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--match", default="")
    parser.add_argument("--skip", default="", help="tests whose names match are left out")
    parser.add_argument("--only")
    parser.add_argument("--cpu-is-gpu", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--keep-backend", action="store_true")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    for name, value in (("OMP_NUM_THREADS", "1"), ("ANYTILE_NUM_THREADS", "1"), ("TORCHINDUCTOR_COMPILE_THREADS", "1")):
        os.environ.setdefault(name, value)
    if not arguments.plain:
        import anytile.torch

        anytile.torch.enable(cpu=not arguments.keep_backend, say=False)
    folder = os.path.abspath(arguments.folder)
    sys.path[:0] = [folder, os.path.dirname(folder)]
    os.chdir(folder)
    import torch
    import triton

    for name in PRELOADED.split():
        importlib.import_module(name)
    prepare_helpers(arguments.cpu_is_gpu)
    collected = collect(arguments.modules)
    tests = wanted(arguments, collected)
    out = open(arguments.out, "w", encoding="utf-8") if arguments.out else None

    def say(row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False)
        print(line if arguments.out is None else line[:160], flush=True)
        if out:
            out.write(line + "\n")
            out.flush()

    by = triton.__file__ if arguments.plain else "anytile"
    head = {"torch": torch.__version__, "triton": triton.__version__, "by": by, "modules": arguments.modules}
    say({**head, "collected": len(collected), "selected": len(tests)})
    states: Counter[str] = Counter()
    empty = 0
    with tempfile.TemporaryDirectory(prefix="anytile-pytorch-tests-") as scratch:
        pool = Pool(arguments.jobs, arguments.limit, scratch)
        waiting = tests[::-1]
        while pool.running or (waiting and time.monotonic() < end):
            while waiting and len(pool.running) < pool.jobs and time.monotonic() < end:
                pool.start(waiting.pop())
            for row in pool.finished():
                states[row["state"]] += 1
                empty += row["state"] == "passed" and not row.get("launches")
                say(row)
            time.sleep(0.02)
    say({**states, "passed_without_a_launch": empty, "not_reached": len(waiting)})
    return 0 if sum(states.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
