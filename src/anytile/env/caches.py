"""The folders in which compiled kernels and downloaded packages are kept."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from .facts import Cache
from .pe import read_pe

__all__ = ["cache_places", "find_caches", "home_folder"]

_ENTRIES = 20_000  # files looked at in one cache; sizes beyond are not told
_DOWNLOADS = 2_000  # of a cache of downloads only the size matters, and that not much
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "fuse.sshfs"}


def home_folder() -> Path:
    """The user's home; the root folder for a user without one, such as a number that a container was started with."""
    home = Path(os.path.expanduser("~"))
    return home if home.is_absolute() else Path(home.absolute().anchor)


def cache_places() -> list[tuple[str, Path]]:
    """(kind, folder) of every cache that this user would use, whether it is there or not."""
    home = home_folder()
    try:
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (OSError, KeyError, ImportError):
        user = "user"
    local = (
        Path(os.environ["LOCALAPPDATA"])
        if "LOCALAPPDATA" in os.environ
        else home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    )
    return [
        ("triton", Path(os.environ.get("TRITON_CACHE_DIR") or home / ".triton" / "cache")),
        ("inductor", Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or Path(tempfile.gettempdir()) / f"torchinductor_{user}")),
        ("pip", Path(os.environ.get("PIP_CACHE_DIR") or local / "pip")),
        ("uv", Path(os.environ.get("UV_CACHE_DIR") or local / "uv")),
        ("poetry", Path(os.environ.get("POETRY_CACHE_DIR") or local / "pypoetry")),
    ]


def _on_network(path: Path) -> bool:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(errors="replace").splitlines()]
    except (OSError, IndexError):
        return False
    holding = [(m, kind) for m, kind in mounts if str(path.resolve()).startswith(m.rstrip("/") + "/")]
    return bool(holding) and max(holding, key=lambda x: len(x[0]))[1] in _NETWORK


def _look(kind: str, path: Path, minor: str | None) -> Cache:
    size, count, longest = 0, 0, 0
    corrupt: list[str] = []
    stale: list[str] = []
    tag = (minor or "").replace(".", "")
    entries = _ENTRIES if kind in ("triton", "inductor") else _DOWNLOADS
    for folder, _, files in os.walk(path):
        for name in files:
            file = os.path.join(folder, name)
            count += 1
            if count > entries:
                break
            try:
                length = os.path.getsize(file)
            except OSError:
                continue
            size += length
            longest = max(longest, len(file))
            if kind not in ("triton", "inductor"):
                continue
            if length == 0 and name.endswith((".so", ".pyd", ".json", ".cubin", ".ptx")):
                corrupt.append(file)
            elif kind == "triton" and name.endswith(".json") and length < 65536:
                try:
                    json.loads(Path(file).read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    corrupt.append(file)
            elif tag and name.endswith(".pyd") and (pe := read_pe(Path(file))) is not None:
                linked = next((m[1] for i in pe.imports if (m := re.fullmatch(r"python(3\d+)\.dll", i.lower()))), tag)
                if linked != tag:
                    stale.append(file)
            elif tag and (m := re.search(r"\.cpython-(3\d+)[\w-]*\.so$", name)) and m[1] != tag:
                stale.append(file)
        if count > entries:
            break
    writable = os.access(path, os.W_OK)
    return Cache(kind, str(path), size if count <= entries else None, writable, _on_network(path), tuple(corrupt), tuple(stale), longest)


def find_caches(minor: str | None) -> tuple[Cache, ...]:
    """Those that exist. ``minor`` is the running Python's: what was compiled for another is stale."""
    return tuple(_look(kind, path, minor) for kind, path in cache_places() if path.is_dir())
