"""A tile from one placement to another, by the plan that `layouts.convert` makes: the emitter of such plans.

Nothing, Permute    the registers are renamed
Shuffle             shfl.sync on words, selects around them
ThroughShared       stores, a barrier, loads, in as many rounds as keep the scratch small
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.types import BOOL, I32, Element
from ...layouts.convert import LaneSelect, Nothing, Permute, Shuffle, ThroughShared, plan
from ...layouts.shared import Access, Transfer
from .placement import Placement
from .values import SHARED, Generator, llvm_type, memory_type

__all__ = ["addresses", "convert", "from_word", "memory_bytes", "shared_addresses", "shared_load", "shared_store", "shuffle", "to_words"]


def convert(g: Generator, registers: list[str], src: Placement, dst: Placement, e: Element) -> list[str]:
    """The registers of a tile in ``dst``, given those in ``src``."""
    if src == dst:
        return registers
    how = plan(src.layout, dst.layout, memory_bytes(e) * 8)
    if isinstance(how, Nothing):
        return registers
    if isinstance(how, Permute):
        return [registers[r] for r in how.registers]
    if isinstance(how, Shuffle):
        return _shuffled(g, registers, how, e)
    return _through_shared(g, registers, how, e, dst.registers)


# --- shuffles ------------------------------------------------------------------------------------------------


def to_words(g: Generator, x: str, e: Element) -> list[str]:
    """``x`` as one or two i32."""
    t = llvm_type(e)
    if e.bits == 64:
        wide = g.emit(f"ptrtoint {t} {x} to i64") if e.is_ptr else x if t == "i64" else g.emit(f"bitcast {t} {x} to i64")
        return [g.emit(f"trunc i64 {wide} to i32"), g.emit(f"trunc i64 {g.emit(f'lshr i64 {wide}, 32')} to i32")]
    if e.bits == 32:
        return [x if t == "i32" else g.emit(f"bitcast {t} {x} to i32")]
    if not t.startswith("i"):
        x = g.emit(f"bitcast {t} {x} to i{e.bits}")
    return [g.emit(f"zext i{e.bits} {x} to i32")]


def from_words(g: Generator, words: list[str], e: Element) -> str:
    """Inverse of `to_words`."""
    t = llvm_type(e)
    if e.bits == 64:
        low, high = (g.emit(f"zext i32 {w} to i64") for w in words)
        wide = g.emit(f"or disjoint i64 {low}, {g.emit(f'shl i64 {high}, 32')}")
        return g.emit(f"inttoptr i64 {wide} to {t}") if e.is_ptr else wide if t == "i64" else g.emit(f"bitcast i64 {wide} to {t}")
    return from_word(g, words[0], e)


def from_word(g: Generator, word: str, e: Element) -> str:
    t = llvm_type(e)
    if e.bits < 32:
        word = g.emit(f"trunc i32 {word} to i{e.bits}")
    return word if t == f"i{e.bits}" else g.emit(f"bitcast i{e.bits} {word} to {t}")


def shuffle(g: Generator, x: str, e: Element, kind: str, lane: str, clamp: int = 31) -> str:
    """``x`` of another lane of the warp; ``kind``: bfly, idx, up or down, as in shfl.sync."""
    out = []
    for word in to_words(g, x, e):
        out.append(g.call(f"llvm.nvvm.shfl.sync.{kind}.i32", "i32", ("i32", "-1"), ("i32", word), ("i32", lane), ("i32", str(clamp))))
    return from_words(g, out, e)


def _shuffled(g: Generator, registers: list[str], how: Shuffle, e: Element) -> list[str]:
    held = _select_by_lane(g, dict(enumerate(registers)), how.before, e)
    lane, _ = g.thread_part((*how.lanes, *(0 for _ in range(g.warp_bits))))
    got: dict[int, str] = {}
    for x in how.exchanges:
        values = [held[r] for r in x.sources]
        if how.butterfly:
            kind, at = "bfly", str(x.base)
        else:
            kind, at = "idx", lane if not x.base else g.emit(f"xor i32 {lane}, {x.base}")
        if not (how.butterfly and x.base == 0):
            values = _exchanged(g, values, e, kind, at)
        got.update(zip(x.targets, values, strict=True))
    got = _select_by_lane(g, got, how.after, e)
    return [got[r] for r in how.copies]


def _select_by_lane(g: Generator, held: dict[int, str], selects: tuple[LaneSelect, ...], e: Element) -> dict[int, str]:
    t = llvm_type(e)
    for s in selects:
        odd = g.parity(s.lanes)
        held = {r: g.emit(f"select i1 {odd}, {t} {held[r ^ s.xor]}, {t} {x}") if held[r ^ s.xor] != x else x for r, x in held.items()}
    return held


def _exchanged(g: Generator, values: list[str], e: Element, kind: str, at: str) -> list[str]:
    """Registers that travel in one word, by one shuffle."""
    if len(values) == 1:
        return [shuffle(g, values[0], e, kind, at)]
    t, n = memory_type(e), len(values)
    width = n * memory_bytes(e) * 8
    vector = "poison"
    for i, x in enumerate(values):
        vector = g.emit(f"insertelement <{n} x {t}> {vector}, {t} {_stored(g, x, e)}, i32 {i}")
    word = g.emit(f"bitcast <{n} x {t}> {vector} to i{width}")
    word = word if width == 32 else g.emit(f"zext i{width} {word} to i32")
    word = shuffle(g, word, I32, kind, at)
    word = word if width == 32 else g.emit(f"trunc i32 {word} to i{width}")
    vector = g.emit(f"bitcast i{width} {word} to <{n} x {t}>")
    return [_loaded(g, g.emit(f"extractelement <{n} x {t}> {vector}, i32 {i}"), e) for i in range(n)]


# --- shared memory ------------------------------------------------------------------------------------------------


def _stored(g: Generator, x: str, e: Element) -> str:
    return g.emit(f"zext i1 {x} to i8") if e is BOOL else x


def _loaded(g: Generator, x: str, e: Element) -> str:
    return g.emit(f"icmp ne i8 {x}, 0") if e is BOOL else x


def shared_store(g: Generator, address: str, values: list[str], e: Element, align: int | None = None) -> None:
    """Stores neighbours at ``address`` by one instruction."""
    t, n = memory_type(e), len(values)
    size = align or n * memory_bytes(e)
    if n == 1:
        g.w.put(f"store {t} {_stored(g, values[0], e)}, {SHARED} {address}, align {size}")
        return
    vector = "poison"
    for i, x in enumerate(values):
        vector = g.emit(f"insertelement <{n} x {t}> {vector}, {t} {_stored(g, x, e)}, i32 {i}")
    g.w.put(f"store <{n} x {t}> {vector}, {SHARED} {address}, align {size}")


def shared_load(g: Generator, address: str, n: int, e: Element) -> list[str]:
    """Loads ``n`` neighbours at ``address`` by one instruction."""
    t = memory_type(e)
    size = n * memory_bytes(e)
    if n == 1:
        return [_loaded(g, g.emit(f"load {t}, {SHARED} {address}, align {size}"), e)]
    vector = g.emit(f"load <{n} x {t}>, {SHARED} {address}, align {size}")
    return [_loaded(g, g.emit(f"extractelement <{n} x {t}> {vector}, i32 {i}"), e) for i in range(n)]


def memory_bytes(e: Element) -> int:
    return 1 if e is BOOL else e.bytes


def addresses(g: Generator, place: Placement, moved: Callable[[int], int]) -> list[str]:
    """Addresses in the scratch memory of each register's element; ``moved``: flat index → byte offset, linear over xor."""
    at = shared_addresses(g, g.exchange, tuple(moved(b) for b in place.thread))
    return [at(moved(c)) for c in place.constants]


