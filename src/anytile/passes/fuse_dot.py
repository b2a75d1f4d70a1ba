"""Accumulates in the dot itself: ``x + dot(a, b, 0) → dot(a, b, x)``.

``acc += tl.dot(a, b)`` is written everywhere; as one operation the accumulator stays where the dot adds into it.
The sum is formed in the accumulator's own format either way; only the order of additions changes, which the op
table leaves open.  Of two dots the later one takes the other for its accumulator.
A row or a column that is broadcast lies in no accumulator yet: where one is in registers, it is written out before the
dot can begin, and had better be added behind it.
"""

from __future__ import annotations

from ..ir import Builder, Module, Op, Value

__all__ = ["fuse_dot"]


def _zero(v: Value) -> bool:
    while v.op is not None and v.op.name in ("splat", "broadcast"):
        v = v.op.operands[0]
    return v.op is not None and v.op.name == "constant" and v.op.attrs["value"] == 0


def fuse_dot(m: Module, broadcast: bool = True) -> bool:
    """``broadcast``: also where ``x`` is broadcast from a smaller tile."""
    changed = False
    for op in [o for o in m.walk() if o.name in ("fadd", "add")]:
        for dot, other in _later_first(op):
            d = _fusable(dot, other, op)
            if d is not None and (broadcast or not other.is_op("broadcast")):
                assert op.block is not None
                new = Builder(op.block, op, op.loc).make("dot", [*d.operands[:2], other], d.attrs).result
                op.result.replace_with(new)
                op.erase()
                d.erase()
                changed = True
                break
    return changed


def _later_first(op: Op) -> list[list[Value]]:
    """The operands of an addition both ways, that first which stands later: of two dots it stays where it is, and nothing else moves."""
    x, y = op.operands
    one, two = x.op, y.op
    ops = op.block.ops if op.block is not None else []
    later = one is not None and two is not None and one.name == two.name == "dot" and one in ops and two in ops[ops.index(one) :]
    return [[y, x], [x, y]] if later else [[x, y], [y, x]]


def _fusable(dot: Value, other: Value, op: Op) -> Op | None:
    """The dot behind ``dot`` where it may take ``other``, the second operand of the addition ``op``, as its accumulator."""
    d = dot.op
    if d is None or d.name != "dot" or len(dot.uses) != 1 or d.block is not op.block or other is dot or not _zero(d.operands[2]):
        return None
    return d
