"""Filling a buffer from memory that is contiguous along another dimension.

K in attention is read as Kᵀ: the loads are contiguous down the columns, the buffer wants rows.  Instead of
gathers, W×W blocks are loaded by columns and transposed in registers: log2 W stages of two-vector shuffles,
each exchanging the off-diagonal quarters of 2k×2k sub-blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op
from ...ir.types import I32
from .lanes import Lane, power_of_two_in, ramp, uniform, vector
from .nest import INNERMOST, Nest
from .roots import WriteRoot
from .shape import accesses
from .text import llvm_type

if TYPE_CHECKING:
    from .program import Program
    from .roots import Root

__all__ = ["transposed_dim", "TransposeNest"]


def transposed_dim(p: Program, shape: tuple[int, ...], roots: list[Root]) -> int | None:
    """The dimension to load along, where all loads are contiguous in it and not in the last; else None."""
    if len(roots) != 1 or not isinstance(roots[0], WriteRoot) or len(shape) < 2 or roots[0].into.strides[-1] != 1:
        return None
    last = len(shape) - 1
    reads = list(accesses(p, roots))[1:]  # the first is the write itself
    if not any(s[last] not in (0, 1) for s in reads):
        return None
    for d in range(last):
        if all(s[d] in (0, 1) for s in reads) and min(shape[d], shape[last]) >= 4:
            return d
    return None


class TransposeNest(Nest):
    """Vectors run along ``vec_dim``; the last dimension advances W positions at a time."""

    def _outer(self, dims: list[int], idx: list[Lane]) -> None:
        last = len(self.shape) - 1
        if dims != [last]:
            super()._outer([d for d in dims if d != last] + [last] if last in dims and dims[-1] != last else dims, idx)
            return
        W = self.m.width

        def body(j: str) -> None:
            inner = list(idx)
            inner[last] = uniform(j, I32, self.level, W, int(j) if j.isdigit() else None)
            self._vector(inner)

        self.loop("0", str(self.shape[last]), W, body)

    def _prefetch(self, op: Op, p: Lane) -> None:
        """Nothing: W more addresses a block cost LLVM more than the memory, which is read along its rows, gains."""

    def _leaf(self, idx: tuple[Lane, ...], u: int, accs: list) -> None:
        (root,) = self.roots
        m, W, d, last = self.m, self.m.width, self.vec_dim, len(self.shape) - 1
        columns = []
        for k in range(W):
            at = list(idx)
            at[last] = m.binary("add", idx[last], m.const(k, I32))
            x = self.ev(root.value, tuple(at))
            columns.append(vector(m.vec(x), x.elem, INNERMOST))
        rows = self._transposed(columns)
        base = uniform(idx[d].val, I32, idx[d].level, W, int(idx[d].val) if idx[d].val.isdigit() else None)
        at = list(idx)
        at[d], at[last] = base, ramp(idx[last].val, I32, 1, idx[last].level, W)
        first = self._buffer_lane(root.into, tuple(at))
        pitch = root.into.strides[d] * root.into.elem.bytes
        for k, x in enumerate(rows):
            place = m.emit(f"getelementptr i8, ptr {first.val}, i64 {k * pitch}", first.level) if k else first.val
            m.store(ramp(place, first.elem, 1, first.level, min(first.align, power_of_two_in(k * pitch))), x)

    def _transposed(self, rows: list[Lane]) -> list[Lane]:
        m, n = self.m, self.m.width
        e = rows[0].elem
        t = f"<{n} x {llvm_type(e)}>"
        text = [m.vec(x) for x in rows]
        k = 1
        while k < n:
            low = ", ".join(f"i32 {i if not i & k else n + i - k}" for i in range(n))
            high = ", ".join(f"i32 {i + k if not i & k else n + i}" for i in range(n))
            out = list(text)
            for i in range(n):
                if not i & k:
                    out[i] = self.w.ins(f"shufflevector {t} {text[i]}, {t} {text[i + k]}, <{n} x i32> <{low}>")
                    out[i + k] = self.w.ins(f"shufflevector {t} {text[i]}, {t} {text[i + k]}, <{n} x i32> <{high}>")
            k *= 2
            text = [self._fenced(x, t, n * e.bits) for x in out] if k < n else out
        return [vector(x, e, INNERMOST) for x in text]

    def _fenced(self, x: str, t: str, bits: int) -> str:
        """``x``, a vector of type ``t``, behind an identity that LLVM does not look through and that costs no instruction.

        Without it, instruction selection tries to merge the shuffles of one stage with those of all before, which finds
        nothing and takes half of a kernel's compile time.
        """
        if bits % 32 or t.endswith("x ptr>"):
            return x  # short or odd vectors: shuffles of these are cheap to select
        fence = f"<{bits // 32} x float>"
        name = self.w.declare(f"llvm.arithmetic.fence.v{bits // 32}f32", f"{fence}({fence})")
        y = x if t == fence else self.w.ins(f"bitcast {t} {x} to {fence}")
        y = self.w.ins(f"call {fence} {name}({fence} {y})")
        return y if t == fence else self.w.ins(f"bitcast {fence} {y} to {t}")
