"""What a kernel may be called with, and how each thing becomes a slot of the argument block.

An argument is described by a *key*, a small hashable value that tells all that compilation depends on:

==========================================  ==============================================================
argument                                    key
==========================================  ==============================================================
tensor at a multiple of 16 bytes            ``"*fp32:16"``
tensor elsewhere                            ``"*fp32"``;  a read-only one ends in ``"!"``
integer                                     ``"i32"``, ``"i32:16"`` (a multiple of 16), ``"i64"`` …, or ``1``
float, bool, None                           ``"fp32"``, ``"u1"``, ``None``
`TensorDescriptor`                          ``"tensordesc<fp16[64,64]>"``; with padding ``"tensordesc<fp16[64,64],nan>"``
tuple                                       tuple of keys; a named tuple starts with its class
function, dtype, constexpr                  what `constexpr_key` says
==========================================  ==============================================================

Memory is taken from torch tensors, NumPy arrays, anything with ``__array_interface__``, ``__cuda_array_interface__`` or
``__dlpack__`` and anything with ``data_ptr()`` and ``dtype``.  Where it lies is the argument's *place*: a launch goes there.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from ..language.parameters import TYPE_NAMES, normalize_type
from ..language.source import JITCallable
from ..language.types import parse_signature_type
from ..native.dlpack import DLTensor, capsule_content
from .driver import driver, gpu_remedy
from .errors import ArgumentRangeError, ArgumentTypeError, DescriptorArgumentError, DeviceError, StorageError

__all__ = ["HOST", "Unwrapped", "common_place", "constexpr_key", "integer_type", "pointee_name", "unwrap"]

_ELEMENTS = frozenset(TYPE_NAMES.values()) - {"void"}
_pointees: dict[Any, str] = {}  # dtype object → signature name


def pointee_name(dtype: Any) -> str:
    """Signature name (``"fp32"``) of an element type of torch, NumPy, ``tl`` or by name.

    ArgumentTypeError where kernels have no such type (complex numbers, structures …).
    """
    try:
        return _pointees[dtype]
    except (KeyError, TypeError):
        pass
    name = normalize_type(str(dtype).rsplit(".", 1)[-1] if not isinstance(dtype, type) else dtype.__name__)
    if name not in _ELEMENTS:
        remedy = (
            "; pass the real numbers that they consist of: torch.view_as_real(x), or x.view of the float type" if "complex" in name else ""
        )
        raise ArgumentTypeError(
            f"has elements of type {dtype}, which kernels do not have; they have {', '.join(sorted(_ELEMENTS))}{remedy}"
        )
    _pointees[dtype] = name
    return name


def integer_type(value: int) -> str:
    """The type an integer argument takes by its value: i32, i64 or u64."""
    if -(2**31) <= value < 2**31:
        return "i32"
    if -(2**63) <= value < 2**63:
        return "i64"
    if value < 2**64:
        return "u64"
    raise ArgumentRangeError(f"is the integer {value}, which does not fit in 64 bits")


#: The place of memory that the CPU reads.
HOST = -1


_Place = int | None


class Unwrapped:
    """An argument made ready: ``value`` for the slot, ``key``, and ``keep``, which holds the memory alive.

    ``place``: `HOST`, or the number of the GPU whose memory it is; None where it is no memory, or memory that all can reach.  What costs a
    question to answer is given as a function, which a launch calls; who only wants the ``key`` does not.
    """

    __slots__ = ("value", "key", "keep", "_place")

    def __init__(self, value: Any, key: Any, keep: Any = None, place: _Place | Callable[[], _Place] = None):
        self.value, self.key, self.keep, self._place = value, key, keep, place

    @property
    def place(self) -> _Place:
        if callable(self._place):
            self._place = self._place()
        return self._place


def _pointer(address: int, dtype: Any, keep: Any, readonly: bool = False, place: _Place | Callable[[], _Place] = HOST) -> Unwrapped:
    key = "*" + pointee_name(dtype) + ("" if address & 15 else ":16") + ("!" if readonly else "")
    return Unwrapped(address, key, keep, place)


def common_place(kernel: str, arguments: Mapping[str, Any]) -> int | None:
    """Where the memory among ``arguments`` lies; None where there is none.  DeviceError where it lies in several places."""
    places: dict[int, str] = {}
    for name, x in arguments.items():
        try:
            place = unwrap(x).place
        except ArgumentTypeError:
            continue  # a compile-time value; or the launch will complain of it, with more to say
        if place is not None:
            places.setdefault(place, name)
    if len(places) > 1:
        where = ", ".join(f"{name} on {'the CPU' if place == HOST else f'GPU {place}'}" for place, name in places.items())
        raise DeviceError(f"arguments of kernel {kernel} lie in the memory of several devices ({where}); move them to one with .to(...)")
    return next(iter(places), None)


def _reachable(what: str) -> None:
    """Raises DeviceError unless kernels can be launched on GPUs here; ``what`` begins the message."""
    active = driver.active
    if not getattr(active, "is_gpu", False):
        raise DeviceError(f"{what}, which the CPU target cannot reach; {gpu_remedy()}")


def _integer(value: int) -> Unwrapped:
    if value == 1:
        return Unwrapped(1, 1)
    return Unwrapped(value, integer_type(value) + ("" if value & 15 else ":16"))


def unwrap(x: Any) -> Unwrapped:
    """Any argument of any kind.  Errors are predicates ("is a tensor on …"): the caller puts the name before them.

    The launcher handles torch tensors and plain integers itself; this is the way of all the others.
    """
    handler = _handlers.get(type(x))
    if handler is None:
        handler = _handlers[type(x)] = _handler_for(type(x), x)
    return handler(x)


def _handler_for(cls: type, x: Any) -> Callable[[Any], Unwrapped]:
    if issubclass(cls, JITCallable):
        return lambda f: Unwrapped(f, ("constexpr", constexpr_key(f)))
    if issubclass(cls, tuple):
        return _tuple
    if cls.__name__ == "constexpr" and hasattr(x, "value"):
        return lambda c: Unwrapped(c.value, ("constexpr", constexpr_key(c.value)))
    if cls.__name__ == "TensorDescriptor" and hasattr(x, "block_shape"):
        return _descriptor
    if hasattr(x, "data_ptr") and hasattr(x, "dtype"):
        return _tensor
    if hasattr(x, "__array_interface__"):
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(x, numpy.generic):
            return _numpy_scalar
        return _ndarray if numpy is not None and isinstance(x, numpy.ndarray) else _array
    if hasattr(x, "__dlpack__"):
        return _dlpack
    if hasattr(x, "__cuda_array_interface__"):
        return _cuda_array
    if isinstance(x, bool):
        return _handlers[bool]
    if isinstance(x, int):
        return lambda i: _integer(int(i))
    if isinstance(x, float):
        return _handlers[float]
    if hasattr(x, "__index__"):  # SymInt and the like
        return lambda i: _integer(i.__index__())
    if isinstance(x, (str, bytes, type)) or type(x).__name__ == "dtype":
        return lambda v: Unwrapped(v, ("constexpr", constexpr_key(v)))
    arrays = issubclass(cls, (list, bytearray, memoryview)) or cls.__module__ in ("array", "_ctypes") or hasattr(x, "_length_")
    advice = "; numpy.asarray(x) makes an array of it" if arrays else ""
    raise ArgumentTypeError(
        f"has type {cls.__module__}.{cls.__qualname__}, which no kernel parameter takes; pass a tensor, a number, a tuple of these, "
        f"or declare the parameter tl.constexpr{advice}"
    )


def _numpy_scalar(x: Any) -> Unwrapped:
    return unwrap(x.item())


#: Kinds of device, by torch's names, whose memory no target reaches; look-alikes of tensors have only a ``device`` to tell.
_ELSEWHERE = frozenset({"hip", "xpu", "mps", "npu", "hpu", "xla", "vulkan"})


def _tensor(x: Any) -> Unwrapped:
    """torch tensors and their subclasses, `TensorWrapper`, `MockTensor`, and foreign look-alikes."""
    device = getattr(x, "device", "cpu")
    kind = getattr(device, "type", None) or str(device).partition(":")[0]
    place: _Place | Callable[[], _Place] = HOST
    if getattr(x, "is_mock", False):
        place = None
    elif kind == "cuda" or getattr(x, "is_cuda", False) is True:
        _reachable(f"is a tensor on {device}")
        place = _ordinal(device)
    elif getattr(x, "is_cpu", True) is False or kind in _ELSEWHERE:
        if kind == "meta":
            raise DeviceError(
                "is a tensor on the meta device, which has a shape and no numbers; make it on a device, torch.empty_like(x, device='cpu')"
            )
        raise DeviceError(f"is a tensor on {device}, which no target can reach; call .cpu() on it first")
    elif getattr(driver.active, "is_gpu", False) and hasattr(x, "is_pinned"):
        place = partial(_page_locked_or_host, x)
    address = x.data_ptr()
    if not address:
        numel = getattr(x, "numel", None)
        if callable(numel) and numel() > 0 and not getattr(x, "is_mock", False):
            if _is_traced(x):
                raise StorageError(
                    f"is a tensor that stands for others while torch traces a program ({type(x).__name__}): it has a shape and no numbers; "
                    "make an operator of the function that launches, by torch.library.triton_op and wrap_triton, or by torch.library.custom_op"
                )
            raise StorageError(
                "has elements but no memory: its storage was freed (resize_(0)) or it lies on the meta device; allocate it before the launch"
            )
    return _pointer(address, x.dtype, x, place=place)


def _is_traced(x: Any) -> bool:
    """Whether ``x`` is torch's, from torch.compile, torch.export or functionalize."""
    if type(x).__name__ in ("FakeTensor", "FunctionalTensor"):
        return True
    is_functional = getattr(sys.modules.get("torch"), "_is_functional_tensor", None)
    return is_functional is not None and type(x).__module__.startswith("torch") and bool(is_functional(x))


