"""Loop-invariant code motion: pure operations whose operands come from outside a loop move in front of it.

Inner loops first: what leaves an inner loop lands in the outer loop's body and may leave that as well.  The
IR lets pure operations run where the loop would not have run at all (no pure operation traps), so a loop of
unknown trip count is no obstacle.  Loads stay: with zero trips their address may be invalid.  Operations with
blocks (a reduction) move when nothing inside refers to the loop.  A loop with ``disable_licm`` keeps its body.
"""

from __future__ import annotations

from ..ir.core import Block, Module, Op, Value
from ..ir.rewrite import is_pure

__all__ = ["licm"]


def licm(m: Module) -> bool:
    changed = False
    for f in m.funcs:
        changed |= _block(f.body)
    return changed


def _block(block: Block) -> bool:
    changed = False
    out: list[Op] = []
    for op in block.ops:
        for inner in op.blocks:
            changed |= _block(inner)
        name = op.defn.name
        if name == "while" or (name == "for" and not op.attrs["disable_licm"]):
            moved = _hoistable(op)
            for o in moved:
                o.block = block
            out += moved
            changed |= bool(moved)
        out.append(op)
    block.ops = out
    return changed


def _hoistable(loop: Op) -> list[Op]:
    """Takes the invariant operations out of the loop's blocks; returns them in an order that keeps definitions first."""
    variant: set[Value] = set()  # values defined in the loop that stay there
    for b in loop.blocks:
        variant.update(b.args)
    moved: list[Op] = []
    for b in loop.blocks:
        kept: list[Op] = []
        for op in b.ops:
            if not op.defn.terminator and is_pure(op) and not _refers(op, variant):
                moved.append(op)
                continue
            kept.append(op)
            variant.update(op.results)
        b.ops = kept
    return moved


def _refers(op: Op, values: set[Value]) -> bool:
    for v in op.operands:
        if v in values:
            return True
    return any(_refers(o, values) for b in op.blocks for o in b.ops)
