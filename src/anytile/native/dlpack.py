"""DLPack's structures, and the functions by which a library of tensors answers it without making objects."""

from __future__ import annotations

import ctypes

__all__ = ["DLTensor", "ExchangeTable", "capsule_content", "exchange_table"]

#: (capsule, its name or None) → the address in it.
capsule_content = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


class DLTensor(ctypes.Structure):
    """``DLTensor`` of dlpack.h (data, device type and id, rank, code/bits/lanes, shape, strides, offset)."""

    _fields_ = [
        ("data", ctypes.c_size_t),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class ExchangeTable(ctypes.Structure):
    """``DLPackExchangeAPI`` of dlpack.h, version 1."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("previous", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("export", ctypes.c_void_p),
        ("import_", ctypes.c_void_p),
        ("view", ctypes.c_void_p),  # (tensor, DLTensor): fills it for as long as the tensor lives
        ("stream", ctypes.c_void_p),
    ]


def exchange_table(tensor_type: type) -> ExchangeTable | None:
    """The functions that the tensors' library exports; None where it exports none of version 1."""
    capsule = getattr(tensor_type, "__dlpack_c_exchange_api__", None)
    if capsule is None or type(capsule).__name__ != "PyCapsule":
        return None
    table = ExchangeTable.from_address(capsule_content(capsule, b"dlpack_exchange_api"))
    return table if table.major == 1 else None
