"""libdevice: every name that has an implementation, on arguments that fit it; each function's results are a row of ``out``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from feature_table import DTYPES, Array, case, zeros

import anytile.language as tl
from anytile.language import libdevice

_N = 64
_CHUNK = 12  # functions a kernel

Range = Callable[[str], Array]


def _between(low: float, high: float) -> Range:
    return lambda kind: Array(kind, lambda random: random.uniform(low, high, _N))


def _whole(low: int, high: int) -> Range:
    return lambda kind: Array(
        kind, lambda random: random.integers(low, high, _N, dtype=np.int64) * (1.0 if DTYPES[kind].is_floating() else 1)
    )


_ANY, _POSITIVE, _UNIT = _between(-3, 3), _between(0.1, 4), _between(-0.95, 0.95)
_F32, _F64, _FLOATS = ("fp32",), ("fp64",), ("fp32", "fp64")
_MODES = ("rn", "rd", "ru", "rz")


def _each(text: str, **words: tuple[str, ...]) -> str:
    """``text`` once for each combination of ``words`` in it."""
    found = [text]
    for key, values in words.items():
        found = [t.replace(f"<{key}>", v) for t in found for v in values]
    return " ".join(found)


#: (names, element types of the arguments, a case for each; their ranges; tolerance in units of the results' precision).
ROWS: tuple[tuple[str, tuple[str, ...], tuple[Range, ...], float], ...] = (
    ("acos asin atanh erfinv", _FLOATS, (_UNIT,), 8),
    ("erfcinv normcdfinv", _FLOATS, (_between(0.05, 0.95),), 8),
    ("acosh", _FLOATS, (_between(1, 9),), 8),
    ("atan asinh cbrt cos cosh erf erfc erfcx exp exp10 exp2 expm1 sin sinh tan tanh normcdf", _FLOATS, (_ANY,), 8),
    ("cospi sinpi cyl_bessel_i0 cyl_bessel_i1 j0 j1", _FLOATS, (_ANY,), 32),
    ("log log10 log1p log2 rsqrt sqrt rcbrt", _FLOATS, (_POSITIVE,), 8),
    ("lgamma tgamma y0 y1", _FLOATS, (_POSITIVE,), 64),
    ("ceil floor rint round trunc nearbyint abs", _FLOATS, (_ANY,), 0),
    ("isnan isinf signbit ilogb logb", _FLOATS, (_POSITIVE,), 0),
    ("finitef float_as_int float_as_uint", _F32, (_ANY,), 0),
    ("isfinited double_as_longlong double2hiint double2loint", _F64, (_ANY,), 0),
    ("saturatef", _F32, (_ANY,), 0),
    ("rsqrt_rn", _F32, (_POSITIVE,), 0),
    ("fast_cosf fast_exp10f fast_expf fast_log10f fast_log2f fast_logf fast_sinf fast_tanf fast_tanhf", _F32, (_POSITIVE,), 64),
    ("fast_dividef fast_powf", _F32, (_POSITIVE, _POSITIVE), 64),
    ("atan2 pow hypot rhypot", _FLOATS, (_POSITIVE, _POSITIVE), 8),
    ("copysign fdim nextafter remainder fmod", _FLOATS, (_ANY, _ANY), 0),
    ("ldexp scalbn", _FLOATS, (_ANY, lambda kind: _whole(-20, 20)("i32")), 0),
    (_each("<op>_<mode>", op=("add", "sub", "mul", "div"), mode=_MODES), _FLOATS, (_ANY, _POSITIVE), 0),
    (_each("<op>_<mode>", op=("sqrt", "rcp"), mode=_MODES), _FLOATS, (_POSITIVE,), 0),
    ("fma fma_rn", _FLOATS, (_ANY, _ANY, _ANY), 0),
    ("norm3d rnorm3d", _FLOATS, (_ANY, _ANY, _POSITIVE), 8),
    ("norm4d rnorm4d", _FLOATS, (_ANY, _ANY, _ANY, _POSITIVE), 8),
    (_each("float2<to>_<mode>", to=("int", "ll"), mode=_MODES), _F32, (_between(-1000, 1000),), 0),
    (_each("float2<to>_<mode>", to=("uint", "ull"), mode=_MODES), _F32, (_between(0, 1000),), 0),
    (_each("double2<to>_<mode>", to=("int", "ll", "float"), mode=_MODES), _F64, (_between(-1000, 1000),), 0),
    (_each("double2<to>_<mode>", to=("uint", "ull"), mode=_MODES), _F64, (_between(0, 1000),), 0),
    (_each("int2float_<mode>", mode=_MODES) + " int2double_rn", ("i32",), (_whole(-(2**31), 2**31),), 0),
    (_each("uint2float_<mode>", mode=_MODES) + " uint2double_rn", ("u32",), (_whole(0, 2**32),), 0),
    ("ll2float_rn ll2double_rn", ("i64",), (_whole(-(2**62), 2**62),), 0),
    ("ull2float_rn ull2double_rn", ("u64",), (_whole(0, 2**62),), 0),
    ("llrint llround", _FLOATS, (_between(-1000, 1000),), 0),
    ("int_as_float", ("i32",), (_whole(0, 2**30),), 0),
    ("uint_as_float", ("u32",), (_whole(0, 2**30),), 0),
    ("longlong_as_double", ("i64",), (_whole(0, 2**62),), 0),
    ("hiloint2double", ("i32",), (_whole(0, 2**30), _whole(-(2**31), 2**31)), 0),
    ("brev popc clz ffs", ("i32", "i64"), (_whole(-(2**31), 2**31),), 0),
    ("mulhi hadd rhadd", ("i32", "u32", "i64"), (_whole(0, 2**31), _whole(0, 2**31)), 0),
    ("mul24", ("i32", "u32"), (_whole(0, 2**20), _whole(0, 2**10)), 0),
    ("sad byte_perm", ("i32",), (_whole(0, 2**30),) * 3, 0),
)

#: Names that raise UnsupportedError, by what their docstrings say.
MISSING = frozenset(n for n in libdevice.__all__ if (getattr(libdevice, n).__doc__ or "").startswith("Not supported"))


def of_one(a, out, FNS: tl.constexpr, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    x = tl.load(a + i)
    for f in tl.static_range(len(FNS)):
        tl.store(out + f * N + i, FNS[f](x).to(tl.float64))


def of_two(a, b, out, FNS: tl.constexpr, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    x, y = tl.load(a + i), tl.load(b + i)
    for f in tl.static_range(len(FNS)):
        tl.store(out + f * N + i, FNS[f](x, y).to(tl.float64))


def of_three(a, b, c, out, FNS: tl.constexpr, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    x, y, z = tl.load(a + i), tl.load(b + i), tl.load(c + i)
    for f in tl.static_range(len(FNS)):
        tl.store(out + f * N + i, FNS[f](x, y, z).to(tl.float64))


def of_four(a, b, c, d, out, FNS: tl.constexpr, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    x, y, z, w = tl.load(a + i), tl.load(b + i), tl.load(c + i), tl.load(d + i)
    for f in tl.static_range(len(FNS)):
        tl.store(out + f * N + i, FNS[f](x, y, z, w).to(tl.float64))


def _add(names: list[str], kind: str, ranges: tuple[Range, ...], units: float) -> None:
    kernel = (of_one, of_two, of_three, of_four)[len(ranges) - 1]
    functions = tuple(getattr(libdevice, name) for name in names)
    arguments: dict[str, Any] = {p: r(kind) for p, r in zip("abcd", ranges)}
    precision = 2.0**-52 if kind == "fp64" else 2.0**-23
    case(
        f"{kind} {' '.join(names)}",
        **arguments,
        out=zeros("fp64", len(names), _N),
        constants={"FNS": functions},
        tolerance=units * precision,
    )(kernel)


for _names, _kinds, _ranges, _units in ROWS:
    _split = _names.split()
    for _kind in _kinds:
        for _at in range(0, len(_split), _CHUNK):
            _add(_split[_at : _at + _CHUNK], _kind, _ranges, _units)
