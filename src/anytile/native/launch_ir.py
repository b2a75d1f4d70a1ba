"""The native launcher as LLVM text: a function of Python's C API that launches a kernel it has launched before.

A launch in Python takes several times as long as the driver needs for it.  So what a *warm* launch does (look at each argument, see
that the compiled kernel of last time is the right one, pack, call the driver) is one C function, in the form in which C
extensions define theirs (``METH_FASTCALL | METH_KEYWORDS``).  It knows no kernel: what to expect is data, an *entry*.  So it is compiled
once a machine and kept (`llvm.kept`); `launcher` loads it and writes entries.

``kernel[grid]`` is ``bind(grid)``: a new function object around the C function ``launch``, whose ``self`` is a list and the grid.  The list
is ``[general, entry, entry, …]``.  Each entry (`entry`) describes one kind of call, seen before: its form (how many positional arguments,
which keywords), and for each argument a *row* with what it must be.  The first entry that fits is launched.  Where none does, or
where anything is unusual, ``general`` is called with the grid and the arguments as they came; that is the Python launcher, which is right for
every call and raises the errors.  Nothing is decided here that is not decided there in the same way.  An entry is held while it is in use,
for a launch may run Python code that drops it from the list.

Only functions that CPython exports from 3.10 on are called, all but one of them of the stable ABI, and nothing is assumed of how objects
lie in memory but where their type is (`entry.TYPE_OFFSET`, which `launcher` checks).  The GIL is held except in the driver's call, which
may wait for the GPU, and while the CPU's threads work.
"""

from __future__ import annotations

from . import match_ir, positional_ir, run_ir
from .entry import CONTEXT, ENTRY, ENTRY_BYTES, ROW, ROW_BYTES, words

__all__ = ["DECLARED", "text"]

#: Functions of Python's C API that the text refers to: result and arguments.
DECLARED = {
    "PyBytes_AsString": ("ptr", "ptr"),
    "PyCFunction_NewEx": ("ptr", "ptr, ptr, ptr"),
    "PyCallable_Check": ("i32", "ptr"),
    "PyDict_Copy": ("ptr", "ptr"),
    "PyDict_GetItem": ("ptr", "ptr, ptr"),
    "PyDict_New": ("ptr", ""),
    "PyDict_SetItem": ("i32", "ptr, ptr, ptr"),
    "PyErr_Clear": ("void", ""),
    "PyErr_Occurred": ("ptr", ""),
    "PyEval_RestoreThread": ("void", "ptr"),
    "PyEval_SaveThread": ("ptr", ""),
    "PyFloat_AsDouble": ("double", "ptr"),
    "PyList_GetItem": ("ptr", "ptr, i64"),
    "PyList_Size": ("i64", "ptr"),
    "PyLong_AsLongLongAndOverflow": ("i64", "ptr, ptr"),
    "PyLong_FromLongLong": ("ptr", "i64"),
    "PyObject_IsTrue": ("i32", "ptr"),
    "PyObject_VectorcallDict": ("ptr", "ptr, ptr, i64, ptr"),
    "PyTuple_GetItem": ("ptr", "ptr, i64"),
    "PyTuple_New": ("ptr", "i64"),
    "PyTuple_SetItem": ("i32", "ptr, i64, ptr"),
    "PyTuple_Size": ("i64", "ptr"),
    "Py_DecRef": ("void", "ptr"),
    "Py_IncRef": ("void", "ptr"),
}


def text() -> str:
    """The LLVM module, with the functions ``bind``, ``launch`` and ``positional`` for PyMethodDef.ml_meth."""
    declared = "\n".join(f"declare {result} @{name}({arguments})" for name, (result, arguments) in DECLARED.items())
    return f"{declared}\ndeclare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n{match_ir.text()}{run_ir.text()}{positional_ir.text()}{_own()}"


