"""Autotuning with help: who compiles the configurations.

    with anytile.tune.executor(client.get_executor()):     # Dask; likewise any concurrent.futures.Executor
        kernel[grid](...)

Without it, configurations that take long to compile are compiled by child processes on this machine, where it has cores free
(``ANYTILE_TUNE_WORKERS``: how many, 1 for none).  They are always measured here.
"""

from __future__ import annotations

from .runtime.tuning import executor
from .runtime.workers import WorkerPool

__all__ = ["WorkerPool", "executor"]
