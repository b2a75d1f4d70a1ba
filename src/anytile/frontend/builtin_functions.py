"""Python's builtin functions on language values, as far as kernels have them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..language.aggregate import Recorded
from ..language.constexpr import constexpr, unwrap, unwrap_deep
from ..language.tuples import tuple as tl_tuple
from .classify import Problem
from .errors import ArgumentError, NotConstexprError
from .hints import SIZES
from .values import compile_time, describe, is_tensor, wrap

__all__ = ["HANDLERS"]

HANDLERS: dict[Any, Callable[..., Any]] = {}


def _handles(*builtins: Any) -> Callable[[Callable], Callable]:
    def register(fn: Callable) -> Callable:
        HANDLERS.update(dict.fromkeys(builtins, fn))
        return fn

    return register


def _elements(x: Any, what: str) -> list[Any]:
    x = unwrap(x)
    if is_tensor(x) or not hasattr(x, "__iter__"):
        advice = f"; tensors are reduced by tl.{what[:-2]}" if is_tensor(x) and what in ("sum()", "max()", "min()") else ""
        raise Problem(NotConstexprError, f"{what} needs a compile-time sequence, not {describe(x)}{advice}")
    return [wrap(v) for v in x]


def _static(what: str, *values: Any) -> list[Any]:
    """The Python objects behind compile-time arguments."""
    for v in values:
        if not compile_time(v):
            raise Problem(
                NotConstexprError, f"{what} needs a value known at compile time, but gets {describe(v)}; convert tensors with .to()"
            )
    return [unwrap_deep(v) for v in values]


def _convert(of: type) -> None:
    def convert(t: Any, *args: Any) -> Any:
        return constexpr(of(*_static(f"{of.__name__}()", *args)))

    HANDLERS[of] = convert


for _python_type in (int, float, bool, str):
    _convert(_python_type)


@_handles(len)
def _len(t: Any, x: Any) -> Any:
    if is_tensor(x):
        if not x.type.shape:
            what = f"a pointer has no length; {SIZES}" if x.dtype.is_ptr() else f"a {x.type} scalar has no length"
            raise Problem(ArgumentError, what)
        return constexpr(x.type.shape[0])
    return constexpr(len(unwrap(x)))


@_handles(range)
def _range(t: Any, *bounds: Any) -> Any:
    return wrap(list(range(*_static("range() outside of a `for` statement", *bounds))))


@_handles(tuple, list)
def _tuple(t: Any, x: Any = ()) -> Any:
    return wrap(tuple(_elements(x, "tuple()")))


@_handles(zip)
def _zip(t: Any, *xs: Any) -> Any:
    return wrap([wrap(row) for row in zip(*(_elements(x, "zip()") for x in xs))])


@_handles(enumerate)
def _enumerate(t: Any, x: Any, start: Any = 0) -> Any:
    return wrap([wrap((i, v)) for i, v in enumerate(_elements(x, "enumerate()"), unwrap(start))])


@_handles(reversed)
def _reversed(t: Any, x: Any) -> Any:
    return wrap(_elements(x, "reversed()")[::-1])


@_handles(sum)
def _sum(t: Any, x: Any, start: Any = 0) -> Any:
    """The sum of a compile-time sequence; a tensor is reduced by tl.sum."""
    return functools.reduce(lambda a, b: wrap(unwrap(a) + unwrap(b)), _elements(x, "sum()"), wrap(start))


@_handles(any)
def _any(t: Any, x: Any) -> Any:
    return constexpr(any(_static("any()", *_elements(x, "any()"))))


@_handles(all)
def _all(t: Any, x: Any) -> Any:
    return constexpr(all(_static("all()", *_elements(x, "all()"))))


def _extremum(fold: Callable, name: str) -> Callable[..., Any]:
    def extremum(t: Any, *args: Any, **kwargs: Any) -> Any:
        from ..language import arithmetic

        values = list(args) if len(args) > 1 else _elements(args[0], f"{name}()")
        if all(map(compile_time, values)):
            return wrap(fold([unwrap(v) for v in values]))
        two = arithmetic.maximum if fold is max else arithmetic.minimum
        return functools.reduce(lambda a, b: two(a, b, **kwargs), values)

    return extremum


HANDLERS[max] = _extremum(max, "max")
HANDLERS[min] = _extremum(min, "min")


@_handles(abs)
def _abs(t: Any, x: Any) -> Any:
    return wrap(abs(unwrap(x)))


@_handles(isinstance)
def _isinstance(t: Any, x: Any, kinds: Any) -> Any:
    """A compile-time number is both a constexpr and the Python number; None counts as a constexpr."""
    kinds = unwrap_deep(kinds)
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    held = unwrap(x)
    found = isinstance(x, kinds) or isinstance(held, kinds)
    if not found and constexpr in kinds:
        found = not isinstance(x, Recorded)
    if not found and tuple in kinds:
        found = isinstance(held, tl_tuple)
    return constexpr(found)


@_handles(hasattr)
def _hasattr(t: Any, x: Any, name: Any) -> Any:
    from .expressions import get_attribute

    try:
        get_attribute(x, unwrap(name))
    except AttributeError:
        return constexpr(False)
    return constexpr(True)


@_handles(getattr)
def _getattr(t: Any, x: Any, name: Any, *default: Any) -> Any:
    from .expressions import get_attribute

    try:
        return get_attribute(x, unwrap(name))
    except AttributeError:
        if default:
            return default[0]
        raise


@_handles(type)
def _type(t: Any, x: Any) -> Any:
    return type(unwrap(x)) if not isinstance(x, Recorded) else type(x)


@_handles(print)
def _print(t: Any, *args: Any, **kwargs: Any) -> Any:
    """``print("x", x)`` is tl.device_print; a first argument that is no text gets an empty prefix."""
    from ..language.debug import device_print

    values = list(args)
    if any(isinstance(unwrap(v), str) for v in values[1:]) or kwargs.keys() - {"hex"}:
        raise Problem(
            ArgumentError,
            'print in a kernel is tl.device_print: it takes one text, first, and then values, as print("x and y", x, y); no text between '
            "them, no sep and no end",
        )
    prefix = values.pop(0) if values and isinstance(unwrap(values[0]), str) else constexpr("")
    return device_print(prefix, *values, **kwargs)