def _page_locked_or_host(x: Any) -> _Place:
    """GPUs read page-locked memory as well.  Only launches may ask: while torch traces with fake tensors, a real one answers by an error."""
    return None if x.is_pinned() else HOST


def _ordinal(device: Any) -> int:
    """Number of the GPU that a torch device, or a text such as "cuda:1", names; without a number it is the current one."""
    index = getattr(device, "index", None)
    if callable(index) or index is None:  # a str has a method of that name
        _, _, number = str(device).partition(":")
        index = int(number) if number else driver.active.get_current_device()
    return int(index)


def _cuda_array(x: Any) -> Unwrapped:
    """Exporters of the CUDA array interface: CuPy, Numba …"""
    _reachable("is CUDA memory")
    interface = x.__cuda_array_interface__
    address, readonly = interface["data"]
    dtype = getattr(x, "dtype", None)
    if dtype is None or not hasattr(dtype, "name"):
        raise ArgumentTypeError("exports a CUDA array interface without a dtype; convert it with torch.as_tensor first")
    place = driver.active.device_of(address) if address else None
    return _pointer(address or 0, dtype.name, interface, bool(readonly), place)


#: NumPy dtype → keys of its arrays: aligned, not aligned, and each read-only.
_array_keys: dict[Any, tuple[str, str, str, str]] = {}


