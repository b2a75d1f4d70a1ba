"""The compile cache: one file per kernel, named by the hash of all that went into it.

    <directory>/<first two digits>/<key>.kernel      (.kept: what the compiler keeps for itself, see `llvm.kept`)
        "anytile\\x01" · length of the rest · BLAKE2b-128 of the rest · index (JSON) · stages, end to end

A file is written beside its place and renamed into it, so a reader sees all of it or nothing, whatever
process dies when.  A file that is short, damaged or another's costs a recompilation and one warning per
process; a directory that cannot be written, one warning.  Nothing here raises for the state of the disk.

Two processes that compile the same kernel both write it; the contents are equal, the last one stays.
The size is bounded: once in a while a writer removes the least recently used kernels (a kernel's time of
modification is renewed when it is read and older than an hour).

Below stand Triton's cache managers, which libraries subclass or call to keep files of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import __version__
from ..targets.base import Artifact
from . import knobs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CacheInfo",
    "CacheManager",
    "FileCacheManager",
    "RemoteCacheBackend",
    "clear",
    "default_cache_dir",
    "directory",
    "get_cache_key",
    "get_cache_manager",
    "get_dump_manager",
    "get_override_manager",
    "info",
    "keep",
    "load",
    "load_kept",
    "store",
    "toolchain",
    "triton_key",
]

_MAGIC = b"anytile\x01"
_SUFFIX, _KEPT = ".kernel", ".kept"
_HEADER = len(_MAGIC) + 8 + 16
_PRUNE_SECONDS = 600  # a writer looks at the total size at most this often,
_PRUNE_SHARE = 8  # or after writing this fraction of the bound itself
_STALE_SECONDS = 3600  # age of a temporary file whose writer must be dead; age at which a read renews the time

_REMEDY = "Set ANYTILE_CACHE_DIR to a directory that can be written to keep them"
_warned: set[str] = set()


class CacheWarning(UserWarning):
    """The compile cache could not be used; compilation went on without it."""


def _warn(kind: str, text: str) -> None:
    """Say ``text`` once per process and kind."""
    if kind not in _warned:
        import warnings

        _warned.add(kind)
        warnings.warn(text, CacheWarning, stacklevel=3)


def directory() -> Path:
    """The directory in use: ``knobs.cache.dir`` or TRITON_CACHE_DIR, else ANYTILE_CACHE_DIR, else the user's cache."""
    from pathlib import Path

    return Path(_root())


def _root() -> str:
    """`directory` as text: this module imports pathlib where it writes, not where it reads."""
    if "dir" in knobs.cache.__dict__ or "TRITON_CACHE_DIR" in os.environ:
        return knobs.cache.dir
    return os.environ.get("ANYTILE_CACHE_DIR") or _user_directory()


@lru_cache(maxsize=1)
def _user_directory() -> str:
    if sys.platform.startswith("linux"):  # what platformdirs says here, without the 10 ms of its import
        base = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache")
        # A user whom nobody knows (a number given to a container) has no home, and "~" stays: that is no folder of the current one.
        return os.path.join("/.cache" if base.startswith("~") else base, "anytile")
    import platformdirs

    return platformdirs.user_cache_dir("anytile", appauthor=False)


@lru_cache(maxsize=1)
def toolchain() -> str:
    """Names the software that compiles: anytile (its version and every file's size and time) and Python.

    The files count so that an edited checkout never meets its own older kernels.  LLVM's version is part of the
    target's fingerprint.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = hashlib.blake2b(digest_size=16)
    folders = [root]
    for folder in folders:  # grows meanwhile
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.name.endswith(".py"):
                status = entry.stat()
                files.update(f"{entry.path[len(root) :]}:{status.st_size}:{status.st_mtime_ns};".encode())
            elif entry.is_dir() and entry.name != "__pycache__":
                folders.append(entry.path)
    return f"anytile {__version__} {files.hexdigest()} python {sys.version_info[0]}.{sys.version_info[1]}"


def _llvmlite_version() -> str:
    module = sys.modules.get("llvmlite")
    if module is not None:
        return module.__version__
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llvmlite")
    except PackageNotFoundError:
        return "none"


# -- reading and writing -------------------------------------------------------------------------------------


def _path(key: str, suffix: str = _SUFFIX) -> str:
    return os.path.join(_root(), key[:2], key + suffix)


def pack(key: str, artifact: Artifact) -> bytes:
    """The contents of a cache file."""
    blobs = [v.encode() if isinstance(v, str) else v for v in artifact.stages.values()]
    index = {
        "key": key,
        "metadata": artifact.metadata,
        "stages": [[name, isinstance(v, str), len(b)] for (name, v), b in zip(artifact.stages.items(), blobs)],
    }
    head = json.dumps(index).encode()
    rest = b"".join([len(head).to_bytes(8, "little"), head, *blobs])
    return _MAGIC + len(rest).to_bytes(8, "little") + hashlib.blake2b(rest, digest_size=16).digest() + rest


def unpack(key: str, data: bytes) -> Artifact:
    """The artifact in the contents of a cache file.  ValueError says what is wrong with them."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it is no cache file of this version")
    rest = memoryview(data)[_HEADER:]
    if len(rest) != int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 8], "little"):
        raise ValueError("it is not of the length it names")
    if hashlib.blake2b(rest, digest_size=16).digest() != data[_HEADER - 16 : _HEADER]:
        raise ValueError("its checksum does not match")
    size = int.from_bytes(rest[:8], "little")
    index = json.loads(bytes(rest[8 : 8 + size]))
    if index["key"] != key:
        raise ValueError(f"it holds another kernel, {index['key']}")
    stages: dict[str, str | bytes] = {}
    at = 8 + size
    for name, is_text, length in index["stages"]:
        blob = bytes(rest[at : at + length])
        stages[name] = blob.decode() if is_text else blob
        at += length
    return Artifact(stages, index["metadata"])


