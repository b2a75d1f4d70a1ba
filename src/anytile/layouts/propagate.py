"""Layout assignment: which value of a kernel has which layout, and what is converted.

Three kinds of values
---------------------
*Cheap* values are computed from scalars, constants and indices alone.  They have no layout: whoever wants one computes it in the
layout he works in, so that no conversion is ever made for an offset or a mask.

*Views* (splat, broadcast, expand_dims, reshape, permute, join, split) rename places.  Wanting a view in some layout means wanting
its operand in another, `before_view`.

All others have a *home*.  For dots it is given by the instruction, for reductions and scans it follows from the operand; the homes of
loads, arithmetic and carried values are to be chosen.

The choice
----------
First, everything follows its operands: loads are coalesced, arithmetic goes where its first operand is.  Then values that arithmetic
or loops tie together form *groups*.  A group is tried in each layout that a neighbour has or wants; the cost of the whole kernel (each
conversion by `convert.estimate`, each access by its memory sectors, each reduction by its shuffles, in loops eight times as much)
decides.  So a residual that is added to a dot's accumulator draws the sum to the store's layout, with one conversion instead of two,
and an accumulator that is only cast stays until it has become narrow.  Sweeps end when nothing improves, after three at the latest.

The result is a side table: `homes` (Value → layout), `conversions` (what was not avoidable, with costs), and `wanted` (in which layout
an operation takes an operand).  What it cannot see: shared memory that is short, and registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..ir.core import Block, Func, Op, Value
from ..ir.types import Ptr
from ..passes.axis_info import AxisInfo
from .constructors import coalesced, sliced
from .convert import estimate
from .linear import LANE, REGISTER, Echelon, LinearLayout, dims_of, log2
from .reduce import plan_reduce, scan_layout

__all__ = ["VIEWS", "DotLayouts", "LayoutTable", "Move", "before_view"]

VIEWS = frozenset({"splat", "broadcast", "expand_dims", "reshape", "permute", "join", "split"})
_SOURCES = frozenset({"constant", "arange"})
_LANEWISE = frozenset({"hint", "map", "inline_asm"})  # like arithmetic: results lie where operands do
LOOP_WEIGHT = 8.0
SECTOR_BYTES, SECTOR_COST = 32, 0.5  # the second-level cache exchanges about two sectors a clock with each multiprocessor
_SWEEPS = 3


@dataclass(frozen=True)
class DotLayouts:
    """What a dot's instruction fixes.  An operand that it reads from shared memory is None: it may come from any layout."""

    result: LinearLayout
    a: LinearLayout | None
    b: LinearLayout | None


@dataclass(frozen=True)
class Move:
    """``op`` takes ``value`` in ``dst``, its home is ``src``; ``cost`` in issue slots of a warp, once; ``times``: by nesting in loops."""

    value: Value
    op: Op
    src: LinearLayout
    dst: LinearLayout
    cost: float
    times: float


def before_view(op: Op, layout: LinearLayout) -> LinearLayout:
    """The layout of a view's tile operands when its result is to be in ``layout``."""
    name, shape = op.name, op.operands[0].type.shape
    if name == "broadcast":
        for (d, n), m in zip(list(layout.outs.items()), shape):
            if m != n:
                layout = layout.sliced(d)
        return layout.reshape(dims_of(shape))
    if name == "permute":
        order = tuple(op.attrs["order"])
        return layout.permute([order.index(d) for d in range(len(order))])
    if name == "join":
        return sliced(layout, len(layout.outs) - 1)
    if name == "split":
        ins = {d: tuple(v << 1 for v in bases) for d, bases in layout.ins.items()}
        return LinearLayout.make({**ins, REGISTER: (1, *ins[REGISTER])}, dims_of(shape))
    return layout.reshape(dims_of(shape))  # expand_dims, reshape


