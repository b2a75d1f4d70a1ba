"""Two dots of a loop in a row, the second of which adds up what is computed from the first: attention, softmax(q·kᵀ)·v.

Such a loop multiplies, computes (maxima, exponentials, sums) and multiplies again.  Each part waits for the one before, so one warpgroup
alone leaves the tensor cores idle while it computes.  Two warpgroups *in turns* fill the gap: one multiplies while the other computes.

    warpgroup 0    │ q·k │ compute │ p·v, q·k │ compute  │ p·v, q·k │ …
    warpgroup 1          │   q·k   │ compute  │ p·v, q·k │ compute  │ …
                   ▲     ▲         ▲          ▲          ▲  barriers of all threads

Each iteration has two barriers, one where its first product is there (its computing begins) and one in front of the second product (its
multiplying begins, which goes on into the next iteration), and warpgroup 1 passes one barrier more in front of the loop, warpgroup 0 one
more behind it.  So from then on the two meet at barriers half an iteration apart.

The second dot is left in flight, as are its operands' slots: the wait for the next iteration's first dot is the wait for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Block, Op, Value
from ...ir.rewrite import const_value
from .assignment import VIEWS
from .dot import dot_behind
from .placement import LANES
from .values import Generator
from .wgmma import ROWS

__all__ = ["Chain", "chain"]

WARPS = 4
"""Of a warpgroup."""
SMALL = 64
"""Results of both dots in a thread: with so few, several programs share a multiprocessor, which fill each other's gaps better than turns do."""


@dataclass(frozen=True)
class Chain:
    """``first`` and ``second`` dot of a loop's body; ``acc``: the carried value that the second adds to.

    ``turns``: two warpgroups take turns; else each multiplies and computes at the same time as the others.
    """

    first: Op
    second: Op
    acc: Value
    turns: bool

    def order(self, body: Block) -> list[Op]:
        """The operations of ``body`` in an order that makes the way from the first dot to the second one short.

        Behind the first dot comes what the accumulator is multiplied by, for which there is time while exponentials are computed, then what
        the second dot multiplies, then that dot, and at last what it does not need, sums along rows above all, while the tensor cores are busy.
        """
        ops = list(body.ops)
        begin = ops.index(self.first) + 1
        after = [op for op in ops[begin:] if not op.defn.terminator and op is not self.second]
        scaling, needed = _behind(self.second.operands[2], body), _behind(self.second.result, body)
        late = [op for op in after if op not in needed]
        if any(not op.defn.elementwise and op.name not in ("reduce", *VIEWS) for op in late):
            return ops  # what asks for memory had better ask early
        early = [op for op in after if op in scaling]
        return [*ops[:begin], *early, *(op for op in after if op in needed - scaling), self.second, *late, body.terminator]


def chain(g: Generator, body: Block, copied: set[Value]) -> Chain | None:
    """The chain that ``body`` is made of; None where it is none.  ``copied``: the operands of dots that lie in rings."""
    dots = [op for op in body.walk() if op.name == "dot"]
    if len(dots) != 2 or any(op.blocks and op.name != "reduce" for op in body.ops):
        return None
    first, second = dots
    if first.result.type.elem is not second.result.type.elem:
        return None  # one instruction waits for both, whose registers have one type: not for 8-bit integers times 16-bit floats
    for dot in dots:
        if g.assignment.by_warpgroup.get(dot) is not False or dot.attrs["imprecise"] or dot.result.type.elem.bits != 32:
            return None
        # With fewer rows warpgroups stand side by side, and meet where rows are summed; with more there are too few registers for what is
        # left in flight.
        if dot.result.type.shape[0] != ROWS * (g.num_warps // WARPS):
            return None
    if const_value(first.operands[2]) != 0 or dot_behind(second.operands[0]) is not first:
        return None
    if len(copied) != 2 or copied != {first.operands[1], second.operands[1]}:
        return None
    ends = list(body.terminator.operands)
    if len(second.result.uses) != 1 or second.result not in ends:
        return None
    acc = body.args[1 + ends.index(second.result)]
    order = {op: n for n, op in enumerate(body.ops)}
    if any(user.block is not body or order[user] <= order[first] for user, _ in acc.uses):
        return None  # it is in flight until the first dot is done
    in_a_thread = (first.result.type.numel + second.result.type.numel) // (g.num_warps << LANES)
    if in_a_thread <= SMALL:
        g.small_chain = True
        return None
    return Chain(first, second, acc, turns=g.turns and g.num_warps == 2 * WARPS)


def _behind(v: Value, body: Block) -> set[Op]:
    """The operations of ``body`` that ``v`` is computed from, its own included."""
    out: set[Op] = set()
    pending = [v]
    while pending:
        op = pending.pop().op
        if op is not None and op.block is body and op not in out:
            out.add(op)
            pending += [x for x in op.operands if x is not None]
    return out
