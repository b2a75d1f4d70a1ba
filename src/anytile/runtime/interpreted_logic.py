"""``and``, ``or``, ``not`` and ``a < b < c`` of a kernel that runs as Python.

Python decides these by the truth of their operands.  A tile has none, and what a compiled kernel does with run-time values is
another thing: it evaluates all operands and combines them lane by lane (`frontend.expressions`).  So that an interpreted kernel
computes what the compiled one does, `rewritten` gives the kernel's code anew, with each such expression as calls of `Logic`:

    a and b     ⟶   logic.take() if logic.begin(True, a) else logic.end(True, b)
    a < b < c   ⟶   logic.take_link() if logic.link(a < logic.hold(b)) else logic.end_chain(logic.held() < c)

The right sides stay expressions of the kernel's own, evaluated only where those before do not decide; lines and columns stay those of
the source, so tracebacks and debuggers show it.  Functions without such an expression keep the code that they have.
"""

from __future__ import annotations

import ast
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from ..language.arithmetic import logical_not
from ..language.constexpr import unwrap
from ..language.source import JITCallable, SourceUnavailableError
from ..language.tensor import tensor
from ..recursion import deep_recursion

__all__ = ["LOGIC", "Logic", "rewritten"]

#: The global under which rewritten code finds its `Logic`.
LOGIC = "_anytile_logic"

_codes: WeakKeyDictionary[JITCallable, tuple[str, CodeType]] = WeakKeyDictionary()


class Logic:
    """What rewritten expressions call.  Operands that were seen wait on a stack, for expressions stand in each other.

    An operand that raises leaves what its expression has put there; nobody looks below what is his own, so that is harmless.
    """

    def __init__(self) -> None:
        self._combined: list[Any] = []
        self._middles: list[Any] = []

    def begin(self, is_and: bool, value: Any) -> bool:
        """The first operand of ``and`` (else ``or``).  Whether it is known and decides: then `take` has the value."""
        self._combined.append(value)
        return _decides(is_and, value)

    def next(self, is_and: bool, value: Any) -> bool:
        """A further operand; as `begin`."""
        if _decides(is_and, value):
            self._combined[-1] = value
            return True
        former = self._combined[-1]
        if not isinstance(former, tensor):
            self._combined[-1] = value
        elif isinstance(value, tensor):
            self._combined[-1] = former.logical_and(value) if is_and else former.logical_or(value)
        return False

    def end(self, is_and: bool, value: Any) -> Any:
        """The last operand; what the whole expression is."""
        self.next(is_and, value)
        return self.take()

    def take(self) -> Any:
        return self._combined.pop()

    def hold(self, middle: Any) -> Any:
        """An operand that two comparisons have in common: evaluated for the first, kept for the second."""
        self._middles.append(middle)
        return middle

    def held(self) -> Any:
        return self._middles.pop()

    def link(self, comparison: Any) -> bool:
        """The first comparison of a chain.  Whether it is known and false: then `take_link` has it."""
        return self.begin(True, comparison)

    def next_link(self, comparison: Any) -> bool:
        """A further comparison; as `link`."""
        return self.next(True, comparison)

    def take_link(self) -> Any:
        self._middles.pop()
        return self.take()

    def end_chain(self, comparison: Any) -> Any:
        """The last comparison; what the whole chain is."""
        return self.end(True, comparison)

    @staticmethod
    def inverse(value: Any) -> Any:
        """``not value``"""
        return logical_not(value) if isinstance(value, tensor) else not value

    @staticmethod
    def refuse(message: str) -> Any:
        """An expression that means something else than it looks like."""
        raise ValueError(message)


def _decides(is_and: bool, value: Any) -> bool:
    return not isinstance(value, tensor) and bool(unwrap(value)) is not is_and


