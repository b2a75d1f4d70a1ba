"""Global memory: loads, stores and atomics at real addresses, with optional bounds checking.

A tile's addresses are spanned by one NumPy view over process memory, from the lowest address to the highest, and
indexed by byte offset.  Making the view touches nothing; only the indexed lanes are read or written, so
masked-off lanes may hold any address.

Bounds checking: once ranges are registered (`register`), an access outside all of them raises `BoundsError`
instead of touching memory; without any registered range nothing is checked.  A launch registers the memory of its
arguments where ANYTILE_CHECK_BOUNDS asks for it (`runtime.bounds`).

Read-only memory: a store or an atomic operation that would write to a range of `protect` raises `ProtectedError` instead.

Both are kept per thread: a launch runs on the thread that asked for it, and others have arguments of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import AnytileError
from ...ir.types import Element
from .. import formats
from .arithmetic import signed, unsigned, wrapped
from .rows import elem_of, implements

__all__ = ["BoundsError", "ProtectedError", "register", "unregister", "clear", "permit", "protect", "unprotect", "read", "write"]


class BoundsError(AnytileError, IndexError):
    """A kernel accessed memory outside every registered range."""


class ProtectedError(AnytileError, ValueError):
    """A kernel writes to memory that is read-only.  ``name``: the argument whose memory it is."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


class _Limits(threading.local):
    """Ranges of memory: first address, address past the end, name of the argument."""

    def __init__(self) -> None:
        self.registered: list[tuple[int, int, str]] = []
        self.protected: list[tuple[int, int, str]] = []
        self.permitted: list[tuple[int, int, str]] = []  # what of the protected may be written all the same


_limits = _Limits()


def register(base: int, nbytes: int, name: str) -> None:
    """Allow ``nbytes`` bytes from address ``base``; ``name`` is the argument that errors speak of."""
    _limits.registered.append((base, base + nbytes, name))


def unregister(base: int) -> None:
    """Forget the ranges that begin at ``base``."""
    _limits.registered[:] = [r for r in _limits.registered if r[0] != base]


def clear() -> None:
    """Forget all ranges: nothing is checked any more."""
    _limits.registered.clear()


def protect(base: int, nbytes: int, name: str) -> None:
    """Forbid to write the ``nbytes`` bytes from address ``base``, the memory of argument ``name``."""
    _limits.protected.append((base, base + nbytes, name))


def permit(base: int, nbytes: int, name: str) -> None:
    """Allow to write there, even where that is protected: another argument is the same memory, and writable."""
    _limits.permitted.append((base, base + nbytes, name))


def unprotect() -> None:
    """Forget what `protect` and `permit` were told."""
    _limits.protected.clear()
    _limits.permitted.clear()


def _check_write(run: Any, op: Any, addresses: np.ndarray, mask: np.ndarray | None, size: int) -> None:
    if _limits.registered:
        _check(run, op, addresses, mask, size)
    if _limits.protected:
        _refuse_protected(run, op, addresses, mask)


def _refuse_protected(run: Any, op: Any, addresses: np.ndarray, mask: np.ndarray | None) -> None:
    flat = addresses.reshape(-1) if mask is None else addresses[mask].reshape(-1)
    free = np.zeros(flat.shape, bool)
    for lo, hi, _ in _limits.permitted:
        free |= (flat >= np.uint64(lo)) & (flat < np.uint64(hi))
    for lo, hi, name in _limits.protected:
        if (~free & (flat >= np.uint64(lo)) & (flat < np.uint64(hi))).any():
            raise ProtectedError(name, f"{op.name} at {op.loc} writes to argument {name!r}, which is read-only memory: program {run.pid}")


def _check(run: Any, op: Any, addresses: np.ndarray, mask: np.ndarray | None, size: int) -> None:
    flat = addresses.reshape(-1)
    good = np.zeros(flat.shape, bool) if mask is None else ~mask.reshape(-1)
    for lo, hi, _ in _limits.registered:
        good |= (flat >= np.uint64(lo)) & (flat <= np.uint64(max(lo, hi - size))) & (hi - lo >= size)
    if good.all():
        return
    lane = int(np.argmin(good))
    address = int(flat[lane])
    lo, hi, name = min(_limits.registered, key=lambda r: max(r[0] - address, address + size - r[1]))
    place = (
        f"{lo - address} bytes before its begin"
        if address < lo
        else f"at byte {address - lo} of its {hi - lo}"
        if address < hi
        else f"{address - hi} bytes past its end"
    )
    index = tuple(int(i) for i in np.unravel_index(lane, addresses.shape))
    raise BoundsError(
        f"{op.name} at {op.loc} is out of bounds: program {run.pid}, lane {index} accesses {size} bytes at {address:#x}; "
        f"the nearest argument is {name!r}, {place}.  Check the mask of this access."
    )


class _Span:
    """Process memory from ``lo`` on as overlapping items, one at every byte: item i lies at address lo + i."""

    __slots__ = ("__array_interface__",)

    def __init__(self, lo: int, n: int, dtype: np.dtype):
        self.__array_interface__ = {"version": 3, "data": (lo, False), "shape": (n,), "strides": (1,), "typestr": dtype.str}


