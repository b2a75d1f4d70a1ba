"""Rules of `canonicalize` for structured control flow.

if true {a} else {b}                   = a
if c {yield x} else {yield y}          = select(c, x, y)       blocks that only choose
for over no index                      = the initial values
for over one index                     = the body, once
a value carried around a loop unchanged = its initial value
"""

from __future__ import annotations

from ..ir.core import Op, Value
from ..ir.rewrite import CHANGED, const_value, drop_results, inline_block, rule, rules_of
from .fold import unsigned

__all__ = ["RULES", "trip_count"]


def trip_count(op: Op) -> int | None:
    """How often the body of a ``for`` runs, where its bounds are constants (or the same value)."""
    lb, ub, step = (const_value(v) for v in op.operands[:3])
    if op.operands[0] is op.operands[1]:
        return 0
    if lb is None or ub is None or not step:
        return None
    if op.attrs["unsigned"]:
        bits = op.operands[0].type.elem.bits  # type: ignore[union-attr]
        lb, ub = unsigned(int(lb), bits), unsigned(int(ub), bits)
        step = unsigned(int(step), bits)
    distance = ub - lb if step > 0 else lb - ub
    return int(max(0, -(-distance // abs(step))))


@rule("if")
def constant_condition(op, b):
    c = const_value(op.operands[0])
    if c is None:
        return None
    return tuple(inline_block(op.blocks[0 if c else 1], (), b))


@rule("if")
def same_in_both(op, b):
    # a result that both branches take from the same place outside
    pairs = list(zip(op.blocks[0].terminator.operands, op.blocks[1].terminator.operands))
    keep = [x is not y for x, y in pairs]
    if all(keep):
        return None
    for r, (x, y) in zip(op.results, pairs):
        if x is y:
            r.replace_with(x)
    drop_results(op, keep)
    return CHANGED


@rule("if")
def only_chooses(op, b):
    # both blocks compute nothing: if c {yield x} else {yield y} = select(c, x, y)
    if len(op.blocks[0].ops) > 1 or len(op.blocks[1].ops) > 1:
        return None
    cond = op.operands[0]
    out: list[Value] = []
    for x, y in zip(op.blocks[0].terminator.operands, op.blocks[1].terminator.operands):
        c = b.splat(cond, shape=x.type.shape) if x.type.shape else cond
        out.append(b.select(c, x, y))
    return tuple(out)


@rule("for")
def few_trips(op, b):
    trips = trip_count(op)
    if trips is None or trips > 1:
        return None
    inits = op.rest()
    if trips == 0:
        return tuple(inits)
    return tuple(inline_block(op.blocks[0], [op.operands[0], *inits], b))


@rule("for")
def carried_unchanged(op, b):
    # yield %a at the place of %a: every trip sees the initial value
    body = op.blocks[0]
    inits, args, yields = op.rest(), body.args[1:], body.terminator.operands
    keep = [y is not a and y is not x for x, a, y in zip(inits, args, yields)]
    if all(keep):
        return None
    for i, k in enumerate(keep):
        if not k:
            args[i].replace_with(inits[i])
            op.results[i].replace_with(inits[i])
    drop_results(op, keep)
    return CHANGED


@rule("while")
def carried_unchanged_by_while(op, b):
    before, after = op.blocks
    passed, yields = before.terminator.operands[1:], after.terminator.operands
    inits = op.operands
    keep = []
    for x, a, p, c, y in zip(inits, before.args, passed, after.args, yields):
        keep.append(not ((p is a or p is x) and (y is c or y is x)))
    if all(keep):
        return None
    for i, k in enumerate(keep):
        if not k:
            for v in (before.args[i], after.args[i], op.results[i]):
                v.replace_with(inits[i])
    drop_results(op, keep)
    return CHANGED


RULES = rules_of(globals())
