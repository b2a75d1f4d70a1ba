"""Compiling without Python's collector of cyclic garbage.

A compilation makes tens of thousands of objects, of which nothing is garbage before it ends: operations know their values, and values their
users.  Collections in its midst find nothing to free, but make all of it old; and from time to time one of them visits every object of the
process, which takes a tenth of a second where torch is imported.  Behind it the same objects are young garbage, which the next small
collection frees.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from ..process import WhileInside

__all__ = ["no_collections"]


def _stop() -> Callable[[], None]:
    was_on = gc.isenabled()
    gc.disable()
    return gc.enable if was_on else lambda: None


_still = WhileInside(_stop)


def no_collections() -> WhileInside:
    """Nothing is collected in the ``with``, in any thread; who leaves last sets the collector as the first one found it."""
    return _still
