"""What a name means inside a function being traced.

A `Frame` is one function on the way from the kernel to the call being inlined.  Its ``locals`` map variables
to language values; control flow copies and merges that dict (see `control_flow`).  A name is looked up in
the locals, the closure, the module's globals and the few Python builtins that kernels have.
"""

from __future__ import annotations

import ast
import builtins
import enum
import os
import sys
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ..ir import Loc
from ..language.constexpr import constexpr
from ..language.source import JITCallable
from ..language.types import dtype
from .errors import CompilationError, GlobalAccessError, UnknownNameError
from .hints import near

__all__ = ["Frame", "Unavailable"]

_ABSENT = object()

#: Builtins a kernel may name.  `builtin_functions` says what each does to language values.
_BUILTINS = (
    "abs all any bool enumerate float getattr hasattr int isinstance len list max min print range reversed slice str sum tuple type zip"
).split()
_BUILTIN_NAMES = {name: getattr(builtins, name) for name in _BUILTINS}

#: What to write instead of a builtin function that kernels do not have.
_INSTEAD = {
    "breakpoint": "with TRITON_INTERPRET=1 kernels run as Python, which has it",
    "round": "use libdevice.rint(x), or tl.floor(x + 0.5)",
    "pow": "use libdevice.pow(x, y)",
    "divmod": "use x // y and x % y",
    "sorted": "use tl.sort",
    "map": "write a list comprehension over compile-time values",
    "filter": "write a list comprehension over compile-time values",
}


class Unavailable:
    """Stands for a variable which has no single value here; reading it is an error that says why."""

    __slots__ = ("reason", "kind")

    def __init__(self, reason: str, kind: type[CompilationError] = UnknownNameError):
        self.reason, self.kind = reason, kind


class Frame:
    """One activation of ``fn``.  ``caller`` is the location of the call that is being inlined, None in the kernel."""

    __slots__ = ("fn", "locals", "caller", "parent", "depth", "loops", "assigned", "declared", "indent", "first_line", "file", "name")

    def __init__(self, fn: JITCallable, caller: Loc | None, parent: Frame | None):
        self.fn, self.caller, self.parent = fn, caller, parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.locals: dict[str, Any] = {}
        self.loops = 0  # how many run-time loops enclose the statement being traced, in this frame
        self.assigned: dict[str, ast.AST] = {}  # where each variable was last assigned, for messages
        self.declared: set[str] = set()  # names of which `name: tl.constexpr` was said without a value
        self.indent, self.first_line = fn.indent, fn.starting_line_number
        self.file, self.name = fn.file, fn.__name__

    @property
    def is_kernel(self) -> bool:
        return self.parent is None

    def loc(self, node: ast.AST) -> Loc:
        """The absolute place of ``node``, with the chain of calls that led here."""
        line, col = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return Loc(self.file, self.first_line + line - 1, self.indent + col, self.name, self.caller)

    def lookup(self, name: str) -> tuple[Any, type[CompilationError] | None]:
        """The value of ``name`` and None; or a sentence about why there is none, and the class of the error."""
        value = self.locals.get(name, _ABSENT)
        if value is not _ABSENT:
            return (value.reason, value.kind) if type(value) is Unavailable else (value, None)
        fn = self.fn
        if name in fn.cells:
            value = fn.cells.get(name, _ABSENT)
            if value is not _ABSENT:
                return self._captured(name, value, closure=True)
        value = fn.__globals__.get(name, _ABSENT)
        if value is not _ABSENT:
            return self._captured(name, value, closure=False)
        value = _BUILTIN_NAMES.get(name, _ABSENT)
        if value is not _ABSENT:
            return value, None
        if hasattr(builtins, name):
            remedy = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            return f"the Python builtin {name} is not part of the kernel language{remedy}", UnknownNameError
        hint = near(name, [*self.locals, *fn.cells.values(), *fn.__globals__])
        return f"{name} is not defined{hint}", UnknownNameError

    def _captured(self, name: str, value: Any, closure: bool) -> tuple[Any, type[CompilationError] | None]:
        if _fixed(value) or (not closure and self._annotated_constexpr(name)) or _allow_globals():
            return value, None
        kind = type(value).__name__
        if hasattr(value, "arg_names") and hasattr(value, "warmup"):
            return (
                f"{name} is a kernel with an {kind} around it, which only launches; a kernel calls functions of @triton.jit: give the one "
                "below the decorator a name of its own, and call that",
                GlobalAccessError,
            )
        if closure:
            where = f"{name} is not defined as a compile-time constant: it is a variable of type {kind} of the enclosing Python function"
        else:
            where = f"{name} is a global variable of type {kind}"
        return (
            f"{where}, and a compiled kernel would not see it change. Write `{name} = tl.constexpr(...)`, "
            f"pass it as a tl.constexpr argument, or set TRITON_ALLOW_NON_CONSTEXPR_GLOBALS=1",
            GlobalAccessError,
        )

    def _annotated_constexpr(self, name: str) -> bool:
        """Whether the module says ``name: tl.constexpr = ...``."""
        module = sys.modules.get(self.fn.module or "")
        notes = self.fn.__globals__.get("__annotations__")
        if notes is None and module is not None:
            notes = getattr(module, "__annotations__", None)  # since Python 3.14 they are made when asked for
        note = (notes or {}).get(name)
        return note is constexpr or isinstance(note, str) and note.rpartition(".")[2] == "constexpr"


def _fixed(value: Any) -> bool:
    """Whether a captured object may be read: it is a constant, or something one calls or takes attributes of."""
    if value is None or isinstance(value, (constexpr, JITCallable, ModuleType, dtype, type, FunctionType, MethodType, enum.Enum)):
        return True
    if callable(value):
        return True
    # A tuple of fixed things (a named tuple of dtypes, a table of functions) is as constant as they are.
    return isinstance(value, tuple) and all(_fixed(v) for v in value)


def _allow_globals() -> bool:
    return os.environ.get("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS", "0").lower() in ("1", "true", "on", "yes", "y")
