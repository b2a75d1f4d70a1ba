"""Package indexes by the simple API: which files there are, what their metadata says. No wheel is downloaded as a whole.

A wheel's metadata comes from the file beside it where the index has one, else out of the wheel itself: a zip archive ends with its
directory, so two requests for ranges of bytes are enough, whatever the size of the wheel.
"""

from __future__ import annotations

import email
import html
import io
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from functools import cached_property

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from .errors import NetworkError
from .request import Platform, Target

__all__ = ["PYPI", "PYTORCH", "File", "Index", "Mirrors", "RemoteWheel", "pytorch_index"]

PYPI = "https://pypi.org/simple"
PYTORCH = "https://download.pytorch.org/whl"
_SECONDS = 30
_BLOCK = 1 << 18  # bytes asked for at a time: a directory of a large wheel is about this long


def pytorch_index(build: str) -> str:
    """The index of torch's wheels of one build: "cu124", "cpu"."""
    return f"{PYTORCH}/{build}"


class Mirrors:
    """Addresses as files name them, and the servers that are asked instead. What comes back is named by the address in files again."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)

    def ask(self, url: str) -> str:
        """Where to send a request for ``url``."""
        return next((there + url[len(here) :] for here, there in self.pairs if url.startswith(here)), url)

    def name(self, url: str) -> str:
        """What an address that a server gave is called in files."""
        return next((here + url[len(there) :] for here, there in self.pairs if url.startswith(there)), url)


@dataclass(frozen=True)
class File:
    """A wheel of an index; source archives are left out."""

    name: str  # the file's
    url: str  # as files name it
    sha256: str | None
    metadata: bool  # whether its metadata lies beside it
    yanked: bool = False

    @cached_property
    def _parsed(self) -> tuple[str, Version, frozenset[str]]:
        name, version, _, tags = parse_wheel_filename(self.name)
        return name, version, frozenset(str(t) for t in tags)

    @property
    def version(self) -> Version:
        """Of the package."""
        return self._parsed[1]

    @property
    def tags(self) -> frozenset[str]:
        """Such as "cp311-cp311-win_amd64"."""
        return self._parsed[2]

    def fits(self, target: Target) -> bool:
        """Whether it installs there: any CPython tag of that minor, or of the stable ABI not newer."""
        return any(_fits(tag, target.platform, int(target.python.split(".")[1])) for tag in self.tags)


def _fits(tag: str, platform: Platform, minor: int) -> bool:
    python, abi, system = tag.split("-", 2)
    if system != "any" and not re.search(platform.tag, system):
        return False
    number = re.fullmatch(r"cp3(\d+)", python)
    if number:
        return int(number[1]) == minor or (int(number[1]) < minor and abi in ("abi3", "none"))
    return python.startswith("py3")


class Index:
    """One index. Raises `NetworkError` where it does not answer."""

    def __init__(self, url: str, mirrors: Mirrors | None = None) -> None:
        self.url = url.rstrip("/")
        self.mirrors = mirrors or Mirrors()
        self._files: dict[str, tuple[File, ...]] = {}

    def files(self, package: str) -> tuple[File, ...]:
        """The wheels of a package; empty where the index does not know it."""
        name = canonicalize_name(package)
        if name not in self._files:
            self._files[name] = self._read(name)
        return self._files[name]

    def _read(self, name: str) -> tuple[File, ...]:
        page = f"{self.url}/{name}/"
        accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
        try:
            body, kind, final = _get(self.mirrors.ask(page), {"Accept": accept})
        except _Absent:
            return ()
        rows: list[tuple[str, str, str | None, bool, bool]] = []
        if "json" in kind:
            for f in json.loads(body)["files"]:
                beside = f.get("core-metadata", f.get("dist-info-metadata", False))
                rows.append((f["filename"], f["url"], f.get("hashes", {}).get("sha256"), bool(beside), bool(f.get("yanked"))))
        else:
            for m in re.finditer(r"<a\s([^>]*)>([^<]*)</a>", body.decode("utf-8", "replace"), re.S):
                attributes = {k.lower(): html.unescape(v) for k, v in re.findall(r"([\w-]+)=[\"']([^\"']*)[\"']", m[1])}
                address, _, fragment = attributes.get("href", "").partition("#")
                digest = fragment[7:] if fragment.startswith("sha256=") else None
                beside = "data-core-metadata" in attributes or "data-dist-info-metadata" in attributes
                rows.append((html.unescape(m[2]).strip(), address, digest, beside, "data-yanked" in attributes))
        files = []
        for filename, address, digest, beside, yanked in rows:
            file = File(filename, self.mirrors.name(urllib.parse.urljoin(final, address)), digest, beside, yanked)
            try:
                if filename.endswith(".whl") and file.version:
                    files.append(file)
            except InvalidWheelFilename:
                continue  # names of the early days, which no installer takes either
        return tuple(files)

    def metadata(self, file: File) -> Message:
        """The METADATA of a wheel."""
        if file.metadata:
            body, _, _ = _get(self.mirrors.ask(file.url + ".metadata"), {})
            return email.message_from_bytes(body)
        wheel = RemoteWheel(self.mirrors.ask(file.url))
        name = next(n for n in wheel.names if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
        return email.message_from_bytes(wheel.read(name))

    def open(self, file: File) -> RemoteWheel:
        """The wheel itself, to be read in parts."""
        return RemoteWheel(self.mirrors.ask(file.url))


class RemoteWheel:
    """A wheel on a server that answers requests for ranges of bytes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._zip = zipfile.ZipFile(io.BufferedReader(_Ranges(url), _BLOCK))
        self.names = self._zip.namelist()

    def read(self, name: str) -> bytes:
        """One file of it."""
        return self._zip.read(name)

    def size(self, name: str) -> int:
        """Bytes of one file of it."""
        return self._zip.getinfo(name).file_size

    def beginning(self, name: str, count: int) -> bytes:
        """The first ``count`` bytes of a file, without fetching the rest."""
        with self._zip.open(name) as f:
            return f.read(count)


class _Absent(Exception):
    """The server has no such page."""


def _get(url: str, headers: dict[str, str]) -> tuple[bytes, str, str]:
    """(body, content type, final address)."""
    request = urllib.request.Request(url, headers={"User-Agent": "anytile-lock", **headers})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return answer.read(), answer.headers.get("Content-Type", ""), answer.geturl()
    except urllib.error.HTTPError as e:
        if e.code in (403, 404):  # a store of files answers 403 for what it does not have
            raise _Absent from e
        raise NetworkError(url, f"the server answered {e.code} {e.reason}") from e
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as e:
        raise NetworkError(url, str(getattr(e, "reason", e))) from e


class _Ranges(io.RawIOBase):
    """A file on a server, read by blocks that are kept."""

    def __init__(self, url: str) -> None:
        self._url, self._at = url, 0
        self._blocks: dict[int, bytes] = {}
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "anytile-lock", "Accept-Encoding": "identity"})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                self._length = int(answer.headers["Content-Length"])
        except (urllib.error.URLError, TimeoutError, OSError, TypeError) as e:
            raise NetworkError(url, str(getattr(e, "reason", e))) from e

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._at >= self._length or not len(view):
            return 0
        number, inside = divmod(self._at, _BLOCK)
        if number not in self._blocks:
            start = number * _BLOCK
            body, _, _ = _get(self._url, {"Range": f"bytes={start}-{min(start + _BLOCK, self._length) - 1}"})
            if len(body) > _BLOCK:  # the server sent the whole file
                raise NetworkError(self._url, "the server does not answer requests for a part of a file")
            self._blocks[number] = body
        part = self._blocks[number][inside : inside + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)
