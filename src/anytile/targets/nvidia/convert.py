"""A tile from one placement to another, as cheaply as the two allow.

    same thread      the registers are renamed
    same warp        shuffles, one a register (two for 64 bits)
    anything else    through shared memory: store, barrier, load

In shared memory element i lies at ``swizzled(i)``: row-major with the bank bits of an access xored by higher
index bits, so that rows and columns are both read without conflicts in the common cases.
"""

from __future__ import annotations

from ...ir.types import BOOL, Element
from .placement import Placement
from .values import SHARED, Generator, llvm_type, memory_type

__all__ = ["convert", "from_word", "shared_load", "shared_store", "shuffle", "to_words"]


def convert(g: Generator, registers: list[str], src: Placement, dst: Placement, e: Element) -> list[str]:
    """The registers of a tile in ``dst``, given those in ``src``."""
    if src == dst:
        return registers
    assert src.shape == dst.shape, f"{src} is not the same tile as {dst}"
    renamed = _within_thread(registers, src, dst)
    if renamed is not None:
        return renamed
    shuffled = _within_warp(g, registers, src, dst, e)
    if shuffled is not None:
        return shuffled
    return _through_shared(g, registers, src, dst, e)


def _within_thread(registers: list[str], src: Placement, dst: Placement) -> list[str] | None:
    """Each register's source, where every thread has what it needs."""
    held = src.register_of
    for a, b in zip(src.thread, dst.thread, strict=True):
        if a != b:
            return None
    if any(c not in held for c in dst.constants):
        return None
    return [registers[held[c]] for c in dst.constants]


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
        out.append(
            g.call(f"llvm.nvvm.shfl.sync.{kind}.i32", "i32", ("i32", "-1"), ("i32", word), ("i32", lane), ("i32", str(clamp)))
        )
    return from_words(g, out, e)


def _within_warp(g: Generator, registers: list[str], src: Placement, dst: Placement, e: Element) -> list[str] | None:
    """One shuffle a register, where each lane reads one and the same register of another lane.

    For the thread bits of ``dst`` the source place is solved for; the plan exists where no lane bit of ``dst`` asks for
    a different *register* of the source.
    """
    if src.warp != dst.warp or len(dst.own_registers) > 32:
        return None
    lanes: dict[int, int] = {0: 0}  # index contributed by source lanes → lane
    for k, b in enumerate(src.lane):
        for v, lane in list(lanes.items()):
            lanes.setdefault(v ^ b, lane | 1 << k)
    from_lane = []
    for b in dst.lane:
        if b not in lanes:
            return None
        from_lane.append(lanes[b])
    held = src.register_of
    plan = []  # (source register, lane constant) for each destination register
    for c in dst.constants:
        found = next(((held[c ^ v], lane) for v, lane in lanes.items() if c ^ v in held), None)
        if found is None:
            return None
        plan.append(found)
    source, _ = g.thread_part((*from_lane, *(0 for _ in dst.warp)))
    known: dict[tuple[int, int], str] = {}
    for r, lane in plan:
        if (r, lane) not in known:
            at = source if lane == 0 else g.emit(f"xor i32 {source}, {lane}")
            known[r, lane] = shuffle(g, registers[r], e, "idx", at)
    return [known[p] for p in plan]


# --- shared memory ------------------------------------------------------------------------------------------------


def _stored(g: Generator, x: str, e: Element) -> str:
    return g.emit(f"zext i1 {x} to i8") if e is BOOL else x


def _loaded(g: Generator, x: str, e: Element) -> str:
    return g.emit(f"icmp ne i8 {x}, 0") if e is BOOL else x


def shared_store(g: Generator, address: str, values: list[str], e: Element, align: int | None = None) -> None:
    """Stores neighbours at ``address`` by one instruction."""
    t, n = memory_type(e), len(values)
    size = (align or n * memory_bytes(e))
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


def _run(place: Placement, most: int) -> int:
    """How many consecutive registers hold consecutive elements (a power of two up to ``most``)."""
    n = 0
    while n < len(place.register) and place.register[n] == 1 << n and 1 << n < most:
        n += 1
    low = (1 << n) - 1
    while n and any(b & low for b in (*place.register[n:], *place.thread)):
        n -= 1
        low = (1 << n) - 1
    return 1 << n


def _swizzle(place_a: Placement, place_b: Placement, e: Element) -> tuple[int, int]:
    """(vector bits kept together, shift): element index i is stored at i ^ ((i >> shift) << vector bits & bank bits).

    A row of 128 bytes passes all banks once.  Rows are told apart by the index bits above; xoring those into the
    chunk number spreads a column over all banks.
    """
    vector = max(_run(place_a, 16 // memory_bytes(e)), _run(place_b, 16 // memory_bytes(e)))
    low = vector.bit_length() - 1
    row = max(low, (128 // memory_bytes(e)).bit_length() - 1)
    last = place_a.shape[-1].bit_length() - 1
    return low, max(row, last)


def _offsets(g: Generator, place: Placement, e: Element, low: int, shift: int) -> list[str]:
    """Byte address in shared memory of each register's element."""
    size = memory_bytes(e)
    bits = max(0, (128 // size).bit_length() - 1 - low)  # chunks of a row of 128 bytes
    mask = ((1 << bits) - 1) << low

    def moved(v: int) -> int:
        return (v ^ ((v >> shift << low) & mask)) * size

    return addresses(g, place, moved)


def addresses(g: Generator, place: Placement, moved) -> list[str]:
    """Addresses in the scratch memory of each register's element; ``moved``: flat index → byte offset, linear over xor."""
    base, may = g.thread_part(tuple(moved(b) for b in place.thread))
    pointer = g.emit(f"getelementptr i8, {SHARED} @shared, i32 {base}")
    made: dict[int, str] = {}
    out = []
    for c in place.constants:
        k = moved(c)
        if k not in made:
            if k == 0:
                made[k] = pointer
            elif may & k == 0:
                made[k] = g.emit(f"getelementptr i8, {SHARED} {pointer}, i32 {k}")
            else:
                made[k] = g.emit(f"getelementptr i8, {SHARED} @shared, i32 {g.emit(f'xor i32 {base}, {k}')}")
        out.append(made[k])
    return out


def _through_shared(g: Generator, registers: list[str], src: Placement, dst: Placement, e: Element) -> list[str]:
    numel = 1
    for n in src.shape:
        numel *= n
    g.scratch(numel * memory_bytes(e))
    low, shift = _swizzle(src, dst, e)
    most = 1 << low
    where = _offsets(g, src, e, low, shift)
    n = _run(src, most)
    done: set[int] = set()
    for r in range(0, src.registers, n):
        if src.constants[r] not in done:
            done.add(src.constants[r])
            shared_store(g, where[r], registers[r : r + n], e)
    g.barrier()
    where = _offsets(g, dst, e, low, shift)
    n = _run(dst, most)
    got: dict[int, list[str]] = {}
    out: list[str] = []
    for r in range(0, dst.registers, n):
        c = dst.constants[r]
        if c not in got:
            got[c] = shared_load(g, where[r], n, e)
        out += got[c]
    return out


