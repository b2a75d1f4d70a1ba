"""LLVM text of the question whether a call is what an entry describes; it leaves the arguments' values in the slots."""

from __future__ import annotations

from .entry import CONTEXT, ENTRY, KINDS, ROW, ROW_BYTES, TYPE_OFFSET, words

__all__ = ["text"]


def text() -> str:
    """Functions ``type_of``, ``integer``, ``returned``, ``usual``, ``same_form`` and ``fits``."""
    return f"""
; The type of %x; the reference is borrowed from %x.
define internal ptr @type_of(ptr %x) nounwind {{
  %at = getelementptr i8, ptr %x, i64 {TYPE_OFFSET}
  %type = load ptr, ptr %at, align 8
  ret ptr %type
}}

; Writes the int %x to %out; false where it does not fit.
define internal i1 @integer(ptr %x, ptr %out) nounwind {{
  %overflow = alloca i32
  %v = call i64 @PyLong_AsLongLongAndOverflow(ptr %x, ptr %overflow)
  store i64 %v, ptr %out
  %o = load i32, ptr %overflow
  %fits = icmp eq i32 %o, 0
  ret i1 %fits
}}

; Writes what a function returned, a new reference to an int, to %out; false, and no exception, where it returned none.
define internal i1 @returned(ptr %x, ptr %out) nounwind {{
  %none = icmp eq ptr %x, null
  br i1 %none, label %failed, label %some
failed:
  call void @PyErr_Clear()
  ret i1 false
some:
  %fits = call i1 @integer(ptr %x, ptr %out)
  call void @Py_DecRef(ptr %x)
  %error = call ptr @PyErr_Occurred()
  %int = icmp eq ptr %error, null
  br i1 %int, label %done, label %failed
done:
  ret i1 %fits
}}

; Whether %v is a multiple of 16 (%e = 1), is none (%e = 2), or either (%e = 0).
define internal i1 @divisible(i64 %v, i64 %e) nounwind {{
  %low = and i64 %v, 15
  %zero = icmp eq i64 %low, 0
  %wants.zero = icmp eq i64 %e, 1
  %agrees = icmp eq i1 %zero, %wants.zero
  %any = icmp eq i64 %e, 0
  %result = or i1 %any, %agrees
  ret i1 %result
}}

; Whether the dictionary has no such key, or something false there.
define internal i1 @off(ptr %settings, ptr %key) nounwind {{
begin:
  %value = call ptr @PyDict_GetItem(ptr %settings, ptr %key)
  %absent = icmp eq ptr %value, null
  br i1 %absent, label %yes, label %ask
ask:
  %truth = call i32 @PyObject_IsTrue(ptr %value)
  %false = icmp eq i32 %truth, 0
  ret i1 %false
yes:
  ret i1 true
}}

; Whether there are no hooks and no debugging, by the dictionaries; notes how many changes of them that takes account of.
define internal i1 @look(ptr %context, i64 %now) nounwind {{
begin:
{words("context", CONTEXT, "settings debug enter exit environment debug_variable")}
  %no.debug = call i1 @off(ptr %context.settings, ptr %context.debug)
  %no.enter = call i1 @off(ptr %context.settings, ptr %context.enter)
  %no.exit = call i1 @off(ptr %context.settings, ptr %context.exit)
  %set = call ptr @PyDict_GetItem(ptr %context.environment, ptr %context.debug_variable)
  %unset = icmp eq ptr %set, null
  %quiet = and i1 %no.debug, %unset
  %no.hooks = and i1 %no.enter, %no.exit
  %result = and i1 %quiet, %no.hooks
  br i1 %quiet, label %hooks, label %done
hooks:
  %enters = call ptr @PyDict_GetItem(ptr %context.settings, ptr %context.enter)
  %exits = call ptr @PyDict_GetItem(ptr %context.settings, ptr %context.exit)
  %no.list = icmp eq ptr %enters, null
  %no.other = icmp eq ptr %exits, null
  %missing = or i1 %no.list, %no.other
  br i1 %missing, label %done, label %lists
lists:
  %n = call i64 @PyList_Size(ptr %enters)
  %m = call i64 @PyList_Size(ptr %exits)
  %n.m = or i64 %n, %m
  %no.lists = icmp slt i64 %n.m, 0
  br i1 %no.lists, label %done, label %note
note:
{words("context", CONTEXT, "seen enter_hooks exit_hooks")}
  store i64 %now, ptr %context.seen.at
  call void @Py_IncRef(ptr %enters)
  call void @Py_IncRef(ptr %exits)
  store ptr %enters, ptr %context.enter_hooks.at
  store ptr %exits, ptr %context.exit_hooks.at
  call void @Py_DecRef(ptr %context.enter_hooks)
  call void @Py_DecRef(ptr %context.exit_hooks)
  ret i1 %result
done:
  ; what PyObject_IsTrue or PyList_Size raised
  call void @PyErr_Clear()
  ret i1 %result
}}

; What Python calls before a dictionary that it watches for us changes (PyDict_AddWatcher).
@changes = global i64 1
define i32 @changed(i32 %event, ptr %dictionary, ptr %key, ptr %value) nounwind {{
  %n = load i64, ptr @changes
  %n1 = add i64 %n, 1
  store i64 %n1, ptr @changes
  ret i32 0
}}

; Whether nothing asks for the general way: no hooks, no debugging, the right GPU.
define internal i1 @usual(ptr %context, ptr %entry) nounwind {{
begin:
{words("context", CONTEXT, "settings_changes environment_changes seen environment debug_variable enter_hooks exit_hooks device device_self")}
{words("entry", ENTRY, "place")}
  %value = alloca i64
  %uncounted = icmp eq ptr %context.settings_changes, null
  br i1 %uncounted, label %look, label %counted
counted:
  %settings.changes = load i64, ptr %context.settings_changes
  %unwatched = icmp eq ptr %context.environment_changes, null
  br i1 %unwatched, label %variable, label %watched
watched:
  %environment.changes = load i64, ptr %context.environment_changes
  %sum = add i64 %settings.changes, %environment.changes
  br label %compare
variable:
  %set = call ptr @PyDict_GetItem(ptr %context.environment, ptr %context.debug_variable)
  %unset = icmp eq ptr %set, null
  br i1 %unset, label %compare, label %no
compare:
  %changes = phi i64 [ %sum, %watched ], [ %settings.changes, %variable ]
  %known = icmp eq i64 %changes, %context.seen
  br i1 %known, label %lists, label %look
lists:
  %n = call i64 @PyList_Size(ptr %context.enter_hooks)
  %m = call i64 @PyList_Size(ptr %context.exit_hooks)
  %n.m = or i64 %n, %m
  %empty = icmp eq i64 %n.m, 0
  br i1 %empty, label %gpu, label %no
look:
  %now = phi i64 [ 0, %begin ], [ %changes, %compare ]
  %plain = call i1 @look(ptr %context, i64 %now)
  br i1 %plain, label %gpu, label %no
gpu:
  %one = icmp eq ptr %context.device, null
  br i1 %one, label %yes, label %several
several:
  %current = call ptr %context.device(ptr %context.device_self, ptr null)
  %told = call i1 @returned(ptr %current, ptr %value)
  %ordinal = load i64, ptr %value
  %here = icmp eq i64 %ordinal, %entry.place
  %right = and i1 %told, %here
  ret i1 %right
yes:
  ret i1 true
no:
  ret i1 false
}}

; Whether the call's form is the entry's: numbers of arguments and keywords.
define internal i1 @same_form(ptr %entry, i64 %positional, ptr %keywords) nounwind {{
begin:
{words("entry", ENTRY, "positional keywords")}
  %p = icmp eq i64 %positional, %entry.positional
  br i1 %p, label %count, label %no
count:
  %none = icmp eq ptr %keywords, null
  br i1 %none, label %compare, label %some
some:
  %size = call i64 @PyTuple_Size(ptr %keywords)
  br label %compare
compare:
  %n = phi i64 [ 0, %count ], [ %size, %some ]
  %equal = icmp eq i64 %n, %entry.keywords
  br i1 %equal, label %next, label %no
next:
  %i = phi i64 [ 0, %compare ], [ %i1, %name ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %name, label %yes
name:
  %given = call ptr @PyTuple_GetItem(ptr %keywords, i64 %i)
  %offset = add i64 %i, {len(ENTRY)}
  %at = getelementptr i64, ptr %entry, i64 %offset
  %expected = load ptr, ptr %at
  %i1 = add i64 %i, 1
  %same = icmp eq ptr %given, %expected
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; Whether the arguments are what the rows say; writes the slots.
define internal i1 @fits(ptr %context, ptr %entry, ptr %rows, ptr %arguments, ptr %slots) nounwind {{
begin:
{words("context", CONTEXT, "int_type float_type tensor_type parameter_type data_ptr get_device dtype_get dtype_descriptor exchange")}
{words("entry", ENTRY, "rows")}
  %value = alloca i64
  %dl = alloca [48 x i8], align 8
  %dl.device.at = getelementptr i8, ptr %dl, i64 8
  %dl.type.at = getelementptr i8, ptr %dl, i64 20
  %dl.offset.at = getelementptr i8, ptr %dl, i64 40
  %end = getelementptr [{ROW_BYTES} x i8], ptr %rows, i64 %entry.rows
  br label %next
next:
  %row = phi ptr [ %rows, %begin ], [ %row.after, %written ]
  %more = icmp ult ptr %row, %end
  br i1 %more, label %look, label %yes
look:
  %row.after = getelementptr i8, ptr %row, i64 {ROW_BYTES}
{words("row", ROW, "kind argument slot a b c d e")}
  %at = getelementptr ptr, ptr %arguments, i64 %row.argument
  %x = load ptr, ptr %at
  %type = call ptr @type_of(ptr %x)
  switch i64 %row.kind, label %no [
    i64 {KINDS["same"]}, label %same
    i64 {KINDS["integer"]}, label %integer
    i64 {KINDS["float32"]}, label %float
    i64 {KINDS["float64"]}, label %float
    i64 {KINDS["float"]}, label %float
    i64 {KINDS["tensor"]}, label %tensor
    i64 {KINDS["exchanged"]}, label %tensor
    i64 {KINDS["address"]}, label %tensor
  ]

same:
  %address = ptrtoint ptr %x to i64
  %is = icmp eq i64 %address, %row.a
  br i1 %is, label %written, label %no

integer:
  %is.int = icmp eq ptr %type, %context.int_type
  br i1 %is.int, label %int.value, label %no
int.value:
  %int.fits = call i1 @integer(ptr %x, ptr %value)
  br i1 %int.fits, label %int.range, label %no
int.range:
  %v = load i64, ptr %value
  %least = icmp sge i64 %v, %row.a
  %most = icmp sle i64 %v, %row.b
  %inside = and i1 %least, %most
  %out.least = icmp sge i64 %v, %row.c
  %out.most = icmp sle i64 %v, %row.d
  %out = and i1 %out.least, %out.most
  %not.out = xor i1 %out, true
  %int.divisible = call i1 @divisible(i64 %v, i64 %row.e)
  %int.ok1 = and i1 %inside, %not.out
  %int.ok = and i1 %int.ok1, %int.divisible
  br i1 %int.ok, label %write, label %no

float:
  %is.float = icmp eq ptr %type, %context.float_type
  br i1 %is.float, label %float.value, label %no
float.value:
  %f = call double @PyFloat_AsDouble(ptr %x)
  %bits = bitcast double %f to i64
  switch i64 %row.kind, label %float.same [
    i64 {KINDS["float32"]}, label %float.narrow
    i64 {KINDS["float64"]}, label %write
  ]
float.narrow:
  %narrow = fptrunc double %f to float
  %narrow.bits = bitcast float %narrow to i32
  %wide = zext i32 %narrow.bits to i64
  br label %write
float.same:
  %float.is = icmp eq i64 %bits, %row.a
  br i1 %float.is, label %written, label %no

tensor:
  %is.tensor = icmp eq ptr %type, %context.tensor_type
  %is.parameter = icmp eq ptr %type, %context.parameter_type
  %is.one = or i1 %is.tensor, %is.parameter
  br i1 %is.one, label %tensor.how, label %no
tensor.how:
  switch i64 %row.kind, label %tensor.dtype [
    i64 {KINDS["exchanged"]}, label %dl.ask
    i64 {KINDS["address"]}, label %tensor.address
  ]
dl.ask:
  %dl.code = call i32 %context.exchange(ptr %x, ptr %dl)
  %dl.good = icmp eq i32 %dl.code, 0
  br i1 %dl.good, label %dl.look, label %no
dl.look:
  %dl.type = load i32, ptr %dl.type.at
  %dl.type.wide = zext i32 %dl.type to i64
  %dl.device = load i64, ptr %dl.device.at
  %dl.type.same = icmp eq i64 %dl.type.wide, %row.a
  %dl.device.same = icmp eq i64 %dl.device, %row.b
  %dl.same = and i1 %dl.type.same, %dl.device.same
  br i1 %dl.same, label %dl.address, label %no
dl.address:
  %dl.data = load i64, ptr %dl
  %dl.offset = load i64, ptr %dl.offset.at
  %dl.p = add i64 %dl.data, %dl.offset
  br label %tensor.aligned
tensor.dtype:
  %dtype = call ptr %context.dtype_get(ptr %context.dtype_descriptor, ptr %x, ptr %type)
  %dtype.none = icmp eq ptr %dtype, null
  br i1 %dtype.none, label %no, label %dtype.is
dtype.is:
  call void @Py_DecRef(ptr %dtype)
  %dtype.address = ptrtoint ptr %dtype to i64
  %dtype.same = icmp eq i64 %dtype.address, %row.a
  br i1 %dtype.same, label %tensor.place, label %no
tensor.place:
  %device = call ptr %context.get_device(ptr %x, ptr null)
  %device.known = call i1 @returned(ptr %device, ptr %value)
  %ordinal = load i64, ptr %value
  %device.same = icmp eq i64 %ordinal, %row.b
  %device.ok = and i1 %device.known, %device.same
  br i1 %device.ok, label %tensor.address, label %no
tensor.address:
  %pointer = call ptr %context.data_ptr(ptr %x, ptr null)
  %pointer.known = call i1 @returned(ptr %pointer, ptr %value)
  br i1 %pointer.known, label %tensor.pointer, label %no
tensor.pointer:
  %asked.p = load i64, ptr %value
  br label %tensor.aligned
tensor.aligned:
  %p = phi i64 [ %asked.p, %tensor.pointer ], [ %dl.p, %dl.address ]
  %there = icmp ne i64 %p, 0
  %p.divisible = call i1 @divisible(i64 %p, i64 %row.e)
  %p.ok = and i1 %there, %p.divisible
  br i1 %p.ok, label %write, label %no

write:
  %word = phi i64 [ %v, %int.range ], [ %wide, %float.narrow ], [ %bits, %float.value ], [ %p, %tensor.aligned ]
  %nowhere = icmp slt i64 %row.slot, 0
  br i1 %nowhere, label %written, label %put
put:
  %slot = getelementptr i64, ptr %slots, i64 %row.slot
  store i64 %word, ptr %slot
  br label %written
written:
  br label %next
yes:
  ret i1 true
no:
  call void @PyErr_Clear()
  ret i1 false
}}
"""
