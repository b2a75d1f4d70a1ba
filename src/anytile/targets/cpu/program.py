"""One program of a kernel as an LLVM function: walks the blocks and emits each planned step.

Scalars are emitted where they stand, in real control flow (`control`).  Groups become loop nests (`nest`), dots calls of
micro-kernels.  Buffers lie in the worker's scratch memory at constant offsets; those of a region are released when
the region ends, so the high-water mark is what a worker needs.
"""

from __future__ import annotations

from ...ir import Block, Func, Op, Value
from ...ir.types import I32, I64, Type
from .atomic_groups import in_group
from .combining import Combining
from .control import emit_for, emit_if, emit_while
from .direct import direct_load, emit_direct
from .dot import DotEmitter, PackNest, group_of
from .forward import Group, Guard, Single, Step
from .guard import emit_guard
from .hostcalls import HostCalls
from .interleave import JoinNest, is_join
from .lanes import Lane, uniform
from .launch_memory import LaunchMemory, synchronises
from .machine import Machine
from .memory import Buffer, Memory
from .nest import Nest
from .panels import Panels
from .plan import Planner
from .requests import Requests
from .roots import AtomicRoot, ReduceRoot, Root, StoreRoot, WriteRoot
from .scan import emit_histogram, emit_scan
from .shape import choose_unroll, choose_vector_dim, steps
from .sort import emit_sort
from .text import Writer, llvm_type, unsupported
from .transpose import GroupTransposeNest, TransposeNest, grouped, request_next, transposed_dim

__all__ = ["Program"]


