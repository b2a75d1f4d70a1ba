"""The meaning of Python's operators on tensors, and the elementwise functions that follow the same typing.

Integer ``//`` and ``%`` truncate towards zero, as in C; ``>>`` keeps the sign of signed types; float ``%`` is C's
fmod; int ``/`` int is computed in fp32.  Adding an integer to a pointer moves it by elements.
"""

from __future__ import annotations

import enum
import warnings
from typing import Any

from .builtin import builtin
from .casting import cast_to
from .constexpr import unwrap
from .context import current
from .promotion import broadcast_pair, constant, emit, is_number, operands, to_tensor
from .tensor import tensor
from .types import float32, int1, int64

__all__ = [
    "PropagateNan",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "fdiv",
    "div_rn",
    "minimum",
    "maximum",
    "clamp",
    "bitwise",
    "shl",
    "shr",
    "negate",
    "invert",
    "absolute",
    "compare",
    "logical",
    "logical_not",
    "where",
    "umulhi",
    "fma",
]


class PropagateNan(enum.Enum):
    """What `minimum`, `maximum` and `clamp` give where an operand is NaN: the other operand, or NaN."""

    NONE = 0
    ALL = 1


# --- + - * ----------------------------------------------------------------------------------------------


@builtin
def add(x: Any, y: Any, sanitize_overflow: Any = True) -> tensor:
    """x + y; a pointer moves by elements.

    ``sanitize_overflow``: assert that integers below 64 bits do not wrap, where the options have debug and sanitize_overflow.
    """
    x, y = operands(x, y, ptr_x=True, ptr_y=True)
    if x.dtype.is_ptr() and y.dtype.is_ptr():
        raise TypeError(f"cannot add pointers together ({x.dtype} and {y.dtype})")
    if y.dtype.is_ptr():
        x, y = y, x
    if x.dtype.is_ptr():
        return _move(x, y)
    return _plus_minus_times("add", x, y, sanitize_overflow)


@builtin
def sub(x: Any, y: Any, sanitize_overflow: Any = True) -> tensor:
    """x − y; a pointer moves back by elements."""
    x, y = operands(x, y, ptr_x=True)
    if x.dtype.is_ptr():
        return _move(x, negate(_offset(y)))
    return _plus_minus_times("sub", x, y, sanitize_overflow)


@builtin
def mul(x: Any, y: Any, sanitize_overflow: Any = True) -> tensor:
    """x · y"""
    x, y = operands(x, y)
    return _plus_minus_times("mul", x, y, sanitize_overflow)


def _plus_minus_times(name: str, x: tensor, y: tensor, sanitize: Any) -> tensor:
    if x.dtype.is_floating():
        return emit("f" + name, x.type, x.handle, y.handle)
    if unwrap(sanitize) and x.dtype.int_bitwidth < 64:
        options = current().options
        if options.debug and options.sanitize_overflow:
            _assert_no_overflow(name, x, y)
    return emit(name, x.type, x.handle, y.handle)


def _assert_no_overflow(name: str, x: tensor, y: tensor) -> None:
    """Computes again in 64 bits and asserts that the result fits."""
    from .debug import device_assert

    t = x.dtype
    wide = emit(name, x.type.with_element_ty(int64), cast_to(x, int64).handle, cast_to(y, int64).handle)
    fits = (wide <= t.get_int_max_value()) & (wide >= t.get_int_min_value())
    device_assert(fits, f"int{t.int_bitwidth} overflow detected for operation {name}")


def _offset(y: tensor) -> tensor:
    """Offsets are signed in the IR: a narrow unsigned one is widened so that it stays positive."""
    if not y.dtype.is_int():
        raise TypeError(f"a pointer moves by an integer, not by {y.dtype}")
    return cast_to(y, int64) if y.dtype.is_int_unsigned() and y.dtype.int_bitwidth < 64 else y


def _move(p: tensor, y: tensor) -> tensor:
    return emit("addptr", p.type, p.handle, _offset(y).handle)


# --- division -------------------------------------------------------------------------------------------


@builtin
def truediv(x: Any, y: Any) -> tensor:
    """x / y: integers and floats below 32 bits are divided in fp32."""
    x, y = operands(x, y, div_or_mod=True)
    if x.dtype.is_int():
        x, y = cast_to(x, float32), cast_to(y, float32)
    return emit("fdiv", x.type, x.handle, y.handle)


@builtin
def floordiv(x: Any, y: Any) -> tensor:
    """x // y on integers, towards zero.  Raises TypeError for floats."""
    x, y = operands(x, y, div_or_mod=True)
    if not x.dtype.is_int():
        raise TypeError(f"// needs integers, not {x.dtype}; use tl.floor(x / y)")
    return emit("sdiv" if x.dtype.is_int_signed() else "udiv", x.type, x.handle, y.handle)