def _view(flat: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A view over the addresses' span, and the addresses as indices into it."""
    lo = int(flat.min())
    offsets = (flat - np.uint64(lo)).view(np.int64)
    return np.asarray(_Span(lo, int(offsets.max()) + 1, dtype)), offsets


def read(addresses: np.ndarray, elem: Element) -> np.ndarray:
    """The elements at a non-empty rank-1 array of addresses."""
    if elem.bits == 1:
        view, at = _view(addresses, np.dtype(np.uint8))
        return view[at] != 0
    view, at = _view(addresses, formats.storage(elem))
    return view[at]


def write(addresses: np.ndarray, values: np.ndarray) -> None:
    """Stores each value at its address, the later lane winning where addresses are equal."""
    view, at = _view(addresses, values.dtype)
    view[at] = values


@implements("load")
def _load(run: Any, op: Any, ptr: np.ndarray, mask: np.ndarray | None, other: np.ndarray | None) -> np.ndarray:
    elem = elem_of(op).pointee
    dtype = formats.storage(elem)
    if _limits.registered:
        _check(run, op, ptr, mask, dtype.itemsize)
    if mask is None or mask.all():
        return read(ptr.reshape(-1), elem).reshape(ptr.shape)
    out = np.zeros(ptr.shape, dtype) if other is None else np.array(other, dtype)
    if mask.any():
        out[mask] = read(ptr[mask], elem)
    return out


@implements("store")
def _store(run: Any, op: Any, ptr: np.ndarray, value: np.ndarray, mask: np.ndarray | None) -> None:
    _check_write(run, op, ptr, mask, value.dtype.itemsize)
    if mask is None:
        write(ptr.reshape(-1), value.reshape(-1))
    elif mask.any():
        write(ptr[mask], value[mask])


# --- atomics: programs run one after another, so only lanes of one operation can meet at an address ------


def _float_rmw(fn: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda elem, old, new: formats.encode(fn(formats.decode(old, elem), formats.decode(new, elem)), elem)


def _int_rmw(read: Callable[..., np.ndarray], fn: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda elem, old, new: wrapped(fn(read(old, elem), read(new, elem)), elem)


_RMW: dict[str, Callable[..., np.ndarray]] = {
    "add": _int_rmw(signed, np.add),
    "and": _int_rmw(signed, np.bitwise_and),
    "or": _int_rmw(signed, np.bitwise_or),
    "xor": _int_rmw(signed, np.bitwise_xor),
    "smax": _int_rmw(signed, np.maximum),
    "smin": _int_rmw(signed, np.minimum),
    "umax": _int_rmw(unsigned, np.maximum),
    "umin": _int_rmw(unsigned, np.minimum),
    "fadd": _float_rmw(np.add),
    "fmax": _float_rmw(np.fmax),
    "fmin": _float_rmw(np.fmin),
    "xchg": lambda elem, old, new: new,
}


def _rounds(addresses: np.ndarray) -> list[np.ndarray]:
    """Lane numbers in groups whose addresses are distinct; a lane comes after earlier lanes of its address."""
    order = np.argsort(addresses, kind="stable")
    ordered = addresses[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    starts = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    rank = np.arange(len(order)) - starts
    return [order[rank == r] for r in range(int(rank.max()) + 1)]


@implements("atomic_rmw")
def _atomic_rmw(run: Any, op: Any, ptr: np.ndarray, value: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    elem = elem_of(op).pointee
    _check_write(run, op, ptr, mask, value.dtype.itemsize)
    update = _RMW[op.attrs["kind"]]
    out = np.zeros(ptr.size, value.dtype)
    lanes = np.arange(ptr.size) if mask is None else np.flatnonzero(mask)
    at, new = ptr.reshape(-1), value.reshape(-1)
    for group in _rounds(at[lanes]) if len(lanes) else ():
        where = lanes[group]
        old = read(at[where], elem)
        write(at[where], update(elem, old, new[where]))
        out[where] = old
    return out.reshape(ptr.shape)


@implements("atomic_cas")
def _atomic_cas(run: Any, op: Any, ptr: np.ndarray, cmp: np.ndarray, value: np.ndarray) -> np.ndarray:
    elem = elem_of(op).pointee
    _check_write(run, op, ptr, None, value.dtype.itemsize)
    bits = formats.unsigned(elem.bits)  # equality of bit patterns: NaN equals itself, −0 differs from 0
    at, new, wanted = ptr.reshape(-1), value.reshape(-1), cmp.reshape(-1)
    out = np.zeros(ptr.size, value.dtype)
    for where in _rounds(at):
        old = read(at[where], elem)
        equal = old.view(bits) == wanted[where].view(bits)
        write(at[where], np.where(equal, new[where], old))
        out[where] = old
    return out.reshape(ptr.shape)


@implements("barrier")
def _barrier(run: Any, op: Any) -> None:
    """Nothing to wait for: one program runs at a time and its operations in order."""