class _ArrayStruct(ctypes.Structure):
    """NumPy's array interface for C, which costs a fifth of the one for Python."""

    _fields_ = [
        ("two", ctypes.c_int),
        ("nd", ctypes.c_int),
        ("typekind", ctypes.c_char),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
    ]


_WRITEABLE = 0x400


def _ndarray(x: Any) -> Unwrapped:
    """NumPy arrays.  NumPy takes microseconds to say a dtype's name, so it is asked once."""
    dtype = x.dtype
    keys = _array_keys.get(dtype)
    if keys is None:
        _array(x)  # raises where kernels have no such elements
        key = "*" + pointee_name(dtype.name)
        keys = _array_keys[dtype] = (key + ":16", key, key + ":16!", key + "!")
    capsule = x.__array_struct__  # the struct lives as long as the capsule
    facts = _ArrayStruct.from_address(capsule_content(capsule, None))
    address = facts.data or 0
    return Unwrapped(address, keys[(0 if facts.flags & _WRITEABLE else 2) + (1 if address & 15 else 0)], None, HOST)


def _array(x: Any) -> Unwrapped:
    """Other exporters of the array interface."""
    interface = x.__array_interface__
    data = interface.get("data")
    if data is None:
        raise StorageError("exports an array interface without an address; convert it with numpy.asarray first")
    typestr = interface["typestr"]
    dtype = getattr(x, "dtype", None)
    if typestr[0] == ">":
        raise ArgumentTypeError(f"has big-endian elements ({typestr}); convert it with .astype(x.dtype.newbyteorder('='))")
    if dtype is None or not hasattr(dtype, "name"):
        dtype = {"f": "float", "i": "int", "u": "uint", "b": "bool"}.get(typestr[1], typestr) + (
            "" if typestr[1] == "b" else str(int(typestr[2:]) * 8)
        )
    else:
        dtype = dtype.name
    return _pointer(data[0], dtype, interface, readonly=bool(data[1]))


_DL_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}  # DLDataTypeCode
_DL_CPU, _DL_CUDA, _DL_CUDA_HOST = 1, 2, 3


