"""What marks a Python function as part of the language, and how it becomes a tensor method.

A builtin is plain Python that records operations through the current `Context`.  Libraries written for
Triton pass ``_builder=``, ``_semantic=`` or ``_generator=`` on to builtins; those keywords are dropped here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["builtin", "extern", "is_builtin", "marked", "member"]

F = TypeVar("F", bound=Callable[..., Any])
_IGNORED = ("_builder", "_semantic", "_generator")


def builtin(fn: F) -> F:
    """Marks ``fn`` as a function of the language that may be called inside kernels."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for name in _IGNORED:
                kwargs.pop(name, None)
        try:
            return fn(*args, **kwargs)
        except AttributeError as e:
            mistake = _wrong_kind(fn, args, kwargs, e)
            if mistake is None:
                raise
            raise TypeError(mistake) from None

    call.__triton_builtin__ = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


_KINDS = {"tensor": "a tensor", "dtype": "a dtype such as tl.float32"}


def _wrong_kind(fn: Callable[..., Any], args: Any, kwargs: dict[str, Any], e: AttributeError) -> str | None:
    """A sentence where what lacks the attribute is an argument declared as a tensor or dtype; else None."""
    try:
        given = inspect.signature(fn).bind(*args, **kwargs).arguments
    except TypeError:
        return None
    for name, value in given.items():
        declared = str(fn.__annotations__.get(name))
        if e.obj is None and declared.endswith(" | None"):  # an argument left out is no mistake
            continue
        wanted = _KINDS.get(declared.removesuffix(" | None"))
        inner = getattr(value, "value", value)  # a constexpr's
        uncalled = wanted == "a tensor" and callable(inner)  # `x.sum` for `x.sum(0)`: what it lacks is looked for in other objects
        if uncalled or (wanted and (value is e.obj or inner is e.obj)):
            shown = inner if uncalled else value
            return f"{name} of tl.{fn.__name__} must be {wanted}, but {getattr(shown, '__name__', shown)!r} is a {type(shown).__name__}"
    return None


extern = builtin  # the name which libraries use for functions that stand for a symbol of a device library


def is_builtin(fn: Any) -> bool:
    """Whether ``fn`` is a function of the language rather than one written in it."""
    return bool(getattr(fn, "__triton_builtin__", False))


def marked(bound: F, method: Any) -> F:
    """``bound`` with what `must_use_result` said of the method that it calls."""
    for mark in ("_must_use_result", "_must_use_result_is_error"):
        if hasattr(method, mark):
            setattr(bound, mark, getattr(method, mark))
    return bound


def member(fn: F) -> F:
    """Makes the builtin also a method of `tensor`: ``x.exp()`` is ``tl.exp(x)``."""
    from .tensor import tensor

    setattr(tensor, fn.__name__, fn)
    return fn
