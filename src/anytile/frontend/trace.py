"""From a kernel and the types of its arguments to a module of tile IR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir import Builder, Func, Loc, Module, Type
from ..language.descriptor import tensor_descriptor
from ..language.source import JITCallable
from ..language.tensor import tensor
from ..language.tuples import tuple as tl_tuple
from ..language.types import dtype, parse_signature_type, pointer_type, tensor_descriptor_type, tuple_type
from ..recursion import deep_recursion
from . import calls, control_flow, expressions, loops, statements  # noqa: F401  (they register their handlers)
from .errors import CompilationError
from .scope import Frame
from .values import wrap
from .visitor import Tracer

__all__ = ["trace"]


def trace(
    fn: JITCallable,
    signature: Mapping[str, Any],
    constexprs: Mapping[tuple[int, ...], Any] | None = None,
    attrs: Mapping[tuple[int, ...], Any] | None = None,
    options: Any = None,
) -> Module:
    """The kernel ``fn`` for arguments of the given types.

    ``signature``: parameter name → type (``"*fp32"``, ``"i32"``, ``"constexpr"``, nested tuples of these);
    ``constexprs``: path of a parameter (``(2,)``; ``(2, 0)`` for an element of a tuple) → its value;
    ``attrs``: path → ``[["tt.divisibility", 16], …]``; ``options``: see `language.context.Options`.
    The function of the result takes the run-time parameters in order, tuples flattened.
    Raises CompilationError.
    """
    parameters = _Parameters(fn, signature, constexprs or {}, attrs or {})
    loc = Loc(fn.file, fn.starting_line_number, fn.indent, fn.__name__)
    func = Func(fn.__name__, tuple(parameters.types), tuple(parameters.names), loc)
    func.arg_attrs = parameters.attrs
    tracer = Tracer(Builder(func.body, loc=loc), options)
    tracer.frame = Frame(fn, None, None)
    tracer.frame.locals = {name: make(func.args) for name, make in parameters.variables.items()}
    failure: CompilationError | None = None
    with deep_recursion(), tracer.context:
        try:
            tracer.run(fn.parse().body, top=True)
            tracer.builder.make("return")
        except CompilationError as e:
            failure = e
    if failure is not None:
        # What the reader needs is in the message; the frames of the tracer are not.
        raise failure.with_traceback(None)
    return Module([func], {n: v for n in ("num_warps", "num_stages", "num_ctas") if (v := getattr(options, n, None)) is not None})


class _Parameters:
    """Sorts a kernel's parameters into run-time arguments and compile-time values.

    ``variables``: name → function from the arguments of the IR function to the language value.
    """

    def __init__(self, fn: JITCallable, signature: Mapping[str, Any], constexprs: Mapping[Any, Any], attrs: Mapping[Any, Any]):
        self.fn, self.constexprs, self.given_attrs = fn, constexprs, attrs
        self.types: list[Type] = []
        self.names: list[str] = []
        self.attrs: list[dict[str, Any]] = []
        self.variables: dict[str, Any] = {}
        for i, p in enumerate(fn.params):
            if p.is_constexpr and (p.do_not_specialize or p.do_not_specialize_on_alignment):
                raise CompilationError(
                    fn.src,
                    fn.parse(),
                    f"{p.name} marked as constexpr and listed in do_not_specialize/do_not_specialize_on_alignment. "
                    "Remove constexpr designation or skip the designation for specialization",
                )
            kind = signature.get(p.name)
            if kind is None and (i,) not in constexprs:
                if not p.has_default:
                    raise ValueError(f"the signature of {fn.__name__} says nothing of its parameter {p.name}")
                self.variables[p.name] = _constant(p.default)
                continue
            self.variables[p.name] = self.parameter(kind, (i,), p.name, p.is_const)

    def parameter(self, kind: Any, path: tuple[int, ...], name: str, const: bool) -> Any:
        if path in self.constexprs:
            return _constant(self.constexprs[path])
        if isinstance(kind, (tuple, list)):
            parts = [self.parameter(k, (*path, j), f"{name}_{j}", const) for j, k in enumerate(kind)]
            fields = getattr(kind, "_fields", None)
            return lambda args: _tuple([make(args) for make in parts], fields)
        if kind == "constexpr":
            raise ValueError(f"{self.fn.__name__}: the parameter {name} is a constexpr, but constexprs holds no value at {path}")
        type = parse_signature_type(kind) if isinstance(kind, str) else kind
        if isinstance(type, tensor_descriptor_type):
            return self.descriptor(type, name, const)
        given = {key: value for key, value in self.given_attrs.get(path, ())}
        return self.argument(type, name, const, given.get("tt.divisibility"))

    def descriptor(self, type: tensor_descriptor_type, name: str, const: bool) -> Any:
        parts = [self.argument(s.type, f"{name}_{s.suffix}", const, s.divisor) for s in type.slots()]
        return lambda args: tensor_descriptor.of(type, [make(args) for make in parts])

    def argument(self, type: dtype, name: str, const: bool, divisor: int | None) -> Any:
        if const and type.is_ptr() and not type.is_const():
            type = pointer_type(type.element_ty, type.address_space, True)  # type: ignore[attr-defined]
        index = len(self.types)
        self.types.append(type.to_ir())
        self.names.append(name)
        facts: dict[str, Any] = {}
        if divisor is not None and divisor > 1:
            facts["divisible"] = divisor
        if type.is_const():
            facts["const"] = True
        self.attrs.append(facts)
        return lambda args: tensor(args[index], type)


def _constant(value: Any) -> Any:
    return lambda args: wrap(value)


def _tuple(values: list[Any], fields: Any) -> tl_tuple:
    plain = tl_tuple(values)
    return tl_tuple(values, tuple_type(plain.type.types, fields)) if fields else plain
