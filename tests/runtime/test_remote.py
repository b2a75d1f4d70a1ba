"""The compile cache that machines share: fsspec, Redis (a stand-in), a class of the user's, and what goes wrong."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime import cache, driver, knobs, remote
from anytile.runtime.autotuner import Config, autotune
from anytile.runtime.cache import CacheWarning, RemoteCacheBackend
from anytile.runtime.jit import jit

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", "cpu")
    monkeypatch.setattr(cache, "_warned", set())
    monkeypatch.setattr(remote, "_paused_until", 0.0)
    with knobs.redis.scope():
        yield


def double(x, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(x + i, tl.load(x + i) * 2)


@pytest.fixture
def compiled(monkeypatch):
    """Names of the kernels that the CPU target compiled."""
    target = driver.target_object(driver.driver.active.get_current_target())
    names, real = [], target.compile

    def compile(module, options):
        names.append(module.kernel.name)
        return real(module, options)

    monkeypatch.setattr(target, "compile", compile)
    return names


def another_machine(tmp_path, n=[0]):  # noqa: B006  counts the machines of this process
    n[0] += 1
    knobs.cache.dir = str(tmp_path / f"machine{n[0]}")


def run():
    x = np.ones(8, np.float32)
    jit(double)[(1,)](x, N=8)
    assert (x == 2).all()


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_kernels_come_from_the_shared_cache(scheme, tmp_path, compiled):
    pytest.importorskip("fsspec")
    knobs.cache.url = f"memory://kernels/{tmp_path.name}" if scheme == "memory" else f"file://{tmp_path}/shared"
    for expected in (1, 1, 1):
        another_machine(tmp_path)
        run()
        run()
        assert len(compiled) == expected
    assert cache.info().kernels == 1  # the local directory is the first level
    if scheme == "file":
        files = [p for p in (tmp_path / "shared").rglob("*") if p.is_file()]
        assert [p.name.endswith(".artifact.kernel") for p in files] == [True]
        files[0].write_bytes(b"damaged")
        another_machine(tmp_path)
        with pytest.warns(CacheWarning, match="damaged"):
            run()
        assert len(compiled) == 2 and files[0].stat().st_size > 1000


class Store(RemoteCacheBackend):
    """A dictionary, or out of reach."""

    files: dict[tuple[str, str], bytes] = {}
    broken = False
    calls = 0

    def _reach(self):
        Store.calls += 1
        if Store.broken:
            raise ConnectionError("no route to host")

    def get(self, filenames):
        self._reach()
        return {n: self.files[self.key, n] for n in filenames if (self.key, n) in self.files}

    def put(self, filename, data):
        self._reach()
        self.files[self.key, filename] = data


@pytest.fixture
def store(monkeypatch):
    Store.files, Store.broken, Store.calls = {}, False, 0
    knobs.cache.remote_manager_class = Store
    return Store


def test_a_class_of_the_users(store, tmp_path, compiled):
    for _ in range(2):
        another_machine(tmp_path)
        run()
    assert len(compiled) == 1 and len(store.files) == 1


def test_out_of_reach_is_one_warning(store, tmp_path, compiled):
    store.broken = True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            another_machine(tmp_path)
            run()
    assert [str(w.message) for w in caught if issubclass(w.category, CacheWarning)] == [
        "the shared compile cache cannot be used (ConnectionError: no route to host); kernels are compiled here"
    ]
    assert len(compiled) == 3 and store.calls == 1  # left alone for a while


def test_tuning_is_shared(store, tmp_path):
    benched = []

    def bench(call, quantiles):
        benched.append(1)
        return [1.0, 1.0, 1.0]

    for _ in range(2):
        another_machine(tmp_path)
        fn = autotune([Config({"N": 4}), Config({"N": 8})], key=[], do_bench=bench, cache_results=True)(jit(double))
        fn[(1,)](np.ones(8, np.float32))
    assert len(benched) == 2


def test_manager_of_files(store, tmp_path):
    another_machine(tmp_path)
    here = cache.get_cache_manager(KEY)
    assert isinstance(here, remote.RemoteCacheManager) and here.get_file("a.json") is None
    here.put_group("g", {"a.json": here.put("{}", "a.json", binary=False)})
    another_machine(tmp_path)
    there = cache.get_cache_manager(KEY)
    group = there.get_group("g")
    assert list(group) == ["a.json"] and open(group["a.json"]).read() == "{}" and "machine" in group["a.json"]
    assert there.has_file("a.json") and not there.has_file("b") and there.get_group("none") is None
    assert cache.get_dump_manager(KEY).__class__ is cache.FileCacheManager


def test_manager_needs_a_place():
    with pytest.raises(RuntimeError, match="ANYTILE_CACHE_URL"):
        remote.RemoteCacheManager(KEY)


def test_redis(monkeypatch):
    class Client:
        values = {}

        @staticmethod
        def from_url(url, **limits):
            Client.url = url
            return Client()

        def mget(self, names):
            return [self.values.get(n) for n in names]

        def set(self, name, value):
            self.values[name] = value

    module = ModuleType("redis")
    module.Redis = Client
    monkeypatch.setitem(sys.modules, "redis", module)
    remote._redis.cache_clear()
    knobs.cache.url = "redis://cache.example:6380/1"
    backend = remote.backend_class()(KEY)
    backend.put("f", b"1")
    assert backend.get(["f", "g"]) == {"f": b"1"} and Client.url == "redis://cache.example:6380/1"
    assert list(Client.values) == [f"triton:{KEY}:f"]
    knobs.cache.url = None
    knobs.redis.host = "other"
    remote.RedisRemoteCacheBackend(KEY)
    assert Client.url == "redis://other:6379"
    remote._redis.cache_clear()


@pytest.mark.parametrize(
    "package, url, told",
    [("fsspec.core", "memory://y", "pip install fsspec"), ("s3fs", "s3://bucket/x", "s3fs"), ("redis", "redis://z", "pip install redis")],
)
def test_missing_packages_are_told(monkeypatch, package, url, told):
    monkeypatch.setitem(sys.modules, package, None)
    remote._filesystem.cache_clear()
    remote._redis.cache_clear()
    knobs.cache.url = url
    with pytest.raises(remote.CachePackageError, match=told):
        run()
