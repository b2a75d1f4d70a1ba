"""Object code to addresses: by our own linker where it can, else by LLVM's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .elf import ElfObject, Refused

__all__ = ["Loaded", "load_object"]


class Loaded(Protocol):
    """Code in this process for as long as the object lives."""

    def address(self, name: str) -> int: ...


def load_object(data: bytes, symbols: Mapping[str, int] | None = None, permanent: bool = False) -> Loaded:
    """Links object code of `engine.compile_object` into this process.

    ``symbols``: name → address of what the object refers to; the C library's functions are found without it.
    ``permanent``: the code stays until the process ends.  Raises `LLVMError` where no linker takes the object.
    """
    from . import softfloat

    known = {**softfloat.symbols_for(data), **(symbols or {})}
    try:
        return ElfObject(data, known, permanent)
    except (Refused, OSError):
        from . import engine

        loaded = engine.load_object(data, known)
        if permanent:
            _forever.append(loaded)
        return loaded


_forever: list[Loaded] = []
