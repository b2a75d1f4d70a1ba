"""The kernels of gpu_reductions.py: whatever answers ``import triton`` compiles them."""

import triton
import triton.language as tl


@triton.jit
def far_argmax(x, out, m, n, k, BM: tl.constexpr, BN: tl.constexpr):
    """Argmax along the middle dimension of m × n × k: no two numbers of a tile are neighbours."""
    i, last = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1)
    top, where = tl.full([BM], float("-inf"), tl.float32), tl.full([BM], 0, tl.int64)
    for start in range(0, n, BN):
        j = start + tl.arange(0, BN)
        values = tl.load(x + i[:, None] * n * k + j[None, :] * k + last, mask=(i[:, None] < m) & (j[None, :] < n), other=-float("inf"))
        largest, at = tl.max(values, 1, return_indices=True)
        where = tl.where(largest > top, start + at, where)
        top = tl.maximum(top, largest)
    tl.store(out + i * k + last, where, mask=i < m)


@triton.jit
def sums(x, out, sm, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    tl.store(out + m, tl.sum(tl.load(x + m[:, None] * sm + n[None, :]).to(tl.float32), 1))


@triton.jit
def argmax(x, out, sm, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    tl.store(out + m, tl.argmax(tl.load(x + m[:, None] * sm + n[None, :]), 1))


@triton.jit
def softmax(x, out, sm, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    at = m[:, None] * sm + n[None, :]
    v = tl.load(x + at).to(tl.float32)
    v = tl.exp(v - tl.max(v, 1)[:, None])
    tl.store(out + at, (v / tl.sum(v, 1)[:, None]).to(out.dtype.element_ty))


@triton.jit
def norm(x, out, weight, sm, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    at = m[:, None] * sm + n[None, :]
    v = tl.load(x + at).to(tl.float32)
    c = v - (tl.sum(v, 1) / N)[:, None]
    r = tl.rsqrt(tl.sum(c * c, 1) / N + 1e-5)
    tl.store(out + at, (c * r[:, None] * tl.load(weight + n)[None, :]).to(out.dtype.element_ty))


@triton.jit
def welford(ma, na, wa, mb, nb, wb):
    delta = mb - ma
    w = wa + wb
    r = tl.where(w == 0.0, 0.0, wb / w)
    return ma + delta * r, na + nb + delta * delta * wa * r, w


@triton.jit
def variances(x, out, sm, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    v = tl.load(x + m[:, None] * sm + n[None, :]).to(tl.float32)
    mean, m2, w = tl.reduce((v, tl.zeros([M, N], tl.float32), tl.full([M, N], 1.0, tl.float32)), 1, welford)
    tl.store(out + m, m2 / w)


@triton.jit
def decode(q, k, v, out, n, D: tl.constexpr, BN: tl.constexpr):
    """Attention of one query, products by sums."""
    pid = tl.program_id(0)
    d, j = tl.arange(0, D), tl.arange(0, BN)
    query = tl.load(q + pid * D + d).to(tl.float32)
    top, total, acc = -float("inf"), 0.0, tl.zeros([D], tl.float32)
    base = pid.to(tl.int64) * n * D
    for s in range(0, n, BN):
        keys = tl.load(k + base + (s + j)[:, None] * D + d[None, :]).to(tl.float32)
        score = tl.sum(keys * query[None, :], 1) * 0.1
        higher = tl.maximum(top, tl.max(score, 0))
        p, less = tl.exp(score - higher), tl.exp(top - higher)
        total = total * less + tl.sum(p, 0)
        acc = acc * less + tl.sum(p[:, None] * tl.load(v + base + (s + j)[:, None] * D + d[None, :]).to(tl.float32), 0)
        top = higher
    tl.store(out + pid * D + d, acc / total)


@triton.jit
def recurrent(q, k, v, beta, out, T, K: tl.constexpr, V: tl.constexpr, BV: tl.constexpr):
    """The delta rule, step by step."""
    pid, iv = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, j = tl.arange(0, K), iv * BV + tl.arange(0, BV)
    h = tl.zeros([BV, K], tl.float32)
    for t in range(0, T):
        at = pid * T + t
        key, query = tl.load(k + at * K + i).to(tl.float32), tl.load(q + at * K + i).to(tl.float32)
        value = tl.load(v + at * V + j).to(tl.float32) - tl.sum(h * key[None, :], 1)
        value *= tl.load(beta + at).to(tl.float32)
        h += key[None, :] * value[:, None]
        tl.store(out + at * V + j, tl.sum(h * query[None, :], 1))


@triton.jit
def column_maxima(a, b, out, k, sa, sb, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """Largest number of each column of a product's tile."""
    pm, pn = tl.program_id(0), tl.program_id(1)
    im, jn, ik = pm * BM + tl.arange(0, BM), pn * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros([BM, BN], tl.float32)
    for s in range(0, k, BK):
        acc = tl.dot(tl.load(a + im[:, None] * sa + (s + ik)[None, :]), tl.load(b + (s + ik)[:, None] * sb + jn[None, :]), acc)
    tl.store(out + pm * tl.num_programs(1) * BN + jn, tl.max(acc, 0))


@triton.jit
def online(x, out, n, sm, M: tl.constexpr, N: tl.constexpr):
    """Softmax of long rows, in two passes over blocks."""
    m, i = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N)
    top, total = tl.full([M], -float("inf"), tl.float32), tl.zeros([M], tl.float32)
    for s in range(0, n, N):
        v = tl.load(x + m[:, None] * sm + (s + i)[None, :]).to(tl.float32)
        higher = tl.maximum(top, tl.max(v, 1))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(v - higher[:, None]), 1)
        top = higher
    for s in range(0, n, N):
        at = m[:, None] * sm + (s + i)[None, :]
        v = tl.load(x + at).to(tl.float32)
        tl.store(out + at, (tl.exp(v - top[:, None]) / total[:, None]).to(out.dtype.element_ty))


@triton.jit
def cube(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a, b, c = tl.program_id(0) * A + tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    v = tl.load(x + a[:, None, None] * (B * C) + b[None, :, None] * C + c[None, None, :]).to(tl.float32)
    tl.store(out + a[:, None] * B + b[None, :], tl.max(v, 2))
