"""Fixtures: a driver of Python functions, in place of the machine's."""

from __future__ import annotations

import pytest
from fake_cuda import FakeCuda

from anytile.targets.nvidia import driver_api, launch


@pytest.fixture
def install(monkeypatch):
    """``install(FakeCuda(…))`` makes it this process's driver; torch, where loaded, is not asked for devices and streams."""

    def use(fake: FakeCuda) -> driver_api.Cuda:
        cuda = driver_api.Cuda(fake.library())
        monkeypatch.setattr(driver_api, "_outcome", lambda: cuda)
        monkeypatch.setattr(launch, "_torch", lambda: None)
        return cuda

    return use
