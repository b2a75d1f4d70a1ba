"""``triton.aggregate``: classes of typed fields whose instances live in kernels.

    @triton.aggregate
    class Pair:
        left: tl.tensor
        right: tl.tensor
        width: tl.constexpr

        @triton.jit
        def __init__(self, left, right, width: tl.constexpr): ...

        @triton.jit
        def total(self): return self.left + self.right

Without ``__init__`` the fields are its parameters.  An instance does not change once it is made: `aggregate_replace`
gives a changed copy.  It is an `Aggregate` and crosses loops and branches field by field.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .aggregate import Aggregate, Recorded, flatten, structure, unflatten
from .builtin import builtin, marked
from .constexpr import constexpr
from .context import current

if TYPE_CHECKING:
    from ..ir import Value

__all__ = ["Record", "aggregate", "aggregate_replace"]


class Record(Aggregate):
    """Base of the classes that `aggregate` makes; ``__fields__`` are the names of the fields in order."""

    __fields__: tuple[str, ...] = ()
    __triton_builtin__ = True
    __triton_aggregate__ = True

    def __init__(self, *args: Any, **kwargs: Any):
        fields = self.__fields__
        try:
            bound = inspect.Signature([inspect.Parameter(f, inspect.Parameter.POSITIONAL_OR_KEYWORD) for f in fields]).bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}: {e}") from None
        self._fill(bound.arguments)

    def _fill(self, values: dict[str, Any]) -> None:
        for name in self.__fields__:
            if name not in values:
                raise AttributeError(f"the field {name} of {type(self).__name__} is not set by its __init__")
            value = values[name]
            plain = not isinstance(value, (Recorded, constexpr)) and isinstance(value, (bool, int, float, str, type(None)))
            object.__setattr__(self, name, constexpr(value) if plain else value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"{type(self).__name__}.{name} cannot be assigned: an aggregate does not change; use tl.aggregate_replace")

    def flatten(self) -> list[Value]:
        return [v for f in self.__fields__ for v in flatten(getattr(self, f))]

    def unflatten(self, values: Sequence[Value]) -> Record:
        rest, changed = list(values), {}
        for f in self.__fields__:
            old = getattr(self, f)
            n = len(flatten(old))
            changed[f] = unflatten(old, rest[:n])
            rest = rest[n:]
        return _make(type(self), changed)

    def structure(self) -> Any:
        return (type(self), [structure(getattr(self, f)) for f in self.__fields__])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f}={getattr(self, f)}' for f in self.__fields__)})"


def _make(cls: type[Record], values: dict[str, Any]) -> Record:
    made = object.__new__(cls)
    made._fill(values)
    return made


class _Draft:
    """What a user's ``__init__`` sees as self: the methods of the class and the fields set so far."""

    def __init__(self, cls: type[Record]):
        object.__setattr__(self, "_cls", cls)

    def __getattr__(self, name: str) -> Any:
        found = inspect.getattr_static(self._cls, name)
        return found.__get__(self, self._cls) if hasattr(found, "__get__") else found

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._cls.__fields__:
            raise AttributeError(f"{self._cls.__name__} has no field {name}; its fields are {', '.join(self._cls.__fields__)}")
        object.__setattr__(self, name, value)


class _Method:
    """A method written in the language: inlined with the instance as its first argument."""

    def __init__(self, fn: Any):
        self.fn = fn

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self.fn

        def bound(*args: Any, **kwargs: Any) -> Any:
            return _run(self.fn, (instance, *args), kwargs)

        return marked(builtin(bound), self.fn)


def _written_in_language(fn: Any) -> bool:
    from .source import JITCallable

    return isinstance(fn, JITCallable)


def _run(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return current().call(fn, args, kwargs) if _written_in_language(fn) else fn(*args, **kwargs)


def aggregate(cls: type) -> type[Record]:
    """Class decorator: instances are language values whose annotated fields are, too.  Raises TypeError for a class without annotated fields."""
    fields = tuple(inspect.get_annotations(cls))
    if not fields:
        raise TypeError(f"the aggregate {cls.__name__} has no fields; write them as annotations, for example `x: tl.tensor`")
    body: dict[str, Any] = {
        "__fields__": fields,
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__annotations__": dict.fromkeys(fields),
    }
    init = cls.__dict__.get("__init__")
    if init is not None:

        def __init__(self: Record, *args: Any, **kwargs: Any) -> None:
            draft = _Draft(type(self))
            _run(init, (draft, *args), kwargs)
            self._fill(vars(draft))

        body["__init__"] = __init__
    for name, value in cls.__dict__.items():
        if name in body or name in (
            "__dict__",
            "__weakref__",
            "__annotations__",
            "__annotate_func__",
            "__static_attributes__",
            "__firstlineno__",
        ):
            continue
        body[name] = _Method(value) if _written_in_language(value) else value
    return type(cls.__name__, (Record,), body)


@builtin
def aggregate_replace(instance: Record, **changes: Any) -> Record:
    """A copy of ``instance`` with some fields replaced.  Raises TypeError for names that are no fields."""
    if not isinstance(instance, Record):
        raise TypeError(f"aggregate_replace takes an instance of an aggregate, not {instance!r}")
    unknown = set(changes) - set(instance.__fields__)
    if unknown:
        raise TypeError(
            f"{type(instance).__name__} has no field {', '.join(sorted(unknown))}; its fields are {', '.join(instance.__fields__)}"
        )
    return _make(type(instance), {f: changes.get(f, getattr(instance, f)) for f in instance.__fields__})
