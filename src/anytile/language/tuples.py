"""``tl.tuple``: a heterogeneous sequence of language values inside a kernel.

Elements are tensors, constexprs, dtypes, functions, aggregates or tuples.  Indices and slice bounds are
compile-time; ``+`` and ``*`` concatenate; ``==`` compares element by element.  A named tuple keeps the names of its fields
in its type and answers them as attributes.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .aggregate import Aggregate, count, flatten, structure, unflatten
from .constexpr import constexpr, unwrap, unwrap_deep
from .types import dtype, tuple_type

if TYPE_CHECKING:
    from ..ir import Value

__all__ = ["tuple", "slice", "as_sequence"]


class tuple(Aggregate):
    """A tuple of language values; ``type`` may give it field names."""

    __slots__ = ("values", "fields")

    def __init__(self, args: Sequence[Any], type: tuple_type | None = None):
        values = args.values if isinstance(args, tuple) else args
        self.values: list[Any] = [tuple(v) if isinstance(v, (list, builtins.tuple)) else v for v in values]
        self.fields: list[str] | None = list(type.fields) if type is not None and type.fields else None

    @property
    def type(self) -> tuple_type:
        return tuple_type([_type_of(v) for v in self.values], self.fields)

    def __getattr__(self, name: str) -> Any:
        fields = None if name in ("fields", "values") else self.fields
        if fields and name in fields:
            return self.values[fields.index(name)]
        if fields:
            more = f"; its fields are {', '.join(fields)}"
        elif hasattr(list, name):
            more = "; a list in a kernel is a tuple, which does not change: write x = x + (y,) to make a longer one"
        else:
            more = ""
        raise AttributeError(f"a tuple has no attribute {name!r}{more}")

    def __getitem__(self, index: Any) -> Any:
        index = unwrap_deep(index)
        if isinstance(index, (builtins.slice, slice)):
            return tuple(self.values[builtins.slice(index.start, index.stop, index.step)])
        if not isinstance(index, int):
            raise TypeError(f"a tuple's index must be known at compile time, not {index!r}")
        if not -len(self.values) <= index < len(self.values):
            raise IndexError(f"a tuple of {len(self.values)} has no element {index}")
        return self.values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("a tuple cannot be changed; make a new one, for example (value, *t[1:])")

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __add__(self, other: Any) -> tuple:
        return tuple([*self.values, *tuple(as_sequence(other)).values])

    def __radd__(self, other: Any) -> tuple:
        return tuple([*tuple(as_sequence(other)).values, *self.values])

    def __mul__(self, times: Any) -> tuple:
        return tuple(self.values * unwrap(times))

    __rmul__ = __mul__

    def __eq__(self, other: Any) -> Any:  # type: ignore[override]
        """constexpr where all elements are known at compile time, else an int1 tensor."""
        other = unwrap(other)
        if not isinstance(other, (tuple, builtins.tuple, list)) or len(other) != len(self.values):
            return constexpr(False)
        result: Any = constexpr(True)
        for a, b in zip(self.values, other):
            same = a == b
            if isinstance(same, (bool, constexpr)):
                if not same:
                    return constexpr(False)
            else:
                result = same if isinstance(result, constexpr) else result & same
        return result

    def __ne__(self, other: Any) -> Any:  # type: ignore[override]
        same = self == other
        return same.not_() if isinstance(same, constexpr) else same.logical_not()

    def __hash__(self) -> int:
        return hash(builtins.tuple(self.values))

    def __repr__(self) -> str:
        return "(" + ", ".join(map(str, self.values)) + ")"

    def flatten(self) -> list[Value]:
        return [v for x in self.values for v in flatten(x)]

    def unflatten(self, values: Sequence[Value]) -> tuple:
        out, at = [], 0
        for x in self.values:
            n = count(x)
            out.append(unflatten(x, values[at : at + n]))
            at += n
        return tuple(out, self.type)

    def structure(self) -> tuple_type:
        return tuple_type([structure(x) for x in self.values], self.fields)


class slice:
    """A slice object inside a kernel."""

    __slots__ = ("start", "stop", "step")

    def __init__(self, start: Any, stop: Any, step: Any):
        self.start, self.stop, self.step = start, stop, step


def as_sequence(x: Any) -> Sequence[Any]:
    """``x`` as something to iterate over: a tuple, list or shape, wrapped in a constexpr or not.

    Raises TypeError for a single value.
    """
    x = unwrap(x)
    if isinstance(x, (tuple, builtins.tuple, list)):
        return x  # type: ignore[return-value]
    raise TypeError(f"expected a tuple or list, not {x!r}")


def _type_of(v: Any) -> dtype:
    if isinstance(v, constexpr):
        return v.type
    t = getattr(v, "type", None)
    return t if isinstance(t, dtype) else constexpr(v).type
