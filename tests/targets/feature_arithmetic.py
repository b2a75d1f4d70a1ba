"""Operators, conversions and mathematics, element by element."""

from __future__ import annotations

import numpy as np
from feature_table import DTYPES, Array, case, integers, normal, of, uniform, zeros

import anytile.language as tl

_FLOATS = [name for name, t in DTYPES.items() if t.is_floating()]
_WIDE = ("fp64", "fp32", "fp16", "bf16")
_INTEGERS = [name for name, t in DTYPES.items() if t.is_int() and name != "i1"]
_N = 128


def floats_as_integers_as_floats(low: float, high: float) -> Array:
    return uniform("fp32", _N, low=low, high=high)


def _special(kind: str) -> Array:
    """Ordinary numbers, both zeros, infinities, NaN, numbers beyond the range of narrow formats, subnormal ones."""
    edge = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 448.0, 449.0, 464.0, 480.0, 57344.0, 61440.0, 65504.0, 65520.0, 1e-7, 6e-8]
    edge += [3e-8, 2**-9, 2**-10, 1.5 * 2**-10, 2**-17, 2**-16, -(2**-14), 0.0078125, 240.0, 248.0, 30.0, 31.0, 1e10, -3e38, 1e-40]
    return Array(kind, lambda random: np.concatenate([edge, random.standard_normal(_N - len(edge)) * 8]))


def float_operators(x, y, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, a + b)
    tl.store(out + N + i, a - b)
    tl.store(out + 2 * N + i, a * b)
    tl.store(out + 3 * N + i, a / b)
    tl.store(out + 4 * N + i, -a + 2)
    tl.store(out + 5 * N + i, 1 - (+b))
    tl.store(out + 6 * N + i, a % b)
    tl.store(out + 7 * N + i, abs(a) + tl.abs(b) * 3.0)


for _kind in _WIDE:
    _y = Array(_kind, lambda random: random.uniform(0.5, 4, _N) * np.where(random.integers(0, 2, _N), 1, -1))
    case(_kind, x=normal(_kind, _N), y=_y, out=zeros(_kind, 8, _N), tolerance={"fp64": 1e-15, "fp32": 2e-7, "fp16": 1e-3, "bf16": 8e-3}[_kind])(float_operators)  # fmt: skip


