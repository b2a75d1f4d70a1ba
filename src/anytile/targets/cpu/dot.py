"""dot: which micro-kernel, operands where it wants them, the call.

`legalize_dot` runs among the passes: 8-bit floats become a format the machine multiplies (exactly), narrow
accumulators become f32.  `DotEmitter.prepare` then chooses a micro-kernel for each dot and widens operands to the
type it stores; the planner gives both operands buffers and `packed_buffer` says in which layout.  The accumulator
is the result's own buffer, so ``acc = dot(a, b, acc)`` in a loop adds in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Builder, Module, Op, Value
from ...ir.rewrite import behind
from ...ir.types import BF16, F16, F32, F64, I8, I16, I32, I64, Element, Float
from .lanes import Lane, uniform, vector
from .machine import Machine
from .memory import Buffer
from .microkernels import Microkernel, PackedLayout, select
from .nest import INNERMOST, Nest
from .roots import WriteRoot
from .shape import accesses
from .text import llvm_type, number_type

if TYPE_CHECKING:
    from .program import Program

__all__ = ["DotEmitter", "group_of", "legalize_dot"]

_ELEMENTS: dict[str, Element] = {number_type(e): e for e in (BF16, F16, F32, F64, I8, I16, I32, I64)}


def legalize_dot(m: Module, machine: Machine) -> bool:
    """Operands in 8-bit floats → bf16 or f32 (both hold them exactly); accumulators below 32 bits → f32."""
    changed = False
    for op in [o for o in m.walk() if o.name == "dot"]:
        a, b, acc = op.operands
        narrow = any(isinstance(v.type.elem, Float) and v.type.elem.bits == 8 for v in (a, b))
        mixed = a.type.elem is not b.type.elem
        small = acc.type.elem in (F16, BF16)
        if not (narrow or mixed or small):
            continue
        new = Builder(op.block, op, op.loc)
        if narrow or mixed:
            to = _common(a.type.elem, b.type.elem, machine)
            a, b = (v if v.type.elem is to else new.fpcast(v, to=to) for v in (a, b))
        wide = new.fpcast(acc, to=F32) if small else acc
        r = new.make("dot", [a, b, wide], op.attrs).result
        op.result.replace_with(new.fpcast(r, to=acc.type.elem) if small else r)
        op.erase()
        changed = True
    return changed


def _common(a: Element, b: Element, machine: Machine) -> Element:
    """The format both operands are multiplied in: it holds either of them exactly."""
    wide = {e for e in (a, b) if e.bits > 8}
    if F64 in wide:
        return F64
    if not wide:
        return BF16 if any(k in machine.kernels for k in ("amx_bf16", "vdpbf16", "bfmmla")) else F32
    return wide.pop() if len(wide) == 1 else F32


class DotEmitter:
    def __init__(self, program: Program):
        self.p = program
        self.kernels: dict[Op, Microkernel] = {}
        self._texts: dict[str, str] = {}

    def prepare(self) -> None:
        """Chooses the micro-kernels; operands are cast to the type each stores."""
        for op in [o for o in self.p.func.walk() if o.name == "dot"]:
            a, b, acc = op.operands
            (m, k), n = a.type.shape[-2:], b.type.shape[-1]
            kernel = select(self.p.machine, *(number_type(v.type.elem) for v in (a, b, acc)), m, n, k)
            self.kernels[op] = kernel
            for i, (v, layout) in enumerate(((a, kernel.packed_a), (b, kernel.packed_b))):
                stored = _ELEMENTS[layout.element]
                if v.type.elem is not stored:
                    op.set_operand(i, self._stored(v, stored))

    def _stored(self, v: Value, to: Element) -> Value:
        """``v`` in element ``to``, cast right after its definition so that it is packed once, outside inner loops."""
        for user in v.users():
            if user.name in ("fpcast", "sext") and user.attrs["to"] is to and user.attrs.get("rounding", "rtne") == "rtne":
                if user.block is (v.op.block if v.op is not None else v.owner):
                    return user.result
        b = behind(v)
        return b.fpcast(v, to=to) if isinstance(to, Float) else b.sext(v, to=to)

    # --- layouts ---

    def packed_buffer(self, v: Value) -> Buffer | None:
        """A buffer in the one packed layout that all users of ``v`` want; None for plain rows."""
        layout = self.packed_layout(v)
        if layout is None:
            return self._by_columns(v)
        return Buffer(self.p.reserve(layout.size * v.type.elem.bytes), v.type.elem, v.type.shape, (), layout=layout)

    def packed_layout(self, v: Value) -> PackedLayout | None:
        """The one packed layout, other than plain rows, that all users of ``v`` want."""
        wanted = {(self.kernels[u].packed_b) for u, i in v.uses if u in self.kernels and i == 1}
        if len(wanted) != 1 or any(u not in self.kernels or i != 1 for u, i in v.uses) or v.type.rank != 2:
            return None
        (layout,) = wanted
        return layout if group_of(layout) > 1 else None

    def _by_columns(self, v: Value) -> Buffer | None:
        """A buffer for an A operand that is read along its columns only, and lies so: filling it is a copy."""
        op = v.op
        if op is None or v.type.rank != 2 or not (op.defn.elementwise or op.name in ("load", "permute")):
            return None
        if not v.uses or any(u not in self.kernels or i != 0 or not self.kernels[u].columns_a for u, i in v.uses):
            return None
        rows = Buffer.row_major("", v.type.elem, v.type.shape)
        reads = list(accesses(self.p, [WriteRoot(v, rows)]))[1:]  # the first is the write itself
        if min(v.type.shape) < 2 or not any(s[0] == 1 for s in reads) or any(s[0] not in (0, 1) or s[1] == 1 for s in reads):
            return None
        ptr = self.p.reserve(v.type.numel * v.type.elem.bytes)
        return Buffer(ptr, v.type.elem, v.type.shape, (1, v.type.shape[0]))

    def functions(self) -> list[str]:
        """The micro-kernels' text; their declarations go to the module."""
        out = []
        for text in self._texts.values():
            for line in text.splitlines():
                if line.startswith("declare "):
                    self.p.w.declared[line.split("@", 1)[1].split("(", 1)[0]] = line
                else:
                    out.append(line)
        return out

    # --- emission ---

    def emit(self, op: Op, into: Buffer) -> None:
        """``into = a · b + acc``."""
        p, kernel = self.p, self.kernels[op]
        a, b, acc = op.operands
        if _zero(acc):
            self._clear(into)
        else:
            p.write(acc, into)
        ba, bb = p.buffers[a], self._b_operand(b, kernel)
        batches = op.result.type.shape[0] if op.result.type.rank == 3 else 1
        if batches == 1:
            self._call(kernel, ba, bb, into, "0")
            return
        w = p.w
        head, after, before = w.new_label("batch"), w.new_label("batched"), w.label
        w.br(head)
        w.open_block(head)
        i = w.fresh("i")
        phi = w.hole()
        self._call(kernel, ba, bb, into, i)
        n = w.ins(f"add i64 {i}, 1")
        phi.append(f"  {i} = phi i64 [ 0, %{before} ], [ {n}, %{w.label} ]")
        w.cond_br(w.ins(f"icmp ult i64 {n}, {batches}"), head, after)
        w.open_block(after)

    def _call(self, kernel: Microkernel, a: Buffer, b: Buffer, c: Buffer, batch: str) -> None:
        w, columns = self.p.w, a.row_stride is None and a.strides[:1] == (1,)
        ptrs = [x.ptr if batch == "0" else self._slice(x, batch) for x in (a, b, c)]
        stride = kernel.packed_stride if a.row_stride is None else a.row_stride
        name = self.function(kernel, columns)
        w.put(f"call void @{name}(ptr {ptrs[0]}, i64 {stride}, i64 {a.ahead}, ptr {ptrs[1]}, ptr {ptrs[2]})")

    def function(self, kernel: Microkernel, columns: bool = False) -> str:
        """The name of micro-kernel ``kernel``, whose text the module will have."""
        name = f"dot_{kernel.kind}_{kernel.m}x{kernel.n}x{kernel.k}_{kernel.accumulator}" + ("_columns" if columns else "")
        if name not in self._texts:
            self._texts[name] = kernel.emit(name, columns)
        return name

    def _slice(self, x: Buffer, batch: str) -> str:
        per = x.shape[1] * x.shape[2]
        off = self.p.w.ins(f"mul i64 {batch}, {per}")
        return self.p.w.ins(f"getelementptr {llvm_type(x.elem)}, ptr {x.ptr}, i64 {off}")

    def _clear(self, into: Buffer) -> None:
        n = into.elem.bytes
        for d in into.shape:
            n *= d
        fn = self.p.w.declare("llvm.memset.p0.i64", "void(ptr, i8, i64, i1)")
        self.p.w.put(f"call void {fn}(ptr align 64 {into.ptr}, i8 0, i64 {n}, i1 false)")

    def _b_operand(self, v: Value, kernel: Microkernel) -> Buffer:
        """B as the kernel wants it: its buffer, or a packed copy where other users want plain rows."""
        b = self.p.buffers[v]
        group = group_of(kernel.packed_b)
        if group == 1 or b.layout is not None:
            return b
        batches = v.type.shape[0] if v.type.rank == 3 else 1
        packed = Buffer(
            self.p.reserve(kernel.packed_b.size * batches * v.type.elem.bytes), v.type.elem, v.type.shape, (), layout=kernel.packed_b
        )
        self.p.nest(v.type.shape, [WriteRoot(v, packed)])
        return packed


