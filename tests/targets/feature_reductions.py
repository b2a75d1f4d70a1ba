"""Reductions, scans, sorting, histograms, functions over elements."""

from __future__ import annotations

from feature_table import Array, case, integers, normal, zeros

import anytile.language as tl
from anytile.runtime.jit import jit


def _whole(kind: str, *shape: int) -> Array:
    """Whole numbers: their sums are exact in any order."""
    return Array(kind, lambda random: random.integers(-8, 8, shape).astype(float))


@case("fp32", x=_whole("fp32", 32, 64), rows=zeros("fp32", 6, 32), cols=zeros("fp32", 6, 64), whole=zeros("fp32", 4))
@case("fp16", x=_whole("fp16", 32, 64), rows=zeros("fp16", 6, 32), cols=zeros("fp16", 6, 64), whole=zeros("fp16", 4))
@case("bf16", x=_whole("bf16", 32, 64), rows=zeros("bf16", 6, 32), cols=zeros("bf16", 6, 64), whole=zeros("bf16", 4))
@case("fp64", x=_whole("fp64", 32, 64), rows=zeros("fp64", 6, 32), cols=zeros("fp64", 6, 64), whole=zeros("fp64", 4))
@case("i32", x=integers("i32", 32, 64), rows=zeros("i32", 6, 32), cols=zeros("i32", 6, 64), whole=zeros("i32", 4))
@case("u8", x=integers("u8", 32, 64, low=0, high=256), rows=zeros("u8", 6, 32), cols=zeros("u8", 6, 64), whole=zeros("u8", 4))
@case("i64", x=integers("i64", 32, 64), rows=zeros("i64", 6, 32), cols=zeros("i64", 6, 64), whole=zeros("i64", 4))
@case("one warp", options={"num_warps": 1}, x=_whole("fp32", 32, 64), rows=zeros("fp32", 6, 32), cols=zeros("fp32", 6, 64), whole=zeros("fp32", 4))  # fmt: skip
@case("eight warps", options={"num_warps": 8}, x=integers("i32", 32, 64), rows=zeros("i32", 6, 32), cols=zeros("i32", 6, 64), whole=zeros("i32", 4))  # fmt: skip
def reductions(x, rows, cols, whole):
    m, n = tl.arange(0, 32), tl.arange(0, 64)
    v = tl.load(x + m[:, None] * 64 + n[None, :])
    tl.store(rows + m, tl.sum(v, axis=1))
    tl.store(rows + 32 + m, tl.max(v, 1))
    tl.store(rows + 64 + m, v.min(axis=1))
    tl.store(rows + 96 + m, tl.argmax(v, 1))
    tl.store(rows + 128 + m, tl.argmin(v, axis=1))
    tl.store(rows + 160 + m, tl.sum(v, axis=1, keep_dims=True).reshape(32))
    tl.store(cols + n, tl.sum(v, axis=0))
    tl.store(cols + 64 + n, v.max(0))
    tl.store(cols + 128 + n, tl.min(v, 0))
    top, where = tl.max(v, 0, return_indices=True)
    tl.store(cols + 192 + n, top)
    tl.store(cols + 256 + n, where)
    least, where = tl.min(v, 0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(cols + 320 + n, where + (least == 0))
    tl.store(whole, tl.sum(v))
    tl.store(whole + 1, tl.max(v))
    tl.store(whole + 2, tl.argmax(tl.ravel(v), 0) % 100)
    tl.store(whole + 3, tl.min(v))


@jit
def sum_and_largest(a, b, c, d):
    return a + c, tl.maximum(b, d)


@case("fp32", x=_whole("fp32", 64, 128, 2), out=zeros("fp32", 5, 128), less=zeros("fp32", 2, 128, 64))
@case("fp16", x=_whole("fp16", 64, 128, 2), out=zeros("fp16", 5, 128), less=zeros("fp16", 2, 128, 64))
@case("i64", x=integers("i64", 64, 128, 2), out=zeros("i64", 5, 128), less=zeros("i64", 2, 128, 64))
@case("u8", x=integers("u8", 64, 128, 2, low=0, high=256), out=zeros("u8", 5, 128), less=zeros("u8", 2, 128, 64))
@case("one warp", options={"num_warps": 1}, x=_whole("fp32", 64, 128, 2), out=zeros("fp32", 5, 128), less=zeros("fp32", 2, 128, 64))
@case("eight warps", options={"num_warps": 8}, x=integers("i32", 64, 128, 2), out=zeros("i32", 5, 128), less=zeros("i32", 2, 128, 64))
def reductions_of_many_rows(x, out, less):
    """No two numbers are neighbours, so lanes and warps lie along the axis, and a thread has parts of many results."""
    m, n = tl.arange(0, 128), tl.arange(0, 64)
    v = tl.load(x + m[:, None] * 2 + n[None, :] * 256)
    total, largest = tl.sum(v, 1).to(v.dtype), tl.max(v, 1)
    tl.store(out + m, total)
    tl.store(out + 128 + m, largest)
    tl.store(out + 256 + m, tl.argmax(v, 1))
    both, top = tl.reduce((v, v * 2), 1, sum_and_largest)
    tl.store(out + 384 + m, both)
    tl.store(out + 512 + m, top)
    at = m[:, None] * 64 + n[None, :]
    tl.store(less + at, v - largest[:, None])
    tl.store(less + 8192 + at, v + total[:, None])


@case("few rows", grid=(1, 5), x=_whole("fp32", 3, 150, 5), out=zeros("i64", 3, 5), m=3, n=150, k=5)
@case("one row", grid=(1, 16), x=_whole("fp32", 1, 160, 16), out=zeros("i64", 1, 16), m=1, n=160, k=16)
@case("many rows", grid=(2, 3), x=_whole("fp16", 100, 32, 3), out=zeros("i64", 100, 3), m=100, n=32, k=3, options={"num_warps": 8})
@case("fewer rows than lanes", grid=(1, 5), x=_whole("fp32", 3, 150, 5), out=zeros("i64", 3, 5), m=3, n=150, k=5, constants={"BM": 4})
def argmax_of_far_columns(x, out, m, n, k, BM: tl.constexpr = 64, BN: tl.constexpr = 64):
    """Along the middle dimension of m × n × k: no two numbers are known to be near."""
    i, last = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1)
    top, where = tl.full([BM], float("-inf"), tl.float32), tl.full([BM], 0, tl.int64)
    for start in range(0, n, BN):
        j = start + tl.arange(0, BN)
        values = tl.load(x + i[:, None] * n * k + j[None, :] * k + last, mask=(i[:, None] < m) & (j[None, :] < n), other=-float("inf"))
        largest, at = tl.max(values.to(tl.float32), 1, return_indices=True)
        where = tl.where(largest > top, start + at, where)
        top = tl.maximum(top, largest)
    tl.store(out + i * k + last, where, mask=i < m)


