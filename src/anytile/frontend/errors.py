"""Mistakes in a kernel's source, told with the place and the way there.

CompilationError(AnytileError)          base: `src`, `node`, `error_message`, `message`
├── UnsupportedLanguageConstruct        Python which is not part of the kernel language
├── CompileTimeAssertionFailure         ``tl.static_assert`` did not hold
├── UnsupportedInKernelError            what the language has, and this version or target has not (UnsupportedError)
├── UnknownNameError                    a name that is not defined on this path
├── GlobalAccessError                   a global that is no compile-time constant
├── NotConstexprError                   a run-time value where a compile-time one is needed
├── TypeMismatchError                   a variable or result has two types on two paths
│   └── ShapeMismatchError              … which differ in shape
├── ArangeError                         ``tl.arange`` over a range that no tile can hold
├── ElementTypeError                    an operation on elements of a type that it does not take
├── ConstPointerError                   a store through a pointer that promises to be read only
├── ArgumentError                       a call does not fit the callee's parameters
├── UnusedResultError                   the result of a function that asks for its use is dropped
├── ReturnError                         a ``return`` that structured control flow cannot express
└── RecursionInKernelError              inlining does not come to an end

The text of each is: ``at LINE:COL:`` (relative to the function's source), the source up to that line, a
caret, a line per function from the place of the mistake out to the kernel, and the message last.
"""

from __future__ import annotations

import ast

from ..errors import AnytileError, UnsupportedError
from ..ir import Loc

__all__ = [
    "ArangeError",
    "ArgumentError",
    "CompilationError",
    "CompileTimeAssertionFailure",
    "ConstPointerError",
    "ElementTypeError",
    "GlobalAccessError",
    "NotConstexprError",
    "RecursionInKernelError",
    "ReturnError",
    "ShapeMismatchError",
    "TypeMismatchError",
    "UnknownNameError",
    "UnsupportedInKernelError",
    "UnsupportedLanguageConstruct",
    "UnusedResultError",
]


class CompilationError(AnytileError):
    """A kernel cannot be compiled.

    ``src`` is the text of the function that holds ``node`` (None when it is not known), ``error_message`` the
    sentence about what is wrong, ``message`` the whole text.  ``loc`` is the absolute place with its callers.
    """

    source_line_count_max_in_message = 12

    def __init__(self, src: str | None, node: ast.AST, error_message: str | None = None, loc: Loc | None = None):
        self.src, self.node, self.error_message, self.loc = src, node, error_message, loc
        self.message = self._format()
        Exception.__init__(self, self.message)  # not super(): a kind may have a second base with an __init__ of its own

    def _format(self) -> str:
        line, col = getattr(self.node, "lineno", None), getattr(self.node, "col_offset", 0)
        parts = []
        if line is not None:
            parts.append(f"at {line}:{col}:")
        if self.src is None:
            parts.append("<source unavailable>")
        elif line is not None:
            shown = self.src.split("\n")[:line][-self.source_line_count_max_in_message :]
            parts += [*shown, " " * col + "^"]
        parts += _chain(self.loc)
        if self.error_message:
            parts.append(self.error_message)
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self):
        # Default pickling would call the class with the formatted text alone.
        return type(self), (self.src, self.node, self.error_message, self.loc)


def _chain(loc: Loc | None) -> list[str]:
    """One line per function from ``loc`` out to the kernel."""
    lines, word = [], "in"
    while loc is not None:
        lines.append(f"  {word} {loc.function or '?'}, {loc.file}:{loc.line}")
        loc, word = loc.caller, "called from"
    return lines


class UnsupportedLanguageConstruct(CompilationError):
    """Python which the kernel language does not have."""


class CompileTimeAssertionFailure(CompilationError):
    """The condition of a ``tl.static_assert`` is false."""


class UnsupportedInKernelError(CompilationError, UnsupportedError):
    """Something that the language has, and this version or target has not.  ``what`` is the sentence about it."""

    def __init__(self, src: str | None, node: ast.AST, error_message: str | None = None, loc: Loc | None = None):
        CompilationError.__init__(self, src, node, error_message, loc)
        self.what, self.where, self.remedy = error_message or "", "", ""

    __reduce__ = CompilationError.__reduce__


class UnknownNameError(CompilationError):
    """A name is not defined, or not on every path that leads here."""


class GlobalAccessError(CompilationError):
    """A kernel reads a global whose value may change after compilation."""


class NotConstexprError(CompilationError):
    """A value known only at run time stands where the compiler needs to know it."""


class TypeMismatchError(CompilationError):
    """A variable, or the result of a function, has different types on different paths."""


class ShapeMismatchError(TypeMismatchError):
    """Two shapes must agree and do not."""


class ArangeError(CompilationError):
    """``tl.arange`` over bounds that give no tile: not constant, not increasing or not a power of two apart."""


class ElementTypeError(CompilationError):
    """An operation does not take elements of this type."""


class ConstPointerError(CompilationError):
    """A store through a pointer declared ``tl.const``."""


class ArgumentError(CompilationError):
    """The arguments of a call do not fit the parameters of the function."""


class UnusedResultError(CompilationError):
    """A call stands alone whose result must be used."""


class ReturnError(CompilationError):
    """A ``return`` at a place, or with a value, that a kernel cannot have."""


class RecursionInKernelError(CompilationError):
    """Functions are inlined, so recursion must end at compile time; this one did not."""
