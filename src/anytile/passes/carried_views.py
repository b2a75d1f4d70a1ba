"""Tiles that a loop carries one way round and works on the other way round are carried as they are worked on.

A product whose operands are swapped, xᵀ·wᵀ for w·x, is often written around an accumulator that stays as it is::

    acc = tl.zeros((M, N))                   %a = for … ^(%k: i32, %c: tile<MxNxf32>) {
    for k in range(…):                           %t = permute %c
        acc = tl.dot(w, x, acc.T).T              %d = dot %w, %x, %t
                                                 %n = permute %d
                                                 yield %n }

The loop then carries ``%t``, and the tile is turned once in front of it and once behind.  What adds to the accumulator is then the
accumulator itself, which is what targets look for: it stays in place, in registers or in its buffer.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.core import Module, Op
from .carried import position_after

__all__ = ["carried_views"]


def carried_views(m: Module) -> bool:
    changed = False
    for op in list(m.walk()):
        if op.defn.name == "for":
            for i in range(len(op.results)):
                changed |= _turned(op, i)
    return changed


def _turned(loop: Op, i: int) -> bool:
    """Carries value ``i`` permuted where every use of it in the loop is that permutation, and its next value is one turned back."""
    body, result = loop.blocks[0], loop.results[i]
    arg, end = body.args[1 + i], body.terminator
    following = end.operands[i]
    users = arg.users()
    if not users or any(user.name != "permute" for user in users) or following is None or not following.is_op("permute"):
        return False
    orders = {tuple(user.attrs["order"]) for user in users}
    order, back = next(iter(orders)), tuple(following.op.attrs["order"])  # type: ignore[union-attr]
    if len(orders) > 1 or tuple(order[d] for d in back) != tuple(range(len(order))) or following.op in users:  # turned each time
        return False
    init = loop.operands[3 + i]
    assert init is not None and loop.block is not None
    inner = following.op.operands[0]  # type: ignore[union-attr]
    assert inner is not None
    loop.set_operand(3 + i, Builder(loop.block, loop, loop.loc).permute(init, order=order))
    for user in users:
        user.results[0].replace_with(arg)
        user.erase()
    end.set_operand(i, inner)
    uses = list(result.uses)
    arg.type = result.type = inner.type
    if uses:
        turned = position_after(loop).permute(result, order=back)
        turned.name = result.name
        for user, k in uses:
            user.set_operand(k, turned)
    return True
