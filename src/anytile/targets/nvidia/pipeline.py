"""Software pipelining: loads that feed dots run ahead of the loop that uses them; others where the loop says how far.

    before the loop     copies for iterations 0 … s − 2 into slots 0 … s − 2 of a ring of s = num_stages slots
    iteration i         wait for the copy of i; start the copy of i + s − 1 into the slot that i − 1 has left; dot from slot i mod s

There are two kinds of copies.  Blocks of tensors that the launcher can describe are fetched by the tensor memory accelerator (`copies`):
one thread asks, and a barrier for each slot says when they are there.  All else is cp.async: up to 16 bytes a thread from global to shared
memory, zeros where the mask is off, no registers between.  Loads that a dot is computed from in registers are copied ahead, too, each thread
for itself (`own_copies`), and where ``tl.range(…, num_stages=n)`` stands, those of no dot as well.  What a loop writes it does not read
ahead (`loop_reads`).

The addresses of iteration i + s − 1 come from the loop's own arithmetic: the scalars it carries are carried a second
time, s − 1 iterations *ahead*, and the pointers and masks (or the coordinates) of the loads are computed from those.  So a load takes part
where its address follows from scalars alone (`Slice`), which index arithmetic in a loop does after `passes.carried`, or from numbers
that the loop loads itself, which are read one iteration earlier still (`tables`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial

from ...ir import Block, Effect, Op, Value
from ...ir.rewrite import const_value, is_pure
from ...passes.control_rules import trip_count
from ..text import Chunk, phis
from . import wgmma
from .chain import Chained, chain
from .copies import Barriers, Source, leader, source
from .dot import dots_fed
from .loop_reads import behind_dots, unwritten
from .matrices import ring_form
from .memory import vector_width
from .named import Named, named
from .overlap import Overlap, overlaps
from .own_copies import COPY_BYTES, OwnCopy, async_copy, own_copy, shared_pieces, zero
from .slots import Slot, address
from .tables import Numbers, State, Tables, is_table
from .values import Flight, Generator, Scope, literal, llvm_type
from .wgmma import Panels, Rows

__all__ = ["Ahead", "Pipeline", "Slice", "known_ahead", "plan", "what_runs_ahead"]

OWN_BYTES = 64 * 1024
"""What the rings of threads' own copies may take of a block's shared memory: so much that every GPU from Ampere on has it for one block."""


@dataclass
class Slice:
    """What addresses are computed from: operations of a loop's body and the scalars that it carries."""

    ops: set[Op] = field(default_factory=set)
    carried: set[int] = field(default_factory=set)  # indices among the carried values


@dataclass(frozen=True)
class Move:
    """A ``load`` that can be a copy: into ``form`` for the dots' ``operand``: its result, perhaps without dimensions of 1, or permuted.

    ``others``: operands that are the same tile, permuted in another way; ``source``: how the tensor memory accelerator finds it, None where
    cp.async copies.
    """

    load: Op
    operand: Value
    others: list[Value]
    form: Panels | Rows
    source: Source | None

    def roots(self) -> list[Value]:
        """What must be known ahead."""
        if self.source is not None:
            return list(self.source.window.offsets)
        return _roots(self.load)


@dataclass(frozen=True)
class Ahead:
    """What of a loop runs ahead: copies that threads make for each other or the accelerator makes, copies of threads for themselves, what the
    addresses of both are computed from, and how many slots a ring has."""

    moves: list[Move]
    own: list[OwnCopy]
    used: Slice
    stages: int


def plan(g: Generator, loop: Op) -> Pipeline | None:
    """The pipeline for ``loop``, None where nothing in it can run ahead."""
    ahead = what_runs_ahead(g, loop)
    return None if ahead is None else Pipeline(g, loop, ahead)


