"""The compile cache that many machines share: behind an fsspec URL, in Redis, or in a class of the user's.

    ANYTILE_CACHE_URL=s3://bucket/kernels          any URL of fsspec: s3, gs, az, ssh, file, memory …
    ANYTILE_CACHE_URL=redis://host:6379/0          Redis
    TRITON_REMOTE_CACHE_BACKEND=module:Class       a `cache.RemoteCacheBackend`

The local directory stays the first level: a kernel found elsewhere is copied there.  What is stored is machine code,
so share a cache only with those who may run code on your machines.

A kernel's name elsewhere is the hash of its tile IR, of options and target, and of anytile's own sources: paths and
times of files, which differ from machine to machine, do not count.

A cache that cannot be reached costs one warning and is left alone for a minute; it is never an error.  A URL whose
package is not installed is one.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import AnytileError
from . import knobs
from .cache import CacheManager, FileCacheManager, RemoteCacheBackend, _warn, pack, unpack

if TYPE_CHECKING:
    from ..targets.base import Artifact

__all__ = ["FsspecCacheBackend", "RedisRemoteCacheBackend", "RemoteCacheManager", "backend_class", "sources", "through"]

_PAUSE_SECONDS = 60.0
_paused_until = 0.0
_FILE = "artifact.kernel"


class CachePackageError(AnytileError, ImportError):
    """The package that a cache's URL needs is not installed."""


def backend_class() -> type[RemoteCacheBackend] | None:
    """The class that stores files elsewhere; None where nothing is configured."""
    if knobs.cache.remote_manager_class is not None:
        return knobs.cache.remote_manager_class
    url = knobs.cache.url
    if not url:
        return None
    return RedisRemoteCacheBackend if url.startswith(("redis://", "rediss://")) else FsspecCacheBackend


@lru_cache(maxsize=1)
def sources() -> str:
    """Hash of the contents of anytile's sources: equal on all machines with the same version."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    digest = hashlib.blake2b(digest_size=16)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(n for n in names if n.endswith(".py")):
            with open(os.path.join(folder, name), "rb") as f:
                digest.update(f"{os.path.relpath(folder, root).replace(os.sep, '/')}/{name}\0".encode() + f.read())
    return digest.hexdigest()


# --- kernels ----------------------------------------------------------------------------------------------------


def through(text: str, options: Any, machine: Any, compile: Callable[[], Artifact]) -> Artifact:
    """The artifact of the tile IR ``text`` from the shared cache, or ``compile()``, which then is put there."""
    cls = backend_class()
    if cls is None:
        return compile()
    parts = [text, options.hash(), machine.fingerprint(), sources()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    data = _guarded(lambda: cls(key).get([_FILE])).get(_FILE)
    if data is not None:
        try:
            return unpack(key, data)
        except (ValueError, KeyError, TypeError, IndexError) as e:
            _warn("remote damaged", f"a kernel in the shared cache is damaged ({e}); it is compiled anew and replaced")
    artifact = compile()
    _guarded(lambda: cls(key).put(_FILE, pack(key, artifact)))
    return artifact


def _guarded(action: Callable[[], Any]) -> Any:
    """``action()``; an empty dictionary, after one warning, where the cache cannot be reached."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return {}
    try:
        return action()
    except CachePackageError:
        raise
    except Exception as e:  # each storage has errors of its own, and none of them may stop a program
        _paused_until = time.monotonic() + _PAUSE_SECONDS
        _warn("remote", f"the shared compile cache cannot be used ({type(e).__name__}: {e}); kernels are compiled here")
        return {}


# --- storages ---------------------------------------------------------------------------------------------------


class FsspecCacheBackend(RemoteCacheBackend):
    """Files ``<ANYTILE_CACHE_URL>/<first two digits>/<key>.<file name>`` in any storage that fsspec knows."""

    def __init__(self, key: str):
        super().__init__(key)
        self._fs, self._root = _filesystem(str(knobs.cache.url))

    def _path(self, filename: str) -> str:
        return f"{self._root}/{self.key[:2]}/{self.key}.{filename}"

    def get(self, filenames: list[str]) -> dict[str, bytes]:
        found = {}
        for name in filenames:
            try:
                found[name] = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                continue
        return found

    def put(self, filename: str, data: bytes) -> None:
        path = self._path(filename)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if "file" not in _protocols(self._fs):
            self._fs.pipe_file(path, data)  # object stores show all of an object or nothing
            return
        fresh = f"{path}.new-{uuid.uuid4().hex}"
        self._fs.pipe_file(fresh, data)
        os.replace(fresh, path)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


