"""Rings that go on from tile to tile: persistent kernels, whose loop over tiles holds the loop whose copies run ahead.

    for tile in tl.range(first, tiles, programs, flatten=True):
        row, column = …                              of scalars
        for k in …:
            acc = dot(load …, load …, acc)
        store …                                      while copies of the next tile are on their way

The copies run ahead over pairs of a tile and an iteration, through the same ring of s slots.  A slot is free once the dot behind the one
that read it has begun; the last one of a tile once the tile is multiplied, so that all s slots are filled while it is stored (s = 3):

    dots               (0, 0) (0, 1) (0, 2) (0, 3)         store  (1, 0) (1, 1) …
    copies    … (0, 2)        (0, 3) (1, 0) (1, 1)  (1, 2)               (1, 3) …

So the copies have a place of their own in both loops, the *state*: the next iteration of their tile, what that carries, the number of the tile.
It is carried by the inner loop and by the outer one.  In front of each group of copies it is asked whether that iteration takes place; where
it does not, the tile's scalars are computed for the next tile that has an iteration (`_Producer.advance`).  What copies need of their tile,
coordinates or each thread's addresses, is computed there, once for a tile, and carried along.

What copies need of their tile must follow from the outer loop's own scalars by arithmetic and from numbers that are loaded, such as the
expert that a tile belongs to and its rows; and the program must allow that the loads of a tile come before the stores of the last one: it says so by
``flatten=True`` or ``warp_specialize=True``.  Tiles without iterations have no copies; any number of iterations is right, a different one for
each tile, too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ...ir import Effect, Op, Value
from ...ir.rewrite import const_value
from ..text import Chunk, phis
from .chain import chain
from .memory import load_in
from .pipeline import Ahead, Pipeline, Slice, known_ahead, what_runs_ahead
from .placement import Placement
from .tables import Numbers, State
from .values import LAZY, Generator, Scope, llvm_type
from .warpgroups import Departures
from .wgmma import ROWS

__all__ = ["OverTiles", "plan"]

Emit = Callable[[Generator, Op], None]


def plan(g: Generator, outer: Op) -> OverTiles | None:
    """The ring of the one loop with dots in ``outer``, a loop over tiles, that goes on from tile to tile; None where there is none."""
    if not g.means.over_tiles or not (outer.attrs["flatten"] or outer.attrs["warp_specialize"]):
        return None
    body = outer.blocks[0]
    loops = [op for op in body.ops if op.blocks and any(o.name == "dot" for o in op.blocks[0].walk())]
    if (
        len(loops) != 1
        or loops[0].name != "for"
        or any(op.defn.effects & Effect.SYNC or op.name.startswith("atomic") for op in body.walk())
    ):
        return None
    (loop,) = loops
    step = const_value(loop.operands[2])
    ahead = what_runs_ahead(g, loop)
    if step is None or step <= 0 or ahead is None or any(op.name == "load" for op in ahead.used.ops):
        return None
    if g.means.spare_over_tiles:
        ahead = replace(ahead, stages=ahead.stages - g.means.spare_over_tiles)
        if ahead.stages < 3:
            return None
    if any(m.source is None and _only_base_moves(m.load, loop) for m in ahead.moves):
        return None
    if chain(g, loop.blocks[0], {m.operand for m in ahead.moves}) is not None:
        return None  # its copies are of two iterations
    inits = loop.rest()
    known = known_ahead(g, [*_asked_of_tile(ahead, loop), *loop.operands[:2], *(inits[i] for i in ahead.used.carried)], body, loads=True)
    return None if known is None else OverTiles(g, outer, loop, ahead, known)


def _only_base_moves(load: Op, loop: Op) -> bool:
    """Whether the loop moves a load's pointers by one number alone, as where it carries them.

    A loop for itself computes each thread's 64-bit part in front, and one addition of registers all threads share is left for a copy.  Here the
    part would be 32 bits wide and be widened for each copy, beside the product, which takes the registers' bandwidth: a tenth of the speed.
    """
    op = load.operands[0].op if load.operands[0] is not None else None
    return op is not None and op.name == "addptr" and not loop.blocks[0].defines(op.operands[1])  # type: ignore[arg-type]


def _asked_of_tile(ahead: Ahead, loop: Op) -> list[Value]:
    """What of outside of ``loop`` its copies are computed from."""
    body = loop.blocks[0]
    ends = body.terminator.operands
    used = [x for m in ahead.moves for x in m.roots()] + [x for c in ahead.own for x in c.load.operands[:2] if x is not None]
    used += [x for op in ahead.used.ops for x in op.operands if x is not None] + [ends[i] for i in ahead.used.carried]
    return [x for x in dict.fromkeys(used) if not body.defines(x)]


@dataclass
class _Place:
    """Where the copies are, as texts: of the next iteration ``scalars`` (its number and what it carries), the first one of its tile and how
    many numbers lie between that and the last, ``tile``, what the tile after it is given (``given``), and whether there is a tile at all.
    """

    scalars: list[str]
    first: str
    length: str
    tile: str
    given: list[str]
    there: str

    def flat(self) -> list[str]:
        return [*self.scalars, self.first, self.length, self.tile, *self.given, self.there]


@dataclass
class _OfTile:
    """Registers that copies need of their tile: where they are computed, where they are joined with those of the last tile, and the phis of
    the loop that carries them, in the order in which they were asked for."""

    types: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)


class OverTiles(Pipeline):
    """Emits the copies of ``loop``, and what the loop ``outer`` around it carries for them.  Used by `control.for_` for both."""

    def __init__(self, g: Generator, outer: Op, loop: Op, ahead: Ahead, known: Slice):
        super().__init__(g, loop, ahead, outer)
        self.outer, self.around = outer, outer.blocks[0]
        self.once = False
        g.rings_over_tiles += 1
        self.tile_args = [self.around.args[1 + i] for i in sorted(known.carried)]
        self.tile_inits = [outer.rest()[i] for i in sorted(known.carried)]
        self.tile_ends = [self.around.terminator.operands[i] for i in sorted(known.carried)]
        self.tile_scalars = [op for op in self.around.ops if op in known.ops and op.results[0].type.is_scalar]
        # Tiles that the outer loop keeps in registers, for its own iteration, are computed anew where copies need them.
        self.anew = [r for op in known.ops for r in op.results if not r.type.is_scalar and not g.is_lazy(r)]
        self.carried_inits = [loop.rest()[i] for i in sorted(ahead.used.carried)]
        self.unsigned = bool(loop.attrs["unsigned"])
        # Copies that threads make take instructions, for which there is time beside a product, not behind it.
        self.early = not self.threads
        self.departures = Departures(g, self.stages) if self._may_part() else None

    def _may_part(self) -> bool:
        """Whether its two warpgroups, each with half of the rows, may go on alone."""
        if self.dot is None or self.turned or self.threads or self.g.num_warps != 8 or self.barriers is None or self.barriers.again:
            return False
        return self.dot.result.type.shape[0] >= 2 * ROWS

    # --- the outer loop ---

    def start_tiles(self, lb: str, step: str, inside: Callable[[str], str], emit: Emit) -> None:
        """In front of the outer loop: the copies of the first pairs.  ``inside(i)``: whether a tile's iteration takes place."""
        g = self.g
        self.tile_step, self.tile_inside, self.emit_op = step, inside, emit
        self.type, self.tile_type = (llvm_type(b.args[0].type.elem) for b in (self.body, self.around))
        self.step = str(const_value(self.loop.operands[2]))
        self.types = [*(llvm_type(v.type.elem) for v in (self.body.args[0], *self.args)), self.type, self.type, self.tile_type]
        self.types += [*(llvm_type(v.type.elem) for v in self.tile_args), "i1"]
        if self.departures is not None:
            self.departures.clear()
            if g.bulk_stores:  # from here on a warpgroup waits for its own alone
                g.assembly("cp.async.bulk.wait_group.read 0;", "", "void", [])
        if self.barriers is not None:
            self.before_phases = self.barriers.begin()
        else:
            g.reclaim()
        nothing = [_nothing(t) for t in self.types[: 1 + len(self.args)]]
        before_first = g.emit(f"sub {self.tile_type} {lb}, {step}")
        first = _Place(nothing, "0", "0", before_first, [g.scalar(v) for v in self.tile_inits], "false")
        with self._filling(self.stages - (not self.early)) as fill:
            here, hole = self._named(), g.w.hole()
            self.first_producer = _Producer(self, fill.before)
            self.filled = last = self.first_producer.ask(here, fill.slot)
        entry, latch = (fill.entry, [*first.flat(), "0"]), (fill.latch, [*last.flat(), fill.next_slot])
        phis(hole, [*self.types, "i32"], [*here.flat(), fill.slot], entry, latch)
        of_tile = self.first_producer.of_tile
        phis(hole, of_tile.types, of_tile.carried, (fill.entry, [_nothing(t) for t in of_tile.types]), (fill.latch, of_tile.joined))
        if self.departures is not None and self.barriers is not None:
            self.barriers.wait(str(self.stages - 1), self.before_phases, self._second_of_many(lb, step, last.there))
            g.alone = True

    def _second_of_many(self, lb: str, step: str, full: str) -> str:
        """i1: this is the second warpgroup, which begins when the ring is ``full``; with fewer than three tiles waiting does not pay."""
        g, t = self.g, self.tile_type
        third = g.emit(f"add {t} {lb}, {g.emit(f'shl {t} {step}, 1')}")
        many = g.emit(f"and i1 {full}, {self.tile_inside(third)}")
        return g.emit(f"and i1 {g.emit(f'icmp ne i32 {g.warpgroup()}, 0')}, {many}")

    def open_tiles(self) -> None:
        """In the outer loop's header: names for its phis."""
        g = self.g
        self.tiles = self._named()
        self.tiles_slot, self.first_phases = g.w.fresh("slot"), g.w.fresh("phases")
        self.tiles_hole = g.w.hole()

    def close_tiles(self, entry: str, latch: str) -> None:
        """At the end of the outer loop's body, whose last block is ``latch``."""
        phis(self.tiles_hole, self.types, self.tiles.flat(), (entry, self.filled.flat()), (latch, self.behind.flat()))
        before, of_tile = self.first_producer.of_tile, self.feeding.of_tile
        assert before.types == of_tile.types, "copies in different places need different registers of their tile"
        phis(self.tiles_hole, of_tile.types, self.tiles_registers, (entry, before.joined), (latch, self.registers_behind))
        phis(self.tiles_hole, ["i32"], [self.tiles_slot], (entry, ["0"]), (latch, [self.slot]))
        if self.barriers is not None:
            phis(self.tiles_hole, ["i32"], [self.first_phases], (entry, [self.before_phases]), (latch, [self.phases]))

    def finish_tiles(self) -> None:
        """Behind the outer loop: all tiles are copied, and what conditions have made zeros of is on its way at most."""
        self.g.alone = False
        if self.threads:
            self.g.assembly("cp.async.wait_group 0;", "", "void", [])

    # --- the inner loop, instead of `Pipeline`'s ---

    def start(self, lb: str, step: str, later: Callable[[], Callable[[str], str]], emit: Emit) -> None:
        """In front of the inner loop: its first copies are on their way."""
        self.begin = lb

    def open(self) -> None:
        self._open_slots()
        self.place = self._named()
        self.hole = self.g.w.hole()

    def _refill(self, ready: Callable[[], None] = lambda: None) -> None:
        """Copies into the slot that this tile's last iteration has left, once that is ``ready``; behind its first iteration there is none."""
        self.number = self.g.scalar(self.body.args[0])
        self.feeding = _Producer(self, None)
        if not self.early:
            self.next_place = self.feeding.ask(self.place, self.left(), ready)
            self.next_registers = self.feeding.of_tile.joined
            return
        self.next_place, self.next_registers = self._unless_first(self.feeding, self.feeding.of_tile.carried, ready)

    def _behind_dot(self, made: list[str]) -> list[str]:
        """As `Pipeline._behind_dot`; addresses are computed in front of the waiting.

        But where A comes from registers: behind the end of a block the assembler gives them to others while they are still multiplied.
        """
        if self.turned:
            self.g.assembly("wgmma.wait_group.sync.aligned 0;", "", "void", [])
            self._refill()
        else:
            self._refill(self._wait_for_last)
        return made

    def close(self, entry: str, latch: str) -> None:
        g = self.g
        phis(self.hole, self.types, self.place.flat(), (entry, self.tiles.flat()), (latch, self.next_place.flat()))
        of_tile = self.feeding.of_tile
        self.tiles_registers = [g.w.fresh("tile") for _ in of_tile.types]
        phis(self.hole, of_tile.types, of_tile.carried, (entry, self.tiles_registers), (latch, self.next_registers))
        phis(self.hole, ["i32"], [self.slot], (entry, [self.tiles_slot]), (latch, [self.next_slot]))
        if self.barriers is not None:
            phis(self.hole, ["i32"], [self.phases], (entry, [self.first_phases]), (latch, [self.next_phases]))
        self.leave()

    def finish(self) -> None:
        """Behind the inner loop: its results, and the copies into the slot of its last iteration."""
        super().finish()
        carried = self.feeding.of_tile.carried
        if not self.early:
            self.behind, self.registers_behind = self.place, carried
            return
        ready = self.g.barrier if self.departures is None else lambda: None
        self.behind, self.registers_behind = self._unless_first(_Producer(self, None, carried), carried, ready)

    def _unless_first(self, producer: _Producer, registers: list[str], ready: Callable[[], None]) -> tuple[_Place, list[str]]:
        """The next copies, from the inner loop's place on, into the slot before its own, unless that is its first one.

        Gives the place then, and the registers that belong to the tile; those of now are ``registers``, a list that may grow.
        """
        g = self.g
        unordered = g.unordered
        here, free, passed = g.w.label, g.w.new_label("free"), g.w.new_label("passed")
        g.w.cond_br(g.emit(f"icmp ne {self.type} {self.number}, {self.begin}"), free, passed)
        g.w.open_block(free)
        after = producer.ask(self.place, self.left(), ready)
        g.unordered |= unordered  # there may have been no barrier
        end = g.w.label
        g.w.br(passed)
        g.w.open_block(passed)
        place, joined = self._named(), producer.of_tile.joined
        names = [g.w.fresh("tile") for _ in joined]
        hole = g.w.hole()
        phis(hole, self.types, place.flat(), (here, self.place.flat()), (end, after.flat()))
        phis(hole, producer.of_tile.types, names, (here, registers), (end, joined))
        return place, names

    def wait_for_all(self) -> None:
        """Behind the inner loop: the copies of the next tile stay in flight."""

    # --- copies ---

    def _wait_for_last(self) -> None:
        if self.departures is None:
            super()._wait_for_last()
        else:
            self.g.assembly("wgmma.wait_group.sync.aligned 1;", "", "void", [])

    def _asker(self, slot: str, runs: str) -> str:
        if self.departures is None or not self.g.alone:
            return super()._asker(slot, runs)
        return self.g.emit(f"and i1 {self.departures.last(slot)}, {runs}")

    def _named(self) -> _Place:
        """New names for a place."""
        fresh = self.g.w.fresh
        scalars, given = ([fresh("ahead") for _ in range(n)] for n in (1 + len(self.args), len(self.tile_args)))
        return _Place(scalars, fresh("first"), fresh("length"), fresh("tile"), given, fresh("there"))

    @contextmanager
    def _iteration(self, scalars: list[str], numbers: Numbers, before: Chunk | None) -> Iterator[Callable[[], str]]:
        self.g.scopes.append(self.scope)
        with super()._iteration(scalars, numbers, before):
            yield lambda: self.runs
        self.g.scopes.pop()

    def copies_at(self, place: _Place, slot: str, scope: Scope, ready: Callable[[], None]) -> list[str]:
        """Copies of the iteration at ``place``, whose tile is known by ``scope``; the scalars of the iteration behind it."""
        self.scope, self.runs = scope, place.there
        return self.copies(State(place.scalars), slot, ready=ready).scalars


