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
from typing import TYPE_CHECKING

from ...ir import Block, Op, Value
from ...ir.rewrite import const_value
from . import wgmma
from .assignment import VIEWS
from .dot import dot_behind
from .loop_reads import behind
from .placement import LANES
from .values import Flight, Generator
from .wgmma import ROWS

if TYPE_CHECKING:
    from .pipeline import Move, Pipeline
    from .tables import State

__all__ = ["Chain", "Chained", "chain"]

_INDICES = frozenset({"constant", "arange", "hint", *VIEWS})
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
        Rows that are loaded, a bias above all, are asked for before the first dot: they come while it multiplies.
        """
        ops = list(body.ops)
        begin = ops.index(self.first) + 1
        asked = self.asked_for_before(body)
        if asked:
            ops = [
                *ops[: begin - 1],
                *(op for op in ops[begin:] if op in asked),
                self.first,
                *(op for op in ops[begin:] if op not in asked),
            ]
            begin += len(asked)
        after = [op for op in ops[begin:] if not op.defn.terminator and op is not self.second]
        scaling, needed = behind([self.second.operands[2]], body), behind([self.second.result], body)
        late = [op for op in after if op not in needed]
        if any(not op.defn.elementwise and op.name not in ("reduce", *VIEWS) for op in late):
            return ops  # what asks for memory had better ask early
        early = [op for op in after if op in scaling]
        return [*ops[:begin], *early, *(op for op in after if op in needed - scaling), self.second, *late, body.terminator]

    def copies(self, moves: list[Move]) -> tuple[Move, Move]:
        """Of the two ``moves``: what is copied for the first dot, and what for the second."""
        a, b = moves
        return (a, b) if a.operand is self.first.operands[1] else (b, a)

    def asked_for_before(self, body: Block) -> set[Op]:
        """Those of the operations behind the first dot that load a tile no longer than its rows or columns, and what they need for it."""
        after = body.ops[body.ops.index(self.first) + 1 :]
        out: set[Op] = set()
        for op in after:
            if op.name == "load" and op.result.type.numel <= max(self.first.result.type.shape):
                needed = behind([op.result], body)
                simple = all(x.name == "load" or x.defn.elementwise or x.name in _INDICES for x in needed)
                if simple and not any(self.acc in x.operands for x in needed):  # the first dot is not simple
                    out |= needed
        return out & set(after)


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
    return Chain(first, second, acc, turns=g.means.turns and g.num_warps == 2 * WARPS)


class Chained:
    """Emits what stands around the two dots of a pipelined loop.  Used by `pipeline.Pipeline`, in the order of its methods.

    The first one's operand is done with half an iteration before the second one's, so its copies are one iteration further ahead.  One
    group of copies: the second's of iteration i + s − 1, into the slot of the last iteration, and the first's of iteration i + s, into
    this iteration's.
    """

    def __init__(self, pipeline: Pipeline, chain: Chain):
        self.pipeline, self.chain, self.g = pipeline, chain, pipeline.g
        self.first, self.second = chain.copies(pipeline.moves)

    def start(self, state: State) -> State:
        """The first copies, and the first barriers; the state of the next copies."""
        g, p = self.g, self.pipeline
        p.copies(state, "0", [self.first], advance=False)
        for slot in range(p.stages - 1):
            state = p.copies(state, str(slot), [self.second], commit=False)
            p.copies(state, str(slot + 1), [self.first], advance=False)
        g.assembly(f"cp.async.wait_group {p.stages - 1};", "", "void", [])
        g.barrier()
        if self.chain.turns:
            self._extra_barrier(1)
        self.barriers_before = g.barriers_made
        return state

    def body_begins(self) -> None:
        """The loop's dots are waited for here."""
        self.g.in_flight[self.chain.first] = Flight(self._first_done)
        self.g.in_flight[self.chain.second] = Flight(self._behind_second, self._before_second)

    def finish(self) -> Value:
        """Behind the loop: its last barriers; the carried value that is still in flight."""
        g, chain = self.g, self.chain
        del g.in_flight[chain.first], g.in_flight[chain.second]
        if chain.turns:
            g.disturbed |= g.barriers_made != self.barriers_before + 2
            self._extra_barrier(0)
        return chain.acc

    def _extra_barrier(self, warpgroup: int) -> None:
        """One barrier more for the threads of a warpgroup."""
        g = self.g
        g.assembly("@$0 bar.sync 0;", "b", "void", [("i1", g.emit(f"icmp eq i32 {g.warpgroup()}, {warpgroup}"))])

    def _first_done(self, made: list[str]) -> list[str]:
        """Behind the first dot: waits for it, for the last iteration's second one and for what this iteration's second and the next one's
        first will read."""
        g, acc = self.g, self.chain.acc
        g.assembly(f"cp.async.wait_group {self.pipeline.stages - 2};", "", "void", [])
        home = g.homes[acc]
        done = wgmma.waited(g, [*made, *g.get(acc, home)], acc.type.elem)
        g.define(acc, done[len(made) :], home)
        if self.chain.turns:
            g.barrier()
            self._keep_apart(1)
        return done[: len(made)]

    def _before_second(self) -> None:
        """Before the second dot's instructions: its operand has been copied by all threads, and nobody reads the slots of the next copies."""
        if self.chain.turns:
            self._keep_apart(2)
        self.g.barrier()

    def _keep_apart(self, number: int) -> None:
        """Keeps arithmetic on its side of a barrier.

        The assembler moves it across barriers, which concern memory alone, but not across the end of a basic block, such as an exit on a
        condition that nobody fulfils; ``number``: one that it takes for another condition than the last.
        """
        g = self.g
        g.assembly("@$0 exit;", "b", "void", [("i1", g.emit(f"icmp eq i32 {g.warpgroup()}, {-number}"))])

    def _behind_second(self, made: list[str]) -> list[str]:
        """Behind the second dot's instructions, which stay in flight: the next copies."""
        p = self.pipeline
        p.last = p.copies(p.names, p.left(), [self.second], commit=False)
        p.copies(p.last, p.slot, [self.first], advance=False)
        return made
