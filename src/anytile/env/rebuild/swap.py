"""Two folders change places.

Linux and macOS exchange two names in one operation, if the file system can. Elsewhere two renames are needed, between which there is
no environment at its place; they can be told apart afterwards, because the new environment carries a mark with the number of
its rebuild. Both directions look at what is there before they do anything, so they may be begun again after any interruption.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from pathlib import Path

from .journal import sync_folder

__all__ = ["MARK", "exchange", "is_new", "swap_back", "swap_in"]

MARK = ".anytile-rebuild"  # in the new environment until the rebuild is over: its number
_EXCHANGE = {"linux": 2, "darwin": 2}  # RENAME_EXCHANGE, RENAME_SWAP
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}  # system call numbers, for C libraries older than the function
_NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}


def exchange(one: Path, other: Path) -> bool:
    """Exchanges the two names in one operation; False where the system or the file system cannot. Raises OSError for other failures."""
    if sys.platform not in _EXCHANGE:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        if not hasattr(library, "renamex_np"):
            return False
        result = library.renamex_np(a, b, ctypes.c_uint(_EXCHANGE["darwin"]))
    elif hasattr(library, "renameat2"):
        result = library.renameat2(-100, a, -100, b, ctypes.c_uint(_EXCHANGE["linux"]))  # -100: relative to the working folder
    elif platform.machine() in _RENAMEAT2:
        result = library.syscall(_RENAMEAT2[platform.machine()], -100, a, -100, b, ctypes.c_uint(_EXCHANGE["linux"]))
    else:
        return False
    if result == 0:
        sync_folder(one.parent)
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _rename(source: Path, destination: Path) -> None:
    os.rename(source, destination)
    sync_folder(destination.parent)


def is_new(folder: Path, number: str) -> bool:
    """Whether ``folder`` is the environment that rebuild ``number`` has built."""
    try:
        return (folder / MARK).read_text(encoding="ascii") == number
    except (OSError, ValueError):
        return False


def swap_in(target: Path, fresh: Path, old: Path, number: str) -> None:
    """Puts the new environment at ``fresh`` into ``target``; what was there lies at ``old`` afterwards."""
    if is_new(target, number):  # the exchange was done already, perhaps not what follows it
        if fresh.exists():
            _rename(fresh, old)
    elif not target.exists():  # there never was one, or the first of two renames was done
        _rename(fresh, target)
    elif exchange(fresh, target):
        _rename(fresh, old)
    else:
        _rename(target, old)
        try:
            _rename(fresh, target)
        except OSError:
            _rename(old, target)  # on Windows a program may hold a file in the new one
            raise


def swap_back(target: Path, fresh: Path, old: Path, number: str) -> None:
    """Undoes `swap_in`, however far it came: the old environment is at ``target`` and the new one at ``fresh``, if there are any."""
    if is_new(target, number):
        if fresh.exists():  # exchanged, and nothing after that
            _rename(fresh, old)
        if old.exists() and exchange(old, target):
            _rename(old, fresh)
            return
        _rename(target, fresh)
    elif is_new(old, number):  # exchanged back, and nothing after that
        _rename(old, fresh)
        return
    if not target.exists() and old.exists():
        _rename(old, target)
