"""Addresses and masks that hold numbers from memory, of loads that feed a loop's dots.

    token = tl.load(ids + rows)                                   outside of the loop: a mixture of experts, an embedding
    for k in …:
        a = tl.load(x + token[:, None] * K + k * BK + columns, mask=valid[:, None] & (columns < K - k * BK))

What is computed from indices and scalars alone has no home: it is computed where it is needed, also some iterations ahead (`pipeline`).
Here the addresses hold the loaded ``token``, so each of them would get a home, which is the loop's own iteration's, and nothing could be
copied ahead.  They are sums and comparisons of few instructions: so they have no home either, and what they hold from outside the
loop is put in the load's placement once, in front of it.  Numbers that are loaded in the loop itself (`tables`) have no home, too: they are
read where an address asks for them.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Block, Func, Op, Value
from .dot import dots_fed
from .tables import SPARSE, is_table

__all__ = ["computed_ahead"]

_LIGHT = frozenset({"addptr", "add", "sub", "mul", "and", "or", "xor", "icmp", "sext", "zext", "trunci", "hint"})
"""Operations that cost a thread no more than what it would take to keep their results."""
_VIEWS = frozenset({"splat", "broadcast", "expand_dims", "reshape", "permute"})
"""They cost nothing."""


def computed_ahead(func: Func, cheap: Callable[[Value], bool]) -> set[Value]:
    """Tiles to compute where a load needs them.  ``cheap``: whether a value is computed from scalars and indices alone."""
    out: set[Value] = set()
    for loop in func.body.walk():
        if loop.name == "for":
            body = loop.blocks[0]
            for load in body.ops:
                if load.name == "load" and dots_fed(load, body):
                    out |= _computed(load, body, cheap)
    return out


def _computed(load: Op, body: Block, cheap: Callable[[Value], bool]) -> set[Value]:
    """What the address and the mask of ``load`` are computed from, down to what is cheap or outside of the loop, tables of the loop included.

    Nothing where something of the loop remains that cannot be computed ahead.
    """
    out: set[Value] = set()
    pending = [x for x in (load.operand("ptr"), load.operand("mask")) if x is not None]
    while pending:
        x = pending.pop()
        if x in out or x.type.is_scalar or cheap(x):
            continue
        op = x.op
        inside = (x.owner if op is None else op.block) is body
        light = op is not None and (op.name in _LIGHT and (inside or len(x.uses) == 1) or op.name in _VIEWS and inside)
        if inside and op is not None and is_table(op, body) and x.type.numel * SPARSE <= load.result.type.numel:
            if not all(y is None or cheap(y) for y in op.operands):
                return set()
            out.add(x)
            continue
        if inside and not light:
            return set()
        if light:
            assert op is not None
            out.add(x)
            pending += [y for y in op.operands if y is not None]
    return out
