"""Memory for machine code: written while it is data, executed when it can no longer be written.

Nothing here knows LLVM.  POSIX only: elsewhere LLVM's own linker does all of this.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import lru_cache
from typing import Any

__all__ = ["CodeMemory", "PAGE", "available"]

PAGE = mmap.PAGESIZE
_READ, _EXECUTE = 1, 4  # PROT_READ, PROT_EXEC


def available() -> bool:
    """Whether this process can make memory executable in the way of `CodeMemory`.

    macOS demands ``MAP_JIT`` and a signed right for it, Windows has other calls; both are left to LLVM.
    """
    return sys.platform.startswith("linux") and (not _is_arm() or _cache_flusher() is not None)


def _is_arm() -> bool:
    return os.uname().machine == "aarch64"


@lru_cache(maxsize=1)
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@lru_cache(maxsize=1)
def _cache_flusher() -> Any:
    """``__clear_cache(begin, end)`` of the compiler's library: AArch64 fetches instructions past the data cache."""
    try:
        function = ctypes.CDLL("libgcc_s.so.1").__clear_cache
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    return function


class CodeMemory:
    """``size`` bytes of zeros at address ``base``; ``buffer`` writes them until `protect` takes the right away.

    The memory is given back when the object goes, unless it was made `permanent`.
    """

    def __init__(self, size: int):
        self.size = max(PAGE, -(-size // PAGE) * PAGE)
        self.buffer = mmap.mmap(-1, self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))

    def protect(self, begin: int, end: int, execute: bool) -> None:
        """Makes the pages of bytes ``begin`` … ``end`` (multiples of `PAGE`) read-only, or executable and read-only.

        Raises OSError where the system's policy forbids it.
        """
        if begin == end:
            return
        call = _library().mprotect
        call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if call(self.base + begin, end - begin, _READ | (_EXECUTE if execute else 0)):
            raise OSError(ctypes.get_errno(), f"mprotect: {os.strerror(ctypes.get_errno())}")
        if execute and _is_arm():
            _cache_flusher()(self.base + begin, self.base + end)

    def permanent(self) -> None:
        """Keeps the memory until the process ends: at exit, threads may still be inside its code."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.buffer))
