"""Calls: arguments, builtins, inlining of functions written in the language, combine functions.

Every call of a `JITCallable` is inlined: its body is traced in a `Frame` of its own, whose locations carry the
call as ``caller``.  Everything else is plain Python called at compile time: functions of ``tl`` take language
values, Python's own take what the constexprs hold.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType
from typing import Any

from ..ir import Block
from ..language.builtin import is_builtin
from ..language.constexpr import unwrap, unwrap_deep
from ..language.source import JITCallable
from ..language.tensor import tensor
from ..language.tuples import tuple as tl_tuple
from . import hints
from .builtin_functions import HANDLERS
from .classify import Problem
from .errors import ArgumentError, NotConstexprError, RecursionInKernelError, UnsupportedLanguageConstruct
from .expressions import iterate
from .scope import Frame
from .values import compile_time, decay, describe, is_tensor, wrap
from .visitor import Tracer, expression

__all__ = ["arguments", "call_from_language", "inline", "trace_block"]

#: Deeper chains of inlined calls are taken for recursion without end.
MAX_DEPTH = 100


@expression(ast.Call)
def call(t: Tracer, node: ast.Call) -> Any:
    fn = t.eval(node.func)
    args, kwargs = arguments(t, node)
    t.at(node)
    try:
        return wrap(apply(t, fn, args, kwargs))
    except (TypeError, ValueError, AttributeError) as e:
        if not hints.foreign(unwrap(fn), given := [*args, *kwargs.values()]):
            raise
        called, run_time = ast.unparse(node.func), next(v for v in given if not compile_time(v))
        advice = hints.instead(called.rpartition(".")[2]) or "write it with functions of tl"
        raise Problem(
            NotConstexprError,
            f"{called} is a function of the host, which runs while the kernel is compiled; it cannot work on {describe(run_time)}, a value "
            f"that is known only when the kernel runs: {advice}",
        ) from e


def arguments(t: Tracer, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    """The values of a call's arguments, ``*args`` spread."""
    args: list[Any] = []
    for a in node.args:
        if isinstance(a, ast.Starred):
            args.extend(iterate(t, t.eval(a.value), a))
        else:
            args.append(t.eval(a))
    kwargs: dict[str, Any] = {}
    for k in node.keywords:
        if k.arg is not None:
            kwargs[k.arg] = t.eval(k.value)
            continue
        more = unwrap(t.eval(k.value))
        if not isinstance(more, Mapping):
            raise t.error(UnsupportedLanguageConstruct, k.value, f"`**` in a call needs a compile-time mapping, not {describe(more)}")
        kwargs.update({name: wrap(v) for name, v in more.items()})
    return args, kwargs


