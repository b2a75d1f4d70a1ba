"""Which function expands which row: ``EXPANSIONS[(row, element name)](b, *operands, **attrs) -> Value``."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Builder, Value
from . import error_function, exponential, hyperbolic, logarithm, trigonometric
from .expr import E, Scope, sqrt

__all__ = ["EXPANSIONS"]

Formula = Callable[..., E]
EXPANSIONS: dict[tuple[str, str], Callable[..., Value]] = {}


def _expansion(formula: Formula) -> Callable[..., Value]:
    def expand(b: Builder, *operands: Value, **attrs: object) -> Value:
        s = Scope(b)
        return formula(*(E(s, v) for v in operands)).v

    return expand


def register(row: str, formula: Formula, *elements: str) -> None:
    for e in elements:
        EXPANSIONS[row, e] = _expansion(formula)


for _name in ("exp", "exp2", "exp10", "expm1"):
    register(_name, getattr(exponential, _name), "f32", "f64")
for _name in ("log", "log2", "log10", "log1p"):
    register(_name, getattr(logarithm, _name), "f32", "f64")
register("sin", trigonometric.sin, "f32")
register("cos", trigonometric.cos, "f32")
register("tanh", hyperbolic.tanh, "f32")
register("erf", error_function.erf, "f32")
register("rsqrt", lambda x: 1.0 / sqrt(x), "f32", "f64")
