"""Printing and asserting, while compiling (static) and while running (device)."""

from __future__ import annotations

import builtins
from typing import Any

from .aggregate import Recorded
from .builtin import builtin
from .casting import cast_to
from .constexpr import unwrap, unwrap_deep
from .context import current
from .promotion import broadcast_to_shape, to_tensor
from .tuples import tuple as tl_tuple
from .types import int1

__all__ = ["CompileTimeAssertionFailure", "device_assert", "device_print", "static_assert", "static_print"]


class CompileTimeAssertionFailure(AssertionError):
    """``tl.static_assert`` failed; the frontend turns it into the compile error of that name."""


@builtin
def static_print(*values: Any, sep: str = " ", end: str = "\n", file: Any = None, flush: bool = False) -> None:
    """Python's print while compiling: constexprs show their value, tensors their type."""
    print(*map(_shown, values), sep=unwrap(sep), end=unwrap(end), file=unwrap(file), flush=bool(unwrap(flush)))


def _shown(x: Any) -> Any:
    return x if isinstance(x, Recorded) else unwrap(x)


@builtin
def static_assert(cond: Any, msg: Any = "") -> None:
    """Raises `CompileTimeAssertionFailure` where the compile-time ``cond`` is false."""
    if isinstance(unwrap(cond), Recorded):
        raise TypeError(f"tl.static_assert needs a condition known at compile time, not {cond}; use tl.device_assert")
    if not unwrap(cond):
        raise CompileTimeAssertionFailure(str(unwrap(msg)))


@builtin
def device_print(prefix: Any, *args: Any, hex: Any = False) -> None:
    """Prints each element of ``args`` at run time after ``prefix``, a compile-time string."""
    prefix = unwrap(prefix)
    if not isinstance(prefix, str):
        raise TypeError(f"the prefix of device_print must be a string literal, not {prefix!r}")
    values = [to_tensor(v) for a in args for v in (a.values if isinstance(a, tl_tuple) else [a])]
    signed = builtins.tuple(int(v.dtype.is_int_signed()) for v in values)
    attrs = {"prefix": prefix, "hex": bool(unwrap(hex)), "signed": signed}
    current().builder.make("print", [v.handle for v in values], attrs)


@builtin
def device_assert(cond: Any, msg: Any = "", mask: Any = None) -> None:
    """Aborts the launch with ``msg`` where ``cond`` is false (and ``mask`` on); recorded only with ``debug``."""
    context = current()
    if not context.options.debug:
        return
    condition = cast_to(to_tensor(cond), int1)
    mask = unwrap(mask)
    handles: list[Any] = [condition.handle]
    if mask is not None:
        m = cast_to(to_tensor(mask), int1)
        if not condition.rank and m.rank:
            condition = broadcast_to_shape(condition, m.type.shape)
        handles = [condition.handle, broadcast_to_shape(m, condition.type.shape).handle]
    loc = context.builder.loc
    attrs = {"message": str(unwrap_deep(msg)), "file": loc.file, "function": loc.function, "line": loc.line}
    context.builder.make("assert", handles, attrs)
