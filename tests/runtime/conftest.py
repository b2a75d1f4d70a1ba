"""Each test of the runtime has a compile cache of its own."""

from __future__ import annotations

import pytest

from anytile.runtime import knobs


@pytest.fixture(autouse=True)
def own_cache(tmp_path):
    with knobs.cache.scope(), knobs.runtime.scope():
        knobs.cache.dir = str(tmp_path / "cache")
        yield tmp_path / "cache"
