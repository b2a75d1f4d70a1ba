"""The allocator of scratch memory that a kernel may ask for (tensor descriptors made on the device).

The CPU target gives its workers scratch memory of its own and asks no allocator; the setting is kept for
targets that do, and so that programs which set one run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["NullAllocator", "allocator", "set_allocator"]


class NullAllocator:
    """No allocator: asking it for memory is an error."""

    def __call__(self, size: int, alignment: int, stream: int | None) -> Any:
        raise RuntimeError(
            "Kernel requires a runtime memory allocation, but no allocator was set. Use triton.set_allocator to specify an allocator."
        )


allocator: ContextVar[Callable[[int, int, int | None], Any]] = ContextVar("allocator", default=NullAllocator())  # noqa: B039 - it has no state


def set_allocator(fn: Callable[[int, int, int | None], Any]) -> None:
    """``fn(size, alignment, stream)`` returns an object with ``data_ptr()``: scratch memory of a launch."""
    allocator.set(fn)
