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


def chain(g: Generator, body: Block, copied: set[Value]) -> Chain | None:
    """The chain that ``body`` is made of; None where it is none.  ``copied``: the operands of dots that lie in rings."""
    dots = [op for op in body.walk() if op.name == "dot"]
    if len(dots) != 2 or any(op.blocks and op.name != "reduce" for op in body.ops):
        return None
    first, second = dots
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
    if any(user.block is not body or order[user] < order[first] for user, _ in acc.uses):
        return None  # it is in flight until the first dot is done
    in_a_thread = (first.result.type.numel + second.result.type.numel) // (g.num_warps << LANES)
    if in_a_thread <= SMALL:
        return None
    return Chain(first, second, acc, turns=g.turns and g.num_warps == 2 * WARPS)
