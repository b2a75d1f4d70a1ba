"""Runs probes in processes of the examined Python: what crashes or hangs there is a row here."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .rows import Row, Verdict

__all__ = ["Probe", "run_group"]

_MARK = "\x1eanytile-verify "
_WORKER = Path(__file__).parent / "probes" / "worker.py"
_WINDOWS_CRASHES = {
    0xC0000005: "access violation",
    0xC0000135: "a DLL was not found",
    0xC0000142: "a DLL failed to initialise",
    0xC0000409: "stack buffer overrun, or abort()",
    0xC00000FD: "stack overflow",
}
_KEPT_LINES = 60  # of what a process wrote, for the row of one that died


class Probe:
    """One process of the worker. `events` yields what it tells; ends when it ends."""

    def __init__(self, python: str, arguments: Sequence[str], environment: dict[str, str] | None = None) -> None:
        env = {**os.environ, **(environment or {}), "PYTHONIOENCODING": "utf-8", "PYTHONFAULTHANDLER": "1"}
        env.pop("__PYVENV_LAUNCHER__", None)  # macOS: the framework's launcher would start this Python instead
        own_group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x200}
        self.process = subprocess.Popen(
            [python, str(_WORKER), *arguments],
            stdin=subprocess.PIPE,  # wine's Python starts only on pipes
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=env,
            **own_group,
        )
        self.lines: list[str] = []
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            before, mark, told = line.partition(_MARK)
            if mark:
                with contextlib.suppress(ValueError):
                    self._told.put(json.loads(told))
            if not mark or before.strip():
                self.lines = [*self.lines[1 - _KEPT_LINES :], before.rstrip("\n")]
        self._told.put(None)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """What it tells next, None at its end. Raises TimeoutError when it tells nothing for ``seconds``.

        The end is that of the process: workers that it has started may keep its standard output open after it.
        """
        until = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            try:
                return self._told.get(timeout=min(max(until - time.monotonic(), 0.01), 1.0))
            except queue.Empty:
                if ended:
                    return None
                if time.monotonic() >= until:
                    raise TimeoutError from None

    def kill(self) -> None:
        """Ends the process with all that it started (compilers, workers of Inductor)."""
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.process.pid)], capture_output=True, check=False)
                self.process.kill()
        self.process.wait()

    def ending(self) -> str:
        """How it ended, in words."""
        code = self.process.wait()
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        if code > 0x7FFFFFFF or code in _WINDOWS_CRASHES:
            return f"exit code 0x{code & 0xFFFFFFFF:08X}" + (f" ({w})" if (w := _WINDOWS_CRASHES.get(code & 0xFFFFFFFF)) else "")
        return f"exit code {code}"


def run_group(python: str, group: str, device: str | None, names: Sequence[str], timeout: float, facts: dict[str, Any]) -> Iterator[Row]:
    """A row for each of ``names``, tried in one process as long as it lives and in new ones after each that does not.

    ``timeout`` is in seconds and holds for each row. What the rows tell of the environment is put into ``facts`` under their name.
    """
    left = list(names)
    while left:
        try:
            probe = Probe(python, [group, device or "-", *left])
        except OSError as e:
            for name in left:
                yield Row(group, name, device, "failed", detail=f"{python} cannot be started: {e.strerror or e}")
            return
        try:
            yield from _rows_of(probe, group, device, left, timeout, facts)
        finally:
            if probe.process.poll() is None:
                probe.kill()
            for stream in (probe.process.stdin, probe.process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _rows_of(probe: Probe, group: str, device: str | None, left: list[str], timeout: float, facts: dict[str, Any]) -> Iterator[Row]:
    """The rows of one process; takes each that it reports from ``left``, and the one in which it died."""
    while left:
        name = left[0]
        begun = time.perf_counter()
        verdict: Verdict = "crashed"
        told: dict[str, Any] | None = None
        try:
            while (told := probe.next(begun + timeout - time.perf_counter())) is not None and "end" not in told:
                pass
        except TimeoutError:
            probe.kill()
            verdict, told = "timed_out", None
        if told is None:
            left.pop(0)
            end = f"no answer in {timeout:.0f} s" if verdict == "timed_out" else probe.ending()
            last = next((line for line in reversed(probe.lines) if line.strip() and not line.startswith(" ")), "")
            detail = end + (f": {last.strip()}" if last and verdict == "crashed" else "")
            yield Row(group, name, device, verdict, time.perf_counter() - begun, detail=detail, trace="\n".join(probe.lines[-20:]))
            return
        left.pop(0)
        if told.get("facts"):
            facts[name] = told["facts"]
        yield Row(
            group,
            name,
            device,
            told["verdict"],
            told["seconds"],
            told.get("run"),
            told.get("detail", ""),
            told.get("trace", ""),
        )
    with contextlib.suppress(subprocess.TimeoutExpired):
        probe.process.wait(30)  # a crash on the way out, after every row, is none of the rows; it may have Inductor's workers to end
