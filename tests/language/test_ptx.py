"""Inline PTX against NumPy, on the reference target; a few snippets of libraries on the CPU target too."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import UnsupportedError
from anytile.language.inline import inline_asm_elementwise
from anytile.runtime.jit import jit

RNG = np.random.default_rng(7)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5], np.float32)
X = np.concatenate([SPECIAL, RNG.normal(size=24).astype(np.float32) * 3])
Y = RNG.normal(size=32).astype(np.float32)
A, B = (RNG.integers(0, 1 << 32, 32, dtype=np.uint32) for _ in range(2))
N = RNG.integers(0, 70, 32).astype(np.uint32)
U32 = (1 << 32) - 1


@pytest.fixture
def asm(evaluate):
    def run(text, *arrays, dtype=tl.float32, pack=1, constraints=None):
        if constraints is None:
            constraints = ",".join(["=r"] + ["r"] * len(arrays))
        return evaluate(lambda *xs: inline_asm_elementwise(text, constraints, xs, dtype, True, pack), *arrays)

    return run


def test_arithmetic_of_libraries(asm):
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(asm("mov.f32 $0,$1;", X), X)
        np.testing.assert_array_equal(asm("div.rn.f32 $0, $1, $2;", X, Y), X / Y)
        np.testing.assert_array_equal(asm("mul.rn.f32 $0, $1, $2;", X, Y, constraints="=f,f,f"), X * Y)
        np.testing.assert_array_equal(asm("rcp.rn.f32 $0, $1;", X), np.float32(1) / X)
        np.testing.assert_allclose(asm("ex2.approx.ftz.f32 $0, $1;", X), np.exp2(X), rtol=3e-7)
        np.testing.assert_allclose(asm("lg2.approx.ftz.f32 $0, $1;", abs(X)), np.log2(abs(X)), rtol=3e-7, atol=1e-7)
        np.testing.assert_allclose(asm("rsqrt.approx.ftz.f32 $0, $1;", abs(X)), 1 / np.sqrt(abs(X)), rtol=3e-7)
        np.testing.assert_allclose(asm("tanh.approx.f32 $0, $1;", X), np.tanh(X), rtol=3e-7)
        np.testing.assert_allclose(asm("{ cos.approx.f32 $0, $1; // twice\n ex2.approx.f32 $0, $0; }", Y), np.exp2(np.cos(Y)), rtol=5e-7)


def test_softplus_with_predicates(asm):
    text = """
    {
        .reg .pred p;
        setp.gt.f32  p, $1, 1.;
        @p  mov.f32  $0, $1;
        @!p mul.f32            $0, $1, 1.4426950408889634;
        @!p ex2.approx.ftz.f32 $0, $0;
        @!p add.f32            $0, $0, 1.0;
        @!p lg2.approx.ftz.f32 $0, $0;
        @!p mul.f32            $0, $0, 0.6931471805599453;
    }
    """
    expected = np.where(Y > 1, Y, np.log1p(np.exp(Y)))
    np.testing.assert_allclose(asm(text, Y, constraints="=f,f"), expected, rtol=1e-5)


def test_names_are_declared_again(asm):
    text = "{.reg .b16 t; mov.b16 t, 7; cvt.u32.u16 $0, t;} {.reg .b32 t; add.u32 t, $1, 70000; add.u32 $0, $0, t;}"
    np.testing.assert_array_equal(asm(text, A, dtype=tl.uint32), A + np.uint32(70007))


@pytest.mark.parametrize("lut", range(256))
def test_lop3_is_its_table(asm, lut):
    c = np.roll(A, 3)
    got = asm(f"lop3.b32 $0, $1, $2, $3, {lut:#x};", A, B, c, dtype=tl.uint32)
    expected = np.zeros_like(A)
    for bit in range(8):
        if lut >> bit & 1:
            x, y, z = (v if bit >> k & 1 else ~v for k, v in ((2, A), (1, B), (0, c)))
            expected |= x & y & z
    np.testing.assert_array_equal(got, expected)


def nth_set(mask: int, base: int, nth: int) -> int:
    """`fns` as the manual defines it, bit by bit."""
    if nth == 0:
        return base if mask >> base & 1 else 0xFFFFFFFF
    left, at = abs(nth), base
    while 0 <= at < 32:
        left -= mask >> at & 1
        if not left:
            return at
        at += 1 if nth > 0 else -1
    return 0xFFFFFFFF


def test_fns_finds_the_nth_set_bit(asm):
    masks = np.tile(np.r_[A[:28], np.uint32(0), np.uint32(0xFFFFFFFF), np.uint32(1), np.uint32(1 << 31)], 32)
    bases = RNG.integers(0, 32, masks.size, dtype=np.uint32)
    nths = RNG.integers(-33, 34, masks.size).astype(np.int32)
    got = asm("fns.b32 $0, $1, $2, $3;", masks, bases, nths.view(np.uint32), dtype=tl.uint32)
    np.testing.assert_array_equal(got, [nth_set(*x) for x in zip(masks.tolist(), bases.tolist(), nths.tolist())])
    assert asm("fns.b32 $0, $1, 0, $2;", A[:4], np.full(4, 1, np.uint32), dtype=tl.uint32).tolist() == [
        (x & -x).bit_length() - 1 for x in A[:4].tolist()
    ]


def integer_cases():
    wide_a, wide_b = A.astype(np.uint64), B.astype(np.uint64)
    sa, sb = A.view(np.int32).astype(np.int64), B.view(np.int32).astype(np.int64)
    yield "mul.hi.u32 $0, $1, $2;", wide_a * wide_b >> 32
    yield "mul.hi.s32 $0, $1, $2;", sa * sb >> 32
    yield "mul.lo.u32 $0, $1, $2;", wide_a * wide_b
    yield "mad.lo.s32 $0, $1, $2, 7;", wide_a * wide_b + 7
    yield "{.reg .u64 w; mul.wide.u32 w, $1, $2; mov.b64 {_, $0}, w;}", wide_a * wide_b >> 32
    yield "sub.u32 $0, $1, $2;", wide_a - wide_b
    yield "min.s32 $0, $1, $2;", np.minimum(sa, sb)
    yield "max.u32 $0, $1, $2;", np.maximum(A, B)
    yield "popc.b32 $0, $1;", [bin(x).count("1") for x in A.tolist()]
    yield "clz.b32 $0, $1;", [32 - x.bit_length() for x in A.tolist()]
    yield "brev.b32 $0, $1;", [int(f"{x:032b}"[::-1], 2) for x in A.tolist()]
    yield "not.b32 $0, $1;", ~A
    yield "shl.b32 $0, $1, 5;", A << np.uint32(5)
    yield "shl.b32 $0, $1, 32;", A * 0
    yield "shr.s32 $0, $1, 40;", A.view(np.int32) >> 31
    yield "and.b32 $0, $1, 0xf0f0f0f0;", A & np.uint32(0xF0F0F0F0)
    yield "{.reg .b32 t<2>; xor.b32 t0, $1, $2; or.b32 $0, t0, 1;}", (A ^ B) | 1


@pytest.mark.parametrize("text, expected", list(integer_cases()), ids=lambda v: v if isinstance(v, str) else "")
def test_integers(asm, text, expected):
    got = asm(text, A, B, dtype=tl.uint32)
    np.testing.assert_array_equal(got, np.array([int(x) & U32 for x in expected], np.uint32))


def test_shifts_by_registers(asm):
    pairs = list(zip(A.tolist(), N.tolist()))
    assert asm("shl.b32 $0, $1, $2;", A, N, dtype=tl.uint32).tolist() == [(a << n) & U32 if n < 32 else 0 for a, n in pairs]
    assert asm("shr.u32 $0, $1, $2;", A, N, dtype=tl.uint32).tolist() == [a >> n if n < 32 else 0 for a, n in pairs]
    both = [(b << 32 | a, n) for a, b, n in zip(A.tolist(), B.tolist(), N.tolist())]
    for mode, clip in (("wrap", lambda n: n & 31), ("clamp", lambda n: min(n, 32))):
        left = asm(f"shf.l.{mode}.b32 $0, $1, $2, $3;", A, B, N, dtype=tl.uint32)
        right = asm(f"shf.r.{mode}.b32 $0, $1, $2, $3;", A, B, N, dtype=tl.uint32)
        assert left.tolist() == [(x << clip(n)) >> 32 & U32 for x, n in both]
        assert right.tolist() == [x >> clip(n) & U32 for x, n in both]


def test_bit_fields(asm):
    for pos, length in itertools.product((0, 3, 31, 32, 200), (0, 1, 8, 32, 64)):
        u = asm(f"bfe.u32 $0, $1, {pos}, {length};", A, dtype=tl.uint32)
        s = asm(f"bfe.s32 $0, $1, {pos}, {length};", A, dtype=tl.int32)
        i = asm(f"bfi.b32 $0, $1, $2, {pos}, {length};", A, B, dtype=tl.uint32)
        mask = (1 << min(length, 32)) - 1
        signed = A.view(np.int32).tolist()
        assert u.tolist() == [a >> pos & mask for a in A.tolist()]
        expected = [
            (x & mask) - ((x & mask) >> (length - 1) << length) if 0 < length < 33 else x * (length > 0) for x in (a >> pos for a in signed)
        ]
        assert s.tolist() == expected
        field = mask << pos & U32
        assert i.tolist() == [b & ~field & U32 | a << pos & field for a, b in zip(A.tolist(), B.tolist())]


def permuted(a, b, c):
    source = struct.pack("<II", a, b)
    out = [source[c >> 4 * k & 7] for k in range(4)]
    return int.from_bytes([(0xFF if x >> 7 else 0) if c >> (4 * k + 3) & 1 else x for k, x in enumerate(out)], "little")


def test_prmt(asm):
    for c in (0x3210, 0x7531, 0x5410, 0x0123, 0xFEDC):
        got = asm(f"prmt.b32 $0, $1, $2, {c:#x};", A, B, dtype=tl.uint32)
        assert got.tolist() == [permuted(a, b, c) for a, b in zip(A.tolist(), B.tolist())]
    got = asm("prmt.b32 $0, $1, $2, $3;", A, B, np.roll(A, 1), dtype=tl.uint32)
    assert got.tolist() == [permuted(*x) for x in zip(A.tolist(), B.tolist(), np.roll(A, 1).tolist())]


def test_byte_dots(asm):
    a, b = A.view(np.int8).reshape(-1, 4).astype(np.int64), B.view(np.uint8).reshape(-1, 4).astype(np.int64)
    got = asm("dp4a.s32.u32 $0, $1, $2, 5;", A, B, dtype=tl.int32)
    np.testing.assert_array_equal(got, (a * b).sum(1) + 5)
    halves = A.view(np.int16).reshape(-1, 2).astype(np.int64)
    got = asm("dp2a.hi.s32.u32 $0, $1, $2, 0;", A, B, dtype=tl.int32)
    np.testing.assert_array_equal(got, (halves * b[:, 2:]).sum(1))


def as_bf16_bits(x):
    """float32 bits of x rounded to bfloat16, nearest even."""
    bits = x.view(np.uint32).astype(np.uint64)
    return (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000


def test_packed_conversions(asm):
    half = asm("cvt.rn.f16x2.f32 $0, $2, $1;", X, dtype=tl.float16, pack=2, constraints="=r,r,r")
    np.testing.assert_array_equal(half, X.astype(np.float16).astype(np.float32))
    brain = asm("cvt.rn.bf16x2.f32 $0, $2, $1;", Y, dtype=tl.bfloat16, pack=2, constraints="=r,r,r")
    np.testing.assert_array_equal(brain.view(np.uint32), as_bf16_bits(Y))
    swapped = asm("cvt.rn.f16x2.f32 $0, $1, $2;", X, dtype=tl.float16, pack=2, constraints="=r,r,r")
    np.testing.assert_array_equal(swapped.reshape(-1, 2)[:, ::-1].ravel(), half)
    assert asm(
        "cvt.rn.satfinite.f16x2.f32 $0, $2, $1;", np.array([1e6, -1e6], np.float32), dtype=tl.float16, pack=2, constraints="=r,r,r"
    ).tolist() == [65504, -65504]


def test_eight_and_four_bit_floats(asm):
    text = "{.reg .b16 lo, hi; cvt.rn.satfinite.e4m3x2.f32 lo, $2, $1; cvt.rn.satfinite.e4m3x2.f32 hi, $4, $3; mov.b32 $0, {lo, hi};}"
    x = np.array([1, -2.25, 1000, 0.1, 17, 18, -0.0, 448], np.float32)
    got = asm(text, x, dtype=tl.float8e4nv, pack=4, constraints="=r,r,r,r,r")
    np.testing.assert_array_equal(got, np.array([1, -2.25, 448, 0.1015625, 16, 18, -0.0, 448], np.float32))
    values = np.array([0, 0.25, 0.26, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 5.1, 99, -0.9, np.nan, np.inf, -np.inf, -0.2], np.float32)
    codes = asm("{.reg .b8 t; cvt.rn.satfinite.e2m1x2.f32 t, 0.0, $1; cvt.u32.u8 $0, t;}", values, dtype=tl.uint8)
    assert codes.tolist() == [0, 0, 1, 2, 2, 4, 4, 6, 6, 7, 7, 8 + 2, 7, 7, 15, 8]
    back = asm(
        "{.reg .b8 t; .reg .b32 p; cvt.u8.u32 t, $1; cvt.rn.f16x2.e2m1x2 p, t; mov.b32 {$0, _}, p;}",
        np.arange(16, dtype=np.uint32),
        dtype=tl.float16,
        constraints="=h,r",
    )
    grid = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    np.testing.assert_array_equal(back, grid + [-v for v in grid])


def test_scales_and_stochastic_rounding(asm):
    x = np.array([1, 1.5, 2, 3e38, 0, 2.0**-127, 2.0**-126 * 0.75, np.nan], np.float32)
    up = asm("cvt.rp.satfinite.ue8m0x2.f32 $0, 0.0, $1;", x, dtype=tl.uint8, constraints="=h,r")
    assert up.tolist() == [127, 128, 128, 254, 0, 0, 1, 255]
    value = np.repeat(np.float32(1 + 2**-12), 2)
    for noise, expected in ((0, 1.0), (0x1FFF, 1 + 2**-10), (0x1FFF0000, 1.0)):
        got = asm(
            "{cvt.rs.f16x2.f32 $0, $2, $1, $3;}", value, np.repeat(np.uint32(noise), 2), dtype=tl.float16, pack=2, constraints="=r,r,r,r,r"
        )
        assert got[0] == expected and got[1] == (1 + 2**-10 if noise >> 16 else 1.0)


def test_numbers_to_integers(asm):
    x = np.array([2.5, -2.5, 3e9, -3e9, np.nan, 1.4999, -0.5, 2**31], np.float32)
    assert asm("cvt.rni.s32.f32 $0, $1;", x, dtype=tl.int32).tolist() == [2, -2, 2**31 - 1, -(2**31), 0, 1, 0, 2**31 - 1]
    assert asm("cvt.rzi.u32.f32 $0, $1;", x, dtype=tl.uint32).tolist() == [2, 0, 3000000000, 0, 0, 1, 0, 2**31]
    assert asm("cvt.rmi.f32.f32 $0, $1;", x[:2]).tolist() == [2, -3]
    assert asm("cvt.sat.u8.s32 $0, $1;", np.array([-5, 77, 300, 255], np.int32), dtype=tl.int32).tolist() == [0, 77, 255, 255]
    np.testing.assert_array_equal(asm("cvt.rn.f32.u32 $0, $1;", A), A.astype(np.float32))
    tf32 = asm("cvt.rna.tf32.f32 $0, $1;", X)
    np.testing.assert_array_equal(tf32[8:].view(np.uint32), (X[8:].view(np.uint32) + 0x1000) & 0xFFFFE000)
    assert np.isnan(tf32[6]) and np.isinf(tf32[4])


def test_int4_to_half_by_lop3(asm):
    """Four bits under the mantissa of 1024.0: the trick by which quantised weights become f16."""
    packed = RNG.integers(0, 1 << 32, 8, dtype=np.uint32)
    text = "{.reg .b32 t; lop3.b32 t, $1, 0x000f000f, 0x64006400, 0xea; sub.f16x2 $0, t, 0x64006400;}"
    got = asm(text, packed.view(np.uint16), dtype=tl.float16, pack=2, constraints="=r,r")
    np.testing.assert_array_equal(got, packed.view(np.uint16) & 15)


def test_constant_arguments_are_immediates(evaluate):
    """How LMDeploy's kernels take two signed 4-bit weights from a word."""
    text = "{ .reg .b32 tmp; lop3.b32 tmp, $2, $3, $4, $5; fma.rn.f16x2 tmp, tmp, $6, $7; mov.b32 {$0, $1}, tmp; }"
    constants = [0x00F000F0, 0x64006400, 0xEA, 0x2C002C00, 0xD400D400]

    def body(w):
        return inline_asm_elementwise(text, "=h,=h,r,n,n,n,r,r", [w, *constants], (tl.float16, tl.float16), True, 1)

    low, high = evaluate(body, A)
    np.testing.assert_array_equal(low, A >> 4 & 15)
    np.testing.assert_array_equal(high, A >> 20 & 15)


