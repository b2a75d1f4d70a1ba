"""Lists of callbacks that a launch, a load or a compilation calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["HookChain", "LazyDict"]


class HookChain(list[Callable[..., Any]]):
    """Callbacks called in order of addition (``reversed=True``: last added first).

    A list, so that ``if chain:`` in the launch path costs one C call while there are no hooks.
    """

    def __init__(self, reversed: bool = False):
        super().__init__()
        self.reversed = reversed

    @property
    def calls(self) -> HookChain:
        return self

    def add(self, func: Callable[..., Any]) -> None:
        """Append ``func`` unless it is in the chain already."""
        if func not in self:
            self.append(func)

    def remove(self, func: Callable[..., Any]) -> None:
        """Take ``func`` out; nothing happens where it is not in the chain."""
        if func in self:
            super().remove(func)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        for hook in self[::-1] if self.reversed else self[:]:
            hook(*args, **kwargs)

    __hash__ = object.__hash__  # type: ignore[assignment]


class LazyDict:
    """Launch facts for a hook; the costly ones are computed when a hook asks for them by ``get()``."""

    def __init__(self, data: dict[str, Any]):
        self.data = data
        self.extras: list[tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]] = []

    def add(self, func: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> None:
        """``func(*args)`` gives a dictionary that ``get()`` merges in."""
        self.extras.append((func, args))

    def get(self) -> dict[str, Any]:
        for func, args in self.extras:
            self.data = self.data | func(*args)
        self.extras.clear()
        return self.data
