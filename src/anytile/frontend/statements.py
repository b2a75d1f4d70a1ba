"""Simple statements: assignment in all its forms, return, assert, with."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from ..language.constexpr import constexpr, unwrap
from ..language.tuples import tuple as tl_tuple
from .errors import ArgumentError, ReturnError, UnsupportedLanguageConstruct, UnusedResultError
from .expressions import binary, iterate
from .outcome import Outcome
from .syntax import is_moved
from .values import compile_time, decay, describe, is_tensor, name_value, wrap
from .visitor import Tracer, statement

__all__ = ["assign", "settle"]


@statement(ast.Expr)
def expr(t: Tracer, node: ast.Expr, rest: Any, top: bool) -> None:
    if isinstance(node.value, ast.Constant):  # a docstring
        return
    if isinstance(node.value, ast.Call):
        _check_dropped(t, node.value)
    t.eval(node.value)


def _check_dropped(t: Tracer, node: ast.Call) -> None:
    """Refuses a call whose result is dropped where the function says that it must be used (`runtime.jit.must_use_result`)."""
    fn = unwrap(t.eval(node.func))
    wanted = getattr(fn, "_must_use_result", None) if callable(fn) and not is_tensor(fn) else None
    if wanted is None:
        return
    text = f"The result of {ast.unparse(node.func)} is not being used."
    if isinstance(wanted, str):
        text = f"{text} {wanted}"
    if fn._must_use_result_is_error:
        raise t.error(UnusedResultError, node, text)
    warnings.warn(f"{text} ({t.frame.loc(node)})", stacklevel=2)


@statement(ast.Pass)
def pass_(t: Tracer, node: ast.Pass, rest: Any, top: bool) -> None:
    pass


@statement(ast.Assign)
def assign_stmt(t: Tracer, node: ast.Assign, rest: Any, top: bool) -> None:
    value = t.eval(node.value)
    if _stray_comma(t, node, value):
        value = value.values[0]
    settled = settle(t, value, node)
    for target in node.targets:
        assign(t, target, _as_declared(t, target, value, settled) if t.frame.declared else settled)


def _stray_comma(t: Tracer, node: ast.Assign, value: Any) -> bool:
    """Whether ``pointers = (base + offsets,)`` is of pointers that the kernel then moves by ``pointers += …``.

    Triton up to 3.2 took the comma for nothing, and published kernels have it.  To move a tuple of one is an error from then on, so no
    other kernel means it.
    """
    if not (isinstance(node.value, ast.Tuple) and isinstance(value, tl_tuple) and len(value.values) == len(node.targets) == 1):
        return False
    target = node.targets[0]
    return (
        isinstance(target, ast.Name)
        and is_tensor(value.values[0])
        and value.values[0].dtype.is_ptr()
        and is_moved(t.frame.fn.parse(), target.id)
    )


def _as_declared(t: Tracer, target: ast.expr, value: Any, settled: Any) -> Any:
    """``settled``, but with the compile-time parts of ``value`` for the names of which ``name: tl.constexpr`` was said."""
    if isinstance(target, ast.Name):
        return value if target.id in t.frame.declared and compile_time(value) else settled
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, tl_tuple) and len(value) == len(target.elts):
        return tl_tuple([_as_declared(t, *part) for part in zip(target.elts, value.values, settled.values)])
    return settled


@statement(ast.AnnAssign)
def ann_assign(t: Tracer, node: ast.AnnAssign, rest: Any, top: bool) -> None:
    """``x: tl.constexpr = v`` keeps what is known at compile time a constexpr; other annotations of locals are comments.

    ``x: tl.constexpr`` alone says so of the assignments that follow.  A run-time value may carry the annotation too, as in
    published kernels; whatever then needs a compile-time value says so itself.
    """
    pinned = is_constexpr_annotation(t, node.annotation)
    if node.value is None:
        if pinned and isinstance(node.target, ast.Name):
            t.frame.declared.add(node.target.id)
        return
    value = t.eval(node.value)
    if pinned and compile_time(value):
        value = value if value is None or isinstance(value, tl_tuple) else constexpr(unwrap(value))
    else:
        value = settle(t, value, node)
    assign(t, node.target, value)


def is_constexpr_annotation(t: Tracer, annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    if isinstance(annotation, ast.Constant):
        return isinstance(annotation.value, str) and annotation.value.rpartition(".")[2] == "constexpr"
    last = annotation.attr if isinstance(annotation, ast.Attribute) else annotation.id if isinstance(annotation, ast.Name) else ""
    return last == "constexpr"


@statement(ast.AugAssign)
def aug_assign(t: Tracer, node: ast.AugAssign, rest: Any, top: bool) -> None:
    load = _as_load(node.target)
    left = t.eval(load)
    assign(t, node.target, settle(t, binary(t, node, node.op, left, t.eval(node.value)), node))


def settle(t: Tracer, value: Any, node: ast.AST) -> Any:
    """What a variable holds after ``x = value``: a number becomes a scalar of its own type, also inside a tuple.

    So a literal that went through a variable takes part in type promotion like any other value: with ``half = 0.5``,
    fp16 · half is fp32, while fp16 · 0.5 is fp16.  ``x: tl.constexpr = value`` keeps it at compile time.
    """
    t.at(node)
    return decay(value)


def _as_load(target: ast.expr) -> ast.expr:
    """The target of an augmented assignment, to be read."""
    if isinstance(target, ast.Name):
        new: ast.expr = ast.Name(target.id, ast.Load())
    elif isinstance(target, ast.Attribute):
        new = ast.Attribute(target.value, target.attr, ast.Load())
    else:
        assert isinstance(target, ast.Subscript)
        new = ast.Subscript(target.value, target.slice, ast.Load())
    return ast.copy_location(new, target)


def assign(t: Tracer, target: ast.expr, value: Any) -> None:
    """Binds ``target`` (name, tuple of targets, field of an aggregate) to ``value``."""
    if isinstance(target, ast.Name):
        value = wrap(value)
        name_value(value, target.id)
        t.frame.locals[target.id] = value
        t.frame.assigned[target.id] = target
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(t, target, value)
    elif isinstance(target, ast.Subscript):
        raise t.error(
            UnsupportedLanguageConstruct,
            target,
            f"elements of {describe(t.eval(target.value))} cannot be assigned: values do not change; "
            "use tl.store for memory, tl.where for lanes of a tensor, and build a new tuple for a tuple",
        )
    elif isinstance(target, ast.Attribute):
        setattr(t.eval(target.value), target.attr, value)
    else:
        raise t.error(UnsupportedLanguageConstruct, target, f"cannot assign to `{ast.unparse(target)}` in a kernel")


def _unpack(t: Tracer, target: ast.Tuple | ast.List, value: Any) -> None:
    values, names = iterate(t, value, target), target.elts
    star = next((i for i, e in enumerate(names) if isinstance(e, ast.Starred)), None)
    if star is None:
        if len(values) < len(names):
            raise t.error(ArgumentError, target, f"{len(values)} values cannot be unpacked into {len(names)} targets")
        if len(values) > len(names):  # as Triton does; published kernels get the index of a program so
            text = f"{len(values)} values are unpacked into {len(names)} targets: the rest is dropped"
            warnings.warn(f"{text} ({t.frame.loc(target)})", stacklevel=2)
        for e, v in zip(names, values):
            assign(t, e, v)
        return
    after = len(names) - star - 1
    if len(values) < star + after:
        raise t.error(ArgumentError, target, f"{len(values)} values cannot be unpacked into at least {star + after} targets")
    middle = tl_tuple(values[star : len(values) - after])
    for e, v in zip(names, [*values[:star], middle, *values[len(values) - after :]]):
        assign(t, e.value if isinstance(e, ast.Starred) else e, v)


@statement(ast.Return)
def return_(t: Tracer, node: ast.Return, rest: Any, top: bool) -> tuple[Outcome, bool]:
    value = t.eval(node.value) if node.value is not None else None
    frame = t.frame
    if frame.loops:
        raise t.error(
            ReturnError,
            node,
            "`return` inside a loop is not supported: loops run to their end. Carry a flag and mask the work, or use `while`",
        )
    if frame.is_kernel and value is not None:
        raise t.error(ReturnError, node, f"a kernel cannot return a value ({describe(value)}); store it with tl.store")
    return Outcome.returned(value, node), False


@statement(ast.Assert)
def assert_(t: Tracer, node: ast.Assert, rest: Any, top: bool) -> None:
    """``assert`` is tl.device_assert."""
    from ..language.core import device_assert

    condition = t.eval(node.test)
    message = t.eval(node.msg) if node.msg is not None else constexpr("")
    t.at(node)
    device_assert(condition, message)


@statement(ast.With)
def with_(t: Tracer, node: ast.With, rest: Any, top: bool) -> tuple[Outcome, bool]:
    """Compile-time context managers around the tracing of the body."""
    managers = []
    outcome = None
    try:
        for item in node.items:
            manager = unwrap(t.eval(item.context_expr))
            if is_tensor(manager) or not hasattr(manager, "__enter__"):
                raise t.error(UnsupportedLanguageConstruct, item.context_expr, f"{describe(manager)} is no context manager")
            entered = manager.__enter__()
            managers.append(manager)
            if item.optional_vars is not None:
                assign(t, item.optional_vars, entered)
        outcome = t.run(node.body)
    finally:
        for manager in reversed(managers):
            manager.__exit__(None, None, None)
    return outcome, False
