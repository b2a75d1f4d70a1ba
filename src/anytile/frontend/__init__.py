"""Python source to tile IR: `trace`.  Start with `visitor`; mistakes are in `errors`."""

from .errors import CompilationError, CompileTimeAssertionFailure, UnsupportedLanguageConstruct
from .trace import trace

__all__ = ["CompilationError", "CompileTimeAssertionFailure", "UnsupportedLanguageConstruct", "trace"]
