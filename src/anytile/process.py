"""Settings of the whole process that hold while any of its threads is at something.

Python's limit of recursion and its collector of garbage are the process's, and several threads may compile at once: the first changes the
setting, and the last one sets it back.  The child of a fork has one thread only, and none of those that compiled; what they changed is set
back there, and a lock that one of them held is nobody's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["WhileInside"]


class WhileInside:
    """A context manager: ``change()`` is called by the first thread that enters, and what it returns by the last that leaves."""

    def __init__(self, change: Callable[[], Callable[[], object]]):
        self._change = change
        self._set_back: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._inside = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._set_back = self._change()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._inside == 0:
                return  # entered before a fork, by which it is over
            self._inside -= 1
            if self._inside == 0:
                self._set_back()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._set_back()
