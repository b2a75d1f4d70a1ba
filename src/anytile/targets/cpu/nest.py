"""One loop nest over a tile's index space.

A nest has a shape and *roots*: stores, buffer writes, reductions, atomics over that shape.  Every tile value
that a root needs is evaluated at the current index by `Nest.ev`, recursively and once per place; nothing is
materialised inside a nest.  The vector runs along one dimension, the other dimensions are scalar loops.

The vector loop is split in two, without masks and with them (`masks`).

Levels.  Level k is the body of the k-th open loop; an instruction goes to the level of its operands (see
`lanes`).  What is memoised at a level is forgotten when its loop closes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...ir import Op, Value
from ...ir.types import BOOL, I32, ptr_element
from . import nontemporal
from .lanes import RAMP, UNIFORM, VECTOR, Lane, power_of_two_in, ramp, uniform
from .masks import Conjunct, Index, rises_nowhere
from .memory import Buffer, Memory
from .prefetch import Prefetching
from .reduction import Accumulator
from .roots import AtomicRoot, ReduceRoot, Root, StoreRoot, WriteRoot
from .shape import repeats, runs
from .text import llvm_type, opaque, unsupported

if TYPE_CHECKING:
    from .program import Program

__all__ = ["INNERMOST", "Nest"]

INNERMOST = 1 << 20


class Nest(Prefetching):
    def __init__(self, program: Program, shape: tuple[int, ...], vec_dim: int, width: int, unroll: int):
        self.p, self.shape, self.vec_dim = program, shape, vec_dim
        self.m: Memory = program.memory
        self.m.width = width
        self.unroll = unroll
        self.w = program.w
        self.memo: list[dict] = []
        self.assumed: set[Conjunct] = set()
        self.assumed_level = INNERMOST
        self.asked: Index = ()  # the index at which a value was asked for last
        self.asked_key: tuple = ()
        self.vec_key: tuple | None = None  # key of the index lane along the vector dimension
        self.vec_lane: Lane | None = None  # that lane itself, of vector `at_vector` of a step
        self.at_vector = 0
        self.first: dict[tuple, Lane] = {}  # addresses of the step's first vector
        self.whole: set[Value] = set()  # masks that are on everywhere
        self.splits = True  # whether the vector loop is split by masks
        self.past_caches = False  # how the loop that is being written stores (`nontemporal`)

    # --- running ---

    def run(self, roots: list[Root]) -> None:
        self.roots, width = roots, self.m.width
        self.reduces = [r for r in roots if isinstance(r, ReduceRoot)]
        self.axis = self.reduces[0].op.attrs["axis"] if self.reduces else None
        zero = self.m.const(0, I32)
        idx: list[Lane] = [zero] * len(self.shape)
        outer = [d for d in range(len(self.shape)) if self.shape[d] > 1 and d not in (self.vec_dim, self.axis)]

        def whole_nest() -> None:
            self._open()
            self._outer(outer, list(idx))
            self._close()

        masks = self._masks_of_short_rows() if outer else []
        if not masks:
            whole_nest()
            return
        w = self.w
        corners = [Nest(self.p, v.type.shape, 0, 1, 1).element(v, v.type.numel - 1).val for v in masks]
        self.m.width = width
        inside, across, after = w.new_label("inside"), w.new_label("across"), w.new_label("over")
        w.cond_br(functools.reduce(lambda a, b: w.ins(f"and i1 {a}, {b}"), corners), inside, across)
        w.open_block(inside)
        self.whole = set(masks)
        whole_nest()
        w.br(after)
        w.open_block(across)
        self.whole, self.splits, self.unroll = set(), False, 1
        whole_nest()
        w.br(after)
        w.open_block(after)

    def _masks_of_short_rows(self) -> list[Value]:
        """The masks of a nest over short rows, if they are on everywhere when they are at the last corner (see `masks`)."""
        if self.m.width < 16 or self.shape[self.vec_dim] > 8 * self.m.width or len(self.shape) < 2:
            return []
        if not all(isinstance(r, StoreRoot | WriteRoot) for r in self.roots):
            return []
        ops = [r.op for r in self.roots if isinstance(r, StoreRoot)] + self._loads()
        found = list(dict.fromkeys(m for op in ops if (m := op.operand("mask")) is not None))
        return found if all(m.type.rank and rises_nowhere(self.p, m) for m in found) else []

    def element(self, v: Value, position: int) -> Lane:
        """One element of a tile, by its row-major position: a scalar in the current block."""
        idx, rest = [], position
        for n in reversed(self.shape):
            idx.append(self.m.const(rest % n, I32))
            rest //= n
        self._open()
        lane = self.ev(v, tuple(reversed(idx)))
        self._close()
        return lane

    def _open(self) -> None:
        """Enters the next level: a hole for its instructions, then whatever must stay in order."""
        self.m.levels.append(self.w.hole())
        self.memo.append({})

    def _close(self) -> None:
        self.m.levels.pop()
        self.memo.pop()
        self.m.forget(len(self.m.levels))

    @property
    def level(self) -> int:
        return len(self.m.levels) - 1

    def _outer(self, dims: list[int], idx: list[Lane]) -> None:
        if not dims:
            self._vector(idx)
            return
        d, rest = dims[0], dims[1:]

        def body(i: str) -> None:
            inner = list(idx)
            inner[d] = uniform(i, I32, self.level)
            if not rest:
                self._request_rows(inner, d)
            self._outer(rest, inner)

        self.loop("0", str(self.shape[d]), 1, body)

    def loop(self, start: str, end: str, step: int, body: Callable[[str], None], accs: list[Accumulator] | None = None) -> None:
        """``for i = start, start + step … < end``; bounds are i32 text.  ``accs`` are carried (see Accumulator)."""
        w, accs = self.w, accs or []
        known = start.isdigit() and end.isdigit()
        trips = -(-(int(end) - int(start)) // step) if known else None
        if trips is not None and trips <= 0:
            return
        if trips == 1:
            self._open()
            body(start)
            self._close()
            return
        head, exit_ = w.new_label("loop"), w.new_label("end")
        before = w.label
        if trips is None:
            w.cond_br(w.ins(f"icmp slt i32 {start}, {end}"), head, exit_)
        else:
            w.br(head)
        w.open_block(head)
        i, phis = w.fresh("i"), w.hole()
        for a in accs:
            a.enter()
        self._open()
        body(i)
        self._close()
        n = w.ins(opaque("i32", w.ins(f"add nsw i32 {i}, {step}")))
        latch = w.label
        w.cond_br(w.ins(f"icmp slt i32 {n}, {end}"), head, exit_)
        phis.append(f"  {i} = phi i32 [ {start}, %{before} ], [ {n}, %{latch} ]")
        for a in accs:
            a.close_phis(phis, before, latch)
        w.open_block(exit_)
        for a in accs:
            a.leave(before if trips is None else None, latch)

    # --- the vector dimension ---

    def _vector(self, idx: list[Lane]) -> None:
        d, W = self.vec_dim, self.m.width
        extent = self.shape[d] if self.shape else 1
        step = W * self.unroll
        horizontal = self.axis == d or self.axis is None  # no separate loop along the axis
        accs = [a for r in self.reduces for a in Accumulator.make(self, r.op, self.unroll)] if self.axis == d else []
        general = any(not a.has_identity for a in accs)

        def body(us: int):
            def go(j: str) -> None:
                self.first = {}
                for u in range(us):
                    at = list(idx)
                    if self.shape:
                        at[d] = self.vec_lane = self._at(j, u, W)
                        self.vec_key, self.at_vector = at[d].key, u
                    if horizontal:
                        self._leaf(tuple(at), u, accs)
                    else:
                        self._along_axis(at)

            return go

        limits = [] if general or not self.splits else self._limits(idx)
        if general:
            # no neutral element: the first vector starts the accumulators
            self._open()
            body(1)("0")
            self._close()
            self.loop(str(W), str(extent), W, body(1), accs)
        elif limits:
            full, tail = self._split(limits, idx, extent, step)
            self.assumed = {conjunct for conjunct, _ in limits}
            self.assumed_level = self.level + 1
            self._main_loop(full, body, accs)
            self.assumed = set()
            for a in accs:
                a.fold()
            self.loop(full, tail, W, body(1), accs)
        else:
            self._main_loop(str(extent), body, accs)
        for r in self.reduces if self.axis == d else ():
            mine = [a for a in accs if a.op is r.op]
            self._finish_reduce(r, idx, mine)

    def _main_loop(self, end: str, body: Callable[[int], Callable[[str], None]], accs: list[Accumulator]) -> None:
        """The loop without masks; a second one, where its stores may go past the caches."""
        w, W, past = self.w, self.m.width, nontemporal.choice(self)
        if past is None:
            self.loop("0", end, W * self.unroll, body(self.unroll), accs)
            return
        direct, cached, after = w.new_label("direct"), w.new_label("cached"), w.new_label("stored")
        w.cond_br(past.when, direct, cached)
        for label, us in ((direct, past.vectors), (cached, self.unroll)):
            w.open_block(label)
            self.past_caches = label == direct
            self.loop("0", end, W * us, body(us), accs)
            w.br(after)
        w.open_block(after)

    def _at(self, j: str, u: int, W: int) -> Lane:
        """Index lane of vector ``u`` of the step at ``j``."""
        if j.isdigit():
            base, level = str(int(j) + u * W), 0
        else:
            level = self.level
            base = j if u == 0 else self.m.emit(f"add nsw i32 {j}, {u * W}", level)
        if W == 1:
            return uniform(base, I32, level, 1, int(base) if base.isdigit() else None)
        return ramp(base, I32, 1, level, W)

    def _leaf(self, idx: Index, u: int, accs: list[Accumulator]) -> None:
        """All roots at one index, in order.  Everything is read before anything is written."""
        read = {
            v: self._address(v, idx) if isinstance(r, StoreRoot) and v is r.op.operands[0] else self.ev(v, idx)
            for r in self.roots
            if not isinstance(r, AtomicRoot)
            for v in r.reads()
        }
        for r in self.roots:
            if isinstance(r, ReduceRoot):
                next(a for a in accs if a.op is r.op).take(u, [read[x] for x in r.op.operands])
            elif isinstance(r, WriteRoot):
                self.m.store(self._buffer_lane(r.into, idx), read[r.value])
                if r.alone:
                    r.into.learn(self.vec_dim, self.m.width, read[r.value])
            elif isinstance(r, StoreRoot):
                lanes = [None if v is None else read[v] for v in r.op.operands]
                if not (self.past_caches and nontemporal.store(self.m, *lanes)):
                    self._prefetch_store(read[r.op.operands[0]])
                    self.m.store(*lanes)
            else:
                self._atomic(r, idx)

    def _along_axis(self, at: list[Lane]) -> None:
        """The axis is not the vector dimension: a scalar loop along it, accumulating whole vectors."""
        axis = self.axis
        accs = [a for r in self.reduces for a in Accumulator.make(self, r.op, 1)]

        def body(i: str) -> None:
            inner = list(at)
            inner[axis] = uniform(i, I32, self.level, 1, int(i) if i.isdigit() else None)
            self._leaf(tuple(inner), 0, accs)

        n = self.shape[axis]
        start = "0"
        if any(not a.has_identity for a in accs):
            self._open()
            body("0")
            self._close()
            start = "1"
        self.loop(start, str(n), 1, body, accs)
        for r in self.reduces:
            acc = next(a for a in accs if a.op is r.op)
            out = tuple(x for k, x in enumerate(at) if k != axis)
            for b, lane in zip(r.into or [], acc.values(0)):
                self.m.store(self._buffer_lane(b, out), lane)

    def _finish_reduce(self, r: ReduceRoot, idx: list[Lane], accs: list[Accumulator]) -> None:
        (acc,) = accs
        lanes = acc.horizontal()
        if r.into is None:
            for res, lane in zip(r.op.results, lanes):
                self.p.scalars[res] = uniform(lane.val, lane.elem)
            return
        out = tuple(x for k, x in enumerate(idx) if k != self.axis)
        for b, lane in zip(r.into, lanes):
            self.m.store(self._buffer_lane(b, out), lane)

    # --- evaluation ---

    def ev(self, v: Value, idx: Index) -> Lane:
        """The lane of tile (or scalar) ``v`` at ``idx``."""
        if v.type.is_scalar:
            return self.p.scalar(v)
        if v in self.whole:
            return self.m.const(1, BOOL)
        buffer = self.p.buffers.get(v)
        if buffer is None and self.assumed and v.type.elem is BOOL and self._seen_at(v, idx) in self.assumed and self._inside_main():
            return self.m.const(1, BOOL)
        if idx is not self.asked:  # operands are mostly asked for at their operation's index
            self.asked, self.asked_key = idx, tuple([x.key for x in idx])
        key = (v, self.asked_key, bool(self.assumed))
        for memo in reversed(self.memo):
            if key in memo:
                return memo[key]
        lane = self._read(buffer, idx) if buffer is not None else self._compute(v, idx)
        top = len(self.memo) - 1
        self.memo[min(lane.level, top)][key] = lane
        return lane

    def _inside_main(self) -> bool:
        return self.level >= self.assumed_level

    def _read(self, b: Buffer, idx: Index) -> Lane:
        if b.written is not None:
            return self.m.load(self._buffer_lane(b, idx), b.written, b.initial)
        run = b.run
        if run is None or (i := idx[run.dim]).kind is not RAMP or i.stride != 1 or i.align < self.m.width or run.width % self.m.width:
            return self.m.load(self._buffer_lane(b, idx))
        at = list(idx)
        at[run.dim] = uniform(i.val, I32, i.level, i.align, int(i.val) if i.val.isdigit() else None)
        if any(x.kind is not UNIFORM for x in at):
            return self.m.load(self._buffer_lane(b, idx))
        return run.lane(self.m.load(self._place(b, tuple(at))), self.m.width)

    def _address(self, v: Value, idx: Index) -> Lane:
        """The addresses that tile ``v`` of pointers holds at ``idx``."""
        return self._beside_the_first(v, idx, lambda: self.ev(v, idx), lambda probed: self._slope(v, probed) == 1)

    def _buffer_lane(self, b: Buffer, idx: Index) -> Lane:
        return self._beside_the_first(b, idx, lambda: self._place(b, idx), lambda probed: True)

    def _beside_the_first(self, what: object, idx: Index, make: Callable[[], Lane], affine: Callable[[Index], bool]) -> Lane:
        """The addresses ``make()``.  Where they run on from those of the step's first vector, they are written as these and a
        constant, which fits into every instruction; computed by themselves, each is a register and a loop's induction variable
        for LLVM to think about, which took a third of its time."""
        key = (what, tuple("vector" if x is self.vec_lane else x.key for x in idx), bool(self.assumed))
        first, W = self.first.get(key), self.m.width
        if self.at_vector and first is not None:
            ahead = self.at_vector * W * first.elem.pointee.bytes  # type: ignore[attr-defined]
            val = self.m.emit(f"getelementptr i8, ptr {first.val}, i64 {ahead}", first.level)
            return ramp(val, first.elem, 1, first.level, min(first.align, power_of_two_in(ahead)))
        lane = make()
        if self.at_vector == 0 and self.unroll > 1 and lane.kind is RAMP and lane.stride == 1 and lane.level == self.level:
            if all(x is self.vec_lane or x.const is not None or x.level < self.level for x in idx):  # else computed from the index
                self.probe = ramp("0", I32, 1, self.level)
                if affine(tuple(self.probe if x is self.vec_lane else x for x in idx)):
                    self.first[key] = lane
        return lane

    def _place(self, b: Buffer, idx: Index) -> Lane:
        m = self.m
        p = uniform(b.ptr, ptr_element(b.elem), 0, b.align)
        off = m.const(0, I32)
        for i, s in zip(idx, b.strides):
            off = m.binary("add", off, m.binary("mul", i, m.const(s, I32)))
        return m.addptr(p, off)

    def _map_index(self, op: Op, v: Value, idx: Index) -> Index:
        """The index at which ``op``'s operands are needed to have result ``v`` at ``idx``."""
        name, a = op.name, op.attrs
        if name == "splat":
            return ()
        if name == "broadcast":
            src = op.operands[0].type.shape
            zero = self.m.const(0, I32)
            return tuple(zero if s == 1 else i for s, i in zip(src, idx))
        if name == "expand_dims":
            return idx[: a["axis"]] + idx[a["axis"] + 1 :]
        if name == "permute":
            out: list[Lane] = list(idx)
            for i, o in enumerate(a["order"]):
                out[o] = idx[i]
            return tuple(out)
        if name == "reshape":
            return self._reshaped(op.operands[0].type.shape, v.type.shape, idx)
        if name == "join":
            return idx[:-1]
        if name == "split":
            return (*idx, self.m.const(v.index, I32))
        return idx

    def _reshaped(self, src: tuple[int, ...], dst: tuple[int, ...], idx: Index) -> Index:
        """The index of a tile of shape ``src`` that ``idx`` of the same tile, reshaped to ``dst``, stands for."""
        m = self.m
        out = [m.const(0, I32)] * len(src)
        for mine, theirs in runs(src, dst):
            flat, stride = idx[theirs[-1]], dst[theirs[-1]]
            for d in reversed(theirs[:-1]):
                flat = m.binary("add", flat, m.binary("mul", idx[d], m.const(stride, I32)))
                stride *= dst[d]
            shift = 0
            for d in reversed(mine):
                x = m.binary("lshr", flat, m.const(shift, I32)) if shift else flat
                out[d] = x if d == mine[0] else m.binary("and", x, m.const(src[d] - 1, I32))
                shift += src[d].bit_length() - 1
        return tuple(out)

    def _compute(self, v: Value, idx: Index) -> Lane:
        op, m = v.op, self.m
        if op is None:
            raise unsupported(f"a tile that is not in memory ({v!r})")
        name = op.name
        if op.defn.elementwise:
            return m.apply(op, [self.ev(x, idx) for x in op.operands])
        if name == "constant":
            return m.const(op.attrs["value"], v.type.elem)
        if name == "arange":
            return m.binary("add", idx[0], m.const(op.attrs["start"], I32))
        if name == "load":
            return self._load(op, idx)
        if name == "join":
            return self._joined(op, v, idx)
        if name == "hint":
            return self._hinted(op, self.ev(op.operands[0], idx), idx)
        if name == "reshape" and (b := self.p.buffers.get(op.operands[0])) is not None and b.is_row_major():
            return self._read(Buffer.row_major(b.ptr, b.elem, v.type.shape), idx)
        if name in ("splat", "broadcast", "expand_dims", "permute", "reshape", "split"):
            return self.ev(op.operands[0], self._map_index(op, v, idx))
        if name == "gather":
            at = list(idx)
            at[op.attrs["axis"]] = m.resize(self.ev(op.operands[1], idx), I32)
            return self._read(self.p.buffers[op.operands[0]], tuple(at))
        if name == "map":
            return self._mapped(op, v, idx)
        raise unsupported(f"operation {name} here", op)

    def _joined(self, op: Op, v: Value, idx: Index) -> Lane:
        inner = self._map_index(op, v, idx)
        which = idx[-1]
        if which.const is not None:
            return self.ev(op.operands[int(which.const)], inner)
        first = self.m._compare("icmp", "eq", [which, self.m.const(0, I32)])
        return self.m.select(first, *(self.ev(x, inner) for x in op.operands))

    def _hinted(self, op: Op, x: Lane, idx: Index) -> Lane:
        values, d = op.attrs["values"], next((k for k, i in enumerate(idx) if i.kind is RAMP), None)
        if op.attrs["kind"] == "divisible" and x.kind is not VECTOR and values:
            x = Lane(x.kind, x.val, x.elem, x.stride, max(x.align, values[-1 if d is None else d]), x.level, x.const)
        if op.attrs["kind"] == "contiguous" and x.kind is VECTOR and d is not None and x.elem.is_int:
            if values[d] >= self.m.width and values[d] % self.m.width == 0 and self._turns_between_vectors(op.operands[0], idx):
                t = llvm_type(x.elem)
                base = self.m.emit(f"extractelement <{self.m.width} x {t}> {x.val}, i64 0", x.level)
                return ramp(base, x.elem, 1, x.level)
        return x

    def _turns_between_vectors(self, v: Value, idx: Index) -> bool:
        """Whether ``v`` returns to its begin in front of a whole vector, where it is a remainder or is zero beyond a bound.

        ``tl.max_contiguous(offsets % n, BLOCK)`` is said of numbers that turn at n.  What stands behind the turn matters to nobody
        who then stores under a mask, but it is a place to read: of a table of rows, a row that is no row.
        """
        while v.op is not None and v.op.name in ("hint", "sext", "zext", "trunci"):
            v = v.op.operands[0]
        bound = None
        if v.op is not None and v.op.name in ("srem", "urem"):
            bound = v.op.operands[1]
        elif v.op is not None and v.op.name == "select" and v.op.operands[0].op is not None and v.op.operands[0].op.name == "icmp":
            bound = v.op.operands[0].op.operands[1]
        if bound is None:
            return True
        n = self.ev(bound, idx)
        return n.kind is UNIFORM and (n.align if n.const is None else power_of_two_in(int(n.const))) % self.m.width == 0

    def _mapped(self, op: Op, v: Value, idx: Index) -> Lane:
        if op.attrs["pack"] != 1:
            raise unsupported("map_elementwise with pack > 1")
        return self.m.run_block(op.blocks[0], [self.ev(x, idx) for x in op.operands], self.p.scalar)[v.index]

    # --- memory roots and leaves ---

    def _load(self, op: Op, idx: Index) -> Lane:
        moved = self.p.moved.get(op.result)
        p = self._address(op.operands[0], idx) if moved is None else self._buffer_lane(moved, idx)
        self._prefetch(op, p)
        mask, other = op.operands[1], op.operands[2]
        hoisted = bool(self.assumed) and p.level < self.assumed_level
        saved = self.assumed
        if hoisted:
            self.assumed = set()  # written in front of the main loop: nothing may be assumed there
        mk = None if mask is None else self.ev(mask, idx)
        self.assumed = saved
        ot = None if other is None else self.ev(other, idx)
        return self.m.load(p, mk, ot, op.attrs["volatile"], repeats(op.operands[0]))

    def pointers(self) -> dict[Value, bool]:
        """The tiles of pointers that this nest goes through, and whether it writes there."""
        found = {r.op.operands[0]: True for r in self.roots if isinstance(r, (StoreRoot, AtomicRoot))}
        return found | {op.operands[0]: False for op in self._loads()}

    def _loads(self) -> list[Op]:
        """The loads that this nest evaluates, but for those in addresses of stores."""
        found: list[Op] = []
        seen: set[Value] = set()
        stack: list[Value] = []
        for r in self.roots:
            stack += [v for v in r.op.operands[1:] if v is not None] if isinstance(r, (StoreRoot, AtomicRoot)) else r.reads()
        while stack:
            v = stack.pop()
            if v in seen or v.op is None or v.type.is_scalar or v in self.p.buffers or v in self.p.moved:
                continue
            seen.add(v)
            if v.op.name == "load":
                found.append(v.op)
            stack += [x for x in v.op.operands if x is not None]
        return found

    def _atomic(self, r: AtomicRoot, idx: Index) -> None:
        op, m = r.op, self.m
        xs = [None if v is None else self.ev(v, idx) for v in op.operands]
        if r.add is not None:
            r.add(*xs)
            return
        if m.width > 1:
            m.atomic_adds(op, *xs)
            return
        old = m.atomic_rmw(op, *xs) if op.name == "atomic_rmw" else m.atomic_cas(op, *xs)
        if r.into is not None:
            m.store(self._buffer_lane(r.into, idx), old)
