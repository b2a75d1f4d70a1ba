"""Addresses in loops: what a loop does not change is added first, in front of it.

    (p + rows·stride) + columns      rows change from iteration to iteration, columns do not
    (p + columns) + rows·stride      one addition a copy inside the loop instead of two

Additions to a pointer may change places, each wraps around at 64 bits.  What no longer depends on the loop leaves it when the generator
writes it (`values.Scope`).
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value

__all__ = ["fixed_first", "loop_around"]


def fixed_first(m: Module) -> bool:
    changed = False
    for op in [o for o in m.walk() if o.name == "addptr"]:
        loop = loop_around(op)
        if loop is not None:
            changed |= _swapped(op, loop)
    return changed


def loop_around(op: Op) -> Op | None:
    """The innermost loop around ``op``."""
    outer = op.parent_op()
    while outer is not None and outer.name not in ("for", "while"):
        outer = outer.parent_op()
    return outer


def _inside(v: Value, loop: Op) -> bool:
    return any(b.defines(v) for b in loop.blocks)


def _swapped(op: Op, loop: Op) -> bool:
    """Rewrites ``op``, the second of two additions, where it alone adds what the loop does not change."""
    first, fixed = op.operands
    assert first is not None and fixed is not None
    view = first.op if first.op is not None and first.op.name == "broadcast" else None
    behind = first if view is None else view.operands[0]
    assert behind is not None
    if behind.op is None or behind.op.name != "addptr" or _inside(fixed, loop):
        return False
    pointer, moving = behind.op.operands
    assert pointer is not None and moving is not None
    if _inside(pointer, loop) or not _inside(moving, loop):
        return False
    assert op.block is not None
    b = Builder(op.block, op, op.loc)
    if view is not None:
        pointer, moving = (b.make("broadcast", [v], view.attrs).result for v in (pointer, moving))
    op.result.replace_with(b.make("addptr", [b.make("addptr", [pointer, fixed], {}).result, moving], {}).result)
    op.erase()
    return True