def what_runs_ahead(g: Generator, loop: Op) -> Ahead | None:
    """What of ``loop`` can run ahead, None where nothing can."""
    stages = loop.attrs["num_stages"] or g.num_stages
    stages -= g.means.spare_slots if stages > 2 else 0
    body = loop.blocks[0]
    if stages < 2 or g.sm < 80:
        return None
    moves: list[tuple[Move, Slice]] = []
    own: list[tuple[OwnCopy, Slice]] = []
    fed = _fed(g, body)
    for op in body.ops:
        if op.name != "load" or not unwritten(op, body):
            continue
        move = _movable(g, op, body)
        kept = move is None and (op in fed or bool(loop.attrs["num_stages"]) and not g.is_lazy(op.result) and not _writes(body))
        copy = own_copy(g, op) if kept and g.means.own_ahead else None
        if move is not None and (part := known_ahead(g, move.roots(), body)) is not None:
            moves.append((move, part))
        elif copy is not None and (part := known_ahead(g, _roots(op), body)) is not None:
            own.append((copy, part))
    tables = {op for _, part in (*moves, *own) for op in part.ops}
    own = [(c, part) for c, part in own if c.load not in tables]
    beside = [(c, part) for c, part in own if c.load not in fed]  # those that the loop asked for
    fitting = OWN_BYTES // sum(c.bytes for c, _ in beside) if beside else stages
    if fitting < 2 or moves and fitting < stages:
        own = [x for x in own if x not in beside]
    elif not moves:
        stages = min(stages, fitting)
    g.own_rings += len(own)
    used = Slice()
    for _, part in (*moves, *own):
        used.ops |= part.ops
        used.carried |= part.carried
    if any(op.name == "load" for op in used.ops):
        g.table_rings += 1
        if not g.means.table_slots:
            stages -= (stages - 1) // 2  # Triton's share: the other half of the stages but two is for the tables
    return Ahead([m for m, _ in moves], [c for c, _ in own], used, stages) if moves or own else None


def _fed(g: Generator, body: Block) -> set[Op]:
    """The loads of ``body`` that its dots are computed from, to be copied by each thread for itself where they are no copies into operands.

    Not in loops around loops, nor where one dot follows from another, whose order `chain` decides, but for what a dot asks for.
    """
    other = any(op in g.assignment.chained or op.name in ("for", "while") for op in body.walk())
    loads = {op for op in body.ops if op.name == "load" and (op.result.type.is_scalar or not g.is_lazy(op.result))}
    return {op for op in loads if op.result in g.assignment.asked} | (set() if other else loads & behind_dots(body))


def _writes(body: Block) -> bool:
    return any(op.defn.effects & Effect.WRITE for op in body.walk())


def _roots(load: Op) -> list[Value]:
    """What the addresses of a load are made of."""
    return [x for x in (load.operand("ptr"), load.operand("mask")) if x is not None]


def _movable(g: Generator, op: Op, body: Block) -> Move | None:
    """A load as a copy into a dot's operand; None where it cannot be one."""
    pointer, mask, other = (op.operand(n) for n in ("ptr", "mask", "other"))
    assert pointer is not None
    if op.attrs["volatile"] or not zero(other):
        return None
    fed = dots_fed(op, body)
    forms = {v: ring_form(g, dot, i) for v, dot, i in fed}
    if not fed or len({type(form) for form in forms.values()}) > 1:
        return None
    for v, dot, i in fed:
        form = forms[v]
        if form is None or form != ring_form(g, dot, i) or form.inner != wgmma.inner_dimension(g, v):
            return None
    v, *others = forms  # the same rows of the same bytes for all of them
    form = forms[v]
    assert form is not None
    found = source(g, pointer, form)
    if found is None and vector_width(g, pointer, g.homes[op.result], mask) * v.type.elem.bytes not in COPY_BYTES:
        return None
    return Move(op, v, others, form, found)


