"""The thread pool's native half, as LLVM text.

One `@pool` record, one launch at a time.  A launch is *open* while programs may be taken from it::

    launcher                                   worker
    ────────                                   ──────
    lock                                       spin, then sleep, until generation changes
    write the job, divide the programs         inside += 1
    open = 1;  generation += 1;  wake          if open: take chunks until none is left
    take chunks until none is left             inside -= 1;  wake the launcher if it waits for 0
    open = 0;  wait until inside = 0
    unlock

`inside` before `open` on one side and `open` before `inside` on the other (all sequentially consistent) mean
that a worker that comes late either sees a closed launch and leaves, or is waited for.  So no launch waits
for a sleeping worker, and the job is never rewritten under a worker that reads it.

Publishing a launch costs microseconds (more with many threads, and if workers sleep), which is more than many whole grids take.  Each
kernel has a `cell` (`pool_record`), whose first word is clock ticks per program, seen in its last launch.  Where it promises a grid shorter
than `inline.limit`, the launcher starts alone and publishes the rest only if the promise fails.  A program of a short launch that many
threads share takes far longer than one of many that run on one thread, as its data are in other caches.  So now and then the launcher
starts alone whatever the cell promises, which costs `inline.limit` at the most.  The cell also
sizes the first chunk; from then on each thread doubles or halves its own, so that one takes about
`chunk.ticks`, 50 µs: long enough that counters are cold and that a thread follows its streams through memory for many pages,
as hardware prefetchers want it.  Where programs save work by running one after the other on one thread (`launch_memory`), the cell's
second word makes that `TOGETHER` times as long.  Then come the extents of the largest grid that the kernel is right for, and the most
ranges that the programs may be divided into.

Ranges.  Each thread has a range of the programs, and a counter of its own in it, from which it takes half of what is left at the most; when
its range is dry it goes on with those behind, which keeps the tail balanced.  So a thread comes to the same rows in each launch, which may
still be in its caches, and to neighbours that share what they have packed.  Kernels in which a program may wait for another, or which
print (`program_order.tells_order`), have one range for all, from which nobody takes more than half of a thread's share of what is left:
there no program begins before those in front of it.

With `@join_team` the threads are those of an OpenMP runtime instead (`openmp` says when and why).  Then nobody waits for a generation:
the launcher opens the launch and takes its chunks inside a parallel region, whose other threads take theirs, and the region's end is the
end of the launch.  A region is over at the end of the time slice for all of its threads, so that Python sees its signals.
"""

from __future__ import annotations

from . import pool_system, pool_threads
from .pool_record import (
    ARENAS,
    BESIDE,
    CELL,
    FIRST,
    LINE,
    MORE_INLINE,
    MORE_SHARED,
    OTHER_GRID,
    POOL_BYTES,
    STATUS,
    TRY_AGAIN,
    TRY_SOON,
    load_record,
    places,
    record_type,
)

__all__ = ["text"]


