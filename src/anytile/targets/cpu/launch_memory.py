"""Scratch memory that outlives a program: what a worker keeps from one program of a launch to the next.

It begins the worker's scratch and is all zero when a launch begins there.  The pool says that a launch begins by a zero in the
first word; the kernel's entry for ranges of one launch, ``@kernel_in_launch``, then calls ``@forget``, which clears the rest and
changes the word.  ``@kernel``, the entry for everyone else, takes each range for a launch of its own.

What is kept must be right as long as the program does not synchronise with others (`synchronises`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Effect, Op

if TYPE_CHECKING:
    from .program import Program

__all__ = ["LaunchMemory", "synchronises"]


def synchronises(op: Op) -> bool:
    """Whether a program may learn by ``op`` how far others are: from then on it must see what they have written."""
    return bool(op.defn.effects & Effect.SYNC) or op.name.startswith("atomic") or bool(op.attrs.get("volatile"))


class LaunchMemory:
    """``take`` what is to be zero at first, then `place` it, before anything else reserves scratch."""

    def __init__(self, program: Program):
        self.p = program
        self.bytes = 0

    def take(self, nbytes: int) -> int:
        """Offset of ``nbytes`` in scratch, 64-byte aligned."""
        at = self.bytes or 64  # the first word is the pool's
        self.bytes = (at + nbytes + 63) & ~63
        return at

    def place(self) -> None:
        if self.bytes:
            assert self.p.offset == 0
            self.p.reserve(self.bytes)

    def pointer(self, offset: int) -> str:
        """An operand for the place at ``offset``, valid everywhere in the function."""
        name = self.p.w.fresh("kept")
        self.p.entry.append(f"  {name} = getelementptr i8, ptr %scratch, i64 {offset}")
        return name

    def functions(self) -> list[str]:
        """``@forget``."""
        if not self.bytes:
            return []
        return [
            "define internal void @forget(ptr %scratch) #1 {",
            "entry:",
            "  %launched = load i64, ptr %scratch, align 8",
            "  %old = icmp eq i64 %launched, 0",
            "  br i1 %old, label %clear, label %done",
            "clear:",
            f"  call void @llvm.memset.p0.i64(ptr align 64 %scratch, i8 0, i64 {self.bytes}, i1 false)",
            "  store i64 1, ptr %scratch, align 8",
            "  br label %done",
            "done:",
            "  ret void",
            "}",
        ]
