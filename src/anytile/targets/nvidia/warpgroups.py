"""Warpgroups that go on alone: where the accelerator copies, none has to wait for the other at the end of an iteration, or of a tile.

    both      wait for a slot, multiply, and count that they have left it
    the last  to leave a slot asks for the next copy into it
    each      stores its own rows, half of the tile's

So one may be some slots ahead of the other, and multiplies while the other stores: the tensor cores, which both share, are not idle then.  A
lead stays as it is once it is there: who is alone multiplies twice as fast, and both store for the same time.  So the second warpgroup lets
the first one begin (`over_tiles`).
"""

from __future__ import annotations

from .copies import elected, leader
from .values import Generator

__all__ = ["Departures", "group_barrier", "group_leader"]


def group_leader(g: Generator) -> str:
    """i1: this is the one thread of its warpgroup that asks for copies and stores."""
    if "group leader" not in g.once:
        g.once["group leader"] = elected(g, g.early(f"icmp ult i32 {g.early(f'and i32 {g.tid}, 127')}, 32"))
    return g.once["group leader"]


def group_barrier(g: Generator) -> None:
    """Waits for the threads of this warpgroup."""
    if "group barrier" not in g.once:
        g.once["group barrier"] = g.early(f"add i32 {g.warpgroup()}, 1")
    g.assembly("bar.sync $0, 128;", "r", "void", [("i32", g.once["group barrier"])])


class Departures:
    """How many of two warpgroups have left each of ``count`` slots, for as long as the kernel runs."""

    def __init__(self, g: Generator, count: int):
        self.g, self.count = g, count
        self.start = g.buffer(self, 4 * count)

    def clear(self) -> None:
        """Nobody has left a slot yet; stands before a barrier of all threads."""
        one = leader(self.g)
        zeros = " ".join(f"@$1 st.shared.b32 [$0+{4 * i}], 0;" for i in range(self.count))
        self.g.assembly(zeros, "r,b", "void", [("i32", self._address("0")), ("i1", one)])

    def last(self, slot: str) -> str:
        """Counts this warpgroup, which has left ``slot``; i1: this is the thread of the last one that asks."""
        g = self.g
        code = "{ .reg .b32 n; mov.b32 n, 0; @$2 atom.acq_rel.cta.shared::cta.add.u32 n, [$1], 1; and.b32 $0, n, 1; }"
        before = g.assembly(code, "=r,r,b", "i32", [("i32", self._address(slot)), ("i1", group_leader(g))])
        return g.emit(f"icmp ne i32 {before}, 0")

    def _address(self, slot: str) -> str:
        g = self.g
        begin = g.emit(f"ptrtoint ptr addrspace(3) {g.at_byte(self.start)} to i32")
        return begin if slot == "0" else g.emit(f"add i32 {begin}, {g.emit(f'shl i32 {slot}, 2')}")
