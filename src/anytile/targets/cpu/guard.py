"""Rows that are read where they are, although something is stored before they are read for the last time.

A norm stores a row's mean or variance before it normalises the row.  Nothing in the program says that the two do not
meet in memory, so the row would have to be copied before the store, each weight and bias too: at 4096 columns that
was half of a layer norm's traffic with the caches.  Two comparisons per row and store decide it when it runs: only
a row that a store goes into is copied, and the loads read through a pointer to whichever it is.

The backward of a norm reads the weights' row in a loop that stores the rows of the gradient.  Where the addresses of such stores are
regular (`reach`), what all iterations touch is compared with the row once, before the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...ir import Block, Builder, Effect, Op
from ...ir.types import I64
from .memory import Buffer
from .nest import Nest
from .reach import Evaluation, Loop, reach
from .roots import WriteRoot

if TYPE_CHECKING:
    from .forward import Guard
    from .program import Program

__all__ = ["comparable_stores", "emit_guard"]

_MOST_STORES = 4  # in a loop: each takes some fifty scalar instructions


def comparable_stores(op: Op) -> list[Op] | None:
    """The stores by which ``op`` writes to memory, if it can be computed where they go before they do: a store itself, or a loop's."""
    if op.name == "store":
        return [op]
    writes = [o for o in op.walk() if o.defn.effects & (Effect.WRITE | Effect.SYNC | Effect.IO) and not o.blocks]
    if op.name != "for" or len(writes) > _MOST_STORES or any(o.name != "store" for o in writes):
        return None
    loop = Loop.of(op)
    return writes if loop is not None and all(loop.form(o.operands[0]) is not None for o in writes) else None


def emit_guard(p: Program, guard: Guard) -> None:
    """Compares the addresses of ``guard``'s stores with the row, copies the row where one lies in it, and notes where loads find it."""
    v, w = guard.value, p.w
    assert v.op is not None
    row = Nest(p, v.type.shape, 0, 1, 1).element(v.op.operands[0], 0).val
    start = w.ins(f"ptrtoint ptr {row} to i64")
    hit = "false"
    for store in guard.stores:
        for test in _tests(p, store, start, v.type.numel * v.type.elem.bytes, v.op.block):
            hit = w.ins(f"or i1 {hit}, {test}")
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


def _tests(p: Program, store: Op, start: str, size: int, block: Block | None) -> Iterator[str]:
    """Conditions (i1), one of which holds if ``store`` writes into the row of ``size`` bytes from ``start`` (an i64) on."""
    w = p.w
    if store.block is block:
        to = p.scalar(store.operands[0])
        own = max(1, to.elem.pointee.bytes)  # type: ignore[attr-defined]
        # The store begins at most own - 1 bytes before the row, and before its end.
        distance = w.ins(f"sub i64 {w.ins(f'ptrtoint ptr {to.val} to i64')}, {start}")
        yield w.ins(f"icmp ult i64 {w.ins(f'add i64 {distance}, {own - 1}')}, {size + own - 1}")
        return
    low, high, steady = _range(p, store, block)
    ends_after = w.ins(f"icmp sgt i64 {high}, {start}")
    begins_before = w.ins(f"icmp slt i64 {low}, {w.ins(f'add i64 {start}, {size}')}")
    yield w.ins(f"and i1 {ends_after}, {begins_before}")
    yield w.ins(f"xor i1 {steady}, true")


def _range(p: Program, store: Op, block: Block | None) -> tuple[str, str, str]:
    """(first byte, end of the last byte, whether they can be relied on) of what a loop of ``block`` writes by ``store``."""
    op = store.parent_op()
    while op is not None and op.block is not block:
        op = op.parent_op()
    assert op is not None
    loop = Loop.of(op)
    assert loop is not None
    scratch = Block(())
    b = Builder(scratch)
    ahead = b.smax(b.sub(loop.iterations(b, lambda v: v), b.const(1, I64)), b.const(0, I64))
    first, second, last = (Evaluation(b, loop, lambda v: v, k) for k in (b.const(0, I64), b.const(1, I64), ahead))
    found = reach(store, first, second, last, ahead)
    b.make("yield", [found.low, found.high, found.steady])
    low, high, steady = (lane.val for lane in p.memory.run_block(scratch, [], p.scalar))
    for made in reversed(list(scratch.ops)):
        made.erase()
    return low, high, steady