class Program:
    """Code generator for one kernel; `emit` gives the function ``@name``, ``scratch`` is the bytes a worker needs.

    ``attributes``: LLVM's, of the function (`driver`).
    """

    def __init__(self, func: Func, machine: Machine, contract: bool, name: str = "program", attributes: str = "#0"):
        self.func, self.machine, self.name, self.attributes = func, machine, name, attributes
        self.w = Writer()
        self.memory = Memory(self.w, 1, contract)
        self.memory.avx512 = machine.has("avx512f")
        self.scalars: dict[Value, Lane] = {}
        self.buffers: dict[Value, Buffer] = {}
        self.moved: dict[Value, Buffer] = {}  # rows behind a guard: where their loads find them
        self.requested: set[Value] = set()  # tiles of pointers whose lines have been requested (`requests`)
        self.planner = Planner()
        self.step_memo: dict[Value, tuple] = {}
        self.dots = DotEmitter(self)
        self.launch = LaunchMemory(self)
        self.panels = Panels(self)
        self.combining = Combining(self)
        self.offset = 0
        self.scratch = 0
        self.hostcalls = HostCalls(self)
        self.loops: list[Op] = []  # the for loops around the current place
        self.constants: list[str] = []
        self.entry = self.w.hole()
        self.synchronises = any(synchronises(op) for op in func.walk())
        self.waits = False  # whether some stores are not ordered with others (`nontemporal`)
        self._programs = ""

    # --- entry ---

    def emit(self) -> str:
        """The text of the function with everything it needs besides."""
        params = ["ptr noalias %scratch"]
        for i, (a, attrs) in enumerate(zip(self.func.args, self.func.arg_attrs)):
            e = a.type.elem
            align = int(attrs.get("divisible", 1)) if not e.is_float else 1
            self.scalars[a] = uniform(f"%a{i}", e, 0, align)
            params.append(f"{llvm_type(e)} %a{i}")
        for axis in "xyz":
            params += [f"i32 %p{axis}", f"i32 %n{axis}"]
        self.dots.prepare()
        self.hostcalls.prepare()
        self.planner.plan(self.func.body)
        kept = (self.panels, self.combining)
        for k in kept:
            k.prepare()
        self.launch.place()
        for k in kept:
            k.place()
        self.block(self.func.body)
        body = self.w.text()
        head = f"define internal void @{self.name}({', '.join(params)}) {self.attributes} {{\nentry:\n"
        functions = [f for part in (self.dots, self.launch, self.combining) for f in part.functions()]
        return "\n".join([*self.constants, head + body + "\n}", *functions])

    # --- blocks and steps ---

    def block(self, block: Block) -> None:
        for step, pointers in self.planner.before_dots(block):
            for pointer in pointers:
                Requests(self, pointer).run([])
                self.memory.width = 1
            for op in step.roots if isinstance(step, Group) else [step.op] if isinstance(step, Single) else []:
                if op.name == "store":
                    self.panels.before_store(op)
            self.step(step)

    def step(self, step: Step) -> None:
        if isinstance(step, Group):
            self.group(step)
        elif isinstance(step, Guard):
            emit_guard(self, step)
        else:
            self.single(step.op)

    def group(self, g: Group) -> None:
        roots: list[Root] = []
        filled: list[tuple[Value, Buffer]] = []
        for v in g.writes:
            b = self.place(v)
            load = direct_load(self, v) if v not in self.planner.home else None
            if load is not None:
                filled.append((v, emit_direct(self, v, load, b)))
                continue
            if v in self.panels.panels:
                filled.append((v, self.panels.emit(v, b)))
                continue
            filled.append((v, b))
            roots.append(WriteRoot(v, b, alone=v not in self.planner.home))
        for op in g.roots:
            if op.name == "reduce":
                into = None
                if op.results[0].type.rank:
                    into = [self.place(r) for r in op.results]
                    filled += list(zip(op.results, into))
                roots.append(ReduceRoot(op, into))
            elif op.name == "store":
                roots.append(StoreRoot(op))
            else:
                into_old = None
                if op.result.uses:
                    into_old = self.place(op.result)
                    filled.append((op.result, into_old))
                roots.append(AtomicRoot(op, into_old))
        packed = [r for r in roots if isinstance(r, WriteRoot) and r.into.layout is not None]
        for r in packed:  # an interleaving nest takes no other roots
            self.nest(g.shape, [r])
        rest = [r for r in roots if r not in packed]
        if g.roots and g.roots[0] in self.combining.ops:
            (op,) = g.roots
            self.combining.emit(
                lambda: self.nest(g.shape, [AtomicRoot(op, None, self.combining.add)], scalar=True),
                lambda: self.nest(g.shape, rest, scalar=True),
            )
        elif rest:
            self.nest(g.shape, rest, scalar=g.scalar)
        self.buffers.update(filled)
        for _, b in filled:
            b.written = None  # from here on it holds what has been written (`control`)

    def nest(self, shape: tuple[int, ...], roots: list[Root], scalar: bool = False) -> None:
        """Emits one loop nest; a group of reductions keeps its axis innermost or vectorised."""
        axis = next((r.op.attrs["axis"] for r in roots if isinstance(r, ReduceRoot)), None)
        if isinstance(roots[0], WriteRoot) and roots[0].into.layout is not None:
            assert len(roots) == 1
            group = group_of(roots[0].into.layout)
            columns = grouped(self, roots[0], group)
            if columns is not None:
                request_next(self, shape, len(shape) - 2, roots)
                GroupTransposeNest(self, shape, group, columns).run(roots)
            else:
                PackNest(self, shape, len(shape) - 1, min(self.machine.lanes, shape[-1]), 1).run(roots)
            self.memory.width = 1
            return
        join = roots[0]
        # a join that has a buffer is copied: memory may have changed since it was filled
        if isinstance(join, WriteRoot) and is_join(roots) and join.value not in self.buffers:
            JoinNest(self, join).write()
            self.memory.width = 1
            return
        across = transposed_dim(self, shape, roots) if not scalar else None
        if across is not None:
            width = min(self.machine.lanes, shape[across], shape[-1])
            request_next(self, shape, across, roots)
            TransposeNest(self, shape, across, width, 1).run(roots)
            self.memory.width = 1
            return
        d = choose_vector_dim(self, shape, roots, axis)
        width = 1 if scalar else min(self.machine.lanes, shape[d])
        unroll = choose_unroll(self, shape, roots, d, width, axis)
        if isinstance(roots[0], AtomicRoot) and (along := self._together(roots[0])) is not None:
            d, width, unroll = along, in_group(roots[0].op), 1
        Nest(self, shape, d, width, unroll).run(roots)
        self.memory.width = 1

    def _together(self, r: AtomicRoot) -> int | None:
        """The dimension along which atomics may share instructions (`atomic_groups`), if they may."""
        n, pointer = in_group(r.op), r.op.operands[0]
        if n == 1 or r.into is not None or r.add is not None:
            return None
        found = [d for d, step in enumerate(steps(pointer, self.step_memo)) if step == 1 and pointer.type.shape[d] >= n]
        return found[-1] if found else None

    def write(self, v: Value, into: Buffer) -> None:
        """Fills ``into`` with tile ``v`` (nothing to do where it is that buffer already)."""
        if self.buffers.get(v) is not into:
            self.nest(v.type.shape, [WriteRoot(v, into)])

    # --- buffers ---

    def place(self, v: Value) -> Buffer:
        """The buffer ``v`` is to be computed into."""
        a = self.planner.home.get(v)
        if a is not None:
            return self.buffers[a]
        return self.dots.packed_buffer(v) or self.allocate(v.type)

    def allocate(self, t: Type) -> Buffer:
        return Buffer.row_major(self.reserve(t.numel * max(1, t.elem.bytes)), t.elem, t.shape)

    def reserve(self, nbytes: int) -> str:
        """``nbytes`` of scratch, 64-byte aligned, for the rest of the current region."""
        at = self.offset
        self.offset = (at + nbytes + 63) & ~63
        self.scratch = max(self.scratch, self.offset)
        name = self.w.fresh("buf")
        self.entry.append(f"  {name} = getelementptr i8, ptr %scratch, i64 {at}")
        return name

    def sources(self, v: Value) -> list[Buffer]:
        """The buffers that evaluating ``v`` reads."""
        out, seen, stack = [], set(), [v]
        while stack:
            x = stack.pop()
            if x in seen or x.type.is_scalar:
                continue
            seen.add(x)
            b = self.buffers.get(x)
            if b is not None:
                out.append(b)
            elif x.op is not None:
                stack += [y for y in x.op.operands if y is not None]
        return out

    # --- scalars ---

    def programs(self) -> str:
        """How many programs the launch has (an i64 operand)."""
        if not self._programs:
            x, y, z, xy, self._programs = (self.w.fresh(s) for s in ("nx", "ny", "nz", "nxy", "programs"))
            widened = [f"  {v} = zext i32 %n{axis} to i64" for v, axis in ((x, "x"), (y, "y"), (z, "z"))]
            for line in (*widened, f"  {xy} = mul i64 {x}, {y}", f"  {self._programs} = mul i64 {xy}, {z}"):
                self.entry.append(line)
        return self._programs

    def scalar(self, v: Value) -> Lane:
        got = self.scalars.get(v)
        if got is None:
            if v.op is None or v.op.name != "constant":
                raise unsupported(f"the scalar {v!r} before its definition")
            got = self.scalars[v] = self.memory.const(v.op.attrs["value"], v.type.elem)
        return got

    def single(self, op: Op) -> None:
        name, m = op.name, self.memory
        handler = getattr(self, "_op_" + name, None)
        if handler is not None:
            handler(op)
        elif op.defn.elementwise and op.result.type.is_scalar:
            lane = m.apply(op, [self.scalar(v) for v in op.operands])
            lane.level = 0
            self.scalars[op.result] = lane
        else:
            raise unsupported(f"operation {name}", op)

    def _op_constant(self, op: Op) -> None:
        self.scalars[op.result] = self.memory.const(op.attrs["value"], op.result.type.elem)

    def _op_program_id(self, op: Op) -> None:
        self.scalars[op.result] = uniform("%p" + "xyz"[op.attrs["axis"]], I32)

    def _op_num_programs(self, op: Op) -> None:
        self.scalars[op.result] = uniform("%n" + "xyz"[op.attrs["axis"]], I32)

    def _op_hint(self, op: Op) -> None:
        x = self.scalar(op.operands[0])
        values = op.attrs["values"]
        align = max(x.align, values[0]) if op.attrs["kind"] == "divisible" and values else x.align
        self.scalars[op.result] = uniform(x.val, x.elem, 0, align, x.const)

    def _op_assume(self, op: Op) -> None:
        fn = self.w.declare("llvm.assume", "void(i1)")
        self.w.put(f"call void {fn}(i1 {self.scalar(op.operands[0]).val})")

    def _op_print(self, op: Op) -> None:
        self.hostcalls.emit_print(op)

    def _op_assert(self, op: Op) -> None:
        self.hostcalls.emit_assert(op)

    def _op_clock(self, op: Op) -> None:
        self.scalars[op.result] = uniform(self.hostcalls.emit_clock(), I64)

    def _op_barrier(self, op: Op) -> None:
        """One thread runs a program: program order is enough."""

    def _op_load(self, op: Op) -> None:
        p, mask, other = (None if v is None else self.scalar(v) for v in op.operands)
        lane = self.memory.load(p, mask, other, op.attrs["volatile"])
        self.scalars[op.result] = Lane(lane.kind, lane.val, lane.elem, const=lane.const)

    def _op_store(self, op: Op) -> None:
        p, x, mask = (None if v is None else self.scalar(v) for v in op.operands)
        self.memory.store(p, x, mask)

    def _op_atomic_rmw(self, op: Op) -> None:
        xs = [None if v is None else self.scalar(v) for v in op.operands]
        self._set(op, self.memory.atomic_rmw(op, *xs))

    def _op_atomic_cas(self, op: Op) -> None:
        self._set(op, self.memory.atomic_cas(op, *[self.scalar(v) for v in op.operands]))

    def _set(self, op: Op, lane: Lane) -> None:
        self.scalars[op.result] = uniform(lane.val, lane.elem, 0, const=lane.const)

    def _op_splat(self, op: Op) -> None:
        self.scalars[op.result] = self.scalar(op.operands[0])  # a scalar made of a scalar

    def _op_reshape(self, op: Op) -> None:
        self._take(op)

    _op_split = _op_reshape

    def _take(self, op: Op) -> None:
        """Scalars taken out of a tile."""
        x = op.operands[0]
        if x.type.is_scalar:
            self.scalars[op.result] = self.scalar(x)
            return
        nest = Nest(self, x.type.shape, 0, 1, 1)
        for r in op.results:
            lane = nest.element(x, r.index)
            self.scalars[r] = uniform(lane.val, lane.elem, 0, const=lane.const)

    def _op_map(self, op: Op) -> None:
        for r, lane in zip(op.results, self.memory.run_block(op.blocks[0], [self.scalar(v) for v in op.operands], self.scalar)):
            self.scalars[r] = uniform(lane.val, lane.elem, 0)

    # --- whole-tile operations ---

    def _op_dot(self, op: Op) -> None:
        into = self.place(op.result)
        self.dots.emit(op, into)
        self.buffers[op.result] = into

    def _op_scan(self, op: Op) -> None:
        into = [self.allocate(r.type) for r in op.results]
        emit_scan(self, op, into)
        self.buffers.update(zip(op.results, into))

    def _op_sort(self, op: Op) -> None:
        into = self.allocate(op.result.type)
        emit_sort(self, op, into)
        self.buffers[op.result] = into

    def _op_histogram(self, op: Op) -> None:
        into = self.allocate(op.result.type)
        emit_histogram(self, op, into)
        self.buffers[op.result] = into

    # --- control flow ---

    def _op_return(self, op: Op) -> None:
        self.w.put("ret void")

    def _op_yield(self, op: Op) -> None:
        """The enclosing operation reads the yielded values itself."""

    _op_condition = _op_yield

    def _op_if(self, op: Op) -> None:
        emit_if(self, op)

    def _op_for(self, op: Op) -> None:
        emit_for(self, op)

    def _op_while(self, op: Op) -> None:
        emit_while(self, op)
