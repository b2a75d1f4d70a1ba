"""The native launcher as LLVM text: a function of Python's C API that launches a kernel it has launched before.

A launch in Python takes several times as long as the driver needs for it.  So what a *warm* launch does (look at each argument, see
that the compiled kernel of last time is the right one, pack, call the driver) is one C function, in the form in which C
extensions define theirs (``METH_FASTCALL | METH_KEYWORDS``).  It knows no kernel: what to expect is data, an *entry*.  So it is compiled
once a machine and kept (`llvm.kept`); `native_launch` loads it and writes entries.

``self`` of the function is a list: ``[general, entry, entry, …]``.  Each entry describes one kind of call, seen before: its form (how many
positional arguments, which keywords), and for each argument a *row* with what it must be.  The function takes the first entry
that fits.  Where none does, or where anything is unusual, it calls ``general`` with the arguments as they came; that is the Python launcher, which
is right for every call and raises the errors.  Nothing is decided here that is not decided in the same way there.

An entry is a tuple whose first item is a bytes object: the words below.  The others own what the words point to.  All references
here are borrowed from the entry, which is held while it is in use, for a launch may run Python code that drops it from the list.

Only functions of the stable ABI are called, and none that needs to know how objects lie in memory.  The GIL is held except in the
driver's call, which may wait for the GPU.
"""

from __future__ import annotations

__all__ = ["CONTEXT", "ENTRY", "KINDS", "ROW", "SYMBOLS", "text"]

#: Words that all entries share: addresses of objects (o), of C functions (f).
CONTEXT = (
    "int_type",  # o
    "float_type",  # o
    "tuple_type",  # o
    "tensor_type",  # o
    "parameter_type",  # o: the other type of tensors
    "data_ptr",  # f: (tensor, NULL) → address as an int
    "get_device",  # f: (tensor, NULL) → number of the GPU as an int
    "dtype_get",  # f: (dtype_descriptor, tensor, type) → dtype
    "dtype_descriptor",  # o
    "exchange",  # f: (tensor, DLTensor) → 0, or an exception: DLPack's function for tensors of the first type; 0 where there is none
    "stream",  # f: (stream_self, ordinal as an int) → handle of the current stream as an int
    "stream_self",  # o or 0
    "device",  # f: (device_self, NULL) → number of the current GPU as an int; 0 where there is one only
    "device_self",  # o or 0
    "settings",  # o: dictionary of knobs.runtime
    "debug",  # o: key in settings; present: general
    "enter",  # o: key in settings; true: general
    "exit",  # o: likewise
    "environment",  # o: dictionary of the environment
    "debug_variable",  # o: key in environment; present: general
)

#: Words of an entry; keywords (o), rows and slots follow, in this order.
ENTRY = (
    "context",  # address of CONTEXT's words
    "positional",  # number of positional arguments, grid included
    "keywords",  # number of keyword arguments
    "rows",
    "slots",
    "kernel",  # o: what a launch returns
    "alive",  # address of a word that is 0 once the kernel is unloaded
    "ready",  # address of a word that is 0 while the target's side is not what the entry was made for
    "check",  # o: called before the launch, or 0
    "meta",  # o: dictionary of what a grid function is given beside the arguments
    "grid_of",  # o: called with an odd grid; a tuple of three ints
    "place",  # number of the GPU; -1: the CPU
    "ordinal",  # o: likewise
    "call",  # f: cuLaunchKernelEx, or on the CPU (record) → 0, or what `go_on` is given
    # a GPU
    "function",  # CUfunction
    "threads",  # a block
    "shared",  # bytes of dynamic shared memory a block
    "attributes",  # address of launch attributes, or 0
    "attribute_count",
    # the CPU
    "record",  # address of what `call` is given
    "first",  # address of an i64 that is to be 0
    "extents",  # address of three i32, for the grid
    "arguments",  # address of the argument block
    "busy",  # address of a word that is not 0 while the record is in use
    "go_on",  # o: called with (code, gx, gy, gz) to end a launch that `call` did not
)

#: Words of a row.  ``slot``: number of the slot that the value is written to, -1 for none.
ROW = ("kind", "argument", "slot", "name", "a", "b", "c", "d", "e")

