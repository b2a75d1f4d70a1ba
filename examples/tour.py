"""A tour: fused softmax, matrix multiplication and causal attention, on NumPy arrays.

    anytile run examples/tour.py            about half a minute on two cores
    anytile run examples/tour.py --quick    small sizes, for slow machines

Every kernel is ordinary Triton.  Each is checked against NumPy, timed, and set beside NumPy and, where it is installed, torch:
"2.0x" means that the kernel takes half of the other's time.
"""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x_ptr, out_ptr, row_stride, n_cols, BLOCK: tl.constexpr):
    """One program a row; the row stays in registers or cache between its three passes."""
    row = tl.program_id(0) * row_stride
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + row + cols, mask=mask, other=-float("inf"))
    numerator = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row + cols, numerator / tl.sum(numerator, axis=0), mask=mask)


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the rows of float32 [rows, columns]."""
    out = np.empty_like(x)
    rows, columns = x.shape
    softmax_kernel[(rows,)](x, out, columns, columns, BLOCK=triton.next_power_of_2(columns))
    return out


@triton.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """One program a BM x BN tile of C.  Programs go through C in groups of GROUP tile rows, so that they share tiles of B."""
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    group = pid // (GROUP * tiles_n)
    first_m = group * GROUP
    size_m = min(tiles_m - first_m, GROUP)
    tile_m = first_m + (pid % (GROUP * tiles_n)) % size_m
    tile_n = (pid % (GROUP * tiles_n)) // size_m

    rows = tile_m * BM + tl.arange(0, BM)
    cols = tile_n * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    a_ptrs = a_ptr + rows[:, None] * K + inner[None, :]
    b_ptrs = b_ptr + inner[:, None] * N + cols[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        a = tl.load(a_ptrs, mask=(rows[:, None] < M) & (inner[None, :] < K - k), other=0.0)
        b = tl.load(b_ptrs, mask=(inner[:, None] < K - k) & (cols[None, :] < N), other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
        a_ptrs += BK
        b_ptrs += BK * N
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float32 [M, K] @ [K, N], both contiguous."""
    (M, K), N = a.shape, b.shape[1]
    c = np.empty((M, N), np.float32)
    BM, BN, BK = 64, 128, 64
    matmul_kernel[(triton.cdiv(M, BM) * triton.cdiv(N, BN),)](a, b, c, M, N, K, BM=BM, BN=BN, BK=BK, GROUP=8)
    return c


@triton.jit
def attention_kernel(q_ptr, k_ptr, v_ptr, out_ptr, scale, T, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Flash attention: one program BM queries of one head; keys and values pass by in blocks of BN, softmax is kept running."""
    start = tl.program_id(0) * BM
    head = tl.program_id(1) * T * D
    queries = start + tl.arange(0, BM)
    dims = tl.arange(0, D)
    q = tl.load(q_ptr + head + queries[:, None] * D + dims[None, :], mask=queries[:, None] < T, other=0.0)
    # exp(x) as exp2(x / ln 2): one multiplication less per score.
    q = q * (scale * 1.4426950408889634)
    top = tl.full((BM,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    for begin in range(0, start + BM, BN):
        keys = begin + tl.arange(0, BN)
        inside = keys < T
        k = tl.load(k_ptr + head + keys[None, :] * D + dims[:, None], mask=inside[None, :], other=0.0)
        scores = tl.dot(q, k, input_precision="ieee")
        scores = tl.where((keys[None, :] <= queries[:, None]) & inside[None, :], scores, -float("inf"))
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_top[:, None])
        shrink = tl.exp2(top - new_top)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + head + keys[:, None] * D + dims[None, :], mask=inside[:, None], other=0.0)
        acc = tl.dot(weights, v, acc * shrink[:, None], input_precision="ieee")
        top = new_top
    tl.store(out_ptr + head + queries[:, None] * D + dims[None, :], acc / total[:, None], mask=queries[:, None] < T)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention of float32 [heads, T, D], contiguous; D a power of two."""
    heads, T, D = q.shape
    out = np.empty_like(q)
    attention_kernel[(triton.cdiv(T, 64), heads)](q, k, v, out, 1 / math.sqrt(D), T, D=D, BM=64, BN=64)
    return out


def numpy_softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def numpy_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    scores = q @ k.transpose(0, 2, 1) * np.float32(1 / math.sqrt(q.shape[2]))
    scores[:, ~np.tri(q.shape[1], dtype=bool)] = -np.inf
    return numpy_softmax(scores) @ v


def torch_versions() -> dict[str, Callable]:
    """The same three by torch, on its own tensors; empty where torch is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    return {
        "softmax": lambda x: torch.softmax(x, -1),
        "matmul": torch.matmul,
        "attention": lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
    }


def seconds(run: Callable, budget: float = 1.0) -> float:
    """Time of the fastest of the calls that fit in ``budget`` seconds (at least five): others were held up by something else."""
    times: list[float] = []
    while len(times) < 5 or sum(times) < budget:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and short timing")
    quick = parser.parse_args().quick
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    # name, Triton version, NumPy version, arguments, floating-point operations, allowed difference
    n, heads, length = (128, 2, 192) if quick else (1024, 8, 1024)
    jobs = [
        ("softmax", softmax, numpy_softmax, (normal(4 * n, n - 24),), 0, 1e-6),
        ("matmul", matmul, np.matmul, (normal(n, n), normal(n, n)), 2 * n**3, 1e-3),
        ("attention", attention, numpy_attention, tuple(normal(heads, length, 64) for _ in range(3)), 2 * heads * length**2 * 64, 1e-4),
    ]
    by_torch = torch_versions()
    target = triton.runtime.driver.active.get_current_target()
    print(f"triton {triton.__version__} ({triton.__file__}), target {target.backend}")
    print(
        f"{'kernel':10} {'shape':24} {'largest error':>13} {'first call':>11} {'time':>10} {'':>13} {'vs numpy':>9}"
        + (f" {'vs torch':>9}" if by_torch else "")
    )
    budget = 0.2 if quick else 1.0
    for name, ours, reference, args, flops, tolerance in jobs:
        begin = time.perf_counter()
        result = ours(*args)
        first = time.perf_counter() - begin
        error = float(np.abs(result - reference(*args)).max())
        assert error <= tolerance, f"{name}: differs from NumPy by {error:.2e}, more than {tolerance:.0e}"
        elapsed = seconds(lambda: ours(*args), budget)  # noqa: B023 - called at once
        row = f"{name:10} {' '.join('x'.join(map(str, a.shape)) for a in args[:2]):24} {error:13.1e} {first * 1e3:8.0f} ms {elapsed * 1e3:7.2f} ms"
        row += f" {flops / elapsed / 1e9:5.0f} GFLOP/s" if flops else f" {2 * args[0].nbytes / elapsed / 1e9:8.1f} GB/s"
        row += f" {seconds(lambda: reference(*args), budget) / elapsed:8.2f}x"  # noqa: B023
        if name in by_torch:
            import torch

            tensors = [torch.from_numpy(a) for a in args]
            row += f" {seconds(lambda: by_torch[name](*tensors), budget) / elapsed:8.2f}x"  # noqa: B023
        print(row, flush=True)
    print("all results agree with NumPy")


if __name__ == "__main__":
    main()
