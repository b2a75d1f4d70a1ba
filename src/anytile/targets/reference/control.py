"""Control flow, hints and debugging rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ...errors import AnytileError, DeviceAssertError, UnsupportedError
from .. import formats
from ..reports import assert_message, print_lines
from .rows import elem_of, implements

# --- control flow ---------------------------------------------------------------------------------------


@implements("for")
def _for(run: Any, op: Any, lb: np.ndarray, ub: np.ndarray, step: np.ndarray, *carried: np.ndarray) -> tuple[np.ndarray, ...]:
    elem, block = elem_of(op), op.blocks[0]
    dtype = formats.storage(elem)
    i, end, by = (int(x) for x in (lb, ub, step))
    if op.attrs["unsigned"]:
        i, end, by = (x & ((1 << elem.bits) - 1) for x in (i, end, by))
    if by == 0:
        raise AnytileError(f"the loop at {op.loc} has step 0; give range() a step that is not zero")
    values: tuple[np.ndarray, ...] = carried
    for k in range(i, end, by):
        index = np.asarray(k, formats.unsigned(elem.bits)).view(dtype) if op.attrs["unsigned"] else np.asarray(k, dtype)
        values = run.run_block(block, (index, *values))
    return values


@implements("while")
def _while(run: Any, op: Any, *carried: np.ndarray) -> tuple[np.ndarray, ...]:
    before, body = op.blocks
    while True:
        cond, *values = run.run_block(before, carried)
        if not cond:
            return tuple(values)
        carried = run.run_block(body, tuple(values))


@implements("if")
def _if(run: Any, op: Any, cond: np.ndarray) -> tuple[np.ndarray, ...]:
    return run.run_block(op.blocks[0] if cond else op.blocks[1], ())


# --- hints and debugging --------------------------------------------------------------------------------


@implements("hint")
def _hint(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return x


@implements("window")
def _window(run: Any, op: Any, ptrs: np.ndarray, base: np.ndarray, *parts: np.ndarray) -> np.ndarray:
    return ptrs


@implements("assume")
def _assume(run: Any, op: Any, cond: np.ndarray) -> None:
    """A promise for optimisers; the oracle uses none and checks none."""


@implements("print")
def _print(run: Any, op: Any, *args: np.ndarray) -> None:
    a = op.attrs
    for line in print_lines(run.pid, a["prefix"], a["hex"], a["signed"], [elem_of(op, n) for n in range(len(args))], args):
        print(line)


@implements("assert")
def _assert(run: Any, op: Any, cond: np.ndarray, mask: np.ndarray | None) -> None:
    failed = ~cond if mask is None else ~cond & mask
    if failed.any():
        raise DeviceAssertError(assert_message(op.attrs, op.loc, run.pid, failed))


@implements("inline_asm")
def _inline_asm(run: Any, op: Any, *args: np.ndarray) -> None:
    raise UnsupportedError(
        f"inline assembly ({op.attrs['asm']!r}, at {op.loc})",
        "the reference target",
        "write the operation with tl functions, or run it on the target whose assembly it is",
    )


@implements("clock")
def _clock(run: Any, op: Any) -> np.ndarray:
    return np.asarray(time.perf_counter_ns(), np.int64)
