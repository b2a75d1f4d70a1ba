"""What a loop may read ahead of the iteration that asks for it, and which of its loads its dots wait for.

A loop that writes memory reads ahead only what it cannot have written itself: what lies behind another argument of the kernel.  That two
arguments may be the same tensor keeps nothing back, as in Triton: the accesses of different iterations are ordered by barriers alone, and
a loop with a barrier reads nothing ahead.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ir import Block, Effect, Func, Op, Value

__all__ = ["base", "behind", "behind_dots", "unwritten"]

_ADDRESSES = frozenset({"addptr", "hint", "expand_dims", "broadcast", "reshape", "permute", "splat", "window"})


def base(pointer: Value | None) -> Value | None:
    """The kernel's argument that an address is counted from; None where that is not known."""
    while pointer is not None and pointer.op is not None:
        pointer = pointer.op.operands[0] if pointer.op.name in _ADDRESSES else None
    return pointer if pointer is not None and isinstance(pointer.owner, Block) and isinstance(pointer.owner.parent, Func) else None


def unwritten(load: Op, body: Block) -> bool:
    """Whether no iteration of the loop ``body`` writes what ``load`` reads in a later one, nor waits for others that might.

    Beside writes it is that of an innermost loop, by plain stores and sums whose old values nobody asks for.
    """
    writes = [op for op in body.walk() if op.defn.effects & (Effect.WRITE | Effect.SYNC)]
    if not writes:
        return True
    if any(op.name in ("for", "while") for op in body.walk()) or not all(_plain(op) for op in writes):
        return False
    known = base(load.operand("ptr"))
    return known is not None and not {None, known} & {base(op.operands[0]) for op in writes}


def _plain(write: Op) -> bool:
    return write.name == "store" or write.name == "atomic_rmw" and not write.result.uses


def behind_dots(body: Block) -> set[Op]:
    """The operations of ``body`` that its dots are computed from."""
    return behind((x for op in body.ops if op.name == "dot" for x in op.operands), body)


def behind(values: Iterable[Value | None], body: Block) -> set[Op]:
    """The operations of ``body`` that ``values`` are computed from, their own included."""
    out: set[Op] = set()
    pending = list(values)
    while pending:
        x = pending.pop()
        if x is not None and x.op is not None and x.op.block is body and x.op not in out:
            out.add(x.op)
            pending += x.op.operands
    return out
