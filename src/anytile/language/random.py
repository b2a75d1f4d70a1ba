"""Counter-based random numbers: Philox 4x32-10 (and 4x64-10 for 64-bit counters).

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.  A block of four words
depends only on (seed, counter), so results are the same bits on every target and for every block size.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import add, invert, maximum, mul, shr, umulhi, where
from .builtin import builtin
from .casting import bitcast_to, cast_to
from .constexpr import constexpr, unwrap
from .math import cos, log, sin, sqrt
from .promotion import to_tensor
from .shaping import zeros_like
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import int32, int64, uint32, uint64

__all__ = [
    "N_ROUNDS_DEFAULT",
    "philox",
    "philox_impl",
    "pair_uniform_to_normal",
    "rand",
    "rand4x",
    "randint",
    "randint4x",
    "randn",
    "randn4x",
    "uint_to_uniform_float",
]

N_ROUNDS_DEFAULT = constexpr(10)

# word width → (key increments, multipliers); products and keys wrap on purpose
_CONSTANTS = {
    32: ((0x9E3779B9, 0xBB67AE85), (0xD2511F53, 0xCD9E8D57)),
    64: ((0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B), (0xD2E7470EE14C6C93, 0xCA5A826395121157)),
}


@builtin
def philox_impl(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tl_tuple:
    """``n_rounds`` rounds of Philox on the counter c and the key k, all uint32 or all uint64."""
    c0, c1, c2, c3, k0, k1 = (to_tensor(v) for v in (c0, c1, c2, c3, k0, k1))
    width = c0.dtype.primitive_bitwidth
    if width not in _CONSTANTS:
        raise ValueError(f"philox needs 32- or 64-bit counters, not {c0.dtype}")
    (key_a, key_b), (mul_a, mul_b) = _CONSTANTS[width]
    for _ in range(unwrap(n_rounds)):
        c0, c1, c2, c3 = (
            umulhi(c2, mul_b) ^ c1 ^ k0,
            mul(c2, mul_b, sanitize_overflow=False),
            umulhi(c0, mul_a) ^ c3 ^ k1,
            mul(c0, mul_a, sanitize_overflow=False),
        )
        k0, k1 = add(k0, key_a, sanitize_overflow=False), add(k1, key_b, sanitize_overflow=False)
    return tl_tuple([c0, c1, c2, c3])


@builtin
def philox(seed: Any, c0: Any, c1: Any, c2: Any, c3: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tl_tuple:
    """Four words for the counter (c0, c1, c2, c3) under the 64-bit ``seed``; the counter's width decides the words'.

    A block of seeds broadcasts with the counter: a stream for each.
    """
    seed = to_tensor(seed)
    if not seed.dtype.is_int():
        raise TypeError(f"the seed must be an integer or a block of integers, not {seed.type}")
    seed = cast_to(seed, uint64)
    counter = [to_tensor(c) for c in (c0, c1, c2, c3)]
    width = counter[0].dtype.primitive_bitwidth
    if width == 32:
        words, low, high = uint32, cast_to(seed & 0xFFFFFFFF, uint32), cast_to(shr(seed, 32) & 0xFFFFFFFF, uint32)
    elif width == 64:
        words, low, high = uint64, seed, zeros_like(seed)
    else:
        raise ValueError(f"philox needs 32- or 64-bit counters, not {counter[0].dtype}")
    a, b, c, d = (cast_to(x, words) for x in counter)
    return philox_impl(a, b, c, d, low, high, n_rounds)


@builtin
def randint4x(seed: Any, offset: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tl_tuple:
    """Four blocks of uniformly distributed 32-bit words, one per element of ``offset``."""
    offset = to_tensor(offset)
    low = cast_to(offset, uint32)
    zero = zeros_like(low)
    high = cast_to(shr(offset, 32), uint32) if offset.dtype.primitive_bitwidth > 32 else zero
    return philox(seed, low, high, zero, zero, n_rounds)


@builtin
def randint(seed: Any, offset: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tensor:
    """A block of uniformly distributed 32-bit words; `randint4x` makes four for the same work."""
    return randint4x(seed, offset, n_rounds)[0]


@builtin
def uint_to_uniform_float(x: Any) -> tensor:
    """An integer's 32 or 64 uniform bits as a uniform fp32 in [0, 1)."""
    x = to_tensor(x)
    if x.dtype.primitive_bitwidth == 32:
        x, scale = bitcast_to(x, int32), 4.6566127342e-10  # 2^-31, rounded down so that 1 is never reached
    elif x.dtype.primitive_bitwidth == 64:
        x, scale = bitcast_to(x, int64), 1.0842020432385337e-19  # 2^-63 rounded down
    else:
        raise ValueError(f"uint_to_uniform_float needs a 32- or 64-bit integer, not {x.dtype}")
    return where(x < 0, invert(x), x) * scale  # -x - 1, which has no overflow to be told of where that is checked


@builtin
def rand(seed: Any, offset: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tensor:
    """A block of uniform fp32 in [0, 1)."""
    return uint_to_uniform_float(randint(seed, offset, n_rounds))


@builtin
def rand4x(seed: Any, offsets: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tl_tuple:
    """Four blocks of uniform fp32 in [0, 1)."""
    return tl_tuple([uint_to_uniform_float(i) for i in randint4x(seed, offsets, n_rounds)])


@builtin
def pair_uniform_to_normal(u1: Any, u2: Any) -> tl_tuple:
    """Two independent standard normal blocks from two uniform ones (Box and Muller)."""
    radius = sqrt(-2.0 * log(maximum(1.0e-7, u1)))
    angle = 6.283185307179586 * u2
    return tl_tuple([radius * cos(angle), radius * sin(angle)])


@builtin
def randn(seed: Any, offset: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tensor:
    """A block of standard normal fp32."""
    i1, i2, _, _ = randint4x(seed, offset, n_rounds)
    return pair_uniform_to_normal(uint_to_uniform_float(i1), uint_to_uniform_float(i2))[0]


@builtin
def randn4x(seed: Any, offset: Any, n_rounds: Any = N_ROUNDS_DEFAULT) -> tl_tuple:
    """Four blocks of standard normal fp32."""
    u1, u2, u3, u4 = rand4x(seed, offset, n_rounds)
    return pair_uniform_to_normal(u1, u2) + pair_uniform_to_normal(u3, u4)
