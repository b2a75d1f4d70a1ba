#!/usr/bin/env python3
"""PyTorch's own Inductor tests, each in a process of its own, with anytile as Triton.

    scripts/pytorch_tests.py FOLDER MODULE[:CLASS] … [--seconds 270] [--jobs 15] [--match RE] [--only FILE] [--plain] [--out FILE]

FOLDER is ``test/inductor`` of PyTorch's sources; its files are imported, never changed.  Each module's tests are taken in a seeded order,
until the time is over, by ``--jobs`` processes that run one after another; each test has a limit, and a process that crashes, hangs or loses
the GPU is replaced: that costs one test.  One JSON line per test: ``state`` (passed, failed, error, skipped, xfailed: failed as marked,
xpassed: passed though marked as failing, crashed, timeout), seconds, ``kernels`` (how many Triton kernels torch compiled or took from
a cache) and ``launches`` in it (so that a test that passes without running one can be told), and for what did not pass the end
of its traceback.  The last line counts states, and passed tests without a kernel.

``--cpu-is-gpu`` lets tests that ask for "the GPU" have the CPU.  Tests of an older release than the installed torch find the names
that torch's test helpers have dropped since (`DROPPED`).

torch and the tests are imported once; the processes are forks of that one, with a GPU too: importing tests asks the GPU for its properties,
which a process of its own has read before (`Gpus`), so that CUDA is started by nobody before the fork, after which it would serve none.
Where something starts it nevertheless, each process imports the tests itself.

``--unskip`` runs what test_torchinductor.py leaves out on Triton-CPU ("Compile time crash in Triton CPU CI").

``--plain`` leaves `import triton` to the installed one.  ``--only``: file with a test's name on each line (or an earlier output, of
which those are taken that neither passed nor were skipped).  ``--keep-backend``: does not make Triton Inductor's CPU backend; a test
that patches `cpu_backend` has it.

Exit status: 0 where tests ran, 1 where none did.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

#: Functions of test_torchinductor.py that leave out tests on Triton-CPU: a decorator's, and a test.
SKIPPING = ("wrapper", "test_dtypeview")
#: What an error says after which the process can use the GPU no more.
LOST_GPU = ("CUDA error", "AcceleratorError", "KernelFaultError")
#: Names of torch.testing._internal's modules in older releases → what they are now.
DROPPED = {
    "inductor_utils": {"HAS_CUDA": "HAS_CUDA_AND_TRITON", "HAS_XPU": "HAS_XPU_AND_TRITON"},
    "triton_utils": {"requires_cuda": "requires_cuda_and_triton", "inline_asm_kernel": "inline_asm_kernel_is_pure_false"},
}
#: Seconds that a new process may take to start CUDA, and to import the tests if it must, among many, beside its first test's own limit.
STARTING = 60
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


class Gpus(NamedTuple):
    """``properties``: what torch says of each GPU.  ``settled``: what torch.testing asks of one lazily, by name."""

    properties: list[dict[str, Any]]
    settled: dict[str, bool | int]


def ask_for_gpus() -> Gpus:
    """The GPUs as torch sees them, none where there is none.  Another process asks: CUDA serves no fork of the one that did."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def ask() -> None:
        import torch

        properties, settled = [], {}
        if torch.cuda.is_available():
            helpers = importlib.import_module("torch.testing._internal.common_cuda")
            lazy = {name: value for name, value in vars(helpers).items() if type(value).__name__ == "LazyVal" and name != "ROCM_VERSION"}
            settled = {name: int(value) if name.endswith("_VERSION") else bool(value) for name, value in lazy.items()}
            for gpu in map(torch.cuda.get_device_properties, range(torch.cuda.device_count())):
                properties.append({k: v for k in dir(gpu) if k[0] != "_" and isinstance(v := getattr(gpu, k), (bool, int, float, str))})
        theirs.send(Gpus(properties, settled))

    child = multiprocessing.get_context("fork").Process(target=ask)  # type: ignore[attr-defined]
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit("the process that asked torch for its GPUs ended without an answer; what it wrote stands above") from None
    finally:
        child.join()


