"""The threads' side of the pool, as LLVM text: what a thread does for the launch that is open (`pool_ir` has the protocol).

`@work` takes chunks.  The launcher calls it by `@own_work`, every other thread by `@help`: a `@worker` of the pool's own, or a `@member`
of a parallel region of an OpenMP runtime.
"""

from __future__ import annotations

from . import pool_system
from .pool_record import ARENAS, LINE, MOST_RANGES, OUT_OF_MEMORY

__all__ = ["text"]


def text(at: dict[str, str], architecture: str) -> str:
    """The functions; ``at``: where the pool's words are (`pool_record.places`)."""
    clock, pause = pool_system.CLOCK[architecture], pool_system.PAUSE[architecture]
    return f"""
; per worker: allocation, its size
@arenas = internal global [{ARENAS} x {{ ptr, i64 }}] zeroinitializer, align 64

; The ranges of the open launch: the next program, the end; a line each, `LINE` bytes, as one core mostly writes it.
%Range = type {{ i64, i64, [{LINE - 16} x i8] }}
@ranges = internal global [{MOST_RANGES} x %Range] zeroinitializer, align {LINE}

declare ptr @malloc(i64)
declare void @free(ptr)

; 64-byte-aligned scratch of a worker, grown on demand; null, and the status word, where memory has run out.
define internal ptr @arena(i64 %worker, i64 %bytes) nounwind {{
entry:
  %slot = getelementptr [{ARENAS} x {{ ptr, i64 }}], ptr @arenas, i64 0, i64 %worker
  %slot.size = getelementptr {{ ptr, i64 }}, ptr %slot, i32 0, i32 1
  %size = load i64, ptr %slot.size
  %old = load ptr, ptr %slot
  %enough = icmp uge i64 %size, %bytes
  br i1 %enough, label %align, label %grow
grow:
  call void @free(ptr %old)
  %padded = add i64 %bytes, 64
  %fresh = call ptr @malloc(i64 %padded)
  %failed = icmp eq ptr %fresh, null
  %fresh.size = select i1 %failed, i64 0, i64 %bytes
  store ptr %fresh, ptr %slot
  store i64 %fresh.size, ptr %slot.size
  br i1 %failed, label %fail, label %align
fail:
  store atomic i32 {OUT_OF_MEMORY}, ptr {at["status"]} seq_cst, align 4
  ret ptr null
align:
  %base = phi ptr [ %old, %entry ], [ %fresh, %grow ]
  %address = ptrtoint ptr %base to i64
  %up = add i64 %address, 63
  %aligned = and i64 %up, -64
  %result = inttoptr i64 %aligned to ptr
  ret ptr %result
}}

; Says in the first word of a thread's scratch that a launch begins there (`launch_memory`).
define internal void @begin(ptr %scratch) nounwind alwaysinline {{
entry:
  %any = icmp ne ptr %scratch, null
  br i1 %any, label %say, label %done
say:
  store i64 0, ptr %scratch, align 8
  br label %done
done:
  ret void
}}

; Divides programs %from … %total − 1 into %ranges ranges that differ by one at most.
define internal void @divide(i64 %from, i64 %total, i64 %ranges) nounwind {{
entry:
  %count = sub i64 %total, %from
  %each = udiv i64 %count, %ranges
  %even = mul i64 %each, %ranges
  %more = sub i64 %count, %even
  store i64 0, ptr {at["dry"]}
  store i64 %ranges, ptr {at["ranges"]}
  br label %range
range:
  %i = phi i64 [ 0, %entry ], [ %i.next, %range ]
  %begin = phi i64 [ %from, %entry ], [ %end, %range ]
  %longer = icmp ult i64 %i, %more
  %extra = zext i1 %longer to i64
  %size = add i64 %each, %extra
  %end = add i64 %begin, %size
  %range.at = getelementptr [{MOST_RANGES} x %Range], ptr @ranges, i64 0, i64 %i
  %end.at = getelementptr %Range, ptr %range.at, i32 0, i32 1
  store atomic i64 %begin, ptr %range.at monotonic, align 8
  store i64 %end, ptr %end.at
  %i.next = add i64 %i, 1
  %again = icmp ult i64 %i.next, %ranges
  br i1 %again, label %range, label %done
done:
  ret void
}}

; Takes from the open launch what nobody has begun.
define internal void @cancel() nounwind {{
entry:
  %ranges = load i64, ptr {at["ranges"]}
  br label %range
range:
  %i = phi i64 [ 0, %entry ], [ %i.next, %range ]
  %range.at = getelementptr [{MOST_RANGES} x %Range], ptr @ranges, i64 0, i64 %i
  %end.at = getelementptr %Range, ptr %range.at, i32 0, i32 1
  %end = load i64, ptr %end.at
  store atomic i64 %end, ptr %range.at seq_cst, align 8
  %i.next = add i64 %i, 1
  %again = icmp ult i64 %i.next, %ranges
  br i1 %again, label %range, label %done
done:
  store atomic i64 %ranges, ptr {at["dry"]} seq_cst, align 8
  ret void
}}

; Takes chunks of the open launch, first of range %number, then of those behind it, until none is left, the status word is set, or the
; clock passes %deadline.  Returns the number of programs run.
define internal i64 @work(i64 %number, ptr %scratch, i64 %deadline) nounwind {{
entry:
  call void @begin(ptr %scratch)
  %kernel = load ptr, ptr {at["kernel"]}
  %args = load ptr, ptr {at["args"]}
  %ranges = load i64, ptr {at["ranges"]}
  %tail = load i64, ptr {at["tail"]}
  %own = urem i64 %number, %ranges
  %chunk.first = load i64, ptr {at["chunk"]}
  %chunk.most = load i64, ptr {at["chunk.most"]}
  %chunk.ticks = load i64, ptr {at["chunk.goal"]}
  %chunk.half.ticks = lshr i64 %chunk.ticks, 1
  %start = call i64 @{clock}()
  %gx = load i32, ptr {at["gx"]}
  %gy = load i32, ptr {at["gy"]}
  %gz = load i32, ptr {at["gz"]}
  br label %take
take:
  %range = phi i64 [ %own, %entry ], [ %range, %again ], [ %range, %portion ], [ %range.next, %elsewhere ]
  %looked = phi i64 [ 0, %entry ], [ 0, %again ], [ %looked, %portion ], [ %looked.next, %elsewhere ]
  %done = phi i64 [ 0, %entry ], [ %done.next, %again ], [ %done, %portion ], [ %done, %elsewhere ]
  %chunk = phi i64 [ %chunk.first, %entry ], [ %chunk.next, %again ], [ %chunk, %portion ], [ %chunk, %elsewhere ]
  %since = phi i64 [ %start, %entry ], [ %now, %again ], [ %since, %portion ], [ %since, %elsewhere ]
  %range.at = getelementptr [{MOST_RANGES} x %Range], ptr @ranges, i64 0, i64 %range
  %end.at = getelementptr %Range, ptr %range.at, i32 0, i32 1
  %range.end = load i64, ptr %end.at
  %seen = load atomic i64, ptr %range.at monotonic, align 8
  %open.still = icmp ult i64 %seen, %range.end
  br i1 %open.still, label %portion, label %next.range
next.range:
  %dry = load atomic i64, ptr {at["dry"]} monotonic, align 8
  %all.dry = icmp uge i64 %dry, %ranges
  %looked.next = add i64 %looked, 1
  %round = icmp uge i64 %looked.next, %ranges
  %nothing = or i1 %all.dry, %round
  br i1 %nothing, label %leave, label %elsewhere
elsewhere:
  %behind = add i64 %range, 1
  %past = icmp uge i64 %behind, %ranges
  %range.next = select i1 %past, i64 0, i64 %behind
  br label %take
portion:
  %rest = sub i64 %range.end, %seen
  %share = udiv i64 %rest, %tail
  %fair = call i64 @llvm.umax.i64(i64 %share, i64 1)
  %part = call i64 @llvm.umin.i64(i64 %chunk, i64 %fair)
  %begin = atomicrmw add ptr %range.at, i64 %part seq_cst
  %left = icmp ult i64 %begin, %range.end
  br i1 %left, label %taken, label %take
taken:
  %limit = add i64 %begin, %part
  %last = icmp uge i64 %limit, %range.end
  br i1 %last, label %emptied, label %run
emptied:
  atomicrmw add ptr {at["dry"]}, i64 1 seq_cst
  br label %run
run:
  %end = call i64 @llvm.umin.i64(i64 %limit, i64 %range.end)
  call void %kernel(ptr %args, ptr %scratch, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz)
  %count = sub i64 %end, %begin
  %done.next = add i64 %done, %count
  %status = load atomic i32, ptr {at["status"]} monotonic, align 4
  %bad = icmp ne i32 %status, 0
  br i1 %bad, label %stop, label %check
check:
  %now = call i64 @{clock}()
  %late = icmp ugt i64 %now, %deadline
  br i1 %late, label %leave.run, label %again
again:
  ; each thread finds its chunk: twice as long while it is quick, half where it was too long
  %took = sub i64 %now, %since
  %quick = icmp ult i64 %took, %chunk.half.ticks
  %double = shl i64 %chunk, 1
  %grown = call i64 @llvm.umin.i64(i64 %double, i64 %chunk.most)
  %slow = icmp ugt i64 %took, %chunk.ticks
  %half = lshr i64 %chunk, 1
  %shrunk = call i64 @llvm.umax.i64(i64 %half, i64 1)
  %not.quick = select i1 %slow, i64 %shrunk, i64 %chunk
  %chunk.next = select i1 %quick, i64 %grown, i64 %not.quick
  br label %take
stop:
  call void @cancel()
  ret i64 %done.next
leave.run:
  ret i64 %done.next
leave:
  ret i64 %done
}}

; The launcher's own programs of the open launch.  %spent: gets their clock ticks, without the wait for other threads, which on a busy
; machine is far longer and no matter of the kernel's.  Returns how many it ran.
define internal i64 @own_work(ptr %scratch, i64 %deadline, ptr %spent) nounwind {{
entry:
  %start = call i64 @{clock}()
  %programs = call i64 @work(i64 0, ptr %scratch, i64 %deadline)
  %end = call i64 @{clock}()
  %elapsed = sub i64 %end, %start
  store i64 %elapsed, ptr %spent
  ret i64 %programs
}}

; What any thread but the launcher does for the open launch: takes its chunks with scratch of its own, if there is memory for that.
define internal void @help(i64 %number, i64 %deadline) nounwind {{
entry:
  %bytes = load i64, ptr {at["scratch.bytes"]}
  %scratch = call ptr @arena(i64 %number, i64 %bytes)
  %have = icmp ne ptr %scratch, null
  %none = icmp eq i64 %bytes, 0
  %ready = or i1 %have, %none
  br i1 %ready, label %go, label %done
go:
  call i64 @work(i64 %number, ptr %scratch, i64 %deadline)
  br label %done
done:
  ret void
}}

; What a launcher tells the threads of its parallel region: its own scratch, the deadline; it gets how many programs it ran itself, and
; their ticks.
%Region = type {{ ptr, i64, i64, i64 }}

; One thread of a parallel region.
define internal void @member(ptr %region) nounwind {{
entry:
  %number.of = load ptr, ptr {at["thread.number"]}
  %number = call i32 %number.of()
  %deadline.at = getelementptr %Region, ptr %region, i32 0, i32 1
  %deadline = load i64, ptr %deadline.at
  %launcher = icmp eq i32 %number, 0
  br i1 %launcher, label %own, label %prepare
own:
  %own.scratch = load ptr, ptr %region
  %spent.at = getelementptr %Region, ptr %region, i32 0, i32 3
  %programs = call i64 @own_work(ptr %own.scratch, i64 %deadline, ptr %spent.at)
  %programs.at = getelementptr %Region, ptr %region, i32 0, i32 2
  store i64 %programs, ptr %programs.at
  ret void
prepare:
  %roomy = icmp ult i32 %number, {ARENAS}
  br i1 %roomy, label %equip, label %done
equip:
  %index = zext i32 %number to i64
  call void @help(i64 %index, i64 %deadline)
  br label %done
done:
  ret void
}}

; A worker thread.  %index: its number, 1 and up.
define ptr @worker(ptr %index) nounwind {{
entry:
  %number = ptrtoint ptr %index to i64
  br label %idle
idle:
  %seen = phi i32 [ 0, %entry ], [ %now, %left ], [ %now, %left.wake ]
  %spin = load i64, ptr {at["spin"]}
  br label %look
look:
  %spins = phi i64 [ 0, %idle ], [ %spins.next, %spin.more ]
  %hot = load atomic i32, ptr {at["generation"]} seq_cst, align 4
  %called = icmp ne i32 %hot, %seen
  br i1 %called, label %enter, label %spin.check
spin.check:
  %spun = icmp uge i64 %spins, %spin
  br i1 %spun, label %sleep, label %spin.more
spin.more:
  {pause}
  %spins.next = add i64 %spins, 1
  br label %look
sleep:
  atomicrmw add ptr {at["sleepers"]}, i32 1 seq_cst
  call void @wait(ptr {at["generation"]}, i32 %seen)
  atomicrmw sub ptr {at["sleepers"]}, i32 1 seq_cst
  %woken = load atomic i32, ptr {at["generation"]} seq_cst, align 4
  %really = icmp ne i32 %woken, %seen
  br i1 %really, label %enter, label %sleep
enter:
  %now = phi i32 [ %hot, %look ], [ %woken, %sleep ]
  atomicrmw add ptr {at["inside"]}, i32 1 seq_cst
  %open = load atomic i32, ptr {at["open"]} seq_cst, align 4
  %is.open = icmp ne i32 %open, 0
  br i1 %is.open, label %prepare, label %leave
prepare:
  call void @help(i64 %number, i64 -1)
  br label %leave
leave:
  %before = atomicrmw sub ptr {at["inside"]}, i32 1 seq_cst
  %last = icmp eq i32 %before, 1
  br i1 %last, label %left.last, label %left
left.last:
  %waited = load atomic i32, ptr {at["waiting"]} seq_cst, align 4
  %is.waited = icmp ne i32 %waited, 0
  br i1 %is.waited, label %left.wake, label %left
left.wake:
  call void @wake(ptr {at["inside"]}, i32 1)
  br label %idle
left:
  br label %idle
}}
"""
