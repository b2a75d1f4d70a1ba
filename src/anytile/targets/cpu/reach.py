"""Where the accesses of a loop go, iteration by iteration.

An access is *regular* when its addresses are  base + k · stride + Σ lane · step  in iteration k: sums of the loop's counters and of
`arange`s, times what the loop does not change.  `Loop.form` reads that off the program.  The numbers themselves are known only when the
program runs, and nobody has to take them apart: `Evaluation` computes any scalar, and any element of a tile, as it is in a given
iteration, so the base is an address in iteration 0, and the stride what iteration 1 adds to it.  A `Reach` has, as values in bytes:

    base            where lane 0 goes in iteration 0
    stride          how far that moves from one iteration to the next
    below, above    from lane 0 to the first byte that lanes of the same iteration touch, and to the end of the last
    low, high       the first byte that any iteration touches, and the end of the last
    steady          whether the last iteration is where the stride says, which it is not where 32-bit positions have overflowed

Lanes that a mask ``arange + … < bound`` switches off do not count, or rows of 1000 floats in tiles of 1024 would overlap.  A mask that
moves with the loop (blocks of rows, the last of them partial) leaves on, in all iterations but the last, what each of its comparisons
does in the first or in the last one: of two comparisons, one may narrow while the other widens, and both be wide in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...ir import Builder, Op, Value
from ...ir.rewrite import is_pure
from ...ir.types import I32, I64
from .shape import FAR, in_order, steps

__all__ = ["Evaluation", "Loop", "Reach", "known_step", "reach"]

Lanes = tuple[Value, ...]  # an index of a tile, i32
_DIVISIONS = ("sdiv", "udiv", "srem", "urem")  # they trap, so nobody divides for an iteration that may not come


def known_step(op: Op) -> int | None:
    """By how much the ``for`` counts upwards; None where that is not known, or not what it does."""
    step = op.operands[2].op
    if step is None or step.name != "constant" or step.attrs["value"] <= 0 or op.attrs["unsigned"]:
        return None
    return step.attrs["value"]


@dataclass(frozen=True)
class Form:
    """What a regular value varies with: the iteration, and which of its own dimensions."""

    iteration: bool
    lanes: tuple[bool, ...]

    @property
    def fixed(self) -> bool:
        return not self.iteration and not any(self.lanes)


class Loop:
    """A ``for`` with the scalars that it carries and advances by the same amount each time (``counters``: which, by how much)."""

    def __init__(self, op: Op, counters: dict[Value, Value]):
        self.op, self.body, self.counters = op, op.blocks[0], counters
        self._forms: dict[Value, Form | None] = {}

    @classmethod
    def of(cls, op: Op) -> Loop | None:
        """``op`` with all its counters; None where it does not count upwards by a number that is known."""
        if known_step(op) is None:
            return None
        loop = cls(op, {})
        for a, v in zip(loop.body.args[1:], loop.body.terminator.operands):
            by = loop.advance(a, v)
            if by is not None:
                loop.counters[a] = by
        return loop

    def advance(self, a: Value, v: Value) -> Value | None:
        """What each iteration adds to the carried ``a``, an integer or a pointer, before it yields ``v``, if that is the same each time."""
        op = v.op
        if not a.type.is_scalar or op is None or op.name not in ("add", "addptr") or a not in op.operands:
            return None
        d = op.operands[1 if op.operands[0] is a else 0]
        return None if self.inside(d) and not d.is_op("constant") else d

    def iterations(self, b: Builder, outside: Callable[[Value], Value]) -> Value:
        """How many there are, an i64; not more than 0 for none.  Of a loop with a `known_step`."""
        lb, ub = (outside(v) for v in self.op.operands[:2])
        if lb.type.elem is not I64:
            lb, ub = (b.op("sext", v, to=I64) for v in (lb, ub))
        step = known_step(self.op)
        assert step is not None
        return b.sdiv(b.add(b.sub(ub, lb), b.const(step - 1, I64)), b.const(step, I64))

    def inside(self, v: Value) -> bool:
        """Whether ``v`` is computed, or handed in, anew by each iteration."""
        return self.body.defines(v)

    def form(self, v: Value) -> Form | None:
        """How ``v`` varies, if that is regular."""
        if v not in self._forms:
            self._forms[v] = self._form(v)
        return self._forms[v]

    def _form(self, v: Value) -> Form | None:
        op = v.op
        if not self.inside(v) and v.type.is_scalar:
            return Form(False, ())
        if op is None:
            counts = v.owner is self.body and (v.index == 0 or v in self.counters)
            return Form(True, ()) if counts else None
        name, flat = op.name, (False,) * v.type.rank
        if name == "constant":
            return Form(False, flat)
        if name == "arange":
            return Form(False, (True,))
        if name == "hint":
            return self.form(op.operands[0])
        if not is_pure(op) or op.blocks:
            return None
        if name in ("splat", "broadcast", "expand_dims", "permute"):
            return self._moved(op)
        forms = [self.form(x) for x in op.operands if x is not None]
        if not op.defn.elementwise or any(f is None for f in forms):
            return None
        known: list[Form] = [f for f in forms if f is not None]
        if all(f.fixed for f in known):
            return Form(False, flat) if name not in _DIVISIONS else None
        linear = name in ("add", "sub", "addptr", "sext")
        linear = linear or name == "mul" and any(f.fixed for f in known) or name == "shl" and known[1].fixed
        if not linear:
            return None
        return Form(any(f.iteration for f in known), tuple(any(f.lanes[d] for f in known) for d in range(v.type.rank)))

    def _moved(self, op: Op) -> Form | None:
        x = op.operands[0]
        form = self.form(x)
        if form is None:
            return None
        shape = op.result.type.shape
        if op.name == "splat":
            return Form(form.iteration, (False,) * len(shape))
        if op.name == "broadcast":
            return Form(form.iteration, tuple(f and a == b for f, a, b in zip(form.lanes, x.type.shape, shape)))
        if op.name == "permute":
            return Form(form.iteration, tuple(form.lanes[i] for i in op.attrs["order"]))
        lanes = list(form.lanes)
        lanes.insert(op.attrs["axis"], False)
        return Form(form.iteration, tuple(lanes))


class Evaluation:
    """Computes with ``b`` what regular values are in iteration ``k`` (an i64), ``outside`` being what computes those from before the loop."""

    def __init__(self, b: Builder, loop: Loop, outside: Callable[[Value], Value], k: Value):
        self.b, self.loop, self.outside, self.k = b, loop, outside, k
        self._known: dict[tuple[Value, Lanes], Value] = {}

    def element(self, v: Value, lanes: Lanes = ()) -> Value:
        """The element of ``v`` at ``lanes``, a scalar."""
        key = (v, lanes)
        if key not in self._known:
            self._known[key] = self._element(v, lanes)
        return self._known[key]

    def _element(self, v: Value, lanes: Lanes) -> Value:
        b, op, loop = self.b, v.op, self.loop
        if v.type.is_scalar and not loop.inside(v):
            return self.outside(v)
        if op is None:
            start, step = (loop.op.operands[0], loop.op.operands[2]) if v.index == 0 else (loop.op.rest()[v.index - 1], loop.counters[v])
            by = self.element(step)
            if v.type.elem.is_ptr:
                return b.addptr(self.outside(start), b.mul(self.k, _wide(b, by)))
            k = self.k if v.type.elem is I64 else b.op("trunci", self.k, to=v.type.elem)
            return b.add(self.outside(start), b.mul(k, by))
        if op.name == "constant":
            return b.const(op.attrs["value"], v.type.elem)
        if op.name == "arange":
            return b.add(b.const(op.attrs["start"], I32), lanes[0])
        if op.name == "hint":
            return self.element(op.operands[0], lanes)
        if op.name == "splat":
            return self.element(op.operands[0])
        if op.name == "broadcast":
            shape = op.operands[0].type.shape
            return self.element(op.operands[0], tuple(b.const(0, I32) if n == 1 else x for n, x in zip(shape, lanes)))
        if op.name == "expand_dims":
            return self.element(op.operands[0], tuple(x for d, x in enumerate(lanes) if d != op.attrs["axis"]))
        if op.name == "permute":
            source = dict(zip(op.attrs["order"], lanes))
            return self.element(op.operands[0], tuple(source[d] for d in range(len(lanes))))
        return b.make(op.name, [self.element(x, lanes if x.type.rank else ()) for x in op.operands], op.attrs).result


@dataclass(frozen=True)
class Reach:
    """One access, as the head of this file says; ``writes``: whether it is a store."""

    writes: bool
    base: Value
    stride: Value
    below: Value
    above: Value
    low: Value
    high: Value
    steady: Value


def reach(op: Op, first: Evaluation, second: Evaluation, last: Evaluation, ahead: Value) -> Reach:
    """Of the regular load or store ``op``, from those iterations; ``ahead``: how many the last one comes after the first (i64)."""
    b, pointer = first.b, op.operands[0]
    mask = op.operands[1 if op.name == "load" else 2]
    size = pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
    origin = tuple(b.const(0, I32) for _ in pointer.type.shape)
    base, after, end = (b.op("ptrtoint", e.element(pointer, origin), to=I64) for e in (first, second, last))
    stride = b.sub(after, base)
    steps_ = [_step(pointer, d, first, base, size) for d in range(pointer.type.rank)]
    if not _moves(mask, pointer.type.rank, first.loop):
        below, above = _span(mask, pointer, steps_, size, first)
        low, high = b.add(b.smin(base, end), below), b.add(b.smax(base, end), above)
    else:
        below, above = _span(mask, pointer, steps_, size, first, last)
        below_last, above_last = _span(mask, pointer, steps_, size, last)
        before_last = b.sub(end, stride)
        low = b.smin(b.add(b.smin(base, before_last), below), b.add(end, below_last))
        high = b.smax(b.add(b.smax(base, before_last), above), b.add(end, above_last))
    steady = b.icmp(b.sub(end, base), b.mul(ahead, stride), pred="eq")
    return Reach(op.name == "store", base, stride, below, above, low, high, steady)


def _span(mask: Value | None, pointer: Value, steps_: list[Value], size: int, *ends: Evaluation) -> tuple[Value, Value]:
    """From lane 0 to the first byte that lanes touch in one iteration between ``ends``, or there, and to the end of the last."""
    b = ends[0].b
    below, above = b.const(0, I64), b.const(size, I64)
    for d, step in enumerate(steps_):
        way = b.mul(step, b.sub(_lanes(mask, d, pointer.type.shape[d], ends), b.const(1, I64)))
        below, above = b.add(below, b.smin(way, b.const(0, I64))), b.add(above, b.smax(way, b.const(0, I64)))
    return below, above


def _moves(mask: Value | None, rank: int, loop: Loop) -> bool:
    """Whether how many lanes the mask leaves on depends on the iteration."""
    pairs = [(x, y) for d in range(rank) for x, y, _ in _bounds(mask, d, loop)] if mask is not None else []
    return any(loop.form(v).iteration for pair in pairs for v in pair)  # type: ignore[union-attr]


def _step(pointer: Value, d: int, e: Evaluation, base: Value, size: int) -> Value:
    """Bytes from one lane to the next along dimension ``d``."""
    known = steps(pointer, {})[d]
    if known is not None and abs(known) < FAR:
        return e.b.const(known * size, I64)
    lanes = tuple(e.b.const(int(i == d), I32) for i in range(pointer.type.rank))
    return e.b.sub(e.b.op("ptrtoint", e.element(pointer, lanes), to=I64), base)


def _lanes(mask: Value | None, d: int, n: int, ends: tuple[Evaluation, ...]) -> Value:
    """How many of the ``n`` lanes along dimension ``d`` the mask may leave on in an iteration between ``ends``, or there; at least 1."""
    b = ends[0].b
    most = b.const(n, I64)
    for bound in _bounds(mask, d, ends[0].loop) if mask is not None and n > 1 else ():
        room = b.const(1, I64)
        for e in ends:
            room = b.smax(room, _room(bound, n, e))
        most = b.smin(most, room)
    return most


def _room(comparison: tuple[Value, Value, str], n: int, e: Evaluation) -> Value:
    """How many lanes, of ``n``, a comparison of `_bounds` leaves on in iteration ``e``; 0 or less for none."""
    b, (x, y, pred) = e.b, comparison
    start, bound = (_wide(b, e.element(v, tuple(b.const(0, I32) for _ in v.type.shape))) for v in (x, y))
    room = b.sub(bound, start)
    if pred in ("sle", "ule"):
        room = b.add(room, b.const(1, I64))
    if pred in ("ult", "ule"):  # a bound with the top bit set is a large one
        room = b.select(b.icmp(bound, b.const(0, I64), pred="slt"), b.const(n, I64), room)
    return room


def _bounds(mask: Value, d: int, loop: Loop) -> Iterator[tuple[Value, Value, str]]:
    """(x, y, pred) for each ``x < y`` or ``x <= y`` that must hold where the mask is on, if x counts the lanes of dimension ``d``."""
    op = mask.op
    if op is None:
        return
    if op.name == "and":
        for x in op.operands:
            yield from _bounds(x, d, loop)
    elif op.name == "broadcast" and op.operands[0].type.shape[d] > 1:
        yield from _bounds(op.operands[0], d, loop)
    elif op.name == "expand_dims" and d != op.attrs["axis"]:
        yield from _bounds(op.operands[0], d - (d > op.attrs["axis"]), loop)
    elif op.name == "icmp":
        x, y, pred = in_order(op)
        counting = tuple(int(i == d) for i in range(x.type.rank))
        still = loop.form(y)
        if pred[1:] in ("lt", "le") and loop.form(x) and steps(x, {}) == counting and still and not any(still.lanes):
            yield x, y, pred


def _wide(b: Builder, x: Value) -> Value:
    return x if x.type.elem is I64 else b.op("sext", x, to=I64)
