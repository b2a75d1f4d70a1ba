"""Questions about language values, and the few conversions that tracing itself needs.

A value is *known* when it exists at compile time only (constexpr, None, dtype, function, module …) and
*recorded* when SSA values stand behind it.  A `tl.tuple` is recorded even where all of its elements are known.
"""

from __future__ import annotations

from typing import Any

from ..ir import Block, Builder, Value
from ..language.aggregate import Recorded, flatten, structure
from ..language.casting import cast_to
from ..language.constexpr import constexpr, unwrap
from ..language.promotion import to_tensor
from ..language.shaping import reshape, static
from ..language.tensor import tensor
from ..language.tuples import tuple as tl_tuple
from ..language.types import dtype, int1, tuple_type

__all__ = [
    "Mismatch",
    "as_tensor",
    "compile_time",
    "decay",
    "describe",
    "is_number",
    "is_tensor",
    "known",
    "name_value",
    "reconcile",
    "to_bool",
    "wrap",
    "zeros_of",
]

_PLAIN = (bool, int, float, str)


def wrap(value: Any) -> Any:
    """A Python object as a language value: numbers and text become constexprs, sequences ``tl.tuple``."""
    kind = type(value)
    if kind is tensor or kind is constexpr or value is None:
        return value
    if kind in _PLAIN:
        return constexpr(value)
    if kind is tuple or kind is list:
        return tl_tuple([wrap(v) for v in value])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tl_tuple([wrap(v) for v in value], tuple_type([structure(wrap(v)) for v in value], value._fields))
    return value


def is_tensor(x: Any) -> bool:
    return isinstance(x, tensor)


def known(x: Any) -> bool:
    """Whether ``x`` has no existence at run time."""
    return not isinstance(x, Recorded)


def compile_time(x: Any) -> bool:
    """Whether all of ``x`` is known: also a tuple of known elements."""
    return all(compile_time(v) for v in x.values) if isinstance(x, tl_tuple) else known(x)


def is_number(x: Any) -> bool:
    return isinstance(x, constexpr) and isinstance(x.value, (bool, int, float))


def as_tensor(x: Any) -> tensor:
    """``x`` as a tensor; numbers as scalars of the type that their value asks for."""
    return x if isinstance(x, tensor) else to_tensor(unwrap(x))


def to_bool(x: tensor) -> tensor:
    """A scalar, or a tile of one element, as an i1.  Raises ValueError for other tiles: control flow has one condition."""
    if x.type.numel == 1 and x.type.is_block():
        x = reshape(x, ())
    if x.type.is_block():
        raise ValueError(
            f"the condition is a {x.type} tensor, but control flow needs a scalar; use tl.where, or reduce it first (tl.max, tl.sum)"
        )
    return x if x.type == int1 else cast_to(x, int1)


def decay(x: Any) -> Any:
    """Numbers become scalar tensors, also inside tuples; the rest stays."""
    if is_number(x):
        return as_tensor(x)
    if isinstance(x, tl_tuple):
        return tl_tuple([decay(v) for v in x.values], x.type)
    return x


def describe(x: Any) -> str:
    """The type of ``x`` for a message."""
    if isinstance(x, tensor):
        return str(x.type)
    if isinstance(x, tl_tuple):
        return "(" + ", ".join(map(describe, x.values)) + ")"
    x = unwrap(x)
    return repr(x) if isinstance(x, (*_PLAIN, type(None), dtype)) else type(x).__name__


class Mismatch(Exception):
    """Two values cannot become one variable."""

    def __init__(self, a: Any, b: Any):
        super().__init__(f"{describe(a)} and {describe(b)}")
        self.a, self.b = a, b


def same(a: Any, b: Any) -> bool:
    """Whether one variable can hold either value without conversion."""
    if a is b:
        return True
    if known(a) != known(b):
        return False
    return structure(a) == structure(b)


def reconcile(builder: Builder, a: Any, a_block: Block, b: Any, b_block: Block) -> tuple[Any, Any]:
    """``a`` and ``b`` as values of one structure; what must be made at run time goes to the end of their blocks.

    A number meets a scalar tensor by becoming one of its type where it can.  Raises Mismatch.
    """
    if same(a, b):
        return a, b
    if isinstance(a, tl_tuple) and isinstance(b, tl_tuple) and len(a) == len(b) and a.fields == b.fields:
        pairs = [reconcile(builder, x, a_block, y, b_block) for x, y in zip(a.values, b.values)]
        return tl_tuple([p[0] for p in pairs], a.type), tl_tuple([p[1] for p in pairs], b.type)
    x = _number_as(builder, a, a_block, b)
    y = _number_as(builder, b, b_block, x)
    x = _number_as(builder, x, a_block, y)
    if not same(x, y) or not isinstance(x, Recorded):
        raise Mismatch(a, b)
    return x, y


def _number_as(builder: Builder, x: Any, block: Block, like: Any) -> Any:
    """The number ``x`` as a scalar tensor made in ``block``: of the type of ``like`` where that can hold it."""
    value = static(x)
    if not isinstance(value, (bool, int, float)) or is_tensor(x) and is_tensor(like) and x.dtype.is_floating() != like.dtype.is_floating():
        return x  # a variable that was set to a number has a type, of which only the width gives way
    outer, builder.block = builder.block, block
    try:
        if isinstance(like, tensor) and not like.type.is_block() and _holds(like.type, value):
            return x if x is like else tensor(builder.const(value, like.type.to_ir()), like.type)
        return as_tensor(x)
    finally:
        builder.block = outer


def _holds(type: dtype, value: Any) -> bool:
    """Whether a variable of the scalar type ``type`` may be assigned the literal ``value`` without a surprise."""
    if type.is_ptr():
        return False
    if isinstance(value, bool):
        return type.is_int1()
    if isinstance(value, int):
        return type.is_floating() or not type.is_int1() and type.get_int_min_value() <= value <= type.get_int_max_value()
    return type.is_floating()


def zeros_of(builder: Builder, like: Any) -> list[Value]:
    """Zeros of the types behind ``like``: what stands where a value is never looked at."""
    out = []
    for v in flatten(like):
        if v.type.elem.is_ptr:
            from ..ir.types import I64

            zero = builder.const(0, v.type.with_elem(I64))
            out.append(builder.inttoptr(zero, to=v.type.elem))
        else:
            out.append(builder.const(0, v.type))
    return out


def name_value(x: Any, name: str) -> None:
    """Gives the SSA values behind ``x`` the name of its variable, for readable IR."""
    if isinstance(x, tensor):
        if not x.handle.name:
            x.handle.name = name
    elif isinstance(x, Recorded):
        for i, v in enumerate(flatten(x)):
            if not v.name:
                v.name = f"{name}_{i}"
