"""Loads and stores, block pointers, tensor descriptors, atomics, inline assembly, barriers."""

from __future__ import annotations

from feature_table import Array, case, integers, normal, of, zeros

import anytile.language as tl
from anytile.runtime.jit import jit

_N = 256


@case("fp32", x=normal("fp32", _N), out=zeros("fp32", 4, _N), n=201)
@case("i8", x=integers("i8", _N), out=zeros("i8", 4, _N), n=37)
@case("fp64", x=normal("fp64", _N), out=zeros("fp64", 4, _N), n=255)
@case("i1", x=integers("i1", _N, low=0, high=2), out=zeros("i1", 4, _N), n=100)
@case("fp8e4nv", x=normal("fp8e4nv", _N), out=zeros("fp8e4nv", 4, _N), n=100)
def masks(x, out, n, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i, mask=i < n))
    tl.store(out + N + i, tl.load(x + i, mask=i % 3 == 0, other=1))
    tl.store(out + 2 * N + i, tl.load(x + i), mask=(i >= 5) & (i < n))
    other = tl.load(x + (N - 1 - i))
    tl.store(out + 3 * N + i, tl.load(x + i, i < n, other), i > 3)


@case("fp16", x=integers("fp16", 32, 32, low=-5, high=5), w=integers("fp16", 2, 32, low=-5, high=5), out=zeros("fp16", 2, 32, 32))
@case("bf16", x=integers("bf16", 32, 32, low=-5, high=5), w=integers("bf16", 2, 32, low=-5, high=5), out=zeros("bf16", 2, 32, 32))
@case("i32", x=integers("i32", 32, 32), w=integers("i32", 2, 32), out=zeros("i32", 2, 32, 32))
def sums_of_rows_both_ways(x, w, out):
    """A sum of two rows, of which threads want several elements for one tile, and one for the other."""
    i = tl.arange(0, 32)
    weights = tl.load(w + i) + tl.load(w + 32 + i)
    at = i[:, None] * 32 + i[None, :]
    tl.store(out + at, tl.load(x + at) * weights[None, :])
    tl.store(out + 1024 + at, tl.load(x + at) * weights[:, None])


@case(x=normal("fp32", 64), out=zeros("fp32", 8))
def scalars(x, out):
    a = tl.load(x + 3)
    tl.store(out, a)
    tl.store(out + 1, tl.load(x + 5, mask=a > 100.0, other=-2.0))
    tl.store(out + 2, a * 2.0, mask=tl.program_id(0) == 0)
    tl.store(out + 3, 7.0, mask=tl.program_id(0) == 1)
    at = (out + 4) + tl.arange(0, 1)
    tl.store(at, tl.load(x + tl.arange(0, 1)))


@case(x=normal("fp32", 8 * _N), out=zeros("fp32", 8, _N))
def caches(x, out, N: tl.constexpr = _N):
    """Every modifier and policy: how something is cached changes no value."""
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i, cache_modifier=".ca"), cache_modifier=".wb")
    tl.store(out + N + i, tl.load(x + N + i, cache_modifier=".cg"), cache_modifier=".cg")
    tl.store(out + 2 * N + i, tl.load(x + 2 * N + i, cache_modifier=".cv"), cache_modifier=".cs")
    tl.store(out + 3 * N + i, tl.load(x + 3 * N + i, cache_modifier=".cs"), cache_modifier=".wt")
    tl.store(out + 4 * N + i, tl.load(x + 4 * N + i, eviction_policy="evict_first"), eviction_policy="evict_first")
    tl.store(out + 5 * N + i, tl.load(x + 5 * N + i, eviction_policy="evict_last"), eviction_policy="evict_last")
    tl.store(out + 6 * N + i, tl.load(x + 6 * N + i, volatile=True))
    tl.store(out + 7 * N + i, tl.load(x + 7 * N + i, mask=i < 99, other=0.5, cache_modifier=".cg", eviction_policy="evict_first"))


