"""LLVM text of what a native launch ends in: a call of the CUDA driver, or of the CPU's thread pool."""

from __future__ import annotations

from .entry import CONTEXT, ENTRY, words

__all__ = ["text", "where"]


def where() -> str:
    """The end of a block that knows ``%extents``: on to ``done`` where there is no program, else to ``queue`` (a GPU) or ``run``."""
    return """  %y.at = getelementptr i64, ptr %extents, i64 1
  %z.at = getelementptr i64, ptr %extents, i64 2
  %x = load i64, ptr %extents
  %y = load i64, ptr %y.at
  %z = load i64, ptr %z.at
  %xy = mul i64 %x, %y
  %none.xy = icmp eq i64 %xy, 0
  %none.z = icmp eq i64 %z, 0
  %none = or i1 %none.xy, %none.z
  br i1 %none, label %done, label %where
where:
  %gpu = icmp sge i64 %entry.place, 0
  br i1 %gpu, label %queue, label %run"""


def text() -> str:
    """Functions ``queue`` and ``queue_on`` (a GPU) and ``run`` (the CPU)."""
    return f"""
; Queues the kernel on the current stream.  The driver's code; -1 where that stream is not known.
define internal i32 @queue(ptr %context, ptr %entry, ptr %slots, ptr %extents) nounwind {{
begin:
{words("context", CONTEXT, "work_stream stream stream_self")}
{words("entry", ENTRY, "place ordinal")}
  %value = alloca i64
  %by.object = icmp eq ptr %context.work_stream, null
  br i1 %by.object, label %object, label %word
word:
  %place32 = trunc i64 %entry.place to i32
  %said = call i32 %context.work_stream(i32 2, i32 %place32, ptr %value)
  %good = icmp eq i32 %said, 0
  br i1 %good, label %describe, label %unknown
object:
  %current = call ptr %context.stream(ptr %context.stream_self, ptr %entry.ordinal)
  %known = call i1 @returned(ptr %current, ptr %value)
  br i1 %known, label %describe, label %unknown
unknown:
  call void @PyErr_Clear()
  ret i32 -1
describe:
  %handle = load i64, ptr %value
  %code = call i32 @queue_on(ptr %entry, ptr %slots, ptr %extents, i64 %handle)
  ret i32 %code
}}

; Queues the kernel on a stream.  The driver's code.
define internal i32 @queue_on(ptr %entry, ptr %slots, ptr %extents, i64 %stream) nounwind {{
begin:
{words("entry", ENTRY, "slots call function threads shared attributes attribute_count")}
  %config = alloca [56 x i8], align 8
  %parameters = alloca ptr, i64 %entry.slots, align 8
  %x = load i64, ptr %extents
  %y.at = getelementptr i64, ptr %extents, i64 1
  %y = load i64, ptr %y.at
  %z.at = getelementptr i64, ptr %extents, i64 2
  %z = load i64, ptr %z.at
  %x32 = trunc i64 %x to i32
  %y32 = trunc i64 %y to i32
  %z32 = trunc i64 %z to i32
  %t32 = trunc i64 %entry.threads to i32
  %s32 = trunc i64 %entry.shared to i32
  %n32 = trunc i64 %entry.attribute_count to i32
  %c4 = getelementptr i8, ptr %config, i64 4
  %c8 = getelementptr i8, ptr %config, i64 8
  %c12 = getelementptr i8, ptr %config, i64 12
  %c16 = getelementptr i8, ptr %config, i64 16
  %c20 = getelementptr i8, ptr %config, i64 20
  %c24 = getelementptr i8, ptr %config, i64 24
  %c32 = getelementptr i8, ptr %config, i64 32
  %c40 = getelementptr i8, ptr %config, i64 40
  %c48 = getelementptr i8, ptr %config, i64 48
  store i32 %x32, ptr %config
  store i32 %y32, ptr %c4
  store i32 %z32, ptr %c8
  store i32 %t32, ptr %c12
  store i32 1, ptr %c16
  store i32 1, ptr %c20
  store i32 %s32, ptr %c24
  store i64 %stream, ptr %c32
  store ptr %entry.attributes, ptr %c40
  store i32 %n32, ptr %c48
  br label %next
next:
  %i = phi i64 [ 0, %begin ], [ %i1, %point ]
  %more = icmp ult i64 %i, %entry.slots
  br i1 %more, label %point, label %go
point:
  %slot = getelementptr i64, ptr %slots, i64 %i
  %at = getelementptr ptr, ptr %parameters, i64 %i
  store ptr %slot, ptr %at
  %i1 = add i64 %i, 1
  br label %next
go:
  %thread = call ptr @PyEval_SaveThread()
  %code = call i32 %entry.call(ptr %config, ptr %entry.function, ptr %parameters, ptr null)
  call void @PyEval_RestoreThread(ptr %thread)
  ret i32 %code
}}

; Runs the kernel on the CPU.  False where the record is in use, and after an exception, which %raised then says.
define internal i1 @run(ptr %entry, ptr %slots, ptr %grid, ptr %raised) nounwind {{
begin:
{words("entry", ENTRY, "slots call record first extents arguments busy go_on")}
  %used = load i64, ptr %entry.busy
  %free = icmp eq i64 %used, 0
  br i1 %free, label %take, label %no
no:
  ret i1 false
take:
  store i64 1, ptr %entry.busy
  store i64 0, ptr %entry.first
  br label %extent
extent:
  %i = phi i64 [ 0, %take ], [ %i1, %extent ]
  %i1 = add i64 %i, 1
  %from = getelementptr i64, ptr %grid, i64 %i
  %to = getelementptr i32, ptr %entry.extents, i64 %i
  %n = load i64, ptr %from
  %n32 = trunc i64 %n to i32
  store i32 %n32, ptr %to
  %last = icmp eq i64 %i1, 3
  br i1 %last, label %go, label %extent
go:
  %bytes = shl i64 %entry.slots, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %entry.arguments, ptr %slots, i64 %bytes, i1 false)
  %thread = call ptr @PyEval_SaveThread()
  %code = call i64 %entry.call(ptr %entry.record)
  call void @PyEval_RestoreThread(ptr %thread)
  %ended = icmp eq i64 %code, 0
  br i1 %ended, label %done, label %more
more:
  %result = call ptr @go_on(ptr %entry.go_on, i64 %code, ptr %grid)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %raise, label %drop
raise:
  store i1 true, ptr %raised
  store i64 0, ptr %entry.busy
  ret i1 false
drop:
  call void @Py_DecRef(ptr %result)
  br label %done
done:
  store i64 0, ptr %entry.busy
  ret i1 true
}}

; %function(code, gx, gy, gz)
define internal ptr @go_on(ptr %function, i64 %code, ptr %grid) nounwind {{
begin:
  %stack = alloca [4 x ptr], align 8
  br label %next
next:
  %i = phi i64 [ 0, %begin ], [ %i1, %made ]
  %i0 = sub i64 %i, 1
  %extent.at = getelementptr i64, ptr %grid, i64 %i0
  %first = icmp eq i64 %i, 0
  br i1 %first, label %make, label %extent
extent:
  %size = load i64, ptr %extent.at
  br label %make
make:
  %v = phi i64 [ %code, %next ], [ %size, %extent ]
  %object = call ptr @PyLong_FromLongLong(i64 %v)
  %none = icmp eq ptr %object, null
  br i1 %none, label %drop, label %made
made:
  %at = getelementptr ptr, ptr %stack, i64 %i
  store ptr %object, ptr %at
  %i1 = add i64 %i, 1
  %full = icmp eq i64 %i1, 4
  br i1 %full, label %call, label %next
call:
  %called = call ptr @PyObject_VectorcallDict(ptr %function, ptr %stack, i64 4, ptr null)
  br label %drop
drop:
  %result = phi ptr [ null, %make ], [ %called, %call ]
  %count = phi i64 [ %i, %make ], [ 4, %call ]
  br label %release
release:
  %left = phi i64 [ %count, %drop ], [ %left1, %one ]
  %any = icmp ne i64 %left, 0
  br i1 %any, label %one, label %out
one:
  %left1 = sub i64 %left, 1
  %one.at = getelementptr ptr, ptr %stack, i64 %left1
  %one.object = load ptr, ptr %one.at
  call void @Py_DecRef(ptr %one.object)
  br label %release
out:
  ret ptr %result
}}
"""
