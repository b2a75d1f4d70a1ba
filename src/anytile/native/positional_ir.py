"""LLVM text of launches by the positional protocol of Triton's launchers (`runtime.runner`), as a C function (``METH_FASTCALL``).

Its ``self`` is a tuple: what is called where the entry does not serve, and the entry.  The caller has chosen the kernel, so of memory only the
address is asked, and neither hooks nor settings are looked at but those that are passed.
"""

from __future__ import annotations

from . import run_ir
from .entry import CONTEXT, ENTRY, ENTRY_BYTES, ROW_BYTES, words

__all__ = ["FIXED", "text"]

#: Arguments before the kernel's own: three extents, stream, function, packed metadata, launch metadata, two hooks.
FIXED = 9
_STREAM, _HOOKS = 3, (7, 8)


def text() -> str:
    """The function ``positional`` and what it is made of."""
    return f"""
; Whether %x is an int from 0 to %limit, which goes to %out.
define internal i1 @number(ptr %context, ptr %x, i64 %limit, ptr %out) nounwind {{
begin:
{words("context", CONTEXT, "int_type")}
  %type = call ptr @type_of(ptr %x)
  %int = icmp eq ptr %type, %context.int_type
  br i1 %int, label %value, label %no
value:
  %fits = call i1 @integer(ptr %x, ptr %out)
  %v = load i64, ptr %out
  %small = icmp ule i64 %v, %limit
  %good = and i1 %fits, %small
  ret i1 %good
no:
  ret i1 false
}}

; Whether there is no hook: %x is None, or nothing by its truth.
define internal i1 @no_hook(ptr %none, ptr %x) nounwind {{
begin:
  %absent = icmp eq ptr %x, %none
  br i1 %absent, label %yes, label %ask
ask:
  %truth = call i32 @PyObject_IsTrue(ptr %x)
  %false = icmp eq i32 %truth, 0
  br i1 %false, label %yes, label %no
yes:
  ret i1 true
no:
  call void @PyErr_Clear()
  ret i1 false
}}

define ptr @positional(ptr %self, ptr %arguments, i64 %count) nounwind {{
begin:
  %raised = alloca i1
  store i1 false, ptr %raised
  %extents = alloca [3 x i64], align 8
  %stream = alloca i64
  %owner = call ptr @PyTuple_GetItem(ptr %self, i64 1)
  %bytes = call ptr @PyTuple_GetItem(ptr %owner, i64 0)
  %entry = call ptr @PyBytes_AsString(ptr %bytes)
{words("entry", ENTRY, "context positional alive ready rows slots kernel place")}
  %living = load i64, ptr %entry.alive
  %alive = icmp ne i64 %living, 0
  %readiness = load i64, ptr %entry.ready
  %ready = icmp ne i64 %readiness, 0
  %able = and i1 %alive, %ready
  %form = icmp eq i64 %count, %entry.positional
  %usual = and i1 %able, %form
  br i1 %usual, label %enter, label %general
enter:
  %enter.at = getelementptr ptr, ptr %arguments, i64 {_HOOKS[0]}
  %enter.hook = load ptr, ptr %enter.at
  %no.enter = call i1 @no_hook(ptr %entry.kernel, ptr %enter.hook)
  br i1 %no.enter, label %exit, label %general
exit:
  %exit.at = getelementptr ptr, ptr %arguments, i64 {_HOOKS[1]}
  %exit.hook = load ptr, ptr %exit.at
  %no.exit = call i1 @no_hook(ptr %entry.kernel, ptr %exit.hook)
  br i1 %no.exit, label %extent, label %general
extent:
  %i = phi i64 [ 0, %exit ], [ %i1, %extent.next ]
  %extent.at = getelementptr ptr, ptr %arguments, i64 %i
  %extent.object = load ptr, ptr %extent.at
  %first = icmp eq i64 %i, 0
  %limit = select i1 %first, i64 2147483647, i64 65535
  %out = getelementptr i64, ptr %extents, i64 %i
  %known = call i1 @number(ptr %entry.context, ptr %extent.object, i64 %limit, ptr %out)
  br i1 %known, label %extent.next, label %general
extent.next:
  %i1 = add i64 %i, 1
  %three = icmp eq i64 %i1, 3
  br i1 %three, label %rows, label %extent
rows:
  %rows.at = getelementptr i8, ptr %entry, i64 {ENTRY_BYTES}
  %slots.from = getelementptr [{ROW_BYTES} x i8], ptr %rows.at, i64 %entry.rows
  %slots = alloca i64, i64 %entry.slots, align 8
  %slot.bytes = shl i64 %entry.slots, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %slots, ptr %slots.from, i64 %slot.bytes, i1 false)
  %fits = call i1 @fits(ptr %entry.context, ptr %entry, ptr %rows.at, ptr %arguments, ptr %slots)
  br i1 %fits, label %sizes, label %general
sizes:
{run_ir.where()}
queue:
  %stream.at = getelementptr ptr, ptr %arguments, i64 {_STREAM}
  %stream.object = load ptr, ptr %stream.at
  %told = call i1 @number(ptr %entry.context, ptr %stream.object, i64 9223372036854775807, ptr %stream)
  br i1 %told, label %queue.on, label %general
queue.on:
  %handle = load i64, ptr %stream
  %code = call i32 @queue_on(ptr %entry, ptr %slots, ptr %extents, i64 %handle)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %done, label %general
run:
  %ran = call i1 @run(ptr %entry, ptr %slots, ptr %extents, ptr %raised)
  br i1 %ran, label %done, label %stopped
stopped:
  %error = load i1, ptr %raised
  br i1 %error, label %failed, label %general
done:
  call void @Py_IncRef(ptr %entry.kernel)
  ret ptr %entry.kernel
failed:
  ret ptr null
general:
  %function = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %result = call ptr @PyObject_VectorcallDict(ptr %function, ptr %arguments, i64 %count, ptr null)
  ret ptr %result
}}
"""
