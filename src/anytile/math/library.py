"""Which formula expands which row: ``EXPANSIONS[row, element name](b, *operands) -> Value``.

Three kinds of entry: a formula written for both formats, one written for f64 whose f32 version goes through it
(rare functions: exact enough by itself, and f64 is not slow enough to deserve a second set of polynomials),
and `sqrt`-based one-liners.  `NEAR` has shorter formulas, which hold for usual arguments only.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Builder, Value
from ..ir.types import F32, F64
from . import (
    bessel,
    error_function,
    exponential,
    gamma,
    hyperbolic,
    inverse_trigonometric,
    logarithm,
    power,
    remainders,
    rounding,
    trigonometric,
)
from .expr import E, Scope, copysign, sqrt

__all__ = ["EXPANSIONS", "NEAR", "THROUGH_F64"]

Formula = Callable[..., E]
EXPANSIONS: dict[tuple[str, str], Callable[..., Value]] = {}


def _expansion(formula: Formula) -> Callable[..., Value]:
    def expand(b: Builder, *operands: Value) -> Value:
        s = Scope(b)
        return formula(*(E(s, v) for v in operands)).v

    return expand


def _through_f64(formula: Formula) -> Formula:
    return lambda *xs: formula(*(x.cast(F64) for x in xs)).cast(F32)


def _rsqrt(x: E) -> E:
    return 1.0 / sqrt(x)


_BOTH: dict[str, Formula] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "exp10": exponential.exp10,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "sinpi": trigonometric.sinpi,
    "cospi": trigonometric.cospi,
    "asin": inverse_trigonometric.asin,
    "acos": inverse_trigonometric.acos,
    "atan": inverse_trigonometric.atan,
    "atan2": inverse_trigonometric.atan2,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "tanh": hyperbolic.tanh,
    "asinh": hyperbolic.asinh,
    "acosh": hyperbolic.acosh,
    "atanh": hyperbolic.atanh,
    "erf": error_function.erf,
    "pow": power.pow_,
    "cbrt": power.cbrt,
    "rcbrt": power.rcbrt,
    "rsqrt": _rsqrt,
    "floor": rounding.floor,
    "ceil": rounding.ceil,
    "trunc": rounding.trunc,
    "rint": rounding.rint,
    "round": rounding.round_,
    "nextafter": rounding.nextafter,
    "logb": rounding.logb,
    "fdim": rounding.fdim,
    "copysign": copysign,
    "frem": remainders.frem,
    "remainder": remainders.remainder,
}

_F64_FIRST: dict[str, Formula] = {
    "erfc": error_function.erfc,
    "erfcx": error_function.erfcx,
    "erfinv": error_function.erfinv,
    "erfcinv": error_function.erfcinv,
    "normcdf": error_function.normcdf,
    "normcdfinv": error_function.normcdfinv,
    "lgamma": gamma.lgamma,
    "tgamma": gamma.tgamma,
    "hypot": power.hypot,
    "rhypot": power.rhypot,
    "j0": bessel.j0,
    "j1": bessel.j1,
    "y0": bessel.y0,
    "y1": bessel.y1,
    "cyl_bessel_i0": bessel.cyl_bessel_i0,
    "cyl_bessel_i1": bessel.cyl_bessel_i1,
}

THROUGH_F64 = frozenset(_F64_FIRST)
"""Functions whose f32 version computes in f64."""

for _name, _formula in _BOTH.items():
    EXPANSIONS[_name, "f32"] = EXPANSIONS[_name, "f64"] = _expansion(_formula)
for _name, _formula in _F64_FIRST.items():
    EXPANSIONS[_name, "f64"] = _expansion(_formula)
    EXPANSIONS[_name, "f32"] = _expansion(_through_f64(_formula))

NEAR = {
    ("sin", "f32"): (trigonometric.NEAR, _expansion(trigonometric.sin_near)),
    ("cos", "f32"): (trigonometric.NEAR, _expansion(trigonometric.cos_near)),
}
"""Short formulas for the usual arguments: row, element name → (they hold for magnitudes below this, formula)."""