def load(key: str, suffix: str = _SUFFIX) -> Artifact | None:
    """The artifact stored under ``key``, or None."""
    path = _path(key, suffix)
    try:
        with open(path, "rb") as f:
            data = f.read()
            age = time.time() - os.fstat(f.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except OSError as e:
        _warn("read", f"the compile cache in {directory()} cannot be read ({e}); kernels are compiled anew")
        return None
    try:
        artifact = unpack(key, data)
    except (ValueError, KeyError, TypeError, IndexError) as e:
        _warn("damaged", f"the compile cache file {path} is damaged ({e}); the kernel is compiled anew and the file replaced")
        return None
    if age > _STALE_SECONDS:
        try:
            os.utime(path)
        except OSError:
            pass  # a read-only cache keeps its times
    return artifact


_written = 0
_written_lock = threading.Lock()


def store(key: str, artifact: Artifact, suffix: str = _SUFFIX) -> None:
    """Keep ``artifact`` under ``key``; where that fails, warn once and go on."""
    global _written
    path = _path(key, suffix)
    data = pack(key, artifact)
    try:
        write_atomically(path, data)
    except OSError as e:
        if not os.path.isfile(path):  # else another process put it there: on Windows the file in use cannot be replaced
            _warn(
                "write", f"the compile cache in {directory()} cannot be written ({e}); kernels are compiled anew in each process. {_REMEDY}"
            )
        return
    with _written_lock:
        _written += len(data)
    _prune_sometimes()


def load_kept(name: str) -> bytes | None:
    """What `keep` was given under ``name`` by this version of anytile, or None."""
    artifact = load(_kept_key(name), _KEPT)
    return None if artifact is None else artifact.stages["data"]  # type: ignore[return-value]


def keep(name: str, data: bytes) -> None:
    """Keep the compiler's own ``data`` (`llvm.kept`); where that fails, warn once and go on."""
    store(_kept_key(name), Artifact({"data": data}, {"name": name}), _KEPT)


def _kept_key(name: str) -> str:
    return hashlib.sha256(f"kept\0{name}\0{toolchain()}".encode()).hexdigest()


def write_atomically(path: str, data: bytes | bytearray) -> None:
    """Put ``data`` at ``path`` so that readers see the old file or all of the new one.  Raises OSError."""
    import tempfile

    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with open(handle, "wb") as f:
            f.write(data)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


# -- size ----------------------------------------------------------------------------------------------------


class CacheInfo(NamedTuple):
    """``bytes`` in ``kernels`` files under ``directory``; ``limit`` is the bound in bytes."""

    directory: Path
    kernels: int
    bytes: int
    limit: int
    writable: bool


def _files(root: str) -> list[tuple[float, int, str]]:
    """(time of modification, bytes, path) of every cache file, and of temporary files left behind."""
    found = []
    for folder in [e.path for e in _scanned(root) if len(e.name) == 2 and e.is_dir()]:
        for entry in _scanned(folder):
            if entry.name.endswith((_SUFFIX, _KEPT)) or entry.name.startswith(".new-"):
                try:
                    status = entry.stat()
                except OSError:
                    continue  # removed by another process meanwhile
                found.append((status.st_mtime, status.st_size, entry.path))
    return found


def _scanned(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:  # removed meanwhile, or not ours to read
        return []


def info() -> CacheInfo:
    """What the cache holds at this moment."""
    root = directory()
    kernels = [f for f in _files(str(root)) if f[2].endswith(_SUFFIX)]
    parent = root
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return CacheInfo(root, len(kernels), sum(size for _, size, _ in kernels), knobs.cache.size, os.access(parent, os.W_OK))


def clear() -> int:
    """Remove every cached kernel (and nothing else in the directory); the number removed."""
    removed = 0
    for _, _, path in _files(_root()):
        try:
            os.unlink(path)
        except OSError:
            continue
        removed += path.endswith(_SUFFIX)
    return removed


def _prune_sometimes() -> None:
    global _written
    root, limit = _root(), knobs.cache.size
    marker = os.path.join(root, ".pruned")
    try:
        recent = time.time() - os.stat(marker).st_mtime < _PRUNE_SECONDS
    except OSError:
        recent = False
    if recent and _written < limit // _PRUNE_SHARE:
        return
    _written = 0
    from filelock import FileLock, Timeout

    try:
        with FileLock(os.path.join(root, ".prune.lock"), timeout=0), open(marker, "w"):
            prune(root, limit)
    except (OSError, Timeout):
        pass  # another process is pruning, or the directory cannot be locked: a later writer will


def prune(root: str | Path, limit: int) -> None:
    """Remove abandoned temporary files, then the least recently used kernels until three quarters of ``limit`` remain."""
    files = sorted(_files(str(root)))
    total = sum(size for _, size, _ in files)
    now = time.time()
    for modified, size, path in files:
        abandoned = not path.endswith((_SUFFIX, _KEPT)) and now - modified > _STALE_SECONDS
        if not abandoned and total <= limit * 3 // 4:
            continue
        if abandoned or path.endswith((_SUFFIX, _KEPT)) and total > limit * 3 // 4:
            try:
                os.unlink(path)
                total -= size
            except OSError:
                continue


# -- Triton's names ------------------------------------------------------------------------------------------


def triton_key() -> str:
    """What a library mixes into keys of its own so that they change with the compiler."""
    return f"{toolchain()} llvmlite {_llvmlite_version()}"


def get_cache_key(src: Any, target: Any, options: Any) -> str:
    """The key under which `compiler.compile` keeps a kernel; ``target`` is the target object."""
    parts = [src.hash(), options.hash(), target.fingerprint(), toolchain()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def default_cache_dir() -> str:
    return _root()


class CacheManager:
    """Named files that belong to one key.  Subclass it and name the subclass in TRITON_CACHE_MANAGER."""

    def __init__(self, key: str, override: bool = False, dump: bool = False):
        self.key = key

    def get_file(self, filename: str) -> str | None:
        """Path of the file, or None."""
        raise NotImplementedError

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        """Write the file; its path."""
        raise NotImplementedError

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Paths of a group's files by name, or None where one is missing."""
        raise NotImplementedError

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        """Declare that these files belong together; the path of the declaration."""
        raise NotImplementedError


class FileCacheManager(CacheManager):
    """Files in ``<directory>/<key>/``."""

    def __init__(self, key: str, override: bool = False, dump: bool = False):
        super().__init__(key, override, dump)
        root = knobs.cache.override_dir if override else knobs.cache.dump_dir if dump else _root()
        self.cache_dir = os.path.join(root, key)

    def _make_path(self, filename: str) -> str:
        return os.path.join(self.cache_dir, filename)

    def has_file(self, filename: str) -> bool:
        return os.path.exists(self._make_path(filename))

    def get_file(self, filename: str) -> str | None:
        return self._make_path(filename) if self.has_file(filename) else None

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        path = self._make_path(filename)
        write_atomically(path, data if isinstance(data, (bytes, bytearray)) else str(data).encode())
        return path

    def get_group(self, filename: str) -> dict[str, str] | None:
        path = self.get_file(f"__grp__{filename}")
        if path is None:
            return None
        with open(path) as f:
            paths = json.load(f).get("child_paths", {})
        return paths if all(map(os.path.exists, paths.values())) else None

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        return self.put(json.dumps({"child_paths": group}), f"__grp__{filename}", binary=False)


class RemoteCacheBackend:
    """Storage elsewhere for cache files: subclass it and name the subclass in TRITON_REMOTE_CACHE_BACKEND."""

    def __init__(self, key: str):
        self.key = key

    def get(self, filenames: list[str]) -> dict[str, bytes]:
        raise NotImplementedError

    def put(self, filename: str, data: bytes) -> None:
        raise NotImplementedError


def lay_out(key: str, name: str, data: bytes) -> None:
    """Put ``data`` into a file of its own, ``<directory>/<base32 of key>/<name>``, for a program that loads machine code itself.

    torch's launcher for CUDA reads cubin files there.  A file that is there stays; where it cannot be written, warn once and go on.
    """
    path = os.path.join(_root(), _base32(key), name)
    if os.path.isfile(path):
        return
    try:
        write_atomically(path, data)
    except OSError as e:
        _warn("write", f"the compile cache in {directory()} cannot be written ({e}); kernels are compiled anew in each process. {_REMEDY}")


def _base32(key: str) -> str:
    import base64

    try:
        return base64.b32encode(bytes.fromhex(key)).decode().rstrip("=")
    except ValueError:
        return key


def get_cache_manager(key: str) -> CacheManager:
    """The manager of TRITON_CACHE_MANAGER; else one that shares with other machines where that is configured (`remote`)."""
    if knobs.cache.manager_class is None and (knobs.cache.url or knobs.cache.remote_manager_class):
        from .remote import RemoteCacheManager

        return RemoteCacheManager(_base32(key))
    return (knobs.cache.manager_class or FileCacheManager)(_base32(key))


def get_override_manager(key: str) -> CacheManager:
    return (knobs.cache.manager_class or FileCacheManager)(_base32(key), override=True)


def get_dump_manager(key: str) -> CacheManager:
    return (knobs.cache.manager_class or FileCacheManager)(_base32(key), dump=True)
