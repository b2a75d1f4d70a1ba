"""One protocol for language values made of several SSA values.

A tuple, a block pointer or a tensor descriptor lives in a loop or crosses a branch as a flat list of SSA values::

    values = flatten(x)             # tensor → 1, tuple → its elements', block pointer → base, shape …, constexpr → 0
    y      = unflatten(x, values2)  # a value of the same kind over other SSA values
    same   = structure(x) == structure(y)

`Recorded` marks everything that exists at run time: operators of `constexpr` give way to it.
User classes join by the decorator `records.aggregate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..ir import Value

__all__ = ["Recorded", "Aggregate", "flatten", "unflatten", "structure", "count"]


class Recorded:
    """Base of the values that exist when the kernel runs, as against `constexpr`."""

    __slots__ = ()


class Aggregate(Recorded):
    """A run-time value made of parts.  A subclass says how to take it apart and put it together."""

    __slots__ = ()

    def flatten(self) -> list[Value]:
        """Its SSA values, in an order that depends on `structure` only."""
        raise NotImplementedError

    def unflatten(self, values: Sequence[Value]) -> Aggregate:
        """A value of the same structure over ``values``, as many as `flatten` gives."""
        raise NotImplementedError

    def structure(self) -> Any:
        """What must be equal for two values to be interchangeable: compares with ``==``, prints readably."""
        raise NotImplementedError


def flatten(x: Any) -> list[Value]:
    """The SSA values of ``x``; none where it is known at compile time."""
    return x.flatten() if isinstance(x, Recorded) else []  # type: ignore[attr-defined]


def unflatten(like: Any, values: Sequence[Value]) -> Any:
    """A value of the structure of ``like`` over ``values``; ``like`` itself where it is known at compile time."""
    return like.unflatten(values) if isinstance(like, Recorded) else like  # type: ignore[attr-defined]


def structure(x: Any) -> Any:
    """The type of ``x``, complete enough that equal structures flatten alike."""
    if isinstance(x, Recorded):
        return x.structure()  # type: ignore[attr-defined]
    from .constexpr import constexpr_type

    return constexpr_type(x)


def count(x: Any) -> int:
    """How many SSA values ``x`` has."""
    return len(flatten(x))
