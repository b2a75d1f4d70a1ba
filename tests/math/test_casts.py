"""expand_casts against the NumPy conversions of targets/formats: every narrow value, sampled wide ones."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate import compile_formula, record

from anytile.ir import Builder, Module
from anytile.ir.types import BF16, F8E4B8, F8E4B15, F8E4M3, F8E5B16, F8E5M2, F16, F32, F64, I8, I16, I32, I64
from anytile.math.conversions import encode_constant, to_tf32
from anytile.math.expr import E, Scope
from anytile.passes.expand_casts import expand_casts
from anytile.targets import formats

F8 = (F8E4M3, F8E5M2, F8E4B8, F8E5B16, F8E4B15)
NARROW = (F16, BF16, *F8)
rng = np.random.default_rng(7)


def run(row, src, dst, data, native=frozenset(), **attrs):
    f, _ = record(lambda b, x: b.op(row, x, to=dst, **attrs), [src])
    expand_casts(Module([f]), native)
    assert not any(op.name == "fpcast" and {op.operands[0].type.elem, op.attrs["to"]} & set(NARROW) for op in f.walk()), f
    return compile_formula(f, f.body.ops[-1].result)(data)


def bits(a):
    return a.view(f"u{a.dtype.itemsize}")


def wide_samples(src) -> np.ndarray:
    """Every exponent, ties of every narrow format and their neighbours, NaN, ∞ and noise."""
    if src is F32:
        u = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
        top = np.arange(2**16, dtype=np.uint32) << 16
        near = np.concatenate([(top + d).astype(np.uint32) for d in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x0FFF, 0x1000, 0x1001)])
        return np.concatenate([u, near]).view(np.float32)
    base = wide_samples(F32)[::3].astype(np.float64)
    with np.errstate(all="ignore"):
        near = [base, np.nextafter(base, np.inf), np.nextafter(base, -np.inf)]
        noise = rng.integers(0, 2**64, 100_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([*near, noise])


def same(got, want, fmt):
    """Equal bits, where any NaN is as good as another."""
    gb, wb = bits(np.asarray(got)), bits(np.asarray(want))
    value = lambda b: formats.decode(b.view(formats.storage(fmt)), fmt)  # noqa: E731
    ok = (gb == wb) | (np.isnan(value(gb)) & np.isnan(value(wb)))
    return ok


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rounding", ["rtne", "rtz"])
@pytest.mark.parametrize("dst", NARROW, ids=str)
@pytest.mark.parametrize("src", [F32, F64], ids=str)
def test_narrowing(src, dst, rounding):
    x = wide_samples(src)
    got = run("fpcast", src, dst, x, rounding=rounding)
    ok = same(got, formats.encode(x, dst, rounding), dst)
    bad = np.flatnonzero(~ok)
    assert not bad.size, [(x[i], bits(got)[i], bits(formats.encode(x, dst, rounding))[i]) for i in bad[:5]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("src", [F32, F64], ids=str)
def test_bf16_by_a_choice_instead_of_shifts(src):
    x = wide_samples(src)
    got = run("fpcast", src, BF16, x, frozenset({"cheap_select"}), rounding="rtne")
    assert same(got, formats.encode(x, BF16, "rtne"), BF16).all()


@pytest.mark.parametrize("src", NARROW, ids=str)
@pytest.mark.parametrize("dst", [F32, F64], ids=str)
def test_widening_is_exact(src, dst):
    codes = np.arange(2**src.bits, dtype=np.uint32).astype(f"u{src.bits // 8}")
    x = codes.view(formats.storage(src))
    got = run("fpcast", src, dst, x)
    want = formats.decode(x, src).astype(got.dtype)
    assert same(got, want, dst).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dst", NARROW, ids=str)
@pytest.mark.parametrize("src", NARROW, ids=str)
def test_between_narrow_formats(src, dst):
    if src is dst:
        pytest.skip("nothing to convert")
    codes = np.arange(2**src.bits, dtype=np.uint32).astype(f"u{src.bits // 8}")
    x = codes.view(formats.storage(src))
    assert same(run("fpcast", src, dst, x), formats.encode(formats.decode(x, src), dst), dst).all()


def test_f64_to_f32_towards_zero():
    x = wide_samples(F64)
    with np.errstate(all="ignore"):
        assert same(run("fpcast", F64, F32, x, rounding="rtz"), formats.encode(x, F32, "rtz"), F32).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ["sitofp", "uitofp"])
@pytest.mark.parametrize("src", [I8, I16, I32, I64], ids=str)
@pytest.mark.parametrize("dst", NARROW, ids=str)
def test_from_integers(src, dst, row):
    kind = "i" if row == "sitofp" else "u"
    dtype = np.dtype(f"{kind}{src.bits // 8}")
    if src.bits <= 16:
        x = np.arange(2**src.bits, dtype=np.uint32).astype(f"u{src.bits // 8}").view(dtype)
    else:
        r = rng.integers(0, 2**64, 60_000, dtype=np.uint64) >> rng.integers(0, 64, 60_000, dtype=np.uint64)
        ties = (np.uint64(257) << np.arange(56, dtype=np.uint64))[:, None] + np.array([-1, 0, 1]).astype(np.uint64)
        x = np.concatenate([r, ties.ravel(), ~ties.ravel()]).astype(f"u{src.bits // 8}").view(dtype)
    got = run(row, src, dst, x)
    want = formats.from_integers(x, dst)
    bad = np.flatnonzero(~same(got, want, dst))
    assert not bad.size, [(x[i], bits(got)[i], bits(want)[i]) for i in bad[:5]]


@pytest.mark.parametrize("src", NARROW, ids=str)
def test_to_integers(src):
    codes = np.arange(2**src.bits, dtype=np.uint32).astype(f"u{src.bits // 8}")
    x = codes.view(formats.storage(src))
    value = formats.decode(x, src)
    fits = np.abs(value) < 2**31  # NaN and beyond are unspecified
    got = run("fptosi", src, I32, x).view(np.int32)
    assert (got[fits] == value[fits].astype(np.int32)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fmt", F8, ids=str)
def test_constants(fmt):
    values = np.concatenate([formats.decode(np.arange(256, dtype=np.uint8), fmt), [1e9, -1e9, np.inf, 0.3, -1e-9, 1.0625, 0.0]])
    want = formats.encode(values.astype(np.float64), fmt)
    got = np.array([encode_constant(float(v), fmt) for v in values], np.uint8)
    assert same(got, want, fmt).all()
    f, _ = record(lambda b, x: b.const(1.5, fmt), [I8])
    assert expand_casts(Module([f]), frozenset())
    assert [op.name for op in f.walk()] == ["constant", "bitcast"]


def test_tf32():
    x = wide_samples(F32)

    def formula(b: Builder, v):
        return to_tf32(E(Scope(b), v)).v

    got = compile_formula(*record(formula, [F32]))(x)
    u = x.view(np.uint32)
    special = ~np.isfinite(x)
    want = np.where(special, u, (u + np.uint32(0x1000)) & np.uint32(0xFFFFE000))
    assert (got.view(np.uint32) == want).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("more", [set(), {"cheap_select"}], ids=["shifts", "choice"])
@pytest.mark.parametrize("row", ["fadd", "fsub", "fmul", "fdiv"])
def test_arithmetic_on_bf16_has_nans_that_need_no_look(row, more):
    """All values of bf16 with all kinds of others: the sum, product … rounded without a question for NaN."""
    kinds = np.array([0x7F80, 0xFF80, 0x7FC0, 0xFFC0, 0x7F81, 0xFFFF, 0x7FBF, 0x0000, 0x8000, 0x0001, 0x3F80, 0x3FFF, 0x7F7F], np.uint16)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(2**16, dtype=np.uint32).astype(np.uint16), kinds))

    def formula(b: Builder, u, v):
        wide = [b.fpcast(b.bitcast(w, to=BF16), to=F32) for w in (u, v)]
        return b.bitcast(b.fpcast(b.op(row, *wide), to=BF16), to=I16)

    f, _ = record(formula, [I16, I16])
    expand_casts(Module([f]), {"fpcast.bf16.f32", "short_nans"} | more)
    assert "fcmp" not in [op.name for op in f.walk()]
    expand_casts(Module([f]), frozenset())  # what `compile_formula` does not know
    got = compile_formula(f, f.body.ops[-1].result)(x, y).view(np.uint16)
    with np.errstate(all="ignore"):
        wide = [(a.astype(np.uint32) << 16).view(np.float32) for a in (x, y)]
        want = {"fadd": np.add, "fsub": np.subtract, "fmul": np.multiply, "fdiv": np.divide}[row](*wide)
    assert same(got.view(formats.storage(BF16)), formats.encode(want, BF16), BF16).all()


def test_only_short_nans_need_no_look():
    """An f32 from elsewhere may be any NaN, and so may what is computed of it; a mere copy may be a signalling one."""

    def looks(formula, types) -> bool:
        f, _ = record(lambda b, *values: b.fpcast(formula(b, *values), to=BF16), types)
        expand_casts(Module([f]), {"fpcast.bf16.f32", "short_nans"})
        return "fcmp" in [op.name for op in f.walk()]

    wide = lambda b, v: b.fpcast(b.bitcast(v, to=BF16), to=F32)  # noqa: E731
    assert looks(lambda b, x: x, [F32])
    assert looks(lambda b, x, y: b.fmul(wide(b, x), y), [I16, F32])
    assert looks(lambda b, x: b.op("fneg", wide(b, x)), [I16])
    assert looks(lambda b, x, y: b.fmul(wide(b, x), b.bitcast(y, to=F32)), [I16, I32])
    assert not looks(lambda b, x, y: b.op("fma", wide(b, x), wide(b, y), b.const(1.0, F32)), [I16, I16])
    assert not looks(lambda b, x, y: b.op("fsub", wide(b, x), b.op("fneg", b.op("sitofp", y, to=F32))), [I16, I32])
