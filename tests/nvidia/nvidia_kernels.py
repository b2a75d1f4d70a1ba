"""Kernels of the tests for NVIDIA."""

from __future__ import annotations

import anytile.language as tl
from anytile.runtime.jit import jit


@jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)


@jit
def scale(x_ptr, factor, n: tl.constexpr):
    offsets = tl.arange(0, n)
    tl.store(x_ptr + offsets, tl.load(x_ptr + offsets) * factor)


@jit
def nothing(n):
    pass


@jit
def product(
    x_ptr, y_ptr, out_ptr, steps, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr, OUT: tl.constexpr,
    TURN_X: tl.constexpr, TURN_Y: tl.constexpr, IMPRECISE: tl.constexpr,
):  # fmt: skip
    """One tile of x·y over ``steps`` runs of K; TURN_X, TURN_Y: x is contiguous along M, y along K."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc = tl.zeros((M, N), OUT)
    for i in range(0, steps):
        kk = i * K + k
        x = tl.load(x_ptr + (m[:, None] + kk[None, :] * M if TURN_X else m[:, None] * (K * 16) + kk[None, :]))
        y = tl.load(y_ptr + (kk[:, None] + n[None, :] * (K * 16) if TURN_Y else kk[:, None] * N + n[None, :]))
        acc = tl.dot(x, y, acc, input_precision=PRECISION, max_num_imprecise_acc=IMPRECISE)
    tl.store(out_ptr + m[:, None] * N + n[None, :], acc)


@jit
def scaled_product(x_ptr, sx_ptr, y_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FORMAT: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(x_ptr + m[:, None] * K + k[None, :])
    s = tl.load(sx_ptr + m[:, None] * (K // 32) + tl.arange(0, K // 32)[None, :])
    y = tl.load(y_ptr + k[:, None] * N + n[None, :])
    tl.store(out_ptr + m[:, None] * N + n[None, :], tl.dot_scaled(x, s, "e4m3", y, None, FORMAT))


@jit
def say(x_ptr):
    tl.device_print("here")
    tl.device_print("x", tl.load(x_ptr))


@jit
def pair_sums(out_ptr, x_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.atomic_add(out_ptr + i // 2, tl.load(x_ptr + i))


@jit
def greatest(out_ptr, x_ptr, M: tl.constexpr, N: tl.constexpr):
    out = tl.make_tensor_descriptor(out_ptr, shape=[M, N], strides=[N, 1], block_shape=[M, N])
    out.atomic_max([0, 0], tl.load(x_ptr + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]))


@jit
def checked_add(a, b):
    tl.device_assert(a + b < 1000, "too much")
    return a + b


@jit
def checked_sum(x_ptr, out_ptr, N: tl.constexpr):
    tl.store(out_ptr, tl.reduce(tl.load(x_ptr + tl.arange(0, N)), 0, checked_add))


@jit
def where(out_ptr):
    tl.extra.cuda.gdc_wait()
    tl.store(out_ptr, tl.extra.cuda.smid())
    tl.extra.cuda.gdc_launch_dependents()


@jit
def windows(a, b, c, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, TURNED: tl.constexpr):
    """One tile of a·b between descriptors; TURNED: b has rows of k."""
    m, n = tl.program_id(0) * M, tl.program_id(1) * N
    acc = tl.zeros((M, N), tl.float32)
    for i in range(0, k, K):
        y = b.load([n, i]).T if TURNED else b.load([i, n])
        acc = tl.dot(a.load([m, i]), y, acc)
    c.store([m, n], acc.to(c.dtype))


@jit
def made_windows(
    a_ptr, b_ptr, c_ptr, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
    TELLS: tl.constexpr,
):  # fmt: skip
    """The same, the descriptors made here.  FAR: a's base comes from memory; TELLS: others are told that c is written."""
    if FAR:
        a_ptr = tl.load(a_ptr).to(tl.pointer_type(tl.float16))
    a = tl.make_tensor_descriptor(a_ptr, [m, k], [k, 1], [M, K], padding_option=PADDING)
    b = tl.make_tensor_descriptor(b_ptr, [k, n // 2], [n + 8, 1], [K, N])
    c = tl.make_tensor_descriptor(c_ptr, [m, n], [n, 1], [M, N])
    windows(a, b, c, k, M, N, K, False)
    if TELLS:
        tl.debug_barrier()


@jit
def persistent(a, b, c, k, tiles, columns, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Tiles of a·b, one after the other by each program."""
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        m, n = tile // columns * M, tile % columns * N
        acc = tl.zeros((M, N), tl.float32)
        for i in range(0, k, K):
            acc = tl.dot(a.load([m, i]), b.load([n, i]).T, acc)
        c.store([m, n], acc.to(c.dtype))


@jit
def batched(a, b, c, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """A tile of one product of many: descriptors of three dimensions and of four."""
    acc = tl.zeros((M, N), tl.float32)
    z = tl.program_id(0)
    for i in range(0, k, K):
        x = a.load([z, 0, i]).reshape(M, K)
        y = b.load([z // 2, z % 2, 0, i]).reshape(N, K)
        acc = tl.dot(x, y.T, acc)
    c.store([z, 0, 0], acc.to(c.dtype).reshape(1, M, N))