class LayoutTable:
    """The side table for ``func``; see the head of the file.

    ``dots`` says what a dot's instruction fixes, None for one that the target computes as arithmetic.  All layouts have 32 lanes and
    ``num_warps`` warps.
    """

    def __init__(self, func: Func, num_warps: int, info: AxisInfo, dots: Callable[[Op], DotLayouts | None]):
        self.num_warps, self.info, self.func = num_warps, info, func
        self.homes: dict[Value, LinearLayout] = {}
        self.conversions: list[Move] = []
        self._cheap: dict[Value, bool] = {}
        self._ops: list[tuple[Op, float]] = list(_weighted(func.body, 1.0))
        self._dots = {op: dots(op) for op, _ in self._ops if op.name == "dot"}
        self._group: dict[Value, Value] = {}
        self._tie()
        self._first(func.body)
        self._improve()
        self._finish()

    # --- asking ---------------------------------------------------------------------------------------------------

    def cheap(self, v: Value) -> bool:
        """Whether ``v`` is computed from scalars, constants and indices alone."""
        got = self._cheap.get(v)
        if got is None:
            op = v.op
            if v.type.is_scalar:
                got = True
            elif op is None or op.blocks:
                got = False
            elif op.name in _SOURCES:
                got = True
            else:
                got = (op.name in VIEWS or op.defn.elementwise or op.name == "hint") and all(self.cheap(x) for x in op.operands)
            self._cheap[v] = got
        return got

    def lazy(self, v: Value) -> bool:
        """Whether ``v`` has no home: it is made in whatever layout is asked for."""
        return (v.op is not None and v.op.name in VIEWS) or self.cheap(v)

    def where(self, v: Value) -> LinearLayout | None:
        """The layout in which ``v`` costs nothing; None where any does (cheap values) or none (broadcasts)."""
        if self.cheap(v):
            return None
        op = v.op
        if op is None:
            return self.homes.get(self._leader(v))
        if op.name in VIEWS:
            x = op.operands[0]
            inner = self.where(x) if op.name in ("expand_dims", "reshape", "permute") and not x.type.is_scalar else None
            if inner is None:
                return None
            return inner.permute(op.attrs["order"]) if op.name == "permute" else inner.reshape(dims_of(v.type.shape))
        if op.name == "reduce":
            return plan_reduce(self.working(op), op.attrs["axis"]).result
        if op.name in ("scan", "sort"):
            return self.working(op)
        fixed = self._dots.get(op)
        return fixed.result if fixed is not None else self.homes.get(self._leader(v))

    def working(self, op: Op) -> LinearLayout:
        """The layout in which a reduction, scan or sort takes its operands."""
        x = next((x for x in op.operands if not self.cheap(x)), op.operands[0])
        layout = self.where(x) or self.default(x.type.shape)
        if op.name == "reduce":
            return layout
        return scan_layout(layout, op.attrs["axis"] if op.name == "scan" else len(x.type.shape) - 1)

    def coalesced(self, pointer: Value) -> LinearLayout:
        """The layout for an access through ``pointer`` alone."""
        fact, e = self.info[pointer], pointer.type.elem
        assert isinstance(e, Ptr)
        return coalesced(pointer.type.shape, fact.contiguity, e.pointee.bytes * 8, self.num_warps, fact.divisibility)

    def default(self, shape: tuple[int, ...]) -> LinearLayout:
        """Row-major, for values that nothing draws anywhere."""
        return coalesced(shape, shape, 32, self.num_warps)

    def wanted(self, op: Op) -> list[tuple[Value, LinearLayout]]:
        """The tile operands of an operation, each with the layout in which it takes it; carried values are not among them."""
        name = op.name
        tiles = [x for x in op.operands if x is not None and not x.type.is_scalar]
        if name in VIEWS or not tiles or op.blocks and name not in ("reduce", "scan", "map"):
            return []
        if name == "dot":
            fixed = self._dots[op]
            if fixed is None:
                return [(op.operands[2], self.homes[self._leader(op.result)])]
            pairs = [(x, x_layout) for x, x_layout in zip(op.operands, (fixed.a, fixed.b, fixed.result))]
            return [(x, x_layout) for x, x_layout in pairs if x_layout is not None]
        if name in ("reduce", "scan", "sort"):
            layout = self.working(op)
        elif name == "store":
            layout = self.store_layout(op)
        elif name == "gather":
            return [(op.operands[1], self.homes[self._leader(op.result)])]
        elif op.results and not op.result.type.is_scalar and op.result.type.shape == tiles[0].type.shape:
            if self.cheap(op.result):
                return []
            layout = self.homes[self._leader(op.result)]
        else:
            layout = self.where(tiles[0]) or self.default(tiles[0].type.shape)
        return [(x, layout) for x in tiles if x.type.shape == layout.shape]

    def store_layout(self, op: Op) -> LinearLayout:
        """Where a store takes its value: where the value is, unless converting first pays for itself in memory sectors."""
        pointer, value = op.operands[0], op.operands[1]
        best, here = self.coalesced(pointer), self.where(value)
        if here is None or here == best:
            return best
        convert = estimate(here, best, value.type.elem.bits)
        return here if self._access_cost(pointer, here) <= convert + self._access_cost(pointer, best) else best

    @property
    def cost(self) -> float:
        """The estimate that the choice minimises, in issue slots of a warp."""
        total = 0.0
        seen: dict[tuple[Value, LinearLayout], float] = {}
        for op, times in self._ops:
            if op.name in ("load", "store") and not op.operands[0].type.is_scalar:
                layout = self.store_layout(op) if op.name == "store" else self.homes[self._leader(op.result)]
                total += times * self._access_cost(op.operands[0], layout)
            elif op.name == "reduce" and not op.operands[0].type.is_scalar:
                total += times * len(op.operands) * _reduce_cost(self.working(op), op.attrs["axis"])
            for v, layout in self._needs(op):
                key = v, layout
                seen[key] = max(times, seen.get(key, 0.0))
        return total + sum(times * self._price(v, layout) for (v, layout), times in seen.items())

    # --- structure ------------------------------------------------------------------------------------------------

    def _leader(self, v: Value) -> Value:
        while (up := self._group.get(v, v)) is not v:
            v = up
        return v

    def _union(self, a: Value, b: Value) -> None:
        a, b = self._leader(a), self._leader(b)
        if a is not b:
            self._group[b] = a

    def _chosen(self, v: Value) -> bool:
        """Whether the home of ``v`` is free to choose."""
        if self.lazy(v):
            return False
        return v.op is None or not (v.op.name in ("reduce", "scan", "sort") or self._dots.get(v.op) is not None)

    def _tie(self) -> None:
        """Groups: arithmetic with its operands, carried values with the loop's results, results of one operation."""
        for op, _ in self._ops:
            chosen = [r for r in op.results if self._chosen(r)]
            if op.name == "for":
                for arg, result in zip(op.blocks[0].args[1:], op.results):
                    if self._chosen(arg):
                        self._union(arg, result)
            elif op.name == "while":
                for arg, p, after, result in zip(op.blocks[0].args, op.blocks[0].terminator.operands[1:], op.blocks[1].args, op.results):
                    if self._chosen(after):
                        self._union(after, result)
                    if self._chosen(arg) and p is arg:
                        self._union(arg, after)
            elif op.defn.elementwise or op.name in _LANEWISE:
                for r in chosen:
                    for x in op.operands:
                        if x.type.shape == r.type.shape and self._chosen(x) and not (x.op is not None and x.op.name == "load"):
                            self._union(r, x)

    def _needs(self, op: Op) -> Iterator[tuple[Value, LinearLayout]]:
        """`wanted`, and what loops and branches hand on."""
        yield from self.wanted(op)
        if op.name == "for":
            for arg, init, following in zip(op.blocks[0].args[1:], op.rest(), op.blocks[0].terminator.operands):
                yield from self._handed(arg, init, following)
        elif op.name == "while":
            before, after = op.blocks
            for arg, init, following in zip(before.args, op.operands, after.terminator.operands):
                yield from self._handed(arg, init, following)
            for arg, p in zip(after.args, before.terminator.operands[1:]):
                yield from self._handed(arg, p)
        elif op.name == "if":
            for i, r in enumerate(op.results):
                yield from self._handed(r, *(b.terminator.operands[i] for b in op.blocks))

    def _handed(self, to: Value, *values: Value) -> Iterator[tuple[Value, LinearLayout]]:
        if not to.type.is_scalar:
            layout = self.homes[self._leader(to)]
            for v in values:
                yield v, layout

    # --- cost -----------------------------------------------------------------------------------------------------

    def _price(self, v: Value, layout: LinearLayout) -> float:
        """What it costs to have ``v`` in ``layout``."""
        return sum(estimate(src, dst, x.type.elem.bits) for x, src, dst in self._sources(v, layout))

    def _sources(self, v: Value, layout: LinearLayout) -> Iterator[tuple[Value, LinearLayout, LinearLayout]]:
        """(value, home, layout wanted) of the values behind views of ``v``."""
        if self.cheap(v):
            return
        if v.op is not None and v.op.name in VIEWS:
            inner = before_view(v.op, layout)
            for x in v.op.operands:
                yield from self._sources(x, inner)
        else:
            src = self.where(v)
            assert src is not None, f"{v} has no layout"
            yield v, src, layout

    def _access_cost(self, pointer: Value, layout: LinearLayout) -> float:
        """Instructions of a warp's access, and the 32-byte sectors that they touch: what memory moves, used in full or not."""
        fact, e = self.info[pointer], pointer.type.elem
        assert isinstance(e, Ptr)
        item = e.pointee.bytes
        d = max(range(len(layout.outs)), key=lambda i: (min(fact.contiguity[i], layout.shape[i]), i))
        first, n = layout.field(f"dim{d}")
        run = log2(1 << (min(fact.contiguity[d], layout.shape[d]).bit_length() - 1))
        sector = min(run, max(0, log2(SECTOR_BYTES // item))) if item <= SECTOR_BYTES else 0
        aligned = max(1, min(fact.divisibility[d] // item, 16 // item))
        registers = [b for k, b in enumerate(layout.ins[REGISTER]) if not layout.free(REGISTER) >> k & 1]
        width = 0
        while (2 << width) <= min(aligned, 1 << run) and 1 << (first + width) in registers:
            width += 1
        within = ((1 << sector) - 1) << first
        vector = [1 << (first + k) for k in range(width)]
        lanes = [v & ~within for v in (*layout.ins[LANE], *vector)]
        sectors = 1 << Echelon(lanes).rank
        instructions = (1 << len(registers)) >> width
        return instructions * (1 + sectors * SECTOR_COST)

    # --- choosing -------------------------------------------------------------------------------------------------

    def _first(self, block: Block) -> None:
        """Everything follows its operands, in textual order; carried values start where their first values are."""
        for op in block.ops:
            if op.name == "for":
                for arg, init, following in zip(op.blocks[0].args[1:], op.rest(), op.blocks[0].terminator.operands):
                    self._settle(arg, init if not self.cheap(init) else following)
            elif op.name == "while":
                for arg, init in zip(op.blocks[0].args, op.operands):
                    self._settle(arg, init)
            if op.name in ("for", "while", "if"):
                for b in op.blocks:
                    if op.name == "while" and b is op.blocks[1]:
                        for arg, p in zip(b.args, op.blocks[0].terminator.operands[1:]):
                            self._settle(arg, p)
                    self._first(b)
                if op.name == "if":
                    for i, r in enumerate(op.results):
                        self._settle(r, op.blocks[0].terminator.operands[i])
                continue
            for r in op.results:
                if self._chosen(r) and self._leader(r) not in self.homes:
                    self.homes[self._leader(r)] = self._natural(op, r)

    def _settle(self, v: Value, like: Value) -> None:
        if self._chosen(v) and self._leader(v) not in self.homes:
            known = like.op is None or like.op.name not in ("reduce", "scan", "sort") or self._known(like)
            self.homes[self._leader(v)] = (self.where(like) if known else None) or self.default(v.type.shape)

    def _known(self, v: Value) -> bool:
        """Whether the homes that the layout of ``v`` follows from are settled: not for the end of a loop before its body."""
        op = v.op
        if self.cheap(v):
            return True
        if op is not None and (op.name in VIEWS or op.name in ("reduce", "scan", "sort")):
            return all(self._known(x) for x in op.operands)
        return self._leader(v) in self.homes or (op is not None and self._dots.get(op) is not None)

    def _natural(self, op: Op, r: Value) -> LinearLayout:
        if op.name in ("load", "atomic_rmw", "atomic_cas"):
            return self.coalesced(op.operands[0])
        for x in op.operands:
            if x is not None and x.type.shape == r.type.shape and (place := self.where(x)) is not None:
                return place
        return self.default(r.type.shape)

    def _candidates(self, members: list[Value]) -> list[LinearLayout]:
        """Layouts that neighbours of a group have or want."""
        group, shape = self._leader(members[0]), members[0].type.shape
        found: dict[LinearLayout, None] = {}

        def offer(v: Value) -> None:
            if v.type.shape == shape and (layout := self.where(v)) is not None:
                found[layout] = None

        for v in members:
            if v.op is not None:
                for x in v.op.operands:
                    if x is not None:
                        offer(x)
                if v.op.name == "load":
                    found[self.coalesced(v.op.operands[0])] = None
            for user in v.users():
                for r in user.results:
                    offer(r)
                if user.name == "store":
                    found[self.coalesced(user.operands[0])] = None
                elif user.name == "yield" and (owner := user.parent_op()) is not None:
                    for r in owner.results:
                        offer(r)
                for x, layout in self.wanted(user):
                    if x is v:
                        found[layout] = None
        found.pop(self.homes[group], None)
        return list(found)

    def _improve(self) -> None:
        groups: dict[Value, list[Value]] = {}
        for v in self._values():
            if self._chosen(v):
                groups.setdefault(self._leader(v), []).append(v)
        best = self.cost
        for _ in range(_SWEEPS):
            before = best
            for leader, members in groups.items():
                for layout in self._candidates(members):
                    old, self.homes[leader] = self.homes[leader], layout
                    if (now := self.cost) < best:
                        best = now
                    else:
                        self.homes[leader] = old
            if best == before:
                break

    def _values(self) -> Iterator[Value]:
        for op, _ in self._ops:
            yield from op.results
            if op.name in ("for", "while"):
                for b in op.blocks:
                    yield from b.args

    def _finish(self) -> None:
        """Spells out the homes of all values, and what remains to be converted."""
        self.homes.update({v: layout for v in self._values() if not self.lazy(v) and (layout := self.where(v)) is not None})
        seen = set()
        for op, times in self._ops:
            for v, layout in self._needs(op):
                for x, src, dst in self._sources(v, layout):
                    cost = estimate(src, dst, x.type.elem.bits)
                    if cost and (x, dst) not in seen:
                        seen.add((x, dst))
                        self.conversions.append(Move(x, op, src, dst, cost, times))


def _weighted(block: Block, times: float) -> Iterator[tuple[Op, float]]:
    """All operations that work on tiles, with how often they run; combine functions of reductions are scalar code."""
    for op in block.ops:
        yield op, times
        if op.name in ("for", "while", "if"):
            for b in op.blocks:
                yield from _weighted(b, times * (1.0 if op.name == "if" else LOOP_WEIGHT))


def _reduce_cost(layout: LinearLayout, axis: int) -> float:
    plan = plan_reduce(layout, axis)
    values = len(plan.first.groups)
    combines = sum(len(g) - 1 for g in plan.first.groups)
    cost = combines + 2.0 * values * len(plan.first.butterflies)
    if plan.partial is not None and plan.interim is not None and plan.second is not None:
        cost += estimate(plan.partial, plan.interim, 32) + sum(len(g) for g in plan.second.groups)
        cost += 2.0 * len(plan.second.groups) * len(plan.second.butterflies)
    return cost