@case("thirty-two warps", options={"num_warps": 32}, x=integers("i8", 256, 128, low=-3, high=4), out=zeros("i8", 3, 128))
@case("sixteen warps", options={"num_warps": 16}, x=integers("i8", 256, 128, low=-3, high=4), out=zeros("i8", 3, 128))
@case("thirty-two warps, fp32", options={"num_warps": 32}, x=_whole("fp32", 256, 128), out=zeros("fp32", 3, 128))
def reductions_of_many_columns(x, out):
    """More warps along the axis than a thread has results left to share out."""
    m, n = tl.arange(0, 256), tl.arange(0, 128)
    v = tl.load(x + m[:, None] * 128 + n[None, :])
    tl.store(out + n, tl.sum(v, 0).to(v.dtype))
    tl.store(out + 128 + n, tl.max(v, 0))
    tl.store(out + 256 + n, tl.sum(tl.max(v, 0)[None, :] - v, 0).to(v.dtype))


@case(x=integers("i32", 16, 32), out=zeros("i32", 4, 16), b=zeros("i1", 2, 16))
def bitwise_reductions(x, out, b):
    m = tl.arange(0, 16)
    v = tl.load(x + m[:, None] * 32 + tl.arange(0, 32)[None, :])
    tl.store(out + m, tl.xor_sum(v, 1))
    tl.store(out + 16 + m, tl.reduce_or(v, 1))
    tl.store(out + 32 + m, v.xor_sum(axis=1) + v.reduce_or(axis=1))
    tl.store(b + m, tl.max((v > 90).to(tl.int32), 1) > 0)
    tl.store(b + 16 + m, tl.reduce_or((v > 95).to(tl.int1), 1))


@jit
def largest_magnitude(a, b):
    return tl.where(tl.abs(a) > tl.abs(b), a, b)


@jit
def moments(n, mean, m2, k, other, more):
    """Chan's update of count, mean and squared deviations."""
    total = n + k
    share = tl.where(total == 0.0, 0.0, k / tl.maximum(total, 1.0))
    delta = other - mean
    return total, mean + delta * share, m2 + more + delta * delta * n * share


@jit
def farther(a, b):
    """The larger magnitude of two, NaN where one is, under the product of their signs."""
    return tl.inline_asm_elementwise("{ max.NaN.xorsign.abs.f32 $0, $1, $2; }", "=f,f,f", [a, b], dtype=tl.float32, is_pure=True, pack=1)


@case(x=normal("fp32", 8, 64), out=zeros("fp32", 8))
def reduce_by_assembly(x, out):
    m, n = tl.arange(0, 8), tl.arange(0, 64)
    v = tl.load(x + m[:, None] * 64 + n[None, :])
    tl.store(out + m, tl.abs(tl.reduce(v, 1, farther)))


