"""What `launch_ir` needs around it: its code in this process, and entries for it to read.

    native = Native(…)                        once a process; NotNative says why there is none
    bind, entries = native.function(general)  bind(grid)(…) is a launch
    entries.append(native.entry(…))           from now on calls of that kind do not reach `general`

What cannot be described as an entry stays with `general`: nothing is lost but time.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from types import BuiltinFunctionType, GetSetDescriptorType
from typing import Any, NamedTuple

from ..errors import AnytileError
from ..llvm.host import host
from ..llvm.kept import keep_in, kept
from ..llvm.loader import load_object
from . import launch_ir
from .dlpack import DLTensor, exchange_table
from .entry import CONTEXT, ENTRY, KINDS, ROW, TYPE_OFFSET
from .positional_ir import FIXED

__all__ = ["FIXED", "CpuQueue", "GpuQueue", "Native", "NotNative", "Row", "keep_in", "native_code"]

_NOARGS, _ONE = 0x4, 0x8  # METH_NOARGS, METH_O
_FAST, _FAST_WITH_KEYWORDS = 0x80, 0x82  # METH_FASTCALL, METH_FASTCALL | METH_KEYWORDS
_COEXIST = 0x40  # METH_COEXIST: says nothing about calls
_DESCR_GET = 54  # Py_tp_descr_get


class NotNative(Exception):
    """This process, or this call, has no native launcher; the message says why."""


class Row(NamedTuple):
    """What argument number ``argument`` of a call must be: one of `entry.KINDS`, with its words ``a`` … ``e``.

    ``slot``: number of the slot that its value goes to, -1 for none; ``name``: the parameter's.
    """

    kind: str
    argument: int
    slot: int
    name: str
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0


class GpuQueue(NamedTuple):
    """How a kernel is handed to the driver; ``call``: address of cuLaunchKernelEx, ``attributes``: address of launch attributes, or 0.

    ``owned``: what the addresses point to.
    """

    call: int
    function: int
    threads: int
    shared: int
    attributes: int
    attribute_count: int
    ready: ctypes.c_int64
    owned: Any


class CpuQueue(NamedTuple):
    """How a kernel is handed to the thread pool: addresses as in `entry.ENTRY`; ``go_on(code, gx, gy, gz)``."""

    call: int
    record: int
    first: int
    extents: int
    arguments: int
    busy: int
    go_on: Callable[[int, int, int, int], None]
    ready: ctypes.c_int64
    owned: Any


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


@cache
def _api(name: str, result: Any, *arguments: Any) -> Any:
    """A function of Python's C API.  Kept, for ctypes makes a class of each."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


class _Code(NamedTuple):
    """Addresses of what `launch_ir` defines."""

    bind: int
    launch: int
    positional: int
    changed: int
    changes: int


@lru_cache(maxsize=1)
def native_code() -> _Code:
    """The functions of `launch_ir` in this process.  NotNative where they cannot be had."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise NotNative("this Python is not CPython with a global interpreter lock")
    known = (native_code, 1, "", ())
    if any(ctypes.c_size_t.from_address(id(x) + TYPE_OFFSET).value != id(type(x)) for x in known):
        raise NotNative("objects of this Python lie otherwise in memory")
    symbols = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in launch_ir.DECLARED}
    try:
        data = kept(f"native launcher {host().triple}", _compile)
        loaded = load_object(data, symbols, permanent=True)
        return _Code(*(loaded.address(name) for name in _Code._fields))
    except (AnytileError, ImportError, OSError) as error:  # LLVM is not there, or memory may not be made executable
        raise NotNative(str(error)) from error


def _compile() -> bytes:
    from ..llvm import engine

    # Features: the disk cache may be another machine's.
    return engine.compile_object(launch_ir.text(), features=(), level="lite")


@lru_cache(maxsize=1)
def _watcher() -> int | None:
    """The number by which Python tells the function ``changed`` of changes of dictionaries; None where it does not.

    It can since 3.12; not of attributes, which objects may keep elsewhere than in their dictionary.
    """
    if sys.version_info < (3, 12):
        return None
    try:
        number: int = _api("PyDict_AddWatcher", ctypes.c_int, ctypes.c_void_p)(native_code().changed)
    except RuntimeError:  # there are eight, and others had them
        return None
    return number


def _watched(dictionary: dict[Any, Any]) -> bool:
    """Whether changes of the dictionary, which is none of attributes, are counted from now on."""
    number = _watcher()
    return number is not None and _api("PyDict_Watch", ctypes.c_int, ctypes.c_int, ctypes.py_object)(number, dictionary) == 0


def _owned(x: Any) -> int:
    """Address of an object, with a reference that whoever overwrites it gives back."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(x))
    return id(x)


