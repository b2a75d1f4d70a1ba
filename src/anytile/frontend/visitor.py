"""The tracer: walks the syntax tree of a kernel and records tile IR.

The idea
--------
A kernel's source is *executed* once at compile time over language values.  What is compile-time (constexprs,
dtypes, functions, tuples of them) is computed in Python; what exists at run time is a ``tl.tensor`` whose
operators record operations through the current `Context`.  Only control flow needs the syntax tree itself:
an ``if`` on a tensor traces both arms into blocks of their own, a loop traces its body once.

    expressions.py    one handler per expression node     handler(tracer, node) -> language value
    statements.py     one handler per simple statement    handler(tracer, node) -> Outcome | None
    control_flow.py   if and early return; merging of variables
    loops.py          for and while; carried.py: what they carry
    calls.py          arguments, inlining, combine functions
    builtin_functions.py   len, range, isinstance … on language values

`Tracer.eval` and `Tracer.run` are the two ways in.  Every exception that escapes a handler is turned into a
`CompilationError` at the innermost node, its original kept as ``__cause__``; on the way out each inlined call
adds one error at the call site.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ..ir import Block, Builder, Loc
from ..language.context import Context
from .classify import Problem, StaticAssertFailed, classify
from .errors import CompilationError, RecursionInKernelError, UnsupportedLanguageConstruct
from .outcome import FALLS, Outcome
from .scope import Frame

__all__ = ["EXPRESSIONS", "STATEMENTS", "Tracer", "expression", "statement"]

EXPRESSIONS: dict[type, Callable[[Tracer, Any], Any]] = {}
STATEMENTS: dict[type, Callable[..., Any]] = {}


def expression(*kinds: type) -> Callable[[Callable], Callable]:
    """Registers a handler for expression nodes."""

    def register(fn: Callable) -> Callable:
        EXPRESSIONS.update(dict.fromkeys(kinds, fn))
        return fn

    return register


def statement(*kinds: type) -> Callable[[Callable], Callable]:
    """Registers a handler for statement nodes: ``handler(tracer, node, rest, top) -> (Outcome, consumed)``.

    ``rest`` are the steps that follow in the same block; ``consumed`` says that the handler traced them too.
    ``top``: after the rest the function ends.
    """

    def register(fn: Callable) -> Callable:
        STATEMENTS.update(dict.fromkeys(kinds, fn))
        return fn

    return register


_REFUSED = {
    ast.Try: "`try` is not supported in a kernel: errors cannot be caught on the device",
    ast.Raise: "`raise` is not supported in a kernel; use tl.static_assert or tl.device_assert",
    ast.ClassDef: "class definitions are not supported in a kernel; define the class outside",
    ast.FunctionDef: "a nested function definition is not supported in a kernel; define it outside with @triton.jit",
    ast.AsyncFunctionDef: "async functions are not supported in a kernel",
    ast.Lambda: "`lambda` is not supported in a kernel; write a @triton.jit function",
    ast.Yield: "generators are not supported in a kernel",
    ast.YieldFrom: "generators are not supported in a kernel",
    ast.Await: "`await` is not supported in a kernel",
    ast.GeneratorExp: "a generator expression is not supported in a kernel; write a list comprehension over compile-time values",
    ast.SetComp: "a set comprehension is not supported in a kernel; write a list comprehension",
    ast.DictComp: "a dict comprehension is not supported in a kernel; pass a named tuple instead",
    ast.Dict: "a dict display is not supported in a kernel; use a tuple or a named tuple",
    ast.Set: "a set display is not supported in a kernel; use a tuple",
    ast.Global: "`global` is not supported in a kernel: a kernel cannot change Python variables",
    ast.Nonlocal: "`nonlocal` is not supported in a kernel: a kernel cannot change Python variables",
    ast.Break: "`break` is not supported in a kernel; use `while` with the condition, or mask the work",
    ast.Continue: "`continue` is not supported in a kernel; put the rest of the loop body under `if`",
    ast.Import: "`import` is not supported in a kernel; import at the top of the file",
    ast.ImportFrom: "`import` is not supported in a kernel; import at the top of the file",
    ast.Delete: "`del` is not supported in a kernel; values need no freeing",
}


class Tracer:
    """One compilation in progress: where operations go, whose code is being walked."""

    __slots__ = ("builder", "context", "options", "frame")

    frame: Frame

    def __init__(self, builder: Builder, options: Any):
        from .calls import call_from_language, trace_block

        self.builder, self.options = builder, options
        self.context = Context(
            builder,
            options,
            lambda fn, args, kwargs: call_from_language(self, fn, args, kwargs),
            lambda fn, types: trace_block(self, fn, types),
        )

    # --- walking ------------------------------------------------------------------------------------------

    def eval(self, node: ast.AST) -> Any:
        """The language value of an expression."""
        handler = EXPRESSIONS.get(type(node))
        if handler is None:
            raise self.refuse(node)
        try:
            return handler(self, node)
        except Exception as e:
            self.reraise(e, node)

    def run(self, steps: Sequence[Any], top: bool = False) -> Outcome:
        """Traces steps one after the other: statements, or closures that trace what a statement unrolls to.

        ``top`` marks the outermost list of a function, whose end returns None.
        """
        from .control_flow import continue_after

        for i, step in enumerate(steps):
            if isinstance(step, ast.stmt):
                handler = STATEMENTS.get(type(step))
                if handler is None:
                    raise self.refuse(step)
                try:
                    got = handler(self, step, steps[i + 1 :], top)
                except Exception as e:
                    self.reraise(e, step)
                if got is None:
                    continue
                outcome, consumed = got
            else:
                outcome, consumed = step(), False
            if consumed or outcome.returns:
                return outcome
            if outcome is not FALLS:
                return continue_after(self, outcome, steps[i + 1 :], top)
        return Outcome.returned(None, None) if top else FALLS

    # --- places -------------------------------------------------------------------------------------------

    def at(self, node: ast.AST) -> Loc:
        """Gives the operations recorded next the location of ``node``."""
        loc = self.builder.loc = self.frame.loc(node)
        return loc

    @contextlib.contextmanager
    def into(self, block: Block) -> Iterator[Block]:
        """Records into ``block`` for a while."""
        builder, outer = self.builder, self.builder.block
        builder.block = block
        try:
            yield block
        finally:
            builder.block = outer

    # --- errors -------------------------------------------------------------------------------------------

    def error(self, kind: type[CompilationError], node: ast.AST, message: str) -> CompilationError:
        """An error of ``kind`` at ``node`` of the current function."""
        e = kind(self.frame.fn.src, node, message, self.frame.loc(node))
        e.frame = self.frame  # type: ignore[attr-defined]
        return e

    def refuse(self, node: ast.AST) -> CompilationError:
        kind = type(node)
        text = _REFUSED.get(kind)
        if text is None and kind.__name__ == "TryStar":
            text = _REFUSED[ast.Try]
        return self.error(UnsupportedLanguageConstruct, node, text or f"`{kind.__name__}` is not part of the kernel language")

    def reraise(self, e: Exception, node: ast.AST) -> NoReturn:
        """Raises ``e`` as a CompilationError at ``node``, unless it is one that knows its place in this function."""
        if isinstance(e, CompilationError):
            if getattr(e, "frame", None) is self.frame or getattr(e, "frame", None) is None:
                raise e
            # It comes out of an inlined function: the caller tells of the call, the cause of the mistake.
            outer = self.error(type(e), node, _at_call(e))
            endless = isinstance(e, RecursionInKernelError)  # a hundred causes help nobody
            raise outer from None if endless else e.with_traceback(None)
        if isinstance(e, RecursionError):
            raise self.error(RecursionInKernelError, node, "the expression or the chain of calls is nested too deeply to compile") from None
        kind, text = classify(e)
        ours = isinstance(e, (Problem, StaticAssertFailed))  # says all there is to say: no cause to show
        raise self.error(kind, node, text) from None if ours else strip_frames(e)


def _at_call(e: CompilationError) -> str:
    """What the caller of a function that fails with ``e`` says: the innermost place and its sentence."""
    text = e.error_message or type(e).__name__
    if text.startswith(_CALL_FAILS) or e.loc is None:
        return text
    return f"{_CALL_FAILS} in {e.loc.function} ({e.loc.file}:{e.loc.line}): {text}"


_CALL_FAILS = "the call fails"


def strip_frames(e: BaseException) -> BaseException:
    """``e`` with the frontend's own frames taken off the start of its traceback: the rest is what the reader needs."""
    here = __file__.rpartition("visitor.py")[0]
    tb = e.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(here):
        tb = tb.tb_next
    return e.with_traceback(tb)
