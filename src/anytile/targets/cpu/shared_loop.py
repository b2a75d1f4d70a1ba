"""The code that runs a split loop (`split`): a lone program asks into how many parts, and hands them to the thread pool.

    @kernel        if the grid has one program and @run_split says that it is done: return; else the kernel as it is
    @run_split     check → parts;  more than one: launch part, that many programs; finish

The parts are a launch of their own, made while a single program runs, which keeps no thread of the pool.  Scratch of the launching
thread begins with the places of the sums, the parts of each one after the other; then comes what `part` needs where this thread takes
parts, then what `check` and `finish` need.

How to launch, a kernel does not know until it is loaded: `pool_record.LAUNCHER`, a variable of the object, gets the address of a function
``i64 (record, args)`` then, the pool's `@share`.  While it is null nothing is split.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import pool_record
from .split import MOST_PARTS, Split

__all__ = ["Stage", "shared_loop"]


@dataclass(frozen=True)
class Stage:
    """One of the three kernels: the name of its entry, and the bytes of scratch that it needs."""

    entry: str
    scratch: int


def shared_loop(split: Split, slots: int, check: Stage, part: Stage, finish: Stage) -> tuple[str, int]:
    """(functions and variables, bytes of scratch) for a kernel of so many arguments.

    ``@run_split(args, scratch)`` is an i1: whether the launch is over.
    """
    part_scratch, sums = 0, []
    for t in split.sums:
        sums.append(part_scratch)
        part_scratch += _padded(MOST_PARTS * t.numel * t.elem.bytes)
    rest = part_scratch + _padded(part.scratch)
    record = pool_record.record_type()
    fields = {
        "kernel": f"@{part.entry}",
        "scratch": "%part.scratch",
        "bytes": part.scratch,
        "cell": "@split_cell",
        "owner": "%owner",
        "first": 0,
        "gx": "%parts",
        "gy": 1,
        "gz": 1,
    }
    fill = []
    for i, offset in enumerate(sums):
        fill.append(f"  %sum{i} = getelementptr i8, ptr %scratch, i64 {offset}")
        fill += _store(f"sum{i}.slot", slots + 2 + i, "ptr", f"%sum{i}")
    describe = []
    for number, (name, kind) in enumerate(pool_record.RECORD.items()):
        describe.append(f"  %record.{name} = getelementptr {record}, ptr %record, i32 0, i32 {number}")
        describe.append(f"  store {kind} {fields[name]}, ptr %record.{name}, align 4")
    cell = [f"i64 {n}" for n in pool_record.new_cell()]
    lines = [
        f"@{pool_record.LAUNCHER} = global ptr null, align 8",
        f"@split_cell = internal global [{len(cell)} x i64] [{', '.join(cell)}], align 64",
        "define internal i1 @run_split(ptr %args, ptr %scratch) #1 {",
        "entry:",
        f"  %block = alloca [{slots + 2 + len(sums)} x i64], align 16",
        f"  %record = alloca {record}, align 16",
        "  %parts.at = alloca i32, align 4",
        f"  %launcher = load ptr, ptr @{pool_record.LAUNCHER}, align 8",
        "  %alone = icmp eq ptr %launcher, null",
        "  br i1 %alone, label %whole, label %ask",
        "ask:",
        f"  %all = load [{slots} x i64], ptr %args, align 8",
        f"  store [{slots} x i64] %all, ptr %block, align 8",
        *_store("parts.at.slot", slots, "ptr", "%parts.at"),
        f"  %part.scratch = getelementptr i8, ptr %scratch, i64 {part_scratch}",
        f"  %rest = getelementptr i8, ptr %scratch, i64 {rest}",
        f"  call void @{check.entry}(ptr %block, ptr %rest, i64 0, i64 1, i32 1, i32 1, i32 1)",
        "  %parts = load i32, ptr %parts.at, align 4",
        "  %several = icmp sgt i32 %parts, 1",
        "  br i1 %several, label %share, label %whole",
        "share:",
        *_store("parts.slot", slots + 1, "i32", "%parts"),
        *fill,
        "  %owner = ptrtoint ptr %record to i64",
        *describe,
        "  %code = call i64 %launcher(ptr %record, ptr %block)",
        "  %over = icmp eq i64 %code, 0",
        "  br i1 %over, label %finish, label %done",
        "finish:",
        f"  call void @{finish.entry}(ptr %block, ptr %rest, i64 0, i64 1, i32 1, i32 1, i32 1)",
        "  br label %done",
        "done:",
        "  ret i1 true",
        "whole:",
        "  ret i1 false",
        "}",
    ]
    return "\n".join(lines), rest + max(_padded(check.scratch), _padded(finish.scratch))


def _padded(size: int) -> int:
    """``size`` up to whole lines, and at least one: the pool writes into the first word of scratch."""
    return max(64, (size + 63) & ~63)


def _store(name: str, index: int, kind: str, value: str) -> list[str]:
    """Instructions that put ``value`` into a slot of the argument block."""
    return [f"  %{name} = getelementptr i64, ptr %block, i64 {index}", f"  store {kind} {value}, ptr %{name}, align 8"]
