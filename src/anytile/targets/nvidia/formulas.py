"""Mathematical rows for which a GPU has a shorter formula than `math.library`: it has exp2 and divides in a few instructions.

`FORMULAS` goes to `passes.expand_math` beside the library, whose formulas divide exactly and make their exponentials themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...ir import Builder, Value
from ...math.coefficients import C
from ...math.expr import E, Scope, copysign, fabs, fma, horner, select

__all__ = ["FORMULAS"]


def _tanh(x: E) -> E:
    """f32: x + x³·Q(x²) below 0.6; above, 1 − 2/(exp(2|x|) + 1), whose second term is at most 0.47, so that its 4 ulp are 1 or 2 here.

    ∞ is right without a limit on x: exp2 gives ∞, and 2/∞ is 0.
    """
    a = fabs(x)
    a2 = a * a
    small = fma(a * a2, horner(a2, C["tanh_f32"]), a)
    e = (a * (2 / math.log(2))).row("exp2")
    quotient = a.like(2.0).row("fdiv", e + 1.0)
    return copysign(select(a >= 0.6, 1.0 - quotient, small), x)


def _formula(write: Callable[[E], E]) -> Callable[..., Value]:
    return lambda b, x: write(E(Scope(b), x)).v


#: (row, element) → what builds its value.
FORMULAS: dict[tuple[str, str], Callable[[Builder, Value], Value]] = {("tanh", "f32"): _formula(_tanh)}
