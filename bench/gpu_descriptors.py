"""Matmuls by tensor descriptors on a GPU, whichever package serves `import triton`: right results, speed beside cuBLAS, compile time.

    anytile run bench/gpu_descriptors.py [--quick] > FILE.jsonl      with Triton: python bench/gpu_descriptors.py

A line for each case: ``kind`` (descriptors passed by the host, made in the kernel, made in a kernel whose programs go over many tiles, of three
dimensions, plain pointers), sizes, configuration (BM, BN, BK, stages, warps, whether B is transposed), relative error, seconds of the first launch,
TFLOP/s (median of 15 runs, level-2 cache flushed) with cuBLAS's in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time

os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp())

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.tools.tensor_descriptor import TensorDescriptor  # noqa: E402


@triton.jit
def place(tile, M, N, BM: tl.constexpr, BN: tl.constexpr):
    """The first row and column of a tile: eight rows of tiles at a time, so that neighbours share what they read."""
    columns = tl.cdiv(N, BN)
    group = tile // (8 * columns) * 8
    height = min(tl.cdiv(M, BM) - group, 8)
    return (group + tile % (8 * columns) % height) * BM, tile % (8 * columns) // height * BN


@triton.jit
def product(a, b, m, n, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, T: tl.constexpr):
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        y = b.load([n, k]).T if T else b.load([k, n])
        acc = tl.dot(a.load([m, k]), y, acc)
    return acc


@triton.jit
def passed(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, T: tl.constexpr):
    m, n = place(tl.program_id(0), M, N, BM, BN)
    c.store([m, n], product(a, b, m, n, K, BM, BN, BK, T).to(c.dtype))


@triton.jit
def made(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, T: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [BM, BK])
    b = tl.make_tensor_descriptor(b_ptr, [N, K], [K, 1], [BN, BK]) if T else tl.make_tensor_descriptor(b_ptr, [K, N], [N, 1], [BK, BN])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [BM, BN])
    for tile in range(tl.program_id(0), tl.cdiv(M, BM) * tl.cdiv(N, BN), tl.num_programs(0)):
        m, n = place(tile, M, N, BM, BN)
        c.store([m, n], product(a, b, m, n, K, BM, BN, BK, T).to(c.dtype))


@triton.jit
def batched(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    z = tl.program_id(1)
    m, n = place(tl.program_id(0), M, N, BM, BN)
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(a.load([z, m, k]).reshape(BM, BK), b.load([z, n, k]).reshape(BN, BK).T, acc)
    c.store([z, m, n], acc.to(c.dtype).reshape(1, BM, BN))


@triton.jit
def pointers(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, T: tl.constexpr):
    m, n = place(tl.program_id(0), M, N, BM, BN)
    rows, columns, inner = m + tl.arange(0, BM), n + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        x = tl.load(a_ptr + rows[:, None] * K + (k + inner)[None, :])
        y = tl.load(b_ptr + (columns[None, :] * K + (k + inner)[:, None] if T else (k + inner)[:, None] * N + columns[None, :]))
        acc = tl.dot(x, y, acc)
    tl.store(c_ptr + rows[:, None] * N + columns[None, :], acc.to(c_ptr.dtype.element_ty))


FLOAT8 = torch.float8_e4m3fn
WIDE, DEEP, SQUARE, TALL = (128, 256, 64, 3, 8), (128, 256, 64, 4, 8), (128, 128, 64, 4, 4), (256, 128, 64, 3, 8)


def median(call, flush, runs=15) -> float:
    """Milliseconds."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    time.sleep(0.15)  # the clock recovers
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    for start, end in events:
        flush.zero_()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) for start, end in events)[runs // 2]


def launch(kind, a, b, c, sizes, config, turned):
    """A function that launches the kernel of this kind."""
    M, N, K = sizes
    BM, BN, BK, stages, warps = config
    tiles = triton.cdiv(M, BM) * triton.cdiv(N, BN)
    options = {"num_stages": stages, "num_warps": warps}
    describe = TensorDescriptor.from_tensor
    if kind == "batched":
        described = describe(a, [1, BM, BK]), describe(b, [1, BN, BK]), describe(c, [1, BM, BN])
        return lambda: batched[(tiles, a.shape[0])](*described, M, N, K, BM, BN, BK, **options)
    if kind == "passed":
        described = describe(a, [BM, BK]), describe(b, [BN, BK] if turned else [BK, BN]), describe(c, [BM, BN])
        return lambda: passed[(tiles,)](*described, M, N, K, BM, BN, BK, turned, **options)
    kernel = pointers if kind == "pointers" else made
    programs = torch.cuda.get_device_properties(0).multi_processor_count if kind == "many tiles" else tiles
    return lambda: kernel[(programs,)](a, b, c, M, N, K, BM, BN, BK, turned, **options)


def case(kind, sizes, dtype, config, turned, flush, time_it):
    M, N, K = sizes
    batch = (5,) if kind == "batched" else ()
    line = {
        "package": "anytile" if "anytile" in sys.modules else "triton",
        "kind": kind,
        "sizes": sizes,
        "dtype": str(dtype)[6:],
        "config": [*config, turned],
    }
    try:
        a = torch.randn(*batch, M, K, device="cuda").to(dtype)
        b = torch.randn(*batch, *((N, K) if turned else (K, N)), device="cuda").to(dtype)
        c = torch.zeros(*batch, M, N, device="cuda", dtype=torch.float32 if dtype is FLOAT8 else dtype)
        want = a.float() @ (b.float().mT if turned else b.float())
        call = launch(kind, a, b, c, sizes, config, turned)
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        line["first_s"] = round(time.perf_counter() - start, 3)
        line["error"] = f"{((c.float() - want).norm() / want.norm()).item():.2e}"
        if time_it:
            line["TFLOPs"] = round(2 * M * N * K * c.numel() / (M * N) / median(call, flush) / 1e9, 1)
            if dtype is not FLOAT8:
                other = b.mT if turned else b
                line["cublas_TFLOPs"] = round(2 * M * N * K * c.numel() / (M * N) / median(lambda: a @ other, flush) / 1e9, 1)
    except Exception as error:
        line["failed"] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps(line), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="small sizes for right results only, as for a sanitizer")
    quick = options.parse_args().quick
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    triton.set_allocator(lambda size, alignment, stream: torch.empty(size, device="cuda", dtype=torch.int8))
    flush = torch.empty(256 * 2**20 // 4, dtype=torch.int, device="cuda")
    half, brain = torch.float16, torch.bfloat16
    for kind in ("passed", "made", "many tiles"):
        for turned in (False, True):
            case(kind, (200, 304, 136), half, (64, 64, 32, 3, 4), turned, flush, False)  # beyond the edges; rows of 64 bytes
            case(kind, (200, 304, 136), half, (32, 32, 16, 3, 4), turned, flush, False)  # mma.sync; rows of 32 bytes
            case(kind, (200, 304, 136), brain, (64, 128, 128, 2, 4), turned, flush, False)  # several panels along k
            case(kind, (256, 256, 128), torch.float32, (64, 64, 32, 3, 4), turned, flush, False)  # tf32
        case(kind, (256, 256, 256), FLOAT8, (128, 128, 128, 3, 4), True, flush, False)
    case("batched", (200, 304, 136), half, (64, 64, 32, 3, 4), True, flush, False)
    if quick:
        return
    for size in (4096, 8192):
        for config in (WIDE, DEEP, SQUARE, TALL):
            for kind in ("pointers", "passed", "made", "many tiles"):
                case(kind, (size, size, size), brain, config, kind != "pointers", flush, True)
    case("batched", (2048, 2048, 1024), half, WIDE, True, flush, True)
    case("made", (4096, 4096, 4096), FLOAT8, (128, 256, 128, 3, 8), True, flush, True)


if __name__ == "__main__":
    main()
