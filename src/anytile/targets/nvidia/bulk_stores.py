"""Stores by the tensor memory accelerator: all threads put a tile into shared memory, one asks for it to be written.

It serves stores to tensor descriptors of values whose registers are not neighbours in memory, as a dot's are not: any other store would
move them through shared memory as well, and then through registers again.  The tile lies there in the panels that `copies` reads, whose
swizzle keeps the writes out of each other's banks; 16-bit accumulators go by stmatrix, four 8×8 matrices at a time.

The accelerator reads the shared memory later, so whoever wants it for something else waits first (`Generator.reclaim`), and so does the
end of the kernel.  In a loop the tile has memory of its own where there is enough (`apart`), so that what comes next need not wait.

What it writes is not ordered with what the threads do afterwards: kernels that tell others of their stores (atomics, barriers, volatile
accesses) are left to ordinary stores.
"""

from __future__ import annotations

from functools import partial

from ...ir import Effect, Func, Op, Value
from ...ir.rewrite import const_value
from . import wgmma
from .convert import shared_addresses
from .copies import Source, leader, source
from .dot import as_words
from .fixed_first import loop_around
from .matrices import row_addresses
from .memory import vector_width
from .placement import Placement
from .values import SHARED, STAGING, Generator
from .warpgroups import group_barrier, group_leader
from .wgmma import Panels

__all__ = ["apart", "by_accelerator", "planned"]

_MOST = 128 << 10
"""Bytes of shared memory that a store may take."""


def planned(g: Generator, func: Func) -> dict[Op, Source]:
    """The stores of the kernel that the accelerator makes."""
    if any(op.defn.effects & Effect.SYNC or op.name.startswith("atomic") or op.attrs.get("volatile") for op in func.walk()):
        return {}
    found = ((op, _target(g, op)) for op in func.walk() if op.name == "store")
    return {op: target for op, target in found if target is not None}


def apart(stores: dict[Op, Source]) -> int:
    """Bytes that stores in loops had better have for themselves: the largest tile; 0 where none is in a loop."""
    return max((target.form.bytes for op, target in stores.items() if loop_around(op) is not None), default=0)


def _target(g: Generator, op: Op) -> Source | None:
    pointer, value, mask = (op.operand(n) for n in ("ptr", "value", "mask"))
    assert pointer is not None and value is not None
    if value.type.rank < 2 or op.attrs["cache"] or op.attrs["evict"]:
        return None
    place = g.assignment.where(value)
    size = value.type.elem.bytes
    if place is None or place.owners or vector_width(g, pointer, place, None if const_value(mask) == 1 else mask) * size >= 16:
        return None
    form = Panels(value.type.shape[-2:], size, 1)  # type: ignore[arg-type]
    return source(g, pointer, form, stored=True) if form.bytes <= _MOST else None


def by_accelerator(g: Generator, op: Op, target: Source) -> None:
    """The store ``op``."""
    value = op.operand("value")
    assert value is not None
    place = g.assignment.where(value)
    assert place is not None
    registers = g.get(value, place)
    by_group = g.alone and bool(g.staging) and _by_group(g)
    meet = partial(group_barrier, g) if by_group else g.barrier
    if g.staging:
        g.assembly("cp.async.bulk.wait_group.read 0;", "", "void", [])
        meet()
        pointer = STAGING
    else:
        g.scratch(target.form.bytes)
        pointer = g.exchange
    if _as_matrices(target.form, place):
        _store_matrices(g, registers, target.form, place, value, pointer)
    else:
        wgmma.store_panels(g, registers, place, target.form, pointer, value)
    g.assembly("fence.proxy.async.shared::cta;", "", "void", [])
    begin = g.emit(f"ptrtoint {SHARED} {pointer} to i32")
    meet()
    who = group_leader(g) if by_group else leader(g)
    for tensor, at in target.places(g, begin, g.warpgroup() if by_group else ""):
        n = len(tensor) - 1
        where = ", ".join(f"${i + 1}" for i in range(n))
        text = f"@${n + 2} cp.async.bulk.tensor.{n}d.global.shared::cta.tile.bulk_group [$0, {{{where}}}], [${n + 1}];"
        g.assembly(text, ",".join(["l", *(["r"] * (n + 1)), "b"]), "void", [*tensor, ("i32", at), ("i1", who)])
    g.assembly("cp.async.bulk.commit_group;", "", "void", [])


def _by_group(g: Generator) -> bool:
    """Whether each of two warpgroups holds half of the rows of whatever is stored, which lie at the same bytes for all stores.

    Then neither writes where what the other has stored is still read.
    """
    found = [(target.form, g.assignment.where(op.operands[1])) for op, target in g.bulk_stores.items()]
    same = len({(form.row, form.shape[0]) for form, _ in found}) == 1
    return same and all(place is not None and _halves(form, place) for form, place in found)


def _halves(form: Panels, place: Placement) -> bool:
    rows, columns = form.shape
    return len(place.warp) == 3 and place.warp[2] == rows // 2 * columns and max(place.warp[:2]) < place.warp[2]


def _as_matrices(form: Panels, place: Placement) -> bool:
    """Whether a warp's registers are 8×8 matrices of 16-bit elements, each row 16 bytes of a panel."""
    width = form.shape[1]
    return form.size == 2 and place.register[:1] == (1,) and place.lane[:2] == (2, 4) and all(b >= width for b in place.lane[2:])


def _store_matrices(g: Generator, registers: list[str], form: Panels, place: Placement, v: Value, pointer: str) -> None:
    pairs = as_words(g, registers, v.type.elem, 2)
    count, bases = row_addresses(form, place, True)
    address = shared_addresses(g, pointer, bases)
    names = ", ".join(f"${i + 1}" for i in range(count))
    code = f"stmatrix.sync.aligned.m8n8.x{count}.shared.b16 [$0], {{{names}}};"
    for r in range(0, place.registers, 2 * count):
        at = g.emit(f"ptrtoint {SHARED} {address(form.offset(place.constants[r]))} to i32")
        args = [("i32", at), *(("i32", w) for w in pairs[r // 2 : r // 2 + count])]
        g.assembly(code, ",".join(["r"] * (count + 1)), "void", args)
