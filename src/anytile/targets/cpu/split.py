"""A lone program's loop over rows, made of parts that the cores share.

Kernels that divide rows among as many programs as a GPU has multiprocessors (a norm's backward: each program adds up the gradient of the
weights over its rows) are launched on a CPU as one program that has all rows: one core works.  Here such a kernel gets a second form:

    before                      three kernels with the same arguments, and some more
    ──────                      ───────────────────────────────────────────────────
    prologue                    check    prologue; into how many parts the loop may be divided, 1 where it may not
    for i in range(lb, ub):     part     prologue; the iterations of one part; its sums go to memory
        body; sums += …         finish   prologue; sums = initial values + part 0's + part 1's + …; epilogue
    epilogue

`shared_loop` runs them, the parts as programs of a launch of their own.  Where ``check`` says 1, the kernel runs as it is.

Which kernels.  The bounds of the loop, the only one on the top level, depend on which program it is or how many there are: the author has
distributed the iterations.  What an iteration hands to the next is sums (``s' = s + x`` and nobody looks at s meanwhile), or counters that
advance by what the loop does not change.  No atomics, no barriers, nothing volatile, no prints, and no dots, which share packed operands.

When it is right.  Iterations may run in any order if what one stores, no other reads or writes.  The compiler sees to it that all
addresses are regular (`reach`), and ``check`` compares numbers.  For each store, and each access besides it, one of these must hold:

- they touch memory apart from each other (the store's own lanes: of one iteration and the next),
- they advance by the same stride, and all that both touch in one iteration lies within one stride: gradients written over what they
  were computed from, row by row.

The prologue, which every part repeats, may load but not store; its loads are compared as well.

What is not the same.  Sums of floats are added in another order than one program would: within each part, then part by part.
How many parts there are depends on sizes alone (`_count`), not on the threads or on who was quicker: results are the same each time, and
with any number of threads.  ``ANYTILE_SPLIT_LOOPS=0`` compiles kernels without this.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Block, Builder, Effect, Func, Module, Op, Type, Value, ptr, scalar, tile
from ...ir.rewrite import clone_op, is_pure
from ...ir.types import F32, F64, I32, I64
from ...passes.canonicalize import canonicalize
from ...passes.cse import cse
from ...passes.dce import dce
from ...passes.licm import licm
from .reach import Evaluation, Loop, Reach, known_step, reach

__all__ = ["MOST_PARTS", "Split", "split_loop"]

MOST_PARTS = 16
_LEAST_BYTES = 1 << 16  # that a part should read and write: some 10 µs
_SUMS_SHARE = 8  # a part should read and write that many times what its sums take

_Copies = dict[Value, Value]  # value of the lone kernel → its own


@dataclass(frozen=True)
class Split:
    """``check``, ``part`` and ``finish`` take the kernel's arguments, then ``parts_at``, where ``check`` puts the number of parts (i32),
    ``parts``, that number for the others, and for each of ``sums`` where its parts are: tiles, or scalars, one after the other.

    ``part`` is launched with ``parts`` programs.
    """

    check: Func
    part: Func
    finish: Func
    sums: list[Type]


def split_loop(kernel: Func) -> Split | None:
    """The three kernels for ``kernel``, which stays as it is; None where it is not of the kind."""
    if not _distributed(kernel):
        return None
    lone = _lone(kernel)
    loops = [op for op in lone.body.ops if op.name == "for"]
    if len(loops) != 1:  # it has gone, having one iteration at most
        return None
    splitter = _Splitter(lone, loops[0])
    return splitter.split() if splitter.suits() else None


def _distributed(kernel: Func) -> bool:
    """Whether the only loop on the top level has bounds that depend on which program it is."""
    loops = [op for op in kernel.body.ops if op.name == "for"]
    if len(loops) != 1 or any(op.name in ("while", "if") for op in kernel.body.ops):
        return False
    stack, seen = list(loops[0].operands[:3]), set()
    while stack:
        op = stack.pop().op
        if op is None or op in seen:
            continue
        if op.name in ("program_id", "num_programs"):
            return True
        seen.add(op)
        stack += [v for v in op.operands if v is not None]
    return False


def _lone(kernel: Func) -> Func:
    """``kernel`` for a grid of one program."""
    out, b, known = _begin(kernel, kernel.name, ())
    _append(kernel.body.ops, b, known)
    for op in list(out.walk()):
        if op.name in ("program_id", "num_programs"):
            assert op.block is not None
            op.result.replace_with(Builder(op.block, op, op.loc).const(int(op.name == "num_programs"), I32))
            op.erase()
    _tidy(out)
    return out


def _begin(like: Func, name: str, more: tuple[tuple[str, Type], ...]) -> tuple[Func, Builder, _Copies]:
    """(empty function with the arguments of ``like`` and ``more``, a builder in it, argument of ``like`` → its own)."""
    types = (*(a.type for a in like.args), *(t for _, t in more))
    out = Func(name, types, (*(a.name for a in like.args), *(n for n, _ in more)), like.loc)
    out.arg_attrs = [*(dict(a) for a in like.arg_attrs), *({} for _ in more)]
    return out, Builder(out.body), dict(zip(like.args, out.args))


def _append(ops: list[Op], b: Builder, known: _Copies) -> None:
    for op in ops:
        b.loc = op.loc
        clone_op(op, b, known)


def _tidy(func: Func) -> None:
    module = Module([func])
    canonicalize(module)
    cse(module)
    licm(module)
    dce(module)


class _Splitter:
    def __init__(self, lone: Func, loop: Op):
        self.lone, self.op, self.body = lone, loop, loop.blocks[0]
        at = lone.body.ops.index(loop)
        self.prologue, self.epilogue = lone.body.ops[:at], lone.body.ops[at + 1 :]
        self.counters: dict[Value, Value] = {}
        self.sums: list[Value] = []  # carried block arguments
        self.loop = Loop(loop, self.counters)

    # --- what must hold ---

    def suits(self) -> bool:
        if known_step(self.op) is None:
            return False
        if any(not self._quiet(op) for op in self.lone.walk()) or any(op.defn.effects & Effect.WRITE for op in self.prologue):
            return False
        for a, v in zip(self.body.args[1:], self.body.terminator.operands):
            if self._is_sum(a, v):
                self.sums.append(a)
            elif (d := self.loop.advance(a, v)) is not None:
                self.counters[a] = d
            else:
                return False
        self.accesses = self._accesses()
        return all(self.loop.form(op.operands[0]) is not None for op in self.accesses) and any(self._in_loop(op) for op in self.accesses)

    def _in_loop(self, op: Op) -> bool:
        return self.body.encloses(op.block)

    @staticmethod
    def _quiet(op: Op) -> bool:
        """Whether ``op`` does nothing to the world but load and store."""
        if op.name in ("load", "store"):
            return not op.attrs.get("volatile")
        return op.name != "dot" and (is_pure(op) or op.defn.terminator or op.name in ("for", "while", "if", "assume"))

    def _is_sum(self, a: Value, v: Value) -> bool:
        """Whether ``v``, which the body yields for ``a``, is ``a`` plus other things, and nobody else looks at ``a`` on the way."""
        if a.type.elem not in (F32, F64, I32, I64):
            return False
        at = a
        while at is not v:
            users = at.users()
            if len(at.uses) != 1 or users[0].block is not self.body:
                return False
            op, (_, place) = users[0], next(iter(at.uses))
            if not (op.name in ("add", "fadd") or op.name in ("sub", "fsub") and place == 0 or op.name == "fma" and place == 2):
                return False
            at = op.result
        return at is not a and len(v.uses) == 1

    def _accesses(self) -> list[Op]:
        """Loads and stores of the loop and loads of the prologue, one of those at the same addresses."""
        found: dict[tuple, Op] = {}
        for op in [*self.prologue, *self.body.walk()]:
            if op.name in ("load", "store"):
                mask = op.operands[1 if op.name == "load" else 2]
                found.setdefault((op.name, op.operands[0], mask), op)
        return list(found.values())

    # --- the three kernels ---

    def split(self) -> Split:
        sums = [a.type for a in self.sums]
        return Split(self._check(), self._part(), self._finish(), sums)

    def _function(self, name: str) -> tuple[Func, Builder, _Copies]:
        more = (("parts_at", ptr(I32)), ("parts", scalar(I32)), *((f"sum{i}", ptr(a.type.elem)) for i, a in enumerate(self.sums)))
        return _begin(self.lone, name, more)

    def _extra(self, func: Func) -> tuple[Value, Value, list[Value]]:
        """The arguments ``parts_at``, ``parts`` and those of the sums."""
        n = len(self.lone.args)
        return func.args[n], func.args[n + 1], func.args[n + 2 :]

    def _check(self) -> Func:
        func, b, known = self._function("check")
        _append(self.prologue, b, known)
        n = self.loop.iterations(b, known.__getitem__)
        one = b.const(1, I64)
        ahead = b.sub(n, one)
        first, second, last = (Evaluation(b, self.loop, known.__getitem__, k) for k in (b.const(0, I64), one, ahead))
        reaches = [reach(op, first, second, last, ahead) for op in self.accesses]
        apart = b.icmp(n, one, pred="sgt")
        for i, x in enumerate(reaches):
            apart = b.and_(apart, x.steady)
            if x.writes:
                apart = b.and_(apart, b.icmp(b.sub(x.above, x.below), b.iabs(x.stride), pred="sle"))
            for y in reaches[i + 1 :]:
                if x.writes or y.writes:
                    apart = b.and_(apart, _apart(b, x, y))
        parts = b.select(apart, self._count(b, n), one)
        b.store(self._extra(func)[0], b.op("trunci", parts, to=I32), None)
        b.make("return", [])
        _tidy(func)
        return func

    def _count(self, b: Builder, n: Value) -> Value:
        """The number of parts for ``n`` iterations, an i64: a function of sizes, and so is the order of the sums."""
        moved = sum(_bytes(op.operands[0].type) for op in self.accesses if self._in_loop(op))
        sums = sum(a.type.numel * a.type.elem.bytes for a in self.sums)
        least = max(-(-_LEAST_BYTES // moved), -(-_SUMS_SHARE * sums // moved))
        return b.smax(b.smin(b.sdiv(n, b.const(least, I64)), b.const(MOST_PARTS, I64)), b.const(1, I64))

    def _part(self) -> Func:
        func, b, known = self._function("part")
        _, parts, places = self._extra(func)
        _append(self.prologue, b, known)
        n = self.loop.iterations(b, known.__getitem__)
        number, count = (b.op("sext", v, to=I64) for v in (b.program_id(axis=0), parts))
        first, end = (b.sdiv(b.mul(n, k), count) for k in (number, b.add(number, b.const(1, I64))))
        counted = {a: self._counted(b, known, a, first) for a in (self.body.args[0], *self.counters)}
        past = self._counted(b, known, self.body.args[0], end)
        inits = [counted[a] if a in counted else _nothing(b, a.type) for a in self.body.args[1:]]
        loop = clone_op(self.op, b, known)
        loop.set_operands([counted[self.body.args[0]], past, loop.operands[2], *inits])
        for a, place in zip(self.sums, places):
            b.store(_at(b, place, number, a.type), loop.results[a.index - 1], None)
        b.make("return", [])
        _tidy(func)
        return func

    def _finish(self) -> Func:
        func, b, known = self._function("finish")
        _, parts, places = self._extra(func)
        _append(self.prologue, b, known)
        body = Block((scalar(I32), *(a.type for a in self.sums)))
        inner = Builder(body, loc=self.op.loc)
        number = inner.op("sext", body.args[0], to=I64)
        totals = []
        for a, total, place in zip(self.sums, body.args[1:], places):
            part = inner.load(_at(inner, place, number, a.type), None, None)
            totals.append(inner.op("fadd" if a.type.elem.is_float else "add", total, part))
        inner.make("yield", totals)
        inits = [known[self.op.rest()[a.index - 1]] for a in self.sums]
        loop = b.make("for", [b.const(0, I32), parts, b.const(1, I32), *inits], blocks=(body,))
        known.update((self.op.results[a.index - 1], r) for a, r in zip(self.sums, loop.results))
        n = self.loop.iterations(b, known.__getitem__)
        known.update((self.op.results[a.index - 1], self._counted(b, known, a, n)) for a in self.counters)
        _append(self.epilogue, b, known)
        _tidy(func)
        return func

    def _counted(self, b: Builder, known: _Copies, a: Value, k: Value) -> Value:
        """What the loop's own counter, or one that it carries, is when ``k`` iterations (an i64) are over."""
        return Evaluation(b, self.loop, known.__getitem__, k).element(a)