def apply(t: Tracer, fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Calls ``fn`` with language values."""
    fn = unwrap(fn)
    if isinstance(fn, JITCallable):
        return fn(*args, **kwargs) if fn.runs_on_host else inline(t, fn, args, kwargs)
    if isinstance(fn, (type, BuiltinFunctionType)) and fn in HANDLERS:
        return HANDLERS[fn](t, *args, **kwargs)
    if is_tensor(fn) or not callable(fn):
        raise Problem(ArgumentError, f"{describe(fn)} is not a function and cannot be called")
    if _is_language(fn):
        return fn(*args, **kwargs)
    return fn(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()})


def _is_language(fn: Any) -> bool:
    """Whether ``fn`` understands language values: a builtin, a method of one, or anytile's own."""
    if is_builtin(fn) or hasattr(fn, "__self__") and not inspect.ismodule(fn.__self__):
        return True
    module = getattr(fn, "__module__", None) or type(fn).__module__
    return module.partition(".")[0] in ("anytile", "triton")


def _plain(x: Any) -> Any:
    """An argument for a function that knows nothing of the language."""
    return unwrap_deep(x) if compile_time(x) and not isinstance(x, tl_tuple) else x


# --- inlining ---------------------------------------------------------------------------------------------


def inline(t: Tracer, fn: JITCallable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Traces the body of ``fn`` here and returns what it returns."""
    outer, loc = t.frame, t.builder.loc
    frame = Frame(fn, loc, outer)
    frame.locals = bind(fn, args, kwargs)
    if frame.depth > MAX_DEPTH:
        raise Problem(
            RecursionInKernelError,
            f"the call of {fn.__name__} nests {frame.depth} functions deep ({_chain(frame)}); recursion must end at compile time, on a constexpr condition",
        )
    body = fn.parse().body
    t.frame = frame
    try:
        return t.run(body, top=True).value
    finally:  # also on the way out of an error, which then is told once more at the call (see Tracer.reraise)
        t.frame, t.builder.loc = outer, loc


def _chain(frame: Frame) -> str:
    names: list[str] = []
    f: Frame | None = frame
    while f is not None and len(names) < 4:
        names.append(f.name)
        f = f.parent
    return " ← ".join(names) + (" ← …" if f is not None else "")


def bind(fn: JITCallable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of ``fn`` as variables.  Raises Problem where the arguments do not fit."""
    out: dict[str, Any] = {}
    left = dict(kwargs)
    n = 0
    for p in fn.params:
        kind = fn.signature.parameters[p.name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            raise Problem(
                UnsupportedLanguageConstruct, f"{fn.__name__} takes **{p.name}: keyword dictionaries are not supported in a kernel"
            )
        if kind is inspect.Parameter.VAR_POSITIONAL:
            out[p.name] = tl_tuple([wrap(a) for a in args[n:]])
            n = len(args)
            continue
        if n < len(args) and kind is not inspect.Parameter.KEYWORD_ONLY:
            value = args[n]
            n += 1
            if p.name in left:
                raise Problem(ArgumentError, f"{fn.__name__} gets the argument {p.name} twice")
        elif p.name in left:
            value = left.pop(p.name)
        elif p.has_default:
            value = p.default
        else:
            raise Problem(
                ArgumentError, f"{fn.__name__} is called without the argument {p.name}; its parameters are {', '.join(fn.arg_names)}"
            )
        value = wrap(value)
        # The annotation tl.constexpr binds a kernel's parameters only: published kernels pass run-time values to device
        # functions that carry it, and whatever then needs a compile-time value says so itself.
        if p.is_constexpr and compile_time(value):
            value = wrap(unwrap(value))
        out[p.name] = value
    if n < len(args):
        raise Problem(ArgumentError, f"{fn.__name__} takes {len(fn.params)} arguments, but is called with {len(args)} positional ones")
    left = {k: v for k, v in left.items() if k not in ("_builder", "_semantic", "_generator")}
    if left:
        raise Problem(ArgumentError, f"{fn.__name__} has no parameter {next(iter(left))}; its parameters are {', '.join(fn.arg_names)}")
    return out


# --- what the language asks of the frontend ---------------------------------------------------------------


def call_from_language(t: Tracer, fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`Context.call`: a function of ``tl`` calls ``fn``."""
    return wrap(apply(t, fn, [wrap(a) for a in args], {k: wrap(v) for k, v in kwargs.items()}))


def trace_block(t: Tracer, fn: Any, types: Sequence[Any]) -> tuple[Block, list[Any]]:
    """`Context.trace_block`: ``fn`` over scalar arguments of ``types`` in a block that ends in ``yield``."""
    block = Block(tuple(x.to_ir() for x in types))
    with t.into(block):
        result = decay(wrap(apply(t, fn, [tensor(a, x) for a, x in zip(block.args, types)], {})))
        values = list(result.values) if isinstance(result, tl_tuple) else [result]
        for v in values:
            if not is_tensor(v):
                raise Problem(ArgumentError, f"{getattr(fn, '__name__', fn)} must return scalars, but it returns {describe(v)}")
        t.builder.make("yield", [v.handle for v in values])
    return block, [v.type for v in values]
