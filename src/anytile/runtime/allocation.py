"""The allocators of memory that a kernel may ask for: scratch memory, and memory for a profiler's records.

The CPU target gives its workers scratch memory of its own and asks no allocator, and no kernel of anytile keeps records; the
settings are kept for targets that ask, and so that programs which set them run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["NullAllocator", "allocator", "has_profile_allocator", "profile_allocator", "set_allocator", "set_profile_allocator"]


class NullAllocator:
    """No allocator: asking it for memory is an error."""

    def __call__(self, size: int, alignment: int, stream: int | None) -> Any:
        raise RuntimeError(
            "Kernel requires a runtime memory allocation, but no allocator was set. Use triton.set_allocator to specify an allocator."
        )


allocator: ContextVar[Callable[[int, int, int | None], Any]] = ContextVar("allocator", default=NullAllocator())  # noqa: B039 - it has no state


profile_allocator: ContextVar[Callable[[int, int, int | None], Any]] = ContextVar("profile_allocator", default=NullAllocator())  # noqa: B039


def set_allocator(fn: Callable[[int, int, int | None], Any]) -> None:
    """``fn(size, alignment, stream)`` returns an object with ``data_ptr()``: scratch memory of a launch."""
    allocator.set(fn)


def set_profile_allocator(fn: Callable[[int, int, int | None], Any] | None) -> None:
    """As `set_allocator`, for a profiler's records; None for none."""
    profile_allocator.set(NullAllocator() if fn is None else fn)


def has_profile_allocator() -> bool:
    return not isinstance(profile_allocator.get(), NullAllocator)