@builtin
def mod(x: Any, y: Any) -> tensor:
    """x % y with the sign of x."""
    x, y = operands(x, y, div_or_mod=True)
    if x.dtype.is_floating():
        return emit("frem", x.type, x.handle, y.handle)
    return emit("srem" if x.dtype.is_int_signed() else "urem", x.type, x.handle, y.handle)


@builtin
def fdiv(x: Any, y: Any, ieee_rounding: Any = False, approx: Any = False) -> tensor:
    """x / y on floats; ``ieee_rounding`` asks for correct rounding, ``approx`` permits less."""
    x, y = unwrap(x), unwrap(y)
    for v in (x, y):
        if not to_tensor(v).dtype.is_floating():
            raise TypeError(f"both operands of fdiv must have floating scalar type, not {to_tensor(v).dtype}")
    x, y = operands(x, y)
    return emit("fdiv", x.type, x.handle, y.handle, precise=bool(unwrap(ieee_rounding)))


@builtin
def div_rn(x: Any, y: Any) -> tensor:
    """x / y rounded to nearest even."""
    x, y = operands(x, y)
    if not x.dtype.is_fp32() and not x.dtype.is_fp64():
        raise ValueError(f"div_rn expects fp32 or fp64, not {x.dtype}")
    return emit("fdiv", x.type, x.handle, y.handle, precise=True)


# --- minimum, maximum -----------------------------------------------------------------------------------


def _extremum(name: str, x: Any, y: Any, propagate_nan: Any) -> tensor:
    nan = unwrap(propagate_nan)
    if nan not in (PropagateNan.NONE, PropagateNan.ALL):
        raise ValueError(f"Unexpected propagate_nan {nan!r}; use tl.PropagateNan.NONE or tl.PropagateNan.ALL")
    x, y = operands(x, y)
    if x.dtype.is_floating():
        row = f"f{name}imum" if nan is PropagateNan.ALL else f"f{name}"
    else:
        row = ("s" if x.dtype.is_int_signed() else "u") + name
    return emit(row, x.type, x.handle, y.handle)


@builtin
def minimum(x: Any, y: Any, propagate_nan: Any = PropagateNan.NONE) -> tensor:
    """The lesser of x and y; where one is NaN, the other (or NaN with PropagateNan.ALL)."""
    return _extremum("min", x, y, propagate_nan)


@builtin
def maximum(x: Any, y: Any, propagate_nan: Any = PropagateNan.NONE) -> tensor:
    """The greater of x and y; where one is NaN, the other (or NaN with PropagateNan.ALL)."""
    return _extremum("max", x, y, propagate_nan)


@builtin
def clamp(x: Any, min: Any, max: Any, propagate_nan: Any = PropagateNan.NONE) -> tensor:
    """x limited to min … max, on floats.  The result is unspecified where min > max."""
    low, high = operands(min, max)
    x, low = operands(x, low)
    if not x.dtype.is_floating():
        raise TypeError(f"Unexpected dtype {x.dtype}. Only floating point clamp is supported")
    return _extremum("min", _extremum("max", x, low, propagate_nan), high, propagate_nan)


# --- bits -----------------------------------------------------------------------------------------------


def _bit_operands(x: Any, y: Any) -> tuple[tensor, tensor]:
    x, y = operands(x, y)
    if not x.dtype.is_int() or not y.dtype.is_int():
        raise TypeError(f"invalid operands of type {x.dtype} and {y.dtype}: bits belong to integers; use .to(…, bitcast=True)")
    return x, y


def bitwise(name: str, x: Any, y: Any) -> tensor:
    """``name`` is "and", "or" or "xor"."""
    x, y = _bit_operands(x, y)
    return emit(name, x.type, x.handle, y.handle)


def shl(x: Any, y: Any) -> tensor:
    """x << y"""
    x, y = _bit_operands(x, y)
    return emit("shl", x.type, x.handle, y.handle)


def shr(x: Any, y: Any) -> tensor:
    """x >> y: the sign enters where the left operand is signed."""
    left = unwrap(x)
    signed = not isinstance(left, tensor) or left.dtype.is_int_signed()
    x, y = _bit_operands(x, y)
    return emit("ashr" if signed else "lshr", x.type, x.handle, y.handle)


def invert(x: tensor) -> tensor:
    """~x"""
    if not x.dtype.is_int():
        raise TypeError(f"wrong type argument to unary invert ({x.dtype!r}): it needs an integer")
    ones = constant(True if x.dtype.is_bool() else -1, x.type)
    return emit("xor", x.type, x.handle, ones.handle)