class _Builtin(NamedTuple):
    """A C function behind a Python one: its address, its ``self`` and what keeps it alive."""

    address: int
    self: int
    owner: Any


def _builtin(function: Any, flags: int) -> _Builtin:
    """NotNative unless ``function`` is a function of C with those METH_ flags."""
    has = _api("PyCFunction_GetFlags", ctypes.c_int, ctypes.py_object)
    if type(function) is not BuiltinFunctionType or has(function) & ~_COEXIST != flags:
        raise NotNative(f"{function!r} is no C function of the expected kind")
    address = _api("PyCFunction_GetFunction", ctypes.c_void_p, ctypes.py_object)(function)
    return _Builtin(address, _api("PyCFunction_GetSelf", ctypes.c_void_p, ctypes.py_object)(function) or 0, function)


class Native:
    """Makes native launchers and their entries.

    ``tensor``: a tensor of torch, to read off how its kind is asked; ``stream``: C function, number of a GPU → handle of its current
    stream, or None for DLPack's; ``device``: C function → number of the current GPU, None where there is one; ``settings``,
    ``environment``: the dictionaries with ``launch_enter_hook``, ``launch_exit_hook`` and ``debug``, and with ``debug_variable``;
    ``changes``: counts, from 1 on, the changes of ``settings``, so that they need not be looked at in each launch.
    """

    def __init__(
        self,
        tensor: Any,
        types: tuple[type, type],
        stream: Any,
        device: Any,
        settings: dict[str, Any],
        environment: dict[Any, Any],
        debug_variable: Any,
        changes: ctypes.c_int64 | None = None,
    ):
        self.types = types
        code = native_code()
        self._bind = _MethodDef(b"bind", code.bind, _ONE, None)
        self._launch = _MethodDef(b"launch", code.launch, _FAST_WITH_KEYWORDS, None)
        self._positional = _MethodDef(b"run", code.positional, _FAST, None)
        dtype = next((vars(c)["dtype"] for c in types[0].__mro__ if "dtype" in vars(c)), None)
        if type(dtype) is not GetSetDescriptorType:
            raise NotNative("the dtype of tensors is no attribute of C")
        address, device_number = _builtin(tensor.data_ptr, _NOARGS), _builtin(tensor.get_device, _NOARGS)
        table = exchange_table(types[0])
        view = table.view or 0 if table is not None else 0
        self._view = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(view) if view else None
        if stream is None and table is None:
            raise NotNative("tensors export no DLPack functions, and there is no other way to the current stream")
        queue = _builtin(stream, _ONE) if stream is not None else _Builtin(0, 0, None)
        current = _builtin(device, _NOARGS) if device is not None else _Builtin(0, 0, None)
        strings = ("debug", "launch_enter_hook", "launch_exit_hook")
        words = {
            "int_type": id(int),
            "float_type": id(float),
            "tuple_type": id(tuple),
            "key_error": id(KeyError),
            "tensor_type": id(types[0]),
            "parameter_type": id(types[1]),
            "data_ptr": address.address,
            "get_device": device_number.address,
            "dtype_get": _api("PyType_GetSlot", ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(type(dtype), _DESCR_GET),
            "dtype_descriptor": id(dtype),
            "exchange": view,
            "work_stream": table.stream or 0 if table is not None and stream is None else 0,
            "stream": queue.address,
            "stream_self": queue.self,
            "device": current.address,
            "device_self": current.self,
            "settings": id(settings),
            "debug": id(strings[0]),
            "enter": id(strings[1]),
            "exit": id(strings[2]),
            "environment": id(environment),
            "debug_variable": id(debug_variable),
            "settings_changes": ctypes.addressof(changes) if changes is not None else 0,
            "environment_changes": code.changes if _watched(environment) else 0,
            "enter_hooks": _owned(None),
            "exit_hooks": _owned(None),
        }
        self._context = (ctypes.c_uint64 * len(CONTEXT))(*(words.get(name, 0) for name in CONTEXT))
        self._owned = (types, dtype, queue, current, settings, strings, environment, debug_variable, changes)

    def function(self, general: Callable[..., Any]) -> tuple[Callable[[Any], Callable[..., Any]], list[Any]]:
        """(``bind``, the list of its entries, whose first item is ``general``): ``bind(grid)(…)`` launches, as does ``general(grid, …)``.

        This object must live as long as they do.
        """
        entries: list[Any] = [general]
        make = _api("PyCFunction_NewEx", ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        return make(ctypes.addressof(self._bind), (entries, ctypes.addressof(self._launch), self), None), entries

    def positional(
        self,
        general: Callable[..., None],
        count: int,
        rows: Sequence[Row],
        slots: int,
        alive: ctypes.c_int64,
        place: int,
        queue: GpuQueue | CpuQueue,
    ) -> Callable[..., None]:
        """``run`` of the positional protocol: ``FIXED`` arguments and the kernel's own, ``count`` in all; ``general``: the same, for any."""
        entry = self.entry(count, (), rows, bytes(8 * slots), None, alive, None, {}, tuple, place, queue, self._positional)
        make = _api("PyCFunction_NewEx", ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        return make(ctypes.addressof(self._positional), (general, entry), None)

    def tensor_row(self, x: Any, place: int, argument: int, slot: int, name: str, aligned: int) -> Row:
        """The row of tensors like ``x``; ``aligned``: word ``e``.  NotNative where ``x`` does not lie at ``place``.

        DLPack's function costs half of torch's three, but it does not tell torch's integers of fewer than 8 bits from those of 8.
        """
        if x.get_device() != place:
            raise NotNative(f"{name} lies elsewhere")
        if self._view is not None:
            seen = DLTensor()
            try:
                self._view(x, ctypes.addressof(seen))
            except Exception:  # an element type that DLPack does not have
                seen.bits = 8
            if seen.bits != 8 and seen.data + seen.byte_offset == x.data_ptr():
                dtype, device = seen.code | seen.bits << 8 | seen.lanes << 16, seen.device_type | seen.device_id << 32
                return Row("exchanged", argument, slot, name, dtype, device, e=aligned)
        return Row("tensor", argument, slot, name, id(x.dtype), place, e=aligned)

    def entry(
        self,
        positional: int,
        keywords: Sequence[str],
        rows: Sequence[Row],
        slots: bytes,
        kernel: Any,
        alive: ctypes.c_int64,
        check: Callable[[], Any] | None,
        meta: Mapping[str, Any],
        grid_of: Callable[..., tuple[int, int, int]],
        place: int,
        queue: GpuQueue | CpuQueue,
        owned: Any,
    ) -> tuple[Any, ...]:
        """An entry.  ``slots``: the argument block with what no row writes; ``owned``: what rows and queue point to."""
        context, ordinal, meta = self._context, place, dict(meta)
        keywords = tuple(map(sys.intern, keywords))
        names = [sys.intern(row.name) for row in rows]
        words = {
            "context": ctypes.addressof(context),
            "positional": positional,
            "keywords": len(keywords),
            "rows": len(rows),
            "slots": len(slots) // 8,
            "kernel": id(kernel),
            "alive": ctypes.addressof(alive),
            "check": id(check) if check is not None else 0,
            "meta": id(meta),
            "grid_of": id(grid_of),
            "place": place,
            "ordinal": id(ordinal),
            **{name: 0 for name in ENTRY[ENTRY.index("call") :]},
            **{name: value for name, value in queue._asdict().items() if name in ENTRY},
            "ready": ctypes.addressof(queue.ready),
            "go_on": id(queue.go_on) if isinstance(queue, CpuQueue) else 0,
        }
        numbers = [words[name] for name in ENTRY] + [id(name) for name in keywords]
        for row, name in zip(rows, names):
            fields = {**row._asdict(), "kind": KINDS[row.kind], "name": id(name)}
            numbers += [fields[field] for field in ROW]
        data = struct.pack(f"={len(numbers)}Q", *(n & 0xFFFFFFFFFFFFFFFF for n in numbers)) + slots
        return data, self, context, kernel, alive, check, meta, grid_of, ordinal, keywords, names, queue, owned
