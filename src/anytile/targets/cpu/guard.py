"""Rows that are read where they are, although something is stored before they are read for the last time.

A norm stores a row's mean or variance before it normalises the row.  Nothing in the program says that the two do not
meet in memory, so the row would have to be copied before the store, each weight and bias too: at 4096 columns that
was half of a layer norm's traffic with the caches.  Two comparisons per row and store decide it when it runs: only
a row that a store goes into is copied, and the loads read through a pointer to whichever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory import Buffer
from .nest import Nest
from .roots import WriteRoot

if TYPE_CHECKING:
    from .plan import Guard
    from .program import Program

__all__ = ["emit_guard"]


def emit_guard(p: Program, guard: Guard) -> None:
    """Compares the addresses of ``guard``'s stores with the row, copies the row where one lies in it, and notes where loads find it."""
    v, w = guard.value, p.w
    assert v.op is not None
    row = Nest(p, v.type.shape, 0, 1, 1).element(v.op.operands[0], 0).val
    start = w.ins(f"ptrtoint ptr {row} to i64")
    hit = "false"
    for store in guard.stores:
        to = p.scalar(store.operands[0])
        size = max(1, to.elem.pointee.bytes)  # type: ignore[attr-defined]
        # The store begins at most size - 1 bytes before the row, and before its end.
        distance = w.ins(f"sub i64 {w.ins(f'ptrtoint ptr {to.val} to i64')}, {start}")
        inside = w.ins(f"icmp ult i64 {w.ins(f'add i64 {distance}, {size - 1}')}, {v.type.numel * v.type.elem.bytes + size - 1}")
        hit = w.ins(f"or i1 {hit}, {inside}")
    before, copy, after = w.label, w.new_label("meets"), w.new_label("row")
    w.cond_br(hit, copy, after)
    w.open_block(copy)
    copied = p.allocate(v.type)
    Nest(p, v.type.shape, 0, min(p.machine.lanes, v.type.numel), 1).run([WriteRoot(v, copied)])  # seldom runs: no code for speed
    p.memory.width = 1
    end = w.label
    w.br(after)
    w.open_block(after)
    where = w.ins(f"phi ptr [ {row}, %{before} ], [ {copied.ptr}, %{end} ]")
    p.moved[v] = Buffer(where, v.type.elem, v.type.shape, (1,), align=v.type.elem.bytes)