def negate(x: tensor) -> tensor:
    """−x; on floats the sign bit flips, so −0.0 and NaN behave."""
    if x.dtype.is_ptr():
        raise TypeError(f"wrong type argument to unary minus ({x.dtype!r}): a pointer has no sign")
    if x.dtype.is_floating():
        return emit("fneg", x.type, x.handle)
    return emit("sub", x.type, constant(0, x.type).handle, x.handle)


def absolute(x: tensor) -> tensor:
    """|x|; unsigned integers as they are."""
    if x.dtype.is_floating():
        return emit("fabs", x.type, x.handle)
    if not x.dtype.is_int():
        raise TypeError(f"abs needs integers or floats, not {x.dtype}")
    return emit("iabs", x.type, x.handle) if x.dtype.is_int_signed() else x


# --- comparison and logic -------------------------------------------------------------------------------

_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def compare(name: str, x: Any, y: Any) -> tensor:
    """``name`` is one of eq ne lt le gt ge; the result is int1.

    Pointers compare with each other as unsigned addresses, and are or are not a literal (``p == 0``).  They are not more or less than
    an integer: a parameter that is meant to be a number is a pointer where a tensor of one element was passed, and a mask made of
    it would hold everywhere.
    """
    is_known = name in ("eq", "ne") and (is_number(x) or is_number(y))
    x, y = operands(x, y, ptr_x=True, ptr_y=True)
    if x.dtype.is_ptr() != y.dtype.is_ptr():
        if not (x.dtype.is_int() or y.dtype.is_int()):
            raise TypeError(f"cannot compare {x.dtype} with {y.dtype}")
        if not is_known:
            raise TypeError(
                f"invalid operands of type {x.dtype} and {y.dtype}: a pointer is an address; read the number there with tl.load, "
                "or pass a number instead of a tensor"
            )
        x, y = cast_to(x, int64), cast_to(y, int64)
        return _icmp(name, x, y, signed=False)
    if x.dtype.is_floating():
        return emit("fcmp", x.type.with_element_ty(int1), x.handle, y.handle, pred=_FLOAT_PREDICATES[name])
    return _icmp(name, x, y, signed=x.dtype.is_int_signed())


def _icmp(name: str, x: tensor, y: tensor, signed: bool) -> tensor:
    pred = name if name in ("eq", "ne") else ("s" if signed else "u") + name
    return emit("icmp", x.type.with_element_ty(int1), x.handle, y.handle, pred=pred)


def _truth(x: Any) -> tensor:
    return cast_to(to_tensor(x), int1)


def logical(name: str, x: Any, y: Any) -> tensor:
    """`and` and `or` of the source on run-time values: both sides are evaluated."""
    x, y = broadcast_pair(_truth(x), _truth(y))
    return emit(name, x.type, x.handle, y.handle)


def logical_not(x: Any) -> tensor:
    """`not x`"""
    return invert(_truth(x))


@builtin
def where(condition: Any, x: Any, y: Any) -> tensor:
    """x where the condition holds, else y; all three broadcast, and both x and y are evaluated."""
    condition = to_tensor(condition)
    if not condition.dtype.is_bool():
        warnings.warn(f"tl.where with a non-boolean condition is deprecated. Got {condition.dtype}", stacklevel=3)
    condition = cast_to(condition, int1)
    x, y = operands(x, y, ptr_x=True, ptr_y=True)
    if x.dtype.is_ptr() != y.dtype.is_ptr():
        raise TypeError(f"the two values of tl.where have types {x.dtype} and {y.dtype}; cast one of them")
    condition, x = broadcast_pair(condition, x)
    x, y = broadcast_pair(x, y)
    return emit("select", x.type, condition.handle, x.handle, y.handle)


# --- other arithmetic -----------------------------------------------------------------------------------


@builtin
def umulhi(x: Any, y: Any) -> tensor:
    """The high half of the product of two 32- or 64-bit integers taken as unsigned."""
    x, y = operands(x, y)
    if not x.dtype.is_int() or x.dtype.int_bitwidth not in (32, 64):
        raise ValueError(f"umulhi expects 32- or 64-bit integers, not {x.dtype}")
    return emit("umulhi", x.type, x.handle, y.handle)


@builtin
def fma(x: Any, y: Any, z: Any) -> tensor:
    """x·y + z rounded once, on floats."""
    x, y = operands(x, y)
    x, z = operands(x, z)
    z, y = operands(z, y)
    x, y = broadcast_pair(x, y)
    if not x.dtype.is_floating():
        raise TypeError(f"fma needs floats, not {x.dtype}")
    return emit("fma", x.type, x.handle, y.handle, z.handle)
