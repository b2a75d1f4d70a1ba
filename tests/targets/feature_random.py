"""Random numbers: the same bits on every target."""

from __future__ import annotations

from feature_table import case, integers, zeros

import anytile.language as tl

_N = 128


@case(seed=1234, out=zeros("i32", 5, _N))
def random_integers(seed, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b, c, d = tl.randint4x(seed, i)
    tl.store(out + i, a)
    tl.store(out + N + i, b)
    tl.store(out + 2 * N + i, c)
    tl.store(out + 3 * N + i, d)
    tl.store(out + 4 * N + i, tl.randint(seed, i + 5, n_rounds=6))


@case(seed=77, out=zeros("u32", 8, _N))
def philox_bits(seed, out, N: tl.constexpr = _N):
    i = tl.arange(0, N).to(tl.uint32)
    z = i * 0
    a, b, c, d = tl.philox(seed, i, z, z, z)
    tl.store(out + i, a)
    tl.store(out + N + i, b)
    tl.store(out + 2 * N + i, c)
    tl.store(out + 3 * N + i, d)
    a, b, c, d = tl.philox_impl(i, z + 1, z + 2, z + 3, z + 4, z + 5, 7)
    tl.store(out + 4 * N + i, a)
    tl.store(out + 5 * N + i, b)
    tl.store(out + 6 * N + i, c)
    tl.store(out + 7 * N + i, d)


@case(seed=9, bits=integers("u32", _N, low=0, high=2**32), out=zeros("fp32", 6, _N))
def uniform_numbers(seed, bits, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    tl.store(out + i, tl.rand(seed, i))
    a, b, c, d = tl.rand4x(seed, i)
    tl.store(out + N + i, a)
    tl.store(out + 2 * N + i, b)
    tl.store(out + 3 * N + i, c)
    tl.store(out + 4 * N + i, d)
    tl.store(out + 5 * N + i, tl.uint_to_uniform_float(tl.load(bits + i)))


@case(seed=9, out=zeros("fp32", 7, _N), tolerance=2e-6)
def normal_numbers(seed, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    tl.store(out + i, tl.randn(seed, i))
    a, b, c, d = tl.randn4x(seed, i)
    tl.store(out + N + i, a)
    tl.store(out + 2 * N + i, b)
    tl.store(out + 3 * N + i, c)
    tl.store(out + 4 * N + i, d)
    a, b = tl.pair_uniform_to_normal(tl.rand(seed, i), tl.rand(seed + 1, i))
    tl.store(out + 5 * N + i, a)
    tl.store(out + 6 * N + i, b)
