"""Small functions of the face which have no room of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["cdiv", "constexpr_function", "find_paths_if", "get_iterable_path", "next_power_of_2"]


def constexpr_function(f: Any) -> Any:
    """``tl.constexpr_function`` of Triton 3.4, which may call any Python function."""
    from ..runtime.compile_time import ConstexprFunction

    made = ConstexprFunction(f)
    made.calls_anything = True
    return made


# Libraries call these two before each launch, where the caches often hold something else: so they are functions without a wrapper, and
# plain integers are asked for first.  The keywords are those that `builtin` drops.


def cdiv(x: Any, y: Any, *, _builder: Any = None, _semantic: Any = None, _generator: Any = None) -> Any:
    """The quotient of non-negative ``x`` and positive ``y``, rounded up; on the host and, for constexprs and tensors, in kernels."""
    quotient = (x + (y - 1)) // y
    return quotient if type(quotient) is int else _plain(quotient)


def next_power_of_2(n: Any, *, _builder: Any = None, _semantic: Any = None, _generator: Any = None) -> Any:
    """The smallest power of two that is at least ``n``; 0 for ``n`` below 1.  In kernels ``n`` is a constexpr."""
    if type(n) is int:
        return 1 << (n - 1).bit_length() if n > 0 else 0
    value = getattr(n, "value", n)
    if not isinstance(value, int):
        raise TypeError(f"next_power_of_2 needs an integer known at compile time, and got {type(n).__name__}")
    power = 1 << (value - 1).bit_length() if value > 0 else 0
    return power if value is n else _plain(type(n)(power))


def _plain(x: Any) -> Any:
    """On the host, the number that a constexpr holds: shapes are made of it."""
    from ..language.constexpr import constexpr
    from ..language.context import active

    return x.value if isinstance(x, constexpr) and not active() else x


for _function in (cdiv, next_power_of_2):
    vars(_function)["__triton_builtin__"] = True  # what `builtin` says


def find_paths_if(iterable: Iterable[Any], pred: Callable[[tuple[int, ...], Any], bool]) -> list[tuple[int, ...]]:
    """The paths to the leaves of nested tuples and lists for which ``pred(path, leaf)`` holds: ``(1, 0)`` is ``iterable[1][0]``."""
    found: list[tuple[int, ...]] = []

    def walk(path: tuple[int, ...], x: Any) -> None:
        if isinstance(x, (list, tuple)):
            for i, item in enumerate(x):
                walk((*path, i), item)
        elif pred(path, x):
            found.append(path)

    walk((), list(iterable))
    return found


def get_iterable_path(iterable: Any, path: tuple[int, ...]) -> Any:
    """The item of nested tuples and lists at ``path``."""
    for i in path:
        iterable = iterable[i]
    return iterable
