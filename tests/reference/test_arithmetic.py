"""Integer and float rows against Python integers, fractions and NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from anytile.ir import TABLE
from anytile.ir.types import BF16, BOOL, F8E4B8, F8E4M3, F8E5M2, F16, F32, F64, FLOATS, I8, I16, I32, I64, ptr_element
from anytile.targets import formats
from anytile.targets.reference.executor import IMPLEMENTATIONS, STRUCTURAL

rng = np.random.default_rng(1)
INTS = [I8, I16, I32, I64]


def test_every_row_is_implemented_or_structural():
    assert set(TABLE) == set(IMPLEMENTATIONS) | STRUCTURAL
    assert not set(IMPLEMENTATIONS) & STRUCTURAL


def samples(elem, n=64):
    info = np.iinfo(formats.storage(elem))
    edge = [info.min, info.min + 1, -2, -1, 0, 1, 2, 7, info.max - 1, info.max]
    x = np.array(edge * 2 + rng.integers(info.min, info.max, n - 20, endpoint=True).tolist(), formats.storage(elem))
    return x, rng.permutation(x)


def wrap(v, bits):
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


def truncating(x, y):
    q = abs(x) // abs(y)
    return q if (x < 0) == (y < 0) else -q


SIGNED = {
    "add": lambda x, y, b: x + y,
    "sub": lambda x, y, b: x - y,
    "mul": lambda x, y, b: x * y,
    "and": lambda x, y, b: x & y,
    "or": lambda x, y, b: x | y,
    "xor": lambda x, y, b: x ^ y,
    "smin": lambda x, y, b: min(x, y),
    "smax": lambda x, y, b: max(x, y),
    "smulhi": lambda x, y, b: x * y >> b,
    "sdiv": lambda x, y, b: truncating(x, y),
    "srem": lambda x, y, b: x - y * truncating(x, y),
}
UNSIGNED = {
    "umin": lambda x, y, b: min(x, y),
    "umax": lambda x, y, b: max(x, y),
    "umulhi": lambda x, y, b: x * y >> b,
    "udiv": lambda x, y, b: x // y,
    "urem": lambda x, y, b: x % y,
}


@pytest.mark.parametrize("elem", INTS, ids=str)
@pytest.mark.parametrize("name", [*SIGNED, *UNSIGNED])
def test_integer_binary(row, name, elem):
    x, y = samples(elem)
    if name[1:] in ("div", "rem"):
        y = np.where(y == 0, 3, y).astype(y.dtype)
    got = row(name, (x, elem), (y, elem)).tolist()
    read = (lambda v: v & ((1 << elem.bits) - 1)) if name in UNSIGNED else (lambda v: v)
    fn = {**SIGNED, **UNSIGNED}[name]
    assert got == [wrap(fn(read(a), read(b), elem.bits), elem.bits) for a, b in zip(x.tolist(), y.tolist())]


@pytest.mark.parametrize("name", ["sdiv", "udiv", "srem", "urem"])
def test_division_by_zero_does_not_trap(row, name):
    with np.errstate(all="raise"):
        row(name, (np.array([5, -5]), I32), (np.array([0, 0]), I32))


@pytest.mark.parametrize("elem", INTS, ids=str)
def test_shifts(row, elem):
    x, _ = samples(elem)
    y = rng.integers(0, elem.bits, x.shape)
    m = (1 << elem.bits) - 1
    pairs = list(zip(x.tolist(), y.tolist()))
    assert row("shl", (x, elem), (y, elem)).tolist() == [wrap(a << b, elem.bits) for a, b in pairs]
    assert row("lshr", (x, elem), (y, elem)).tolist() == [wrap((a & m) >> b, elem.bits) for a, b in pairs]
    assert row("ashr", (x, elem), (y, elem)).tolist() == [a >> b for a, b in pairs]
    for name in ("shl", "lshr", "ashr"):
        row(name, (x, elem), (np.full(x.shape, -1), elem))  # too far: unspecified, but harmless


@pytest.mark.parametrize("elem", INTS, ids=str)
def test_integer_unary(row, elem):
    x, _ = samples(elem)
    texts = [format(v & ((1 << elem.bits) - 1), f"0{elem.bits}b") for v in x.tolist()]
    assert row("popc", (x, elem)).tolist() == [t.count("1") for t in texts]
    assert row("clz", (x, elem)).tolist() == [len(t) - len(t.lstrip("0")) for t in texts]
    assert row("brev", (x, elem)).tolist() == [wrap(int(t[::-1], 2), elem.bits) for t in texts]
    assert row("iabs", (x, elem)).tolist() == [wrap(abs(v), elem.bits) for v in x.tolist()]


def test_booleans_are_one_bit_integers(row):
    x, y = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    expected = {"add": x ^ y, "sub": x ^ y, "mul": x & y, "and": x & y, "or": x | y, "xor": x ^ y, "umax": x | y, "umin": x & y}
    expected |= {"smax": x & y, "smin": x | y}  # as signed numbers, 1 is −1
    for name, want in expected.items():
        np.testing.assert_array_equal(row(name, (x, BOOL), (y, BOOL)), want, name)
    assert row("sext", (x, BOOL), to=I32).tolist() == [0, 0, -1, -1]
    assert row("zext", (x, BOOL), to=I32).tolist() == [0, 0, 1, 1]
    assert row("uitofp", (x, BOOL), to=F32).tolist() == [0, 0, 1, 1]
    assert row("trunci", (np.array([2, 3]), I32), to=BOOL).tolist() == [False, True]
    assert row("icmp", (x, BOOL), (y, BOOL), pred="ult").tolist() == [False, True, False, False]
    assert row("popc", (x, BOOL)).tolist() == x.tolist() and row("clz", (x, BOOL)).tolist() == (~x).tolist()


def float_samples(fmt, n=512):
    x = np.concatenate([rng.standard_normal(n - 8), [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2]])
    if fmt is F8E4M3:
        x = np.clip(x, -400, 400)
    return [formats.decode(formats.encode(rng.permutation(x), fmt), fmt).astype(np.float64) for _ in range(3)]


@pytest.mark.parametrize("fmt", FLOATS, ids=str)
@pytest.mark.parametrize(
    "name, fn", [("fadd", np.add), ("fsub", np.subtract), ("fmul", np.multiply), ("fdiv", np.divide), ("frem", np.fmod)]
)
def test_float_binary_is_rounded_once(row, fmt, name, fn):
    x, y, _ = float_samples(fmt)
    narrow = np.float64 if fmt is F64 else np.float32
    want = formats.encode(fn(x.astype(narrow), y.astype(narrow)), fmt)
    np.testing.assert_array_equal(formats.decode(row(name, (x, fmt), (y, fmt)), fmt), formats.decode(want, fmt))


def test_bf16_addition_agrees_with_torch(row):
    torch = pytest.importorskip("torch")
    x, y, _ = float_samples(BF16)
    want = (torch.tensor(x, dtype=torch.bfloat16) * torch.tensor(y, dtype=torch.bfloat16)).float().numpy()
    np.testing.assert_array_equal(formats.decode(row("fmul", (x, BF16), (y, BF16)), BF16), want)


def test_minimum_and_nan(row):
    x, y = np.array([1, np.nan, 3, np.nan]), np.array([2, 2, np.nan, np.nan])
    for fmt in (F16, BF16, F32, F64):
        got = {n: formats.decode(row(n, (x, fmt), (y, fmt)), fmt) for n in ("fmin", "fmax", "fminimum", "fmaximum")}
        np.testing.assert_array_equal(got["fmin"], [1, 2, 3, np.nan])
        np.testing.assert_array_equal(got["fmax"], [2, 2, 3, np.nan])
        np.testing.assert_array_equal(got["fminimum"], [1, np.nan, np.nan, np.nan])
        np.testing.assert_array_equal(got["fmaximum"], [2, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("fmt", FLOATS, ids=str)
def test_sign_operations_touch_one_bit(row, fmt):
    codes = np.arange(256, dtype=np.uint8) if fmt.bits == 8 else None
    x = codes if codes is not None else formats.encode(np.array([0.0, -0.0, 1.5, -2, np.inf, np.nan]), fmt)
    neg, absolute = row("fneg", (x, fmt)), row("fabs", (x, fmt))
    np.testing.assert_array_equal(formats.decode(neg, fmt), -formats.decode(x, fmt))
    np.testing.assert_array_equal(formats.decode(absolute, fmt), np.abs(formats.decode(x, fmt)))
    if fmt is F8E4B8:
        assert neg[0] == 0 and neg[0x80] == 0x80 and absolute[0x80] == 0x80


@pytest.mark.parametrize("fmt", [F32, F64, F16, BF16], ids=str)
def test_fma_is_rounded_once(row, fmt):
    x, y, z = float_samples(fmt)
    scale = formats.decode(formats.encode(x * y, fmt), fmt)
    z = np.where(np.arange(len(z)) % 2, z, -scale.astype(np.float64))  # half of them cancel
    got = formats.decode(row("fma", (x, fmt), (y, fmt), (z, fmt)), fmt)
    for a, b, c, r in zip(x.tolist(), y.tolist(), z.tolist(), got.tolist()):
        if math.isfinite(a) and math.isfinite(b) and math.isfinite(c):
            exact = Fraction(a) * Fraction(b) + Fraction(c)
            near = formats.encode(np.array(float(exact)), fmt)
            # float(exact) rounds first: look at both neighbours too and demand that none is nearer.
            step = abs(Fraction(r) - exact)
            value = float(formats.decode(near, fmt))
            assert step <= abs(Fraction(value) - exact)
        else:
            want = a * b + c
            assert r == want or (math.isnan(r) and math.isnan(want))


def test_fma_hand_values(row):
    e = 2.0**-23
    got = row("fma", ([1 + e], F32), ([1 - e], F32), ([-1.0], F32))
    assert got[0] == np.float32(-(e**2))
    tie = row("fma", ([1 + 2.0**-12], F32), ([1 + 2.0**-12], F32), ([2.0**-80], F32))
    assert tie[0] == np.float32(1 + 2.0**-11 + 2.0**-23)  # the tiny addend breaks the tie upwards
    assert row("fma", ([1e200], F64), ([1e200], F64), ([-np.inf], F64))[0] == -np.inf
    assert row("fma", ([1e200], F64), ([1e200], F64), ([0.0], F64))[0] == np.inf


@pytest.mark.parametrize("pred", ["oeq", "une", "olt", "ole", "ogt", "oge", "uno"])
def test_fcmp(row, pred):
    x, y = np.array([1, 2, 2, np.nan, 1, np.nan]), np.array([2, 1, 2, 1, np.nan, np.nan])
    want = {
        "oeq": [0, 0, 1, 0, 0, 0],
        "une": [1, 1, 0, 1, 1, 1],
        "olt": [1, 0, 0, 0, 0, 0],
        "ole": [1, 0, 1, 0, 0, 0],
        "ogt": [0, 1, 0, 0, 0, 0],
        "oge": [0, 1, 1, 0, 0, 0],
        "uno": [0, 0, 0, 1, 1, 1],
    }[pred]
    for fmt in (F32, BF16, F8E5M2):
        assert row("fcmp", (x, fmt), (y, fmt), pred=pred).astype(int).tolist() == want


@pytest.mark.parametrize("elem", [I8, I64], ids=str)
def test_icmp(row, elem):
    x, y = samples(elem)
    m = (1 << elem.bits) - 1
    for name, fn in {"lt": int.__lt__, "le": int.__le__, "gt": int.__gt__, "ge": int.__ge__}.items():
        pairs = list(zip(x.tolist(), y.tolist()))
        assert row("icmp", (x, elem), (y, elem), pred="s" + name).tolist() == [fn(a, b) for a, b in pairs]
        assert row("icmp", (x, elem), (y, elem), pred="u" + name).tolist() == [fn(a & m, b & m) for a, b in pairs]
    np.testing.assert_array_equal(row("icmp", (x, elem), (y, elem), pred="eq"), x == y)
    np.testing.assert_array_equal(row("icmp", (x, elem), (y, elem), pred="ne"), x != y)


def test_select_and_pointers(row):
    assert row("select", ([True, False], BOOL), ([1.0, 2.0], F32), ([3.0, 4.0], F32)).tolist() == [1, 4]
    p = ptr_element(F32)
    moved = row("addptr", (np.array([100, 100], np.uint64), p), (np.array([-3, 5], np.int8), I8))
    assert moved.tolist() == [88, 120]
    high = np.array([2**63 + 5], np.uint64)
    assert row("ptrtoint", (high, p), to=I64).tolist() == [5 - 2**63]
    assert row("inttoptr", (np.array([-1]), I64), to=p).tolist() == [2**64 - 1]


def test_integer_widening_and_narrowing(row):
    x = np.array([-1, 127, -128])
    assert row("sext", (x, I8), to=I64).tolist() == [-1, 127, -128]
    assert row("zext", (x, I8), to=I32).tolist() == [255, 127, 128]
    assert row("trunci", (np.array([255, 256, -129]), I32), to=I8).tolist() == [-1, 0, 127]
    assert row("sitofp", (x, I8), to=F16).tolist() == [-1, 127, -128]
    assert row("uitofp", (x, I8), to=F64).tolist() == [255, 127, 128]
    assert row("uitofp", (np.array([-1]), I64), to=F32).tolist() == [2.0**64]


def test_float_to_integer_truncates_and_never_warns(row):
    x = np.array([1.9, -1.9, 0.5, np.nan, np.inf, -np.inf, 1e20])
    with np.errstate(all="raise", under="ignore"):
        for elem in INTS:
            assert row("fptosi", (x, F64), to=elem).tolist()[:3] == [1, -1, 0]
            row("fptoui", (x, F64), to=elem)
    assert row("fptoui", ([2.0**63, 4294967295.0], F64), to=I64).tolist() == [-(2**63), 4294967295]
    assert row("fptoui", ([200.0], BF16), to=I8).tolist() == [-56]


def test_fpcast(row):
    assert row("fpcast", ([1 + 2.0**-12], F32), to=F16).tolist() == [1]
    assert row("fpcast", ([-1 - 2.0**-10 - 2.0**-11], F32), to=F16, rounding="rtz").tolist() == [-1 - 2.0**-10]
    assert formats.decode(row("fpcast", ([1e9, np.nan], F32), to=F8E4M3), F8E4M3)[0] == 448
    assert row("fpcast", ([1.5], F8E5M2), to=F64).tolist() == [1.5]
    assert row("bitcast", (np.array([0x3F80], np.uint16), BF16), to=I16).tolist() == [0x3F80]
    assert row("bitcast", ([1.0], F32), to=I32).tolist() == [0x3F800000]
