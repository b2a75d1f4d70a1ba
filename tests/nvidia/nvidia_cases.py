"""The cases and kernels of scripts/gpu_kernels_check.py, for tests that compile them."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from anytile.compat.hook import FINDER

__all__ = ["sources"]

_SCRIPTS = Path(__file__).parents[2] / "scripts"


@lru_cache(maxsize=1)
def sources() -> tuple[ModuleType, ModuleType]:
    """(gpu_kernels_cases, gpu_kernels_sources); the latter imports triton, which is anytile meanwhile."""
    added = FINDER not in sys.meta_path
    if added:
        sys.meta_path.insert(0, FINDER)
    sys.path.insert(0, str(_SCRIPTS))
    try:
        import gpu_kernels_cases
        import gpu_kernels_sources
    finally:
        sys.path.remove(str(_SCRIPTS))
        if added:
            sys.meta_path.remove(FINDER)
    return gpu_kernels_cases, gpu_kernels_sources
