"""Branches that change few numbers of a tile: computed always, and chosen.

    if has_label:                                          exp_logits = tl.where(has_label & (columns == label), 0, exp_logits)
        exp_logits = tl.where(columns == label, 0, exp_logits)

A tile that a branch gives back has to lie in registers whole where the branch ends, be it summed right behind: 64 registers of each of
1024 threads, which have no more.  Without the branch each number is gone as soon as it is computed.
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.rewrite import apply, inline_block, rule, rules_of

__all__ = ["small_branches"]

_MOST = 8
"""Operations in both branches together."""
_LIGHT = frozenset({"constant", "splat", "broadcast", "expand_dims", "icmp", "fcmp", "select", "and", "or", "xor", "fadd", "fsub", "fmul"})


@rule("if")
def computed_always(op: Op, b: Builder) -> tuple[Value, ...] | None:
    inside = [o for block in op.blocks for o in block.ops if o is not block.terminator]
    if len(inside) > _MOST or any(o.name not in _LIGHT for o in inside) or all(r.type.is_scalar for r in op.results):
        return None
    yes, no = (inline_block(block, (), b) for block in op.blocks)
    return tuple(_chosen(b, op.operands[0], x, y) for x, y in zip(yes, no, strict=True))


def _chosen(b: Builder, condition: Value, x: Value, y: Value) -> Value:
    """``x`` where ``condition``, else ``y``, in one choice where ``x`` is one between something and ``y``."""
    c = b.splat(condition, shape=x.type.shape) if x.type.shape else condition
    if x.op is not None and x.op.name == "select" and x.op.operands[2] is y:
        among, x, _ = x.op.operands
        c = b.make("and", [among, c], {}).result
    return b.select(c, x, y)


RULES = rules_of(globals())


def small_branches(m: Module) -> bool:
    return apply(m, RULES)
