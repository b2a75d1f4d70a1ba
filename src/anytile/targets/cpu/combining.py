"""Atomic additions that nobody reads, combined before they go to memory.

A histogram is one atomic addition for each element, twenty cycles by itself and a hundred where two threads fight for the line.
Where no program can tell, a worker adds to a table of its own instead, and hands the sums over in bulk.

When no program can tell.  The result of the addition is not used, and nothing follows it in the program that touches memory; the
kernel holds no other atomic, no barrier and no volatile access, by which programs could learn of each other.  Then each
addition may as well happen at the end of the range of programs that the worker was given, and integers may be added up in any order.

The table has a slot for each of `SLOTS` lines of 64 bytes, found by the line's address.  A line that finds its slot taken hands
over what is there (`@hand_over`) and takes the slot.  A kernel whose lines do not fit gains nothing by that: after `PATIENCE` lines
driven out in one launch the worker adds directly.  At the end of a range all slots are handed over (``@hand_over_all``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...ir import Effect, Op
from ...ir.types import I32, I64
from .lanes import Lane
from .launch_memory import synchronises

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Combining"]

SLOTS = 512
PATIENCE = 4096
_LEAST = 256
"""Elements of a tile for which looking after a table pays."""


class Combining:
    def __init__(self, program: Program):
        self.p = program
        self.ops: set[Op] = set()
        self.state = 0  # offset of: lines driven out in this launch, whether the tags are valid

    # --- which additions ---

    def prepare(self) -> None:
        ops = [op for op in self.p.func.walk() if op.defn.effects]
        found = [op for op in ops if self._suits(op)]
        if not found or len({op.operands[1].type.elem for op in found}) > 1:
            return
        first = ops.index(found[0])
        for i, op in enumerate(ops):
            if op in found:
                continue
            if synchronises(op) or i > first and op.defn.effects & (Effect.READ | Effect.WRITE):
                return
        self.ops.update(found)
        self.element = found[0].operands[1].type.elem
        self.state = self.p.launch.take(16)

    def _suits(self, op: Op) -> bool:
        if op.name != "atomic_rmw" or op.attrs["kind"] != "add" or op.result.uses or op.block is not self.p.func.body:
            return False
        t = op.operands[1].type
        return t.elem in (I32, I64) and t.numel >= _LEAST

    def place(self) -> None:
        """Reserves the table: tags, then lines."""
        if self.ops:
            self.offset = self.p.offset
            self.tags, self.lines = self.p.reserve(SLOTS * 8), self.p.reserve(SLOTS * 64)
            self.here = self.p.launch.pointer(self.state)

    # --- code ---

    def emit(self, combined: Callable[[], None], direct: Callable[[], None]) -> None:
        """Either of two ways to add a tile: through the table, or with an atomic instruction for each element."""
        w = self.p.w
        table, clear, ready, straight, after = (w.new_label(s) for s in ("table", "clear", "ready", "straight", "added"))
        w.cond_br(w.ins(f"icmp ult i64 {w.ins(f'load i64, ptr {self.here}, align 8')}, {PATIENCE}"), table, straight)
        w.open_block(table)
        valid = w.ins(f"getelementptr i8, ptr {self.here}, i64 8")
        w.cond_br(w.ins(f"icmp eq i64 {w.ins(f'load i64, ptr {valid}, align 8')}, 0"), clear, ready)
        w.open_block(clear)
        fn = w.declare("llvm.memset.p0.i64", "void(ptr, i8, i64, i1)")
        w.put(f"call void {fn}(ptr align 64 {self.tags}, i8 0, i64 {SLOTS * 8}, i1 false)")
        w.put(f"store i64 1, ptr {valid}, align 8")
        w.br(ready)
        w.open_block(ready)
        combined()
        w.br(after)
        w.open_block(straight)
        direct()
        w.br(after)
        w.open_block(after)

    def add(self, pointer: Lane, value: Lane, mask: Lane | None) -> None:
        """Adds one element to its line in the table."""
        w, t, size = self.p.w, f"i{value.elem.bits}", value.elem.bytes
        after = w.new_label("next")
        if mask is not None and mask.const != 1:
            on = w.new_label("on")
            w.cond_br(mask.val, on, after)
            w.open_block(on)
        address = w.ins(f"ptrtoint ptr {pointer.val} to i64")
        line = w.ins(f"and i64 {address}, -64")
        slot = w.ins(f"and i64 {w.ins(f'lshr i64 {address}, 6')}, {SLOTS - 1}")
        tag = w.ins(f"getelementptr i64, ptr {self.tags}, i64 {slot}")
        data = w.ins(f"getelementptr [64 x i8], ptr {self.lines}, i64 {slot}")
        mine, other = w.new_label("mine"), w.new_label("other")
        w.cond_br(w.ins(f"icmp eq i64 {w.ins(f'load i64, ptr {tag}, align 8')}, {line}"), mine, other)
        w.open_block(other)
        w.put(f"call void @change_line(ptr {self.here}, ptr {tag}, ptr {data}, i64 {line})")
        w.br(mine)
        w.open_block(mine)
        cell = w.ins(f"getelementptr i8, ptr {data}, i64 {w.ins(f'and i64 {address}, {64 - size}')}")
        total = w.ins(f"add {t} {w.ins(f'load {t}, ptr {cell}, align {size}')}, {value.val}")
        w.put(f"store {t} {total}, ptr {cell}, align {size}")
        w.br(after)
        w.open_block(after)

    def functions(self) -> list[str]:
        """What happens rarely: a slot changes its line; the table is handed over."""
        if not self.ops:
            return []
        t, size = f"i{self.element.bits}", self.element.bytes
        return [
            "define internal void @hand_over(i64 %line, ptr %data) nounwind noinline {",
            "entry:",
            "  %to = inttoptr i64 %line to ptr",
            "  br label %next",
            "next:",
            "  %at = phi i64 [ 0, %entry ], [ %at.next, %done ]",
            "  %cell = getelementptr i8, ptr %data, i64 %at",
            f"  %sum = load {t}, ptr %cell, align {size}",
            f"  %any = icmp ne {t} %sum, 0",
            "  br i1 %any, label %add, label %done",
            "add:",
            "  %where = getelementptr i8, ptr %to, i64 %at",
            f"  %old = atomicrmw add ptr %where, {t} %sum release, align {size}",
            "  br label %done",
            "done:",
            f"  %at.next = add i64 %at, {size}",
            "  %more = icmp ult i64 %at.next, 64",
            "  br i1 %more, label %next, label %out",
            "out:",
            "  ret void",
            "}",
            "define internal void @change_line(ptr %state, ptr %tag, ptr %data, i64 %line) nounwind noinline {",
            "entry:",
            "  %old = load i64, ptr %tag, align 8",
            "  %taken = icmp ne i64 %old, 0",
            "  br i1 %taken, label %drive, label %take",
            "drive:",
            "  call void @hand_over(i64 %old, ptr %data)",
            "  %driven = load i64, ptr %state, align 8",
            "  %driven.now = add i64 %driven, 1",
            "  store i64 %driven.now, ptr %state, align 8",
            "  br label %take",
            "take:",
            "  store i64 %line, ptr %tag, align 8",
            "  call void @llvm.memset.p0.i64(ptr align 64 %data, i8 0, i64 64, i1 false)",
            "  ret void",
            "}",
            "define internal void @hand_over_all(ptr %scratch) nounwind {",
            "entry:",
            f"  %valid = getelementptr i8, ptr %scratch, i64 {self.state + 8}",
            "  %is.valid = load i64, ptr %valid, align 8",
            "  %used = icmp ne i64 %is.valid, 0",
            "  br i1 %used, label %begin, label %out",
            "begin:",
            "  store i64 0, ptr %valid, align 8",
            f"  %tags = getelementptr i8, ptr %scratch, i64 {self.offset}",
            f"  %lines = getelementptr i8, ptr %scratch, i64 {self.offset + SLOTS * 8}",
            "  br label %next",
            "next:",
            "  %slot = phi i64 [ 0, %begin ], [ %slot.next, %done ]",
            "  %tag = getelementptr i64, ptr %tags, i64 %slot",
            "  %line = load i64, ptr %tag, align 8",
            "  %taken = icmp ne i64 %line, 0",
            "  br i1 %taken, label %give, label %done",
            "give:",
            "  %data = getelementptr [64 x i8], ptr %lines, i64 %slot",
            "  call void @hand_over(i64 %line, ptr %data)",
            "  br label %done",
            "done:",
            "  %slot.next = add i64 %slot, 1",
            f"  %more = icmp ult i64 %slot.next, {SLOTS}",
            "  br i1 %more, label %next, label %out",
            "out:",
            "  ret void",
            "}",
        ]