def test_mxfp4_by_four(evaluate):
    """Four bytes at a time, eight values: both results interleaved by prmt."""
    text = """{
        .reg .b8 a0, a1, a2, a3;
        .reg .b32 r0, r1, r2, r3;
        mov.b32 {a0, a1, a2, a3}, $4;
        cvt.rn.f16x2.e2m1x2 r0, a0; cvt.rn.f16x2.e2m1x2 r1, a1; cvt.rn.f16x2.e2m1x2 r2, a2; cvt.rn.f16x2.e2m1x2 r3, a3;
        prmt.b32 $0, r0, r1, 0x5410; prmt.b32 $1, r2, r3, 0x5410; prmt.b32 $2, r0, r1, 0x7632; prmt.b32 $3, r2, r3, 0x7632;
    }"""
    x = np.arange(256, dtype=np.uint8)
    low, high = evaluate(lambda c: inline_asm_elementwise(text, "=r,=r,=r,=r,r", [c], (tl.float16, tl.float16), True, 4), x)
    grid = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
    np.testing.assert_array_equal(low, grid[x & 15])
    np.testing.assert_array_equal(high, grid[x >> 4])


def test_scales_to_bf16(asm):
    codes = np.array([0, 1, 127, 130, 254, 255, 126, 128], np.uint8)
    got = asm("cvt.rn.bf16x2.ue8m0x2 $0, $1;", codes, dtype=tl.bfloat16, pack=2, constraints="=r,h")
    np.testing.assert_array_equal(got, np.array([2.0**-127, 2.0**-126, 1, 8, 2.0**127, np.nan, 0.5, 2], np.float32))


