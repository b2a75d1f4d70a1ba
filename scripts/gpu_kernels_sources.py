"""The Triton kernels of `gpu_kernels_check`."""

import triton
import triton.language as tl


@triton.jit
def add_k(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    m = i < n
    tl.store(o + i, tl.load(x + i, mask=m) + tl.load(y + i, mask=m), mask=m)


@triton.jit
def bias_k(x, b, o, L: tl.constexpr, C: tl.constexpr, B: tl.constexpr):
    """One value of ``b`` for each run of ``L`` elements, in ``C`` turns."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i) + tl.load(b + i // L % C))


@triton.jit
def unpad_k(x, o, R: tl.constexpr, C: tl.constexpr, Y: tl.constexpr, X: tl.constexpr):
    """``o[i, j] = x[i // R, j, i % R]``: neighbours in memory lie along the first dimension, but for every ``R``-th."""
    i = (tl.program_id(1) * Y + tl.arange(0, Y))[:, None]
    j = (tl.program_id(0) * X + tl.arange(0, X))[None, :]
    tl.store(o + j + C * i, tl.load(x + i % R + R * j + R * C * (i // R)), cache_modifier=".cg")


@triton.jit
def softmax_k(o, x, so, sx, n, B: tl.constexpr):
    r = tl.program_id(0)
    c = tl.arange(0, B)
    v = tl.load(x + r * sx + c, mask=c < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(o + r * so + c, (e / tl.sum(e, axis=0)).to(o.dtype.element_ty), mask=c < n)


@triton.jit
def layernorm_k(x, y, w, b, mean, rstd, s, n, eps, B: tl.constexpr):
    r = tl.program_id(0)
    c = tl.arange(0, B)
    m = c < n
    v = tl.load(x + r * s + c, mask=m, other=0.0).to(tl.float32)
    mu = tl.sum(v, axis=0) / n
    d = tl.where(m, v - mu, 0.0)
    rs = 1 / tl.sqrt(tl.sum(d * d, axis=0) / n + eps)
    tl.store(mean + r, mu)
    tl.store(rstd + r, rs)
    tl.store(y + r * s + c, (d * rs * tl.load(w + c, mask=m) + tl.load(b + c, mask=m)).to(y.dtype.element_ty), mask=m)


@triton.jit
def xent_k(logits, stride, loss, lse, labels, V, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    base = logits + r * stride
    top = -float("inf")
    total = 0.0
    for s in range(0, V, B):
        c = s + tl.arange(0, B)
        v = tl.load(base + c, mask=c < V, other=-float("inf")).to(tl.float32)
        new = tl.maximum(top, tl.max(v, axis=0))
        total = total * tl.exp(top - new) + tl.sum(tl.exp(v - new), axis=0)
        top = new
    z = top + tl.log(total)
    label = tl.load(labels + r)
    tl.store(lse + r, z)
    tl.store(loss + r, z - tl.load(base + label).to(tl.float32))


@triton.jit
def reduce_k(x, rows, cols, whole, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.arange(0, M), tl.arange(0, N)
    v = tl.load(x + m[:, None] * N + n[None, :])
    tl.store(rows + m, tl.sum(v, axis=1))
    tl.store(cols + n, tl.max(v, axis=0))
    tl.store(whole, tl.min(tl.min(v, axis=1), axis=0))


@triton.jit
def argmax_k(x, best, place, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.arange(0, M), tl.arange(0, N)
    v = tl.load(x + m[:, None] * N + n[None, :])
    top, where = tl.max(v, axis=1, return_indices=True)
    tl.store(best + m, top)
    tl.store(place + m, where)


@triton.jit
def transpose_k(x, o, M, N, B: tl.constexpr):
    m = tl.program_id(0) * B + tl.arange(0, B)
    n = tl.program_id(1) * B + tl.arange(0, B)
    v = tl.load(x + m[:, None] * N + n[None, :], mask=(m[:, None] < M) & (n[None, :] < N))
    tl.store(o + n[:, None] * M + m[None, :], tl.trans(v), mask=(n[:, None] < N) & (m[None, :] < M))


@triton.jit
def cumsum_k(x, a, b, c, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    v = tl.load(x + i)
    tl.store(a + i, tl.cumsum(v, axis=1))
    tl.store(b + i, tl.cumsum(v, axis=1, reverse=True))
    tl.store(c + i, tl.cumsum(v, axis=0))


@triton.jit
def shapes_k(x, y, joined, even, odd, turned, N: tl.constexpr):
    i = tl.arange(0, N)
    u, v = tl.load(x + i), tl.load(y + i)
    tl.store(joined + tl.arange(0, 2 * N), tl.interleave(u, v))
    lo, hi = tl.split(tl.reshape(u, (N // 2, 2)))
    h = tl.arange(0, N // 2)
    tl.store(even + h, lo)
    tl.store(odd + h, hi)
    tl.store(turned + i, tl.reshape(tl.trans(tl.reshape(u, (N // 8, 8))), (N,)))


@triton.jit
def exchange_k(x, f, i, counts, taken, ordered, N: tl.constexpr, BINS: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(counts + tl.arange(0, BINS), tl.histogram(tl.load(x + at), BINS))
    values = tl.load(f + at)
    tl.store(taken + at, tl.gather(values, tl.load(i + at), axis=0))
    tl.store(ordered + at, tl.sort(values))


@triton.jit
def atomics_k(x, y, total, most, count, seen, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i)
    tl.atomic_add(total + 3, tl.sum(v, axis=0))
    tl.atomic_max(most + 2 + i * 0, v)
    tl.atomic_add(count + i * 0, tl.load(y + i))
    ticket = tl.atomic_add(count + 1, 1)
    tl.store(seen + tl.program_id(0) + tl.arange(0, 1), ticket + tl.zeros((1,), tl.int32))


@triton.jit
def elementwise_k(x, y, i, j, f, g, N: tl.constexpr):
    c = tl.arange(0, N)
    a, b, u, v = tl.load(x + c), tl.load(y + c), tl.load(i + c), tl.load(j + c)
    tl.store(f + c, tl.exp(a))
    tl.store(f + N + c, tl.log(b))
    tl.store(f + 2 * N + c, tl.sin(a))
    tl.store(f + 3 * N + c, tl.sqrt(b))
    tl.store(f + 4 * N + c, a / b)
    tl.store(f + 5 * N + c, tl.rsqrt(b))
    tl.store(f + 6 * N + c, tl.erf(a))
    tl.store(f + 7 * N + c, a.to(tl.float16).to(tl.float32) + a.to(tl.bfloat16).to(tl.float32))
    r = u % 7
    tl.store(g + c, tl.where(r < 0, r + 7, r))
    tl.store(g + N + c, u // v)
    tl.store(g + 2 * N + c, u >> 3)
    tl.store(g + 3 * N + c, u ^ v)
    tl.store(g + 4 * N + c, tl.minimum(u, v))
    tl.store(g + 5 * N + c, u * v)


@triton.jit
def control_k(x, o, n, m, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    acc = v
    for k in range(n):
        if k % 3 == 0:
            acc = acc * 0.5 + v
        else:
            acc += k
    k = 0
    while k < m:
        acc += 1
        k += 1
    tl.store(o + i, acc)


@triton.jit
def mm_k(
    a, b, c, M, N, K, sam, sak, sbk, sbn, scm, scn, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, G: tl.constexpr, P: tl.constexpr
):
    pid = tl.program_id(0)
    nm = tl.cdiv(M, BM)
    nn = tl.cdiv(N, BN)
    per = G * nn
    first = pid // per * G
    gs = min(nm - first, G)
    pm = first + ((pid % per) % gs)
    pn = (pid % per) // gs
    rm = (pm * BM + tl.arange(0, BM)) % M
    rn = (pn * BN + tl.arange(0, BN)) % N
    rk = tl.arange(0, BK)
    pa = a + rm[:, None] * sam + rk[None, :] * sak
    pb = b + rk[:, None] * sbk + rn[None, :] * sbn
    acc = tl.zeros(
        (BM, BN), dtype=tl.int32 if c.dtype.element_ty == tl.int32 else tl.float64 if c.dtype.element_ty == tl.float64 else tl.float32
    )
    for k in range(0, tl.cdiv(K, BK)):
        x = tl.load(pa, mask=rk[None, :] < K - k * BK, other=0.0)
        y = tl.load(pb, mask=rk[:, None] < K - k * BK, other=0.0)
        acc = tl.dot(x, y, acc, input_precision=P, out_dtype=acc.dtype)
        pa += BK * sak
        pb += BK * sbk
    cm = pm * BM + tl.arange(0, BM)
    cn = pn * BN + tl.arange(0, BN)
    tl.store(c + cm[:, None] * scm + cn[None, :] * scn, acc.to(c.dtype.element_ty), mask=(cm[:, None] < M) & (cn[None, :] < N))


@triton.jit
def _attend(Q, k, v, acc, top, total, rm, base, sn, qk_scale, lo, hi, D: tl.constexpr, MASKED: tl.constexpr, BN: tl.constexpr):
    rn, rd = tl.arange(0, BN), tl.arange(0, D)
    for s in range(lo, hi, BN):
        kk = tl.load(k + base + (s + rn)[None, :] * sn + rd[:, None])
        vv = tl.load(v + base + (s + rn)[:, None] * sn + rd[None, :])
        qk = tl.dot(Q, kk) * qk_scale
        if MASKED:
            qk = tl.where(rm[:, None] >= (s + rn)[None, :], qk, -1e30)
        new = tl.maximum(top, tl.max(qk, 1))
        p = tl.exp2(qk - new[:, None])
        al = tl.exp2(top - new)
        total = total * al + tl.sum(p, 1)
        acc = tl.dot(p.to(vv.dtype), vv, acc * al[:, None])
        top = new
    return acc, top, total


@triton.jit
def fa_k(q, k, v, o, scale, sb, sn, N, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    pm = tl.program_id(0)
    base = tl.program_id(1).to(tl.int64) * sb
    rm = pm * BM + tl.arange(0, BM)
    rd = tl.arange(0, D)
    at = base + rm[:, None] * sn + rd[None, :]
    Q = tl.load(q + at)
    top = tl.full([BM], -float("inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    scaled = scale * 1.4426950408889634
    full = pm * BM if CAUSAL else N
    acc, top, total = _attend(Q, k, v, acc, top, total, rm, base, sn, scaled, 0, full, D, False, BN)
    if CAUSAL:
        acc, top, total = _attend(Q, k, v, acc, top, total, rm, base, sn, scaled, full, full + BM, D, True, BN)
    tl.store(o + at, (acc / total[:, None]).to(o.dtype.element_ty))
