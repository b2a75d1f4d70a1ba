"""The kernels of gpu_compile.py: whatever answers ``import triton`` compiles them."""

import triton
import triton.language as tl


@triton.jit
def tiny(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) + 1)


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + tl.load(y + i, mask=i < n), mask=i < n)


@triton.jit
def softmax(out, x, stride, n, BLOCK: tl.constexpr):
    row, i = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * stride + i, mask=i < n, other=-float("inf")).to(tl.float32)
    weights = tl.exp(values - tl.max(values, 0))
    tl.store(out + row * stride + i, (weights / tl.sum(weights, 0)).to(out.dtype.element_ty), mask=i < n)


@triton.jit
def layer_norm(x, out, weight, bias, means, stride, n, eps, BLOCK: tl.constexpr):
    row, i = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * stride + i, mask=i < n, other=0.0).to(tl.float32)
    mean = tl.sum(values, 0) / n
    centred = tl.where(i < n, values - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(centred * centred, 0) / n + eps)
    tl.store(means + row, mean)
    normal = centred * scale * tl.load(weight + i, mask=i < n) + tl.load(bias + i, mask=i < n)
    tl.store(out + row * stride + i, normal.to(out.dtype.element_ty), mask=i < n)


@triton.jit
def cross_entropy(logits, stride, losses, labels, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    top, total = -float("inf"), 0.0
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        values = tl.load(logits + row * stride + i, mask=i < n, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(values, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(values - higher), 0)
        top = higher
    tl.store(losses + row, top + tl.log(total) - tl.load(logits + row * stride + tl.load(labels + row)).to(tl.float32))


@triton.jit
def matmul(a, b, c, m, n, k, sa, sb, sc, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """Tiles in groups of GROUP rows of tiles, so that neighbours share what they read."""
    tiles_m, tiles_n = tl.cdiv(m, BM), tl.cdiv(n, BN)
    pid = tl.program_id(0)
    first = pid // (GROUP * tiles_n) * GROUP
    rows = min(tiles_m - first, GROUP)
    pm, pn = first + pid % (GROUP * tiles_n) % rows, pid % (GROUP * tiles_n) // rows
    im, jn, ik = (pm * BM + tl.arange(0, BM)) % m, (pn * BN + tl.arange(0, BN)) % n, tl.arange(0, BK)
    pa, pb = a + im[:, None] * sa + ik[None, :], b + ik[:, None] * sb + jn[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for step in range(0, tl.cdiv(k, BK)):
        left = k - step * BK
        x = tl.load(pa, mask=ik[None, :] < left, other=0.0)
        acc = tl.dot(x, tl.load(pb, mask=ik[:, None] < left, other=0.0), acc)
        pa += BK
        pb += BK * sb
    im, jn = pm * BM + tl.arange(0, BM), pn * BN + tl.arange(0, BN)
    tl.store(c + im[:, None] * sc + jn[None, :], acc.to(c.dtype.element_ty), mask=(im[:, None] < m) & (jn[None, :] < n))


@triton.jit
def attended(acc, total, top, q, keys, values, first, last, rows, scale, stride, D: tl.constexpr, MASKED: tl.constexpr, BN: tl.constexpr):
    """One run over blocks of keys: softmax(q·keysᵀ)·values so far."""
    columns, d = tl.arange(0, BN), tl.arange(0, D)
    for start in range(first, last, BN):
        at = start + columns
        scores = tl.dot(q, tl.load(keys + at[None, :] * stride + d[:, None])) * scale
        if MASKED:
            scores = tl.where(rows[:, None] >= at[None, :], scores, -1e30)
        higher = tl.maximum(top, tl.max(scores, 1))
        p, less = tl.exp2(scores - higher[:, None]), tl.exp2(top - higher)
        total = total * less + tl.sum(p, 1)
        v = tl.load(values + at[:, None] * stride + d[None, :])
        acc = tl.dot(p.to(v.dtype), v, acc * less[:, None])
        top = higher
    return acc, total, top


@triton.jit
def attention(
    q, k, v, out, scale, sb, sn, n, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr
):  # fmt: skip
    base = tl.program_id(1).to(tl.int64) * sb
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    queries = tl.load(q + base + rows[:, None] * sn + d[None, :])
    top, total = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    scale *= 1.4426950408889634
    whole = tl.program_id(0) * BM if CAUSAL else n
    acc, total, top = attended(acc, total, top, queries, k + base, v + base, 0, whole, rows, scale, sn, D, False, BN)
    if CAUSAL:
        acc, total, top = attended(acc, total, top, queries, k + base, v + base, whole, whole + BM, rows, scale, sn, D, True, BN)
    tl.store(out + base + rows[:, None] * sn + d[None, :], (acc / total[:, None]).to(out.dtype.element_ty))
