"""Right kernels, small and of many kinds: what `mutate` makes mistakes in.

`KERNELS` has, per kernel, the types of its arguments and the values of its constexprs.  They are only compiled, never run.
"""

# ruff: noqa: N803, ANN001, ANN201
import triton
import triton.language as tl

SCALE = tl.constexpr(3)


@triton.jit
def half(x, by: tl.constexpr = 2):
    return x / by


@triton.jit
def larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def best_of(value, index, other_value, other_index):
    take = (value > other_value) | ((value == other_value) & (index < other_index))
    return tl.where(take, value, other_value), tl.where(take, index, other_index)


@triton.jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=0.0)
    y = tl.load(y_ptr + at, mask=mask)
    tl.store(out_ptr + at, half(x) + y * SCALE, mask=mask)


@triton.jit
def softmax(x_ptr, out_ptr, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * stride
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row + cols, mask=cols < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row + cols, (e / tl.sum(e, axis=0)).to(out_ptr.dtype.element_ty), mask=cols < n)


@triton.jit
def matmul(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    pid = tl.program_id(0)
    rows = (pid // tl.cdiv(N, BN)) * BM + tl.arange(0, BM)
    cols = (pid % tl.cdiv(N, BN)) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        a = tl.load(a_ptr + rows[:, None] * K + (k * BK + inner)[None, :], mask=inner[None, :] < K - k * BK, other=0.0)
        b = tl.load(b_ptr + (k * BK + inner)[:, None] * N + cols[None, :], mask=inner[:, None] < K - k * BK, other=0.0)
        acc = tl.dot(a, b, acc)
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


@triton.jit
def blocks(a_ptr, out_ptr, M, N, BM: tl.constexpr, BN: tl.constexpr):
    a = tl.make_block_ptr(a_ptr, shape=(M, N), strides=(N, 1), offsets=(tl.program_id(0) * BM, 0), block_shape=(BM, BN), order=(1, 0))
    total = tl.zeros((BM,), tl.float32)
    for _ in range(0, N, BN):
        total += tl.sum(tl.load(a, boundary_check=(0, 1), padding_option="zero"), axis=1)
        a = tl.advance(a, (0, BN))
    out = tl.make_block_ptr(out_ptr, (M,), (1,), (tl.program_id(0) * BM,), (BM,), (0,))
    tl.store(out, total, boundary_check=(0,))


@triton.jit
def descriptors(a_ptr, out_ptr, M, N, BM: tl.constexpr, BN: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, shape=[M, N], strides=[N, 1], block_shape=[BM, BN])
    out = tl.make_tensor_descriptor(out_ptr, shape=[N, M], strides=[M, 1], block_shape=[BN, BM])
    row, col = tl.program_id(0) * BM, tl.program_id(1) * BN
    out.store([col, row], a.load([row, col]).T)


@triton.jit
def choices(x_ptr, out_ptr, n, flag, MODE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    if n == 0:
        return
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    if MODE == "double":
        x = x * 2
    elif MODE == "square":
        x = x * x
    else:
        tl.static_assert(MODE == "none", "there is no such mode")
    while flag > 0:
        x = x + flag if flag % 2 == 0 else x - 1
        flag -= 3
    for i in tl.static_range(3):
        x += i
    tl.store(out_ptr + at, x, mask=at < n)


@triton.jit
def combine(x_ptr, out_ptr, where_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    value, index = tl.reduce((x, at), 0, best_of)
    running = tl.associative_scan(x, 0, larger, reverse=True)
    tl.store(out_ptr + at, running + tl.cumsum(x, 0) - tl.sort(x))
    tl.store(where_ptr, index)
    tl.atomic_add(where_ptr + 1, tl.argmax(x, axis=0))
    tl.atomic_max(out_ptr + BLOCK + at, value, mask=at < 3, sem="relaxed")


@triton.jit
def shapes(x_ptr, out_ptr, A: tl.constexpr, B: tl.constexpr):
    at = tl.arange(0, A)[:, None] * B + tl.arange(0, B)[None, :]
    x = tl.load(x_ptr + at)
    y = tl.reshape(x, (B, A))
    z = tl.permute(y, (1, 0)) + tl.trans(tl.broadcast_to(tl.sum(x, 1, keep_dims=True), (A, B)).T)
    lo, hi = tl.split(tl.reshape(z, (A, B // 2, 2)))
    w = tl.interleave(lo, tl.join(hi, hi).reshape(A, B)[:, :].to(tl.float32).sum(1)[:, None] + hi)
    tl.store(out_ptr + at, tl.where(w > 0, w, tl.view(z, (A, B))) + tl.full((A, B), 1, tl.float32))


@triton.jit
def casts(x_ptr, out_ptr, seed, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, cache_modifier=".cg", eviction_policy="evict_last")
    bits = x.to(tl.int32, bitcast=True) >> 16
    low = (bits & 0xFF).to(tl.uint8).to(tl.float8e5, bitcast=True)
    noise = tl.rand(seed, at) * 2.0 - tl.math.rsqrt(tl.abs(x) + 1)
    r = low.to(tl.float16).to(tl.float32) + noise.to(tl.bfloat16) + tl.clamp(x, -1.0, 1.0) + tl.fma(x, x, noise)
    tl.device_assert(seed >= 0, "the seed is negative")
    tl.store(out_ptr + at, r.to(tl.float64) if BLOCK > 64 else r)


@triton.jit
def tuples(ptrs, sizes, values, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.int32)
    for i in tl.static_range(len(sizes)):
        total += tl.load(ptrs[i] + at, mask=at < sizes[i], other=0)
    (a, b), *rest = values, sizes[0]
    tl.store(ptrs[0] + at, total + a - b + rest[0])


#: name → (types of the run-time arguments in order, constexprs)
KERNELS = {
    "add": (("*fp32", "*fp32", "*fp32", "i32"), {"BLOCK": 64}),
    "softmax": (("*bf16", "*fp16", "i32", "i32"), {"BLOCK": 128}),
    "matmul": (("*fp16", "*fp16", "*fp32", "i32", "i32", "i32"), {"BM": 16, "BN": 32, "BK": 16}),
    "blocks": (("*fp32", "*fp32", "i32", "i32"), {"BM": 8, "BN": 32}),
    "descriptors": (("*fp32", "*fp32", "i32", "i32"), {"BM": 8, "BN": 32}),
    "choices": (("*i32", "*i32", "i32", "i32"), {"MODE": "square", "BLOCK": 32}),
    "combine": (("*i32", "*i32", "*i32"), {"BLOCK": 32}),
    "shapes": (("*fp32", "*fp32"), {"A": 8, "B": 16}),
    "casts": (("*fp32", "*fp32", "i32"), {"BLOCK": 64}),
    "tuples": ((("*i32", "*i32"), ("i32", "i32"), ("i32", "i32")), {"BLOCK": 16}),
}
