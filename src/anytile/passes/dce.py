"""Removes what nobody needs: liveness from effects backwards.

An operation is live when it has a lasting effect (writes, synchronises, prints, returns), when it encloses a
live one, or when a live operation uses a result.  Loops and branches are live result by result:

    for    result i ─ carried argument i ─ initial value i ─ yielded value i      live together
    while  also the value i that `condition` passes and the argument of the second block
    if     result i ─ the value i of both yields

so a carried value that only feeds its own next value dies, though it has uses.  Ordinary loads have no
lasting effect and go when unused; volatile ones stay.  A loop without live results and effects goes too.
"""

from __future__ import annotations

from ..ir.core import Block, Func, Module, Op, Value
from ..ir.ops import Effect
from ..ir.rewrite import drop_results

__all__ = ["dce"]

_LASTING = Effect.WRITE | Effect.SYNC | Effect.IO
_BY_RESULT = frozenset(("for", "while", "if"))


def dce(m: Module) -> bool:
    changed = False
    for f in m.funcs:
        changed |= _Liveness(f).sweep(f.body)
    return changed


def _lasting(op: Op) -> bool:
    d = op.defn
    if d.effects:
        return bool(d.effects & _LASTING) or bool(op.attrs.get("volatile"))
    return d.name == "return" or (d.name == "inline_asm" and not op.attrs["pure"])


class _Liveness:
    def __init__(self, f: Func):
        self.ops: set[Op] = set()
        self.values: set[Value] = set()
        self.work: list[Value] = []
        for op in f.walk():
            if _lasting(op):
                self.mark_op(op)
        work = self.work
        while work:
            self.follow(work.pop())

    def need(self, v: Value | None) -> None:
        if v is not None and v not in self.values:
            self.values.add(v)
            self.work.append(v)

    def mark_op(self, op: Op) -> None:
        """``op`` stays.  Its operands are needed, except those that only belong to one result."""
        while op not in self.ops:
            self.ops.add(op)
            name = op.defn.name
            if name == "for":
                needed = op.operands[:3]
            elif name == "if":
                needed = op.operands
            elif name == "while":
                needed = [op.blocks[0].terminator.operands[0]]
            elif name == "yield" or name == "condition":
                needed = []
            else:
                needed = op.operands
                for b in op.blocks:
                    for v in b.terminator.operands:
                        self.need(v)
            for v in needed:
                self.need(v)
            parent = op.block.parent if op.block is not None else None
            if not isinstance(parent, Op):
                return
            op = parent

    def follow(self, v: Value) -> None:
        """What the needed value ``v`` needs in turn."""
        owner = v.owner
        if isinstance(owner, Op):
            self.mark_op(owner)
            if owner.defn.name in _BY_RESULT:
                self.position(owner, v.index)
            return
        parent = owner.parent
        if not isinstance(parent, Op):
            return
        self.mark_op(parent)
        if parent.defn.name == "for":
            if v.index:
                self.position(parent, v.index - 1)
        elif parent.defn.name == "while":
            self.position(parent, v.index)

    def position(self, op: Op, i: int) -> None:
        """Everything carried at position ``i`` of a for, while or if."""
        name = op.defn.name
        self.need(op.results[i])
        if name == "for":
            body = op.blocks[0]
            self.need(op.operands[3 + i])
            self.need(body.args[1 + i])
            self.need(body.terminator.operands[i])
        elif name == "while":
            before, after = op.blocks
            self.need(op.operands[i])
            self.need(before.args[i])
            self.need(before.terminator.operands[1 + i])
            self.need(after.args[i])
            self.need(after.terminator.operands[i])
        else:
            for b in op.blocks:
                self.need(b.terminator.operands[i])

    def sweep(self, block: Block) -> bool:
        """Drops dead operations of ``block``, last first so that uses go before definitions."""
        live, changed = [], False
        for op in reversed(block.ops):
            if op not in self.ops and not op.defn.terminator:
                op.drop_uses()
                op.block = None
                changed = True
                continue
            live.append(op)
            if op.blocks:
                name = op.defn.name
                keep = [r in self.values for r in op.results] if name in _BY_RESULT else []
                for b in op.blocks:
                    changed |= self.sweep(b)
                if not all(keep):  # what used the dropped block arguments went in the sweep above
                    drop_results(op, keep)
                    changed = True
        live.reverse()
        block.ops = live
        return changed
