"""Copies by the tensor memory accelerator: one thread asks for a tile, and a barrier in shared memory tells all threads when it is there.

    mbarrier                counts the bytes that are still to come (expect_tx); has a phase, which flips when none are left
    cp.async.bulk.tensor    fetches a box, one panel of the tile (`wgmma.Panels`), in the swizzle that the panels have, which is the
                            accelerator's own: 16-byte chunks xored by the row.  What lies outside of the tensor becomes zero

A tile whose contiguous dimension is longer than a panel's row takes a box for each panel, one with more than 256 rows several for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir import Effect, Op, Value
from .fixed_first import loop_around
from .tensor_maps import ALIGNMENT, LARGEST_BOX, TensorMap, Window, tensor_map, window_of
from .values import BARRIER, Generator
from .wgmma import Panels, Rows

__all__ = ["Barriers", "Source", "elected", "fetch", "initial", "initialize", "leader", "source", "wait"]

_ROW_OF_BANKS = 1024
"""Bytes after which the swizzle begins anew: panels must begin at its multiples."""


@dataclass(frozen=True)
class Source:
    """Where the accelerator finds a tile that is wanted as ``form``: a window, and the map of its boxes."""

    window: Window
    map: TensorMap
    form: Panels

    def boxes(self) -> list[tuple[int, int, int]]:
        """(outer, inner element, byte offset in the form) at which each box begins."""
        rows, columns = self.map.box[-2:]
        outer, inner = self.form.shape[1 - self.form.inner], self.form.shape[self.form.inner]
        return [(i, j, j // columns * self.form.panel + i * self.form.row) for j in range(0, inner, columns) for i in range(0, outer, rows)]

    def places(self, g: Generator, target: str, half: str = "") -> list[tuple[list[tuple[str, str]], str]]:
        """For each box of a tile at ``target`` (i32): the map and the coordinates, innermost first, as arguments; its address.

        ``half``: which half of the rows is wanted alone (i32 text, 0 or 1), by another map, of boxes of that many rows; both where empty.
        """
        *lead, outer, inner = (g.scalar(v) for v in self.window.offsets)
        boxes, map_ = self.boxes(), self.map
        if half:
            rows = self.form.shape[1 - self.form.inner] // 2
            outer = g.emit(f"add i32 {outer}, {g.emit(f'mul i32 {half}, {rows}')}")
            target = g.emit(f"add i32 {target}, {g.emit(f'mul i32 {half}, {rows * self.form.row}')}")
            boxes, map_ = [box for box in boxes if box[0] == 0], replace(map_, box=(*map_.box[:-2], rows, map_.box[-1]))
        out = []
        for i, j, byte in boxes:
            x, y, at = (g.emit(f"add i32 {a}, {b}") if b else a for a, b in ((inner, j), (outer, i), (target, byte)))
            out.append(([("ptr", g.tensor_map(map_)), *(("i32", v) for v in (x, y, *reversed(lead)))], at))
        return out


def source(g: Generator, pointer: Value, form: Panels | Rows, stored: bool = False) -> Source | None:
    """How the accelerator copies the tile at ``pointer`` into ``form``; None where it cannot."""
    window = window_of(pointer)
    if not g.tma or window is None or not isinstance(form, Panels) or form.size > 4 or form.row < ALIGNMENT:
        return None
    *ones, outer, _ = pointer.type.shape
    if any(n > 1 for n in ones):
        return None
    if form.width < form.shape[form.inner] and form.panel % _ROW_OF_BANKS:
        return None
    swizzle = form.row if form.row > ALIGNMENT else 0
    made = tensor_map(window, (*ones, min(outer, LARGEST_BOX), form.width), swizzle, stored)
    return None if made is None else Source(window, made, form)


def _written(g: Generator, loop: Op, again: bool) -> bool:
    """Whether the kernel may have written to global memory, or waited for who did, when a loop begins."""
    tells = Effect.WRITE | Effect.SYNC
    for op in g.func.walk():
        if op is loop:
            return again and any(op.defn.effects & tells for op in g.func.walk())
        if op.defn.effects & tells:
            return True
    return False


def leader(g: Generator) -> str:
    """i1: this is the one thread that asks for copies."""
    if "leader" not in g.once:
        g.once["leader"] = elected(g, g.early(f"icmp ult i32 {g.tid}, 32"))
    return g.once["leader"]


def elected(g: Generator, warp: str) -> str:
    """i1, made at the kernel's entry: this is the thread that its warp has chosen, of a ``warp`` for which that i1 holds."""
    one = g.early('call i32 asm sideeffect "{ .reg .pred p; elect.sync _|p, -1; selp.b32 $0, 1, 0, p; }", "=r"() #1')
    return g.early(f"and i1 {warp}, {g.early(f'icmp ne i32 {one}, 0')}")


