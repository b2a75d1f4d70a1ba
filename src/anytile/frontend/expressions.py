"""Expressions: operators, names, attributes, subscripts, displays.

Literals are constexprs, except ``None`` which stays itself.  An operator between two compile-time values is
computed in Python; as soon as one operand is a tensor, the tensor's own operator (which knows promotion and
broadcasting) records it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from ..language.arithmetic import logical_not
from ..language.constexpr import constexpr, unwrap, unwrap_deep
from ..language.shaping import static
from ..language.source import JITCallable, launch_inside
from ..language.tuples import tuple as tl_tuple
from ..language.types import dtype
from .errors import ArgumentError, NotConstexprError, UnsupportedLanguageConstruct
from .hints import SIZES
from .syntax import entangled
from .values import as_tensor, compile_time, is_tensor, known, to_bool, wrap
from .visitor import Tracer, expression

__all__: list[str] = []

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CONVERSIONS: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}
_EACH = "apply it to the elements"
_UNARY_SIGNS = {ast.Not: ("not", "compare its len() with 0"), ast.USub: ("-", _EACH), ast.UAdd: ("+", _EACH), ast.Invert: ("~", _EACH)}


@expression(ast.Constant)
def constant(t: Tracer, node: ast.Constant) -> Any:
    return node.value if node.value is None or node.value is ... else constexpr(node.value)


@expression(ast.Name)
def name(t: Tracer, node: ast.Name) -> Any:
    value, problem = t.frame.lookup(node.id)
    if problem is not None:
        raise t.error(problem, node, value)
    return wrap(value)


def binary(t: Tracer, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Any:
    """``left op right``; ``node`` is where it stands."""
    fn = _BINARY.get(type(op))
    if fn is None:
        raise t.error(UnsupportedLanguageConstruct, node, "the operator @ is not part of the kernel language; use tl.dot")
    t.at(node)
    return wrap(fn(unwrap(left), unwrap(right)))


@expression(ast.BinOp)
def bin_op(t: Tracer, node: ast.BinOp) -> Any:
    left = t.eval(node.left)
    return binary(t, node, node.op, left, t.eval(node.right))


@expression(ast.UnaryOp)
def unary_op(t: Tracer, node: ast.UnaryOp) -> Any:
    x = t.eval(node.operand)
    t.at(node)
    if isinstance(x, tl_tuple):
        sign, advice = _UNARY_SIGNS[type(node.op)]
        raise t.error(UnsupportedLanguageConstruct, node, f"`{sign}` of a tuple is not part of the kernel language; {advice}")
    if isinstance(node.op, ast.Not):
        return wrap(logical_not(x)) if is_tensor(x) else constexpr(not unwrap(x))
    return wrap(_UNARY[type(node.op)](unwrap(x)))


@expression(ast.Compare)
def compare(t: Tracer, node: ast.Compare) -> Any:
    mistake = entangled(t.frame.fn.src, node)
    if mistake is not None:
        raise t.error(UnsupportedLanguageConstruct, node, mistake)
    left, result = t.eval(node.left), None
    for op, right_node in zip(node.ops, node.comparators):
        if result is not None and known(result) and not unwrap(result):
            return result  # a < b < c stops at the first comparison that is false
        right = t.eval(right_node)
        t.at(node)
        one = _compare_pair(t, node, op, left, right)
        result = one if result is None or known(result) else result if known(one) and unwrap(one) else result & one
        left = right
    return result


def _compare_pair(t: Tracer, node: ast.Compare, op: ast.cmpop, left: Any, right: Any) -> Any:
    a, b = unwrap(left), unwrap(right)
    if isinstance(op, (ast.Is, ast.IsNot)):
        return constexpr((a is b) is isinstance(op, ast.Is))
    if isinstance(op, (ast.In, ast.NotIn)):
        if not known(left) or is_tensor(right):
            raise t.error(NotConstexprError, node, "`in` needs values known at compile time; compare with == and combine with |")
        return constexpr((unwrap_deep(a) in unwrap_deep(b)) is isinstance(op, ast.In))
    return wrap(_COMPARE[type(op)](a, b))


@expression(ast.BoolOp)
def bool_op(t: Tracer, node: ast.BoolOp) -> Any:
    """Compile-time operands decide as in Python; what is left is combined with logical_and / logical_or."""
    is_and = isinstance(node.op, ast.And)
    result = last = None
    for part in node.values:
        value = t.eval(part)
        if is_tensor(value):
            t.at(node)
            result = value if result is None else result.logical_and(value) if is_and else result.logical_or(value)
        else:
            last = value
            if bool(unwrap(value)) is not is_and:
                return value  # decides the whole expression, whatever the run-time operands are
    return last if result is None else result


@expression(ast.IfExp)
def if_exp(t: Tracer, node: ast.IfExp) -> Any:
    from .control_flow import choose

    condition = static(t.eval(node.test))
    if not is_tensor(condition):
        return t.eval(node.body if condition else node.orelse)
    t.at(node)
    return choose(t, node, to_bool(condition), lambda: t.eval(node.body), lambda: t.eval(node.orelse))


@expression(ast.Attribute)
def attribute(t: Tracer, node: ast.Attribute) -> Any:
    base = t.eval(node.value)
    t.at(node)
    return get_attribute(base, node.attr)


def get_attribute(base: Any, name: str) -> Any:
    """``base.name``.  A number has the attributes of the scalar tensor that it stands for."""
    if isinstance(base, constexpr):
        if name in ("value", "type"):
            return wrap(getattr(base, name))
        inner = base.value
        if isinstance(inner, (bool, int, float)) and not hasattr(inner, name):
            return wrap(getattr(as_tensor(base), name))
        base = inner
    if name == "value" and isinstance(base, dtype):  # Triton's device functions receive types as constexprs
        return base
    try:
        return wrap(getattr(base, name))
    except AttributeError:
        found = _of_any_release(base, name)
        if found is None:
            raise
        return wrap(found)


def _of_any_release(base: Any, name: str) -> Any:
    """What a module of `triton.language` lacks at the API level that is in force, and the language has; None where it has not.

    The level decides what programs find on the host (``hasattr(tl, "squeeze")``), not what kernels may say.
    """
    if not isinstance(base, ModuleType) or not f"{base.__name__}.".startswith("triton.language."):
        return None
    try:
        home = import_module(f"anytile{base.__name__.removeprefix('triton')}")
    except ModuleNotFoundError:
        return None
    return getattr(home, name, None) if name in home.__all__ else None


@expression(ast.Subscript)
def subscript(t: Tracer, node: ast.Subscript) -> Any:
    base = t.eval(node.value)
    index = _index(t, node.slice)
    t.at(node)
    if isinstance(base, constexpr):
        base = base.value
    if isinstance(base, JITCallable):
        raise t.error(UnsupportedLanguageConstruct, node, launch_inside(base.__name__))
    if isinstance(node.value, ast.Attribute) and node.value.attr == "shape" and isinstance(base, tl_tuple) and not len(base):
        raise t.error(ArgumentError, node, f"scalars and pointers have no dimensions; {SIZES}")
    if compile_time(base) or isinstance(base, (list, tuple)):
        return wrap(base[unwrap_deep(index)])
    return wrap(base[index])


def _index(t: Tracer, node: ast.AST) -> Any:
    """What stands between the brackets, as Python would pass it: slices and tuples stay Python's own."""
    if isinstance(node, ast.Slice):
        return slice(*(unwrap(t.eval(part)) if part is not None else None for part in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.Tuple):
        return tuple(_index(t, e) for e in node.elts)
    return unwrap(t.eval(node))


@expression(ast.Tuple, ast.List)
def display(t: Tracer, node: ast.Tuple | ast.List) -> Any:
    return wrap(elements(t, node.elts))


def elements(t: Tracer, nodes: list[ast.expr]) -> tuple:
    """The values of ``nodes``, starred ones spread."""
    out: list[Any] = []
    for e in nodes:
        if isinstance(e, ast.Starred):
            out.extend(iterate(t, t.eval(e.value), e))
        else:
            out.append(t.eval(e))
    return tuple(out)


def iterate(t: Tracer, value: Any, node: ast.AST) -> list[Any]:
    """The elements of a compile-time sequence as language values."""
    value = unwrap(value)
    if is_tensor(value):
        raise t.error(
            NotConstexprError, node, f"a {value.type} tensor cannot be iterated over or unpacked; only compile-time sequences can"
        )
    return [wrap(v) for v in value]


@expression(ast.ListComp)
def list_comp(t: Tracer, node: ast.ListComp) -> Any:
    out: list[Any] = []
    frame, outer = t.frame, t.frame.locals

    def level(depth: int) -> None:
        if depth == len(node.generators):
            out.append(t.eval(node.elt))
            return
        generator = node.generators[depth]
        from .statements import assign

        for item in iterate(t, t.eval(generator.iter), generator.iter):
            assign(t, generator.target, item)
            conditions = (t.eval(test) for test in generator.ifs)
            if all(static_truth(t, c, test, "a filter of a comprehension") for c, test in zip(conditions, generator.ifs)):
                level(depth + 1)

    frame.locals = dict(outer)  # the variables of a comprehension are its own
    try:
        level(0)
    finally:
        frame.locals = outer
    return wrap(tuple(out))


def static_truth(t: Tracer, value: Any, node: ast.AST, what: str) -> bool:
    """``value`` as a condition that must be known at compile time."""
    if is_tensor(value):
        raise t.error(NotConstexprError, node, f"{what} must be known at compile time, but it is a {value.type} tensor")
    return bool(unwrap(value))


@expression(ast.NamedExpr)
def named_expr(t: Tracer, node: ast.NamedExpr) -> Any:
    from .statements import assign, settle

    value = settle(t, t.eval(node.value), node)
    assign(t, node.target, value)
    return value


@expression(ast.JoinedStr)
def joined_str(t: Tracer, node: ast.JoinedStr) -> Any:
    return constexpr("".join(str(unwrap(t.eval(part))) for part in node.values))


@expression(ast.FormattedValue)
def formatted_value(t: Tracer, node: ast.FormattedValue) -> Any:
    value = t.eval(node.value)
    if is_tensor(value):
        raise t.error(
            NotConstexprError,
            node,
            "an f-string in a kernel can only hold compile-time values; pass run-time values to tl.device_print as arguments",
        )
    value = unwrap(value)
    if node.conversion != -1:
        value = _CONVERSIONS[chr(node.conversion)](value)
    spec = unwrap(t.eval(node.format_spec)) if node.format_spec is not None else ""
    return constexpr(format(value, spec))


@expression(ast.Starred)
def starred(t: Tracer, node: ast.Starred) -> Any:
    raise t.error(UnsupportedLanguageConstruct, node, "a starred expression can only stand in a call, a tuple or a list")


@expression(ast.Slice)
def slice_(t: Tracer, node: ast.Slice) -> Any:
    return _index(t, node)
