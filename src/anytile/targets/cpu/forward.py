"""The forward sweep over a block: its steps in order, and where each operation has its place.

Side effects and reductions are *roots*.  Consecutive roots over one index space that do not depend on each other's results share a nest,
a `Group`; everything else that must happen at a place (scalar operations, dots, scans, loops) is a `Single`.  Steps are ordered by their
keys, and have room between them for those that the planner adds: a nest that fills a buffer, a `Guard`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir import Block, Effect, Op, Value
from .alias import meet

__all__ = ["Forward", "Group", "Guard", "Single", "Step"]


@dataclass(eq=False)
class Group:
    """A nest: ``roots`` in program order, and buffered values written on the way."""

    shape: tuple[int, ...]
    key: float
    roots: list[Op] = field(default_factory=list)
    writes: list[Value] = field(default_factory=list)
    axis: int | None = None
    scalar: bool = False  # atomics: one element at a time


@dataclass(eq=False)
class Single:
    """One operation emitted on its own: scalar, control flow, dot, scan …"""

    op: Op
    key: float


@dataclass(eq=False)
class Guard:
    """Sees to it that row ``value``, a load, may be read where it is in spite of ``stores`` to come: of scalars, or in loops.

    If one of them goes into the row, it is copied first.
    """

    value: Value
    stores: list[Op]
    key: float


Step = Group | Single | Guard


class Forward:
    """The forward sweep over one block: steps in order, and each op's place."""

    _ALONE = ("dot", "scan", "sort", "histogram", "for", "while", "if", "print", "assert", "barrier", "inline_asm", "atomic_cas")

    def __init__(self, block: Block):
        self.steps: list[Step] = []
        self.step_of: dict[Op, Step] = {}
        self.key_of: dict[Op, float] = {}
        self._dep: dict[Value, float] = {}
        self._last_write = -1.0
        self._reads_after = -1.0  # key of the latest step that some load so far must come after
        self._writers: list[tuple[int, Op]] = []
        self._position = {op: i for i, op in enumerate(block.ops)}
        self._key = 0.0
        self._last_group: Group | None = None  # with nothing but scalar arithmetic behind it
        for op in block.ops:
            self._op(op)

    def _next(self) -> float:
        self._key += 1.0
        return self._key

    def writers_after(self, op: Op) -> list[Step]:
        """The steps of the writes to memory that follow ``op`` in program order."""
        here = self._position[op]
        return list(dict.fromkeys(self.step_of[w] for at, w in self._writers if at > here))

    def needs(self, op: Op) -> float:
        """The key of the latest step whose values ``op`` uses, within its blocks too."""
        d = max((self._dep.get(v, -1.0) for v in op.operands if v is not None), default=-1.0)
        for b in op.blocks:
            for inner in b.walk():
                for v in inner.operands:
                    if v is not None:
                        d = max(d, self._dep.get(v, -1.0))
        return d

    def _deps(self, op: Op) -> float:
        d = self.needs(op)
        if op.defn.effects & (Effect.READ | Effect.WRITE | Effect.SYNC | Effect.IO):
            d = max(d, self._last_write)
        return d

    def dependence(self, v: Value) -> float:
        """The key of the latest step that must be over before ``v`` can be evaluated."""
        return self._dep.get(v, -1.0)

    def trailing_group(self, before: Step | None) -> Group | None:
        """The last group, where nothing but scalar arithmetic has come after it (and before ``before``)."""
        end = len(self.steps) if before is None else self.steps.index(before)
        for s in reversed(self.steps[:end]):
            if isinstance(s, Group):
                return s
            if isinstance(s, Guard) or s.op.defn.effects or s.op.blocks or any(r.type.rank for r in s.op.results):
                return None
        return None

    def _op(self, op: Op) -> None:
        ranked = any(v is not None and v.type.rank for v in op.operands) or any(r.type.rank for r in op.results)
        if op.name in ("store", "reduce", "atomic_rmw", "atomic_cas") and ranked:
            self._root(op)
        elif not ranked or op.name in self._ALONE or op.defn.terminator or not any(r.type.rank for r in op.results):
            self._single(op, ranked)  # the last: a scalar taken out of a tile
        else:  # virtual: evaluated wherever it is needed
            self.key_of[op] = self._key + 0.25
            d = self._deps(op)
            if op.defn.effects & Effect.READ:
                self._reads_after = max(self._reads_after, d)
            for r in op.results:
                self._dep[r] = d

    def _root(self, op: Op) -> None:
        axis = op.attrs["axis"] if op.name == "reduce" else None
        g = self._last_group
        if g is None or not self._fits(op, axis, g):
            g = Group(op.operands[0].type.shape, self._next(), scalar=op.name.startswith("atomic"))
            self.steps.append(g)
        self._last_group = g
        if axis is not None:
            g.axis = axis
        g.roots.append(op)
        self._place(op, g)

    def _fits(self, op: Op, axis: int | None, g: Group) -> bool:
        """Whether root ``op``, a reduction along ``axis`` if that is not None, may be part of the nest ``g``."""
        scalar = op.name.startswith("atomic")
        deps = max((self._dep.get(v, -1.0) for v in op.operands if v is not None), default=-1.0)
        if g.shape != op.operands[0].type.shape or g.scalar != scalar or deps >= g.key or scalar and g.roots:
            return False
        if axis is not None and g.axis is not None and g.axis != axis:
            return False
        if not op.defn.effects & Effect.WRITE:
            return True
        # loads before it may have to wait for g; stores of g may write the same
        return self._reads_after < g.key and not any(self._overwrites(op, r) for r in g.roots)

    @staticmethod
    def _overwrites(op: Op, earlier: Op) -> bool:
        if not earlier.defn.effects & Effect.WRITE:
            return False
        dims = tuple(range(op.operands[0].type.rank))
        return meet(op.operands[0], dims, earlier.operands[0], dims)

    def _single(self, op: Op, ranked: bool) -> None:
        effects = op.defn.effects
        movable = not ranked and not op.blocks and not op.defn.terminator and not effects & (Effect.WRITE | Effect.SYNC | Effect.IO)
        g = self._last_group if movable else None
        if g is not None and self._deps(op) < g.key:
            # needs nothing of the group that others may still join: goes in front of it, so that what needs this one can join, too
            s: Step = Single(op, g.key - 0.25)
            behind = next(n for n, step in enumerate(reversed(self.steps)) if step is g)
            self.steps.insert(len(self.steps) - 1 - behind, s)
            self._place(op, s)
            return
        if effects or op.blocks or any(r.type.rank for r in op.results):
            self._last_group = None
        s = Single(op, self._next())
        self.steps.append(s)
        self._place(op, s)

    def _place(self, op: Op, s: Step) -> None:
        self.step_of[op] = s
        self.key_of[op] = s.key
        for r in op.results:
            self._dep[r] = s.key
        if any(o.defn.effects & (Effect.WRITE | Effect.SYNC) for o in op.walk()):
            self._last_write = s.key
            self._writers.append((self._position[op], op))
