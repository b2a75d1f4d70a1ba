"""Control flow, hints and debugging rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ...errors import AnytileError, UnsupportedError
from .. import formats
from .rows import elem_of, implements

__all__ = ["DeviceAssertError", "format_lane"]


class DeviceAssertError(AnytileError, RuntimeError):
    """A ``tl.device_assert`` failed while the kernel ran."""


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


@implements("assume")
def _assume(run: Any, op: Any, cond: np.ndarray) -> None:
    """A promise for optimisers; the oracle uses none and checks none."""


def format_lane(x: np.ndarray, elem: Any, is_signed: bool, is_hex: bool) -> str:
    """One lane (a rank-0 array) as `print` shows it: ``%d``, ``%f``, pointers and hex zero-padded to their width."""
    if elem.is_ptr:
        return f"0x{int(x):016x}"
    if is_hex:
        bits = elem.bits
        return f"0x{int(x.view(np.uint8) if bits == 1 else x.view(formats.unsigned(bits))):0{max(1, bits // 4)}x}"
    if elem.is_float:
        return f"{float(formats.decode(x, elem)):f}"
    value = int(x)
    return str(value if is_signed or value >= 0 else value + (1 << elem.bits))


@implements("print")
def _print(run: Any, op: Any, *args: np.ndarray) -> None:
    x, y, z = run.pid
    head = f"pid ({x}, {y}, {z})"
    label = op.attrs["prefix"].strip().rstrip(":").rstrip()
    if not args:
        print(f"{head} {label}")
        return
    prefix = f" {label}: " if label else ": "
    signs = tuple(op.attrs["signed"])
    for n, array in enumerate(args):
        elem = elem_of(op, n)
        is_signed = bool(signs[n]) if n < len(signs) else True
        operand = f"(operand {n}) " if len(args) > 1 else ""
        widths = [len(str(d - 1)) for d in array.shape]
        for index in np.ndindex(array.shape):
            where = ", ".join(f"{i:{w}}" for i, w in zip(index, widths))
            lane = format_lane(np.asarray(array[index]), elem, is_signed, op.attrs["hex"])
            print(f"{head} idx ({where}){prefix}{operand}{lane}")


@implements("assert")
def _assert(run: Any, op: Any, cond: np.ndarray, mask: np.ndarray | None) -> None:
    failed = ~cond if mask is None else ~cond & mask
    if failed.any():
        lane = tuple(int(i) for i in np.unravel_index(int(np.argmax(failed)), failed.shape))
        a = op.attrs
        place = f"{a['file']}:{a['line']}" + (f" in {a['function']}" if a["function"] else "") if a["file"] else str(op.loc)
        raise DeviceAssertError(f"{place}: device-side assert {a['message']!r} failed in program {run.pid}, lane {lane}")


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
