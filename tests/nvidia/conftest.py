"""Fixtures: a driver of Python functions, in place of the machine's; a compile cache for each test."""

from __future__ import annotations

import pytest
from fake_cuda import FakeCuda

from anytile.runtime import knobs
from anytile.targets.nvidia import driver_api, launch


@pytest.fixture(autouse=True)
def own_cache(tmp_path):
    with knobs.cache.scope(), knobs.runtime.scope():
        knobs.cache.dir = str(tmp_path / "cache")
        yield


@pytest.fixture
def install(monkeypatch):
    """``install(FakeCuda(…))`` makes it this process's driver; torch, where loaded, is not asked for devices and streams."""

    def use(fake: FakeCuda) -> driver_api.Cuda:
        cuda = driver_api.Cuda(fake.library())
        monkeypatch.setattr(driver_api, "_outcome", lambda: cuda)
        monkeypatch.setattr(launch, "_torch", lambda: None)
        return cuda

    return use
