"""How operands meet: Python scalars become tensors, types are promoted, shapes broadcast.

Promotion of the element types of a binary operation (`common_type`):

1. A Python scalar of lower or equal kind (bool < int < float) takes the other operand's type.
2. Else fp64 > fp32 > fp16 > bf16; fp16 with bf16 is fp16; bf16 with anything but bf16 or fp16 is fp32;
   two different fp8 formats meet in fp16.
3. ``/`` and ``%`` on floats below 32 bits compute in fp32.
4. Integers follow C: the wider wins, at equal width the unsigned.  ``/ // %`` refuse mixed signedness.

Broadcasting is NumPy's, except that a missing dimension may only be added in front.
"""

from __future__ import annotations

import math
from typing import Any

from .constexpr import unwrap
from .context import current
from .tensor import tensor
from .types import bfloat16, dtype, float16, float32, float64, int1, int32, int64, make_block, uint32, uint64

__all__ = [
    "to_tensor",
    "literal_type",
    "common_type",
    "integer_type",
    "is_number",
    "operands",
    "broadcast_pair",
    "broadcast_to_shape",
    "constant",
    "emit",
]

_F32_TINY, _F32_MAX = 2.0**-126, (2 - 2.0**-23) * 2.0**127


def emit(name: str, result: dtype, *handles: Any, **attrs: Any) -> tensor:
    """Records the one-result operation ``name`` and types its result."""
    return tensor(current().builder.make(name, handles, attrs).results[0], result)


def constant(value: Any, type: dtype) -> tensor:
    """``value`` in every element of ``type``.  Pointers are made of integer addresses."""
    b = current().builder
    if type.scalar.is_ptr():
        address = b.const(int(value), int64.to_ir().with_shape(type.shape))
        return tensor(b.inttoptr(address, to=type.element()), type)
    return tensor(b.const(value, type.to_ir()), type)


def literal_type(x: bool | int | float) -> dtype:
    """The type of a Python scalar on its own: int1, the first of int32, uint32, int64, uint64 that holds it, or
    fp32 (fp64 outside its range).  Raises ValueError for an integer of more than 64 bits."""
    if isinstance(x, bool):
        return int1
    if isinstance(x, int):
        for t in (int32, uint32, int64, uint64):
            if t.get_int_min_value() <= x <= t.get_int_max_value():
                return t
        raise ValueError(f"the integer {x} does not fit in 64 bits")
    if x == 0.0 or not math.isfinite(x) or _F32_TINY <= abs(x) <= _F32_MAX:
        return float32
    return float64


def is_number(x: Any) -> bool:
    """Whether ``x`` is a literal of the source: a Python number, or a constexpr of one."""
    return isinstance(unwrap(x), (bool, int, float))


def to_tensor(x: Any) -> tensor:
    """``x`` as a tensor: tensors as they are, Python scalars and constexprs as constants of `literal_type`.

    Raises TypeError for anything else.
    """
    x = unwrap(x)
    if isinstance(x, tensor):
        return x
    if is_number(x):
        return constant(x, literal_type(x))
    if hasattr(x, "__index__") or hasattr(x, "__float__") and not hasattr(x, "__len__"):  # NumPy scalars
        return to_tensor(x.__index__() if hasattr(x, "__index__") else float(x))
    if x is None:
        raise TypeError(
            "None is used as a number or a pointer here: an argument that was passed as None, a default, or what a function without "
            "`return` returns; ask `is not None` first"
        )
    raise TypeError(f"cannot convert {x!r} of type {type(x).__name__} to a tensor")


def integer_type(a: dtype, b: dtype) -> dtype:
    """C's usual arithmetic conversion without the promotion to int."""
    if a.int_signedness == b.int_signedness:
        return a if a.int_bitwidth > b.int_bitwidth else b
    unsigned, signed = (a, b) if a.is_int_unsigned() else (b, a)
    return unsigned if unsigned.int_bitwidth >= signed.int_bitwidth else signed


def common_type(a: dtype, a_literal: bool, b: dtype, b_literal: bool, div_or_mod: bool = False) -> dtype:
    """The element type in which a binary operation computes (see the rules above).

    Raises TypeError for types that never meet (fp8 with an integer tensor) and for ``/ // %`` on mixed signedness.
    """
    if a_literal != b_literal:
        literal, other = (a, b) if a_literal else (b, a)
        if literal.kind().value <= other.kind().value:
            return float32 if div_or_mod and (other.is_fp16() or other.is_bf16()) else other
    if a.is_fp64() or b.is_fp64():
        return float64
    if a.is_fp32() or b.is_fp32():
        return float32
    if a.is_fp16() or b.is_fp16():
        return float32 if div_or_mod else float16
    if a.is_bf16() or b.is_bf16():
        return bfloat16 if a.is_bf16() and b.is_bf16() and not div_or_mod else float32
    if a.is_fp8() and b.is_fp8():
        return a if a == b else float16
    if not (a.is_int() and b.is_int()):
        raise TypeError(f"invalid operands of type {a} and {b}; convert one with .to()")
    if div_or_mod and a.int_signedness != b.int_signedness and not (a.is_bool() or b.is_bool()):
        raise TypeError(f"Cannot use /, #, or % with {a} and {b} because they have different signedness; cast them to the same signedness")
    return integer_type(a, b)


