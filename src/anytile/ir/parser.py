"""Reads the text form that `printer` writes: ``print_module(parse_module(text)) == text``.

Grammar (``?`` optional, ``*`` repeated, lists separated by commas)

    module := ("module" NAME "=" attr)* func*
    func   := "func" "@"NAME "(" (value ":" type attrs?)* ")" "{" op* "}"
    op     := (value* "=")? NAME operand* attrs? regions? (":" type*)? ("at" STRING ":" INT ":" INT)?
    regions:= "^" "(" (value ":" type)* ")" "{" op* "}"  once per block of the operation
    operand:= value | "_"                                "_": an optional operand that is absent
    attrs  := "{" (NAME "=" attr)* "}"
    attr   := number | "true" | "false" | STRING | type | "[" attr* "]"

The text is cut into tokens by one regular expression and read by recursive descent; result types are taken
from the text, so operations whose row cannot infer them need nothing special.  Parsing does not check
meaning: run `verifier.verify` on the result where the text comes from a person.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import IRError
from .builder import canonical
from .core import UNKNOWN, Block, Func, Loc, Module, Op, Value
from .ops import TABLE
from .types import Type, parse_element, parse_type

__all__ = ["parse_module"]

_TOKEN = re.compile(
    r"\s+"
    r"|(%\w+"  # value
    r"|(?:tile|ptr)<[\w<>]*>"  # type other than a plain element
    r"|-?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|inf\b|nan\b)"  # number
    r'|"(?:[^"\\]|\\.)*"'  # string
    r"|@?[\w.$]+"  # name
    r"|[{}()\[\]=,:^])",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?(?:\d|inf$|nan$)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r"}
_WORDS = {"true": True, "false": False, "None": None}


def parse_module(text: str) -> Module:
    """The module that ``text`` describes.  Raises IRError with the line where it cannot be read."""
    return _Parser(text).module()


def _unquote(token: str) -> str:
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m.group(1), m.group(1)), token[1:-1]) if "\\" in token else token[1:-1]


class _Parser:
    def __init__(self, text: str):
        self.text = text
        self.tokens: list[str] = []
        self.starts: list[int] = []  # offset of each token, for error messages
        at, end = 0, len(text)
        while at < end:
            m = _TOKEN.match(text, at)
            if m is None:
                raise IRError(f"IR text, line {text.count(chr(10), 0, at) + 1}: cannot read {text[at : at + 20]!r}")
            if m.group(1) is not None:
                self.tokens.append(m.group(1))
                self.starts.append(at)
            at = m.end()
        self.tokens.append("")  # end of text
        self.starts.append(end)
        self.at = 0
        self.values: dict[str, Value] = {}
        self.types: dict[str, Type] = {}

    # --- tokens -----------------------------------------------------------------------------------------

    def fail(self, why: str) -> IRError:
        where = self.starts[self.at]
        line = self.text.count("\n", 0, where) + 1
        found = repr(self.tokens[self.at]) if self.tokens[self.at] else "the end of the text"
        return IRError(f"IR text, line {line}: {why}, found {found}")

    def peek(self) -> str:
        return self.tokens[self.at]

    def next(self) -> str:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, token: str) -> bool:
        if self.tokens[self.at] == token:
            self.at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self.fail(f"expected {token!r}")

    # --- leaves -----------------------------------------------------------------------------------------

    def type(self) -> Type:
        token = self.next()
        got = self.types.get(token)
        if got is None:
            try:
                got = self.types[token] = parse_type(token)
            except IRError as e:
                self.at -= 1
                raise self.fail(str(e)) from None
        return got

    def attr(self) -> Any:
        token = self.next()
        if token[0:1] == '"':
            return _unquote(token)
        if token == "[":
            items = []
            while not self.accept("]"):
                items.append(self.attr())
                self.accept(",")
            return tuple(items)
        if token in _WORDS:
            return _WORDS[token]
        if _NUMBER.match(token):
            try:
                return int(token)
            except ValueError:
                return float(token)
        self.at -= 1
        return self.type()

    def attrs(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.accept("{"):
            while not self.accept("}"):
                key = self.next()
                self.expect("=")
                out[key] = self.attr()
                self.accept(",")
        return out

    def define(self, token: str, v: Value) -> None:
        if token[0:1] != "%":
            raise self.fail("expected a value such as %x before this")
        if token in self.values:
            raise self.fail(f"{token} is defined twice")
        self.values[token] = v
        name = token[1:]
        v.name = name if name.isidentifier() else ""

    def use(self) -> Value | None:
        token = self.next()
        if token == "_":
            return None
        try:
            return self.values[token]
        except KeyError:
            self.at -= 1
            raise self.fail("a value that is not defined before") from None

    # --- structure --------------------------------------------------------------------------------------

    def module(self) -> Module:
        m = Module()
        while self.peek():
            if self.accept("module"):
                key = self.next()
                self.expect("=")
                m.attrs[key] = self.attr()
            elif self.accept("func"):
                m.funcs.append(self.func())
            else:
                raise self.fail("expected 'module' or 'func'")
        return m

    def func(self) -> Func:
        name = self.next()
        if name[0:1] != "@":
            raise self.fail("expected @name after 'func'")
        f = Func(name[1:], (), ())
        self.values = {}
        f.arg_attrs = self.params(f.body)
        self.block(f.body)
        return f

    def params(self, block: Block) -> list[dict[str, Any]]:
        """Adds the arguments in parentheses to ``block``; gives the attributes of each."""
        self.expect("(")
        attrs = []
        while not self.accept(")"):
            token = self.next()
            self.expect(":")
            self.define(token, block.add_arg(self.type()))
            attrs.append(self.attrs())
            self.accept(",")
        return attrs

    def block(self, block: Block) -> None:
        """The operations in braces, appended to ``block``."""
        self.expect("{")
        while not self.accept("}"):
            self.op(block)

    def op(self, block: Block) -> None:
        tokens = self.tokens
        results: list[str] = []
        if tokens[self.at][0:1] == "%":
            results.append(self.next())
            while self.accept(","):
                results.append(self.next())
            self.expect("=")
        d = TABLE.get(tokens[self.at])
        if d is None:
            raise self.fail("expected the name of an operation")
        self.at += 1
        operands: list[Value | None] = []
        # A line without operands may be followed by one that begins with a result: that one has '='.
        if d.operands and (tokens[self.at][0:1] == "%" or tokens[self.at] == "_") and not self._begins_op():
            operands.append(self.use())
            while self.accept(","):
                operands.append(self.use())
        operands += [None] * (d.n_fixed - len(operands))  # by hand one leaves trailing "_" out
        given = self.attrs() if tokens[self.at] == "{" else {}
        attrs = self.complete(d, given)
        op = Op(d, operands, attrs)
        op.block = block
        block.ops.append(op)
        # Results are named before the blocks, as the printer does, but their types come after them.
        op.results = [Value(_PENDING, op, i) for i in range(len(results))]
        for token, r in zip(results, op.results):
            self.define(token, r)
        while self.accept("^"):
            b = Block()
            b.parent = op
            op.blocks.append(b)
            self.params(b)
            self.block(b)
        if results:
            self.expect(":")
            for i, r in enumerate(op.results):
                if i:
                    self.expect(",")
                r.type = self.type()
        op.loc = self.loc() if tokens[self.at] == "at" else UNKNOWN

    def _begins_op(self) -> bool:
        """Whether the value at the cursor is the result of a following operation: a list of values, then '='."""
        i = self.at
        while self.tokens[i][0:1] == "%" and self.tokens[i + 1] == ",":
            i += 2
        return self.tokens[i + 1] == "="

    def complete(self, d: Any, given: dict[str, Any]) -> dict[str, Any]:
        """``given``, then the defaults of the row, each in the form the row asks for."""
        attrs: dict[str, Any] = {}
        for name, value in given.items():
            if name not in d.attrs:
                raise self.fail(f"{d.name} has no attribute {name}; before this")
            attrs[name] = value.elem if d.attrs[name][0] == "elem" and isinstance(value, Type) else value
        for name, (_, default) in d.attrs.items():
            if name not in attrs:
                if d.required_attr(name):
                    raise self.fail(f"{d.name} lacks its attribute {name} before this")
                attrs[name] = default
        if d.name == "constant":
            attrs["value"] = canonical(attrs["value"], attrs["type"].elem)
        return attrs

    def loc(self) -> Loc:
        self.expect("at")
        file = _unquote(self.next())
        self.expect(":")
        line = int(self.next())
        self.expect(":")
        return Loc(file, line, int(self.next()))


_PENDING = Type.of(parse_element("i1"))
