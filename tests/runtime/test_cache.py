"""The compile cache under damage, refusal, many processes and a size limit."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from anytile.runtime import cache, knobs
from anytile.targets.base import Artifact

ARTIFACT = Artifact({"tile": "text", "obj": bytes(range(256)) * 8}, {"name": "k", "scratch": 0})
KEY = "ab" * 32


def fresh_warnings(monkeypatch):
    monkeypatch.setattr(cache, "_warned", set())


def test_round_trip():
    assert cache.load(KEY) is None
    cache.store(KEY, ARTIFACT)
    assert cache.load(KEY) == ARTIFACT
    assert cache.info().kernels == 1
    assert cache.clear() == 1 and cache.load(KEY) is None


def damages():
    whole = cache.pack(KEY, ARTIFACT)
    yield b""
    yield from (whole[:n] for n in range(1, len(whole), 149))
    yield from (whole[:i] + bytes([whole[i] ^ 0x40]) + whole[i + 1 :] for i in range(0, len(whole), 61))
    yield whole + b"more"
    yield cache.pack("cd" * 32, ARTIFACT)
    yield os.urandom(500)


def test_damaged_files_cost_a_recompilation_and_one_warning(monkeypatch):
    fresh_warnings(monkeypatch)
    cache.store(KEY, ARTIFACT)
    path = Path(cache._path(KEY))
    cases = list(damages())
    assert len(cases) > 40
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in cases:
            path.write_bytes(data)
            assert cache.load(KEY) is None
    assert len(caught) == 1 and "damaged" in str(caught[0].message)
    cache.store(KEY, ARTIFACT)
    assert cache.load(KEY) == ARTIFACT


def test_unusable_directory(tmp_path, monkeypatch):
    fresh_warnings(monkeypatch)
    (tmp_path / "file").write_text("")
    knobs.cache.dir = str(tmp_path / "file")
    with pytest.warns(cache.CacheWarning, match="cannot be"):
        cache.store(KEY, ARTIFACT)
        assert cache.load(KEY) is None
    assert cache.info().kernels == 0 and cache.clear() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the variable is Linux's")
def test_a_tilde_in_the_environment_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    cache._user_directory.cache_clear()
    try:
        assert cache._user_directory() == "/home/somebody/caches/anytile"
    finally:
        cache._user_directory.cache_clear()


@pytest.mark.skipif(sys.platform == "win32", reason="users are numbers on POSIX systems")
def test_a_user_without_a_home_gets_no_folder_called_tilde(monkeypatch):
    import pwd

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "TRITON_HOME", "TRITON_CACHE_DIR", "ANYTILE_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    cache._user_directory.cache_clear()
    try:
        assert os.path.isabs(cache._user_directory()) and os.path.isabs(knobs.cache.dump_dir)
    finally:
        monkeypatch.undo()
        cache._user_directory.cache_clear()


def test_least_recently_used_go_first(tmp_path):
    keys = [f"{i:02x}" * 32 for i in range(10)]
    for i, key in enumerate(keys):
        cache.store(key, ARTIFACT)
        os.utime(cache._path(key), (1000 + i, 1000 + i))
    left = Path(cache._path(keys[0])).with_name(".new-abandoned")
    left.write_bytes(b"x")
    os.utime(left, (1, 1))
    size = len(cache.pack(KEY, ARTIFACT))
    cache.prune(cache.directory(), 8 * size)
    assert [os.path.exists(cache._path(k)) for k in keys] == [False] * 4 + [True] * 6
    assert not left.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_file_that_is_removed_meanwhile_hides_no_other(tmp_path):
    """As another process that prunes does."""
    folder = tmp_path / "aa"
    folder.mkdir()
    (folder / "gone.kernel").symlink_to(folder / "nowhere")  # listed, and not there when it is asked for its size
    for name in "xy":
        (folder / f"{name}.kernel").write_bytes(b"12345")
    assert sorted(size for _, size, _ in cache._files(str(tmp_path))) == [5, 5]


def test_many_processes_and_kills(own_cache):
    """Writers killed at any point leave a cache that every reader can use."""
    code = (
        "import sys; sys.path[:0] = []\n"
        "from anytile.runtime import cache\nfrom anytile.targets.base import Artifact\n"
        "a = Artifact({'obj': bytes(300000)}, {'name': 'k'})\n"
        "for i in range(400): cache.store(f'{i % 8:02x}' * 32, a)\n"
    )
    env = {**os.environ, "TRITON_CACHE_DIR": str(own_cache)}
    children = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(4)]
    for child in children[:2]:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.6)
        child.kill()
    assert [c.wait() for c in children[2:]] == [0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(len(cache.load(f"{i:02x}" * 32).stages["obj"]) == 300000 for i in range(8))


def test_file_cache_manager():
    manager = cache.get_cache_manager(KEY)
    assert manager.get_file("x.json") is None
    path = manager.put("{}", "x.json", binary=False)
    assert manager.get_file("x.json") == path
    manager.put_group("x", {"x.json": path})
    assert manager.get_group("x") == {"x.json": path}
