"""Asking for memory before it is needed.

Packing a dot operand touches rows that lie pages apart, which hardware prefetchers do not follow.  While one tile
is packed, the lines of the next iteration's tile are requested; they arrive during the dot.  The distance is the
derivative of the address with respect to one iteration: carried offsets contribute their increment, the
induction variable its step, everything from outside the loop nothing.  A prefetch of an address that nobody reads
is harmless.

A short elementwise pass (`a + b`) is all memory, and each program starts its streams anew: the loop's exit is
mispredicted and the loads of the next program come late.  Programs mostly follow each other in memory, so requesting
`STREAM_AHEAD` bytes ahead in the main loop covers the start of the next one: 6 % on 2²⁴ additions in tiles of 4096
(10.0 to 9.4 ms on two Cascade Lake cores; 512 and 2048 bytes gained less).

Stores wait too: a line must be there before it is written, they leave the core in order, and one that waits for memory
holds up those behind it that would not.  So what a row's store is going to write is requested by the same
distance, with the intent to write.  On two Cascade Lake cores, rows of 4096 floats: layer norm's forward 2.29 to 2.13 ms, softmax 2.65 to
2.44, addition 2.16 to 2.10; layer norm's backward on one core, which adds to two rows in the second-level cache while it
stores one to memory, 10.2 to 5.9.  Rows shorter than twice the distance are left alone: where they are scattered, most of it would be for nothing.

A loop over rows that stores one in each iteration (a norm's backward) reads memory in the first nest, the sums, and writes it in the
last.  There the next iteration's rows are requested, so that both go on all the time: layer norm's backward 5.84 to 5.46 ms on one core.

The rows of a two-dimensional tile are short and lie pages apart, where no hardware prefetcher goes on, and each store waits for its
line.  So while one row is computed, the lines that are read and written `ROWS_AHEAD` rows later are requested: weights in 8-bit floats,
converted in blocks of 128×128 (rows of 512 bytes, 16 KiB apart), 5.0 to 3.4 ms on one Cascade Lake core.  Of fewer than 16 rows it is a
quarter that is requested ahead: the last requests go to rows that nobody may come to.  Weights in 4-bit floats, converted in tiles of 8 rows
of 1 KiB: 11.3 to 8.8 ms on two Cascade Lake cores.
An atomic instruction waits for its line and lets nothing else go on meanwhile, so the rows that atomics add to are requested as well: the
gradient of an embedding 1.5 to 1.35 ms in float32, 1.07 to 0.77 in bfloat16 (two Cascade Lake cores).

Rows whose addresses only data tell are requested, too: an embedding of 512 rows of 4 KiB, in pieces of 512 bytes, 0.57 to 0.52 ms with the
launch and the allocation (two Cascade Lake cores, in turns, after copies of 128 MB).

Tried and dropped: requesting the next program's row in the last pass of a softmax (memory idles there): no gain
on Cascade Lake, a loss on Emerald Rapids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op, Value
from ...ir.types import I32, I64
from .lanes import RAMP, UNIFORM, Lane
from .masks import Masks
from .roots import StoreRoot, WriteRoot
from .shape import is_linear, steps
from .text import llvm_type

if TYPE_CHECKING:
    from .program import Program
    from .text import Writer

__all__ = ["STREAM_AHEAD", "Prefetching", "advance"]

STREAM_AHEAD = 1024
ROWS_AHEAD = 4
ROW_MOST = 1 << 15  # bytes of a row that is requested an iteration before its turn


class Prefetching(Masks):
    """What `nest.Nest` requests while it runs."""

    w: Writer
    axis: int | None
    unroll: int
    at_vector: int

    def pointers(self) -> dict[Value, bool]:
        raise NotImplementedError

    def _prefetch(self, op: Op, p: Lane) -> None:
        """Requests what will be read soon: the next iteration's tile of a dot operand, the stream's next lines (`prefetch`)."""
        if p.kind is not RAMP or p.stride != 1:
            return
        e = p.elem.pointee  # type: ignore[attr-defined]
        if self.p.loops and (self._packs() or self._stores_rows(e.bytes)):
            d = advance(self.p, self.p.loops[-1], op.operands[0])
            if d is None or not self._packs() and self._in_requested_line(e.bytes):
                return
            addr = self.m.emit(f"getelementptr {llvm_type(e)}, ptr {p.val}, i64 {d.val}", max(p.level, d.level))
            self._request(addr, write=False)
        elif self._streams():
            self._request_ahead(p, write=False)

    def _prefetch_store(self, p: Lane) -> None:
        """Requests the lines that a long row's store will write soon."""
        if p.kind is RAMP and p.stride == 1 and len(self.shape) == 1:
            if self.shape[0] * p.elem.pointee.bytes >= 2 * STREAM_AHEAD:  # type: ignore[attr-defined]
                self._request_ahead(p, write=True)

    def _request_rows(self, idx: list[Lane], d: int) -> None:
        """Requests the short rows that this nest reads and writes `ROWS_AHEAD` rows of dimension ``d`` later (see `prefetch`)."""
        m, last = self.m, self.vec_dim
        rows = min(ROWS_AHEAD, self.shape[d] // 4)
        if self.axis is not None or m.width == 1 or rows < 2 or self._packs():
            return
        at = list(idx)
        at[d], at[last] = m.binary("add", idx[d], m.const(rows, I32)), m.const(0, I32)
        for pointer, write in self.pointers().items():
            if pointer in self.p.requested:
                continue
            nbytes = self.shape[last] * pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
            if pointer.type.shape != self.shape or steps(pointer, self.p.step_memo)[last] != 1 or nbytes > STREAM_AHEAD:
                continue
            place = list(at)
            if not is_linear(pointer) or self.p.sources(pointer):  # beyond the tile nothing may be read, or divided by
                place[d] = self._call2("smin", at[d], m.const(self.shape[d] - 1, I32))
            row = self.ev(pointer, tuple(place))
            for ahead in range(0, nbytes, 64):
                self._request(m.emit(f"getelementptr i8, ptr {row.val}, i64 {ahead}", row.level), write)

    def _in_requested_line(self, nbytes: int) -> bool:
        """Whether the vector before, of elements of ``nbytes``, has requested this one's line."""
        return self.at_vector * self.m.width * nbytes % 64 != 0

    def _request_ahead(self, p: Lane, write: bool) -> None:
        if not self._in_requested_line(p.elem.pointee.bytes):  # type: ignore[attr-defined]
            self._request(self.m.emit(f"getelementptr i8, ptr {p.val}, i64 {STREAM_AHEAD}", p.level), write)

    def _request(self, address: str, write: bool) -> None:
        fn = self.w.declare("llvm.prefetch.p0", "void(ptr, i32, i32, i32)")
        self.w.put(f"call void {fn}(ptr {address}, i32 {int(write)}, i32 3, i32 1)")

    def _streams(self) -> bool:
        """Whether this is a short elementwise pass over memory, whose programs follow each other in memory."""
        return self.unroll >= 4 and len(self.shape) == 1 and all(isinstance(r, StoreRoot) for r in self.roots)

    def _stores_rows(self, nbytes: int) -> bool:
        """Whether this nest stores a row that the first-level cache has room for, of elements of ``nbytes`` or so."""
        fits = len(self.shape) == 1 and 2 * STREAM_AHEAD <= self.shape[0] * nbytes <= ROW_MOST
        return fits and any(isinstance(r, StoreRoot) for r in self.roots)

    def _packs(self) -> bool:
        return any(isinstance(r, WriteRoot) and r.value in self.p.planner.needed for r in self.roots)


def advance(p: Program, loop: Op, address: Value) -> Lane | None:
    """Elements by which ``address`` (a tile of pointers) moves per iteration of ``loop``; None if unknown or 0."""
    d = _derivative(p, loop, address, 0)
    return d if d is not None and d.const != 0 else None


def _derivative(p: Program, loop: Op, v: Value, depth: int) -> Lane | None:
    m = p.memory
    body = loop.blocks[0]
    zero = m.const(0, I64)
    if depth > 40:
        return None
    if v.op is None:
        if v.owner is not body:
            return zero
        if v.index == 0:
            return m.resize(p.scalar(loop.operands[2]), I64)
        step = body.terminator.operands[v.index - 1].op
        if v.type.is_scalar and step is not None and step.name == "add" and step.operands[0] is v:
            return _invariant(p, loop, step.operands[1], depth)
        return None
    op = v.op
    if not body.encloses(op.block):
        return zero
    if op.name in ("constant", "arange", "num_programs"):
        return zero
    if op.name in ("splat", "broadcast", "expand_dims", "permute", "sext", "zext", "hint", "trunci"):
        return _derivative(p, loop, op.operands[0], depth + 1)
    if op.name in ("addptr", "add", "sub"):
        a, b = (_derivative(p, loop, x, depth + 1) for x in op.operands)
        return None if a is None or b is None else m.binary("sub" if op.name == "sub" else "add", a, b)
    if op.name == "mul":
        a, b = (_derivative(p, loop, x, depth + 1) for x in op.operands)
        if a is None or b is None or a.const != 0 and b.const != 0:
            return None
        d, factor = (a, op.operands[1]) if a.const != 0 else (b, op.operands[0])
        if d.const == 0:
            return zero
        scale = _invariant(p, loop, factor, depth)
        return None if scale is None else m.binary("mul", d, scale)
    return None


def _invariant(p: Program, loop: Op, v: Value, depth: int) -> Lane | None:
    """A uniform integer that is the same in all iterations, as an i64 lane."""
    while v.op is not None and v.op.name in ("splat", "broadcast", "expand_dims"):
        v = v.op.operands[0]
    if v.op is not None and v.op.name == "constant" and v.type.elem.is_int:
        return p.memory.const(v.op.attrs["value"], I64)
    if not v.type.is_scalar:
        return None
    d = _derivative(p, loop, v, depth + 1)
    if d is None or d.const != 0:
        return None
    lane = p.scalar(v)
    return p.memory.resize(lane, I64) if lane.kind is UNIFORM else None