@contextmanager
def answering(gpus: Gpus) -> Iterator[None]:
    """While modules of tests are imported, torch's questions about the GPUs are answered from ``gpus``."""
    import torch

    if not gpus.properties:
        yield
        return
    shown = [SimpleNamespace(**properties) for properties in gpus.properties]
    answers: list[tuple[Any, str, Any]] = [
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "_get_device_properties", lambda device: shown[device]),
        (torch._C, "_cuda_getDeviceCount", lambda: len(shown)),
        (torch._C, "_cuda_getDevice", lambda: 0),
    ]
    before = [getattr(holder, name, None) for holder, name, _ in answers]
    for holder, name, answer in answers:
        setattr(holder, name, answer)
    try:
        helpers = importlib.import_module("torch.testing._internal.common_cuda")
        for name, value in gpus.settled.items():
            lazy = getattr(helpers, name)
            lazy._value, lazy._cb = value, None
        yield
    finally:
        for (holder, name, _), old in zip(answers, before):
            if old is None:  # torch makes it when CUDA starts
                delattr(holder, name)
            else:
                setattr(holder, name, old)


def serves_forks() -> bool:
    """Whether CUDA starts in a fork of this process: it does where nothing has started it in this one."""
    import torch

    def start() -> None:
        try:
            torch.cuda.init()
        except RuntimeError:
            os._exit(1)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=start)  # type: ignore[attr-defined]
    child.start()
    child.join()
    return child.exitcode == 0


def collect(names: list[str], unskip: bool = False) -> list[unittest.TestCase]:
    """The tests of each ``module`` or ``module:Class``, in a seeded order."""
    if unskip:
        inductor: Any = importlib.import_module("test_torchinductor")
        asked = inductor.is_triton_cpu_backend
        # Others than these ask for what they are to expect of this backend.
        inductor.is_triton_cpu_backend = lambda device: sys._getframe(1).f_code.co_name not in SKIPPING and asked(device)
    tests: dict[str, Any] = {}
    for name in names:
        module_name, _, only = name.partition(":")
        module = importlib.import_module(module_name)
        found: list[Any] = []
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, unittest.TestCase) and (cls.__name__ == only if only else True):
                found += unittest.defaultTestLoader.loadTestsFromTestCase(cls)
        found.sort(key=lambda test: test.id())
        random.Random(0).shuffle(found)
        tests.update((test.id(), test) for test in found if test.id() not in tests)
    return list(tests.values())


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
    holder: Any = CachingAutotuner
    make, launch = holder.__init__, holder.run

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        counted["kernels"] += 1
        make(self, *args, **kwargs)

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted["launches"] += 1
        return launch(self, *args, **kwargs)

    holder.__init__, holder.run = __init__, run
    return counted


