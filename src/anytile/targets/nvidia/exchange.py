"""Operations that move elements as data says: gather, histogram and sort."""

from __future__ import annotations

from ...ir import Block, Op, Value
from ...ir.types import I32, Element
from .convert import addresses, convert, memory_bytes, shared_addresses, shared_load, shared_store, shuffle
from .placement import Placement, blocked, log2, span
from .scan import scan_place
from .values import SHARED, Generator, eager, llvm_type

__all__ = ["stage_tables"]

_KEPT = 1 << 12
"""Bytes of a table that a loop looks numbers up in, to have shared memory of its own for as long as the loop runs."""
_TABLE = "table"
"""Stands for the placement of such a table."""


def _finish(g: Generator, op: Op, out: list[str], place: Placement) -> None:
    home = g.homes[op.result]
    g.define(op.result, convert(g, out, place, home, op.result.type.elem), home)


@eager("gather")
def gather(g: Generator, op: Op) -> None:
    """The source lies in shared memory row-major; each thread reads what its indices say."""
    x, index = op.operands
    axis, e = op.attrs["axis"], x.type.elem
    place = g.homes[op.result]
    size = memory_bytes(e)
    chosen = g.get(index, place)
    begin = g.find(x, _TABLE)
    if begin is not None:
        g.exchange = g.at_byte(int(begin[0]))
    else:
        registers = g.get(x, g.place_for(x))
        g.scratch(x.type.numel * size)
        _put(g, x, registers)
    low, n = span(place.shape, axis)
    low_x, n_x = span(x.type.shape, axis)

    def rest(v: int) -> int:  # flat index in the source with coordinate 0 along the axis
        return ((v & ((1 << low) - 1)) | (v >> (low + n) << (low_x + n_x))) * size

    base = addresses(g, place, rest)
    t = llvm_type(index.type.elem)
    out = []
    for address, i in zip(base, chosen, strict=True):
        step = g.emit(f"mul {t} {i}, {size << low_x}")
        out += shared_load(g, g.emit(f"getelementptr i8, {SHARED} {address}, {t} {step}"), 1, e)
    g.define(op.result, out, place)


def _put(g: Generator, x: Value, registers: list[str]) -> None:
    """``x`` to the shared memory at ``g.exchange``, for all threads to read."""
    source, e = g.place_for(x), x.type.elem
    where = addresses(g, source, lambda v: v * memory_bytes(e))
    for r in source.own_registers:
        shared_store(g, where[r], [registers[r]], e)
    g.barrier()


def stage_tables(g: Generator, body: Block, inside: set[Value]) -> None:
    """In front of the loop of ``body``: small tables that it looks numbers up in (gather), and does not change, into shared memory once."""
    for op in body.walk() if g.means.lookups else ():
        if op.name == "gather" and (x := op.operands[0]) not in inside and g.find(x, _TABLE) is None:
            size = x.type.numel * memory_bytes(x.type.elem)
            if size <= _KEPT:
                registers = g.get(x, g.place_for(x))
                begin = g.buffer((x, _TABLE), size)
                g.lookups += 1
                g.reclaim()
                g.exchange = g.at_byte(begin)
                _put(g, x, registers)
                g.define(x, [str(begin)], _TABLE)


@eager("histogram")
def histogram(g: Generator, op: Op) -> None:
    """Counters in shared memory, added to atomically."""
    x, mask = op.operands[0], op.operand("mask")
    bins = op.attrs["bins"]
    place = g.place_for(x)
    values, on = g.get(x, place), g.get(mask, place) if mask is not None else None
    counters = blocked((bins,), g.num_warps)
    g.scratch(bins * 4)
    where = addresses(g, counters, lambda v: v * 4)
    for r in counters.own_registers:
        shared_store(g, where[r], ["0"], I32)
    g.barrier()
    base = g.emit(f"ptrtoint {SHARED} {g.exchange} to i32")
    t = llvm_type(x.type.elem)
    for r in place.own_registers:
        inside = g.emit(f"icmp ult {t} {values[r]}, {bins}") if bins < 1 << x.type.elem.bits else "true"
        predicate = g.conjunction(inside, on[r] if on else None, g.owner(place.owners)) or "true"
        i = values[r]
        if x.type.elem.bits != 32:
            i = g.emit(f"{'zext' if x.type.elem.bits < 32 else 'trunc'} {t} {i} to i32")
        address = g.emit(f"add i32 {base}, {g.emit(f'shl i32 {i}, 2')}")
        g.assembly("@$1 red.relaxed.cta.shared.add.u32 [$0], 1;", "r,b", "void", [("i32", address), ("i1", predicate)])
    g.barrier()
    _finish(g, op, [shared_load(g, a, 1, I32)[0] for a in where], counters)


@eager("sort")
def sort(g: Generator, op: Op) -> None:
    """A bitonic network: in stage (k, j) elements whose indices differ in bit j are put in order."""
    x = op.operands[0]
    shape, e = x.type.shape, x.type.elem
    place = scan_place(shape, len(shape) - 1, g.num_warps)
    values = g.get(x, place)
    n = log2(shape[-1])
    less = {"float": "fcmp olt", "signed": "icmp slt", "unsigned": "icmp ult"}[op.attrs["kind"]]
    t = llvm_type(e)
    for k in range(1, n + 1):
        for j in reversed(range(k)):
            partners = _partners(g, values, place, 1 << j, e)
            out: dict[int, str] = {}
            for c, r in place.register_of.items():
                a, b = values[r], partners[r]
                # 1 where the lower of the two positions takes the smaller value; both sides must agree on swapping
                upper, falling = _bit(g, place, c, j), _bit(g, place, c, k) if k < n else "false"
                if op.attrs["descending"]:
                    falling = g.emit(f"xor i1 {falling}, true")
                wants_large = g.emit(f"xor i1 {upper}, {falling}")
                smaller, larger = g.emit(f"{less} {t} {b}, {a}"), g.emit(f"{less} {t} {a}, {b}")
                swap = g.emit(f"select i1 {wants_large}, i1 {larger}, i1 {smaller}")
                out[c] = g.emit(f"select i1 {swap}, {t} {b}, {t} {a}")
            values = [out[c] for c in place.constants]
    _finish(g, op, values, place)


def _bit(g: Generator, place: Placement, c: int, bit: int) -> str:
    """Bit ``bit`` of the element's index, as i1."""
    for k, b in enumerate(place.thread):
        if b == 1 << bit:
            return g.thread_bit(k)
    return "true" if c >> bit & 1 else "false"


def _partners(g: Generator, values: list[str], place: Placement, step: int, e: Element) -> list[str]:
    """For each register the element whose index differs by ``step``, a power of two."""
    if step in place.register:
        return [values[place.register_of[c ^ step]] for c in place.constants]
    if step in place.lane:
        k = place.lane.index(step)
        return [shuffle(g, v, e, "bfly", str(1 << k)) for v in values]
    k = place.warp.index(step)
    size = memory_bytes(e)
    numel = 1
    for n in place.shape:
        numel *= n
    g.scratch(numel * size)
    at = shared_addresses(g, g.exchange, tuple(b * size for b in place.thread))
    for c, r in place.register_of.items():
        shared_store(g, at(c * size), [values[r]], e)
    g.barrier()
    got = {c: shared_load(g, at((c ^ step) * size), 1, e)[0] for c in place.register_of}
    return [got[c] for c in place.constants]