def operands(
    x: Any, y: Any, *, ptr_x: bool = False, ptr_y: bool = False, arithmetic: bool = True, div_or_mod: bool = False
) -> tuple[tensor, tensor]:
    """The two operands of a binary operation in their common type and shape.

    ``ptr_x``, ``ptr_y``: whether that side may be a pointer (pointers keep their type).  ``arithmetic=False`` leaves
    the element types alone.  Raises TypeError for operands that do not go together and ValueError for a literal
    that the common type cannot hold or for shapes that do not broadcast.
    """
    x, y = unwrap(x), unwrap(y)
    x_literal, y_literal = is_number(x), is_number(y)
    if not x_literal:
        x = to_tensor(x)
    if not y_literal:
        y = to_tensor(y)
    tx = literal_type(x) if x_literal else x.type.scalar
    ty = literal_type(y) if y_literal else y.type.scalar
    _check_pointer(tx, ty, ptr_x)
    _check_pointer(ty, tx, ptr_y)
    if arithmetic and not tx.is_ptr() and not ty.is_ptr():
        tx = ty = common_type(tx, x_literal, ty, y_literal, div_or_mod)
    # A literal is made in the other operand's shape at once, which saves a splat.
    if x_literal:
        x = constant(_checked(x, tx), make_block(tx, () if y_literal else y.type.shape))
    if y_literal:
        y = constant(_checked(y, ty), make_block(ty, x.type.shape))
    return broadcast_pair(casting.cast_to(x, tx), casting.cast_to(y, ty))


_POINTERS = "a pointer takes an integer offset by + and - (// divides integers); the number that it points to is read by tl.load"


def _check_pointer(a: dtype, b: dtype, allowed: bool) -> None:
    if a.is_ptr() and (not allowed or b.is_floating() or (b.is_ptr() and a != b)):
        raise TypeError(f"invalid operands of type {a} and {b}: {_POINTERS}")


def _checked(value: Any, t: dtype) -> Any:
    if t.is_int():
        if value < 0 and t.is_int_unsigned():
            raise ValueError(
                f"Cannot perform a binary operation between an unsigned tensor ({t}) and the negative scalar {value}; cast one of them explicitly"
            )
        if not t.get_int_min_value() <= value <= t.get_int_max_value():
            raise ValueError(
                f"Scalar {value} is out of range for type {t}, which a number takes beside such a tensor; convert the tensor first, x.to(tl.int32)"
            )
    return value


def broadcast_pair(x: tensor, y: tensor) -> tuple[tensor, tensor]:
    """Both tensors in their common shape.  Raises ValueError where there is none."""
    sx, sy = x.type.shape, y.type.shape
    if sx == sy:
        return x, y
    rank = max(len(sx), len(sy))
    px, py = (1,) * (rank - len(sx)) + sx, (1,) * (rank - len(sy)) + sy
    for i, (a, b) in enumerate(zip(px, py)):
        if a != b and a != 1 and b != 1:
            raise ValueError(
                f"Cannot make_shape_compatible: incompatible dimensions at index {i}: {a} and {b} (shapes {list(sx)} and {list(sy)})"
            )
    shape = tuple(b if a == 1 else a for a, b in zip(px, py))
    return _spread(x, shape), _spread(y, shape)


def broadcast_to_shape(x: tensor, shape: tuple[int, ...]) -> tensor:
    """``x`` repeated to exactly ``shape``; a tile must have its rank already.  Raises ValueError."""
    source = x.type.shape
    if source == shape:
        return x
    if source:
        if len(source) != len(shape):
            raise ValueError(f"Cannot broadcast, rank mismatch: {list(source)}, {list(shape)}")
        for i, (a, b) in enumerate(zip(source, shape)):
            if a != b and a != 1:
                raise ValueError(
                    f"Cannot broadcast, the expanded size of the tensor ({b}) must match the existing size ({a}) "
                    f"at non-singleton dimension {i}: {list(source)}, {list(shape)}"
                )
    return _spread(x, shape)


def _spread(x: tensor, shape: tuple[int, ...]) -> tensor:
    """Splat, or leading dimensions added and broadcast; the shapes are known to fit."""
    source = x.type.shape
    if source == shape:
        return x
    to = make_block(x.type.scalar, shape)
    if not source:
        return emit("splat", to, x.handle, shape=shape)
    padded = (1,) * (len(shape) - len(source)) + source
    for n in range(len(shape) - len(source)):
        x = emit("expand_dims", make_block(x.type.scalar, padded[-len(source) - n - 1 :]), x.handle, axis=0)
    return x if padded == shape else emit("broadcast", to, x.handle, shape=shape)


from . import casting  # noqa: E402  casting makes constants of its own
