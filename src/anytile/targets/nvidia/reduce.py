"""Reductions: in a thread's registers, then between lanes by shuffles, then between warps through shared memory.

A basis of the operand's placement lies along the reduced axis or across it (where one does both, the operand is
converted to a blocked placement first).  Bases along the axis are combined: those of registers by a tree, those of
lanes and warps as `layouts.reduction` plans it, by butterflies or by halving the results at each step.  Its plan says where the
results lie then (`outcome`).

Order of the combinations: neighbouring registers first; lanes 16 apart, then 8, 4, 2, 1; warps half of them apart first.  It is
Triton's, and some libraries rely on its last bits.  Where the element is a product, the first butterfly becomes a fused
multiply-add, which rounds each lane's own product only in its partner: lanes may differ in the last bit, and the first is the one
that counts.
"""

from __future__ import annotations

import math

from ...ir import Block, Op
from ...ir.types import Element
from ...layouts.linear import LANE, REGISTER, WARP, LinearLayout
from ...layouts.reduction import Reduction, Step, plan
from .convert import convert, memory_bytes, shared_load, shared_store, shuffle
from .elementwise import run_block
from .placement import LANES, Placement, blocked, span
from .values import SHARED, Generator, eager, llvm_type

__all__ = ["outcome", "reducible"]

VECTOR_BYTES, ROW_BYTES = 16, 128
"""What a thread reads from shared memory at once, and what all of its banks give at once."""

Parts = dict[int, list[str]]
"""Index of a result → its partial result in this thread, one value for each operand."""


def reducible(place: Placement, axis: int) -> bool:
    """Whether every basis lies along ``axis`` or across it, and copies are whole thread bits."""
    mask = _mask(place, axis)
    pure = all(b & mask in (0, b) for b in (*place.register, *place.thread))
    return pure and all(b == 0 for k, b in enumerate(place.thread) if place.owners >> k & 1)


def _mask(place: Placement, axis: int) -> int:
    low, n = span(place.shape, axis)
    return ((1 << n) - 1) << low


def _planned(place: Placement, axis: int) -> Reduction:
    """How the threads' partial results meet, of a tile in ``place`` that is reduced along ``axis``."""
    mask = _mask(place, axis)
    lanes, warps = (sum(1 << k for k, b in enumerate(bases) if b & mask) for bases in (place.lane, place.warp))
    return plan(place.without(axis).compact().layout, lanes, warps)


def _placement(layout: LinearLayout) -> Placement:
    return Placement(layout.shape, layout.ins[REGISTER], layout.ins[LANE], layout.ins[WARP])


def outcome(place: Placement, axis: int) -> Placement:
    """Where the result of reducing a tile in ``place`` lies."""
    return _placement(_planned(place, axis).result)


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
    how = _planned(place, axis)
    result = _placement(how.result)

    # Registers: one group for each element of the result that the thread holds.
    groups: dict[int, list[int]] = {}
    for c, r in sorted(place.register_of.items()):
        c &= ~_mask(place, axis)
        groups.setdefault((c & ((1 << low) - 1)) | (c >> (low + n) << low), []).append(r)
    parts: Parts = {c: _tree(g, block, [[col[r] for col in columns] for r in rs]) for c, rs in groups.items()}
    for step in how.steps:
        parts = _halved(g, block, parts, step, elems) if step.basis else _swapped(g, block, parts, step, elems)
    if how.warps:
        parts = _between_warps(g, block, parts, how, elems)
    for i, v in enumerate(op.results):
        out = [parts[c][i] for c in result.constants]
        home = g.home(v)
        if home is None:
            g.define(v, out[:1])
        else:
            g.define(v, out, result)
            if home != result:
                g.define(v, convert(g, out, result, home, v.type.elem), home)


def _swapped(g: Generator, block: Block, parts: Parts, step: Step, elems: list[Element]) -> Parts:
    """Both lanes have every result."""
    made = {}
    for c, xs in parts.items():
        others = [shuffle(g, x, e, "bfly", str(1 << step.lane)) for x, e in zip(xs, elems, strict=True)]
        made[c] = run_block(g, block, [*xs, *others])
    return made


def _halved(g: Generator, block: Block, parts: Parts, step: Step, elems: list[Element]) -> Parts:
    """Each lane has half of the results."""
    upper = g.thread_bit(step.lane)
    known: dict[tuple[str, ...], str] = {}  # indices are often the same for many results

    def once(key: tuple[str, ...], make) -> str:
        if key not in known:
            known[key] = make()
        return known[key]

    def select(a: str, b: str, e: Element) -> str:
        """``a`` in upper lanes, ``b`` in lower ones."""
        t = llvm_type(e)
        return a if a == b else once((a, b), lambda: g.emit(f"select i1 {upper}, {t} {a}, {t} {b}"))

    def received(x: str, e: Element) -> str:
        return once((x,), lambda: shuffle(g, x, e, "bfly", str(1 << step.lane)))

    made: Parts = {}
    for c in step.kept:
        low, high = parts[c], parts[c ^ step.basis]
        others = [received(select(a, b, e), e) for a, b, e in zip(low, high, elems, strict=True)]
        if _commutes(block):
            made[c] = run_block(g, block, [*(select(b, a, e) for a, b, e in zip(low, high, elems, strict=True)), *others])
        else:
            left = [select(x, a, e) for a, x, e in zip(low, others, elems, strict=True)]
            right = [select(b, x, e) for b, x, e in zip(high, others, elems, strict=True)]
            made[c] = run_block(g, block, [*left, *right])
    return made


