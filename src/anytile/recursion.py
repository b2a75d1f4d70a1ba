"""Python's limit of recursion while kernels are compiled.

Inlined calls and long expressions nest Python's, and both code generators evaluate values along their definitions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from .process import WhileInside

__all__ = ["deep_recursion"]

_LIMIT = 20_000


def _raise_the_limit() -> Callable[[], None]:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _LIMIT))
    return lambda: sys.setrecursionlimit(usual)


_deep = WhileInside(_raise_the_limit)


def deep_recursion() -> WhileInside:
    """While any thread is inside, calls may nest `_LIMIT` deep."""
    return _deep
