"""Scalars that begin equal and move equally are carried once.

Pointers that a loop advances together (``p_x += D; p_g += D; p_o += D``) become, by `carried`, as many scalars that all begin with zero and
grow by the same step::

    %a, %b = for … %zero, %zero ^(%i: i32, %s: i64, %t: i64) {      %a = for … %zero ^(%i: i32, %s: i64) {
        … %s … %t …                                                     … %s … %s …
        yield %s + %d, %t + %d }                                        yield %s + %d }

Each of them would be a register, or two, and an addition in each iteration.
"""

from __future__ import annotations

from typing import Any

from ..ir.core import Module, Op

__all__ = ["carried_equal"]

_STEPS = frozenset(("add", "sub", "mul"))


def carried_equal(m: Module) -> bool:
    changed = False
    for op in list(m.walk()):
        if op.defn.name == "for":
            changed |= _merged(op)
    return changed


def _merged(loop: Op) -> bool:
    """Has the first of equal scalars stand for the others; these then feed themselves alone, and `dce` drops them."""
    body, changed = loop.blocks[0], False
    known: dict[Any, int] = {}
    for i, (first, following) in enumerate(zip(loop.rest(), body.terminator.operands, strict=True)):
        arg = body.args[1 + i]
        step = following.op if following is not None else None
        if arg.type.shape or step is None or step.name not in _STEPS or step.block is not body or arg not in step.operands:
            continue
        operands = tuple(None if x is arg else x for x in step.operands)
        key = (first, arg.type, step.name, operands, tuple(sorted(step.attrs.items())))
        same = known.setdefault(key, i)
        if same != i and (arg.uses and arg.users() != [step] or loop.results[i].uses):
            arg.replace_with(body.args[1 + same])
            loop.results[i].replace_with(loop.results[same])
            changed = True
    return changed