def known_ahead(g: Generator, roots: list[Value], body: Block, loads: bool = False) -> Slice | None:
    """What of a loop's ``body`` the ``roots`` are computed from; None where that cannot be known ahead of the iteration.

    ``loads``: numbers and rows of numbers may be loaded for it, and computed with, once more.
    """
    out = Slice()
    ends = body.terminator.operands
    pending = list(roots)
    while pending:
        x = pending.pop()
        if x.owner is body:
            if x.index and not x.type.is_scalar:
                return None
            if x.index and x.index - 1 not in out.carried:
                out.carried.add(x.index - 1)
                pending.append(ends[x.index - 1])
        elif x.op is not None and x.op.block is body and x.op not in out.ops:
            computed = is_pure(x.op) and not x.op.blocks or g.means.tables and is_table(x.op, body) or loads and _row(x.op)
            if not computed or not (x.type.is_scalar or g.is_lazy(x) or loads and (x.op.defn.elementwise or x.op.name == "load")):
                return None
            out.ops.add(x.op)
            pending += [y for y in x.op.operands if y is not None]
    return out


def _row(op: Op) -> bool:
    """Whether ``op`` loads a number, or a row of them, any time."""
    if op.name != "load" or op.attrs["volatile"] or op.attrs["cache"] == ".cv":
        return False
    return op.result.type.is_scalar or op.result.type.numel == max(op.result.type.shape)


@dataclass
class _Filling:
    """A loop over slots of a ring: the block that leads to it, the text in front of it, its slot's number and the next one's, its last block."""

    entry: str
    before: Chunk
    slot: str
    next_slot: str
    latch: str = ""