def text(architecture: str, system: str) -> str:
    """The pool as an LLVM module.  ``system``: ``linux``, ``windows`` or ``posix``."""
    pool, at = places()
    clock, pause = pool_system.CLOCK[architecture], pool_system.PAUSE[architecture]
    return f"""
%Pool = type {pool}
@pool = internal global %Pool zeroinitializer, align {LINE}
{pool_system.declarations(architecture, system)}{pool_threads.text(at, architecture)}
define ptr @status() nounwind {{
  ret ptr {at["status"]}
}}

define i64 @ticks() nounwind {{
  %now = call i64 @{clock}()
  ret i64 %now
}}

define void @pauses(i64 %count) nounwind {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  {pause}
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}

; Forgets every launch and worker: at first use, and in a forked child, which has none of its parent's threads.
define void @reset(i64 %threads, i64 %spin, i64 %ticks.per.us) nounwind {{
  call void @llvm.memset.p0.i64(ptr @pool, i8 0, i64 {POOL_BYTES}, i1 false)
  store i64 %threads, ptr {at["threads"]}
  store i64 %spin, ptr {at["spin"]}
  ; what a region of so many threads costs, and a little for what they fetch from each other's caches
  %quarters = add i64 %threads, 22
  %inline.quarters = mul i64 %ticks.per.us, %quarters
  %inline = lshr i64 %inline.quarters, 2
  store i64 %inline, ptr {at["inline.limit"]}
  %chunk = mul i64 %ticks.per.us, 50
  store i64 %chunk, ptr {at["chunk.ticks"]}
  %slice = mul i64 %ticks.per.us, 100000
  store i64 %slice, ptr {at["slice"]}{pool_system.RESET[system]}
  ret void
}}

; From now on the threads of launches are those of an OpenMP runtime: its GOMP_parallel, omp_get_max_threads, omp_get_thread_num.
define void @join_team(ptr %parallel, ptr %most.threads, ptr %thread.number) nounwind {{
  store ptr %parallel, ptr {at["parallel"]}
  store ptr %most.threads, ptr {at["most.threads"]}
  store ptr %thread.number, ptr {at["thread.number"]}
  ret void
}}

; The launcher's part of the open launch, beside workers that come by themselves, or with the threads of a parallel region.
; Returns the number of programs that the launcher ran; %spent gets their ticks.
define internal i64 @take_part(ptr %scratch, i64 %deadline, ptr %spent) nounwind {{
entry:
  %told = alloca %Region
  %parallel = load ptr, ptr {at["parallel"]}
  %alone = icmp eq ptr %parallel, null
  br i1 %alone, label %apart, label %region
apart:
  %programs = call i64 @own_work(ptr %scratch, i64 %deadline, ptr %spent)
  ret i64 %programs
region:
  store ptr %scratch, ptr %told
  %deadline.at = getelementptr %Region, ptr %told, i32 0, i32 1
  store i64 %deadline, ptr %deadline.at
  ; 0: as many threads as torch's own regions have; a region of fewer would end the others, to be started anew by the next
  call void %parallel(ptr @member, ptr %told, i32 0, i32 0)
  %ran.at = getelementptr %Region, ptr %told, i32 0, i32 2
  %ran = load i64, ptr %ran.at
  %ticks.at = getelementptr %Region, ptr %told, i32 0, i32 3
  %ticks = load i64, ptr %ticks.at
  store i64 %ticks, ptr %spent
  ret i64 %ran
}}

; The threads that a launch may have now.
define i64 @threads() nounwind {{
entry:
  %most = load ptr, ptr {at["most.threads"]}
  %own = icmp eq ptr %most, null
  br i1 %own, label %pool, label %ask
ask:
  %told = call i32 %most()
  %count = call i32 @llvm.umin.i32(i32 %told, i32 {ARENAS})
  %wide = zext i32 %count to i64
  store i64 %wide, ptr {at["threads"]}
  ret i64 %wide
pool:
  %threads = load i64, ptr {at["threads"]}
  ret i64 %threads
}}

; The launcher's part of the open launch, then its end.  Returns 0, {MORE_SHARED} or {STATUS}.
define i64 @resume(ptr %record) nounwind {{
entry:
{load_record("scratch", "cell")}
  %start = call i64 @{clock}()
  %slice = load i64, ptr {at["slice"]}
  %deadline = add i64 %start, %slice
  %spent = alloca i64
  %programs = call i64 @take_part(ptr %scratch, i64 %deadline, ptr %spent)
  %any = icmp ne i64 %programs, 0
  br i1 %any, label %note, label %check
note:
  %elapsed = load i64, ptr %spent
  %each = udiv i64 %elapsed, %programs
  %known = or i64 %each, 1
  store i64 %known, ptr %cell
  br label %check
check:
  %dry = load atomic i64, ptr {at["dry"]} seq_cst, align 8
  %ranges = load i64, ptr {at["ranges"]}
  %more = icmp ult i64 %dry, %ranges
  br i1 %more, label %pass, label %close
pass:
  ret i64 {MORE_SHARED}
close:
  store atomic i32 0, ptr {at["open"]} seq_cst, align 4
  %spin = load i64, ptr {at["spin"]}
  br label %look
look:
  %spins = phi i64 [ 0, %close ], [ %spins.next, %spin.more ]
  %inside = load atomic i32, ptr {at["inside"]} seq_cst, align 4
  %alone = icmp eq i32 %inside, 0
  br i1 %alone, label %unlock, label %spin.check
spin.check:
  %spun = icmp uge i64 %spins, %spin
  br i1 %spun, label %sleep, label %spin.more
spin.more:
  {pause}
  %spins.next = add i64 %spins, 1
  br label %look
sleep:
  store atomic i32 1, ptr {at["waiting"]} seq_cst, align 4
  br label %sleep.look
sleep.look:
  %others = load atomic i32, ptr {at["inside"]} seq_cst, align 4
  %gone = icmp eq i32 %others, 0
  br i1 %gone, label %awake, label %sleep.wait
sleep.wait:
  call void @wait(ptr {at["inside"]}, i32 %others)
  br label %sleep.look
awake:
  store atomic i32 0, ptr {at["waiting"]} seq_cst, align 4
  br label %unlock
unlock:
  store atomic i64 0, ptr {at["owner"]} seq_cst, align 8
  store atomic i32 0, ptr {at["lock"]} seq_cst, align 4
  %status = load atomic i32, ptr {at["status"]} seq_cst, align 4
  %bad = icmp ne i32 %status, 0
  %result = select i1 %bad, i64 {STATUS}, i64 0
  ret i64 %result
}}

; If the launch of this record's owner is still open: withdraws what is left of it and waits for the programs that run.
define void @withdraw(ptr %record) nounwind {{
entry:
{load_record("owner")}
  %locked = load atomic i32, ptr {at["lock"]} seq_cst, align 4
  %any = icmp ne i32 %locked, 0
  br i1 %any, label %look, label %done
look:
  %holder = load atomic i64, ptr {at["owner"]} seq_cst, align 8
  %mine = icmp eq i64 %holder, %owner
  br i1 %mine, label %cancel, label %done
cancel:
  call void @cancel()
  call i64 @resume(ptr %record)
  br label %done
done:
  ret void
}}

; @launch with arguments that follow in the record.
define i64 @launch_beside(ptr %record) nounwind {{
  %args = getelementptr i8, ptr %record, i64 {BESIDE}
  %code = call i64 @launch(ptr %record, ptr %args)
  ret i64 %code
}}

; @launch for kernels, which share out their own work (`shared_loop`); it returns when the launch is over, 0 or {STATUS}.
define i64 @share(ptr %record, ptr %args) nounwind {{
entry:
  %first.at = getelementptr {record_type()}, ptr %record, i32 0, i32 {FIRST}
  br label %begin
begin:
  %begun = call i64 @launch(ptr %record, ptr %args)
  br label %look
look:
  %code = phi i64 [ %begun, %begin ], [ %resumed, %shared ]
  %kind = and i64 %code, 3
  switch i64 %kind, label %over [ i64 {MORE_SHARED}, label %shared
                                  i64 {MORE_INLINE}, label %inline ]
shared:
  %resumed = call i64 @resume(ptr %record)
  br label %look
inline:
  %next = lshr i64 %code, 2
  store i64 %next, ptr %first.at
  br label %begin
over:
  ret i64 %code
}}

; Whether an extent is not larger than the word of a cell at %offset.
define internal i1 @within(ptr %cell, i64 %offset, i32 %extent) nounwind {{
  %at = getelementptr i8, ptr %cell, i64 %offset
  %most = load i64, ptr %at
  %wide = zext i32 %extent to i64
  %is = icmp ule i64 %wide, %most
  ret i1 %is
}}

; Runs programs %first … gx·gy·gz − 1 of the launch that %record (`RECORD`) describes.
define i64 @launch(ptr %record, ptr %args) nounwind {{
entry:
{load_record()}
  call void @begin(ptr %scratch)
  %small.x = call i1 @within(ptr %cell, i64 {CELL["gx"]}, i32 %gx)
  %small.y = call i1 @within(ptr %cell, i64 {CELL["gy"]}, i32 %gy)
  %small.z = call i1 @within(ptr %cell, i64 {CELL["gz"]}, i32 %gz)
  %small.xy = and i1 %small.x, %small.y
  %small = and i1 %small.xy, %small.z
  br i1 %small, label %fits, label %other
other:
  ret i64 {OTHER_GRID}
fits:
  %x = zext i32 %gx to i64
  %y = zext i32 %gy to i64
  %z = zext i32 %gz to i64
  %xy = mul i64 %x, %y
  %total = mul i64 %xy, %z
  %one = icmp ule i64 %total, 1
  br i1 %one, label %single, label %several
single:
  call void %kernel(ptr %args, ptr %scratch, i64 0, i64 %total, i32 %gx, i32 %gy, i32 %gz)
  br label %finish
finish:
  %status = load atomic i32, ptr {at["status"]} seq_cst, align 4
  %bad = icmp ne i32 %status, 0
  %code = select i1 %bad, i64 {STATUS}, i64 0
  ret i64 %code

several:
  %threads = call i64 @threads()
  %threaded = icmp ugt i64 %threads, 1
  %each = load i64, ptr %cell
  %left.first = sub i64 %total, %first
  %promise = mul i64 %each, %left.first
  %limit = load i64, ptr {at["inline.limit"]}
  %short = icmp ult i64 %promise, %limit
  %known = icmp ne i64 %each, 0
  %wait.at = getelementptr i8, ptr %cell, i64 {CELL["try.alone"]}
  %wait = load i64, ptr %wait.at
  %try = icmp ult i64 %wait, 2  ; twice in a row: at the first its data come from other cores
  %may.be.short = or i1 %short, %try
  %brief = and i1 %may.be.short, %known
  %start = call i64 @{clock}()
  %slice = load i64, ptr {at["slice"]}
  %deadline = add i64 %start, %slice
  %publish.after = add i64 %start, %limit
  %not.brief = xor i1 %brief, true
  %publish.now = and i1 %threaded, %not.brief
  br i1 %publish.now, label %publish, label %inline

; alone, in batches that double, so that the clock is read rarely
inline:
  %may.publish = phi i1 [ %threaded, %several ], [ false, %publish ]
  %from = phi i64 [ %first, %several ], [ %publish.from, %publish ]
  %goal.stretch.at = getelementptr i8, ptr %cell, i64 {CELL["stretch"]}
  %goal.stretch = load i64, ptr %goal.stretch.at
  %goal.base = load i64, ptr {at["chunk.ticks"]}
  %goal = mul i64 %goal.base, %goal.stretch
  %goal.half = lshr i64 %goal, 1
  br label %batch
batch:
  %begin = phi i64 [ %from, %inline ], [ %end, %continue ]
  %size = phi i64 [ 1, %inline ], [ %size.next, %continue ]
  %since = phi i64 [ %start, %inline ], [ %now, %continue ]
  %until = add i64 %begin, %size
  %end = call i64 @llvm.umin.i64(i64 %until, i64 %total)
  call void %kernel(ptr %args, ptr %scratch, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz)
  %word = load atomic i32, ptr {at["status"]} monotonic, align 4
  %failed = icmp ne i32 %word, 0
  %over = icmp uge i64 %end, %total
  %stop = or i1 %failed, %over
  %now = call i64 @{clock}()
  br i1 %stop, label %note, label %check
check:
  %late = icmp ugt i64 %now, %deadline
  br i1 %late, label %pause, label %check.publish
pause:
  %shifted = shl i64 %end, 2
  %more = or i64 %shifted, {MORE_INLINE}
  ret i64 %more
check.publish:
  %slow = icmp ugt i64 %now, %publish.after
  %sharing = and i1 %slow, %may.publish
  br i1 %sharing, label %publish, label %continue
continue:
  %twice = shl i64 %size, 1
  %took = sub i64 %now, %since
  %quick = icmp ult i64 %took, %goal.half
  %size.next = select i1 %quick, i64 %twice, i64 %size
  br label %batch
note:
  %elapsed = sub i64 %now, %start
  %ran = sub i64 %end, %first
  %cost = udiv i64 %elapsed, %ran
  %cost.known = or i64 %cost, 1
  store i64 %cost.known, ptr %cell
  store i64 {TRY_SOON}, ptr %wait.at  ; should this have been long by an interruption only
  br label %finish

publish:
  %publish.from = phi i64 [ %first, %several ], [ %end, %check.publish ]
  %taken = cmpxchg ptr {at["lock"]}, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %taken, 1
  br i1 %mine, label %write, label %inline
write:
  %wait.less = sub i64 %wait, 1
  %waited = icmp eq i64 %wait, 0
  %wait.next = select i1 %waited, i64 {TRY_AGAIN}, i64 %wait.less
  store i64 %wait.next, ptr %wait.at
  store ptr %kernel, ptr {at["kernel"]}
  store ptr %args, ptr {at["args"]}
  store atomic i64 %owner, ptr {at["owner"]} seq_cst, align 8
  store i64 %bytes, ptr {at["scratch.bytes"]}
  store i32 %gx, ptr {at["gx"]}
  store i32 %gy, ptr {at["gy"]}
  store i32 %gz, ptr {at["gz"]}
  ; at most an eighth of a thread's share, or half where programs go together; the first `chunk.goal` long if the cost is known,
  ; else one program
  %remaining = sub i64 %total, %publish.from
  %stretch.at = getelementptr i8, ptr %cell, i64 {CELL["stretch"]}
  %stretch = load i64, ptr %stretch.at
  %alone = icmp eq i64 %stretch, 1
  %parts.each = select i1 %alone, i64 8, i64 2
  %parts = mul i64 %threads, %parts.each
  %share = udiv i64 %remaining, %parts
  %share.most = call i64 @llvm.umax.i64(i64 %share, i64 1)
  store i64 %share.most, ptr {at["chunk.most"]}
  %base.ticks = load i64, ptr {at["chunk.ticks"]}
  %chunk.ticks = mul i64 %base.ticks, %stretch
  store i64 %chunk.ticks, ptr {at["chunk.goal"]}
  %divisor = or i64 %each, 1
  %wanted = udiv i64 %chunk.ticks, %divisor
  %guess = select i1 %known, i64 %wanted, i64 1
  %guess.least = call i64 @llvm.umax.i64(i64 %guess, i64 1)
  %chunk = call i64 @llvm.umin.i64(i64 %guess.least, i64 %share.most)
  store i64 %chunk, ptr {at["chunk"]}
  ; a range for each thread; one where programs must begin in their order, of which nobody takes more than half of a thread's share
  %ranges.at = getelementptr i8, ptr %cell, i64 {CELL["ranges"]}
  %ranges.most = load i64, ptr %ranges.at
  %ranges.threads = call i64 @llvm.umin.i64(i64 %threads, i64 %ranges.most)
  %ranges = call i64 @llvm.umin.i64(i64 %ranges.threads, i64 %remaining)
  %in.order = icmp eq i64 %ranges.most, 1
  %halves = shl i64 %threads, 1
  %tail = select i1 %in.order, i64 %halves, i64 2
  store i64 %tail, ptr {at["tail"]}
  call void @divide(i64 %publish.from, i64 %total, i64 %ranges)
  store atomic i32 1, ptr {at["open"]} seq_cst, align 4
  atomicrmw add ptr {at["generation"]}, i32 1 seq_cst
  %sleepers = load atomic i32, ptr {at["sleepers"]} seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %rouse, label %join
rouse:
  ; as many as there are chunks beside the launcher's first
  %chunks = udiv i64 %remaining, %chunk
  %others = call i64 @llvm.umin.i64(i64 %chunks, i64 {ARENAS})
  %count = trunc i64 %others to i32
  call void @wake(ptr {at["generation"]}, i32 %count)
  br label %join
join:
  %joined = call i64 @resume(ptr %record)
  ret i64 %joined
}}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i32 @llvm.umin.i32(i32, i32)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
"""