def test_bytes_by_four(asm):
    x = RNG.integers(0, 256, 64).astype(np.uint8)
    np.testing.assert_array_equal(
        asm("shl.b32 $0, $1, 3;", x.reshape(4, 16) & 0x1F, dtype=tl.uint8, pack=4), (x.reshape(4, 16) & 0x1F) << 3
    )


def test_several_results_and_small_tiles(evaluate):
    text = "{and.b32 $0, $2, 0xff00ff; shr.u32 $1, $2, 8; and.b32 $1, $1, 0x00ff00ff;}"
    x = RNG.integers(0, 1 << 16, 8).astype(np.uint16)
    low, high = evaluate(lambda v: inline_asm_elementwise(text, "=r,=r,r", [v], (tl.uint16, tl.uint16), True, 2), x)
    np.testing.assert_array_equal(low, x & 255)
    np.testing.assert_array_equal(high, x >> 8)
    one = evaluate(lambda v: inline_asm_elementwise("add.u32 $0, $1, 1;", "=r,r", [v], tl.uint8, True, 4), np.array([41], np.uint8))
    assert one.tolist() == [42]
    scalar = evaluate(lambda v: inline_asm_elementwise("add.u32 $0, $1, 1;", "=r,r", [v], tl.uint8, True, 4), np.uint8(41))
    assert scalar == 42


