"""Where recorded operations go.

Every ``tl.*`` function records operations of the tile IR through the `Context` that is current in its thread.
The frontend makes one per compilation, enters it with ``with context:`` and moves ``context.builder`` from
block to block as it walks the source.  Contexts nest (a combine function is recorded inside a kernel), and
each thread has its own stack.

``language`` never imports ``frontend``: all it asks of it are the two callbacks below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..ir import Block, Builder

__all__ = ["Context", "Options", "current", "active"]


class Options(Protocol):
    """What the language reads of the compile options; any object with these attributes will do."""

    num_warps: int
    num_stages: int
    num_ctas: int
    debug: bool
    sanitize_overflow: bool
    default_dot_input_precision: str
    target: Any  # ``target.backend`` is "cpu", "cuda" …


class Context:
    """One compilation in progress.

    ``builder``: where the next operation goes.
    ``call(fn, args, kwargs)``: inlines a function written in the language (or calls a builtin) and returns its
    language values.
    ``trace_block(fn, types)``: records a function written in the language into a fresh block over scalar
    arguments of those types; returns the block, ended by ``yield``, and the language types it yields.
    """

    __slots__ = ("builder", "options", "call", "trace_block")

    def __init__(
        self,
        builder: Builder,
        options: Any,
        call: Callable[[Any, Sequence[Any], Mapping[str, Any]], Any],
        trace_block: Callable[[Any, Sequence[Any]], tuple[Block, list[Any]]],
    ):
        self.builder, self.options = builder, options
        self.call, self.trace_block = call, trace_block

    def __enter__(self) -> Context:
        _stack().append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _stack().pop()


class _Stacks(threading.local):
    def __init__(self) -> None:
        self.contexts: list[Context] = []


_stacks = _Stacks()


def _stack() -> list[Context]:
    return _stacks.contexts


def active() -> bool:
    """Whether a kernel is being traced in this thread."""
    return bool(_stacks.contexts)


def current() -> Context:
    """The innermost context.  Raises ValueError where no kernel is being traced."""
    contexts = _stacks.contexts
    if not contexts:
        raise ValueError(
            "a function of triton.language was called outside of a kernel; "
            "decorate the calling function with @triton.jit and launch it with kernel[grid](...)"
        )
    return contexts[-1]
