"""Reductions: in a thread's registers, then between lanes by shuffles, then between warps through shared memory.

A basis of the operand's placement lies along the reduced axis or across it (where one does both, the operand is
converted to a blocked placement first).  Bases along the axis are combined: those of registers by a tree, those of
lanes by butterflies, those of warps by everybody reading every warp's partial result.  Afterwards all places
along the axis hold the result: it is the operand's placement without the axis (`natural`).

Order of the combinations: neighbouring registers first; lanes 16 apart, then 8, 4, 2, 1; warps half of them apart first.  It is
Triton's, and some libraries rely on its last bits.  Where the element is a product, the first butterfly becomes a fused
multiply-add, which rounds each lane's own product only in its partner: lanes may differ in the last bit, and the first is the one
that counts.
"""

from __future__ import annotations

from ...ir import Block, Op
from ...ir.types import Element
from .convert import convert, memory_bytes, shared_load, shared_store, shuffle
from .elementwise import run_block
from .placement import LANES, Placement, blocked, span
from .values import SHARED, Generator, eager

__all__ = ["natural", "reducible"]


def reducible(place: Placement, axis: int) -> bool:
    """Whether every basis lies along ``axis`` or across it, and copies are whole thread bits."""
    low, n = span(place.shape, axis)
    mask = ((1 << n) - 1) << low
    pure = all(b & mask in (0, b) for b in (*place.register, *place.thread))
    return pure and all(b == 0 for k, b in enumerate(place.thread) if place.owners >> k & 1)


def natural(place: Placement, axis: int) -> Placement:
    """Where the result of reducing a tile in ``place`` lies."""
    return place.without(axis).compact()


@eager("reduce")
def reduce(g: Generator, op: Op) -> None:
    axis, block = op.attrs["axis"], op.blocks[0]
    first = op.operands[0]
    place = g.place_for(first)
    if not reducible(place, axis):
        place = blocked(first.type.shape, g.num_warps)
    columns = [g.get(v, place) for v in op.operands]
    elems = [v.type.elem for v in op.operands]
    low, n = span(place.shape, axis)
    mask = ((1 << n) - 1) << low
    result = natural(place, axis)

    # Registers: one group for each element of the result that the thread holds.
    groups: dict[int, list[int]] = {}
    for c, r in sorted(place.register_of.items()):
        groups.setdefault(c & ~mask, []).append(r)
    partial = {c: _tree(g, block, [[col[r] for col in columns] for r in rs]) for c, rs in groups.items()}

    # Lanes, far ones first.
    for k, b in reversed(list(enumerate(place.lane))):
        if b & mask:
            for c, xs in partial.items():
                others = [shuffle(g, x, e, "bfly", str(1 << k)) for x, e in zip(xs, elems, strict=True)]
                partial[c] = run_block(g, block, [*xs, *others])

    keep = _without(low, n)
    values = {keep(c): xs for c, xs in partial.items()}
    warps = [k for k, b in enumerate(place.warp) if b & mask]
    if warps:
        first_lanes = g.owner(sum(1 << k for k, b in enumerate(place.lane) if b & mask))
        values = _between_warps(g, block, values, place, result, warps, elems, first_lanes)
    for i, v in enumerate(op.results):
        out = [values[c][i] for c in result.constants]
        home = g.home(v)
        if home is None:
            g.define(v, out[:1])
        else:
            g.define(v, out, result)
            if home != result:
                g.define(v, convert(g, out, result, home, v.type.elem), home)


def _without(low: int, n: int):
    return lambda v: (v & ((1 << low) - 1)) | (v >> (low + n) << low)


def _tree(g: Generator, block: Block, items: list[list[str]]) -> list[str]:
    """All ``items`` combined, neighbours first: as many independent chains as possible."""
    while len(items) > 1:
        paired = [run_block(g, block, [*a, *b]) for a, b in zip(items[::2], items[1::2])]
        items = paired + items[len(paired) * 2 :]
    return items[0]


def _by_halves(g: Generator, block: Block, items: list[list[str]]) -> list[str]:
    """All ``items`` (a power of two of them) combined, those half of them apart first."""
    while len(items) > 1:
        half = len(items) // 2
        items = [run_block(g, block, [*a, *b]) for a, b in zip(items[:half], items[half:], strict=True)]
    return items[0]


def _between_warps(
    g: Generator,
    block: Block,
    values: dict[int, list[str]],
    place: Placement,
    result: Placement,
    warps: list[int],
    elems: list[Element],
    first_lanes: str | None,
) -> dict[int, list[str]]:
    """Partial results of the warps ``warps`` (bit numbers) tell apart, combined in every thread.

    ``first_lanes``: i1, whether this lane is the one whose partial result counts; None where each lane has one of its own.
    """
    numel, count = 1, 1 << len(warps)
    for n in result.shape:
        numel *= n
    sizes = [memory_bytes(e) for e in elems]
    begins, end = [], 0
    for size in sizes:
        end = -(-end // 16) * 16
        begins.append(end)
        end += numel * count * size
    g.scratch(end)
    slots = {LANES + k: 1 << i for i, k in enumerate(warps)}  # thread bit → bit of the slot among the partial results
    parts = [g.thread_part(tuple((b * count | slots.get(k, 0)) * n for k, b in enumerate(result.thread)))[0] for n in sizes]
    store, after = g.w.new_label("store"), g.w.new_label("stored")
    if first_lanes is not None:
        g.w.cond_br(first_lanes, store, after)
        g.w.open_block(store)
    for i, (e, size, begin) in enumerate(zip(elems, sizes, begins, strict=True)):
        for c, xs in values.items():
            shared_store(g, _at(g, parts[i], c * count * size, begin), [xs[i]], e)
    if first_lanes is not None:
        g.w.br(after)
        g.w.open_block(after)
    g.barrier()
    read: dict[int, list[list[str]]] = {}
    for e, size, begin in zip(elems, sizes, begins, strict=True):
        base, _ = g.thread_part(tuple(b * count * size for b in result.thread))
        width = min(count, 16 // size)
        for c in values:
            got: list[str] = []
            for w in range(0, count, width):
                got += shared_load(g, _at(g, base, c * count * size, begin + w * size), width, e)
            read.setdefault(c, []).append(got)
    return {c: _by_halves(g, block, [list(xs) for xs in zip(*columns, strict=True)]) for c, columns in read.items()}


def _at(g: Generator, base: str, constant: int, begin: int) -> str:
    """Shared address of byte ``begin + (base ^ constant)``."""
    offset = base if constant == 0 else g.emit(f"xor i32 {base}, {constant}")
    pointer = g.emit(f"getelementptr i8, {SHARED} {g.exchange}, i32 {offset}")
    return g.emit(f"getelementptr i8, {SHARED} {pointer}, i32 {begin}") if begin else pointer