class Pipeline:
    """Emits one loop's copies.  Used by `control.for_`, in the order of its methods."""

    def __init__(self, g: Generator, loop: Op, ahead: Ahead, around: Op | None = None):
        """``around``: the loop around this one through which the ring goes on (`over_tiles`)."""
        self.g, self.loop, self.used = g, loop, ahead.used
        self.moves, self.own = moves, own = ahead.moves, ahead.own
        self.body = loop.blocks[0]
        self.forms = {m.operand: m.form for m in moves}
        fetched = [m.source is not None for m in moves]
        # A tile that both dots read is not there in time for the first one: a chain's second copies are waited for behind it.
        alone = not own and around is None and not any(m.others for m in moves) and all(fetched) == any(fetched) and not _writes(self.body)
        found = chain(g, self.body, set(self.forms)) if alone else None
        tables = any(op.name == "load" for op in ahead.used.ops)
        overlapping = found is not None and all(fetched) and not tables and g.means.overlap and overlaps(g, found, loop, ahead.stages)
        found = None if any(fetched) and not overlapping else found
        count = trip_count(loop) if found is None and around is None else None
        self.complete = count is not None and 0 < count <= ahead.stages
        """Whether all iterations' copies are asked for in front of the loop: their slots are used once."""
        self.stages = count + 1 if self.complete and count is not None else ahead.stages
        used, stages, slots = ahead.used, self.stages, self.stages - self.complete
        self.rings = {v: g.buffer(v, form.bytes * slots) for v, form in self.forms.items()}
        self.rings |= {c.load.result: g.buffer(c.load.result, c.bytes * slots) for c in own}
        self.together = any(m.source is None for m in moves)  # whether threads copy for each other
        self.threads = self.together or bool(own)  # whether cp.async copies anything
        self.args = [self.body.args[1 + i] for i in sorted(used.carried)]
        self.ends = [self.body.terminator.operands[i] for i in sorted(used.carried)]
        self.dot = self._accumulating()
        self.overlap = Overlap(self, found) if overlapping and found is not None else None
        self.chained = None if found is None or overlapping else Chained(self, found)
        self.barriers = Barriers(g, stages, around or loop) if any(fetched) and not overlapping else None
        self.turned = self.dot is not None and (g.assignment.by_warpgroup[self.dot] or self.dot in g.assignment.made_here)
        """Whether that dot's A comes from registers: it is done at the end of its iteration."""
        self.held = self.overlap.chain.acc if self.overlap is not None else self.dot.operands[2] if self.dot is not None else None
        """The carried tile that lives in registers with names: the sum of the one dot, or of a chain's second one."""
        self.named: Named | None = None
        self.once = self._always_once()
        read = [op for op in self.body.ops if op in used.ops and op.name == "load"]
        self.tables = Tables(g, read, 2 if self.chained is not None else 1)
        here = self._read_here()
        self.unread = [op for op in self.body.ops if op in used.ops and op not in here]
        self.scalars = [op for op in self.body.ops if op in used.ops and op not in read and op.results[0].type.is_scalar]

    def _read_here(self) -> set[Op]:
        """What of ``used`` the text of an iteration itself has to define: scalars with which it computes more than addresses of copies.

        Tiles that lead to copies are computed where they are asked for.
        """
        copied = {*(m.load for m in self.moves), *(c.load for c in self.own)}
        ahead = {op for op in self.used.ops if all(r.type.is_scalar or self.g.is_lazy(r) for r in op.results)}
        read: set[Op] = set()
        for op in reversed(self.body.ops):  # users stand behind what they use
            users = (user for r in op.results for user, _ in r.uses if user not in copied)
            if op in self.used.ops and any(user not in ahead or user in read for user in users):
                read.add(op)
        return {op for op in read if any(r.type.is_scalar for r in op.results)}

    def _accumulating(self) -> Op | None:
        """The one dot of the loop, if its result is only the accumulator of its next iteration."""
        dots = [op for op in self.body.walk() if op.name == "dot"]
        if len(dots) != 1 or dots[0] not in self.g.assignment.by_warpgroup or dots[0].attrs["imprecise"]:
            return None
        dot, (a, b, acc) = dots[0], dots[0].operands
        if acc.type.elem.bits != 32:  # packing its elements would touch registers that are in flight
            return None
        if (
            dot.block is not self.body
            or acc.owner is not self.body
            or len(acc.uses) != 1
            or len(dot.result.uses) != 1
            or a not in self.forms
            and dots[0] not in self.g.assignment.made_here
            or b not in self.forms
        ):
            return None
        return dot if self.body.terminator.operands[acc.index - 1] is dot.result else None

    def _always_once(self) -> bool:
        """Whether the loop's first iteration takes place even where the loop has none.

        Its copies are zeros then, since all of them are conditions' to make (cp.async writes zeros where its condition is off), and their
        product is the zeros that the sum begins with.  So nothing may happen in it but copies and that product, and nobody may ask for
        what else the loop carries.
        """
        if self.dot is None or self.held is None or self.barriers is not None or self.own:
            return False
        k = self.held.index - 1
        if const_value(self.loop.rest()[k]) != 0 or any(r.uses for i, r in enumerate(self.loop.results) if i != k):
            return False
        copied = {m.load for m in self.moves}
        return all(op in copied or op.defn.terminator or op.name != "assume" and is_pure(op) for op in self.body.ops)

    def hold(self, values: list[str]) -> list[str]:
        """Gives the held tile its first ``values``, where it has any, and gives back those that the loop carries: none."""
        assert self.held is not None
        elem = self.held.type.elem
        self.named = named(self.g, len(values), elem)
        if set(values) != {literal(0, elem)}:
            self.named.set(self.g, values)
        elif not self.once:
            self.named.clear(self.g)
        return []

    def start(self, lb: str, step: str, later: Callable[[], Callable[[str], str]], emit: Callable[[Generator, Op], None]) -> None:
        """In front of the loop: the first copies.  ``later()(i)``: whether iteration ``i`` takes place."""
        g = self.g
        self.begin, self.step, self.inside, self.emit_op = lb, step, later(), emit
        self.type = llvm_type(self.body.args[0].type.elem)
        inits = self.loop.rest()
        state = State([lb, *(g.scalar(inits[i]) for i in sorted(self.used.carried))], self.tables.unread())
        if self.barriers is not None:
            self.first_phases = self.barriers.begin()
        else:
            g.reclaim()
        if self.overlap is not None:
            state = self.overlap.start(state)
        elif self.chained is not None:
            state = self.chained.start(state)
        elif self.stages > 2 and self.together and self.barriers is None and not self.tables.loads:
            state = self._start_in_loop(state)
        else:
            for slot in range(self.stages - 1):
                state = self.copies(state, str(slot))
        self.first = state

    def _start_in_loop(self, state: State) -> State:
        """The first copies, of all slots but one, by a loop of their own: written out they are a fifth of a product's instructions.

        Gives the state after them.
        """
        with self._filling(self.stages - 1) as fill:
            names = self._names()
            hole = self.g.w.hole()
            last = self.copies(names, fill.slot, before=fill.before)
        self._phis(hole, (fill.slot, "0", fill.next_slot), names, state, last, fill.entry, fill.latch)
        return last

    @contextmanager
    def _filling(self, count: int) -> Iterator[_Filling]:
        """A loop over the ring's first ``count`` slots, whose body is written inside, phis first."""
        w = self.g.w
        entry, fill, done = w.label, w.new_label("fill"), w.new_label("filled")
        before = w.hole()
        w.br(fill)
        w.open_block(fill)
        loop = _Filling(entry, before, w.fresh("slot"), w.fresh("slot"))
        yield loop
        w.put(f"{loop.next_slot} = add i32 {loop.slot}, 1")
        loop.latch = w.label
        more = self.g.emit(f"icmp ult i32 {loop.next_slot}, {count}")
        w.put(f"br i1 {more}, label %{fill}, label %{done}, !llvm.loop {self.g.rolled()}")
        w.open_block(done)

    def _names(self) -> State:
        """New names for a state."""
        return State([self.g.w.fresh("ahead") for _ in range(1 + len(self.args))], self.tables.named(lambda: self.g.w.fresh("table")))

    def _phis(self, hole: Chunk, slots: tuple[str, str, str], names: State, first: State, last: State, entry: str, latch: str) -> None:
        """The phis of a slot's number and of the state of later copies, for a loop that ends in block ``latch``: name, first and next value."""
        types = [*(llvm_type(v.type.elem) for v in (self.body.args[0], *self.args)), "i32", *self.tables.types()]
        named, begin, end = ([*s.scalars, slot, *self.tables.flat(s.tables)] for s, slot in zip((names, first, last), slots, strict=True))
        phis(hole, types, named, (entry, begin), (latch, end))

    def order(self, leave: Callable[[], None]) -> Sequence[Op | Callable[[], None]] | None:
        """What the loop's body is emitted as, operations and what stands between them; None for its operations in their own order."""
        if self.overlap is not None:
            return self.overlap.order(leave)
        return None if self.chained is None else self.chained.chain.order(self.body)

    def open(self) -> None:
        """In the loop's header: names for its phis."""
        self._open_slots()
        self.names = self._names()
        self.hole = self.g.w.hole()

    def _open_slots(self) -> None:
        """Names for the numbers of this iteration's slot and the next one's, and for the phases of their barriers."""
        fresh = self.g.w.fresh
        self.slot, self.next_slot = fresh("slot"), fresh("slot")
        self.phases, self.next_phases = fresh("phases"), fresh("phases")

    def body_begins(self) -> None:
        """Waits for this iteration's data and starts the copies of a later one."""
        g = self.g
        for m in self.moves:
            slot = self.slot_of(m, self.slot)
            g.ring |= dict.fromkeys((m.load.result, m.operand, *m.others), slot)
        g.unread.update(self.unread)
        if self.overlap is not None:
            return
        if self.chained is not None:
            self.chained.body_begins()
            return
        # No fence.proxy.async here: it would wait for the copies of later iterations too, and cp.async does not need it (the wait and
        # the barrier order what it wrote before the reads of wgmma).  What is stored from registers has one (`wgmma.stage`).
        if self.threads:
            g.assembly(f"cp.async.wait_group {self.stages - 2};", "", "void", [])
        if self.barriers is not None:
            self.barriers.wait(self.slot, self.phases)
        if self.together or self.moves and (self.dot is None or self.turned):
            g.barrier()
        if self.dot is None:
            self._refill()
        else:
            adds = g.emit(f"icmp ne {self.type} {g.scalar(self.body.args[0])}, {self.begin}") if self.once else ""
            g.in_flight[self.dot] = Flight(self._behind_dot, held=self.named, adds=adds)
        for c in self.own:
            g.own_copies[c.load] = partial(c.read, self._slot(c.load.result, c.bytes, self.slot))

    def _refill(self) -> None:
        """Starts the copies into the slot that the iteration before has left."""
        if not self.complete:
            self.last = self.copies(self.names, self.left())
            return
        self.last = self.names
        if self.threads:
            self.g.assembly("cp.async.commit_group;", "", "void", [])  # an empty one: the groups are counted

    def left(self, ago: int = 1) -> str:
        """The slot that the iteration before has left, or one ``ago``."""
        g = self.g
        wraps = g.emit(f"icmp ult i32 {self.slot}, {ago}")
        return g.emit(
            f"select i1 {wraps}, i32 {g.emit(f'add i32 {self.slot}, {self.stages - ago}')}, i32 {g.emit(f'sub i32 {self.slot}, {ago}')}"
        )

    def following(self) -> str:
        """The slot of the next iteration."""
        g = self.g
        after = g.emit(f"add i32 {self.slot}, 1")
        return g.emit(f"select i1 {g.emit(f'icmp eq i32 {after}, {self.stages}')}, i32 0, i32 {after}")

    def slot_of(self, move: Move, number: str) -> Slot:
        """Slot ``number``, a text or a constant, of the ring that ``move`` copies into."""
        return self._slot(move.operand, move.form.bytes, number)

    def _behind_dot(self, made: list[str]) -> list[str]:
        """Behind this iteration's instructions: starts copies into the slot of the last iteration's, once all warps are done with those.

        Those of a dot with A from registers are done: it is waited for in its own iteration, because the next one writes A's registers.
        """
        if not self.turned:
            self._wait_for_last()
        self._refill()
        if self.turned:
            self.g.assembly("wgmma.wait_group.sync.aligned 0;", "", "void", [])
        return made

    def _wait_for_last(self) -> None:
        """Until all warps are done with the last iteration's instructions."""
        self.g.assembly("wgmma.wait_group.sync.aligned 1;", "", "void", [])
        self.g.barrier()

    def close(self, entry: str, latch: str) -> None:
        """At the end of the body, before its branch back: ``latch`` is its last block."""
        self._phis(self.hole, (self.slot, "0", self.next_slot), self.names, self.first, self.last, entry, latch)
        if self.overlap is not None or self.barriers is not None:
            first = "0" if self.barriers is None else self.first_phases
            phis(self.hole, ["i32"], [self.phases], (entry, [first]), (latch, [self.next_phases]))
        if self.overlap is None:  # else the last iteration's second product is still to come
            self.leave()

    def leave(self) -> None:
        """The loop's body is written."""
        g = self.g
        for v in {x for m in self.moves for x in (m.load.result, m.operand, *m.others)}:
            del g.ring[v]
        for c in self.own:
            del g.own_copies[c.load]
        g.unread.difference_update(self.unread)

    def advance(self) -> None:
        g = self.g
        after = g.emit(f"add i32 {self.slot}, 1")
        around = g.emit(f"icmp eq i32 {after}, {self.stages}")
        g.w.put(f"{self.next_slot} = select i1 {around}, i32 0, i32 {after}")
        if self.overlap is not None:
            g.w.put(f"{self.next_phases} = xor i32 {self.phases}, {g.emit(f'zext i1 {around} to i32')}")
        if self.barriers is not None:
            g.w.put(f"{self.next_phases} = xor i32 {self.phases}, {g.emit(f'shl i32 1, {self.slot}')}")

    def finish(self) -> None:
        """Behind the loop, its results defined: nothing is in flight any more."""
        g = self.g
        self.wait_for_all()
        if self.dot is not None and self.held is not None and self.named is not None:
            del g.in_flight[self.dot]
            result = self.loop.results[self.held.index - 1]
            g.define(result, self.named.values(g), g.homes[result])
        if self.overlap is not None and self.held is not None:
            result = self.loop.results[self.held.index - 1]
            g.define(result, self.overlap.result(), g.homes[result])
        if self.chained is not None:
            result = self.loop.results[self.chained.finish().index - 1]
            home = g.homes[result]
            g.define(result, wgmma.waited(g, g.get(result, home), result.type.elem), home)

    def wait_for_all(self) -> None:
        """Until no copy of the loop's is on its way."""
        if self.threads:
            self.g.assembly("cp.async.wait_group 0;", "", "void", [])

    def _slot(self, v: Value, size: int, number: str) -> Slot:
        """A slot of ``size`` bytes of the ring that ``v`` is copied to, its number a text or a constant."""
        begin = self.rings[v]
        return Slot(begin + int(number) * size) if number.isdigit() else Slot(begin, number, size)

    def copies(
        self,
        state: State,
        slot: str,
        moves: list[Move] | None = None,
        commit: bool = True,
        before: Chunk | None = None,
        advance: bool = True,
        ready: Callable[[], None] = lambda: None,
    ) -> State:
        """Copies of the iteration that ``state`` belongs to, all or those of ``moves``; the state after it.

        ``commit``: whether they end a group of copies; ``before``: as in `Scope`; ``advance``: whether tables are read for the state after it.
        ``ready``: waits until the slot may be written, once addresses are computed.
        """
        g = self.g
        with self._iteration(state.scalars, state.tables[0] if state.tables else {}, before) as inside:
            runs = inside()
            wanted = self.moves if moves is None else moves
            asked = [(m.source, address(g, self.slot_of(m, slot))) for m in wanted if m.source is not None]
            pieces = [
                piece
                for m in wanted
                if m.source is None
                for piece in shared_pieces(g, m.load, m.operand, m.form, self.slot_of(m, slot), runs)
            ]
            ready()
            if self.barriers is not None:
                self.barriers.ask(slot, self._asker(slot, runs), asked)
            elif self.overlap is not None:
                self.overlap.ask(runs, asked)
            if self.threads:
                for piece in pieces:
                    async_copy(g, *piece)
                for c in self.own:
                    c.start(self._slot(c.load.result, c.bytes, slot), runs)
                if commit:
                    g.assembly("cp.async.commit_group;", "", "void", [])
            after = self._after(state.scalars)
        return State(after, self._tables_after(after, state.tables, before) if advance else state.tables)

    def _asker(self, slot: str, runs: str) -> str:
        """i1: this is the thread that asks the accelerator for copies into ``slot``, and ``runs`` holds."""
        return self.g.emit(f"and i1 {leader(self.g)}, {runs}")

    @contextmanager
    def _iteration(self, scalars: list[str], numbers: Numbers, before: Chunk | None) -> Iterator[Callable[[], str]]:
        """A part of the text that belongs to the iteration of ``scalars``, its tables in ``numbers``; gives what tells whether it takes place."""
        g = self.g
        inside = cache(lambda: self.inside(scalars[0]))
        g.scopes.append(Scope(self.body, before, ahead=True))
        with self.tables.of(numbers, inside):
            for v, text in zip([self.body.args[0], *self.args], scalars, strict=True):
                g.define(v, [text])
            for op in self.scalars:
                self.emit_op(g, op)
            yield inside
        g.scopes.pop()

    def _after(self, scalars: list[str]) -> list[str]:
        """The scalars of the iteration after the one that the text belongs to."""
        return [self.g.emit(f"add {self.type} {scalars[0]}, {self.step}"), *(self.g.scalar(e) for e in self.ends)]

    def _tables_after(self, scalars: list[str], tables: list[Numbers], before: Chunk | None) -> list[Numbers]:
        """``tables`` an iteration on, where the scalars are ``scalars``: the last one's are asked for here."""
        left = [*tables[1:], {}] if tables else []
        for n, numbers in enumerate(left):
            with self._iteration(scalars, numbers, before):
                self.tables.read()
                scalars = self._after(scalars) if n + 1 < len(left) else scalars
        return left
