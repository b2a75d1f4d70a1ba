"""Scans: the same three levels as a reduction, with order.

The operands are brought into a placement in which the scanned axis has the lowest register bits, then the lowest lane
bits, then the lowest warp bits, so that "before" means a lower register, lane or warp:

    registers   running totals in each thread
    lanes       totals of the threads before, by log₂ shuffles
    warps       totals of the warps before, through shared memory

A reverse scan is the same with "before" meaning higher.
"""

from __future__ import annotations

from ...ir import Block, Op
from ...ir.types import Element
from .convert import convert, memory_bytes, shared_load, shared_store, shuffle
from .elementwise import run_block
from .placement import LANES, Placement, blocked, span
from .reduce import _at
from .values import Generator, eager, llvm_type

__all__ = ["scan_place"]


def scan_place(shape: tuple[int, ...], axis: int, warps: int) -> Placement:
    """The placement that scans along ``axis`` are computed in."""
    numel = 1
    for n in shape:
        numel *= n
    order = (axis, *(d for d in reversed(range(len(shape))) if d != axis))
    return blocked(shape, warps, max(1, numel // (warps << LANES)), order)


@eager("scan")
def scan(g: Generator, op: Op) -> None:
    axis, reverse, block = op.attrs["axis"], op.attrs["reverse"], op.blocks[0]
    place = scan_place(op.operands[0].type.shape, axis, g.num_warps)
    elems = [v.type.elem for v in op.operands]
    columns = [g.get(v, place) for v in op.operands]
    low, n = span(place.shape, axis)
    mask = ((1 << n) - 1) << low
    lanes = sum(1 for b in place.lane if b & mask)
    warps = sum(1 for b in place.warp if b & mask)

    groups: dict[int, list[int]] = {}  # across the axis → registers in scanning order
    for c, r in sorted(place.register_of.items(), reverse=reverse):
        groups.setdefault(c & ~mask, []).append(r)
    made: dict[int, list[str]] = {}
    totals: dict[int, list[str]] = {}
    for c, rs in groups.items():
        running = [col[rs[0]] for col in columns]
        made[rs[0]] = running
        for r in rs[1:]:
            running = made[r] = run_block(g, block, [*running, *(col[r] for col in columns)])
        totals[c] = running
    if lanes or warps:
        for c, rs in groups.items():
            before, exists = _before(g, block, totals[c], c, place, mask, lanes, warps, elems, reverse)
            for r in rs:
                joined = run_block(g, block, [*before, *made[r]])
                made[r] = [_select(g, exists, a, b, e) for a, b, e in zip(joined, made[r], elems, strict=True)]
    for i, result in enumerate(op.results):
        out = [made[place.register_of[c]][i] for c in place.constants]
        g.define(result, out, place)
        home = g.homes[result]
        if home != place:
            g.define(result, convert(g, out, place, home, result.type.elem), home)


def _select(g: Generator, c: str, a: str, b: str, e: Element) -> str:
    t = llvm_type(e)
    return g.emit(f"select i1 {c}, {t} {a}, {t} {b}")


def _before(
    g: Generator, block: Block, total: list[str], c: int, place: Placement, mask: int, lanes: int, warps: int, elems, reverse: bool
) -> tuple[list[str], str]:
    """(combination of the totals of all threads before this one, whether there is such a thread)."""
    kind, clamp = ("down", "31") if reverse else ("up", "0")
    segment = (1 << lanes) - 1
    position = g.emit(f"and i32 {g.tid}, {segment}")
    if reverse:
        position = g.emit(f"xor i32 {position}, {segment}")
    inclusive = total
    for k in range(lanes):
        others = [shuffle(g, x, e, kind, str(1 << k), int(clamp)) for x, e in zip(inclusive, elems, strict=True)]
        joined = run_block(g, block, [*others, *inclusive])
        reached = g.emit(f"icmp uge i32 {position}, {1 << k}")
        inclusive = [_select(g, reached, a, b, e) for a, b, e in zip(joined, inclusive, elems, strict=True)]
    exclusive = [shuffle(g, x, e, kind, "1", int(clamp)) for x, e in zip(inclusive, elems, strict=True)] if lanes else total
    exists = g.emit(f"icmp ne i32 {position}, 0") if lanes else "false"
    if not warps:
        return exclusive, exists

    # The last lane's total is the warp's.  Slots: one row an element across the axis, one column a warp.
    count = 1 << warps
    last = g.emit(f"icmp eq i32 {position}, {segment}")
    w = g.emit(f"and i32 {g.emit(f'lshr i32 {g.tid}, {LANES}')}, {count - 1}")
    rows = 1 << (5 - lanes) << (g.warp_bits - warps)
    row_bits = [k for k in range(lanes, LANES)] + [LANES + k for k in range(warps, g.warp_bits)]
    row, _ = g.thread_part(tuple(count << row_bits.index(k) if k in row_bits else 0 for k in range(LANES + g.warp_bits)))
    sizes = [memory_bytes(e) for e in elems]
    g.scratch(sum(rows * count * max(16, s) for s in sizes))
    begins = [rows * count * 16 * i for i in range(len(sizes))]
    yes, after = g.w.new_label("last"), g.w.new_label("after")
    g.w.cond_br(last, yes, after)
    g.w.open_block(yes)
    for x, e, size, begin in zip(inclusive, elems, sizes, begins, strict=True):
        slot = g.emit(f"or disjoint i32 {row}, {w}")
        shared_store(g, _at(g, g.emit(f"mul i32 {slot}, {size}"), 0, begin), [x], e)
    g.w.br(after)
    g.w.open_block(after)
    g.barrier()
    prefix: list[str] | None = None
    some = "false"
    mine = g.emit(f"xor i32 {w}, {count - 1}") if reverse else w
    for k in range(count - 1):
        column = count - 1 - k if reverse else k
        got = []
        for e, size, begin in zip(elems, sizes, begins, strict=True):
            offset = g.emit(f"mul i32 {g.emit(f'or disjoint i32 {row}, {column}')}, {size}")
            got += shared_load(g, _at(g, offset, 0, begin), 1, e)
        reached = g.emit(f"icmp ugt i32 {mine}, {k}")
        if prefix is None:
            prefix, some = got, reached
        else:
            joined = run_block(g, block, [*prefix, *got])
            prefix = [_select(g, reached, a, b, e) for a, b, e in zip(joined, prefix, elems, strict=True)]
    assert prefix is not None
    both = run_block(g, block, [*prefix, *exclusive])
    out = []
    for b, p, x, e in zip(both, prefix, exclusive, elems, strict=True):
        out.append(_select(g, exists, _select(g, some, b, x, e), p, e))
    return out, g.emit(f"or i1 {some}, {exists}")
