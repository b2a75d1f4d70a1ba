"""In which order a worker runs the programs of a grid: along x, or along y where that follows the rows that programs write.

A kernel over a matrix in tiles mostly has ``program_id(0)`` for its rows and ``program_id(1)`` for its columns.  Along x, each program then
writes a short piece of other rows than the one before, pages away, and the rest of those rows comes when the caches and the tables
of pages have forgotten them.  Along y, programs write side by side: hardware prefetchers that went on behind a piece have fetched the next
program's, and a worker comes to fewer pages.  A row of an embedding in pieces of 512 bytes (512 rows of 4 KiB, two Cascade Lake cores, in C):
0.40 ms along x with the workers taking turns, 0.31 along y, 0.29 row by row.

Triton promises no order, but programs that wait for each other count on the usual one; so do people who read what programs print.  Kernels
in which a program can learn of others, or print, keep it (`along_y`), and so do those with dots, whose operands come again in an order that
their authors have chosen.
"""

from __future__ import annotations

from ...ir import Effect, Func, Op, Value
from ...ir.rewrite import const_value
from .prefetch import STREAM_AHEAD
from .shape import steps

__all__ = ["along_y", "tells_order"]


def along_y(kernel: Func) -> bool:
    """Whether the kernel's programs are to run along y: each store's programs lie side by side there in short rows, and along x do not."""
    stores = []
    for op in kernel.walk():
        if op.name in ("store", "atomic_rmw") and op.operands[0].type.rank:
            stores.append(op.operands[0])
        if _tells_order(op) or op.name.startswith("dot"):
            return False
    return bool(stores) and all(map(_side_by_side, stores))


def tells_order(kernel: Func) -> bool:
    """Whether somebody may learn in which order programs begin, or count on it: they wait for each other, or print."""
    return any(map(_tells_order, kernel.walk()))


def _tells_order(op: Op) -> bool:
    """Whether ``op`` shows somebody in which order programs run."""
    if op.name == "atomic_rmw":
        return bool(op.result.uses)
    if op.name.startswith("atomic") or op.attrs.get("volatile"):
        return True
    return bool(op.defn.effects & (Effect.SYNC | Effect.IO)) and op.name != "assume"


def _side_by_side(pointer: Value) -> bool:
    shape, last = pointer.type.shape, pointer.type.shape[-1]
    if len(shape) < 2 or last * pointer.type.elem.pointee.bytes > STREAM_AHEAD:  # type: ignore[attr-defined]
        return False
    if all(n == 1 for n in shape[:-1]) or steps(pointer, {})[-1] != 1 or _growth(pointer, 1) != last:
        return False
    along_x = _growth(pointer, 0)
    return along_x is None or abs(along_x) > last


def _growth(v: Value, axis: int, depth: int = 0) -> int | None:
    """By how much ``v`` grows where ``program_id(axis)`` is one larger; None where that is not known to be one number."""
    op = v.op
    if op is None:
        return None if isinstance(v.owner, Op) or isinstance(v.owner.parent, Op) else 0  # an argument of the kernel
    if depth > 40:
        return None
    if op.name == "program_id":
        return int(op.attrs["axis"] == axis)
    if op.name in ("constant", "arange", "num_programs"):
        return 0
    if op.blocks or not (op.defn.elementwise or op.name in ("splat", "broadcast", "expand_dims", "hint", "load", "permute", "reshape")):
        return None
    inner = [None if x is None else _growth(x, axis, depth + 1) for x in op.operands]
    if op.name in ("splat", "broadcast", "expand_dims", "hint", "sext", "zext", "trunci", "permute", "reshape"):
        return inner[0]
    if op.name in ("add", "addptr", "sub"):
        a, b = inner
        return None if a is None or b is None else a - b if op.name == "sub" else a + b
    if op.name in ("mul", "shl"):
        a, b = inner
        if a == 0 and b == 0:
            return 0
        for grows, other, factor in ((a, b, op.operands[1]), (b, a, op.operands[0]))[: 1 if op.name == "shl" else 2]:
            n = const_value(factor)
            if grows is not None and other == 0 and isinstance(n, int):
                return grows << n if op.name == "shl" else grows * n
        return None
    return 0 if all(x == 0 or y is None for x, y in zip(inner, op.operands)) else None
