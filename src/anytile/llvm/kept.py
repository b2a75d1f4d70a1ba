"""What LLVM once said or made, kept from one process to the next: facts about the machine, code that never changes.

This room knows no disk cache; the runtime, which has one, hands in its two functions.  Without them everything is
found out anew in each process.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["keep_in", "kept"]

_load: Callable[[str], bytes | None] = lambda name: None  # noqa: E731
_save: Callable[[str, bytes], None] = lambda name, data: None  # noqa: E731


def keep_in(load: Callable[[str], bytes | None], save: Callable[[str, bytes], None]) -> None:
    """From now on `kept` asks ``load(name)`` first, and hands what had to be made to ``save(name, data)``.

    Neither may raise for the state of a disk, and both must tell versions of anytile apart.
    """
    global _load, _save
    _load, _save = load, save


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """The bytes kept under ``name``, which must say all that they depend on beside anytile's version; else ``make()``."""
    data = _load(name)
    if data is None:
        data = make()
        _save(name, data)
    return data
