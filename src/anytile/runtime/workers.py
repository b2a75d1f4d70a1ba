"""`WorkerPool`: an executor of plain child processes, for compilations (`elsewhere`).

The children read jobs from their standard input.  Unlike `ProcessPoolExecutor` this neither forks a process that has
threads nor imports the user's ``__main__`` again.
"""

from __future__ import annotations

import io
import os
import pickle
import queue
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .elsewhere import WorkerError

__all__ = ["WorkerPool", "serve"]

# --- child processes --------------------------------------------------------------------------------------------

_LENGTH = struct.Struct("<Q")


def _send(stream: Any, value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    """The next message.  EOFError where the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError("the other process ended")
    (size,) = _LENGTH.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other process ended in the middle of a message")
    return pickle.loads(data)


def serve() -> None:
    """The loop of a child: job in, ``(True, result)`` or ``(False, error)`` out, until the parent closes the pipe."""
    answers = io.FileIO(os.dup(1), "w")
    os.dup2(2, 1)  # what the compiler prints must not mix with the answers
    jobs = io.BufferedReader(io.FileIO(os.dup(0), "r"))
    with io.BufferedWriter(answers) as out:
        while True:
            try:
                function, arguments = _receive(jobs)
            except EOFError:
                return
            try:
                result: tuple[bool, Any] = (True, function(*arguments))
            except Exception as e:
                result = (False, e)
            try:
                _send(out, result)
            except (pickle.PicklingError, TypeError, AttributeError):  # the result, or the error, has no pickle
                _send(out, (False, WorkerError(f"the worker's answer cannot be sent: {result[1]!r}")))


class _Child:
    def __init__(self) -> None:
        import subprocess

        root = str(Path(__file__).parent.parent.parent)
        code = f"import sys; sys.path.insert(0, {root!r}); from anytile.runtime.workers import serve; serve()"
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        _send(self.process.stdin, (function, arguments))
        done, value = _receive(self.process.stdout)
        if done:
            return value
        raise value

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()  # the child ends when it finds its input closed
            except OSError:
                continue
        self.process.wait()


class WorkerPool(Executor):
    """``n`` child processes, each started when first needed.  ``shutdown`` ends them; so does the end of this process."""

    def __init__(self, n: int):
        self._threads = ThreadPoolExecutor(n, thread_name_prefix="anytile-worker")
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._children: list[_Child] = []
        for _ in range(n):
            self._idle.put(None)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if kwargs:
            raise TypeError("WorkerPool.submit takes positional arguments only")
        return self._threads.submit(self._run, fn, args)

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        child = self._idle.get()
        try:
            if child is None:
                child = _Child()
                with self._lock:
                    self._children.append(child)
            return child.run(fn, args)
        except (OSError, EOFError) as e:
            if child is not None:
                with self._lock:
                    self._children.remove(child)
                child.close()
            child = None  # the next job starts another
            raise WorkerError(f"a compile worker ended unexpectedly: {e}") from None
        finally:
            self._idle.put(child)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        with self._lock:
            children, self._children = self._children, []
        for child in children:
            child.close()