def test_extrema_with_signs(asm):
    got = asm("min.NaN.xorsign.abs.f32 $0, $1, $2;", X, Y)
    expected = np.copysign(np.minimum(abs(X), abs(Y)), np.sign(np.copysign(1, X)) * np.copysign(1, Y))
    np.testing.assert_array_equal(got, expected.astype(np.float32))
    np.testing.assert_array_equal(asm("max.f32 $0, $1, $2;", X, Y), np.fmax(X, Y))
    np.testing.assert_array_equal(
        asm("fma.rn.relu.f16x2 $0, $1, $1, 0xc000c000;", Y.astype(np.float16), dtype=tl.float16, pack=2)[:2] >= 0, [True, True]
    )
    assert asm("set.geu.u32.f32 $0, $1, 1.0;", SPECIAL, dtype=tl.uint32).tolist() == [0, 0, U32, 0, U32, 0, U32, 0]
    assert asm("{.reg .pred p, q; setp.le.f32 p|q, $1, 0f00000000; selp.u32 $0, 5, 6, q;}", SPECIAL[:4], dtype=tl.uint32).tolist() == [
        6,
        6,
        5,
        6,
    ]


@pytest.mark.parametrize(
    "text, named",
    [
        ("ld.global.f32 $0, [$1];", "ld.global.f32 $0, [$1]"),
        ("mov.u32 $0, %tid.x;", "%tid.x"),
        ("v_sin_f32 $0, $1", "v_sin_f32"),
        ("add.rz.f32 $0, $1, $1;", "add.rz.f32"),
        ("L: mov.f32 $0, $1;", "L:"),
        ("bar.sync 0; mov.f32 $0, $1;", "bar.sync"),
    ],
)
def test_others_are_refused_by_name(asm, text, named):
    with pytest.raises(UnsupportedError) as e:
        asm(text, Y)
    assert named in str(e.value)


