"""What the native launcher reads: entries, each one kind of call that it may launch.

An entry is a tuple whose first item is a bytes object of 64-bit words, in the order of the tables here; the other items own what the words
point to.  Words are addresses of Python objects (o), which are borrowed from the entry, addresses of C functions (f), or
what their comment says.
"""

from __future__ import annotations

__all__ = ["CONTEXT", "ENTRY", "ENTRY_BYTES", "KINDS", "ROW", "ROW_BYTES", "TYPE_OFFSET", "words"]

#: Bytes from the beginning of an object to the address of its type, where there is a GIL.
TYPE_OFFSET = 8

#: Words that all entries share: addresses of objects (o), of C functions (f).
CONTEXT = (
    "int_type",  # o
    "float_type",  # o
    "tuple_type",  # o
    "key_error",  # o: the exception type
    "tensor_type",  # o
    "parameter_type",  # o: the other type of tensors
    "data_ptr",  # f: (tensor, NULL) → address as an int
    "get_device",  # f: (tensor, NULL) → number of the GPU as an int
    "dtype_get",  # f: (dtype_descriptor, tensor, type) → dtype
    "dtype_descriptor",  # o
    "exchange",  # f: (tensor, DLTensor) → 0, or an exception: DLPack's function for tensors of the first type; 0 where there is none
    "work_stream",  # f: (device type, ordinal, where to write the handle of the current stream) → 0: DLPack's; 0 where there is none
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
    "settings_changes",  # address of a word that counts changes of settings; 0 where nobody does
    "environment_changes",  # address of a word that counts changes of environment; likewise
    # written by native code, where changes of settings are counted:
    "seen",  # the sum of both counts for which the next two are right, and debugging is off
    "enter_hooks",  # o: list; these two references are the context's own
    "exit_hooks",  # o: list
)

#: Words of an entry; keywords (o), rows and slots follow, in this order.
ENTRY = (
    "context",  # address of CONTEXT's words
    "positional",  # number of positional arguments
    "keywords",  # number of keyword arguments
    "rows",
    "slots",
    "kernel",  # o: what a launch returns
    "alive",  # address of a word that is 0 once the kernel is unloaded
    "ready",  # address of a word that is 0 while the target's side is not what the entry was made for
    "check",  # o: called before the launch, or 0
    "meta",  # o: dictionary of what a grid function is given beside the arguments
    "grid_of",  # o: called with an odd grid, or with a grid function that raised KeyError and its dictionary; a tuple of three ints
    "place",  # number of the GPU; -1: the CPU
    "ordinal",  # o: likewise
    "call",  # f: cuLaunchKernelEx, or on the CPU (record) → 0, or what `go_on` is given
    # of launches on a GPU:
    "function",  # CUfunction
    "threads",  # a block
    "shared",  # bytes of dynamic shared memory a block
    "attributes",  # address of launch attributes, or 0
    "attribute_count",
    # of launches on the CPU:
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
    "address": 7,  # any tensor that is not empty
}

ROW_BYTES = 8 * len(ROW)
ENTRY_BYTES = 8 * len(ENTRY)

_NUMBERS = frozenset(
    ["positional", "keywords", "rows", "slots", "place", "threads", "shared", "attribute_count"]
    + ["kind", "argument", "slot", "a", "b", "c", "d", "e", "seen"]
)


def words(base: str, table: tuple[str, ...], wanted: str) -> str:
    """Instructions that load the words ``wanted``, of those that ``table`` names, from ``%base`` on: ``%base.word`` …"""
    lines = []
    for name in wanted.split():
        lines.append(f"  %{base}.{name}.at = getelementptr i64, ptr %{base}, i64 {table.index(name)}")
        lines.append(f"  %{base}.{name} = load {'i64' if name in _NUMBERS else 'ptr'}, ptr %{base}.{name}.at, align 8")
    return "\n".join(lines)
