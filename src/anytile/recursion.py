"""Python's limit of recursion while kernels are compiled.

Inlined calls and long expressions nest Python's, and both code generators evaluate values along their definitions.  The limit is the whole
process's, and several threads may compile at once: the usual one comes back with the last of them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["deep_recursion"]

_LIMIT = 20_000
_lock = threading.Lock()
_inside = 0
_usual = 0


@contextmanager
def deep_recursion() -> Iterator[None]:
    """While any thread is inside, calls may nest `_LIMIT` deep."""
    global _inside, _usual
    with _lock:
        if _inside == 0:
            _usual = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_usual, _LIMIT))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sys.setrecursionlimit(_usual)