class _Producer:
    """The text at one place of the kernel that moves on to the pair of tile and iteration that is copied next, and copies it."""

    def __init__(self, ring: OverTiles, before: Chunk | None, carried: list[str] | None = None):
        """``before``: where the text stands that does not depend on tiles (as in `Scope`); ``carried``: the names that registers of the tile
        have where the place begins (None: names of its own, which the caller defines).
        """
        self.ring, self.g, self.before, self.carried = ring, ring.g, before, carried
        self.of_tile = _OfTile()

    def ask(self, at: _Place, slot: str, ready: Callable[[], None] = lambda: None) -> _Place:
        """Copies, into ``slot`` once that is ``ready``, of the first iteration from ``at`` on; the place behind it."""
        there = self.advance(at)
        scope = Scope(self.ring.around, self.before, ahead=True, supply=self._supplied)
        there.scalars = self.ring.copies_at(there, slot, scope, ready)
        return there

    def advance(self, at: _Place) -> _Place:
        """The first iteration from ``at`` on that takes place.

        here    does it take place in its tile?   yes: joined
        next    is there another tile?            no: joined, nothing is there
        tile    its scalars.  Has it iterations?  no: next
        joined
        """
        g, ring = self.g, self.ring
        here = g.w.label
        following, tile, joined = (g.w.new_label(s) for s in ("next", "tile", "joined"))
        far = g.emit(f"sub {ring.type} {at.scalars[0]}, {at.first}")
        runs = g.emit(f"and i1 {at.there}, {g.emit(f'icmp ult {ring.type} {far}, {at.length}')}")
        g.w.cond_br(runs, joined, following)

        g.w.open_block(following)
        number, given = g.w.fresh("tile"), [g.w.fresh("ahead") for _ in ring.tile_args]
        looking = g.w.hole()
        number_after = g.emit(f"add {ring.tile_type} {number}, {ring.tile_step}")
        g.w.cond_br(ring.tile_inside(number_after), tile, joined)

        g.w.open_block(tile)
        new = self._tile(number_after, given)
        self.inside_tile, computed = g.w.hole(), g.w.label
        g.w.cond_br(g.emit(f"icmp ne {ring.type} {new.length}, 0"), joined, following)

        at_tile = len(ring.args) + 3
        phis(looking, ring.types[at_tile:-1], [number, *given], (here, [at.tile, *at.given]), (computed, [new.tile, *new.given]))
        g.w.open_block(joined)
        out = ring._named()
        # Where no tile is left nobody asks for the rest: so a register holds it from its computation on, and none is moved.
        same, none = replace(at, there="true"), _Place(["undef"] * len(at.scalars), "undef", "undef", number, given, "false")
        self.join = g.w.hole()
        phis(self.join, ring.types, out.flat(), (here, same.flat()), (following, none.flat()), (computed, new.flat()))
        self.sources = here, following, computed
        return out

    def _tile(self, number: str, given: list[str]) -> _Place:
        """The first iteration of a tile, whose scalars are computed here."""
        g, ring = self.g, self.ring
        self.tile_scope = Scope(ring.around, self.before, ahead=True)
        g.scopes.append(self.tile_scope)
        begin = len(g.w.cur)
        for v, text in zip([ring.around.args[0], *ring.tile_args], [number, *given], strict=True):
            g.define(v, [text])
        for op in ring.tile_scalars:
            ring.emit_op(g, op)
        first, end = (g.scalar(v) for v in ring.loop.operands[:2])
        larger = g.call(f"llvm.{'u' if ring.unsigned else 's'}max.{ring.type}", ring.type, (ring.type, end), (ring.type, first))
        length = larger if first == "0" else g.emit(f"sub {ring.type} {larger}, {first}")
        scalars = [first, *(g.scalar(v) for v in ring.carried_inits)]
        after = [g.scalar(v) for v in ring.tile_ends]
        self.tile_names = {number, *given} | _defined(g.w.cur[begin:])
        self.tile_scopes = list(g.scopes)
        g.scopes.pop()
        return _Place(scalars, first, length, number, after, "true")

    def _supplied(self, v: Value, place: Hashable) -> list[str]:
        """The registers of ``v``, which the outer loop's body computes, for the tile that is copied now."""
        g, known = self.g, self.of_tile
        scopes, here, before = g.scopes, g.w.cur, g.read_ahead
        g.scopes, g.w.cur = self.tile_scopes, self.inside_tile
        g.read_ahead = {x: partial(self._anew, x) for x in self.ring.anew}
        try:
            got = g.get(v, place)  # type: ignore[arg-type]
        finally:
            g.scopes, g.w.cur, g.read_ahead = scopes, here, before
        computed = self.tile_names | _defined(self.inside_tile)
        out = []
        for x in got:
            if x in computed and x not in known.made:
                t = llvm_type(v.type.elem)
                joined = g.w.fresh("tile")
                carried = g.w.fresh("tile") if self.carried is None else self.carried[len(known.carried)]
                phis(self.join, [t], [joined], *((label, [y]) for label, y in zip(self.sources, (carried, "undef", x), strict=True)))
                for column, y in zip((known.types, known.made, known.joined, known.carried), (t, x, joined, carried), strict=True):
                    column.append(y)
            out.append(known.joined[known.made.index(x)] if x in computed else x)
        scope = next(s for s in reversed(scopes) if s.supply == self._supplied)
        scope.values[v, place] = out
        return out

    def _anew(self, v: Value, place: Placement | None) -> list[str]:
        """A tile that is loaded, or computed from such, in ``place``, for the tile that is copied now."""
        assert v.op is not None and place is not None
        row = load_in if v.op.name == "load" else LAZY["elementwise"]
        got = row(self.g, v.op, place)
        self.g.define(v, got, place)
        return got


def _defined(chunk: Chunk) -> set[str]:
    """The names that the lines of ``chunk`` give."""
    lines = (_defined(x) if isinstance(x, list) else {x.split(" = ", 1)[0].strip()} for x in chunk)
    return set().union(*lines)


def _nothing(t: str) -> str:
    """A value of LLVM's type ``t`` that nobody asks for."""
    return "null" if t.startswith("ptr") else "false" if t == "i1" else "0.0" if t in ("half", "bfloat", "float", "double") else "0"