def shared_addresses(g: Generator, pointer: str, bases: tuple[int, ...], moved: tuple[str, int] | None = None) -> Callable[[int], str]:
    """c → address of byte (thread's part ^ c) behind ``pointer``; ``bases``: what each bit of the thread index contributes to that part.

    ``moved``: i32 text that is xored as well, and the bits that it may have.  Bits of c that neither can have are added, so that they
    become the constant offset of an instruction.
    """
    base, may = g.thread_part(bases)
    if moved is not None:
        base, may = g.emit(f"xor i32 {base}, {moved[0]}"), may | moved[1]
    pointers: dict[int, str] = {}
    made: dict[int, str] = {}

    def at(c: int) -> str:
        if c not in made:
            moving, fixed = c & may, c & ~may
            if moving not in pointers:
                offset = g.emit(f"xor i32 {base}, {moving}") if moving else base
                pointers[moving] = g.emit(f"getelementptr i8, {SHARED} {pointer}, i32 {offset}")
            made[c] = g.emit(f"getelementptr i8, {SHARED} {pointers[moving]}, i32 {fixed}") if fixed else pointers[moving]
        return made[c]

    return at


def _through_shared(g: Generator, registers: list[str], how: ThroughShared, e: Element, count: int) -> list[str]:
    g.scratch(how.scratch)
    got: dict[int, str] = {}
    for k, (stores, loads) in enumerate(zip(how.store.rounds, how.load.rounds, strict=True)):
        if k:
            _meet(g, how.scope)
        for x, address in _transfers(g, how.store, stores):
            shared_store(g, address, [registers[r] for r in x.registers], e)
        _meet(g, how.scope)
        for x, address in _transfers(g, how.load, loads):
            got.update(zip(x.registers, shared_load(g, address, len(x.registers), e), strict=True))
    return [got[how.load.copies[r]] for r in range(count)]


def _meet(g: Generator, scope: str) -> None:
    if scope == "warp":
        g.call("llvm.nvvm.bar.warp.sync", "void", ("i32", "-1"))
    else:
        g.barrier()


def _transfers(g: Generator, side: Access, transfers: tuple[Transfer, ...]) -> list[tuple[Transfer, str]]:
    """Each transfer with its address."""
    base, _ = g.thread_part((*side.lanes, *side.warps))
    pointers: dict[int, str] = {}
    out = []
    for x in transfers:
        if x.xor not in pointers:
            offset = g.emit(f"xor i32 {base}, {x.xor}") if x.xor else base
            pointers[x.xor] = g.emit(f"getelementptr i8, {SHARED} {g.exchange}, i32 {offset}")
        out.append((x, g.emit(f"getelementptr i8, {SHARED} {pointers[x.xor]}, i32 {x.add}") if x.add else pointers[x.xor]))
    return out
