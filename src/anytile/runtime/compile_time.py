"""`constexpr_function`: Python functions that the compiler runs while it compiles, where a kernel calls them."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from ..language.builtin import marked
from ..language.source import JITCallable

__all__ = ["ConstexprFunction", "constexpr_function"]


class ConstexprFunction(JITCallable):
    """A Python function that runs while compiling, on plain values; also callable on the host."""

    runs_on_host = True

    def __init__(self, fn: FunctionType):
        super().__init__(fn)
        self.__signature__ = self.signature

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else marked(lambda *args, **kwargs: self(instance, *args, **kwargs), self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value, of plain values: constexprs and tuples of the language lose what is around them."""
        from ..language.constexpr import unwrap_deep

        for recording in ("_builder", "_semantic", "_generator"):
            kwargs.pop(recording, None)
        return self.fn(*map(unwrap_deep, args), **{k: unwrap_deep(v) for k, v in kwargs.items()})


def constexpr_function(fn: FunctionType) -> ConstexprFunction:
    """Decorator: the function is executed by the compiler when a kernel calls it, on compile-time values."""
    return ConstexprFunction(fn)
