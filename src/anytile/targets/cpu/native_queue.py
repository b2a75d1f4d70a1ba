"""The thread pool as native launchers see it (`native`): a record of a launch that only grid and arguments are missing from.

An entry has a record, and scratch, of its own; while a launch has it, others take the general way.
"""

from __future__ import annotations

import ctypes
import os

from ...native.launcher import CpuQueue, NotNative
from . import pool, pool_record

__all__ = ["queue"]

_BYTES = {"i32": 4, "i64": 8, "ptr": 8}
_OFFSETS = {name: sum(_BYTES[kind] for kind in list(pool_record.RECORD.values())[:i]) for i, name in enumerate(pool_record.RECORD)}

# 0 in a child of fork: it has no pool yet, and who makes one is the general way.
_ready = ctypes.c_int64(1)


def _forget_after_fork() -> None:
    global _ready
    _ready.value = 0
    _ready = ctypes.c_int64(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def queue(entry: pool.Entry, slots: int) -> CpuQueue:
    """For launches of ``entry`` with an argument block of so many slots; NotNative for more than a record has room for."""
    if 8 * slots > pool._ROOM:
        raise NotNative(f"an argument block of {slots} slots is too large")
    native, caller, busy = pool._native(), pool._new_caller(), ctypes.c_int64(0)
    caller.grow(entry.scratch)
    entry._describe(caller, 0, 1, 1, 1)

    def go_on(code: int, gx: int, gy: int, gz: int) -> None:
        try:
            entry._go_on(code, caller, None, gx, gy, gz)
        except BaseException:
            native.withdraw(caller.address)
            raise

    return CpuQueue(
        call=ctypes.cast(native.launch_beside, ctypes.c_void_p).value or 0,
        record=caller.address,
        first=caller.address + _OFFSETS["first"],
        extents=caller.address + _OFFSETS["gx"],
        arguments=caller.address + pool_record.BESIDE,
        busy=ctypes.addressof(busy),
        go_on=go_on,
        ready=_ready,
        owned=(caller, busy, entry),
    )
