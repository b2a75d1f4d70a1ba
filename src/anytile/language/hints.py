"""Promises to the compiler, loop iterators and other things that change no result."""

from __future__ import annotations

from typing import Any

from .aggregate import Recorded
from .arithmetic import logical
from .builtin import builtin
from .constexpr import constexpr, unwrap, unwrap_deep
from .context import active, current
from .promotion import emit, to_tensor
from .tensor import tensor

__all__ = [
    "range",
    "static_range",
    "condition",
    "multiple_of",
    "max_contiguous",
    "max_constancy",
    "assume",
    "expect_zero",
    "debug_barrier",
]


class range:
    """A loop that runs in the kernel.  ``start``, ``end``, ``step`` decide what it does, the rest are hints.

    The frontend recognises this class in ``for i in tl.range(…)`` and reads its attributes.
    """

    def __init__(
        self,
        arg1: Any,
        arg2: Any = None,
        step: Any = None,
        num_stages: Any = None,
        loop_unroll_factor: Any = None,
        disallow_acc_multi_buffer: Any = False,
        flatten: Any = False,
        warp_specialize: Any = False,
        disable_licm: Any = False,
    ):
        self.step = constexpr(1) if step is None else step
        self.start: Any = constexpr(0) if arg2 is None else arg1
        self.end: Any = arg1 if arg2 is None else arg2
        self.num_stages = unwrap(num_stages)
        self.loop_unroll_factor = unwrap(loop_unroll_factor)
        self.disallow_acc_multi_buffer = bool(unwrap(disallow_acc_multi_buffer))
        self.flatten = bool(unwrap(flatten))
        self.warp_specialize = bool(unwrap(warp_specialize))
        self.disable_licm = bool(unwrap(disable_licm))

    def __iter__(self) -> Any:
        return _indices(self, "tl.range")


class static_range:
    """A loop that is unrolled while compiling; its index is a constexpr.  All three bounds are compile-time."""

    def __init__(self, arg1: Any, arg2: Any = None, step: Any = None):
        bounds = {"start": 0 if arg2 is None else arg1, "end": arg1 if arg2 is None else arg2, "step": 1 if step is None else step}
        for name, value in bounds.items():
            if isinstance(value, Recorded) or not isinstance(unwrap(value), int):
                raise TypeError(f"tl.static_range needs compile-time integers, but its {name} is {value}; use tl.range")
        self.start, self.end, self.step = (constexpr(v) for v in bounds.values())

    def __iter__(self) -> Any:
        return _indices(self, "tl.static_range")


def _indices(loop: Any, name: str) -> Any:
    """Only a context that runs kernels as Python iterates; the frontend traces the loop instead."""
    iterate = getattr(current(), "iterate", None) if active() else None
    if iterate is None:
        raise RuntimeError(f"{name} can only be used in a for statement of a @triton.jit function")
    return iterate(loop)


class condition:
    """Wraps the condition of a ``while`` to pass the hint ``disable_licm``; ``.condition`` is the condition."""

    def __init__(self, arg1: Any, disable_licm: Any = False):
        self.condition, self.disable_licm = arg1, bool(unwrap(disable_licm))

    def __bool__(self) -> bool:
        return bool(unwrap(self.condition))


def _hint(kind: str, input: Any, values: Any) -> tensor:
    x = to_tensor(input)
    values = unwrap_deep(values)
    values = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    for i, v in enumerate(values):
        if isinstance(v, bool) or not isinstance(v, int):
            raise TypeError(f"values element {i} must have type constexpr[int], but is {v!r}")
    if max(1, x.rank) != len(values):
        raise ValueError(f"one value per dimension is needed: the shape is {list(x.type.shape)}, the values are {list(values)}")
    hinted = emit("hint", x.type, x.handle, kind=kind, values=values)
    if not _made_here(x):
        return hinted
    x.handle = hinted.handle  # `tl.multiple_of(x, 16)` as a statement of its own says it of x from here on
    return x


def _made_here(x: tensor) -> bool:
    """Whether ``x`` is defined in the block that is being recorded: then all that follows may use what stands here in its place."""
    owner = getattr(x.handle, "owner", None)
    block = getattr(current().builder, "block", None)
    return block is not None and (owner is block or getattr(owner, "block", None) is block)


@builtin
def multiple_of(input: Any, values: Any) -> tensor:
    """``input``, promised to have multiples of ``values[d]`` where a contiguous run starts along dimension d."""
    return _hint("divisible", input, values)


@builtin
def max_contiguous(input: Any, values: Any) -> tensor:
    """``input``, promised to consist of runs of ``values[d]`` consecutive numbers along dimension d."""
    return _hint("contiguous", input, values)


@builtin
def max_constancy(input: Any, values: Any) -> tensor:
    """``input``, promised to consist of runs of ``values[d]`` equal values along dimension d."""
    return _hint("constant", input, values)


@builtin
def assume(cond: Any) -> None:
    """Promises that the scalar ``cond`` holds."""
    cond = unwrap(cond)
    if isinstance(cond, tensor):
        if cond.rank:
            raise ValueError(f"tl.assume needs a scalar condition, not {cond.type}")
        current().builder.make("assume", [logical("and", cond, True).handle if not cond.dtype.is_bool() else cond.handle])
    elif not cond:
        raise ValueError("the condition of tl.assume is false at compile time")


@builtin
def expect_zero(x: tensor, mask: Any) -> tensor:
    """``x``, promised to be zero where ``mask`` is off; asserted when compiling with debug."""
    from .debug import device_assert

    device_assert(logical("or", mask, x == 0), "expected zero where the mask is off")
    return x


@builtin
def debug_barrier() -> None:
    """All threads of the program wait for each other; memory written before is visible after."""
    current().builder.make("barrier")
