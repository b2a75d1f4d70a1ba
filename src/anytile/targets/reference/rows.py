"""The dispatch table: row name → its meaning as a Python function.

An implementation is ``fn(run, op, *arrays)`` and returns one array, a tuple of arrays (several results) or None:

- ``run`` is the program being executed (`executor.Program`): its indices, its grid, and how to run a block.
- ``op`` gives attributes and *elements* (``op.operands[i].type.elem``).  Implementations of elementwise rows
  take their shape from the arrays and never from ``op``: blocks of reduce, scan and map, which are written over
  scalars, run on whole arrays at once.
- ``arrays`` are the operands as `formats.storage` lays them out, None where an optional one is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Op
from .. import formats

__all__ = ["IMPLEMENTATIONS", "STRUCTURAL", "implements", "elem_of", "result_elem"]

IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}

STRUCTURAL = frozenset({"yield", "condition", "return"})
"""Terminators: `executor.Program.run_block` reads their operands, nothing is computed."""


def implements(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as the meaning of the rows ``names``."""

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            if name in IMPLEMENTATIONS:
                raise ValueError(f"the row {name} has two implementations")
            IMPLEMENTATIONS[name] = fn
        return fn

    return register


def elem_of(op: Op, i: int = 0) -> Any:
    """Element of operand ``i``."""
    return op.operands[i].type.elem  # type: ignore[union-attr]


def result_elem(op: Op, i: int = 0) -> Any:
    return op.results[i].type.elem


def stored(x: Any, elem: Any) -> np.ndarray:
    """``x`` as an array of ``elem``'s storage dtype (no rounding: integers wrap, the rest must fit)."""
    return np.asarray(x).astype(formats.storage(elem), copy=False)
