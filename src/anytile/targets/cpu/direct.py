"""A operands of dots read where the user has them.

A micro-kernel takes A with any stride between rows, so a tile that is loaded contiguously along k need not be
packed at all: unless it sticks out of its matrix.  Whether it does is one comparison at run time.  A mask that is
a conjunction of ``x < y`` with x rising in every dimension and y uniform is true everywhere if it is true at the
tile's last corner:

    full = mask at (M − 1, K − 1)
    if full: A is (address of element (0, 0), distance of two rows)
    else:    A is (scratch, K), packed

Rows that are remainders, ``(pid_m * BLOCK + arange(0, BLOCK)) % M``, may begin again in the middle of the tile.  They do not if the
last one lies as far from the first as its number says: one comparison more.

Packing was a third of a 1024³ f32 matmul in 64³ tiles here, half of it A.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ...ir import Effect, Op, Value
from ...ir.types import BOOL, I64
from .lanes import Lane, uniform
from .masks import rises_nowhere
from .memory import Buffer
from .nest import Nest
from .prefetch import advance
from .roots import WriteRoot
from .shape import is_linear, steps

if TYPE_CHECKING:
    from .program import Program

__all__ = ["direct_load", "emit_direct"]

_REMAINDERS = ("srem", "urem")


def direct_load(p: Program, v: Value) -> Op | None:
    """The load behind ``v`` where every use of it is a dot that can read A in place; else None."""
    op = v.op
    if op is None or op.name != "load" or v.type.rank != 2 or op.attrs["volatile"] or v.type.elem is BOOL:
        return None
    for user, i in v.uses:
        kernel = p.dots.kernels.get(user)
        if kernel is None or i != 0 or not kernel.direct_a or user.block is not op.block:
            return None
    rows, columns = steps(op.operands[0], p.step_memo)
    if not is_linear(op.operands[0], _REMAINDERS):
        return None
    if rows is None or columns != 1 and v.type.shape[1] > 1 or _written_between(op, v.users()):
        return None
    mask = op.operands[1]
    return op if mask is None or rises_nowhere(p, mask) else None


def _written_between(load: Op, users: list[Op]) -> bool:
    """Whether memory may change after the load and before its last use (all in one block)."""
    assert load.block is not None
    ops = load.block.ops
    span = ops[ops.index(load) + 1 : max(ops.index(u) for u in users)]
    return any(o.defn.effects & (Effect.WRITE | Effect.SYNC) for op in span for o in op.walk())


def emit_direct(p: Program, v: Value, load: Op, packed: Buffer) -> Buffer:
    """Emits the choice; the buffer's pointer and row stride are those of whichever place was chosen."""
    w, m = p.w, p.memory
    rows, k = v.type.shape
    nest = Nest(p, v.type.shape, 0, 1, 1)
    base = nest.element(load.operands[0], 0)
    stride = _row_stride(p, nest, load.operands[0], base) if rows > 1 else m.const(k, I64)
    next_tile = advance(p, p.loops[-1], load.operands[0]) if p.loops else None
    ahead = "0" if next_tile is None else next_tile.val
    whole = _in_line(p, nest, load.operands[0], base, stride)
    if load.operands[1] is not None:
        whole.append(nest.element(load.operands[1], rows * k - 1).val)
    if not whole:
        return Buffer(base.val, v.type.elem, v.type.shape, (0, 1), v.type.elem.bytes, row_stride=stride.val, ahead=ahead)
    pack, after = w.new_label("pack"), w.new_label("packed")
    at_once = functools.reduce(lambda a, b: w.ins(f"and i1 {a}, {b}"), whole)
    before = w.label
    w.cond_br(at_once, after, pack)
    w.open_block(pack)
    p.nest(v.type.shape, [WriteRoot(v, packed)])
    from_pack = w.label
    w.br(after)
    w.open_block(after)
    ptr = w.ins(f"phi ptr [ {base.val}, %{before} ], [ {packed.ptr}, %{from_pack} ]")
    step = w.ins(f"phi i64 [ {stride.val}, %{before} ], [ {k}, %{from_pack} ]")
    return Buffer(ptr, v.type.elem, v.type.shape, (0, 1), v.type.elem.bytes, row_stride=step, ahead=ahead)


def _in_line(p: Program, nest: Nest, pointer: Value, base: Lane, stride: Lane) -> list[str]:
    """What must hold for the tile to be where the address of its first element and ``stride`` say; nothing where it always is."""
    if is_linear(pointer):
        return []
    w, (rows, k) = p.w, pointer.type.shape
    start = w.ins(f"ptrtoint ptr {base.val} to i64")
    out = []
    for position, distance in ((k * (rows - 1), w.ins(f"mul i64 {stride.val}, {rows - 1}")), (k - 1, str(k - 1))):
        end = w.ins(f"ptrtoint ptr {nest.element(pointer, position).val} to i64")
        size = w.ins(f"mul i64 {distance}, {pointer.type.elem.pointee.bytes}")  # type: ignore[attr-defined]
        out.append(w.ins(f"icmp eq i64 {w.ins(f'sub i64 {end}, {start}')}, {size}"))
    return out


def _row_stride(p: Program, nest: Nest, pointer: Value, base: Lane) -> Lane:
    """Elements from one row to the next."""
    m, size = p.memory, pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
    second = nest.element(pointer, pointer.type.shape[1])
    a, b = (m.emit(f"ptrtoint ptr {x.val} to i64", 0) for x in (base, second))
    return uniform(m.emit(f"sdiv exact i64 {m.emit(f'sub i64 {b}, {a}', 0)}, {size}", 0), I64)
