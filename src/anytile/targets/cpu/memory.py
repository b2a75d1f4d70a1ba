"""Loads, stores and atomics on lanes.

The shape of the address decides the instruction: UNIFORM is one scalar access, a RAMP of stride 1 a vector
access, everything else a gather or scatter.  A masked scalar load needs no branch: a masked-off address is
replaced by that of a harmless word, so loads can be written in front of loops.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Op
from ...ir.types import BF16, BOOL, F16, F32, F64, I8, Element
from .atomic_groups import adder
from .lanes import RAMP, UNIFORM, VECTOR, Lane, power_of_two_in, ramp, uniform, vector
from .microkernel_layout import PackedLayout
from .near import Near
from .text import bf16_to_float, literal, llvm_type, memory_type, number_type, round_to_bf16, unsupported

__all__ = ["Buffer", "Memory", "Run"]

_ON_FLOATS = {"fadd": "fadd {0}, {1}", "fmax": "call float @llvm.maxnum.f32({0}, {2})", "fmin": "call float @llvm.minnum.f32({0}, {2})"}
"""What atomics compute with floats: the first operand with its type, the second without and with."""


def _after_failure(order: str) -> str:
    """The order of a compare-and-exchange that finds another value."""
    return {"acq_rel": "acquire", "release": "monotonic"}.get(order, order)


_SUFFIX = {F16: "f16", F32: "f32", F64: "f64"}


@dataclass(frozen=True)
class Run:
    """What lies in a buffer of integers or addresses: along dimension ``dim``, blocks of ``width`` that begin at its multiples hold numbers
    in a row, ``stride`` apart.  ``align`` is a power of two that divides the first of each (as `Lane.align`)."""

    dim: int
    width: int
    stride: int
    align: int

    def lane(self, first: Lane, width: int) -> Lane:
        """What a vector of so many elements holds, a part of a block, whose first element is ``first``."""
        align = min(self.align, power_of_two_in(width * self.stride)) if width < self.width else self.align
        if not self.stride:
            return uniform(first.val, first.elem, first.level, align)
        return ramp(first.val, first.elem, self.stride, first.level, align)


@dataclass(eq=False)
class Buffer:
    """A tile in memory: ``ptr`` is an operand that is valid everywhere in the function.

    ``strides`` count elements; ``layout`` replaces them for packed dot operands, which only a dot reads.
    ``run`` is None where nothing is known of what it holds.  ``initial`` is what it holds while ``written`` (an i1) does not hold, although
    nobody has written that.
    """

    ptr: str
    elem: Element
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    align: int = 64
    layout: PackedLayout | None = None
    row_stride: str | None = None  # of an operand read in place: elements between rows, known at run time
    ahead: str = "0"  # of an operand read in place: elements to where the next iteration reads
    run: Run | None = None
    mixed: bool = False  # whether vectors of several kinds were written
    written: Lane | None = None
    initial: Lane | None = None

    def learn(self, dim: int, width: int, lane: Lane) -> None:
        """``lane`` is one of the vectors along ``dim`` that the buffer will hold; all of them are told here, before it is read."""
        known = self.run.align if self.run is not None else lane.align
        regular = width > 1 and lane.kind is not VECTOR and isinstance(lane.stride, int) and (lane.elem.is_int or lane.elem.is_ptr)
        run = Run(dim, width, int(lane.stride), min(known, lane.align)) if regular else None
        alike = self.run is None or run is not None and (run.dim, run.width, run.stride) == (self.run.dim, self.run.width, self.run.stride)
        self.mixed |= run is None or not alike
        self.run = None if self.mixed else run

    @staticmethod
    def row_major(ptr: str, elem: Element, shape: tuple[int, ...]) -> Buffer:
        strides, n = [], 1
        for d in reversed(shape):
            strides.append(n)
            n *= d
        return Buffer(ptr, elem, shape, tuple(reversed(strides)))

    def is_row_major(self) -> bool:
        """Whether the elements lie in order without gaps, so that the same memory is a tile of any other shape as well."""
        return self.layout is None and self.row_stride is None and self.strides == Buffer.row_major("", self.elem, self.shape).strides


def _suffix(e: Element) -> str:
    if e.is_ptr:
        return "p0"
    return _SUFFIX.get(e, memory_type(e))


class Memory(Near):
    """Adds memory access to `Arith`.

    ``dummy`` is the address of a 64-byte word that loads may touch.  ``avx512``: loads and stores of elements of any size have masks,
    stores may shorten integers on the way, and words are gathered with masks.
    """

    dummy = "@anytile_dummy"
    avx512 = False

    def load(self, p: Lane, mask: Lane | None = None, other: Lane | None = None, volatile: bool = False, repeats: bool = False) -> Lane:
        """The values at ``p``; ``other`` (zero) where the mask is off.  ``repeats``: the addresses are mostly one, if they are a vector."""
        e = p.elem.pointee  # type: ignore[attr-defined]
        if mask is not None and mask.const is not None:
            if mask.const:
                mask = None
            else:
                return other if other is not None else self._zero(e)
        if e is BOOL:
            o = None if other is None else self._widen_bool(other)
            raw = self._load(Lane(p.kind, p.val, p.elem, p.stride, p.align, p.level), I8, mask, o, volatile)
            as_vector = raw.kind is not UNIFORM
            zero = "zeroinitializer" if as_vector else "0"
            return self._result(self.emit(f"icmp ne {self.operand(raw, as_vector)}, {zero}", raw.level), BOOL, as_vector, raw.level)
        if repeats and p.kind is VECTOR and mask is None and not volatile:
            return vector(
                self.emit(f"call <{self.width} x {llvm_type(e)}> @{self._gather_of_one(e)}({self.operand(p, True)})", p.level), e, p.level
            )
        return self._load(p, e, mask, other, volatile)

    def _gather_of_one(self, e: Element) -> str:
        """The name of a function that loads from a vector of addresses: by one scalar load where they are all the same."""
        t, n = llvm_type(e), self.width
        name = f"gather.one.v{n}{_suffix(e)}"
        gather = self.w.declare(f"llvm.masked.gather.v{n}{_suffix(e)}.v{n}p0", f"<{n} x {t}>(<{n} x ptr>, <{n} x i1>, <{n} x {t}>)")
        self.w.declared[name] = f"""define internal <{n} x {t}> @{name}(<{n} x ptr> %p) nounwind alwaysinline {{
  %first = extractelement <{n} x ptr> %p, i64 0
  %start = insertelement <{n} x ptr> poison, ptr %first, i64 0
  %all = shufflevector <{n} x ptr> %start, <{n} x ptr> poison, <{n} x i32> zeroinitializer
  %same = icmp eq <{n} x ptr> %p, %all
  %bits = bitcast <{n} x i1> %same to i{n}
  %one = icmp eq i{n} %bits, -1
  br i1 %one, label %single, label %each
single:
  %x = load {t}, ptr %first, align {e.bytes}
  %x.first = insertelement <{n} x {t}> poison, {t} %x, i64 0
  %x.all = shufflevector <{n} x {t}> %x.first, <{n} x {t}> poison, <{n} x i32> zeroinitializer
  ret <{n} x {t}> %x.all
each:
  %xs = call <{n} x {t}> {gather}(<{n} x ptr> align {e.bytes} %p, <{n} x i1> splat (i1 true), <{n} x {t}> zeroinitializer)
  ret <{n} x {t}> %xs
}}"""
        return name

    def _zero(self, e: Element) -> Lane:
        return self.const(0, e)

    def _widen_bool(self, x: Lane) -> Lane:
        if x.const is not None:
            return self.const(x.const, I8)
        return self._convert("zext", x, I8)

    def _load(self, p: Lane, e: Element, mask: Lane | None, other: Lane | None, volatile: bool) -> Lane:
        t, n, v = llvm_type(e), self.width, "volatile " if volatile else ""
        level = max([p.level] + [x.level for x in (mask, other) if x is not None])
        if p.kind is UNIFORM and (mask is None or mask.kind is UNIFORM):
            return self._load_scalar(p, e, mask, other, v, level)
        if p.kind is UNIFORM:
            some = self.any_of(mask)
            x = self._load_scalar(p, e, some, None, v, max(level, some.level))
            return self.select(mask, x, other if other is not None else self._zero(e))
        rest = self.vec(other if other is not None else self._zero(e))
        if p.kind is RAMP and p.stride == 1:
            align = min(p.align, 64) if p.align >= e.bytes else e.bytes
            if mask is None:
                return vector(self.emit(f"load {v}<{n} x {t}>, ptr {p.val}, align {align}", level), e, level)
            fn = self.w.declare(f"llvm.masked.load.v{n}{_suffix(e)}.p0", f"<{n} x {t}>(ptr, <{n} x i1>, <{n} x {t}>)")
            text = f"call <{n} x {t}> {fn}(ptr align {align} {p.val}, <{n} x i1> {self.vec(mask)}, <{n} x {t}> {rest})"
            return vector(self.emit(text, level), e, level)
        m = self.vec(mask) if mask is not None else "splat (i1 true)"
        if self.avx512 and e.bits < 32 and not volatile:
            return vector(self._gather_words(e, self.vec(p), m, rest if mask is not None else "zeroinitializer", level), e, level)
        fn = self.w.declare(f"llvm.masked.gather.v{n}{_suffix(e)}.v{n}p0", f"<{n} x {t}>(<{n} x ptr>, <{n} x i1>, <{n} x {t}>)")
        text = f"call <{n} x {t}> {fn}(<{n} x ptr> align {e.bytes} {self.vec(p)}, <{n} x i1> {m}, <{n} x {t}> {rest})"
        return vector(self.emit(text, level), e, level)

    def _gather_words(self, e: Element, pointers: str, mask: str, rest: str, level: int) -> str:
        """A gather of 8 or 16 bits each, for which there is no instruction: LLVM would make a load, and with a mask a branch, for each lane.

        It is one of the aligned words around them, which are in memory if these are, and shifts.
        """
        t, n, wide = llvm_type(e), self.width, f"<{self.width} x i32>"
        at = self.emit(f"ptrtoint <{n} x ptr> {pointers} to <{n} x i64>", level)
        words = self.emit(f"inttoptr <{n} x i64> {self.emit(f'and <{n} x i64> {at}, splat (i64 -4)', level)} to <{n} x ptr>", level)
        fn = self.w.declare(f"llvm.masked.gather.v{n}i32.v{n}p0", f"{wide}(<{n} x ptr>, <{n} x i1>, {wide})")
        read = self.emit(f"call {wide} {fn}(<{n} x ptr> align 4 {words}, <{n} x i1> {mask}, {wide} zeroinitializer)", level)
        low = self.emit(f"trunc <{n} x i64> {at} to {wide}", level)
        bits = self.emit(f"and {wide} {self.emit(f'shl {wide} {low}, splat (i32 3)', level)}, splat (i32 24)", level)
        x = self.emit(f"trunc {wide} {self.emit(f'lshr {wide} {read}, {bits}', level)} to <{n} x i{e.bits}>", level)
        if t != f"i{e.bits}":
            x = self.emit(f"bitcast <{n} x i{e.bits}> {x} to <{n} x {t}>", level)
        zero = rest in ("zeroinitializer", f"splat ({t} {literal(0, e)})")
        return x if zero else self.emit(f"select <{n} x i1> {mask}, <{n} x {t}> {x}, <{n} x {t}> {rest}", level)

    def _load_scalar(self, p: Lane, e: Element, mask: Lane | None, other: Lane | None, v: str, level: int) -> Lane:
        t, addr = llvm_type(e), p.val
        if mask is not None:
            addr = self.emit(f"select i1 {mask.val}, ptr {p.val}, ptr {self.dummy}", level)
        x = uniform(self.emit(f"load {v}{t}, ptr {addr}, align {e.bytes}", level), e, level)
        if mask is None:
            return x
        return self.select(mask, x, other if other is not None else self._zero(e))

    def store(self, p: Lane, x: Lane, mask: Lane | None = None) -> None:
        """Writes at the current place (stores keep their order)."""
        e, n = p.elem.pointee, self.width  # type: ignore[attr-defined]
        if mask is not None and mask.const is not None:
            if not mask.const:
                return
            mask = None
        if e is BOOL:
            x, e = self._widen_bool(x), I8
        t = llvm_type(e)
        if p.kind is UNIFORM and x.kind is UNIFORM and (mask is None or mask.kind is UNIFORM):
            self._store_scalar(f"{t} {x.val}", p.val, e, mask)
            return
        if p.kind is RAMP and p.stride == 1:
            align = min(p.align, 64) if p.align >= e.bytes else e.bytes
            if mask is None:
                self.w.put(f"store <{n} x {t}> {self.vec(x)}, ptr {p.val}, align {align}")
                return
            fn = self.w.declare(f"llvm.masked.store.v{n}{_suffix(e)}.p0", f"void(<{n} x {t}>, ptr, <{n} x i1>)")
            value, on = self._apart(e, self.vec(x), self.vec(mask))
            self.w.put(f"call void {fn}(<{n} x {t}> {value}, ptr align {align} {p.val}, <{n} x i1> {on})")
            return
        m = self.vec(mask) if mask is not None else "splat (i1 true)"
        fn = self.w.declare(f"llvm.masked.scatter.v{n}{_suffix(e)}.v{n}p0", f"void(<{n} x {t}>, <{n} x ptr>, <{n} x i1>)")
        self.w.put(f"call void {fn}(<{n} x {t}> {self.vec(x)}, <{n} x ptr> align {e.bytes} {self.vec(p)}, <{n} x i1> {m})")

    def _apart(self, e: Element, value: str, mask: str) -> tuple[str, str]:
        """(value, mask) of a masked store, of which LLVM does not see that the value was made of longer integers.

        It would join the two; and where it knows that the mask has one lane, LLVM 22 stores that lane at its former length, over what
        lies behind it.  A register passes through no instructions at all; small vectors have none, so their mask does.
        """
        t, n = llvm_type(e), self.width
        if not self.avx512 or e.bits == 64 or not t.startswith("i"):
            return value, mask
        if n * e.bytes in (16, 32, 64):
            return self.w.ins(f'call <{n} x {t}> asm "", "=v,0"(<{n} x {t}> {value})'), mask
        bits = self.w.ins(f"bitcast <{n} x i1> {mask} to i{n}")
        wide = bits if n == 64 else self.w.ins(f"zext i{n} {bits} to i64")
        kept = self.w.ins(f'call i64 asm "", "=r,0"(i64 {wide})')
        some = kept if n == 64 else self.w.ins(f"trunc i64 {kept} to i{n}")
        return value, self.w.ins(f"bitcast i{n} {some} to <{n} x i1>")

    def _store_scalar(self, typed: str, ptr: str, e: Element, mask: Lane | None) -> None:
        if mask is None:
            self.w.put(f"store {typed}, ptr {ptr}, align {e.bytes}")
            return
        yes, after = self.w.new_label("store"), self.w.new_label("stored")
        self.w.cond_br(mask.val, yes, after)
        self.w.open_block(yes)
        self.w.put(f"store {typed}, ptr {ptr}, align {e.bytes}")
        self.w.br(after)
        self.w.open_block(after)

    # --- atomics: one element at a time, where the nest that holds them has width 1 ---

    _RMW = {"smax": "max", "smin": "min", "umax": "umax", "umin": "umin", "fmax": "fmax", "fmin": "fmin"}
    _ORDER = {"acquire": "acquire", "release": "release", "acq_rel": "acq_rel", "relaxed": "monotonic"}

    def atomic_rmw(self, op: Op, p: Lane, x: Lane, mask: Lane | None) -> Lane:
        e, kind = x.elem, op.attrs["kind"]
        if e is BOOL or e.bits == 8 and e.is_float:
            raise unsupported(f"atomic_{kind} on {e}")
        order = self._ORDER[op.attrs["sem"]]
        if e is BF16 and kind in _ON_FLOATS:
            return self._guarded(f"call bfloat @{self._bf16_atomic(kind, order)}(ptr {p.val}, i16 {x.val})", e, mask)
        t, value = number_type(e), self.emit(f"bitcast {llvm_type(e)} {x.val} to {number_type(e)}", x.level)
        instr = f"atomicrmw {self._RMW.get(kind, kind)} ptr {p.val}, {t} {value} {order}, align {e.bytes}"
        return self._guarded(instr, e, mask)

    def atomic_adds(self, op: Op, p: Lane, x: Lane, mask: Lane | None) -> None:
        """The floats ``x``, as many as `atomic_groups` takes together: at once, or where they do not lie as that needs, one by one."""
        w, n, e = self.w, self.width, x.elem
        order = self._ORDER[op.attrs["sem"]]
        pointers, values, on = self.vec(p), self.vec(x), None if mask is None or mask.const == 1 else self.vec(mask)
        whole, single, after = (w.new_label(s) for s in ("together", "apart", "added"))
        if p.kind is RAMP and p.stride == 1:
            name, text = adder(e, order, _after_failure(order))
            w.declared[name] = text
            address = w.ins(f"ptrtoint ptr {p.val} to i64")
            fits = w.ins(f"icmp eq i64 {w.ins(f'and i64 {address}, 7')}, 0")
            if on is not None:
                bits = w.ins(f"bitcast <{n} x i1> {on} to i{n}")
                fits = w.ins(f"and i1 {fits}, {w.ins(f'icmp eq i{n} {bits}, -1')}")
            w.cond_br(fits, whole, single)
            w.open_block(whole)
            w.put(f"call void @{name}(ptr {p.val}, <{n} x {llvm_type(e)}> {values})")
            w.br(after)
        else:
            w.br(single)
        w.open_block(single)
        for i in range(n):
            lanes = [(f"<{n} x ptr> {pointers}", p.elem), (f"<{n} x {llvm_type(e)}> {values}", e)]
            lanes += [] if on is None else [(f"<{n} x i1> {on}", BOOL)]
            one = [uniform(w.ins(f"extractelement {v}, i64 {i}"), t, 1 << 20) for v, t in lanes]
            self.atomic_rmw(op, one[0], one[1], one[2] if on is not None else None)
        w.br(after)
        w.open_block(after)

    def _bf16_atomic(self, kind: str, order: str) -> str:
        """The function that does it by compare-and-exchange: LLVM's own loop would round as `round_to_bf16` must not."""
        name = f"atomic.bf16.{kind}.{order}"
        if name not in self.w.declared:
            compute = _ON_FLOATS[kind]
            if kind != "fadd":
                self.w.declare(f"llvm.{'maxnum' if kind == 'fmax' else 'minnum'}.f32", "float(float, float)")
            self.w.declared[name] = f"""define internal bfloat @{name}(ptr %p, i16 %x) nounwind noinline {{
entry:
{bf16_to_float("%x")}
  %first = load atomic i16, ptr %p monotonic, align 2
  br label %try
try:
  %old = phi i16 [ %first, %entry ], [ %seen, %try ]
{bf16_to_float("%old")}
  %y = {compute.format("float %old.float", "%x.float", "float %x.float")}
{round_to_bf16("%new", "%y")}
  %pair = cmpxchg ptr %p, i16 %old, i16 %new {order} {_after_failure(order)}, align 2
  %seen = extractvalue {{ i16, i1 }} %pair, 0
  %done = extractvalue {{ i16, i1 }} %pair, 1
  br i1 %done, label %out, label %try
out:
  %number = bitcast i16 %old to bfloat
  ret bfloat %number
}}"""
        return name

    def atomic_cas(self, op: Op, p: Lane, cmp: Lane, x: Lane) -> Lane:
        e, order = x.elem, self._ORDER[op.attrs["sem"]]
        fail = _after_failure(order)
        t = f"i{e.bits}"
        c, v = (y.val if e.is_int else self.emit(f"bitcast {llvm_type(e)} {y.val} to {t}", 1 << 20) for y in (cmp, x))
        pair = self.w.ins(f"cmpxchg ptr {p.val}, {t} {c}, {t} {v} {order} {fail}, align {e.bytes}")
        old = self.w.ins(f"extractvalue {{ {t}, i1 }} {pair}, 0")
        if not e.is_int:
            old = self.w.ins(f"bitcast {t} {old} to {llvm_type(e)}")
        return uniform(old, e, 1 << 20)

    def _guarded(self, instr: str, e: Element, mask: Lane | None) -> Lane:
        """``instr``, whose result is a number of type ``e``, only where the mask is on; zero elsewhere."""
        w, t = self.w, llvm_type(e)
        if mask is not None and mask.const is not None:
            if not mask.const:
                return self._zero(e)
            mask = None
        if mask is None:
            return uniform(w.ins(f"bitcast {number_type(e)} {w.ins(instr)} to {t}"), e, 1 << 20)
        before, yes, after = w.label, w.new_label("atomic"), w.new_label("done")
        w.cond_br(mask.val, yes, after)
        w.open_block(yes)
        x = w.ins(f"bitcast {number_type(e)} {w.ins(instr)} to {t}")
        w.br(after)
        w.open_block(after)
        return uniform(w.ins(f"phi {t} [ {x}, %{yes} ], [ {literal(0, e)}, %{before} ]"), e, 1 << 20)