def _own() -> str:
    """What a launch does beside matching and running: the grid, and the order of everything."""
    return f"""
; Writes the three extents of an exact tuple of one to three ints; false for any other grid.
define internal i1 @extents(ptr %context, ptr %grid, ptr %out) nounwind {{
begin:
{words("context", CONTEXT, "int_type tuple_type")}
  %y = getelementptr i64, ptr %out, i64 1
  %z = getelementptr i64, ptr %out, i64 2
  store i64 1, ptr %y
  store i64 1, ptr %z
  %type = call ptr @type_of(ptr %grid)
  %tuple = icmp eq ptr %type, %context.tuple_type
  br i1 %tuple, label %size, label %no
size:
  %n = call i64 @PyTuple_Size(ptr %grid)
  %n0 = sub i64 %n, 1
  %right = icmp ult i64 %n0, 3
  br i1 %right, label %next, label %no
next:
  %i = phi i64 [ 0, %size ], [ %i1, %range ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %one, label %yes
one:
  %x = call ptr @PyTuple_GetItem(ptr %grid, i64 %i)
  %x.type = call ptr @type_of(ptr %x)
  %int = icmp eq ptr %x.type, %context.int_type
  br i1 %int, label %value, label %no
value:
  %at = getelementptr i64, ptr %out, i64 %i
  %fits = call i1 @integer(ptr %x, ptr %at)
  br i1 %fits, label %range, label %no
range:
  %v = load i64, ptr %at
  %first = icmp eq i64 %i, 0
  %limit = select i1 %first, i64 2147483647, i64 65535
  %ok = icmp ule i64 %v, %limit
  %i1 = add i64 %i, 1
  br i1 %ok, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; A new reference to the grid: %grid, or what it returns for the arguments by name if it is a function.
define internal ptr @grid(ptr %context, ptr %entry, ptr %grid, ptr %rows, ptr %arguments) nounwind {{
begin:
{words("context", CONTEXT, "tuple_type key_error")}
{words("entry", ENTRY, "rows meta grid_of")}
  %stack = alloca [2 x ptr]
  %type = call ptr @type_of(ptr %grid)
  %tuple = icmp eq ptr %type, %context.tuple_type
  br i1 %tuple, label %itself, label %other
itself:
  call void @Py_IncRef(ptr %grid)
  ret ptr %grid
other:
  %callable = call i32 @PyCallable_Check(ptr %grid)
  %function = icmp ne i32 %callable, 0
  br i1 %function, label %ask, label %itself
ask:
  %meta = call ptr @PyDict_Copy(ptr %entry.meta)
  %none = icmp eq ptr %meta, null
  br i1 %none, label %failed, label %fill
fill:
  %end = getelementptr [{ROW_BYTES} x i8], ptr %rows, i64 %entry.rows
  br label %next
next:
  %row = phi ptr [ %rows, %fill ], [ %row.after, %put ]
  %more = icmp ult ptr %row, %end
  br i1 %more, label %put, label %call
put:
  %row.after = getelementptr i8, ptr %row, i64 {ROW_BYTES}
{words("row", ROW, "argument name")}
  %at = getelementptr ptr, ptr %arguments, i64 %row.argument
  %x = load ptr, ptr %at
  %code = call i32 @PyDict_SetItem(ptr %meta, ptr %row.name, ptr %x)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %next, label %drop
drop:
  call void @Py_DecRef(ptr %meta)
  br label %failed
call:
  store ptr %meta, ptr %stack
  %result = call ptr @PyObject_VectorcallDict(ptr %grid, ptr %stack, i64 1, ptr null)
  %null = icmp eq ptr %result, null
  br i1 %null, label %error, label %called
error:
  %error.type = call ptr @PyErr_Occurred()
  %unknown = icmp eq ptr %error.type, %context.key_error
  br i1 %unknown, label %again, label %called
again:  ; Python says which names there are
  call void @PyErr_Clear()
  store ptr %grid, ptr %stack
  %second = getelementptr ptr, ptr %stack, i64 1
  store ptr %meta, ptr %second
  %told = call ptr @PyObject_VectorcallDict(ptr %entry.grid_of, ptr %stack, i64 2, ptr null)
  br label %called
called:
  %made = phi ptr [ %result, %call ], [ null, %error ], [ %told, %again ]
  call void @Py_DecRef(ptr %meta)
  ret ptr %made
failed:
  ret ptr null
}}

; One entry.  A new reference to its kernel; null where the entry does not serve; an exception where %raised is set.
define internal ptr @try(ptr %entry, ptr %grid, ptr %arguments, i64 %positional, ptr %keywords, ptr %raised) nounwind {{
begin:
{words("entry", ENTRY, "context alive ready")}
  %extents = alloca [3 x i64], align 8
  %stack = alloca ptr
  %living = load i64, ptr %entry.alive
  %alive = icmp ne i64 %living, 0
  %readiness = load i64, ptr %entry.ready
  %ready = icmp ne i64 %readiness, 0
  %able = and i1 %alive, %ready
  br i1 %able, label %form, label %no
form:
  %same = call i1 @same_form(ptr %entry, i64 %positional, ptr %keywords)
  br i1 %same, label %settings, label %no
settings:
  %usual = call i1 @usual(ptr %entry.context, ptr %entry)
  br i1 %usual, label %rows, label %no
rows:
{words("entry", ENTRY, "keywords rows slots kernel check grid_of place")}
  %keyword.bytes = shl i64 %entry.keywords, 3
  %rows.offset = add i64 %keyword.bytes, {ENTRY_BYTES}
  %rows.at = getelementptr i8, ptr %entry, i64 %rows.offset
  %slots.from = getelementptr [{ROW_BYTES} x i8], ptr %rows.at, i64 %entry.rows
  %slots = alloca i64, i64 %entry.slots, align 8
  %slot.bytes = shl i64 %entry.slots, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %slots, ptr %slots.from, i64 %slot.bytes, i1 false)
  %fits = call i1 @fits(ptr %entry.context, ptr %entry, ptr %rows.at, ptr %arguments, ptr %slots)
  br i1 %fits, label %check, label %no
check:
  %unchecked = icmp eq ptr %entry.check, null
  br i1 %unchecked, label %extent, label %checked
checked:
  %nothing = call ptr @PyObject_VectorcallDict(ptr %entry.check, ptr null, i64 0, ptr null)
  %refused = icmp eq ptr %nothing, null
  br i1 %refused, label %raise, label %agreed
agreed:
  call void @Py_DecRef(ptr %nothing)
  br label %extent
extent:
  %grid.made = call ptr @grid(ptr %entry.context, ptr %entry, ptr %grid, ptr %rows.at, ptr %arguments)
  %grid.none = icmp eq ptr %grid.made, null
  br i1 %grid.none, label %raise, label %grid.look
grid.look:
  %plain = call i1 @extents(ptr %entry.context, ptr %grid.made, ptr %extents)
  br i1 %plain, label %grid.done, label %odd
odd:
  store ptr %grid.made, ptr %stack
  %three = call ptr @PyObject_VectorcallDict(ptr %entry.grid_of, ptr %stack, i64 1, ptr null)
  %wrong = icmp eq ptr %three, null
  br i1 %wrong, label %grid.wrong, label %odd.read
grid.wrong:
  call void @Py_DecRef(ptr %grid.made)
  br label %raise
odd.read:
  %read = call i1 @extents(ptr %entry.context, ptr %three, ptr %extents)
  call void @Py_DecRef(ptr %three)
  br label %grid.done
grid.done:
  %known = phi i1 [ true, %grid.look ], [ %read, %odd.read ]
  call void @Py_DecRef(ptr %grid.made)
  br i1 %known, label %sizes, label %no
sizes:
{run_ir.where()}
queue:
  %code = call i32 @queue(ptr %entry.context, ptr %entry, ptr %slots, ptr %extents)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %done, label %no
run:
  %ran = call i1 @run(ptr %entry, ptr %slots, ptr %extents, ptr %raised)
  br i1 %ran, label %done, label %no
done:
  call void @Py_IncRef(ptr %entry.kernel)
  ret ptr %entry.kernel
raise:
  store i1 true, ptr %raised
  ret ptr null
no:
  ret ptr null
}}

; kernel[grid]: a new function of Python with @launch, its ``self`` being the list of entries and the grid.  %self: the list, and
; the address of the PyMethodDef as an int.
define ptr @bind(ptr %self, ptr %grid) nounwind {{
begin:
  %address = alloca ptr
  %entries = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %number = call ptr @PyTuple_GetItem(ptr %self, i64 1)
  %fits = call i1 @integer(ptr %number, ptr %address)
  %pair = call ptr @PyTuple_New(i64 2)
  %none = icmp eq ptr %pair, null
  br i1 %none, label %return, label %fill
fill:
  call void @Py_IncRef(ptr %entries)
  call void @Py_IncRef(ptr %grid)
  %first = call i32 @PyTuple_SetItem(ptr %pair, i64 0, ptr %entries)
  %second = call i32 @PyTuple_SetItem(ptr %pair, i64 1, ptr %grid)
  %method = load ptr, ptr %address
  %function = call ptr @PyCFunction_NewEx(ptr %method, ptr %pair, ptr null)
  call void @Py_DecRef(ptr %pair)
  br label %return
return:
  %result = phi ptr [ null, %begin ], [ %function, %fill ]
  ret ptr %result
}}

define ptr @launch(ptr %self, ptr %arguments, i64 %positional, ptr %keywords) nounwind {{
begin:
  %raised = alloca i1
  store i1 false, ptr %raised
  %entries = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %grid = call ptr @PyTuple_GetItem(ptr %self, i64 1)
  br label %next
next:
  %i = phi i64 [ 1, %begin ], [ %i1, %no ]
  ; anew each time: what ran may have changed the list
  %n = call i64 @PyList_Size(ptr %entries)
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %general
one:
  %i1 = add i64 %i, 1
  %owner = call ptr @PyList_GetItem(ptr %entries, i64 %i)
  call void @Py_IncRef(ptr %owner)
  %bytes = call ptr @PyTuple_GetItem(ptr %owner, i64 0)
  %words = call ptr @PyBytes_AsString(ptr %bytes)
  %kernel = call ptr @try(ptr %words, ptr %grid, ptr %arguments, i64 %positional, ptr %keywords, ptr %raised)
  call void @Py_DecRef(ptr %owner)
  %done = icmp ne ptr %kernel, null
  %error = load i1, ptr %raised
  %stop = or i1 %done, %error
  br i1 %stop, label %return, label %no
no:
  br label %next
return:
  ret ptr %kernel
general:
  %result = call ptr @general(ptr %entries, ptr %grid, ptr %arguments, i64 %positional, ptr %keywords)
  ret ptr %result
}}

; The first item of the list, called with the grid and the arguments.
define internal ptr @general(ptr %entries, ptr %grid, ptr %arguments, i64 %positional, ptr %keywords) nounwind {{
begin:
  %count = add i64 %positional, 1
  %stack = alloca ptr, i64 %count, align 8
  store ptr %grid, ptr %stack
  %after = getelementptr ptr, ptr %stack, i64 1
  %bytes = shl i64 %positional, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %after, ptr %arguments, i64 %bytes, i1 false)
  %none = icmp eq ptr %keywords, null
  br i1 %none, label %call, label %some
some:
  %dictionary = call ptr @PyDict_New()
  %empty = icmp eq ptr %dictionary, null
  br i1 %empty, label %failed, label %fill
fill:
  %named = call i64 @PyTuple_Size(ptr %keywords)
  br label %next
next:
  %i = phi i64 [ 0, %fill ], [ %i1, %put ]
  %more = icmp ult i64 %i, %named
  br i1 %more, label %put, label %call
put:
  %name = call ptr @PyTuple_GetItem(ptr %keywords, i64 %i)
  %index = add i64 %positional, %i
  %at = getelementptr ptr, ptr %arguments, i64 %index
  %x = load ptr, ptr %at
  %code = call i32 @PyDict_SetItem(ptr %dictionary, ptr %name, ptr %x)
  %i1 = add i64 %i, 1
  %good = icmp eq i32 %code, 0
  br i1 %good, label %next, label %drop
drop:
  call void @Py_DecRef(ptr %dictionary)
  br label %failed
failed:
  ret ptr null
call:
  %options = phi ptr [ null, %begin ], [ %dictionary, %next ]
  %function = call ptr @PyList_GetItem(ptr %entries, i64 0)
  call void @Py_IncRef(ptr %function)
  %result = call ptr @PyObject_VectorcallDict(ptr %function, ptr %stack, i64 %count, ptr %options)
  call void @Py_DecRef(ptr %function)
  %plain = icmp eq ptr %options, null
  br i1 %plain, label %out, label %free
free:
  call void @Py_DecRef(ptr %options)
  br label %out
out:
  ret ptr %result
}}
"""
