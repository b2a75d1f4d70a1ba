"""Programs, indices, and operations that move elements about."""

from __future__ import annotations

from feature_table import case, integers, normal, zeros

import anytile.language as tl


@case(grid=(2, 3, 2), out=zeros("i32", 12, 6))
def grid_axes(out):
    x, y, z = tl.program_id(0), tl.program_id(axis=1), tl.program_id(2)
    at = out + ((z * tl.num_programs(1) + y) * tl.num_programs(0) + x) * 6
    tl.store(at, x)
    tl.store(at + 1, y)
    tl.store(at + 2, z)
    tl.store(at + 3, tl.num_programs(axis=0) * 100 + tl.num_programs(1) * 10 + tl.num_programs(2))


@case(out=zeros("i32", 64))
def indices(out):
    i = tl.arange(16, 48)
    tl.store(out + i - 16, i * i)
    tl.store(out + tl.arange(32, 64), tl.zeros_like(i) + tl.full((32,), 7, tl.int32) - tl.full([32], -1, tl.int64).to(tl.int32))


@case(x=normal("fp32", 16), out=zeros("fp32", 8, 16), tolerance=1e-7)
def broadcasting(x, out):
    row = tl.load(x + tl.arange(0, 16))
    column = tl.arange(0, 8).to(tl.float32)
    both = tl.expand_dims(column, 1) * row[None, :]
    wide, same = tl.broadcast(tl.expand_dims(column, [1]), both)
    tile = tl.broadcast_to(column[:, None], (8, 16)) + tl.broadcast_to(row.expand_dims(0), 8, 16) + wide + same
    tl.store(out + tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :], tile)


@case(x=integers("i16", 4, 8, 2), a=zeros("i16", 64), b=zeros("i16", 64), c=zeros("i16", 64), d=zeros("i16", 64))
@case("wide", x=normal("fp64", 4, 8, 2), a=zeros("fp64", 64), b=zeros("fp64", 64), c=zeros("fp64", 64), d=zeros("fp64", 64))
def rearrangements(x, a, b, c, d):
    i = tl.arange(0, 64)
    tile = tl.load(x + i).reshape(4, 8, 2)
    tl.store(a + i, tl.ravel(tl.permute(tile, (2, 0, 1))))
    tl.store(b + i, tl.reshape(tl.trans(tl.view(tile, (16, 4))), (64,)))
    tl.store(c + i, tile.permute(1, 2, 0).ravel())
    tl.store(d + i, tl.reshape(tl.reshape(tile, 2, 32).T, [64], can_reorder=False))


@case(x=normal("fp16", 32), y=normal("fp16", 32), out=zeros("fp16", 64), halves=zeros("fp16", 2, 16), cats=zeros("fp16", 64))
@case("bytes", x=integers("i8", 32), y=integers("i8", 32), out=zeros("i8", 64), halves=zeros("i8", 2, 16), cats=zeros("i8", 64))
def pairs(x, y, out, halves, cats):
    i = tl.arange(0, 32)
    u, v = tl.load(x + i), tl.load(y + i)
    tl.store(out + tl.arange(0, 64), tl.interleave(u, v))
    low, high = tl.split(tl.reshape(u, (16, 2)))
    again = tl.join(low, high).reshape(32)
    first, second = again.reshape(16, 2).split()
    tl.store(halves + tl.arange(0, 16), first)
    tl.store(halves + 16 + tl.arange(0, 16), second)
    tl.store(cats + tl.arange(0, 64), tl.cat(u, v, dim=0))


@case(x=normal("fp32", 8, 16), out=zeros("fp32", 8, 16))
def dimensions_of_one(x, out):
    at = tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tile = tl.unsqueeze(tl.load(x + at), 1)
    tl.store(out + at, tl.squeeze(tile, 1) + tile.squeeze(1).unsqueeze(0).squeeze(0))


@case(
    x=normal("fp32", 16, 32), i=integers("i32", 16, 32, low=0, high=32), j=integers("i32", 8, 32, low=0, high=16), out=zeros("fp32", 24, 32)
)
@case("of 16 bits", x=normal("bf16", 16, 32), i=integers("i32", 16, 32, low=0, high=32), j=integers("i32", 8, 32, low=0, high=16), out=zeros("bf16", 24, 32))  # fmt: skip
def gathers(x, i, j, out):
    m, k, n = tl.arange(0, 16)[:, None], tl.arange(0, 8)[:, None], tl.arange(0, 32)[None, :]
    tile = tl.load(x + m * 32 + n)
    tl.store(out + m * 32 + n, tl.gather(tile, tl.load(i + m * 32 + n), axis=1))
    tl.store(out + (k + 16) * 32 + n, tile.gather(tl.load(j + k * 32 + n), 0))


@case(x=normal("fp32", 4, 16), out=zeros("fp32", 3, 4, 16))
def flips(x, out):
    m, n = tl.arange(0, 4)[:, None], tl.arange(0, 16)[None, :]
    tile = tl.load(x + m * 16 + n)
    tl.store(out + m * 16 + n, tl.flip(tile, 1))
    tl.store(out + 64 + m * 16 + n, tile.flip(dim=0))
    tl.store(out + 128 + m * 16 + n, tl.flip(tile))


@case(grid=(12,), out=zeros("i32", 2, 12))
def swizzled_programs(out):
    pid = tl.program_id(0)
    i, j = tl.swizzle2d(pid // 4, pid % 4, 3, 4, 2)
    tl.store(out + pid, i)
    tl.store(out + 12 + pid, j)


@case(out=zeros("i32", 4))
def compile_time_arithmetic(out, N: tl.constexpr = 100):
    tl.static_assert(tl.cdiv(N, 32) == 4)
    half: tl.constexpr = N // 2
    tl.store(out, tl.cdiv(N, 32))
    tl.store(out + 1, half if half > 10 else 0)
    tl.store(out + 2, tl.cdiv(tl.load(out), 3) + tl.num_programs(0).cdiv(2))
    tl.store(out + 3, tl.constexpr(5) + len((1, 2, 3)))