#: What an argument may have to be.
KINDS = {
    "same": 0,  # this very object: a
    "integer": 1,  # an int v with a <= v <= b, not c <= v <= d; e: 0, or 1: multiple of 16, or 2: no multiple of 16
    "float32": 2,  # a float, written as f32
    "float64": 3,  # a float
    "float": 4,  # the float of bits a
    "tensor": 5,  # a tensor on GPU b, not empty, of dtype a; e as above, of its address
    "exchanged": 6,  # the same, asked by DLPack: a is its DLDataType, b its DLDevice
}

#: Functions of Python's C API that the text refers to.
SYMBOLS = (
    "PyBytes_AsString",
    "PyCallable_Check",
    "PyDict_Copy",
    "PyDict_GetItem",
    "PyDict_SetItem",
    "PyErr_Clear",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyList_GetItem",
    "PyList_Size",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_FromLongLong",
    "PyObject_IsTrue",
    "PyObject_Type",
    "PyObject_Vectorcall",
    "PyTuple_GetItem",
    "PyTuple_Size",
    "Py_DecRef",
    "Py_IncRef",
)


def _words(base: str, names: tuple[str, ...], wanted: str) -> str:
    """Instructions that load the words ``wanted`` of ``base`` as ``%base.word``."""
    lines = []
    for name in wanted.split():
        lines.append(f"  %{base}.{name}.at = getelementptr i64, ptr %{base}, i64 {names.index(name)}")
        lines.append(f"  %{base}.{name} = load {'i64' if name in _NUMBERS else 'ptr'}, ptr %{base}.{name}.at, align 8")
    return "\n".join(lines)


_NUMBERS = {
    *("positional", "keywords", "rows", "slots", "place", "threads", "shared", "attribute_count"),
    *("kind", "argument", "slot", "b", "c", "d", "e", "a"),
}
_ROW_BYTES = 8 * len(ROW)
_ENTRY_BYTES = 8 * len(ENTRY)


