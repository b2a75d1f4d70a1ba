"""Meta-parameters that are computed from a launch's arguments: ``@triton.heuristics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .jit import KernelInterface
from .refusals import refuse_unknown

__all__ = ["Heuristics", "heuristics", "parameters"]


def parameters(fn: Any, decorator: str) -> list[str]:
    """The names of the kernel's parameters."""
    if not hasattr(fn, "arg_names"):
        raise TypeError(
            f"@triton.{decorator} stands above @triton.jit, and {getattr(fn, '__name__', fn)} is no kernel: put @triton.jit below it"
        )
    return list(fn.arg_names)


class Heuristics(KernelInterface):
    """A kernel some of whose meta-parameters are computed from its arguments at each launch."""

    def __init__(self, fn: Any, arg_names: Sequence[str], values: dict[str, Callable[[dict[str, Any]], Any]]):
        self.fn, self.arg_names, self.values = fn, list(arg_names), values
        self.__name__ = getattr(fn, "__name__", "kernel")

    def run(self, *args: Any, **kwargs: Any) -> Any:
        named = dict(zip(self.arg_names, args))
        for name, heuristic in self.values.items():
            given = {**named, **kwargs}
            try:
                kwargs[name] = heuristic(given)
            except KeyError as e:
                refuse_unknown(f"the heuristic for {name} of {self.__name__}", e, {n: v for n, v in given.items() if n in self.arg_names})
                raise
        return self.fn.run(*args, **kwargs)


def heuristics(values: dict[str, Callable[[dict[str, Any]], Any]]) -> Callable[[Any], Heuristics]:
    """Decorator: ``values[name](args)`` computes the meta-parameter ``name`` from all arguments by name."""
    return lambda fn: Heuristics(fn, parameters(fn, "heuristics"), values)