def fetch(g: Generator, source: Source, target: str, barrier: str, who: str) -> None:
    """Where ``who`` (i1): a tile to ``target``; the mbarrier, both i32 addresses, counts its bytes.  Offsets are looked up in the current scope."""
    for tensor, at in source.places(g, target):
        n = len(tensor) - 1
        copy = f"cp.async.bulk.tensor.{n}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        where = ", ".join(f"${i + 1}" for i in range(n))
        args = [*tensor, ("i32", at), ("i32", barrier), ("i1", who)]
        text = f"@${n + 3} {copy} [${n + 1}], [$0, {{{where}}}], [${n + 2}];"
        g.assembly(text, ",".join(["l", *(["r"] * (n + 2)), "b"]), "void", args)


class Barriers:
    """The mbarriers of a ring of ``count`` slots.  They count for as long as the kernel runs, so a loop may be entered again and again."""

    def __init__(self, g: Generator, count: int, loop: Op):
        self.g, self.count = g, count
        self.again = loop_around(loop) is not None  # the loop may have run before: its phases are asked for
        self.written = _written(g, loop, self.again)
        self.address = g.barriers(count)

    def begin(self) -> str:
        """All threads: from here on the accelerator has the ring's memory to itself.  Gives the slots' phases, a bit each."""
        g = self.g
        phases = self._phases() if self.again else "0"
        # What this thread did in that memory comes first, and what it wrote to global memory, or was told of there.
        g.assembly(f"fence.proxy.async{'' if self.written else '.shared::cta'};", "", "void", [])
        g.reclaim()
        return phases

    def _phases(self) -> str:
        """Asked for in front of the barrier of threads that lets new copies begin: with none in flight, phases stand still."""
        g, phases = self.g, "0"
        code = "{ .reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [$1], 0; selp.b32 $0, 1, 0, p; }"
        for i in range(self.count):  # phase 0 is over where phase 1 has begun
            odd = g.assembly(code, "=r,r", "i32", [("i32", self.of(str(i)))])
            odd = g.emit(f"shl i32 {odd}, {i}") if i else odd
            phases = odd if phases == "0" else g.emit(f"or disjoint i32 {phases}, {odd}")
        return phases

    def of(self, slot: str) -> str:
        """Address of a slot's barrier."""
        if slot.isdigit():
            return self.g.emit(f"add i32 {self.address}, {8 * int(slot)}")
        return self.g.emit(f"add i32 {self.address}, {self.g.emit(f'shl i32 {slot}, 3')}")

    def ask(self, slot: str, who: str, wanted: list[tuple[Source, str]]) -> None:
        """By the one thread ``who``, if any: copies of tiles to addresses (i32) in shared memory.  Offsets are looked up in the current scope."""
        g = self.g
        barrier = self.of(slot)
        total = sum(s.form.bytes for s, _ in wanted)
        g.assembly(f"@$1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], {total};", "r,b", "void", [("i32", barrier), ("i1", who)])
        for s, target in wanted:
            fetch(g, s, target, barrier, who)

    def wait(self, slot: str, phases: str, who: str = "") -> None:
        """Until the copies of a slot's phase are there.  ``who``: an i1, the same in a warp, which threads wait (empty: all)."""
        g = self.g
        parity = g.emit(f"and i32 {g.emit(f'lshr i32 {phases}, {slot}')}, 1")
        wait(g, self.of(slot), parity, who)


def wait(g: Generator, barrier: str, parity: str, who: str = "") -> None:
    """Until the phase of this ``parity`` is over at an mbarrier (both i32).  ``who``: as in `Barriers.wait`."""
    code = "WAIT: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; @!p bra WAIT;"
    args = [("i32", barrier), ("i32", parity)]
    if who:
        g.assembly(f"{{ .reg .pred p; @!$2 bra DONE; {code} DONE: }}", "r,r,b", "void", [*args, ("i1", who)])
    else:
        g.assembly(f"{{ .reg .pred p; {code} }}", "r,r", "void", args)


def initial(count: int) -> str:
    """Text by which the thread $1 makes ``count`` mbarriers at $0, for the accelerator to see."""
    lines = " ".join(f"@$1 mbarrier.init.shared::cta.b64 [$0+{8 * i}], 1;" for i in range(count))
    return f"{lines} fence.mbarrier_init.release.cluster;"


def initialize(g: Generator, address: str, count: int) -> list[str]:
    """The lines for the kernel's entry that make ``count`` mbarriers at ``address`` (i32), for all threads to see."""
    return [
        f'call void asm sideeffect "{initial(count)}", "r,b,~{{memory}}"(i32 {address}, i1 {leader(g)}) #1',
        f"call void {g.w.declare(BARRIER, 'void(i32)')}(i32 0)",
    ]