def serve(pipe: Any, place: str, arguments: argparse.Namespace, tests: dict[str, Any] | None) -> None:
    """A worker: runs the ``tests`` whose names come through ``pipe`` and answers with a row each; imports them first where there are none."""
    os.setsid()  # what it starts ends with it
    log = os.open(os.path.join(place, "log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TORCHINDUCTOR_CACHE_DIR"], os.environ["TRITON_CACHE_DIR"] = f"{place}/inductor", f"{place}/triton"
    if tests is None:
        prepare(arguments)
        tests = {test.id(): test for test in collect(arguments.modules, arguments.unskip)}
    counted = count_kernels()
    while True:
        name = pipe.recv()
        counted.clear()
        outcome = Outcome()
        unittest.TestSuite([tests[name]]).run(outcome)
        if not outcome.testsRun and outcome.state == "passed":
            outcome.state = "skipped"
        pipe.send({"state": outcome.state, "kernels": counted["kernels"], "launches": counted["launches"], "text": outcome.text})


class Worker:
    """A process that runs tests one after another: a fork of this one, or a new one where ``tests`` is None.

    ``folder``: its own, for caches and its log.
    """

    def __init__(self, arguments: argparse.Namespace, tests: dict[str, Any] | None, folder: str) -> None:
        self.arguments, self.tests, self.folder = arguments, tests, folder
        self.test, self.begun, self.runs = "", 0.0, 0
        self.start()

    def start(self) -> None:
        self.runs += 1
        self.place = os.path.join(self.folder, str(self.runs))
        os.makedirs(self.place)
        context = multiprocessing.get_context("spawn" if self.tests is None else "fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.place, self.arguments, self.tests))  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()
        self.patience = STARTING

    def give(self, test: str) -> None:
        """Begins a test."""
        self.test, self.begun = test, time.monotonic()
        try:
            self.pipe.send(test)
        except BrokenPipeError:
            pass  # it has ended: `answer` will say so

    def answer(self, limit: float) -> dict[str, Any] | None:
        """The row of the test under way once there is one; after a crash, a timeout or a lost GPU the worker is started anew."""
        seconds = time.monotonic() - self.begun
        row: dict[str, Any] = {}
        if self.pipe.poll():
            try:
                row = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                row = {"state": "crashed", "text": self.tail()}
        elif seconds > limit + self.patience:
            row = {"state": "timeout", "text": self.tail()}
        else:
            return None
        self.patience = 0
        if row["state"] in ("crashed", "timeout") or any(sign in row["text"] for sign in LOST_GPU):
            self.stop()
            self.start()
        return {"test": self.test.split(".", 1)[-1], **row, "s": round(seconds, 1)}

    def tail(self) -> str:
        log = Path(self.place, "log")
        return log.read_text(encoding="utf-8", errors="replace")[-1500:] if log.exists() else ""

    def stop(self) -> None:
        assert self.process.pid is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.process.kill()  # not in a session of its own yet
        self.process.join()


def wanted(arguments: argparse.Namespace, tests: list[Any], only: list[str] | None) -> list[Any]:
    """Those of the tests that the command line asks for; ``only``: lines of the file that it names."""
    out = [t for t in tests if re.search(arguments.match, t.id())]
    if arguments.skip:
        out = [t for t in out if not re.search(arguments.skip, t.id())]
    if only is not None:
        names = set()
        for line in only:
            if not line.startswith("{"):
                names.add(line.strip())
            elif (row := json.loads(line)).get("state") in UNFINISHED:
                names.add(row["test"])
        out = [t for t in out if t.id().split(".", 1)[-1] in names]
    return out


def rows_of(workers: list[Worker], waiting: list[str], end: float, limit: float) -> Iterator[dict[str, Any]]:
    """The tests' rows as they come; takes tests off the end of ``waiting``, none after ``end`` (of the monotonic clock)."""
    busy: list[Worker] = []
    while busy or (waiting and time.monotonic() < end):
        for worker in workers:
            if worker not in busy and waiting and time.monotonic() < end:
                worker.give(waiting.pop())
                busy.append(worker)
            row = worker.answer(limit) if worker in busy else None
            if row is not None:
                busy.remove(worker)
                yield row
        time.sleep(0.02)


def prepare(arguments: argparse.Namespace) -> None:
    """torch, Triton and the tests' folder, ready for the tests' modules."""
    if not arguments.plain:
        import anytile.torch

        anytile.torch.enable(cpu=False if arguments.keep_backend else None, say=False)
    sys.path[:0] = [arguments.folder, os.path.dirname(arguments.folder)]
    os.chdir(arguments.folder)
    prepare_helpers(arguments.cpu_is_gpu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=os.path.abspath)
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
    parser.add_argument("--unskip", action="store_true")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    begin = time.monotonic()
    end = begin + arguments.seconds
    # Numba, which torch's test helpers import where it is installed, starts CUDA to see whether it is there.
    alone = {"OMP_NUM_THREADS": "1", "ANYTILE_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1", "NUMBA_DISABLE_CUDA": "1"}
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    out = open(arguments.out, "w", encoding="utf-8") if arguments.out else None
    only = Path(arguments.only).read_text(encoding="utf-8").splitlines() if arguments.only else None
    if not arguments.plain:
        import anytile

        anytile.install()  # before torch's helpers look for a Triton
    import torch  # not its helpers, which ask for GPUs

    gpus = ask_for_gpus()
    with answering(gpus):
        prepare(arguments)
        import triton

        collected = collect(arguments.modules, arguments.unskip)
    tests = wanted(arguments, collected, only)
    forked = not gpus.properties or serves_forks()

    def say(row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False)
        print(line if arguments.out is None else line[:160], flush=True)
        if out:
            out.write(line + "\n")
            out.flush()

    by = triton.__file__ if arguments.plain else "anytile"
    head: dict[str, Any] = {"torch": torch.__version__, "triton": triton.__version__, "by": by, "modules": arguments.modules}
    head["gpus"], head["seconds_to_import"] = [properties["name"] for properties in gpus.properties], round(time.monotonic() - begin, 1)
    head["processes"] = "forks" if forked else "new ones, for importing these tests starts CUDA"
    say({**head, "collected": len(collected), "selected": len(tests)})
    states: Counter[str] = Counter()
    empty = 0
    imported = {test.id(): test for test in collected} if forked else None
    with tempfile.TemporaryDirectory(prefix="anytile-pytorch-tests-") as scratch:
        waiting = [test.id() for test in tests[::-1]]
        workers = [Worker(arguments, imported, os.path.join(scratch, str(i))) for i in range(min(arguments.jobs, len(waiting)))]
        try:
            for row in rows_of(workers, waiting, end, arguments.limit):
                states[row["state"]] += 1
                empty += row["state"] == "passed" and not row.get("launches")
                say(row)
        finally:  # they are in sessions of their own, where no interrupt reaches them
            for worker in workers:
                worker.stop()
    say({**states, "passed_without_a_launch": empty, "not_reached": len(waiting)})
    return 0 if sum(states.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
