"""The mathematical functions: evaluated in float64 and rounded once, so f32 results are within 0.51 ulp."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...ir.types import F16, F32, F64
from .. import formats
from . import special
from .rows import elem_of, implements

Array = np.ndarray


def _round_half_away(x: Array) -> Array:
    whole = np.trunc(x)
    up = np.abs(x - whole) >= 0.5  # the difference is exact, x + 0.5 would not be
    return np.copysign(np.where(up, whole + np.copysign(1, x), whole), x)


def _logb(x: Array) -> Array:
    exponent = np.frexp(x)[1] - 1.0
    return np.where(x == 0, -np.inf, np.where(np.isinf(x), np.inf, np.where(np.isnan(x), np.nan, exponent)))


def _tgamma(x: Array) -> Array:
    """math.gamma names neither the sign at a pole nor of an overflow; only ±0 and +large arguments matter."""
    y = special.lanewise(math.gamma)(np.where(x == 0, 1.0, x))
    return np.where(x == 0, np.copysign(np.inf, x), y)


def _cbrt_inverse(x: Array) -> Array:
    return 1 / np.cbrt(x)


_UNARY: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "exp10": lambda x: np.power(10.0, x),
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinpi": special.sinpi,
    "cospi": special.cospi,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": special.lanewise(math.erf),
    "erfc": special.lanewise(math.erfc),
    "erfinv": special.erfinv,
    "erfcinv": special.erfcinv,
    "erfcx": special.erfcx,
    "normcdf": special.normcdf,
    "normcdfinv": special.normcdfinv,
    "lgamma": special.lanewise(math.lgamma, domain=math.inf),
    "tgamma": _tgamma,
    "cbrt": np.cbrt,
    "rcbrt": _cbrt_inverse,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "round": _round_half_away,
    "j0": special.j0,
    "j1": special.j1,
    "y0": special.y0,
    "y1": special.y1,
    "cyl_bessel_i0": special.i0,
    "cyl_bessel_i1": special.i1,
    "logb": _logb,
}

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "rhypot": lambda x, y: 1 / np.hypot(x, y),
    "copysign": np.copysign,
    "fdim": lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x - y, 0.0)),
    "remainder": special.lanewise(math.remainder),
}


def _row(name: str, fn: Callable[..., Array]) -> None:
    @implements(name)
    def implementation(run: Any, op: Any, *xs: Array) -> Array:
        fmt = elem_of(op)
        wide = [formats.decode(x, fmt).astype(np.float64) for x in xs]
        return formats.encode(np.asarray(fn(*wide)), fmt)


_ROWS: dict[str, Callable[..., Array]] = {**_UNARY, **_BINARY}
for _name, _fn in _ROWS.items():
    _row(_name, _fn)


@implements("nextafter")
def _nextafter(run: Any, op: Any, x: Array, y: Array) -> Array:
    fmt = elem_of(op)
    if fmt not in (F16, F32, F64):
        raise UnsupportedError(f"nextafter of {fmt} at {op.loc}", "the reference target", "convert to f32 first")
    return np.asarray(np.nextafter(x, y))
