"""A hundred kinds of damage to the files of the cache: each costs a compilation and at most a warning, never an error."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from child import THOROUGH, run

import anytile.language as tl
from anytile.runtime import cache, knobs
from anytile.runtime.jit import jit

KEY = "ab" * 32


@jit
def triple(x, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i, mask=i < n) * 3, mask=i < n)


def launch():
    x, o = np.arange(50, dtype=np.float32), np.zeros(50, np.float32)
    triple.device_caches.clear()
    triple[(4,)](x, o, 50, B=16)
    assert (o == x * 3).all()


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The file of `triple`'s kernel in a cache of its own."""
    with knobs.cache.scope():
        knobs.cache.dir = str(tmp_path / "cache")
        monkeypatch.setattr(cache, "_warned", set())
        launch()
        (file,) = (tmp_path / "cache").rglob("*.kernel")
        yield file
        triple.device_caches.clear()


def boundaries(data):
    """Offsets at which one field ends and the next begins."""
    header = len(b"anytile\x01")
    index = header + 8 + 16 + 8
    length = int.from_bytes(data[index - 8 : index], "little")
    artifact = cache.unpack(_key(data), data)
    out = [0, header, header + 8, header + 24, index, index + length]
    for blob in artifact.stages.values():
        out.append(out[-1] + len(blob.encode() if isinstance(blob, str) else blob))
    return out


def _key(data):
    import json

    length = int.from_bytes(data[32:40], "little")
    return json.loads(data[40 : 40 + length])["key"]


def damages(data):
    """(name, contents): every truncation at and around a field's end, bit flips everywhere, foreign contents."""
    for at in sorted({max(0, min(len(data) - 1, b + d)) for b in boundaries(data) for d in (-1, 0, 1)}):
        yield f"cut at {at}", data[:at]
    flips = range(0, len(data), max(1, len(data) // (400 if THOROUGH else 48)))
    for at in [*range(0, 40, 3), *flips]:
        yield f"bit {at % 8} of byte {at}", data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
    for at in boundaries(data)[1:-1]:
        yield f"zeros from {at}", data[:at] + bytes(len(data) - at)
        yield f"a hole at {at}", data[:at] + bytes(8) + data[at + 8 :]
        yield f"a byte too many at {at}", data[:at] + b"\0" + data[at:]
    yield "appended text", data + b"more"
    yield "twice", data * 2
    yield "another version", data.replace(b"anytile\x01", b"anytile\x02", 1)
    yield "another kernel", cache.pack(KEY, cache.unpack(_key(data), data))
    yield "text", b"not a kernel at all\n" * 100
    yield "JSON", b'{"key": null}'
    yield "pickle", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00."
    yield "ELF", b"\x7fELF" + os.urandom(2000)
    yield "noise", os.urandom(len(data))


def test_damaged_contents(cached):
    data = cached.read_bytes()
    kinds = dict(damages(data))
    assert len(kinds) >= 100
    for name, contents in kinds.items():
        cached.write_bytes(contents)
        cache._warned.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            launch()
        assert [w.category for w in caught] == [cache.CacheWarning], name
        assert "damaged" in str(caught[0].message), name
        assert len(cached.read_bytes()) == len(data), f"{name}: the file was not replaced"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        launch()


def _directory(file):
    file.unlink()
    file.mkdir()


def _full_directory(file):
    _directory(file)
    (file / "x").write_text("x")


def _dangling_link(file):
    file.unlink()
    file.symlink_to(file.parent / "absent")


def _circular_link(file):
    file.unlink()
    file.symlink_to(file)


def _folder_is_a_file(file):
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")


def _folder_is_gone(file):
    file.unlink()
    file.parent.rmdir()


def _cache_is_gone(file):
    import shutil

    shutil.rmtree(file.parent.parent)


def _cache_is_a_file(file):
    _cache_is_gone(file)
    file.parent.parent.write_text("in the way")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("put", [_directory, _full_directory, _dangling_link, _circular_link, _folder_is_a_file,
                                 _folder_is_gone, _cache_is_gone, _cache_is_a_file])  # fmt: skip
def test_something_else_in_the_files_place(cached, put):
    put(cached)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        launch()
        launch()
    assert all(w.category is cache.CacheWarning for w in caught) and len(caught) <= 2


def test_damage_to_what_the_compiler_keeps(tmp_path):
    """The facts about the machine and the thread pool, which a process reads before anything else."""
    run(tmp_path, "check_add()")
    files = sorted((tmp_path / "cache").rglob("*.kept"))
    assert files
    for spoil in (lambda f: f.write_bytes(b""), lambda f: f.write_bytes(f.read_bytes()[:-1]), lambda f: f.write_bytes(b"\0" * 5000)):
        for file in files:
            spoil(file)
        run(tmp_path, "import warnings; warnings.simplefilter('ignore'); check_add()")
    assert run(tmp_path, "check_add(); print('llvmlite.binding' in sys.modules)", PYTHONWARNINGS="error") == "False\n"


# --- rights ------------------------------------------------------------------------------------------------------

# Root may read and write whatever the modes say, so the rights are given up first.  What this user cannot read any more
# (an interpreter under /root) is imported before that, by compiling into another cache.
AS_NOBODY = """
os.environ["ANYTILE_CACHE_DIR"], cache = {other!r}, os.environ["ANYTILE_CACHE_DIR"]
check_all(); check_long(3)
for kernel in (add, softmax, long): kernel.device_caches.clear()
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["ANYTILE_CACHE_DIR"] = cache
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    check_add(); check_softmax(); check_long(5)
print(len([w for w in caught if w.category.__name__ == "CacheWarning"]), len(caught))
"""


@pytest.fixture
def outside():
    """A folder beside pytest's own, which each session that starts closes to others again."""
    with tempfile.TemporaryDirectory(prefix="anytile-rights-") as folder:
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX rights")
@pytest.mark.parametrize(
    ("name", "folder_mode", "file_mode", "warned"),
    [("read-only", 0o555, 0o444, 1), ("closed", 0o000, 0o000, 2), ("unlisted", 0o311, 0o444, 1), ("unreadable files", 0o755, 0o000, 2)],
)
def test_rights(outside, name, folder_mode, file_mode, warned):
    tmp_path = outside
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents[:3]:
        if parent != Path(parent.anchor) and os.stat(parent).st_uid == os.getuid():
            os.chmod(parent, os.stat(parent).st_mode | 0o055)
    (tmp_path / "other").mkdir()
    run(tmp_path, "check_add()")  # fills the cache: add is found where it can be read
    root = tmp_path / "cache"
    paths = [root, *root.rglob("*")]
    try:
        for path in reversed(paths):
            os.chmod(path, folder_mode if path.is_dir() else file_mode)
        counts = run(tmp_path, AS_NOBODY.format(other=str(tmp_path / "other")))
        assert counts == f"{warned} {warned}\n", name
    finally:
        for path in paths:
            os.chmod(path, stat.S_IRWXU)
    run(tmp_path, "check_all()", PYTHONWARNINGS="error")