@case("fp32", x=normal("fp32", 40, 24), out=zeros("fp32", 40, 24), m=40, n=24)
@case("fp16", x=normal("fp16", 40, 24), out=zeros("fp16", 40, 24), m=40, n=24)
def block_pointers(x, out, m, n):
    a = tl.make_block_ptr(x, shape=(m, n), strides=(n, 1), offsets=(0, 0), block_shape=(16, 32), order=(1, 0))
    b = tl.make_block_ptr(base=out, shape=(m, n), strides=(n, 1), offsets=(0, 0), block_shape=(16, 32), order=(1, 0))
    for _ in range(0, 3):
        tile = tl.load(a, boundary_check=(0, 1), padding_option="zero")
        tl.store(b, tile * 2, boundary_check=(0, 1))
        a = tl.advance(a, (16, 0))
        b = tl.advance(b, (16, 0))


@case(x=normal("fp32", 12, 20), out=zeros("fp32", 16, 32))
def padding(x, out):
    a = tl.make_block_ptr(x, (12, 20), (20, 1), (0, 0), (16, 32), (1, 0))
    tile = tl.load(a, boundary_check=(0, 1), padding_option="nan")
    tl.store(out + tl.arange(0, 16)[:, None] * 32 + tl.arange(0, 32)[None, :], tile)


@case("fp32", x=normal("fp32", 40, 24), out=zeros("fp32", 40, 24), total=zeros("fp32", 40, 24), m=40, n=24)
@case("bf16", x=normal("bf16", 40, 24), out=zeros("bf16", 40, 24), total=zeros("bf16", 40, 24), m=40, n=24)
def descriptors(x, out, total, m, n):
    a = tl.make_tensor_descriptor(x, shape=[m, n], strides=[n, 1], block_shape=[16, 16])
    b = tl.make_tensor_descriptor(out, shape=[m, n], strides=[n, 1], block_shape=[16, 16])
    c = tl.make_tensor_descriptor(total, shape=[m, n], strides=[n, 1], block_shape=[16, 16])
    for i in range(0, m, 16):
        for j in range(0, n, 16):
            tile = a.load([i, j])
            tl.store_tensor_descriptor(b, [i, j], tl.load_tensor_descriptor(a, [i, j]) + tile)
            c.store([i, j], tile)
            c.atomic_add([i, j], tile)


@case(x=normal("fp32", 64, 32), i=integers("i32", 16, low=0, high=64), out=zeros("fp32", 64, 32), y=zeros("i32", 6, 32))
def descriptors_by_row(x, i, out, y):
    a = tl.make_tensor_descriptor(x, shape=[64, 32], strides=[32, 1], block_shape=[1, 32])
    b = tl.make_tensor_descriptor(out, shape=[64, 32], strides=[32, 1], block_shape=[1, 32])
    rows = tl.load(i + tl.arange(0, 16))
    b.scatter(a.gather(rows, 0), tl.arange(0, 16) * 4, 0)
    kinds = tl.make_tensor_descriptor(y, shape=[6, 32], strides=[32, 1], block_shape=[1, 32])
    v = tl.arange(0, 32)[None, :] - 8
    kinds.atomic_max([0, 0], v)
    kinds.atomic_min([1, 0], v)
    kinds.atomic_and([2, 0], v)
    kinds.atomic_or([3, 0], v)
    kinds.atomic_xor([4, 0], v)


# --- atomics: each sum and each extremum is exact, so the order of the programs is not seen ---------------------------------


@case("i32", grid=(8,), x=integers("i32", 8 * _N), at=integers("i32", 8 * _N, low=0, high=8), out=zeros("i32", 7, 8))
@case("u32", grid=(8,), x=integers("u32", 8 * _N, low=0, high=2**31), at=integers("i32", 8 * _N, low=0, high=8), out=zeros("u32", 7, 8))
@case("i64", grid=(8,), x=integers("i64", 8 * _N), at=integers("i32", 8 * _N, low=0, high=8), out=zeros("i64", 7, 8))
@case("u64", grid=(8,), x=integers("u64", 8 * _N, low=0, high=2**62), at=integers("i32", 8 * _N, low=0, high=8), out=zeros("u64", 7, 8))
def atomic_integers(x, at, out, N: tl.constexpr = _N):
    i = tl.program_id(0) * N + tl.arange(0, N)
    v, to = tl.load(x + i), tl.load(at + i)
    tl.atomic_add(out + to, v)
    tl.atomic_max(out + 8 + to, v)
    tl.atomic_min(out + 16 + to, v)
    tl.atomic_and(out + 24 + to, v)
    tl.atomic_or(out + 32 + to, v)
    tl.atomic_xor(out + 40 + to, v)
    tl.atomic_add(out + 48, tl.max(v, 0), mask=tl.program_id(0) < 5)


