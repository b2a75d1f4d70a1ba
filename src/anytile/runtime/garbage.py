"""Compiling without Python's collector of cyclic garbage.

A compilation makes tens of thousands of objects, of which nothing is garbage before it ends: operations know their values, and values their
users.  Collections in its midst find nothing to free, but make all of it old; and from time to time one of them visits every object of the
process, which takes a tenth of a second where torch is imported.  Behind it the same objects are young garbage, which the next small
collection frees.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_collections"]

_lock = threading.Lock()
_inside = 0
_was_on = False


@contextmanager
def no_collections() -> Iterator[None]:
    """Nothing is collected in the ``with``, in any thread; who leaves last sets the collector as the first one found it."""
    global _inside, _was_on
    with _lock:
        if _inside == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_on:
                gc.enable()


def _forget_after_fork() -> None:
    """The child of a fork has none of the threads that compile here."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside and _was_on:
        gc.enable()
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