def integer_operators(x, y, s, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b, k = tl.load(x + i), tl.load(y + i), tl.load(s + i)
    tl.store(out + i, a + b)
    tl.store(out + N + i, a - b)
    tl.store(out + 2 * N + i, a * b)
    tl.store(out + 3 * N + i, a // b)
    tl.store(out + 4 * N + i, a % b)
    tl.store(out + 5 * N + i, a & b)
    tl.store(out + 6 * N + i, a | b)
    tl.store(out + 7 * N + i, a ^ b)
    tl.store(out + 8 * N + i, ~a)
    tl.store(out + 9 * N + i, a << k)
    tl.store(out + 10 * N + i, a >> k)
    tl.store(out + 11 * N + i, tl.minimum(a, b))
    tl.store(out + 12 * N + i, tl.maximum(a, b))
    tl.store(out + 13 * N + i, tl.where(a < b, a, b))
    tl.store(out + 14 * N + i, tl.abs(a))
    tl.store(out + 15 * N + i, 3 + a * 7 - 1)


for _kind in _INTEGERS:
    _bits, _signed = DTYPES[_kind].primitive_bitwidth, DTYPES[_kind].is_int_signed()
    _low, _high = (-(2 ** (_bits - 1)) + 1, 2 ** (_bits - 1)) if _signed else (0, 2 ** min(_bits, 62))
    _divisor = integers(_kind, _N, low=1, high=100)
    if _signed:
        _divisor = Array(_kind, lambda random: random.integers(1, 100, _N) * np.where(random.integers(0, 2, _N), 1, -1))
    case(_kind, x=integers(_kind, _N, low=_low, high=_high), y=_divisor, s=integers(_kind, _N, low=0, high=_bits), out=zeros(_kind, 16, _N))(integer_operators)  # fmt: skip


@case("fp32", x=_special("fp32"), y=normal("fp32", _N, scale=4), out=zeros("i1", 8, _N))
@case("bf16", x=_special("bf16"), y=normal("bf16", _N, scale=4), out=zeros("i1", 8, _N))
@case("i32", x=integers("i32", _N, low=-3, high=3), y=integers("i32", _N, low=-3, high=3), out=zeros("i1", 8, _N))
@case("u8", x=integers("u8", _N, low=0, high=255), y=integers("u8", _N, low=0, high=255), out=zeros("i1", 8, _N))
def comparisons(x, y, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, a < b)
    tl.store(out + N + i, a <= b)
    tl.store(out + 2 * N + i, a > b)
    tl.store(out + 3 * N + i, a >= b)
    tl.store(out + 4 * N + i, a == b)
    tl.store(out + 5 * N + i, a != b)
    tl.store(out + 6 * N + i, (a < b) and (a != 1))
    tl.store(out + 7 * N + i, (a < b) or not (a > 1))


def float_conversions(x, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i).to(out.dtype.element_ty))


for _from in _FLOATS:
    for _to in _FLOATS:
        # e4b15 saturates and has no NaN: only its finite numbers are asked for.
        _x = normal(_from, _N, scale=0.5) if "fp8e4b15" in (_from, _to) else _special(_from)
        if _from != _to:
            case(f"{_from} to {_to}", x=_x, out=zeros(_to, _N))(float_conversions)


@case("fp32", x=normal("fp32", _N, scale=3), low=zeros("fp16", 2, _N), narrow=zeros("fp8e5", 2, _N), cut=zeros("bf16", _N))
def roundings(x, low, narrow, cut, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(low + i, tl.cast(a, tl.float16, fp_downcast_rounding="rtz"))
    tl.store(low + N + i, a.to(tl.float16, fp_downcast_rounding="rtne"))
    tl.store(narrow + i, a.to(tl.float8e5, fp_downcast_rounding="rtz"))
    tl.store(narrow + N + i, a.to(tl.float8e5))
    tl.store(cut + i, a.to(tl.bfloat16, fp_downcast_rounding="rtz"))


def integers_and_floats(x, f, back, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a = tl.load(x + i).to(tl.float32)
    tl.store(f + i, a)
    tl.store(back + i, (a * 0.75).to(back.dtype.element_ty))


for _kind in _INTEGERS:
    _low = -(2 ** (min(DTYPES[_kind].primitive_bitwidth, 40) - 1)) if DTYPES[_kind].is_int_signed() else 0
    case(_kind, x=integers(_kind, _N, low=_low, high=min(2**40, -_low or 2 ** DTYPES[_kind].primitive_bitwidth)), f=zeros("fp32", _N), back=zeros(_kind, _N))(integers_and_floats)  # fmt: skip


@case(x=integers("i8", _N, low=-128, high=128), s=zeros("i64", _N), u=zeros("u64", _N), b=zeros("i1", _N), h=zeros("i16", _N))
def integer_widths(x, s, u, b, h, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(s + i, a.to(tl.int64) << 20)
    tl.store(u + i, a.to(tl.uint8, bitcast=True).to(tl.uint64))
    tl.store(b + i, a.to(tl.int1))
    tl.store(h + i, (a.to(tl.int64) * 1_000_003).to(tl.int16) + tl.cast(a > 0, tl.int16))


@case(x=normal("fp32", _N), i=zeros("i32", _N), h=zeros("fp16", _N), q=zeros("u8", _N), p=zeros("i64", 2))
def bits(x, i, h, q, p, N: tl.constexpr = _N):
    k = tl.arange(0, N)
    a = tl.load(x + k)
    tl.store(i + k, a.to(tl.int32, bitcast=True))
    tl.store(h + k, (a.to(tl.int32, bitcast=True) >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True).to(tl.float16))
    tl.store(q + k, a.to(tl.float8e4nv).to(tl.uint8, bitcast=True))
    distance = (x + 12).to(tl.int64) - x.to(tl.int64)
    tl.store(p, distance)
    tl.store(p + 1, tl.load((x.to(tl.int64) + distance).to(tl.pointer_type(tl.int32))))


@case(x=normal("fp32", _N, scale=2), y=_special("fp32"), out=zeros("fp32", 9, _N))
def choices(x, y, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.maximum(a, b))
    tl.store(out + N + i, tl.minimum(a, b))
    tl.store(out + 2 * N + i, tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + 3 * N + i, tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + 4 * N + i, tl.clamp(b, -1.0, 2.0))
    tl.store(out + 5 * N + i, tl.clamp(b, -1.0, 2.0, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + 6 * N + i, tl.where(a > 0, b, 0.0))
    tl.store(out + 7 * N + i, tl.where(a > 0, a, -a))
    tl.store(out + 8 * N + i, tl.where(tl.program_id(0) == 0, a, b))


@case(x=integers("i32", _N, low=-(2**31), high=2**31), y=integers("u32", _N, low=0, high=2**32), out=zeros("u32", _N), z=zeros("i32", 3, _N), m=zeros("i64", _N))  # fmt: skip
def explicit_integers(x, y, out, z, m, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.umulhi(b, b))
    tl.store(z + i, tl.add(a, 5, sanitize_overflow=False))
    tl.store(z + N + i, tl.sub(a, 5, sanitize_overflow=False))
    tl.store(z + 2 * N + i, tl.mul(a, a, sanitize_overflow=False))
    tl.store(m + i, a.to(tl.int64) * b)


@case("fp32", x=uniform("fp32", _N, low=0.1, high=9), out=zeros("fp32", 22, _N), tolerance=1e-6)
@case("fp64", x=uniform("fp64", _N, low=0.1, high=9), out=zeros("fp64", 22, _N), tolerance=1e-14)
def mathematics(x, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(out + i, tl.exp(a - 5))
    tl.store(out + N + i, tl.exp2(a - 5))
    tl.store(out + 2 * N + i, tl.log(a))
    tl.store(out + 3 * N + i, tl.log2(a))
    tl.store(out + 4 * N + i, tl.sin(a))
    tl.store(out + 5 * N + i, tl.cos(a))
    tl.store(out + 6 * N + i, tl.sqrt(a))
    tl.store(out + 7 * N + i, tl.rsqrt(a))
    tl.store(out + 8 * N + i, tl.erf(a - 4))
    tl.store(out + 9 * N + i, tl.floor(a - 5))
    tl.store(out + 10 * N + i, tl.ceil(a - 5))
    tl.store(out + 11 * N + i, tl.fma(a, a, -a))
    tl.store(out + 12 * N + i, tl.fdiv(a, a + 1))
    tl.store(out + 13 * N + i, tl.sigmoid(a - 5))
    tl.store(out + 14 * N + i, tl.softmax(a))
    tl.store(out + 15 * N + i, a.exp().log() + a.sqrt() + a.rsqrt())
    tl.store(out + 16 * N + i, (a - 5).abs().floor() + a.ceil() + a.erf())
    tl.store(out + 17 * N + i, a.exp2().log2() + a.sin() * a.cos())
    tl.store(out + 18 * N + i, (a - 5).sigmoid() + a.softmax())
    tl.store(out + 19 * N + i, tl.softmax(a.reshape(8, N // 8)).ravel())
    tl.store(out + 20 * N + i, tl.math.exp(a * 0.5) + tl.math.sqrt(a))
    tl.store(out + 21 * N + i, 2.0 / a + 1.5 * (3 - a))


@case(x=uniform("fp32", _N, low=0.1, high=9), y=normal("fp32", _N), out=zeros("fp32", 3, _N))
def exactly_rounded(x, y, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.div_rn(b, a))
    tl.store(out + N + i, tl.sqrt_rn(a))
    tl.store(out + 2 * N + i, a.sqrt_rn() * 2.0)


@case("fp16", x=normal("fp16", _N), y=integers("i8", _N), out=zeros("fp16", _N), z=zeros("fp32", _N), w=zeros("i64", _N))
@case("bf16", x=normal("bf16", _N), y=integers("i8", _N), out=zeros("bf16", _N), z=zeros("fp32", _N), w=zeros("i64", _N))
def promotions(x, y, out, z, w, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, a * b)
    tl.store(z + i, a * 0.5 + a.to(tl.float32) * b)
    tl.store(w + i, b * (i.to(tl.int64) + 2_000_000_000_000) + i)


_WORDS = np.random.default_rng(4).integers(0, 1 << 32, (32, 32)).astype(np.uint32).view(np.int32)


@case("fp16", x=of("i32", _WORDS), scales=normal("fp16", 256), out=zeros("fp16", 32, 256))
@case("bf16", x=of("i32", _WORDS), scales=normal("bf16", 256), out=zeros("bf16", 32, 256))
def unpacked_weights(x, scales, out):
    """Eight numbers of four bits in each word, less eight, times a scale for each column."""
    i, j = tl.arange(0, 32), tl.arange(0, 256)
    words = tl.load(x + i[:, None] * 32 + tl.arange(0, 32)[None, :])
    parts = (words[:, :, None] >> (tl.arange(0, 8) * 4)[None, None, :]) & 15
    weights = (parts - 8).reshape(32, 256).to(out.dtype.element_ty) * tl.load(scales + j)[None, :]
    tl.store(out + i[:, None] * 256 + j[None, :], weights)


@case("fp16", x=integers("i32", _N, low=-(1 << 31), high=1 << 31), out=zeros("fp16", 6, _N), constants={"KIND": tl.float16})
@case("bf16", x=integers("i32", _N, low=-(1 << 31), high=1 << 31), out=zeros("bf16", 6, _N), constants={"KIND": tl.bfloat16})
def integers_to_small_floats(x, out, KIND: tl.constexpr, N: tl.constexpr = _N):
    """Known to be short, short by a bit too few, not known; signed and unsigned."""
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(out + i, (a & 0xFFFFFF).to(KIND))
    tl.store(out + N + i, (a & 0x3FFFFFF).to(KIND))
    tl.store(out + 2 * N + i, a.to(KIND))
    tl.store(out + 3 * N + i, ((a & 0xFFF) - 0xFFF).to(KIND))
    tl.store(out + 4 * N + i, (a.to(tl.uint32) >> 8).to(KIND))
    tl.store(out + 5 * N + i, (a.to(tl.int64) >> 9).to(KIND))


@case("bf16", x=normal("bf16", 32, 64), row=normal("bf16", 64), column=normal("bf16", 32), out=zeros("bf16", 32, 64))
@case("fp16", x=normal("fp16", 32, 64), row=normal("fp16", 64), column=normal("fp16", 32), out=zeros("fp16", 32, 64))
def scaled_rows_and_columns(x, row, column, out):
    """16-bit arithmetic with what is the same in all rows, or in all columns."""
    i, j = tl.arange(0, 32), tl.arange(0, 64)
    at = i[:, None] * 64 + j[None, :]
    tl.store(out + at, tl.load(x + at) * tl.load(row + j)[None, :] - tl.load(column + i)[:, None])


@case(x=of("u8", np.arange(256)), out=zeros("fp32", 5, 256))
def every_fp8(x, out):
    i = tl.arange(0, 256)
    code = tl.load(x + i)
    tl.store(out + i, code.to(tl.float8e5, bitcast=True).to(tl.float32))
    tl.store(out + 256 + i, code.to(tl.float8e4nv, bitcast=True).to(tl.float32))
    tl.store(out + 512 + i, code.to(tl.float8e4b8, bitcast=True).to(tl.float32))
    tl.store(out + 768 + i, code.to(tl.float8e5b16, bitcast=True).to(tl.float32))
    tl.store(out + 1024 + i, code.to(tl.float8e4b15, bitcast=True).to(tl.float32))
