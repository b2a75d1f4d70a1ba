"""`triton.ops.matmul_perf_model`, which Triton had up to 3.1: which configurations of a matmul are worth measuring.

Libraries hand both functions to `autotune(prune_configs_by=…)`: one leaves out what does not fit, the other orders the rest, so only
the order of its estimates matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runtime.driver import driver

__all__ = ["early_config_prune", "estimate_matmul_time"]

# Of a nominal machine, per multiprocessor or core: how fast it multiplies, and what it gets from memory.
_FLOPS_PER_MS = 1e9
_BYTES_PER_MS = 2e7


def _properties() -> Mapping[str, int]:
    active = driver.active
    return active.utils.get_device_properties(active.get_current_device())


def _tile_bytes(config: Mapping[str, Any], stages: int, element_size: int) -> int:
    """What a program keeps of both operands in fast memory."""
    return (config["BLOCK_M"] + config["BLOCK_N"]) * config["BLOCK_K"] * max(stages, 1) * element_size


def early_config_prune(configs: list[Any], named_args: Mapping[str, Any], **kwargs: Any) -> list[Any]:
    """The configurations whose tiles of ``A`` and ``B`` fit in a multiprocessor's shared memory (a core's cache).

    Where none fits, the one that needs the least.
    """
    size = named_args["A"].element_size()
    limit = _properties()["max_shared_mem"]
    need = {id(c): _tile_bytes({**named_args, **kwargs, **c.kwargs}, c.num_stages, size) for c in configs}
    return [c for c in configs if need[id(c)] <= limit] or sorted(configs, key=lambda c: need[id(c)])[:1]


def estimate_matmul_time(
    num_warps: int,
    num_stages: int,
    A: Any,
    B: Any,
    C: Any,
    M: int,
    N: int,
    K: int,
    BLOCK_M: int,
    BLOCK_N: int,
    BLOCK_K: int,
    SPLIT_K: int = 1,
    debug: bool = False,
    **kwargs: Any,
) -> float:
    """Milliseconds that C = A·B (M by N by K) takes on a nominal machine: the longer of computing and loading, and storing.

    Whole waves of programs count, so tiles that leave multiprocessors idle cost what they waste; with ``num_stages`` of 1 nothing
    is loaded while the machine computes.
    """
    size = A.element_size()
    processors = _properties()["multiprocessor_count"]
    programs = -(-M // BLOCK_M) * -(-N // BLOCK_N) * SPLIT_K
    waves = -(-programs // processors)
    depth = -(-K // (BLOCK_K * SPLIT_K)) * BLOCK_K
    # Few warps do not keep the multiplier busy; a small tile does not either.
    busy = min(1.0, num_warps / 4) * min(1.0, BLOCK_M * BLOCK_N / 4096)
    compute = waves * 2.0 * BLOCK_M * BLOCK_N * depth / (_FLOPS_PER_MS * busy)
    load = waves * (BLOCK_M + BLOCK_N) * depth * size / _BYTES_PER_MS
    store = waves * BLOCK_M * BLOCK_N * C.element_size() * SPLIT_K / _BYTES_PER_MS
    estimate = (compute + load if num_stages < 2 else max(compute, load)) + store
    if debug:
        print(f"{estimate:.4f} ms: compute {compute:.4f}, load {load:.4f}, store {store:.4f}; {programs} programs in {waves} waves")
    return estimate