@lru_cache(maxsize=4)
def _filesystem(url: str) -> tuple[Any, str]:
    """(file system, path in it) of a URL."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise CachePackageError(f"the cache URL {url} needs the package fsspec, which is not installed: pip install fsspec") from None
    try:
        fs, path = url_to_fs(url)
    except ImportError as e:  # fsspec names the package of the protocol
        raise CachePackageError(f"the cache URL {url} cannot be used: {e}") from None
    return fs, str(path).rstrip("/")


class RedisRemoteCacheBackend(RemoteCacheBackend):
    """Values in Redis: at ANYTILE_CACHE_URL if that is a redis URL, else at TRITON_REDIS_HOST and TRITON_REDIS_PORT."""

    def __init__(self, key: str):
        super().__init__(key)
        self._key_format = knobs.redis.key_format
        url = knobs.cache.url or ""
        self._client = _redis(url if url.startswith("redis") else f"redis://{knobs.redis.host}:{knobs.redis.port}")

    def _name(self, filename: str) -> str:
        return self._key_format.format(key=self.key, filename=filename)

    def get(self, filenames: list[str]) -> dict[str, bytes]:
        values = self._client.mget([self._name(n) for n in filenames])
        return {n: v for n, v in zip(filenames, values) if v is not None}

    def put(self, filename: str, data: bytes) -> None:
        self._client.set(self._name(filename), data)


@lru_cache(maxsize=4)
def _redis(url: str) -> Any:
    """A client, which keeps its connections, with time limits that a compilation can bear."""
    try:
        import redis
    except ImportError:
        raise CachePackageError(f"the cache at {url} needs the package redis, which is not installed: pip install redis") from None
    return redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)


# --- files of libraries -----------------------------------------------------------------------------------------


class RemoteCacheManager(CacheManager):
    """Files that are looked for elsewhere where the local directory lacks them, and put in both places.

    Name it in TRITON_CACHE_MANAGER; it is the default where a shared cache is configured.  Dumps and overrides stay local.
    """

    def __init__(self, key: str, override: bool = False, dump: bool = False):
        super().__init__(key, override, dump)
        cls = backend_class()
        if cls is None:
            raise RuntimeError("RemoteCacheManager needs a place: set ANYTILE_CACHE_URL or TRITON_REMOTE_CACHE_BACKEND=module:Class")
        self._local = FileCacheManager(key, override, dump)
        self._backend = None if override or dump else cls(key)

    def _fetch(self, filenames: list[str]) -> None:
        """Bring those of ``filenames`` that only the shared cache has into the local directory."""
        missing = [n for n in filenames if not self._local.has_file(n)]
        if self._backend is not None and missing:
            backend = self._backend
            for name, data in _guarded(lambda: backend.get(missing)).items():
                self._local.put(data, name)

    def has_file(self, filename: str) -> bool:
        self._fetch([filename])
        return self._local.has_file(filename)

    def get_file(self, filename: str) -> str | None:
        self._fetch([filename])
        return self._local.get_file(filename)

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        raw = bytes(data) if isinstance(data, (bytes, bytearray)) else str(data).encode()
        if self._backend is not None:
            backend = self._backend
            _guarded(lambda: backend.put(filename, raw))
        return self._local.put(raw, filename)

    def get_group(self, filename: str) -> dict[str, str] | None:
        """The group by the names of its files: paths of other machines mean nothing here."""
        import json

        declared = self.get_file(f"__grp__{filename}")
        if declared is None:
            return None
        with open(declared) as f:
            names = json.load(f)["child_names"]
        self._fetch(names)
        paths = {n: self._local.get_file(n) for n in names}
        return None if None in paths.values() else paths  # type: ignore[return-value]

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        import json

        return self.put(json.dumps({"child_names": list(group)}), f"__grp__{filename}", binary=False)
