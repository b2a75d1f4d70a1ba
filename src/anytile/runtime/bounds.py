"""``ANYTILE_CHECK_BOUNDS=1`` with ``TRITON_INTERPRET=1``: a kernel may touch the memory of its launch's arguments, and no other.

On a GPU a kernel that leaves its arrays often goes unnoticed, because what lies beside them is the program's own memory; on a CPU the
process may die of it.  Checked, the first such access stops the kernel and says which program and lane made it, at which line, and how far
outside of which argument it is.  Kernels that take addresses out of memory (tables of pointers) cannot be checked so.

`guarded` is for read-only memory, always: a compiled kernel that stores through such an argument is refused before it runs; of an
interpreted one it is known when it stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["BoundsWarning", "checked", "extents", "guarded", "warn_unchecked"]

_warned = False


class BoundsWarning(UserWarning):
    """ANYTILE_CHECK_BOUNDS is set, and a kernel runs whose accesses nobody checks."""


def warn_unchecked() -> None:
    """Say, once in a process, that a compiled kernel is not checked."""
    global _warned
    if not _warned:
        import warnings

        _warned = True
        text = "ANYTILE_CHECK_BOUNDS=1 checks interpreted kernels alone, and this one is compiled; set TRITON_INTERPRET=1, too"
        warnings.warn(text, BoundsWarning, stacklevel=2)


@contextmanager
def checked(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Until the block ends, interpreted accesses outside the memory of ``arguments`` raise BoundsError."""
    from ..targets.reference import memory

    memory.clear()
    for name, value in arguments.items():
        for address, size in extents(value):
            memory.register(address, size, name)
    try:
        yield
    finally:
        memory.clear()


@contextmanager
def guarded(keys: Iterable[Any], arguments: Mapping[str, Any]) -> Iterator[None]:
    """Until the block ends, interpreted stores to read-only memory among ``arguments`` raise ProtectedError.

    ``keys``: what `arguments.unwrap` says of each, in order.  Memory that another argument may write is not protected.
    """
    from ..targets.reference import memory

    leaves = [leaf for key, (name, value) in zip(keys, arguments.items()) for leaf in _leaves(key, name, value)]
    if not any(key.endswith("!") for key, _, _ in leaves):
        yield
        return
    for key, name, value in leaves:
        for address, size in extents(value, whole=False):
            (memory.protect if key.endswith("!") else memory.permit)(address, size, name)
    try:
        yield
    finally:
        memory.unprotect()


def _leaves(key: Any, name: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """The memory among an argument and what it consists of: its key, the argument's name, and itself."""
    if isinstance(key, str) and key.startswith(("*", "tensordesc")):
        yield key, name, value
    elif isinstance(key, tuple) and isinstance(value, tuple):
        for part, inner in zip(key[1:] if isinstance(key[0], type) else key, value):
            yield from _leaves(part, name, inner)


def extents(value: Any, whole: bool = True) -> Iterator[tuple[int, int]]:
    """First address and bytes of the memory behind a launch's argument; nothing for numbers.

    ``whole``: of all that a view belongs to, else of an array's own elements.
    """
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from extents(part, whole)
    elif hasattr(value, "untyped_storage"):
        storage = value.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
    elif hasattr(value, "data_ptr") or type(value).__name__ == "TensorDescriptor":
        if hasattr(value, "base"):  # a tensor under another element type, or with a descriptor's shape
            yield from extents(value.base, whole)
        else:
            yield value.data_ptr(), value.numel() * value.element_size()
    elif hasattr(value, "__array_interface__") or hasattr(value, "__dlpack__"):
        yield from _of_array(value, whole)


def _of_array(value: Any, whole: bool) -> Iterator[tuple[int, int]]:
    import numpy as np

    if isinstance(value, np.generic):  # a number: only the copy that numpy.asarray makes lies somewhere
        return
    array = np.asarray(value) if hasattr(value, "__array_interface__") else np.from_dlpack(value)
    while whole and isinstance(array.base, np.ndarray):
        array = array.base
    if array.size == 0:
        yield array.ctypes.data, 0
        return
    reach = [(n - 1) * step for n, step in zip(array.shape, array.strides)]
    below, above = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    yield array.ctypes.data + below, above - below + array.itemsize
