"""Chains whose next first product is asked for together with this iteration's second one: both multiply while exponentials are computed.

    iteration i     wait for q·k of i; compute (maxima, exponentials, sums), while p·v of i − 1 goes on; wait for that; scale its sum;
                    ask for q·k of i + 1 and p·v of i, one behind the other; start copies of later iterations
    last iteration  asks for its p·v alone, behind the loop

Two warpgroups ask *in turns* (named barriers, one for each): from a turn's end, when all is asked for and not when it is done, the other one
may ask, so the tensor cores have the next products before they are through with these.

    warpgroup 0    │ask│      compute      │ask│      compute      │ask│
    warpgroup 1          │ask│      compute      │ask│      compute
    tensor cores   │ 0: q·k, p·v │ 1: q·k, p·v │ 0: q·k, p·v │ 1: …

*Registers.*  Both sums have registers with names (`named`): what is in flight across the loop's end is no value that anybody might move.

*The wait for p·v* has no operands that say where it belongs, and the assembler would move it up to the wait for q·k, in front of all
arithmetic.  So a pause on a condition that asks for the computed sums stands before it (`_hold_back`), which is never taken and would do no
harm.  No branch may stand between asking and waiting: the assembler would put waits of its own there.

*Copies.*  A slot of the ring belongs to p·v of an iteration i and q·k of i + 1, which are asked for together.  Behind a turn of iteration i
all warpgroups are known to be done with q·k of i − 1 and p·v of i − 2: those slots are refilled, s − 2 iterations ahead, by the tensor memory
accelerator alone.  Threads' own copies (cp.async) would stand here with the arithmetic of their addresses, where instructions are issued at a
third of the pace, as the tensor cores read registers: half an iteration's exponentials' time, more than all is worth (docs/nvidia.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...ir import Block, Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, F16, F32, I32
from . import wgmma
from .copies import fetch, initial, leader, wait
from .dot import fragments, left_operand
from .named import named
from .slots import Slot, address
from .tables import State
from .values import Flight, Generator

if TYPE_CHECKING:
    from .chain import Chain
    from .copies import Source
    from .pipeline import Move, Pipeline

__all__ = ["Overlap", "overlaps"]

STAGES = 3
"""Slots that a ring must have."""
_FEW = 2
"""Iterations for which it is not worth the longer text."""
_REGISTERS, _MOST, _OTHERS = 1 << 16, 255, 40
"""Of a multiprocessor, of a thread at most, and what a loop needs besides its products."""
_TURNS = 1, 2
"""The named barriers of the two warpgroups."""


def overlaps(g: Generator, chain: Chain, loop: Op, stages: int) -> bool:
    """Whether the next iteration's first product needs nothing but its copy, and a thread has registers for all that is in flight then.

    A loop of few iterations, as over the keys of a causal attention's own block, would gain nothing for its longer text; one warpgroup alone,
    of which several blocks share a multiprocessor, gains nothing either.
    """
    threads = 32 * g.num_warps
    first, second = chain.first.result.type.numel // threads, chain.second.result.type.numel // threads
    words = chain.second.operands[0].type.elem.bits * first // 32
    if not chain.turns or first + second + words + _OTHERS > min(_MOST, _REGISTERS // threads):
        return False
    return stages >= STAGES and not loop.blocks[0].defines(chain.first.operands[0]) and not _few_iterations(loop)


def _few_iterations(loop: Op) -> bool:
    """Whether it is known that there are no more than `_FEW`."""
    begin, end, step = loop.operands[:3]
    known, by = _from(begin, end), const_value(step)
    return known is not None and by is not None and by > 0 and known <= _FEW * by


def _from(begin: Value, end: Value) -> int | None:
    """``end − begin`` where that is a constant that can be seen."""
    a, b = const_value(begin), const_value(end)
    if a is not None and b is not None:
        return int(b - a)
    for x, y in _pairs(end, "add"):
        if x is begin and (c := const_value(y)) is not None:
            return int(c)
    for x, y in _pairs(end, "mul"):  # (i + c) · size and i · size
        for i, z in _pairs(begin, "mul"):
            size = const_value(y)
            if size is not None and size == const_value(z) and (c := _from(i, x)) is not None:
                return int(c * size)
    return None


def _pairs(v: Value, name: str) -> list[tuple[Value, Value]]:
    """The operands of the operation ``name`` that makes ``v``, in both orders."""
    if v.op is None or v.op.name != name:
        return []
    x, y = v.op.operands
    return [(x, y), (y, x)]


class Overlap:
    """Emits the two dots of a pipelined loop, and what stands around them.  Used by `pipeline.Pipeline`, in the order of its methods."""

    def __init__(self, pipeline: Pipeline, chain: Chain):
        self.pipeline, self.chain, self.g = pipeline, chain, pipeline.g
        self.first, self.second = chain.copies(pipeline.moves)
        self.g.overlaps += 1
        self.factor = _factor(chain)
        self._packs = _packs(chain)

    def order(self, leave: Callable[[], None]) -> list[Op | Callable[[], None]]:
        """What the loop's body is emitted as, operations and what stands between them.  ``leave`` goes on only where there is a next iteration."""
        body, chain = self.pipeline.body, self.chain
        before = chain.asked_for_before(body)
        of_sum, left = _ahead_of(chain.acc, body), chain.second.operands[0]
        left_out = {chain.first, chain.second, *before, *([] if self.factor is None else of_sum)}
        if self._packs and left.op is not None and len(left.uses) == 1:
            left_out.add(left.op)
        rest = [op for op in body.ops if op not in left_out and not op.defn.terminator]
        return [
            *(op for op in body.ops if op in before),
            self._first_done,
            *(op for op in rest if op not in of_sum),
            self._second_done,
            *(op for op in rest if op in of_sum),
            self._scaled,
            leave,
            self._turn,
        ]

    def start(self, state: State) -> State:
        """The first copies; the state of the next ones."""
        g, p = self.g, self.pipeline
        result = self.chain.first.result
        self.products = named(g, g.homes[result].registers, result.type.elem)
        left = self.chain.second.operands[0]
        self.fragment, _ = fragments(self.chain.second, g.homes[self.chain.second.result], 32 // left.type.elem.bits)
        self.words = named(g, self.fragment.registers * left.type.elem.bits // 32, I32)
        self.slots = p.stages + 1  # of barriers: the last one for the first copy of all
        self.barriers = g.buffer((self.chain.first, "barriers"), 8 * self.slots)
        one = g.emit(f"icmp eq i32 {g.tid}, 0")
        # The accelerator must see what threads did in the ring's memory, too, and in that which it reads.
        lines = f"{initial(self.slots)} fence.proxy.async;"
        g.assembly(lines, "r,b", "void", [("i32", self._barrier("0")), ("i1", one)])
        g.barrier()
        self._copy(state, "0", self.first, str(p.stages))
        self._arrive(str(p.stages), "true")  # which is waited for whether the loop has an iteration or not
        for slot in range(p.stages - 2):
            state = self._pair(state, str(slot), str(slot + 1))
        return state

    def ready(self) -> None:
        """In front of the loop: waits for the first product's operand."""
        self._wait(str(self.pipeline.stages), "0")

    def enter(self) -> None:
        """In front of the loop, where it has an iteration: the first one's first product."""
        g = self.g
        self._give_turn(0)
        self._begin_turn()
        self._multiply_first("0")
        self._end_turn()
        g.call("llvm.nvvm.wgmma.commit_group.sync.aligned", "void")  # an empty one, where p·v of the iteration before would be
        self.barriers_before = g.barriers_made

    def finish(self) -> None:
        """Behind the last iteration, which has left the loop: its second product."""
        g = self.g
        g.disturbed |= g.barriers_made != self.barriers_before
        self._begin_turn()
        self._multiply_second()
        self._give_turn(1)  # nobody waits for a turn behind the last one

    def result(self) -> list[str]:
        """Behind the loop, whether it had iterations or not: the sum.  The barriers are no more."""
        g, p = self.g, self.pipeline
        assert p.named is not None
        got = p.named.values(g)
        g.barrier()
        one = g.emit(f"icmp eq i32 {g.tid}, 0")
        lines = " ".join(f"@$1 mbarrier.inval.shared::cta.b64 [$0+{8 * i}];" for i in range(self.slots))
        g.assembly(lines, "r,b", "void", [("i32", self._barrier("0")), ("i1", one)])
        return got

    # --- parts of an iteration ---

    def _first_done(self) -> None:
        g, result = self.g, self.chain.first.result
        g.define(result, self.products.values(g, pending=1), g.homes[result])

    def _second_done(self) -> None:
        g, acc, held = self.g, self.chain.acc, self.pipeline.named
        self._hold_back()
        assert held is not None
        if self.factor is None:
            g.define(acc, held.values(g), g.homes[acc])
        else:
            g.assembly("wgmma.wait_group.sync.aligned 0;", "", "void", [])
        # The assembler knows what instructions in flight still read, but only up to the end of a basic block, and the loop's end is one.
        self.words.keep(g, self._barrier("0"))

    def _hold_back(self) -> None:
        """Keeps the wait behind it from moving in front of what is computed from the first product."""
        g, body, chain = self.g, self.pipeline.body, self.chain
        of_first, of_sum = _ahead_of(chain.first.result, body), _ahead_of(chain.acc, body)
        asked = [v for v in body.terminator.operands if v.op in of_first and v.op not in of_sum and not v.type.is_scalar]
        registers = list(
            dict.fromkeys(r for v in asked if g.homes.get(v) is not None and v.type.elem.bits == 32 for r in g.get(v, g.homes[v]))
        )
        kind = {v.type.elem.is_float for v in asked}
        if not registers or len(kind) > 1:
            return
        c, t = ("f", "float") if kind.pop() else ("r", "i32")
        tests = " ".join(
            f"mov.b32 x, ${i}; setp.eq{'.or' if i else ''}.b32 p, x, 0x7fbadbad{', p' if i else ''};" for i in range(len(registers))
        )
        text = f"{{ .reg .pred p; .reg .b32 x; {tests} @p nanosleep.u32 0; }}"
        g.assembly(text, ",".join([c] * len(registers)), "void", [(t, r) for r in registers])

    def _scaled(self) -> None:
        """What the second product adds to goes to its registers; its left operand is made."""
        g, second, held = self.g, self.chain.second, self.pipeline.named
        assert held is not None
        if self.factor is None:
            held.set(g, g.get(second.operands[2], g.homes[second.result]))
        else:
            held.scale(g, g.get(self.factor, g.homes[second.result]))
        made = second.operands[0]
        if self._packs and made.op is not None:
            self.words.pack(g, g.get(made.op.operands[0], self.fragment), made.type.elem)
        else:
            _, words = left_operand(g, second)
            assert words is not None
            self.words.set(g, words)
        self._wait(self.pipeline.slot, self.pipeline.phases)

    def _turn(self) -> None:
        """Asks for the next first product and this second one; starts later copies."""
        g, p = self.g, self.pipeline
        self._begin_turn()
        self._multiply_first(p.following())
        self._multiply_second()
        self._end_turn()
        g.define(self.chain.second.result, [], g.homes[self.chain.second.result])
        p.last = self._pair(p.names, p.left(2), p.left())

    def _begin_turn(self) -> None:
        g = self.g
        mine = g.emit(f"add i32 {g.warpgroup()}, {_TURNS[0]}")
        g.assembly(f"bar.sync $0, {32 * g.num_warps};", "r", "void", [("i32", mine)])

    def _end_turn(self) -> None:
        g = self.g
        other = g.emit(f"sub i32 {_TURNS[1]}, {g.warpgroup()}")
        g.assembly(f"bar.arrive $0, {32 * g.num_warps};", "r", "void", [("i32", other)])

    def _give_turn(self, to: int) -> None:
        """Lets warpgroup ``to`` begin its turn: the other one says so, and it alone."""
        g = self.g
        other = g.emit(f"icmp eq i32 {g.warpgroup()}, {1 - to}")
        g.assembly(f"@$0 bar.arrive {_TURNS[to]}, {32 * g.num_warps};", "b", "void", [("i1", other)])

    def _multiply_first(self, slot: str) -> None:
        g, first = self.g, self.chain.first
        here = g.ring.get(self.first.operand)
        g.ring[self.first.operand] = self.pipeline.slot_of(self.first, slot)
        g.in_flight[first] = Flight(lambda made: made, held=self.products, adds="false")
        wgmma.accumulate(g, first, g.homes[first.result], *left_operand(g, first))
        del g.in_flight[first], g.ring[self.first.operand]
        if here is not None:
            g.ring[self.first.operand] = here

    def _multiply_second(self) -> None:
        g, second = self.g, self.chain.second
        g.in_flight[second] = Flight(lambda made: made, held=self.pipeline.named, left=self.words)
        wgmma.accumulate(g, second, g.homes[second.result], self.fragment, self.words.names())
        del g.in_flight[second]

    def _pair(self, state: State, of_second: str, of_first: str) -> State:
        """Copies for an iteration's second product and the next one's first; the state of the next ones."""
        p = self.pipeline
        runs = p.inside(state.scalars[0])
        state = self._copy(state, of_second, self.second, of_second)
        self._copy(state, of_first, self.first, of_second)
        self._arrive(of_second, runs)
        return state

    def _copy(self, state: State, slot: str, move: Move, barrier: str) -> State:
        """Copies of one operand, of the iteration that ``state`` belongs to, which ``barrier`` is told of; the state of the next one."""
        self.told = barrier
        return self.pipeline.copies(state, slot, [move], commit=False)

    def ask(self, runs: str, wanted: list[tuple[Source, str]]) -> None:
        """Where ``runs``: the accelerator's copies of tiles to addresses (i32) in shared memory."""
        g = self.g
        for source, target in wanted:
            who, at = g.emit(f"and i1 {leader(g)}, {runs}"), self._barrier(self.told)
            text = f"@$1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], {source.form.bytes};"
            g.assembly(text, "r,b", "void", [("i32", at), ("i1", who)])
            fetch(g, source, target, at, who)

    def _arrive(self, slot: str, runs: str) -> None:
        """All copies that a barrier is to be told of are asked for."""
        g = self.g
        who = g.emit(f"and i1 {leader(g)}, {runs}")
        g.assembly("@$1 mbarrier.arrive.shared::cta.b64 _, [$0];", "r,b", "void", [("i32", self._barrier(slot)), ("i1", who)])

    def _wait(self, slot: str, phase: str) -> None:
        wait(self.g, self._barrier(slot), phase)

    def _barrier(self, slot: str) -> str:
        """Address (i32) of a slot's mbarrier."""
        return address(self.g, Slot(self.barriers + 8 * int(slot)) if slot.isdigit() else Slot(self.barriers, slot, 8))


def _factor(chain: Chain) -> Value | None:
    """What the sum is multiplied by in front of the second product, if that is all that becomes of it."""
    op = chain.second.operands[2].op
    if op is None or op.name != "fmul" or len(chain.acc.uses) != 1 or chain.acc not in op.operands or len(op.result.uses) != 1:
        return None
    return op.operands[1 - op.operands.index(chain.acc)]


def _packs(chain: Chain) -> bool:
    """Whether the second product's left operand is f32 rounded to 16 bits."""
    made = chain.second.operands[0]
    return made.op is not None and made.op.name == "fpcast" and made.op.operands[0].type.elem is F32 and made.type.elem in (F16, BF16)


def _ahead_of(v: Value, body: Block) -> set[Op]:
    """The operations of ``body`` that compute with ``v``."""
    out: set[Op] = set()
    pending = [v]
    while pending:
        for op, _ in pending.pop().uses:
            if op.block is body and op not in out and not op.defn.terminator:
                out.add(op)
                pending += op.results
    return out