def text() -> str:
    """The LLVM module; its function ``launch`` is what PyMethodDef.ml_meth points to."""
    return f"""
declare ptr @PyBytes_AsString(ptr)
declare i32 @PyCallable_Check(ptr)
declare ptr @PyDict_Copy(ptr)
declare ptr @PyDict_GetItem(ptr, ptr)
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare void @PyErr_Clear()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyEval_SaveThread()
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare i64 @PyList_Size(ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyLong_FromLongLong(i64)
declare i32 @PyObject_IsTrue(ptr)
declare ptr @PyObject_Type(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyTuple_Size(ptr)
declare void @Py_DecRef(ptr)
declare void @Py_IncRef(ptr)

; The type of %x; the reference is borrowed from %x.
define internal ptr @type_of(ptr %x) nounwind {{
  %type = call ptr @PyObject_Type(ptr %x)
  call void @Py_DecRef(ptr %type)
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

; Whether nothing asks for the general way: no hooks, no debugging, the right GPU.
define internal i1 @usual(ptr %context, ptr %entry) nounwind {{
begin:
{_words("context", CONTEXT, "settings debug enter exit environment debug_variable device device_self")}
  %value = alloca i64
  %set = call ptr @PyDict_GetItem(ptr %context.settings, ptr %context.debug)
  %unset = icmp eq ptr %set, null
  br i1 %unset, label %variable, label %no
variable:
  %v = call ptr @PyDict_GetItem(ptr %context.environment, ptr %context.debug_variable)
  %v.unset = icmp eq ptr %v, null
  br i1 %v.unset, label %enter, label %no
enter:
  %enter.hook = call ptr @PyDict_GetItem(ptr %context.settings, ptr %context.enter)
  %enter.there = icmp ne ptr %enter.hook, null
  br i1 %enter.there, label %enter.empty, label %no
enter.empty:
  %enter.true = call i32 @PyObject_IsTrue(ptr %enter.hook)
  %enter.none = icmp eq i32 %enter.true, 0
  br i1 %enter.none, label %exit, label %no
exit:
  %exit.hook = call ptr @PyDict_GetItem(ptr %context.settings, ptr %context.exit)
  %exit.there = icmp ne ptr %exit.hook, null
  br i1 %exit.there, label %exit.empty, label %no
exit.empty:
  %exit.true = call i32 @PyObject_IsTrue(ptr %exit.hook)
  %exit.none = icmp eq i32 %exit.true, 0
  br i1 %exit.none, label %gpu, label %no
gpu:
  %one = icmp eq ptr %context.device, null
  br i1 %one, label %yes, label %several
several:
  %current = call ptr %context.device(ptr %context.device_self, ptr null)
  %known = call i1 @returned(ptr %current, ptr %value)
{_words("entry", ENTRY, "place")}
  %ordinal = load i64, ptr %value
  %here = icmp eq i64 %ordinal, %entry.place
  %right = and i1 %known, %here
  br i1 %right, label %yes, label %no
yes:
  ret i1 true
no:
  ; an exception of PyObject_IsTrue
  call void @PyErr_Clear()
  ret i1 false
}}

; Whether the call's form is the entry's: numbers of arguments and keywords.
define internal i1 @same_form(ptr %entry, i64 %positional, ptr %keywords) nounwind {{
begin:
{_words("entry", ENTRY, "positional keywords")}
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
{_words("context", CONTEXT, "int_type float_type tensor_type parameter_type data_ptr get_device dtype_get dtype_descriptor exchange")}
{_words("entry", ENTRY, "rows")}
  %value = alloca i64
  %dl = alloca [48 x i8], align 8
  %dl.device.at = getelementptr i8, ptr %dl, i64 8
  %dl.type.at = getelementptr i8, ptr %dl, i64 20
  %dl.offset.at = getelementptr i8, ptr %dl, i64 40
  %end = getelementptr [{_ROW_BYTES} x i8], ptr %rows, i64 %entry.rows
  br label %next
next:
  %row = phi ptr [ %rows, %begin ], [ %row.after, %written ]
  %more = icmp ult ptr %row, %end
  br i1 %more, label %look, label %yes
look:
  %row.after = getelementptr i8, ptr %row, i64 {_ROW_BYTES}
{_words("row", ROW, "kind argument slot a b c d e")}
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
  %exchanged = icmp eq i64 %row.kind, {KINDS["exchanged"]}
  br i1 %exchanged, label %dl.ask, label %tensor.dtype
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

; Writes the three extents of an exact tuple of one to three ints; false for any other grid.
define internal i1 @extents(ptr %context, ptr %grid, ptr %out) nounwind {{
begin:
{_words("context", CONTEXT, "int_type tuple_type")}
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

; A new reference to the grid: what was given, or what that returns for the arguments by name if it is a function.
define internal ptr @grid(ptr %context, ptr %entry, ptr %rows, ptr %arguments) nounwind {{
begin:
{_words("context", CONTEXT, "tuple_type")}
{_words("entry", ENTRY, "rows meta")}
  %stack = alloca ptr
  %grid = load ptr, ptr %arguments
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
  %end = getelementptr [{_ROW_BYTES} x i8], ptr %rows, i64 %entry.rows
  br label %next
next:
  %row = phi ptr [ %rows, %fill ], [ %row.after, %put ]
  %more = icmp ult ptr %row, %end
  br i1 %more, label %put, label %call
put:
  %row.after = getelementptr i8, ptr %row, i64 {_ROW_BYTES}
{_words("row", ROW, "argument name")}
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
  %result = call ptr @PyObject_Vectorcall(ptr %grid, ptr %stack, i64 1, ptr null)
  call void @Py_DecRef(ptr %meta)
  ret ptr %result
failed:
  ret ptr null
}}

; Queues the kernel.  The driver's code; -1 where the current stream is not known.
define internal i32 @queue(ptr %context, ptr %entry, ptr %slots, ptr %extents) nounwind {{
begin:
{_words("context", CONTEXT, "stream stream_self")}
{_words("entry", ENTRY, "slots ordinal call function threads shared attributes attribute_count")}
  %value = alloca i64
  %config = alloca [56 x i8], align 8
  %parameters = alloca ptr, i64 %entry.slots, align 8
  %current = call ptr %context.stream(ptr %context.stream_self, ptr %entry.ordinal)
  %known = call i1 @returned(ptr %current, ptr %value)
  br i1 %known, label %describe, label %unknown
unknown:
  ret i32 -1
describe:
  %stream = load i64, ptr %value
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
  %i = phi i64 [ 0, %describe ], [ %i1, %point ]
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
{_words("entry", ENTRY, "slots call record first extents arguments busy go_on")}
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
  %called = call ptr @PyObject_Vectorcall(ptr %function, ptr %stack, i64 4, ptr null)
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

; One entry.  A new reference to its kernel; null where the entry does not serve; an exception where %raised is set.
define internal ptr @try(ptr %entry, ptr %arguments, i64 %positional, ptr %keywords, ptr %raised) nounwind {{
begin:
{_words("entry", ENTRY, "context alive ready")}
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
{_words("entry", ENTRY, "keywords rows slots kernel check grid_of place")}
  %keyword.bytes = shl i64 %entry.keywords, 3
  %rows.offset = add i64 %keyword.bytes, {_ENTRY_BYTES}
  %rows.at = getelementptr i8, ptr %entry, i64 %rows.offset
  %slots.from = getelementptr [{_ROW_BYTES} x i8], ptr %rows.at, i64 %entry.rows
  %slots = alloca i64, i64 %entry.slots, align 8
  %slot.bytes = shl i64 %entry.slots, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %slots, ptr %slots.from, i64 %slot.bytes, i1 false)
  %fits = call i1 @fits(ptr %entry.context, ptr %entry, ptr %rows.at, ptr %arguments, ptr %slots)
  br i1 %fits, label %check, label %no
check:
  %unchecked = icmp eq ptr %entry.check, null
  br i1 %unchecked, label %grid, label %checked
checked:
  %nothing = call ptr @PyObject_Vectorcall(ptr %entry.check, ptr null, i64 0, ptr null)
  %refused = icmp eq ptr %nothing, null
  br i1 %refused, label %raise, label %agreed
agreed:
  call void @Py_DecRef(ptr %nothing)
  br label %grid
grid:
  %grid.made = call ptr @grid(ptr %entry.context, ptr %entry, ptr %rows.at, ptr %arguments)
  %grid.none = icmp eq ptr %grid.made, null
  br i1 %grid.none, label %raise, label %grid.look
grid.look:
  %plain = call i1 @extents(ptr %entry.context, ptr %grid.made, ptr %extents)
  br i1 %plain, label %grid.done, label %odd
odd:
  store ptr %grid.made, ptr %stack
  %three = call ptr @PyObject_Vectorcall(ptr %entry.grid_of, ptr %stack, i64 1, ptr null)
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
  call void @Py_DecRef(ptr %grid.made)
  %y.at = getelementptr i64, ptr %extents, i64 1
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
  br i1 %gpu, label %queue, label %run
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

define ptr @launch(ptr %self, ptr %arguments, i64 %positional, ptr %keywords) nounwind {{
begin:
  %raised = alloca i1
  store i1 false, ptr %raised
  br label %next
next:
  %i = phi i64 [ 1, %begin ], [ %i1, %no ]
  ; anew each time: what ran may have changed the list
  %n = call i64 @PyList_Size(ptr %self)
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %general
one:
  %i1 = add i64 %i, 1
  %owner = call ptr @PyList_GetItem(ptr %self, i64 %i)
  call void @Py_IncRef(ptr %owner)
  %bytes = call ptr @PyTuple_GetItem(ptr %owner, i64 0)
  %words = call ptr @PyBytes_AsString(ptr %bytes)
  %kernel = call ptr @try(ptr %words, ptr %arguments, i64 %positional, ptr %keywords, ptr %raised)
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
  %function = call ptr @PyList_GetItem(ptr %self, i64 0)
  call void @Py_IncRef(ptr %function)
  %result = call ptr @PyObject_Vectorcall(ptr %function, ptr %arguments, i64 %positional, ptr %keywords)
  call void @Py_DecRef(ptr %function)
  ret ptr %result
}}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