def _dlpack(x: Any) -> Unwrapped:
    device, number = x.__dlpack_device__()
    place: int | None = {_DL_CPU: HOST, _DL_CUDA: int(number)}.get(int(device))
    if int(device) == _DL_CUDA:
        _reachable("is CUDA memory")
    elif int(device) not in (_DL_CPU, _DL_CUDA_HOST):
        raise DeviceError(f"lies on DLPack device type {int(device)}, which no target can reach; copy it to the CPU first")
    capsule = x.__dlpack__()
    t = DLTensor.from_address(capsule_content(capsule, b"dltensor"))
    code = _DL_CODES.get(t.code)
    if code is None or t.lanes != 1:
        raise ArgumentTypeError(f"has DLPack elements of code {t.code} with {t.lanes} lanes, which kernels do not know")
    dtype = "bool" if code == "bool" else f"{code}{t.bits}"
    return _pointer(t.data + t.byte_offset, dtype, capsule, place=place)


@cache
def _item_size(name: str) -> int:
    """Bytes of an element by its signature name."""
    return max(parse_signature_type(name).itemsize, 1)


def _descriptor(x: Any) -> Unwrapped:
    """A host tensor descriptor: the values of the slots of `tensor_descriptor_type`.

    Its fields may have been assigned to since it was made, by a ``pre_hook`` for instance, so what kernels rely on is checked here.
    """
    base = unwrap(x.base)
    name, _, aligned = base.key[1:].rstrip("!").partition(":")
    if not aligned:
        raise DescriptorArgumentError(
            f"is a TensorDescriptor whose base lies at {base.value:#x}, which is not a multiple of 16 bytes; describe a copy (.clone()) of it"
        )
    *strides, last = map(int, x.strides)
    item = _item_size(name)
    if last != 1 or any(s * item & 15 for s in strides):
        raise DescriptorArgumentError(
            f"is a TensorDescriptor with the strides {list(x.strides)}: the last must be 1, the others multiples of {16 // item} elements"
        )
    shape = tuple(map(int, x.shape))
    if not len(shape) == len(strides) + 1 == len(x.block_shape):
        raise DescriptorArgumentError(
            f"is a TensorDescriptor of shape {list(shape)} with the block_shape {list(x.block_shape)}: both need one entry per stride"
        )
    padding = ",nan" if x.padding == "nan" else ""
    key = f"tensordesc<{name}[{','.join(map(str, x.block_shape))}]{padding}>" + ("!" if base.key.endswith("!") else "")
    return Unwrapped((base.value, *shape, *strides), key, base.keep, lambda: base.place)


def _tuple(x: tuple[Any, ...]) -> Unwrapped:
    parts = [unwrap(v) for v in x]
    keys: tuple[Any, ...] = tuple(p.key for p in parts)
    if hasattr(x, "_fields"):
        keys = (type(x), *keys)
    places = {p.place for p in parts} - {None}
    if len(places) > 1:
        raise DeviceError("is a tuple of memory on several devices; move it to one with .to(...)")
    return Unwrapped(tuple(p.value for p in parts), keys, [p.keep for p in parts], places.pop() if places else None)


_handlers: dict[type, Callable[[Any], Unwrapped]] = {
    int: _integer,
    bool: lambda x: Unwrapped(int(x), "u1"),
    float: lambda x: Unwrapped(x, "fp32"),
    type(None): lambda x: Unwrapped(None, None),
    tuple: _tuple,
}


def constexpr_key(value: Any) -> Any:
    """A hashable stand-in for a compile-time value that tells 1, True and 1.0 apart.

    ArgumentTypeError for a value that cannot be hashed.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is float:
        return ("float", value.hex())  # tells −0.0 from 0.0 and finds NaN again
    if isinstance(value, JITCallable):
        return ("function", value.cache_key)
    if isinstance(value, (tuple, list)):
        return (kind, *map(constexpr_key, value))
    if isinstance(value, dict):
        return (kind, *((constexpr_key(k), constexpr_key(v)) for k, v in value.items()))
    if kind.__name__ == "constexpr" and hasattr(value, "value"):
        return constexpr_key(value.value)
    try:
        hash(value)
    except TypeError:
        raise ArgumentTypeError(
            f"is a compile-time value of type {kind.__qualname__}, which cannot be hashed; compile-time values are numbers, texts, dtypes, "
            "functions and tuples of these: leave tl.constexpr off a parameter that takes memory"
        ) from None
    return (kind, value)
