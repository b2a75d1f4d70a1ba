"""What the functions should give: mpmath for single values, NumPy in float64 where it has the function.

The chain of trust: f64 formulas are compared with mpmath on thousands of points; f32 formulas with NumPy's
float64 functions on millions, or where NumPy has none, with the f64 formulas that passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 40
INF = mp.inf


def _erfc(x):
    return mp.erfc(x) if abs(x) < 1e4 else mp.mpf(0 if x > 0 else 2)


def _erfinv_small(y):
    """erfc⁻¹(y) for 0 < y < 1 by Newton on the logarithm."""
    z = mp.sqrt(-mp.log(y)) if y < 0.5 else mp.mpf(1 - y)
    return mp.findroot(lambda t: mp.log(mp.erfc(t)) - mp.log(y), z, tol=1e-60)


def erfcinv(y):
    if y < 0 or y > 2:
        return mp.nan
    if y == 0 or y == 2:
        return INF if y == 0 else -INF
    if y == 1:
        return mp.mpf(0)
    return _erfinv_small(y) if y < 1 else -_erfinv_small(2 - y)


def _fmod(x, y):
    return mp.mpf(math.fmod(float(x), float(y)))


def _erfcx(x):
    return (mp.exp(x * x) * mp.erfc(x) if x < 1e6 else (1 - 1 / (2 * x * x)) / (x * mp.sqrt(mp.pi))) if x > -30 else INF


def _lgamma(x):
    if x <= 0 and x == mp.floor(x):
        return INF
    return mp.re(mp.loggamma(x)) if x > 0 else mp.log(mp.pi / abs(x * mp.sinpi(x))) - mp.loggamma(-x)


EXACT: dict[str, Callable] = {
    **{n: getattr(mp, n) for n in "exp expm1 log log1p sin cos tan sinpi cospi asin acos atan sinh cosh tanh".split()},
    **{n: getattr(mp, n) for n in "asinh acosh atanh erf atan2 hypot".split()},
    "erfc": _erfc,
    "exp2": lambda x: mp.power(2, x),
    "exp10": lambda x: mp.power(10, x),
    "log2": lambda x: mp.log(x) / mp.log(2),
    "log10": lambda x: mp.log(x) / mp.log(10),
    "erfcx": _erfcx,
    "erfinv": lambda x: (
        mp.nan if abs(x) > 1 else (x * INF if abs(x) == 1 else (mp.erfinv(x) if abs(x) < 0.5 else mp.sign(x) * _erfinv_small(1 - abs(x))))
    ),
    "erfcinv": erfcinv,
    "normcdf": lambda x: _erfc(-x / mp.sqrt(2)) / 2,
    "normcdfinv": lambda p: -mp.sqrt(2) * erfcinv(2 * p),
    "lgamma": _lgamma,
    "tgamma": lambda x: mp.nan if x < 0 and x == mp.floor(x) else mp.gamma(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "rcbrt": lambda x: mp.sign(x) / mp.cbrt(abs(x)),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "j0": lambda x: mp.besselj(0, x),
    "j1": lambda x: mp.besselj(1, x),
    "y0": lambda x: mp.bessely(0, x),
    "y1": lambda x: mp.bessely(1, x),
    "cyl_bessel_i0": lambda x: mp.besseli(0, x),
    "cyl_bessel_i1": lambda x: mp.besseli(1, x),
    "pow": lambda x, y: mp.power(x, y),
    "rhypot": lambda x, y: 1 / mp.hypot(x, y),
    "frem": _fmod,
    "remainder": lambda x, y: mp.mpf(math.remainder(float(x), float(y))),
}

NUMPY: dict[str, Callable[..., np.ndarray]] = {
    **{
        n: getattr(np, n)
        for n in "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh hypot cbrt rint floor ceil trunc copysign".split()
    },
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "pow": np.power,
    "frem": np.fmod,
    "exp10": lambda x: np.power(10.0, x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "rhypot": lambda x, y: 1 / np.hypot(x, y),
    "round": lambda x: np.trunc(x + np.copysign(0.49999999999999994, x)),
    "fdim": lambda x, y: np.where(x > y, x - y, np.where(np.isnan(x) | np.isnan(y), np.nan, 0.0)),
    "logb": lambda x: np.where(x == 0, -np.inf, np.where(np.isinf(x), np.inf, np.floor(np.log2(np.abs(x) * (1 + 1e-16))))),
}

# Where a function has interesting values, beyond all magnitudes of both signs: (low, high) of uniform samples.
RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "exp": ((-750, 715),),
    "exp2": ((-1080, 1030),),
    "exp10": ((-325, 310),),
    "expm1": ((-40, 715), (-2, 2)),
    "sinh": ((-715, 715), (-3, 3)),
    "cosh": ((-715, 715),),
    "log": ((0.5, 2),),
    "log2": ((0.5, 2),),
    "log10": ((0.5, 2),),
    "log1p": ((-1, 2),),
    "asin": ((-1, 1),),
    "acos": ((-1, 1),),
    "atanh": ((-1, 1),),
    "acosh": ((1, 4),),
    "erfinv": ((-1, 1),),
    "erfcinv": ((0, 2),),
    "normcdfinv": ((0, 1),),
    "erfc": ((-6, 28),),
    "normcdf": ((-39, 9),),
    "erfcx": ((-27, 60),),
    "lgamma": ((-8, 12), (0, 200)),
    "tgamma": ((-20, 20), (-172, 172)),
    "cyl_bessel_i0": ((-715, 715),),
    "cyl_bessel_i1": ((-715, 715),),
}
DEFAULT_RANGES = ((-10, 10), (-1, 1), (-1000, 1000))


def mp_values(name: str, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """The exact values as longdouble (64 bits of precision); NaN where mpmath has a pole or no value."""
    out = np.empty(arrays[0].shape, np.longdouble)
    f = EXACT[name]
    for i, xs in enumerate(zip(*(a.tolist() for a in arrays))):
        try:
            if any(x != x for x in xs) and name not in ("pow", "hypot", "rhypot"):
                raise ValueError("NaN")
            r = f(*(mp.mpf(x) for x in xs))
            if isinstance(r, mp.mpc):  # outside the real domain
                r = mp.nan
        except (ValueError, ZeroDivisionError, OverflowError):
            r = mp.nan
        out[i] = np.longdouble(mp.nstr(r, 26)) if mp.isfinite(r) else np.longdouble(float(r))
    return out


def samples(name: str, dtype: type, count: int, arity: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Random bit patterns (all magnitudes) and uniform values from the function's ranges."""
    rng = np.random.default_rng(seed)
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    arrays = []
    ranges = RANGES.get(name, DEFAULT_RANGES)
    for k in range(arity):
        parts = [rng.integers(0, np.iinfo(unsigned).max, count // 3, dtype=unsigned, endpoint=True).view(dtype)]
        share = (count - count // 3) // len(ranges)
        parts += [rng.uniform(a, b, share).astype(dtype) for a, b in ranges]
        x = np.concatenate(parts)
        arrays.append(rng.permutation(x) if k else x)
    return tuple(arrays)