@pytest.mark.parametrize(
    "text, constraints, problem",
    [
        ("mov.b32 $0, $7;", "=r,r", "no register"),
        ("mov.b32 $0, $1;", "=r,=r,r", "2 outputs"),
        ("mov.b32 $0, $1;", "=r,r,r", "2 inputs"),
        ("{.reg .b32 t; mov.b32 $0, t;}", "=r,r", "before it is written"),
    ],
)
def test_malformed_snippets(asm, text, constraints, problem):
    with pytest.raises(ValueError, match=problem):
        asm(text, Y, constraints=constraints)


@jit
def quantised(x, y, o, clock, N: tl.constexpr):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    h = tl.inline_asm_elementwise("cvt.rn.bf16x2.f32 $0, $2, $1;", "=r,r,r", [a], dtype=tl.bfloat16, is_pure=True, pack=2)
    tl.store(y + i, h.to(tl.float32))
    e = tl.inline_asm_elementwise(
        "{.reg .b32 t; mul.f32 t, $1, 0f3FB8AA3B; ex2.approx.ftz.f32 $0, t;}", "=f,f", [a], dtype=tl.float32, is_pure=True, pack=1
    )
    tl.store(o + i, e)
    tl.inline_asm_elementwise("griddepcontrol.wait; // dummy $0", "=r", [], dtype=tl.int32, is_pure=False, pack=1)
    start = tl.inline_asm_elementwise("mov.u64 $0, %globaltimer;", "=l", [], dtype=tl.int64, is_pure=False, pack=1)
    tl.store(clock, start)


def test_on_the_cpu_target():
    x = RNG.normal(size=64).astype(np.float32)
    y, o, clock = np.zeros_like(x), np.zeros_like(x), np.zeros(1, np.int64)
    quantised[(1,)](x, y, o, clock, N=64)
    np.testing.assert_array_equal(y.view(np.uint32), as_bf16_bits(x))
    np.testing.assert_allclose(o, np.exp(x), rtol=1e-6)
    assert clock[0] > 0
