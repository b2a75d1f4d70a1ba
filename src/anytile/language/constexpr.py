"""Values known at compile time.

``constexpr(v)`` wraps a Python object.  Operators fold in Python and give a constexpr again; where the other
operand exists at run time (`Recorded`) they give way to its reflected operator.  Everything in ``tl`` takes a
constexpr and the bare Python object alike: `unwrap` is the way in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from .aggregate import Recorded
from .types import dtype, tuple_type

__all__ = ["constexpr", "constexpr_type", "unwrap", "unwrap_deep", "CONSTEXPR_0"]


class constexpr:
    """A value known at compile time; ``x: tl.constexpr`` makes a parameter one.  Wrapping twice wraps once."""

    __slots__ = ("value",)

    value: Any

    def __init__(self, value: Any):
        while isinstance(value, constexpr):
            value = value.value
        self.value = value

    @property
    def type(self) -> constexpr_type:
        return constexpr_type(self.value)

    def __repr__(self) -> str:
        return f"constexpr[{self.value}]"

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return operator.index(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __contains__(self, item: Any) -> bool:
        return unwrap(item) in self.value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)

    def __getitem__(self, *args: Any) -> Any:
        return _wrap(self.value[unwrap_deep(args[0])])

    # `and`, `or`, `not` of the source arrive under these names.

    def logical_and(self, other: Any) -> Any:
        return _wrap(self.value and unwrap(other))

    def logical_or(self, other: Any) -> Any:
        return _wrap(self.value or unwrap(other))

    def not_(self) -> constexpr:
        return constexpr(not self.value)


def _wrap(value: Any) -> Any:
    return value if isinstance(value, Recorded) else constexpr(value)


def _binary(fn: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forward(self: constexpr, other: Any) -> Any:
        if isinstance(other, Recorded):
            return NotImplemented
        return constexpr(fn(self.value, unwrap(other)))

    def reflected(self: constexpr, other: Any) -> Any:
        return constexpr(fn(unwrap(other), self.value))

    return forward, reflected


for _name in "add sub mul truediv floordiv mod pow lshift rshift and or xor".split():
    _forward, _reflected = _binary(getattr(operator, _name + "_" if _name in ("and", "or") else _name))
    setattr(constexpr, f"__{_name}__", _forward)
    setattr(constexpr, f"__r{_name}__", _reflected)
for _name in "lt le gt ge eq ne".split():
    setattr(constexpr, f"__{_name}__", _binary(getattr(operator, _name))[0])
for _name in "neg pos invert abs".split():
    _unary = getattr(operator, _name)
    setattr(constexpr, f"__{_name}__", lambda self, _fn=_unary: constexpr(_fn(self.value)))


class constexpr_type(dtype):
    """The type of one compile-time value: equal exactly where the values are equal."""

    def __init__(self, value: Any):
        self.value = unwrap_deep(value)
        self.name = f"constexpr[{self.value}]"
        self.primitive_bitwidth = self.itemsize = 0

    def codegen_name(self) -> str:
        return self.name

    def mangle(self) -> str:
        return f"c{self.value}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple_type) and isinstance(self.value, (tuple, list)):
            return other.types == [constexpr_type(v) for v in self.value]
        return isinstance(other, constexpr_type) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.name))

    def __repr__(self) -> str:
        return self.name


def unwrap(x: Any) -> Any:
    """The Python object of a constexpr; anything else as it is."""
    return x.value if isinstance(x, constexpr) else x


def unwrap_deep(x: Any) -> Any:
    """`unwrap`, also inside Python tuples, lists and slices and inside a ``tl.tuple`` of compile-time values."""
    from .tuples import tuple as tl_tuple

    if isinstance(x, constexpr):
        return unwrap_deep(x.value) if isinstance(x.value, (list, tuple, tl_tuple)) else x.value
    if isinstance(x, list):
        return [unwrap_deep(v) for v in x]
    if type(x) is tuple:
        return tuple(unwrap_deep(v) for v in x)
    if isinstance(x, tl_tuple):
        return tuple(unwrap_deep(v) for v in x.values)
    if isinstance(x, slice):
        return slice(unwrap(x.start), unwrap(x.stop), unwrap(x.step))
    return x


CONSTEXPR_0 = constexpr(0)
