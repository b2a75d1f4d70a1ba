"""What is wrong with a launch, found while it was being made: each function raises the error, or makes it, with all there is to say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import ArgumentError, StorageError, UnknownMetaError
from .options import option_names

if TYPE_CHECKING:
    from .jit import JITFunction

__all__ = ["call_grid", "misnamed", "missing_argument", "refuse_surplus", "refuse_unknown", "refuse_unreadable"]


def missing_argument(fn: JITFunction, name: str) -> ArgumentError:
    """The error of a launch without the argument ``name``."""
    method = "; a method cannot be a kernel: put @staticmethod above @triton.jit and leave `self` out" if fn.arg_names[0] == "self" else ""
    return ArgumentError(f"kernel {fn.__name__} is missing argument {name}; its parameters are ({', '.join(fn.arg_names)}){method}")


def misnamed(fn: JITFunction, error: ArgumentError, keywords: Iterable[str]) -> ArgumentError:
    """``error`` of a launch with these ``keywords``; those that neither the kernel nor the compiler knows are often its cause."""
    strange = [k for k in keywords if k not in fn.arg_names and k not in option_names()]
    return type(error)(f"{error}; it has no parameter called {' or '.join(strange)}") if strange else error


def refuse_surplus(fn: JITFunction, extra: tuple[Any, ...]) -> None:
    """Raises ArgumentError: ``extra`` positional arguments are left over."""
    positional = [p.name for p in fn.params if p._param.kind is not p._param.KEYWORD_ONLY]
    plural = "s" * (len(positional) != 1)
    raise ArgumentError(
        f"kernel {fn.__name__} takes {len(positional)} positional argument{plural} but {len(positional) + len(extra)} were given; "
        f"its parameters are ({', '.join(fn.arg_names)})"
    )


def refuse_unreadable(fn: JITFunction, arguments: dict[str, Any]) -> None:
    """StorageError where one of the arguments that could not be read is a tensor without memory of its own."""
    for argument, x in arguments.items():
        layout = str(getattr(x, "layout", "torch.strided"))
        what = ""
        if layout not in ("torch.strided", "torch.jagged"):
            what = (
                f"is a tensor of layout {layout}, which is several tensors in one; pass x.to_dense(), or those that it consists of "
                "(x.values() and its indices)"
            )
        elif _is_transformed(x):
            what = (
                "is a tensor that torch.func (vmap, grad, jvp …) follows through a function, and has no memory of its own; launch in a "
                "torch.autograd.Function that has setup_context, vmap and jvp, or in an operator of torch.library.custom_op"
            )
        if what:
            raise StorageError(f"argument {argument} of kernel {fn.__name__} {what}") from None


def _is_transformed(x: Any) -> bool:
    """Whether ``x`` is one of torch.func's wrappers around tensors."""
    functorch = getattr(getattr(sys.modules.get("torch"), "_C", None), "_functorch", None)
    is_wrapped = getattr(functorch, "is_functorch_wrapped_tensor", None)
    return is_wrapped is not None and hasattr(x, "data_ptr") and bool(is_wrapped(x))


def call_grid(name: str, grid: Callable[[dict[str, Any]], Any], meta: dict[str, Any]) -> Any:
    """``grid(meta)``.  UnknownMetaError where it asks ``meta`` for a name that is not there."""
    try:
        return grid(meta)
    except KeyError as e:
        refuse_unknown(f"the grid function of {name}", e, meta)
        raise


def refuse_unknown(asking: str, error: KeyError, meta: Mapping[str, Any]) -> None:
    """UnknownMetaError where the function ``asking`` raised ``error`` because ``meta``, which it was given, has no such name."""
    asked = error.args[0] if error.args else None
    if not isinstance(asked, str) or asked in meta:
        return
    from difflib import get_close_matches  # here: it is needed for nothing but this sentence

    near = get_close_matches(asked, meta, 1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownMetaError(
        f"{asking} asks for {asked!r}, and what it is given has no such name: it has {', '.join(meta)}{guess}"
    ) from error
