"""Prefix scans and histograms.

Along a dimension that is not the last, a scan is a loop carrying whole vectors.  Along the last, each vector
is scanned in registers in log2 W steps (lane i takes lane i − k for k = 1, 2, 4 …) and the last lane is carried
into the next vector.  ``reverse`` runs the same from the other end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op
from ...ir.types import I32, I64
from .lanes import Lane, uniform, vector
from .memory import Buffer
from .nest import INNERMOST, Nest
from .text import llvm_type, unsupported

if TYPE_CHECKING:
    from .program import Program

__all__ = ["emit_scan", "emit_histogram"]


class _ScanNest(Nest):
    """A nest whose body is the scan itself; the axis is innermost or the vector dimension."""

    def __init__(self, program: Program, op: Op, into: list[Buffer], vec_dim: int, width: int):
        super().__init__(program, op.operands[0].type.shape, vec_dim, width, 1)
        self.op, self.into = op, into
        self.block, self.reverse = op.blocks[0], op.attrs["reverse"]

    def run_scan(self) -> None:
        axis, d, m = self.op.attrs["axis"], self.vec_dim, self.m
        self.roots, self.reduces, self.axis = [], [], axis
        idx = [m.const(0, I32)] * len(self.shape)
        outer = [k for k in range(len(self.shape)) if self.shape[k] > 1 and k not in (d, axis)]
        self._open()
        self._outer(outer, idx)
        self._close()

    def _vector(self, idx: list[Lane]) -> None:
        d, axis, W = self.vec_dim, self.axis, self.m.width
        if d == axis:
            self._carry(idx, axis, W)
            return

        def body(j: str) -> None:
            at = list(idx)
            at[d] = self._at(j, 0, W)
            self._carry(at, axis, 1)

        self.loop("0", str(self.shape[d]), W, body)

    def _carry(self, idx: list[Lane], axis: int, step: int) -> None:
        """The loop along the axis; the running value is a phi of scalars (step W) or vectors (step 1)."""
        w, m, n = self.w, self.m, self.shape[axis]
        first = self._step(idx, axis, "0", step, None)
        if n <= step:
            return
        head, after = w.new_label("scan"), w.new_label("scanned")
        before = w.label
        w.br(head)
        w.open_block(head)
        i, phis = w.fresh("i"), w.hole()
        names = [(w.fresh("run"), x) for x in first]
        carry = [Lane(x.kind, nm, x.elem, level=INNERMOST) for nm, x in names]
        nexts = self._step(idx, axis, i, step, carry)
        n_i = w.ins(f"add nsw i32 {i}, {step}")
        w.cond_br(w.ins(f"icmp slt i32 {n_i}, {n}"), head, after)
        latch = self._last
        phis.append(f"  {i} = phi i32 [ {step}, %{before} ], [ {n_i}, %{latch} ]")
        for (nm, x), y in zip(names, nexts):
            t = m.vec_type(x.elem) if x.kind != "uniform" else llvm_type(x.elem)
            phis.append(f"  {nm} = phi {t} [ {x.val}, %{before} ], [ {y.val}, %{latch} ]")
        w.open_block(after)

    def _step(self, idx: list[Lane], axis: int, j: str, step: int, carry: list[Lane] | None) -> list[Lane]:
        """Scans the positions at ``j`` and stores them; returns the running value."""
        m = self.m
        self._open()
        level = self.level
        at = list(idx)
        pos = j
        if self.reverse:
            pos = str(self.shape[axis] - step - int(j)) if j.isdigit() else m.emit(f"sub i32 {self.shape[axis] - step}, {j}", level)
        if step == 1:
            at[axis] = uniform(pos, I32, level, 1, int(pos) if pos.isdigit() else None)
        else:
            at[axis] = self._at(pos, 0, m.width)
        xs = [self.ev(v, tuple(at)) for v in self.op.operands]
        if step > 1 or m.width == 1 and self.vec_dim == axis:
            out, last = self._in_register(xs, carry)
        else:
            xs = [vector(m.vec(x), x.elem, x.level) if m.width > 1 else x for x in xs]
            out = xs if carry is None else self._combine(carry, xs)
            last = out
        for b, x in zip(self.into, out):
            m.store(self._buffer_lane(b, tuple(at)), x)
        self._last = self.w.label
        self._close()
        return last

    def _combine(self, a: list[Lane], b: list[Lane]) -> list[Lane]:
        return self.m.run_block(self.block, a + b, self.p.scalar)

    def _in_register(self, xs: list[Lane], carry: list[Lane] | None) -> tuple[list[Lane], list[Lane]]:
        m, n = self.m, self.m.width
        if n == 1:
            out = xs if carry is None else self._combine(carry, xs)
            return out, out
        xs = [vector(m.vec(x), x.elem, INNERMOST) for x in xs]
        k = 1
        while k < n:
            moved = [self._shifted(x, k) for x in xs]
            both = self._combine(moved, xs)
            lanes = range(n) if not self.reverse else range(n - 1, -1, -1)
            take = ", ".join(f"i1 {'true' if p >= k else 'false'}" for p in lanes)
            xs = [self._choose(f"<{take}>", b, x) for b, x in zip(both, xs)]
            k *= 2
        if carry is not None:
            xs = self._combine(carry, xs)
        end = 0 if self.reverse else n - 1
        last = [uniform(self.w.ins(f"extractelement {m.vec_type(x.elem)} {m.vec(x)}, i64 {end}"), x.elem, INNERMOST) for x in xs]
        return xs, last

    def _shifted(self, x: Lane, k: int) -> Lane:
        m, n = self.m, self.m.width
        picks = [(i - k if not self.reverse else i + k) for i in range(n)]
        text = ", ".join(f"i32 {p if 0 <= p < n else i}" for i, p in enumerate(picks))
        t = m.vec_type(x.elem)
        return vector(self.w.ins(f"shufflevector {t} {m.vec(x)}, {t} poison, <{n} x i32> <{text}>"), x.elem, INNERMOST)

    def _choose(self, mask: str, a: Lane, b: Lane) -> Lane:
        m = self.m
        t = m.vec_type(a.elem)
        text = self.w.ins(f"select <{m.width} x i1> {mask}, {t} {m.vec(a)}, {t} {m.vec(b)}")
        return vector(text, a.elem, INNERMOST)


def emit_scan(p: Program, op: Op, into: list[Buffer]) -> None:
    shape, axis = op.operands[0].type.shape, op.attrs["axis"]
    real = [d for d, n in enumerate(shape) if n > 1]
    d = real[-1] if real else axis
    width = min(p.machine.lanes, shape[d])
    _ScanNest(p, op, into, d, width).run_scan()
    p.memory.width = 1


class _HistogramNest(Nest):
    """Counts one element at a time into the bins."""

    def count(self, op: Op, into: Buffer) -> None:
        self.op, self.into = op, into
        self.roots, self.reduces, self.axis = [], [], None
        self._open()
        self._vector([self.m.const(0, I32)])
        self._close()

    def _vector(self, idx: list[Lane]) -> None:
        def body(j: str) -> None:
            self._one((uniform(j, I32, self.level),))

        self.loop("0", str(self.shape[0]), 1, body)

    def _one(self, idx: tuple[Lane, ...]) -> None:
        m, w = self.m, self.w
        x = self.ev(self.op.operands[0], idx)
        if x.elem.bits < 32:
            raise unsupported(f"histogram of {x.elem}")
        ok = m._compare("icmp", "ult", [x, m.const(self.op.attrs["bins"], x.elem)])
        if self.op.operands[1] is not None:
            ok = m.binary("and", ok, self.ev(self.op.operands[1], idx))
        yes, after = w.new_label("count"), w.new_label("counted")
        bin_ = m.resize(x, I64)
        w.cond_br(ok.val, yes, after)
        w.open_block(yes)
        p = w.ins(f"getelementptr i32, ptr {self.into.ptr}, i64 {bin_.val}")
        old = w.ins(f"load i32, ptr {p}, align 4")
        w.put(f"store i32 {w.ins(f'add i32 {old}, 1')}, ptr {p}, align 4")
        w.br(after)
        w.open_block(after)


def emit_histogram(p: Program, op: Op, into: Buffer) -> None:
    fn = p.w.declare("llvm.memset.p0.i64", "void(ptr, i8, i64, i1)")
    p.w.put(f"call void {fn}(ptr align 64 {into.ptr}, i8 0, i64 {4 * op.attrs['bins']}, i1 false)")
    _HistogramNest(p, op.operands[0].type.shape, 0, 1, 1).count(op, into)