@case(x=normal("fp32", 16, 64), out=zeros("fp32", 16), stats=zeros("fp32", 3, 16), tolerance=1e-6)
def own_reductions(x, out, stats):
    m = tl.arange(0, 16)
    v = tl.load(x + m[:, None] * 64 + tl.arange(0, 64)[None, :])
    tl.store(out + m, tl.reduce(v, 1, largest_magnitude))
    count, mean, m2 = tl.reduce((tl.full((16, 64), 1.0, tl.float32), v, tl.zeros_like(v)), axis=1, combine_fn=moments)
    tl.store(stats + m, count)
    tl.store(stats + 16 + m, mean)
    tl.store(stats + 32 + m, m2)


@case("fp32", x=_whole("fp32", 16, 64), out=zeros("fp32", 4, 16, 64))
@case("i32", x=integers("i32", 16, 64), out=zeros("i32", 4, 16, 64))
@case("i8", x=integers("i8", 16, 64), out=zeros("i8", 4, 16, 64))
@case("i64", x=integers("i64", 16, 64), out=zeros("i64", 4, 16, 64))
def scans(x, out):
    at = tl.arange(0, 16)[:, None] * 64 + tl.arange(0, 64)[None, :]
    v = tl.load(x + at)
    tl.store(out + at, tl.cumsum(v, axis=1))
    tl.store(out + 1024 + at, tl.cumsum(v, axis=0))
    tl.store(out + 2048 + at, v.cumsum(1, reverse=True))
    tl.store(out + 3072 + at, tl.associative_scan(v, 0, largest_magnitude, reverse=True))


@case(x=Array("fp32", lambda random: random.choice([0.5, 1.0, 2.0, -1.0], (4, 64))), out=zeros("fp32", 2, 4, 64))
def products(x, out):
    at = tl.arange(0, 4)[:, None] * 64 + tl.arange(0, 64)[None, :]
    v = tl.load(x + at)
    tl.store(out + at, tl.cumprod(v, 1))
    tl.store(out + 256 + at, v.cumprod(axis=1, reverse=True))


@jit
def affine(a, b, c, d):
    """The composition of x → a·x + b and then x → c·x + d."""
    return a * c, b * c + d


@case(x=normal("fp32", 64, scale=0.5), y=normal("fp32", 64), out=zeros("fp32", 2, 64), tolerance=1e-6)
def own_scans(x, y, out):
    i = tl.arange(0, 64)
    a, b = tl.associative_scan((tl.load(x + i), tl.load(y + i)), axis=0, combine_fn=affine)
    tl.store(out + i, a)
    tl.store(out + 64 + i, b)


@case("fp32", x=normal("fp32", 8, 64), out=zeros("fp32", 2, 8, 64), best=zeros("fp32", 8, 4))
@case("i32", x=integers("i32", 8, 64), out=zeros("i32", 2, 8, 64), best=zeros("i32", 8, 4))
@case("fp16", x=normal("fp16", 8, 64), out=zeros("fp16", 2, 8, 64), best=zeros("fp16", 8, 4))
@case("u8", x=integers("u8", 8, 64, low=0, high=256), out=zeros("u8", 2, 8, 64), best=zeros("u8", 8, 4))
def sorting(x, out, best):
    m = tl.arange(0, 8)[:, None]
    at = m * 64 + tl.arange(0, 64)[None, :]
    v = tl.load(x + at)
    tl.store(out + at, tl.sort(v))
    tl.store(out + 512 + at, v.sort(dim=1, descending=True))
    tl.store(best + m * 4 + tl.arange(0, 4)[None, :], tl.topk(v, 4))


@case(x=normal("fp32", 4, 16), out=zeros("fp32", 4, 16))
def merging(x, out):
    """Rows that rise and then fall."""
    m = tl.arange(0, 4)[:, None]
    at = m * 16 + tl.arange(0, 16)[None, :]
    v = tl.sort(tl.load(x + at).reshape(4, 2, 8))
    low, high = tl.split(tl.permute(v, (0, 2, 1)))
    both = tl.permute(tl.join(low, tl.flip(high, 1)), (0, 2, 1)).reshape(4, 16)
    tl.store(out + at, tl.bitonic_merge(both))


@case(x=integers("i32", 512, low=-3, high=40), out=zeros("i32", 2, 32))
def histograms(x, out):
    v = tl.load(x + tl.arange(0, 512))
    tl.store(out + tl.arange(0, 32), tl.histogram(v, 32))
    tl.store(out + 32 + tl.arange(0, 32), v.histogram(32, mask=v % 2 == 0))


@jit
def quotient_and_rest(a, b):
    if a < 0:
        a = -a
    return a // b, a % b


@case(x=integers("i32", 128), y=integers("i32", 128, low=1, high=9), out=zeros("i32", 2, 128))
def mapped(x, y, out):
    i = tl.arange(0, 128)
    q, r = tl.map_elementwise(quotient_and_rest, tl.load(x + i), tl.load(y + i))
    tl.store(out + i, q)
    tl.store(out + 128 + i, r)
