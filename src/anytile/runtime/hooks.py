"""Lists of callbacks that a launch, a load or a compilation calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["HookChain", "LazyDict", "Setting", "SettingsClass"]


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


class Setting:
    """A class attribute that stands for a setting kept elsewhere: reading it reads that, assigning it assigns that.

    Hooks that Triton ≤ 3.3 kept on its classes are such attributes (`compat.members`).
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.read, self.write = read, write

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.read()


class SettingsClass(type):
    """The metaclass of classes that may get a `Setting`: Python shows an assignment to a class to its metaclass only."""

    def __setattr__(cls, name: str, value: Any) -> None:
        present = next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)
        if isinstance(present, Setting):
            present.write(value)
        else:
            super().__setattr__(name, value)


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
