"""Operands that no loop loads, copied to shared memory where they are loaded.

    a = tl.load(…); b = tl.load(…)                 cp.async, a group each; no registers
    x = tl.dot(a, b)                               waits for both groups, and for all threads' parts

A kernel for one chunk of a sequence loads half a dozen tiles and multiplies them with each other, once.  In registers, from where they are
loaded to where a dot is, they would be most of what a thread can hold.  So they go where `pipeline` has the loads of a loop go.  mma.sync
reads them there step by step in loops, too, where a thread has much of each tile: the loop's own numbers need the registers.  The
operands of a lone dot, or of two in a row, are no crowd, and are loaded as everything else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ...ir import Effect, Func, Op, Value
from .dot import behind_loops, dots_fed
from .loop_reads import base
from .matrices import ring_form
from .memory import vector_width
from .own_copies import async_copy, shared_pieces, zero
from .slots import Slot
from .values import Generator
from .wgmma import Panels, free_unread, inner_dimension, whole

__all__ = ["plan"]

_PIECES = (8, 16)
"""Bytes of a copy that is worth it."""
_MUCH = 64
"""32-bit registers."""
_CROWD = 4
"""Tiles."""


@dataclass(frozen=True)
class _Copy:
    """A ``load`` into ``forms``: operand of a dot → how it lies for it; all are the same bytes."""

    load: Op
    forms: dict[Value, Panels]
    into_loop: bool
    """Whether a dot that reads it stands in a loop, which it does not."""


def plan(g: Generator, func: Func) -> None:
    """Has the loads of ``func`` that only dots of its own block read copied where they stand."""
    if g.sm < 80 or not g.means.straight_copies:
        return
    copies = [copy for op in func.body.ops if op.name == "load" and (copy := _copy(g, op)) is not None]
    for copy in copies:
        if len(copies) >= _CROWD or copy.into_loop:
            g.own_copies[copy.load] = partial(_start, g, copy)
            g.copied.update(copy.forms)


def _copy(g: Generator, load: Op) -> _Copy | None:
    """``load`` as a copy; None where it cannot be one."""
    pointer, mask, other = (load.operand(n) for n in ("ptr", "mask", "other"))
    assert pointer is not None and load.block is not None
    if load.result.type.is_scalar or g.is_lazy(load.result) or load.attrs["volatile"] or not zero(other):
        return None
    forms: dict[Value, Panels] = {}
    fed = dots_fed(load, load.block, in_loops=True)
    if not all(dot.block is load.block or _crowded(g, dot) for _, dot, _ in fed):
        return None
    for v, dot, i in fed:
        form = ring_form(g, dot, i)
        if not isinstance(form, Panels) or forms.setdefault(v, form) != form or form.inner != inner_dimension(g, v):
            return None
        if i == 0 and dot in g.assignment.made_here:
            return None
    size = vector_width(g, pointer, g.homes[load.result], mask) * load.result.type.elem.bytes
    if not fed or size not in _PIECES or _written(load, [dot for _, dot, _ in fed]):
        return None
    return _Copy(load, forms, any(dot.block is not load.block for _, dot, _ in fed))


def _crowded(g: Generator, dot: Op) -> bool:
    """Whether a loop with ``dot`` has no registers for what stays the same: a thread has much of each of its tiles."""
    return dot not in g.assignment.by_warpgroup and g.homes[dot.result].registers >= _MUCH


def _written(load: Op, dots: list[Op]) -> bool:
    """Whether something between ``load`` and the last of ``dots`` may write what is loaded.  A barrier waits for the copies itself."""
    assert load.block is not None
    ops = load.block.ops
    last = max(ops.index(around) for dot in dots if (around := behind_loops(dot, load.block)) is not None)
    between = ops[ops.index(load) : last]
    writes = [op for outer in between for op in outer.walk() if op.defn.effects & (Effect.WRITE | Effect.SYNC) and op.name != "barrier"]
    known = base(load.operand("ptr"))
    return any(op.name != "store" or known is None or base(op.operands[0]) in (None, known) for op in writes)


def _start(g: Generator, copy: _Copy) -> None:
    """Asks for the copies of all threads; tells whoever asks where the operands will lie."""
    load, v = copy.load, next(iter(copy.forms))
    form, used = copy.forms[v], g.shared_bytes
    free_unread(g)
    begin = g.buffer(whole(v, form), form.bytes)
    if begin < used:
        g.reclaim()
    for piece in shared_pieces(g, load, v, form, Slot(begin)):
        async_copy(g, *piece)
    g.assembly("cp.async.commit_group;", "", "void", [])
    tile, how = whole(v, form)
    g.define(tile, [str(begin)], how)
    g.under_way.append(frozenset(copy.forms))