def _whole(kind: str) -> Array:
    """Numbers that add up exactly in any order, in 8 bits of fraction too."""
    return Array(kind, lambda random: random.integers(0, 3, 4 * _N).astype(float))


def atomic_floats(x, at, out, N: tl.constexpr = _N):
    i = tl.program_id(0) * N + tl.arange(0, N)
    v, to = tl.load(x + i), tl.load(at + i)
    tl.atomic_add(out + to, v, mask=i % 5 != 0)
    tl.atomic_max(out + 8 + to, v)
    tl.atomic_min(out + 16 + to, v)


@case("fp16", grid=(4,), x=_whole("fp16"), at=integers("i32", 4 * _N, low=0, high=8), out=zeros("fp16", 8))
@case("bf16", grid=(4,), x=_whole("bf16"), at=integers("i32", 4 * _N, low=0, high=64), out=zeros("bf16", 64))
def atomic_narrow_floats(x, at, out, N: tl.constexpr = _N):
    i = tl.program_id(0) * N + tl.arange(0, N)
    tl.atomic_add(out + tl.load(at + i), tl.load(x + i))


@case("bf16", grid=(3,), x=_whole("bf16"), out=zeros("bf16", 3 * _N), n=3 * _N - 16)
@case("fp16", grid=(3,), x=_whole("fp16"), out=zeros("fp16", 3 * _N), n=3 * _N - 8)
@case("fp32", grid=(3,), options={"num_warps": 1}, x=_whole("fp32"), out=zeros("fp32", 3 * _N), n=3 * _N - 1)
def atomic_neighbours(x, out, n, N: tl.constexpr = _N):
    """What GPUs add several at a time; programs overlap by half."""
    i = tl.program_id(0) * (N // 2) + tl.arange(0, N)
    v = tl.load(x + i)
    tl.atomic_add(out + i, v, mask=i < n, sem="relaxed")
    tl.atomic_add(out + i, v)


for _kind in ("fp32", "fp64"):  # whole numbers add up exactly in any order
    _x = Array(_kind, lambda random: random.integers(-50, 50, 8 * _N).astype(float))
    case(_kind, grid=(8,), x=_x, at=integers("i32", 8 * _N, low=0, high=8), out=zeros(_kind, 3, 8))(atomic_floats)


@case(x=zeros("i32", 64), old=zeros("i32", 6, 64), f=zeros("fp32", 64), g=zeros("fp32", 64))
def atomic_results(x, old, f, g):
    i = tl.arange(0, 64)
    tl.store(old + i, tl.atomic_add(x + i, i, mask=i < 60))
    tl.store(old + 64 + i, tl.atomic_xchg(x + i, i * 2))
    tl.store(old + 128 + i, tl.atomic_cas(x + i, i * 2, 7))
    tl.store(old + 192 + i, tl.atomic_cas(x + i, i, i + 1))
    tl.atomic_store(x + i, i + 3)
    tl.store(old + 256 + i, tl.atomic_load(x + i))
    tl.store(old + 320 + i, (x + i).atomic_max(i + 4))
    tl.store(g + i, tl.atomic_xchg(f + i, i.to(tl.float32)))
    first = tl.atomic_add(x, 5)
    tl.store(old + 64, first + tl.atomic_cas(x + 1, 5, 9) + tl.atomic_xchg(x + 2, 1))


@case(grid=(16,), count=zeros("i32", 16), big=zeros("i64", 2))
def atomic_orders(count, big):
    one = tl.num_programs(0) // 16
    tl.atomic_add(count, one, sem="relaxed", scope="gpu")
    tl.atomic_add(count + 1, one, sem="acquire", scope="gpu")
    tl.atomic_add(count + 2, one, sem="release", scope="gpu")
    tl.atomic_add(count + 3, one, sem="acq_rel", scope="gpu")
    tl.atomic_add(count + 4, one, sem="relaxed", scope="cta")
    tl.atomic_add(count + 5, one, sem="acq_rel", scope="sys")
    tl.atomic_max(count + 6, one, sem="release", scope="sys")
    tl.atomic_xchg(count + 7, one, sem="acquire", scope="gpu")
    tl.atomic_cas(count + 8, 0, one, sem="relaxed", scope="gpu")
    tl.atomic_or(count + 9, one, sem="relaxed")
    tl.atomic_add(big, one.to(tl.int64), sem="relaxed", scope="sys")


@case(grid=(8,), lock=zeros("i32", 1), total=zeros("i32", 1), seen=zeros("i32", 8))
def spin_lock(lock, total, seen):
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    value = tl.load(total)
    tl.store(total, value + tl.program_id(0) + 1)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)
    tl.store(seen + tl.program_id(0), 1)