def _commutes(block: Block) -> bool:
    """Whether the combination is one operation that is the same to the last bit with its operands exchanged."""
    op = block.ops[0]
    return len(block.ops) == 2 and op.defn.commutative and list(op.operands) == list(block.args)


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


def _between_warps(g: Generator, block: Block, parts: Parts, how: Reduction, elems: list[Element]) -> Parts:
    """Partial results in ``how.partial``, one of each warp, combined in those threads that have them in ``how.result``.

    A result's parts are neighbours in shared memory, and whole vectors of them are swizzled (`_spread`).
    """
    partial, result = _placement(how.partial), _placement(how.result)
    numel, count = math.prod(result.shape), 1 << len(how.warps)
    sizes = [memory_bytes(e) for e in elems]
    begins, end = [], 0
    for size in sizes:
        end = -(-end // 16) * 16
        begins.append(end)
        end += numel * count * size
    g.scratch(end)
    slots = {LANES + k: 1 << i for i, k in enumerate(how.warps)}  # thread bit → bit of the slot among a result's parts
    bases = [
        g.thread_part(tuple(_spread((b * count | slots.get(k, 0)) * n, numel * count * n) for k, b in enumerate(partial.thread)))[0]
        for n in sizes
    ]
    store, after = g.w.new_label("store"), g.w.new_label("stored")
    speaks = g.owner(sum(1 << s.lane for s in how.steps if not s.basis))  # whether, of lanes that all have a part, this one's counts
    if speaks is not None:
        g.w.cond_br(speaks, store, after)
        g.w.open_block(store)
    for i, (e, size, begin) in enumerate(zip(elems, sizes, begins, strict=True)):
        for c, xs in parts.items():
            shared_store(g, _at(g, bases[i], _spread(c * count * size, numel * count * size), begin), [xs[i]], e)
    if speaks is not None:
        g.w.br(after)
        g.w.open_block(after)
    g.barrier()
    if how.by_lanes and _commutes(block):
        return _between_lanes(g, block, how, elems, sizes, begins)
    read: dict[int, list[list[str]]] = {}
    for e, size, begin in zip(elems, sizes, begins, strict=True):
        whole = numel * count * size
        base, _ = g.thread_part(tuple(_spread(b * count * size, whole) for b in result.thread))
        width = min(count, VECTOR_BYTES // size)
        for c in result.constants:
            got: list[str] = []
            for w in range(0, count, width):
                got += shared_load(g, _at(g, base, _spread((c * count + w) * size, whole), begin), width, e)
            read.setdefault(c, []).append(got)
    return {c: _by_halves(g, block, [list(xs) for xs in zip(*columns, strict=True)]) for c, columns in read.items()}


def _between_lanes(g: Generator, block: Block, how: Reduction, elems: list[Element], sizes: list[int], begins: list[int]) -> Parts:
    """The same where all lanes want each result: lane ``l`` reads the part of warp ``l``, and butterflies combine them.

    Many warps' parts would fill as many registers of each thread.
    """
    count = 1 << len(how.warps)
    read: Parts = {}
    for e, size, begin in zip(elems, sizes, begins, strict=True):
        result = _placement(how.result)
        whole = math.prod(result.shape) * count * size
        lanes = tuple(_spread(size << k, whole) if k < len(how.warps) else 0 for k in range(LANES))
        base, _ = g.thread_part((*lanes, *(_spread(b * count * size, whole) for b in result.warp)))
        for c in result.constants:
            read.setdefault(c, []).extend(shared_load(g, _at(g, base, _spread(c * count * size, whole), begin), 1, e))
    for k in reversed(range(len(how.warps))):
        read = _swapped(g, block, read, Step(k, 0, ()), elems)
    return read


def _spread(offset: int, whole: int) -> int:
    """Where byte ``offset`` of ``whole`` is kept: the number of its 16 bytes among eight, xor that of the eight, and so on.

    Linear over xor.  Eight lanes then read vectors from different banks, however far apart their results are.
    """
    inside, vector = offset % VECTOR_BYTES, offset // VECTOR_BYTES
    if whole <= ROW_BYTES:
        return offset
    low, high = vector, vector >> 3
    while high:
        low ^= high & 7
        high >>= 3
    return low * VECTOR_BYTES + inside


def _at(g: Generator, base: str, constant: int, begin: int) -> str:
    """Shared address of byte ``begin + (base ^ constant)``."""
    offset = base if constant == 0 else g.emit(f"xor i32 {base}, {constant}")
    pointer = g.emit(f"getelementptr i8, {SHARED} {g.exchange}, i32 {offset}")
    return g.emit(f"getelementptr i8, {SHARED} {pointer}, i32 {begin}") if begin else pointer
