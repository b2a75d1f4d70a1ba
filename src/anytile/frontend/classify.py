"""From an exception to the kind of `CompilationError` that tells of it."""

from __future__ import annotations

from ..errors import UnsupportedError
from ..language.debug import CompileTimeAssertionFailure as StaticAssertFailed
from ..language.mistakes import Mistake
from .errors import (
    ArangeError,
    CompilationError,
    CompileTimeAssertionFailure,
    ConstPointerError,
    ElementTypeError,
    NotConstexprError,
    ShapeMismatchError,
    UnknownNameError,
    UnsupportedInKernelError,
)
from .hints import for_attribute

__all__ = ["Problem", "StaticAssertFailed", "classify"]


class Problem(Exception):
    """A mistake found where the syntax node is not at hand: becomes an error of ``kind`` at the node being traced."""

    def __init__(self, kind: type[CompilationError], text: str):
        super().__init__(text)
        self.kind, self.text = kind, text


#: How sentences of the language room begin or what they hold → the kind of mistake.
_BY_TEXT: tuple[tuple[str, type[CompilationError]], ...] = (
    ("must be of type tl.constexpr", NotConstexprError),
    ("incompatible dimensions", ShapeMismatchError),
    ("cannot broadcast", ShapeMismatchError),
    ("shape mismatch", ShapeMismatchError),
    ("not compatible for matmul", ShapeMismatchError),
    ("constant pointer", ConstPointerError),
    ("expected dtype", ElementTypeError),
)


def classify(e: BaseException) -> tuple[type[CompilationError], str]:
    """The class of error for ``e`` and its sentence."""
    if isinstance(e, Problem):
        return e.kind, e.text
    text = str(e) or type(e).__name__
    if isinstance(e, Mistake):
        text = f"{text}: {e.advice}"
    if isinstance(e, StaticAssertFailed):
        return CompileTimeAssertionFailure, f"static_assert failed: {e}" if str(e) else "static_assert failed"
    if isinstance(e, UnsupportedError):
        return UnsupportedInKernelError, text
    if isinstance(e, AttributeError):
        return UnknownNameError, text + for_attribute(e.obj, e.name or "")
    lowered = text.lower()
    for part, kind in _BY_TEXT:
        if part in lowered:
            return kind, text
    if lowered.startswith("arange"):
        return ArangeError, text
    return CompilationError, text if isinstance(e, (TypeError, ValueError, NotImplementedError)) else f"{type(e).__name__}: {text}"