def _bytes(pointers: Type) -> int:
    return pointers.numel * pointers.elem.pointee.bytes  # type: ignore[attr-defined]


def _nothing(b: Builder, t: Type) -> Value:
    """What may be added without a change."""
    return b.const(-0.0 if t.elem.is_float else 0, t)


def _apart(b: Builder, x: Reach, y: Reach) -> Value:
    """Whether what ``x`` touches in one iteration and ``y`` in another never meet."""
    disjoint = b.or_(b.icmp(x.high, y.low, pred="sle"), b.icmp(y.high, x.low, pred="sle"))
    end = b.smax(b.add(x.base, x.above), b.add(y.base, y.above))
    start = b.smin(b.add(x.base, x.below), b.add(y.base, y.below))
    within = b.icmp(b.sub(end, start), b.iabs(x.stride), pred="sle")
    return b.or_(disjoint, b.and_(b.icmp(x.stride, y.stride, pred="eq"), within))


def _at(b: Builder, place: Value, number: Value, t: Type) -> Value:
    """Addresses of part ``number`` (i64) of a sum, row by row."""
    start = b.addptr(place, b.mul(number, b.const(t.numel, I64)))
    if t.is_scalar:
        return start
    out = b.splat(start, shape=t.shape)
    stride = t.numel
    for d, n in enumerate(t.shape):
        stride //= n
        index = b.mul(b.arange(start=0, end=n), b.const(stride, tile((n,), I32)))
        for other in range(t.rank):
            if other != d:
                index = b.expand_dims(index, axis=other)
        out = b.addptr(out, b.broadcast(index, shape=t.shape))
    return out
