"""What a launch of an empty kernel with four tensors and three integers costs the host, whichever package answers `import triton`.

    anytile run bench/launch.py [--device cpu|cuda]                              launches that recur are native
    ANYTILE_NATIVE_LAUNCH=0 anytile run bench/launch.py                          all of them by Python
    python bench/launch.py                                                       upstream's Triton

Prints one JSON line: microseconds a launch for several forms of the call, over batches of 100 launches that follow each other, the GPU being
idle at the beginning of each: the least, the lower quartile and the median of the batches.  Other programs on the machine show in the
difference between them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import torch
import triton
import triton.language as tl

BATCH = 100


@triton.jit
def empty(a, b, c, d, n, m, k, BLOCK: tl.constexpr):
    pass


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    options.add_argument("--batches", type=int, default=150)
    given = options.parse_args()
    wait: Callable[[], None] = torch.cuda.synchronize if given.device == "cuda" else lambda: None
    tensors = a, b, c, d = [torch.empty(16, device=given.device) for _ in range(4)]
    turn = [0]

    def two_kernels() -> None:
        turn[0] ^= 1
        empty[(1,)](a, b, c, d, 3 if turn[0] else 32, 16, 5, BLOCK=64)

    forms: dict[str, Callable[[], object]] = {
        "kernel[(1,)](a, b, c, d, 3, 16, 5, BLOCK=64)": lambda: empty[(1,)](a, b, c, d, 3, 16, 5, BLOCK=64),
        "kernel[(1,)](*tensors, 3, 16, 5, BLOCK=64)": lambda: empty[(1,)](*tensors, 3, 16, 5, BLOCK=64),
        "kernel[lambda meta: …](…)": lambda: empty[lambda meta: (triton.cdiv(64, meta["BLOCK"]),)](a, b, c, d, 3, 16, 5, BLOCK=64),
        "kernel[(1,)](…, num_warps=8)": lambda: empty[(1,)](a, b, c, d, 3, 16, 5, BLOCK=64, num_warps=8),
        "two kernels in turns": two_kernels,
    }
    for call in forms.values():
        for _ in range(50):
            call()
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(given.batches):
        for name, call in forms.items():
            wait()
            start = time.perf_counter()
            for _ in range(BATCH):
                call()
            times[name].append((time.perf_counter() - start) / BATCH * 1e6)
    wait()
    found = {}
    for name, several in times.items():
        quarter = statistics.quantiles(several, n=4)[0]
        found[name] = {"min": round(min(several), 2), "quarter": round(quarter, 2), "median": round(statistics.median(several), 2)}
    by = "anytile" if "anytile" in str(triton.__file__) else f"triton {triton.__version__}"
    if by == "anytile" and os.environ.get("ANYTILE_NATIVE_LAUNCH") == "0":
        by = "anytile, by Python"
    device = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps({"by": by, "torch": torch.__version__, "device": device, "load": load, "µs": found}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