@case(out=zeros("i32", 256), other=zeros("i32", 256))
def barriers(out, other):
    """What other threads of a block wrote is seen behind a barrier."""
    i = tl.arange(0, 256)
    tl.store(out + i, i * 3)
    tl.debug_barrier()
    tl.store(other + i, tl.load(out + (255 - i)))


# --- inline assembly ---------------------------------------------------------------------------------------------------------


@case(x=integers("i32", _N), y=integers("i32", _N), f=normal("fp32", _N), out=zeros("i32", 3, _N), g=zeros("fp32", 2, _N))
def assembly(x, y, f, out, g, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b, c = tl.load(x + i), tl.load(y + i), tl.load(f + i)
    tl.store(out + i, tl.inline_asm_elementwise("lop3.b32 $0, $1, $2, 7, 0xe8;", "=r,r,r", [a, b], dtype=tl.int32, is_pure=True, pack=1))
    low, high = tl.inline_asm_elementwise(
        "{ min.s32 $0, $2, $3; max.s32 $1, $2, $3; }", "=r,=r,r,r", [a, b], dtype=(tl.int32, tl.int32), is_pure=True, pack=1
    )
    tl.store(out + N + i, low)
    tl.store(out + 2 * N + i, high)
    tl.store(g + i, tl.inline_asm_elementwise("fma.rn.f32 $0, $1, $1, $1;", "=f,f", [c], dtype=tl.float32, is_pure=True, pack=1))
    tl.store(g + N + i, tl.inline_asm_elementwise("abs.f32 $0, $1;", "=f,f", [c], tl.float32, False, 1))


@case(x=integers("i8", _N, low=-128, high=128), y=integers("i8", _N, low=-128, high=128), out=zeros("i8", _N), h=zeros("i16", _N))
def packed_assembly(x, y, out, h, N: tl.constexpr = _N):
    """Four bytes, two halves a register."""
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.inline_asm_elementwise("and.b32 $0, $1, $2;", "=r,r,r", [a, b], dtype=tl.int8, is_pure=True, pack=4))
    wide = a.to(tl.int16)
    tl.store(h + i, tl.inline_asm_elementwise("xor.b32 $0, $1, 0xff00ff;", "=r,r", [wide], dtype=tl.int16, is_pure=True, pack=2))


# --- tensors of pointers, pointers to pointers ---------------------------------------------------------------------------------


@jit
def element(base, i):
    return tl.load(base + i)


@case(x=normal("fp32", _N), out=zeros("fp32", 2, _N), i=of("i64", list(range(_N - 1, -1, -1))))
def pointers_as_values(x, out, i, N: tl.constexpr = _N):
    k = tl.arange(0, N)
    at = tl.where(k % 2 == 0, x + k, x + (N - 1 - k))
    tl.store(out + k, tl.load(at))
    turned = tl.load(i + k)
    tl.store(out + N + k, element(x, turned) + element(tl.multiple_of(x, 16), tl.max_contiguous(tl.multiple_of(k, 8), 8)))
