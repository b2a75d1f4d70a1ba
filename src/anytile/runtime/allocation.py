"""The allocators of memory that a kernel may ask for: scratch memory, and memory for a profiler's records.

The CPU target gives its workers scratch memory of its own and asks no allocator, and no kernel of anytile keeps records; the
settings are kept for targets that ask, and so that programs which set them run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["Allocator", "NullAllocator", "has_profile_allocator", "set_allocator", "set_profile_allocator"]

#: ``allocator(size, alignment, stream)`` in bytes; returns an object with ``data_ptr()``.
Allocator = Callable[[int, int, "int | None"], Any]


class NullAllocator:
    """No allocator: asking it for memory is an error."""

    def __call__(self, size: int, alignment: int, stream: int | None) -> Any:
        raise RuntimeError(
            "Kernel requires a runtime memory allocation, but no allocator was set. Use triton.set_allocator to specify an allocator."
        )


# Programs and tests read them by these names.
_allocator: ContextVar[Allocator] = ContextVar("allocator", default=NullAllocator())  # noqa: B039 - it has no state
_profile_allocator: ContextVar[Allocator] = ContextVar("profile_allocator", default=NullAllocator())  # noqa: B039


def set_allocator(allocator: Allocator) -> None:
    """From now on ``allocator`` gives launches their scratch memory."""
    _allocator.set(allocator)


def set_profile_allocator(allocator: Allocator | None) -> None:
    """From now on ``allocator`` gives launches memory for a profiler's records; None for none."""
    _profile_allocator.set(NullAllocator() if allocator is None else allocator)


def has_profile_allocator() -> bool:
    return not isinstance(_profile_allocator.get(), NullAllocator)
