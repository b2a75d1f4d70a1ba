"""Filling a buffer from memory that is contiguous along another dimension.

K in attention is read as Kᵀ, and so are the weights of a linear layer: the loads are contiguous down the columns, the buffer wants rows.
Instead of gathers, W×W blocks are loaded by columns and transposed in registers: log2 W stages of two-vector shuffles,
each exchanging the off-diagonal quarters of 2k×2k sub-blocks.

A buffer laid out [k/g][n][g] wants groups of g neighbours along k side by side, and so they lie in memory: a group of 32 bits is one element
of the block that is transposed (`GroupTransposeNest`).

Columns that lie apart, pages mostly, no hardware prefetcher follows from tile to tile.  So in a loop those of the next tile are requested
first (`NextColumns`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op, Value
from ...ir.types import I32
from .lanes import Lane, power_of_two_in, ramp, uniform, vector
from .memory import Buffer
from .nest import INNERMOST, Nest
from .prefetch import STREAM_AHEAD, advance
from .roots import WriteRoot
from .shape import accesses, steps
from .text import llvm_type

if TYPE_CHECKING:
    from .program import Program
    from .roots import Root

__all__ = ["GroupTransposeNest", "TransposeNest", "grouped", "request_next", "transposed_dim"]


def transposed_dim(p: Program, shape: tuple[int, ...], roots: list[Root]) -> int | None:
    """The dimension to load along, where all loads are contiguous in it and not in the last; else None."""
    if len(roots) != 1 or not isinstance(roots[0], WriteRoot) or len(shape) < 2 or roots[0].into.strides[-1] != 1:
        return None
    return _loaded_along(p, shape, list(accesses(p, roots))[1:])  # the first is the write itself


def _loaded_along(p: Program, shape: tuple[int, ...], reads: list[tuple]) -> int | None:
    last = len(shape) - 1
    if not any(s[last] not in (0, 1) for s in reads):
        return None
    for d in range(last):
        if all(s[d] in (0, 1) for s in reads) and min(shape[d], shape[last]) >= 4:
            return d
    return None


def grouped(p: Program, root: WriteRoot, group: int) -> int | None:
    """The extent of the blocks, in groups, by which `GroupTransposeNest` may fill a buffer laid out [k/group][n][group]; else None."""
    shape = root.value.type.shape
    rows = Buffer.row_major("", root.value.type.elem, shape)
    k = len(shape) - 2
    if group * root.value.type.elem.bits != 32 or _loaded_along(p, shape, list(accesses(p, [WriteRoot(root.value, rows)]))[1:]) != k:
        return None
    columns = min(p.machine.lanes, shape[k] // group, shape[-1])
    return columns if columns >= 4 else None


def request_next(p: Program, shape: tuple[int, ...], along: int, roots: list[Root]) -> None:
    """Emits requests for the columns, along dimension ``along``, that the innermost loop's next iteration loads."""
    if not p.loops or len(shape) != 2:
        return
    nest = Nest(p, shape, along, 1, 1)
    nest.roots = roots
    for pointer in dict.fromkeys(op.operands[0] for op in nest._loads()):
        there = steps(pointer, p.step_memo) if pointer.type.shape == shape else ()
        nbytes = shape[along] * pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
        if there and there[along] == 1 and there[-1] not in (0, 1) and nbytes <= STREAM_AHEAD:
            distance = advance(p, p.loops[-1], pointer)
            if distance is not None:
                NextColumns(p, pointer, along, distance).run([])


class NextColumns(Nest):
    """A nest without roots over the columns at ``pointer``, ``distance`` elements ahead."""

    def __init__(self, program: Program, pointer: Value, along: int, distance: Lane):
        super().__init__(program, pointer.type.shape, along, 1, 1)
        self.pointer, self.distance = pointer, distance

    def _vector(self, idx: list[Lane]) -> None:
        at = list(idx)
        at[self.vec_dim] = self.m.const(0, idx[self.vec_dim].elem)
        column, e = self.ev(self.pointer, tuple(at)), self.pointer.type.elem.pointee  # type: ignore[attr-defined]
        level = max(column.level, self.distance.level)
        first = self.m.emit(f"getelementptr {llvm_type(e)}, ptr {column.val}, i64 {self.distance.val}", level)
        for ahead in range(0, self.shape[self.vec_dim] * e.bytes, 64):
            self._request(self.m.emit(f"getelementptr i8, ptr {first}, i64 {ahead}", level), write=False)


class TransposeNest(Nest):
    """Vectors run along ``vec_dim``; the last dimension advances W positions at a time."""

    @property
    def columns(self) -> int:
        """W."""
        return self.m.width

    def _outer(self, dims: list[int], idx: list[Lane]) -> None:
        last = len(self.shape) - 1
        if dims != [last]:
            super()._outer([d for d in dims if d != last] + [last] if last in dims and dims[-1] != last else dims, idx)
            return
        W = self.columns

        def body(j: str) -> None:
            inner = list(idx)
            inner[last] = uniform(j, I32, self.level, W, int(j) if j.isdigit() else None)
            self._vector(inner)

        self.loop("0", str(self.shape[last]), W, body)

    def _prefetch(self, op: Op, p: Lane) -> None:
        """Nothing: W more addresses a block cost LLVM more than `NextColumns`, which has a loop of its own."""

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
        m, n = self.m, len(rows)
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


class GroupTransposeNest(TransposeNest):
    """Fills a B operand laid out [k/group][n][group] whose loads are contiguous along k: blocks of W×W groups."""

    def __init__(self, program: Program, shape: tuple[int, ...], group: int, columns: int):
        super().__init__(program, shape, len(shape) - 2, columns * group, 1)
        self.group = group

    @property
    def columns(self) -> int:
        return self.m.width // self.group

    def _leaf(self, idx: tuple[Lane, ...], u: int, accs: list) -> None:
        (root,) = self.roots
        m, W, g, k, last = self.m, self.columns, self.group, self.vec_dim, len(self.shape) - 1
        e = root.value.type.elem
        columns = []
        for i in range(W):
            at = list(idx)
            at[last] = m.binary("add", idx[last], m.const(i, I32))
            x = m.vec(self.ev(root.value, tuple(at)))
            columns.append(vector(self.w.ins(f"bitcast <{W * g} x {llvm_type(e)}> {x} to <{W} x i32>"), I32, INNERMOST))
        rows = self._transposed(columns)
        first = m.binary("lshr", uniform(idx[k].val, I32, idx[k].level, W * g), m.const(g.bit_length() - 1, I32))
        for d in range(k):  # a batch
            first = m.binary("add", first, m.binary("mul", idx[d], m.const(self.shape[k] // g, I32)))
        n = self.shape[last]
        word = m.binary("add", m.binary("mul", first, m.const(n, I32)), uniform(idx[last].val, I32, idx[last].level, W))
        place = self.w.ins(f"getelementptr i32, ptr {root.into.ptr}, i32 {word.val}")
        for i, x in enumerate(rows):
            at_row = self.w.ins(f"getelementptr i8, ptr {place}, i64 {i * n * 4}") if i else place
            self.w.put(f"store <{W} x i32> {m.vec(x)}, ptr {at_row}, align 4")
