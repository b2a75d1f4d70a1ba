"""libdevice by name: values against NumPy and exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import UnsupportedError
from anytile.language import libdevice
from anytile.runtime.jit import jit

rng = np.random.default_rng(11)


def test_every_name_is_documented_and_reachable():
    assert len(libdevice.__all__) == len(set(libdevice.__all__)) == 198
    assert tl.extra.cuda.libdevice is tl.extra.libdevice is libdevice
    for name in libdevice.__all__:
        fn = getattr(libdevice, name)
        assert tl.core.is_builtin(fn) and fn.__doc__ and fn.__name__ == name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_and_compositions(evaluate, dtype):
    x, y = rng.uniform(0.1, 2, 8).astype(dtype), rng.uniform(-2, 2, 8).astype(dtype)
    cases = {
        "tanh": np.tanh(x),
        "pow": x**y,
        "atan2": np.arctan2(x, y),
        "fmod": np.fmod(x, y),
        "nearbyint": np.rint(x),
        "copysign": np.copysign(x, y),
        "norm3d": np.sqrt(2 * x * x + y * y),
        "rnorm4d": 1 / np.sqrt(2 * x * x + 2 * y * y),
        "log1p": np.log1p(x),
    }
    arguments = {"pow": "xy", "atan2": "xy", "fmod": "xy", "copysign": "xy", "norm3d": "xyx", "rnorm4d": "xyxy"}
    for name, want in cases.items():
        got = evaluate(lambda x, y: getattr(libdevice, name)(*(dict(x=x, y=y)[c] for c in arguments.get(name, "x"))), x, y)
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=name)


def test_classification(evaluate):
    x = np.float32([0, -0.0, 1.5, -np.inf, np.nan])
    x = np.concatenate([x, np.float32([3e-45, -8, 1e38])])
    nan, inf, finite, sign, exponent = evaluate(
        lambda x: (libdevice.isnan(x), libdevice.isinf(x), libdevice.finitef(x), libdevice.signbit(x), libdevice.ilogb(x)), x
    )
    np.testing.assert_array_equal(nan, np.isnan(x))
    np.testing.assert_array_equal(inf, np.isinf(x))
    np.testing.assert_array_equal(finite, np.isfinite(x))
    np.testing.assert_array_equal(sign[[0, 1, 2, 3, 6]], [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(exponent, [-(2**31), -(2**31), 0, 2**31 - 1, -(2**31), -148, 3, 126])


def test_ldexp(evaluate):
    x, n = np.float32([1, -1.5, 1, 3, 1, 1, 0, 1]), np.int32([3, -2, 127, -149, 128, -150, 99, -2000])
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_array_equal(evaluate(lambda x, n: libdevice.ldexp(x, n), x, n), np.ldexp(x, n))


def test_integers(evaluate):
    x = np.array([0, 1, -1, 12, 2**30, -(2**31), 7, 96], np.int32)
    y = np.array([5, 3, -9, 2**20, 2**31 - 1, -1, 8, 32], np.int32)
    got = evaluate(
        lambda x, y: (
            *(libdevice.popc(x), libdevice.clz(x), libdevice.ffs(x), libdevice.brev(x), libdevice.mulhi(x, y)),
            *(libdevice.hadd(x, y), libdevice.rhadd(x, y), libdevice.sad(x, y, 1), libdevice.byte_perm(x, y, 0x5410)),
        ),
        x,
        y,
    )
    u = [int(v) & 0xFFFFFFFF for v in x]
    wants = [
        [v.bit_count() if hasattr(v, "bit_count") else bin(v).count("1") for v in u],
        [32 - v.bit_length() for v in u],
        [(v & -v).bit_length() for v in u],
        [int(f"{v:032b}"[::-1], 2) for v in u],
        [int(a) * int(b) >> 32 for a, b in zip(x, y)],
        [(int(a) + int(b)) >> 1 for a, b in zip(x, y)],
        [(int(a) + int(b) + 1) >> 1 for a, b in zip(x, y)],
        [abs(int(a) - int(b)) + 1 for a, b in zip(x, y)],
        [(int(a) & 0xFFFF) | (int(b) & 0xFFFF) << 16 for a, b in zip(x, y)],
    ]
    for g, want in zip(got, wants):
        np.testing.assert_array_equal(g.astype(np.int64) & 0xFFFFFFFF, np.array(want, np.int64) & 0xFFFFFFFF)


def _round(exact: Fraction, mode: str) -> np.float32:
    """The fp32 nearest to ``exact`` on the side that ``mode`` names, for values in the normal range."""
    near = np.float32(float(exact))
    if mode == "rz":
        mode = "rd" if exact > 0 else "ru"
    if mode == "rd" and Fraction(float(near)) > exact:
        return np.nextafter(near, np.float32(-np.inf))
    if mode == "ru" and Fraction(float(near)) < exact:
        return np.nextafter(near, np.float32(np.inf))
    return near


@pytest.mark.parametrize("mode", ["rd", "ru", "rz"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_directed_rounding(evaluate, name, mode):
    x, y = (rng.standard_normal(32).astype(np.float32) for _ in range(2))
    y[:4] = x[:4]
    ops = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b}
    want = [_round(ops[name](Fraction(float(a)), Fraction(float(b))), mode) for a, b in zip(x, y)]
    got = evaluate(lambda x, y: getattr(libdevice, f"{name}_{mode}")(x, y), x, y)
    np.testing.assert_array_equal(got, want)


def test_conversions(evaluate):
    x = rng.standard_normal(16) * 1000
    got = evaluate(
        lambda x: (
            *(libdevice.double2float_rd(x), libdevice.double2float_ru(x), libdevice.double2float_rz(x), libdevice.double2int_rn(x)),
            *(
                libdevice.double2ll_ru(x),
                libdevice.llround(x),
                libdevice.hiloint2double(libdevice.double2hiint(x), libdevice.double2loint(x)),
            ),
        ),
        x,
    )
    for g, mode in zip(got, ("rd", "ru", "rz")):
        np.testing.assert_array_equal(g, [_round(Fraction(v), mode) for v in x])
    np.testing.assert_array_equal(got[3], np.rint(x))
    np.testing.assert_array_equal(got[4], np.ceil(x))
    np.testing.assert_array_equal(got[5], [math.floor(abs(v) + 0.5) * math.copysign(1, v) for v in x])
    np.testing.assert_array_equal(got[6], x)


def test_refusals(recording):
    with recording([tl.float16, tl.float32]) as (h, f):
        with pytest.raises(TypeError, match="libdevice.tanh takes fp32 or fp64, not fp16"):
            libdevice.tanh(h)
        with pytest.raises(TypeError, match="takes fp32, not fp64"):
            libdevice.fast_expf(f.to(tl.float64))
        with pytest.raises(UnsupportedError, match="libdevice.jn is not supported; use libdevice.j0"):
            libdevice.jn(2, f)


def test_cuda_functions(recording):
    kernel = recording([tl.int32])
    with kernel:
        assert tl.extra.cuda.globaltimer().dtype is tl.int64
        assert tl.extra.cuda.num_threads() == 128
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
        assert not tl.target_info.is_cuda() and tl.target_info.current_target().backend == "cpu"


def test_symbols_of_libdevice(evaluate):
    table = {(tl.float32,): ("__nv_sinf", tl.float32), (tl.float64,): ("__nv_sin", tl.float64)}
    for kind in (np.float32, np.float64):
        x = rng.uniform(-3, 3, 8).astype(kind)
        got = evaluate(lambda x: tl.core.extern_elementwise("libdevice", "", [x], table, True), x)
        np.testing.assert_allclose(got, np.sin(x), rtol=1e-5)
    with pytest.raises(UnsupportedError, match="nvshmem_fence"):
        evaluate(
            lambda x: tl.core.extern_elementwise("nvshmem", "", [x], {(tl.float32,): ("nvshmem_fence", tl.float32)}, True), np.float32([1])
        )
    with pytest.raises(ValueError, match="takes \\(int32\\)"):
        evaluate(lambda x: tl.core.extern_elementwise("libdevice", "", [x], table, True), np.int32([1]))


def test_symbols_of_two_arguments(evaluate):
    table = {(tl.float32, tl.float32): ("__nv_atan2f", tl.float32)}
    x, y = rng.uniform(-3, 3, 8).astype(np.float32), np.float32(0.5)
    got = evaluate(lambda x, y: tl.core.extern_elementwise("", "", [x, y.to(tl.float16)], table, True), x, y)
    np.testing.assert_allclose(got, np.arctan2(x, y), rtol=1e-5)


@jit
def powers(x, out, n, N: tl.constexpr, KNOWN: tl.constexpr):
    i = tl.arange(0, N)
    if KNOWN is None:
        tl.store(out + i, libdevice.pow(tl.load(x + i), n))
    else:
        tl.store(out + i, libdevice.pow(tl.load(x + i), KNOWN))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 31, -1, -2, -17, 2**31 - 1, -(2**31)])
def test_powers_by_integers_are_products(n):
    x = np.float32([0, -0.0, 1, -1, 2, -3, 0.5, np.inf, -np.inf, np.nan, 1e-30, 1e30, 1.1, -1.7, 7, 100])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), n).astype(np.float32)
    for known in (None, n):
        out = np.zeros_like(x)
        powers[(1,)](x, out, n, N=16, KNOWN=known)
        np.testing.assert_allclose(out, want, rtol=1e-5)
        np.testing.assert_array_equal(np.signbit(out[want == want]), np.signbit(want[want == want]))
