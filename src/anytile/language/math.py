"""``tl.math``: elementwise mathematical functions.

Most take fp32 and fp64 only, as in Triton: other types raise a TypeError that says to cast first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arithmetic import absolute, div_rn, fdiv, fma, umulhi
from .arithmetic import clamp, maximum, minimum
from .builtin import builtin, member
from .constexpr import unwrap
from .promotion import emit, to_tensor
from .tensor import tensor

__all__ = [
    "abs",
    "ceil",
    "clamp",
    "cos",
    "div_rn",
    "erf",
    "exp",
    "exp2",
    "fdiv",
    "floor",
    "fma",
    "log",
    "log2",
    "maximum",
    "minimum",
    "rsqrt",
    "sin",
    "sqrt",
    "sqrt_rn",
    "umulhi",
    "unary",
]


def unary(row: str, name: str, doc: str, **attrs: Any) -> Callable[[Any], tensor]:
    """The builtin ``name`` of one fp32 or fp64 argument that records the operation ``row``."""

    def fn(x: Any) -> tensor:
        x = to_tensor(unwrap(x))
        if not (x.dtype.is_fp32() or x.dtype.is_fp64()):
            raise TypeError(f"Expected dtype ['fp32', 'fp64'] but got {x.dtype}: convert the argument of tl.{name} with .to(tl.float32)")
        return emit(row, x.type, x.handle, **attrs)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc + " Takes fp32 and fp64."
    return builtin(fn)


exp = member(unary("exp", "exp", "e to the power of x."))
exp2 = member(unary("exp2", "exp2", "2 to the power of x."))
log = member(unary("log", "log", "The natural logarithm."))
log2 = member(unary("log2", "log2", "The logarithm to base 2."))
cos = member(unary("cos", "cos", "The cosine of x in radians."))
sin = member(unary("sin", "sin", "The sine of x in radians."))
sqrt = member(unary("sqrt", "sqrt", "The square root, approximate where the target's default is."))
sqrt_rn = member(unary("sqrt", "sqrt_rn", "The square root rounded to nearest even.", precise=True))
rsqrt = member(unary("rsqrt", "rsqrt", "1 / √x."))
erf = member(unary("erf", "erf", "The error function."))
floor = member(unary("floor", "floor", "The greatest integer not above x."))
ceil = member(unary("ceil", "ceil", "The least integer not below x."))


@member
@builtin
def abs(x: Any) -> tensor:
    """|x| of floats and integers; unsigned integers as they are."""
    return absolute(to_tensor(x))