def rewritten(fn: JITCallable) -> CodeType:
    """The code of ``fn``'s function, its logic rewritten.

    The code that it has where nothing is to be rewritten, and where the source cannot be had (`exec`): there a tile in a logical
    expression ends in `tensor.__bool__`'s error.
    """
    code = fn.fn.__code__
    try:
        source = fn.src
    except SourceUnavailableError:
        return code
    known = _codes.get(fn)
    if known is None or known[0] != source:
        with fn.lock(), deep_recursion():
            known = _codes[fn] = (source, _compiled(fn) if any(map(_is_logic, ast.walk(fn.parse()))) else code)
    return known[1]


def _is_logic(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return len(node.ops) > 1
    return isinstance(node, ast.BoolOp) or isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _compiled(fn: JITCallable) -> CodeType:
    """The function's code object made of its rewritten tree, at the lines and columns of its file."""
    former = fn.fn.__code__
    made = _Rewriter(fn).visit(ast.parse(fn.src).body[0])  # a tree of its own: it is changed
    made.returns, made.decorator_list = None, []
    if hasattr(made, "type_params"):  # since Python 3.12: they would be a function around it
        made.type_params = []
    every = [*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs, made.args.vararg, made.args.kwarg]
    for argument in every:
        if argument is not None:
            argument.annotation = None
    for node in ast.walk(made):
        if isinstance(node, (ast.expr, ast.stmt)) and node.end_col_offset is not None:
            node.col_offset += fn.indent
            node.end_col_offset += fn.indent
    ast.increment_lineno(made, fn.starting_line_number - 1)
    # Closure variables are those of a function around it.
    around = ast.parse("def around(): pass").body[0]
    assert isinstance(around, ast.FunctionDef)
    around.body = [ast.parse(f"{name} = None").body[0] for name in former.co_freevars] + [made]
    module = ast.fix_missing_locations(ast.Module([around], []))
    outer = compile(module, fn.file, "exec", dont_inherit=True)
    (outer,) = (c for c in outer.co_consts if isinstance(c, CodeType))
    (code,) = (c for c in outer.co_consts if isinstance(c, CodeType) and c.co_name == made.name)
    return code


class _Rewriter(ast.NodeTransformer):
    """Puts calls of `Logic` where logical expressions stand."""

    def __init__(self, fn: JITCallable):
        self.fn = fn

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        is_and = ast.Constant(isinstance(node.op, ast.And))
        *before, last = [self.visit(v) for v in node.values]
        out = _call("end", is_and, last, at=node)
        for i, value in reversed(list(enumerate(before))):
            asked = _call("next" if i else "begin", is_and, value, at=node)
            out = ast.copy_location(ast.IfExp(asked, _call("take", at=node), out), node)
        return out

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return _call("inverse", operand, at=node)
        node.operand = operand
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        from ..frontend.syntax import entangled

        if len(node.ops) < 2:
            return self.generic_visit(node)
        mistake = entangled(self.fn.src, node)
        if mistake is not None:
            return _call("refuse", ast.Constant(mistake), at=node)
        sides = [self.visit(v) for v in (node.left, *node.comparators)]
        last = len(node.ops) - 1
        out: ast.expr | None = None
        for i in range(last, -1, -1):
            left = _call("held", at=node) if i else sides[0]
            right = sides[i + 1] if i == last else _call("hold", sides[i + 1], at=node)
            pair = ast.copy_location(ast.Compare(left, [node.ops[i]], [right]), node)
            if out is None:
                out = _call("end_chain", pair, at=node)
            else:
                asked = _call("next_link" if i else "link", pair, at=node)
                out = ast.copy_location(ast.IfExp(asked, _call("take_link", at=node), out), node)
        assert out is not None
        return out


def _call(name: str, *args: ast.expr, at: ast.AST) -> ast.expr:
    function = ast.Attribute(ast.Name(LOGIC, ast.Load()), name, ast.Load())
    made = ast.Call(function, list(args), [])
    for node in (function.value, function, made, *args):
        if not hasattr(node, "lineno"):
            ast.copy_location(node, at)
    return made