def _zero(v: Value) -> bool:
    return v.is_op("constant") and v.op.attrs["value"] == 0


def group_of(layout) -> int:
    """How many neighbours along k lie side by side (1: plain rows)."""
    inner = min((t for t in layout.terms if t.modulus > 1), key=lambda t: t.stride, default=None)
    return inner.modulus if inner is not None and inner.dim == "k" and inner.divisor == 1 and len(layout.terms) > 2 else 1


class PackNest(Nest):
    """Fills a B operand laid out [k/g][n][g]: g rows at a time, interleaved in registers."""

    def _outer(self, dims: list[int], idx: list[Lane]) -> None:
        self._rows(idx, [d for d in dims if d != len(self.shape) - 2])

    def _rows(self, idx: list[Lane], batch: list[int]) -> None:
        k = len(self.shape) - 2
        self.group = group_of(self.roots[0].into.layout)

        def over_k(j: str) -> None:
            inner = list(self._at_batch)
            inner[k] = uniform(j, I32, self.level, self.group, int(j) if j.isdigit() else None)
            self._vector(inner)

        def over_batch(i: str) -> None:
            inner = list(idx)
            inner[batch[0]] = uniform(i, I32, self.level, 1, int(i) if i.isdigit() else None)
            self._at_batch = inner
            self.loop("0", str(self.shape[k]), self.group, over_k)

        if batch:
            self.loop("0", str(self.shape[batch[0]]), 1, over_batch)
        else:
            self._at_batch = list(idx)
            self.loop("0", str(self.shape[k]), self.group, over_k)

    def _leaf(self, idx: tuple[Lane, ...], u: int, accs: list) -> None:
        (root,) = self.roots
        m, W, k, g = self.m, self.m.width, len(self.shape) - 2, self.group
        rows = []
        for r in range(g):
            at = list(idx)
            at[k] = m.binary("add", idx[k], m.const(r, I32))
            x = self.ev(root.value, tuple(at))
            rows.append(m.vec(vector(m.vec(x), x.elem, INNERMOST)))
        e = root.value.type.elem
        whole = self._interleaved(rows, llvm_type(e), W)
        n = self.shape[-1]
        off = m.binary("mul", idx[k], m.const(n, I32))
        off = m.binary("add", off, m.binary("mul", uniform(idx[-1].val, I32, idx[-1].level), m.const(g, I32)))
        if len(self.shape) == 3:
            off = m.binary("add", off, m.binary("mul", idx[0], m.const(n * self.shape[k], I32)))
        p = self.w.ins(f"getelementptr {llvm_type(e)}, ptr {root.into.ptr}, i32 {off.val}")
        self.w.put(f"store <{g * W} x {llvm_type(e)}> {whole}, ptr {p}, align {e.bytes * g}")

    def _interleaved(self, rows: list[str], t: str, width: int) -> str:
        """(x0, y0, x1, y1 …) of two or four vectors."""
        while len(rows) > 1:
            half = len(rows) // 2
            picks = ", ".join(f"i32 {i // 2 + (i % 2) * width}" for i in range(2 * width))
            rows = [
                self.w.ins(f"shufflevector <{width} x {t}> {rows[i]}, <{width} x {t}> {rows[i + half]}, <{2 * width} x i32> <{picks}>")
                for i in range(half)
            ]
            width *= 2
        return rows[0]
