"""formats.py against torch's own conversions (exhaustive) and hand values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from anytile.ir.types import BF16, F8E4B8, F8E4B15, F8E4M3, F8E5B16, F8E5M2, F16, F32, F64, FLOATS
from anytile.targets import formats

EIGHT_BITS = [F8E4M3, F8E5M2, F8E4B8, F8E5B16, F8E4B15]
NARROW = [*EIGHT_BITS, BF16, F16]
TORCH = {
    F8E4M3: "float8_e4m3fn",
    F8E5M2: "float8_e5m2",
    F8E4B8: "float8_e4m3fnuz",
    F8E5B16: "float8_e5m2fnuz",
    BF16: "bfloat16",
    F16: "float16",
}

rng = np.random.default_rng(0)


def codes(fmt):
    return np.arange(1 << fmt.bits, dtype=np.uint32).astype(formats.unsigned(fmt.bits)).view(formats.storage(fmt))


def bits(x, fmt):
    return x.view(formats.unsigned(fmt.bits))


@pytest.mark.parametrize("fmt", TORCH, ids=str)
def test_decode_agrees_with_torch(fmt):
    torch = pytest.importorskip("torch")
    raw = bits(codes(fmt), fmt)
    signed = raw.view(np.int8 if fmt.bits == 8 else np.int16)
    want = torch.from_numpy(signed.copy()).view(getattr(torch, TORCH[fmt])).float().numpy()
    np.testing.assert_array_equal(formats.decode(codes(fmt), fmt), want)


@pytest.mark.parametrize("fmt", NARROW, ids=str)
@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("rounding", ["rtne", "rtz"])
def test_every_value_survives_a_round_trip(fmt, wide, rounding):
    x = formats.decode(codes(fmt), fmt).astype(wide)
    back = formats.encode(x, fmt, rounding)
    finite = np.isfinite(x)
    np.testing.assert_array_equal(bits(back, fmt)[finite], bits(codes(fmt), fmt)[finite])
    assert np.isnan(formats.decode(back, fmt)[np.isnan(x)]).all()


@pytest.mark.parametrize("fmt", EIGHT_BITS, ids=str)
def test_f16_holds_every_value_of_eight_bits(fmt):  # dots of 8-bit floats are multiplied as f16
    x = formats.decode(codes(fmt), fmt)
    np.testing.assert_array_equal(x.astype(np.float16).astype(x.dtype), x)


@pytest.mark.parametrize("fmt", [F8E4M3, F8E5M2, BF16, F16], ids=str)
def test_encode_agrees_with_torch_within_range(fmt):
    torch = pytest.importorskip("torch")
    x = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([x, rng.standard_normal(50_000).astype(np.float32) * 10.0 ** rng.integers(-9, 3, 50_000)]).astype(np.float32)
    top = float(formats.decode(codes(fmt)[formats.max_code(fmt)], fmt))
    x = x[np.abs(x) <= top]
    want = torch.from_numpy(x).to(getattr(torch, TORCH[fmt]))
    want = want.view(torch.int8 if fmt.bits == 8 else torch.int16).numpy().view(formats.unsigned(fmt.bits))
    np.testing.assert_array_equal(bits(formats.encode(x, fmt), fmt), want)
    np.testing.assert_array_equal(bits(formats.encode(x.astype(np.float64), fmt), fmt), want)


@pytest.mark.parametrize("fmt", EIGHT_BITS, ids=str)
def test_rounding_between_neighbours(fmt):
    values = formats.decode(codes(fmt)[: formats.max_code(fmt) + 1], fmt).astype(np.float64)
    low, high = values[:-1], values[1:]
    middle = (low + high) / 2  # exact in float64
    for sign in (1, -1):
        zero = 0x80 if sign < 0 else 0
        n = np.arange(len(low))

        def got(x, rounding="rtne"):
            return formats.encode(sign * x, fmt, rounding).astype(int)

        def code(k):
            return np.where((k == 0) & fmt.fnuz, 0, k | zero)

        np.testing.assert_array_equal(got(middle), code(n + n % 2))  # the even one
        np.testing.assert_array_equal(got(np.nextafter(middle, -np.inf)), code(n))
        np.testing.assert_array_equal(got(np.nextafter(middle, np.inf)), code(n + 1))
        np.testing.assert_array_equal(got(np.nextafter(high, 0), "rtz"), code(n))


@pytest.mark.parametrize(
    "fmt, top, nan", [(F8E4M3, 448, 0x7F), (F8E5M2, 57344, 0x7F), (F8E4B8, 240, 0x80), (F8E5B16, 57344, 0x80), (F8E4B15, 1.75, 0x7F)]
)
def test_eight_bit_formats_saturate(fmt, top, nan):
    x = np.array([top, top * 1.2, 1e30, np.inf, -np.inf, -1e30, np.nan], np.float32)
    for rounding in ("rtne", "rtz"):
        y = formats.encode(x, fmt, rounding)
        np.testing.assert_array_equal(formats.decode(y, fmt)[:6], [top, top, top, top, -top, -top])
        assert y[6] == nan == formats.nan_code(fmt)


@pytest.mark.parametrize("fmt", [F8E4B8, F8E5B16], ids=str)
def test_fnuz_has_one_zero(fmt):
    assert formats.encode(np.array([-0.0, -1e-30], np.float32), fmt).tolist() == [0, 0]


def test_overflow_of_bf16_and_f16():
    x = np.array([3.4e38, -3.4e38, 1e39, np.inf], np.float64)
    inf = np.inf
    np.testing.assert_array_equal(formats.decode(formats.encode(x, BF16), BF16), [inf, -inf, inf, inf])
    top = float.fromhex("0x1.fep127")
    np.testing.assert_array_equal(formats.decode(formats.encode(x, BF16, "rtz"), BF16), [top, -top, top, inf])
    np.testing.assert_array_equal(formats.encode(x, F16, "rtz"), [65504, -65504, 65504, inf])
    np.testing.assert_array_equal(formats.encode(x, F16), [inf, -inf, inf, inf])


def test_float64_is_rounded_once():
    # Rounding to f32 first would make a tie of it, and the tie would go down.
    x = np.array([1 + 2.0**-8 + 2.0**-40])
    assert formats.decode(formats.encode(x, BF16), BF16)[0] == 1 + 2.0**-7
    x = np.array([1 + 2.0**-24 + 2.0**-50])
    assert formats.encode(x, F32)[0] == np.float32(1 + 2.0**-23)


def test_rtz_never_grows():
    x = rng.standard_normal(10_000)
    for fmt in (F32, F16, BF16):
        y = formats.decode(formats.encode(x, fmt, "rtz"), fmt).astype(np.float64)
        assert (np.abs(y) <= np.abs(x)).all()
        assert (np.abs(x - y) < np.abs(x) * 2.0**-fmt.mantissa).all()


def nearest(value: Fraction, fmt):
    """The format's value nearest to an exact rational, ties to even, by search over all of them."""
    raw = np.arange(formats.max_code(fmt) + 1)
    values = formats.decode(raw.astype(formats.unsigned(fmt.bits)).view(formats.storage(fmt)), fmt)
    i = int(np.searchsorted(values, float(abs(value))))
    near = [k for k in range(max(0, i - 2), min(len(values), i + 3))]
    best = min(near, key=lambda k: (abs(Fraction(float(values[k])) - abs(value)), k & 1))
    return float(values[best]) * (-1 if value < 0 else 1)


