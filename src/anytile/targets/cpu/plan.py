"""What is computed where: steps, fusion groups and buffers.

A tile value is *virtual* (recomputed at each index where a nest needs it) or *buffered* (computed once into
memory).  This file decides which, block by block, in two sweeps:

forward   Side effects and reductions are *roots*.  Consecutive roots over one index space that do not depend
          on each other's results share a nest: a fusion group.  Everything else that must happen at a place
          (scalar operations, dots, scans, loops) is a step of its own, in program order.
backward  From the last op to the first, each tile value learns which steps evaluate it.  It gets a buffer if
          something needs it in memory (dot operands, gather sources), if a write to memory lies between a
          load and a later use, or if several steps would repeat expensive work; the buffer is filled by the
          first of those steps when the shapes agree, else by a nest of its own.

Loop-carried tiles live in one *home* buffer per position, and a yielded value that is buffered anyway is
computed into the home directly when nothing reads the old value afterwards (`Planner.coalesce`).

Program order between accesses to memory holds: a load that a later step would evaluate after a write gets its
buffer before that write.  Where the writes in question are of single elements (a norm's mean, stored before the row
is normalised) or those of a loop that go where they can be computed, and the load is a contiguous row, the buffer is only for the case
that they meet: a `Guard` asks at run time.
Inside one nest, lanes of accesses that may meet in memory (`alias`) are kept apart: the
load is buffered by a nest of its own in front, two such stores do not share a nest.

The tiles that a loop carries from one iteration to the next are computed in the body's last nest where that is
possible: it mostly reads what they need (a norm's backward stores one row and adds to the gradient of the weights).
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Block, Effect, Op, Value
from .alias import Dims, meet
from .forward import Forward, Group, Guard, Single, Step
from .guard import comparable_stores
from .interleave import interleaves
from .shape import is_linear, map_dims, steps

__all__ = ["BlockPlan", "Planner"]

VECTOR = 16  # elements that the longest vectors have, or more
CHEAP = 4  # evaluating a value again costs at most this many vector instructions: not worth a buffer
REQUESTED = 1 << 17  # bytes of a product whose lines are requested before its dots: what the second-level cache has room for
_COST = {"fdiv": 4, "sqrt": 4, "sdiv": 8, "udiv": 8, "srem": 9, "urem": 9, "frem": 16, "sin": 25, "cos": 25}
_FREE = ("splat", "broadcast", "expand_dims", "permute", "reshape", "constant", "arange", "hint", "addptr")


@dataclass(eq=False)
class BlockPlan:
    steps: list[Step]


class Planner:
    """Plans a whole function; ``plans[block]`` and ``buffered`` are the result."""

    def __init__(self) -> None:
        self.plans: dict[Block, BlockPlan] = {}
        self.buffered: set[Value] = set()
        self.needed: set[Value] = set()  # must be in memory whatever the cost
        self.steps_of: dict[Value, set[Step]] = {}
        self.home: dict[Value, Value] = {}  # buffered value → carried block argument whose home it is computed into
        self._forwards: dict[Block, Forward] = {}
        self._costs: dict[Value, int] = {}
        self._filler: dict[Value, Group] = {}  # buffered value → the nest that writes it

    # --- entry ---

    def plan(self, block: Block) -> None:
        for op in block.walk():
            self._demand(op)
        self._block(block)

    def _demand(self, op: Op) -> None:
        if op.name == "dot":
            self.needed.update(v for v in op.operands[:2])
        elif op.name == "gather":
            self.needed.add(op.operands[0])
        if op.name in ("dot", "reduce", "scan", "sort", "histogram", "for", "while", "if", "atomic_rmw", "atomic_cas", "inline_asm"):
            self.buffered.update(r for r in op.results if r.type.rank)
        if op.name in ("for", "while"):
            for b in op.blocks:
                self.buffered.update(a for a in b.args if a.type.rank)

    def _block(self, block: Block) -> None:
        forward = self._forwards[block] = Forward(block)
        plan = BlockPlan(forward.steps)
        self.plans[block] = plan
        for s in plan.steps:
            if isinstance(s, Single):
                for b in s.op.blocks:
                    if s.op.name in ("for", "while", "if"):
                        self._block(b)
        self._backward(block, plan, forward)

    def before_dots(self, block: Block) -> list[tuple[Step, list[Value]]]:
        """The steps in order, each with the addresses of tiles that are stored right after it, if it is a loop of dots."""
        steps_, forward = self.plans[block].steps, self._forwards[block]
        out: list[tuple[Step, list[Value]]] = []
        for s, after in zip(steps_, [*steps_[1:], None]):
            rows: list[Value] = []
            if isinstance(s, Single) and s.op.name == "for" and isinstance(after, Group) and any(o.name == "dot" for o in s.op.walk()):
                stored = [op.operands[0] for op in after.roots if op.name == "store" and op.operands[0].type.rank > 1]
                rows = [p for p in stored if forward.dependence(p) < s.key and steps(p, {})[-1] == 1 and _bytes(p) <= REQUESTED]
            out.append((s, rows))
        return out

    # --- backward sweep ---

    def _backward(self, block: Block, plan: BlockPlan, forward: Forward) -> None:
        extra: list[Group | Guard] = []  # nests that only fill buffers
        for pos in range(len(block.ops) - 1, -1, -1):
            op = block.ops[pos]
            for v in op.results:
                if v.type.rank:
                    self._decide(v, op, block, forward, extra)
        for a in block.args:
            if a.type.rank:
                self.steps_of[a] = self._users(a, block, forward)
        plan.steps += extra
        plan.steps.sort(key=lambda s: s.key)
        self._coalesce(block)

    def _users(self, v: Value, block: Block, forward: Forward) -> set[Step]:
        """The steps of ``block`` that evaluate ``v``."""
        out: set[Step] = set()
        for user, _ in v.uses:
            out |= self._steps_via(user, block, forward)
        return out

    def _steps_via(self, user: Op, block: Block, forward: Forward) -> set[Step]:
        if user.block is not block:  # inside a nested region: it counts where the region's op stands
            while user is not None and user.block is not block:
                user = user.parent_op()
            if user is None:
                return set()
        step = forward.step_of.get(user)
        if step is not None:
            return {step}
        out: set[Step] = set()
        for r in user.results:
            out |= self.steps_of.get(r, set()) if r not in self.buffered else self._filled_by(r)
        return out

    def _filled_by(self, v: Value) -> set[Step]:
        g = self._filler.get(v)
        return {g} if g is not None else set()

    def _decide(self, v: Value, op: Op, block: Block, forward: Forward, extra: list[Group]) -> None:
        steps = self._users(v, block, forward)
        self.steps_of[v] = steps
        if v in self.buffered or not steps and v not in self.needed:
            return
        ordered = sorted(steps, key=lambda s: s.key)
        repeated = len(steps) > 1 or any(isinstance(s, Single) and s.op.name in ("for", "while") for s in steps)
        hazards = self._hazards(op, forward, ordered) if op.name == "load" and ordered else []
        expensive = (repeated or self._rearranged(v) or self._spread(v, ordered)) and self.cost(v) > CHEAP
        expensive = expensive or len(steps) > 1 and self._for_several(v, forward, ordered)
        if hazards and v not in self.needed and not expensive and (guard := self._guard(v, forward, ordered, hazards)):
            extra.append(guard)
            self.steps_of[v] = {*steps, guard}
        elif v in self.needed or hazards or expensive:
            self._buffer(v, forward, ordered, extra, hazards)
        elif last := self._last_nest(v, block, forward, ordered):
            self._buffer(v, forward, [last, *ordered], extra, [])

    def _for_several(self, v: Value, forward: Forward, users: list[Step]) -> bool:
        """Whether a buffer of ``v`` does for those of several loads: they would need one each, and only ``v`` needs them."""
        loads: list[Op] = []
        inside, stack = {v.op}, [v]
        while stack:
            op = stack.pop().op
            for x in op.operands:
                if x is None or x.op is None or x.type.is_scalar or x in self.buffered or x.op in inside or x.op.block is not v.op.block:
                    continue
                inside.add(x.op)
                if x.op.name == "load":
                    loads.append(x.op)
                elif x.op.defn.elementwise and x.type.shape == v.type.shape:
                    stack.append(x)
        held = [op for op in loads if set(op.result.users()) <= inside and self._hazards(op, forward, users)]
        return len(held) > 1

    def _guard(self, v: Value, forward: Forward, users: list[Step], hazards: list[Step]) -> Guard | None:
        """What lets load ``v`` stay without a buffer, if that can be decided when it runs."""
        op = v.op
        if op.attrs["volatile"] or v.type.elem.is_bool or any(not isinstance(s, Single) for s in hazards):
            return None
        if steps(op.operands[0], {}) != (1,) or not is_linear(op.operands[0]):  # `steps` takes remainders for unbroken runs
            return None
        key = min((*hazards, *users), key=lambda s: s.key).key - 0.1
        stores: list[Op] = []
        for s in hazards:
            more = comparable_stores(s.op)
            known = forward.dependence(s.op.operands[0]) if s.op.name == "store" else forward.needs(s.op)
            if more is None or known >= key:
                return None
            stores += more
        return Guard(v, stores, key)

    def _last_nest(self, v: Value, block: Block, forward: Forward, users: list[Step]) -> Group | None:
        """The nest at the end of a loop's body in which ``v``, which the body yields, can be computed on the way."""
        end = forward.step_of.get(block.terminator)
        if users != [end] or block.terminator.name != "yield" or v not in block.terminator.operands:
            return None
        if not isinstance(block.parent, Op) or block.parent.name != "for":
            return None
        last = forward.trailing_group(before=end)
        fits = last is not None and last.shape == v.type.shape and last.axis is None and not last.scalar and bool(last.roots)
        return last if fits and forward.dependence(v) < last.key else None

    def _spread(self, v: Value, steps: list[Step]) -> bool:
        """An expensive low-rank value broadcast in a bigger nest would be recomputed along the other dimensions."""
        return any(isinstance(s, Group) and v.type.numel < _numel(s.shape) and not _pairs(v, s) for s in steps) and v.type.numel > 1

    def _rearranged(self, v: Value) -> bool:
        """Whether ``v`` is read at other indices than its user's: each stage of a sorting network would double the work."""
        for u in v.users():
            if u.name == "split":
                return True
            if (
                u.name == "reshape"
                and not _same_dims(v.type.shape, u.result.type.shape)
                and not (self._stored_once(u) and self._computed(v))
            ):
                return True
        return False

    @staticmethod
    def _stored_once(reshape: Op) -> bool:
        """Whether each element is evaluated once, to be stored, and a vector of the store is one of the source."""
        if min(reshape.result.type.shape[-1], reshape.operands[0].type.shape[-1]) < VECTOR:
            return False
        stack, seen, stores = [reshape.result], {reshape.result}, set()
        while stack:
            for user in stack.pop().users():
                if user.name == "store":
                    stores.add(user)
                elif not user.defn.elementwise:
                    return False
                elif user.result not in seen:
                    seen.add(user.result)
                    stack.append(user.result)
        return len(stores) == 1

    def _computed(self, v: Value) -> bool:
        """Whether ``v`` is computed from buffers only: masks of loads would be looked at vector by vector under a reshape."""
        stack, seen = [v], {v}
        while stack:
            x = stack.pop()
            if x.type.is_scalar or x.op is None or x.op.name in ("constant", "arange") or x in self.needed or x in self.buffered:
                continue
            if x.type.numel < v.type.numel and self.cost(x) > CHEAP:
                continue  # gets a buffer
            if x.op.name == "load":
                return False
            if x.op.name == "reshape" and not _same_dims(x.type.shape, x.op.operands[0].type.shape):
                if self.cost(x) <= CHEAP:
                    return False
                continue
            fresh = [y for y in x.op.operands if y is not None and y not in seen]
            stack += fresh
            seen.update(fresh)
        return True

    def _hazards(self, op: Op, forward: Forward, steps: list[Step]) -> list[Step]:
        """Steps with writes which come after the load in program order and before it is evaluated for the last time.

        A group that evaluates the load and writes is among them where the two may meet inside its nest.
        """
        last = steps[-1]
        out: list[Step] = []
        for s in forward.writers_after(op):
            if s.key < last.key and s not in steps or isinstance(s, Single) and s in steps:
                out.append(s)
            elif s in steps and (s is not last or self._meets(op, s)):
                out.append(s)
        return out

    def _meets(self, load: Op, g: Group) -> bool:
        """Whether a store of nest ``g`` may write what ``load``, evaluated there too, reads at another index."""
        stores = [op for op in g.roots if op.defn.effects & Effect.WRITE]
        identity = tuple(range(len(g.shape)))
        seen: set[tuple[Value, Dims]] = set()
        stack = [(v, identity) for v in [*g.writes, *(x for op in g.roots for x in op.operands if x is not None)]]
        while stack:
            v, dims = stack.pop()
            if (v, dims) in seen or v.op is None or v.type.is_scalar:
                continue
            seen.add((v, dims))
            if v.op is load and any(meet(load.operands[0], dims, op.operands[0], identity) for op in stores):
                return True
            if v not in self.buffered or v in g.writes:
                stack += [(x, map_dims(v.op, x, v, dims)) for x in v.op.operands if x is not None]
        return False

    def _buffer(self, v: Value, forward: Forward, steps: list[Step], extra: list[Group], hazards: list[Step]) -> None:
        self.buffered.add(v)
        first = steps[0] if steps else None
        gathered = any(u.name == "gather" and u.operands[0] is v for u in v.users())  # all of it must be there before
        if isinstance(first, Group) and first.shape == v.type.shape and not first.scalar and not gathered:
            if not any(s.key < first.key or s is first and self._meets(v.op, first) for s in hazards):
                first.writes.insert(0, v)
                self._filler[v] = first
                self.steps_of[v] = set(steps)
                return
        before = min((*hazards, *steps), key=lambda s: s.key, default=None)
        if before is None:
            key = forward.key_of[v.op]
        else:  # still after the scalars in front of a group; a nest that feeds another extra nest goes just before that
            key = before.key - (1e-6 if before in extra else 0.1)
        g = Group(v.type.shape, key, writes=[v])
        extra.append(g)
        self._filler[v] = g

    # --- cost ---

    def cost(self, v: Value) -> int:
        """Vector instructions to evaluate ``v`` at one index, given what is buffered so far."""
        if v.type.is_scalar or v in self.buffered or v.op is None:
            return 0
        got = self._costs.get(v)
        if got is None:
            op = v.op
            own = 0 if op.name in _FREE else 1
            if op.name == "load" and not is_linear(op.operands[0]):
                own = 8
            own = _COST.get(op.name, own)
            got = own + sum(self.cost(x) for x in op.operands if x is not None and not _index_like(x))
            self._costs[v] = got = min(got, 1000)
        return got

    # --- carried values ---

    def _coalesce(self, block: Block) -> None:
        """Lets yielded buffered values be computed straight into the home of the carried value they replace."""
        parent = block.parent
        if not isinstance(parent, Op) or parent.name not in ("for", "while") or not block.terminator.name == "yield":
            return
        args = block.args[1:] if parent.name == "for" else block.args
        for a, v in zip(args, block.terminator.operands):
            if a.type.rank and self._replaces(v, a, block):
                self._settle(v, a)

    def _settle(self, v: Value, a: Value) -> None:
        """Puts ``v`` into the home of ``a``; where it comes from a branch, what the branches yield too, if they can."""
        self.home[v] = a
        assert v.op is not None
        for branch in v.op.blocks if v.op.name == "if" else ():
            mine = branch.terminator.operands[v.index]
            if mine is not a and self._replaces(mine, a, branch):
                self._settle(mine, a)

    def _replaces(self, v: Value, a: Value, block: Block) -> bool:
        """Whether ``v``, yielded by ``block``, can be computed into the home of ``a`` as nothing there reads ``a`` afterwards."""
        if v in self.home or v.op is None or v.op.block is not block or v not in self.buffered:
            return False
        if v.op.name in ("for", "while", "atomic_rmw", "atomic_cas", "scan", "sort", "reduce", "histogram", "inline_asm"):
            return False
        at = self._filled_at(v, block)
        if at is None:
            return False
        readers = self._users(a, block, self._forwards[block])
        yield_step = self._yield_step(block)
        if any(s.key > at.key and s is not yield_step for s in readers):
            return False
        if yield_step in readers and self._reads_in_yield(a, block):
            return False
        if v.op.name == "if":
            return True  # its branches read before they yield
        return at not in readers or self._reads_identically(a, at)

    def replaced_where_read(self, a: Value, v: Value, block: Block) -> bool:
        """Whether the carried tile ``a`` is read by one nest of ``block`` only, which puts ``v`` in its place, index by index."""
        at = self._filler.get(v)
        if self.home.get(v) is not a or at is None or self._users(a, block, self._forwards[block]) != {at}:
            return False
        return all(u.defn.elementwise and u.block is block for u in a.users()) and self._reads_identically(a, at)

    def _filled_at(self, v: Value, block: Block) -> Step | None:
        """The step that starts to overwrite ``v``'s buffer: its filler, the dot that accumulates into it, the branch that fills it."""
        if v.op.name in ("dot", "if"):
            return next((s for s in self.plans[block].steps if isinstance(s, Single) and s.op is v.op), None)
        return self._filler.get(v)

    def _yield_step(self, block: Block) -> Step | None:
        return next((s for s in self.plans[block].steps if isinstance(s, Single) and s.op is block.terminator), None)

    def _reads_in_yield(self, a: Value, block: Block) -> bool:
        """Whether some yielded value still evaluates ``a`` itself (not a buffer computed from it)."""
        seen: set[Value] = set()
        stack = [v for v in block.terminator.operands if v.type.rank and v not in self.buffered or v is a]
        while stack:
            v = stack.pop()
            if v is a:
                return True
            if v in seen or v.op is None or v.type.is_scalar or v in self.buffered:
                continue
            seen.add(v)
            stack += [x for x in v.op.operands if x is not None]
        return False

    def _reads_identically(self, a: Value, step: Step) -> bool:
        """Whether ``step`` reads ``a`` only at the very index that it is computing."""
        if isinstance(step, Group):
            roots = [v for v in step.writes] + [x for op in step.roots for x in op.operands if x is not None]
            if step.axis is not None:
                return False
        else:
            if step.op.name != "dot":
                return False
            if a in step.op.operands[:2]:
                return False
            roots = [step.op.operands[2]]
        seen: set[tuple[Value, bool]] = set()
        stack = [(v, True) for v in roots]
        while stack:
            v, same = stack.pop()
            if v is a and not same:
                return False
            if (v, same) in seen or v is a or v.op is None or v.type.is_scalar:
                continue
            seen.add((v, same))
            if v in self.buffered and not (isinstance(step, Group) and v in step.writes):
                continue
            stack += [(x, same and v.op.defn.elementwise) for x in v.op.operands if x is not None]
        return True


def _pairs(v: Value, g: Group) -> bool:
    """Whether ``g`` only writes a join of rows like ``v``, for which `interleave` evaluates each of their elements once."""
    join = g.writes[0] if len(g.writes) == 1 and not g.roots else None
    return join is not None and interleaves(join) and v.type.shape == join.type.shape[:-1]


def _bytes(p: Value) -> int:
    """Of the tile behind a tile of pointers."""
    return p.type.numel * p.type.elem.pointee.bytes  # type: ignore[attr-defined]


def _same_dims(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes differ in dimensions of size 1 only."""
    return [d for d in a if d > 1] == [d for d in b if d > 1]


def _numel(shape: tuple[int, ...]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def _index_like(v: Value) -> bool:
    """Index arithmetic costs nothing: it stays ramps and scalars."""
    return (v.type.elem.is_int or v.type.elem.is_ptr) and is_linear(v)