@pytest.mark.parametrize("fmt", [BF16, F16, F8E5M2, F8E4M3], ids=str)
def test_integers_are_rounded_once(fmt):
    top = min(1 << 62, int(formats.decode(codes(fmt)[formats.max_code(fmt)], fmt)))
    x = np.unique(np.concatenate([rng.integers(-top, top, 200), [0, 1, -1, top]]))
    hard = [(1 << 55) + (1 << 47) + 1, (1 << 55) + (1 << 47), -(1 << 55) - (1 << 47) - 1]  # just above a bf16 tie
    x = np.array([*x.tolist(), *(h for h in hard if abs(h) < top)], np.int64)
    got = formats.decode(formats.from_integers(x, fmt), fmt)
    assert got.tolist() == [nearest(Fraction(int(v)), fmt) for v in x]


def test_large_integers_to_f16_are_infinite_and_unsigned_are_positive():
    assert formats.from_integers(np.array([2**63], np.uint64), F16)[0] == np.inf
    assert formats.decode(formats.from_integers(np.array([2**64 - 1], np.uint64), BF16), BF16)[0] == 2.0**64
    assert formats.from_integers(np.array([-(2**63)], np.int64), F64)[0] == -(2.0**63)


def test_storage_of_every_float_has_its_width():
    for fmt in FLOATS:
        assert formats.storage(fmt).itemsize * 8 == fmt.bits
