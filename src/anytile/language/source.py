"""A Python function as the compiler sees it: source, syntax tree, and what it depends on.

`JITCallable` is the common part of kernels (`runtime.jit.JITFunction`), device functions
(`device_function`) and compile-time functions.  It lies beneath the language and the frontend and imports
neither.

Content hash
------------
``cache_key`` names everything in Python that the compiled form depends on: the source text, the line it
starts on (debug information holds it), default values, every function it calls by name or attribute, and
the value of every global or closure variable that it reads.  Functions of anytile itself count by name
only, because the compile cache's key holds a fingerprint of the installed package.

``used_global_vals`` keeps the values which the hash saw.  A launch compares them with the present ones: a
kernel that was compiled with ``BLOCK = 64`` must not go on silently after ``BLOCK = 128``.

A function that is defined anew under its name, in a notebook's cell for instance, takes the place of the former one in all that
call it: they are hashed and compiled again (`JITCallable.outdated`).
"""

from __future__ import annotations

import ast
import copy
import enum
import hashlib
import inspect
import os
import re
import textwrap
import threading
import weakref
from collections.abc import Callable
from functools import cached_property
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

from ..errors import AnytileError
from ..recursion import deep_recursion
from .parameters import KernelParam

__all__ = ["DeviceFunction", "JITCallable", "SourceUnavailableError", "device_function", "find_function", "launch_inside"]

#: What is decorated instead of a function, in words.
_KINDS = {ast.AsyncFunctionDef: "an async function", ast.ClassDef: "a class"}

_ROUTINES = (FunctionType, BuiltinFunctionType)
_DEF = re.compile(r"^(?:async\s+)?def\s+(\w+)\s*[(\[]", re.MULTILINE)


class SourceUnavailableError(AnytileError, OSError):
    """The source text of a function cannot be had, so it cannot be compiled."""


class _Cells:
    """Closure variables by name, read through their cells so that later rebinding shows."""

    def __init__(self, names: tuple[str, ...], cells: tuple[CellType, ...]):
        self._cells = dict(zip(names, cells))

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self._cells[name].cell_contents
        except (KeyError, ValueError):  # ValueError: the cell is still empty
            return default

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def values(self) -> dict[str, Any]:
        return {name: self.get(name) for name, cell in self._cells.items() if _filled(cell)}


_MISSING = object()


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not _MISSING
    except ValueError:
        return False


def _differs(now: Any, then: Any) -> bool:
    return now is not then and (now is _MISSING or type(now) is not type(then) or bool(now != then))


_UNFINISHED = "recursive "
_everyone: weakref.WeakSet[JITCallable] = weakref.WeakSet()
#: One for all functions: with one each, two threads that hash two functions which call each other would wait for each other.
_hashing = threading.RLock()


def launch_inside(name: str) -> str:
    """What a kernel that launches the kernel ``name`` is told."""
    return f"a kernel cannot launch another one ({name}[grid](...)); call it as a function, {name}(...), which runs in the program at hand"


def find_function(module: str, qualname: str, cache_key: str) -> JITCallable | None:
    """The living function of that name and key, which may be local to another function; None where there is none."""
    named = [fn for fn in list(_everyone) if fn.module == module and fn.__qualname__ == qualname]
    return next((fn for fn in named if fn.cache_key == cache_key), None)


def _renew_locks_after_fork() -> None:
    global _hashing
    _hashing = threading.RLock()
    for fn in list(_everyone):
        fn.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_after_fork)


class JITCallable:
    """A Python function that is compiled rather than called.

    ``src``: the text from ``def`` on, dedented, decorators removed.  ``starting_line_number``: the line of
    ``file`` on which ``src`` begins, so line *n* of ``src`` is line ``starting_line_number + n − 1`` there;
    ``indent`` columns were taken off on the left.  ``raw_src``: the lines as they stand, decorators included.

    Raises SourceUnavailableError where Python cannot find the source (a function made by ``exec``, typed
    at the plain prompt, or a lambda).
    """

    #: Whether Python itself runs the function, while compiling (`runtime.compile_time.ConstexprFunction`).
    runs_on_host = False
    #: Whether such a function may call any Python function; of those the key has the text alone, not what they call and read.
    calls_anything = False

    def __init__(self, fn: Callable[..., Any], noinline: bool = False):
        if not isinstance(fn, FunctionType):
            method = "; put @staticmethod above @triton.jit" if isinstance(fn, (staticmethod, classmethod)) else ""
            raise TypeError(f"only a Python function can be compiled, and {fn!r} is of type {type(fn).__name__}{method}")
        self.fn = fn
        self.noinline = noinline
        self.module = self.__module__ = fn.__module__
        self.__name__, self.__qualname__, self.__doc__ = fn.__name__, fn.__qualname__, fn.__doc__
        self.__globals__ = fn.__globals__
        self.__wrapped__ = fn
        self._fn_name = f"{fn.__module__}.{fn.__qualname__}"
        self.cells = _Cells(fn.__code__.co_freevars, fn.__closure__ or ())
        self._source: tuple[list[str], int, int, str] | None = None
        self._ast: ast.FunctionDef | None = None
        self.hash: str | None = None
        self.renew_locks()
        _everyone.add(self)
        #: Who was hashed with this function inside.
        self._callers: weakref.WeakSet[JITCallable] | None = None
        former = fn.__globals__.get(fn.__name__) if fn.__qualname__ == fn.__name__ else None
        if isinstance(former, JITCallable):
            former.outdate_callers()
        #: (name, id of its namespace) → (value that the compiled code holds, that namespace).
        self.used_global_vals: dict[tuple[str, int], tuple[Any, Any]] = {}

    def renew_locks(self) -> None:
        """New locks: a forked child has none of the threads that held the old ones."""
        self._hash_lock = _hashing
        if self.hash is not None and self.hash.startswith(_UNFINISHED):
            self.hash = None

    # -- pickling ----------------------------------------------------------------------------------------

    #: What stays of a callable that is pickled without its function (see `__reduce_ex__`).
    _DESCRIPTION: tuple[str, ...] = (
        *("noinline", "module", "__module__", "__name__", "__qualname__", "__doc__", "_fn_name", "file", "hash", "_source"),
        *("params", "arg_names"),
    )

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By name, as Python pickles functions; PicklingError where the name does not lead here.

        A program that sends a *compiled* kernel to another process (torch's compile workers) takes the function off first, by
        ``.fn = None``: then the description goes, which can be asked for everything but a compilation.
        """
        if self.fn is not None:
            return self.__qualname__
        return object.__reduce_ex__(self, protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._DESCRIPTION}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.fn = self.__wrapped__ = None  # type: ignore[assignment]
        self.__globals__ = {}
        self.cells = _Cells((), ())
        self._ast = None
        self.used_global_vals = {}
        self._callers = None
        self.renew_locks()
        _everyone.add(self)

    # -- source ------------------------------------------------------------------------------------------

    def _load_source(self) -> tuple[list[str], int, int, str]:
        if self._source is None:
            self._source = _find_source(self.fn)
        return self._source

    @property
    def file(self) -> str:
        """The file that ``fn`` says it is defined in, unless another one was given (programs that write kernels from templates do)."""
        given = self.__dict__.get("file")
        fn = self.fn or self.__wrapped__  # the former is taken off for pickling
        return fn.__code__.co_filename if given is None else str(given)

    @file.setter
    def file(self, name: str) -> None:
        self.__dict__["file"] = name
        self.hash = None

    @property
    def raw_src(self) -> list[str]:
        return self._load_source()[0]

    @raw_src.setter
    def raw_src(self, lines: list[str]) -> None:
        """Programs that write kernels from templates show the template's lines; what is compiled is ``src``."""
        self._source = (lines, *self._load_source()[1:])

    @property
    def starting_line_number(self) -> int:
        return self._load_source()[1]

    @starting_line_number.setter
    def starting_line_number(self, line: int) -> None:
        """Where errors and debuggers look for ``src`` from now on: for kernels written from templates, in the template."""
        raw, _, indent, src = self._load_source()
        self._source = (raw, line, indent, src)
        self.hash = None

    @property
    def indent(self) -> int:
        return self._load_source()[2]

    @indent.setter
    def indent(self, columns: int) -> None:
        raw, line, _, src = self._load_source()
        self._source = (raw, line, columns, src)

    @property
    def src(self) -> str:
        return self._load_source()[3]

    @src.setter
    def src(self, _: str) -> None:
        raise AttributeError(
            f"the source of {self.__name__} cannot be assigned: use _unsafe_update_src(), and set `.hash = None` on every function that calls it"
        )

    def _unsafe_update_src(self, new_src: str) -> None:
        """Replace the source text.  Callers that were hashed already keep the old key."""
        raw, line, indent, _ = self._load_source()
        self._source = (raw, line, indent, new_src)
        self._ast = None
        self.hash = None

    def parse(self) -> ast.FunctionDef:
        """The definition's syntax tree; positions are relative to ``src`` (first line 1, column 0)."""
        if self._ast is None:
            with self._hash_lock:  # CPython 3.11 fails, now and then, where two threads make syntax trees at once
                node = ast.parse(self.src).body[0]
            if not isinstance(node, ast.FunctionDef):
                raise SourceUnavailableError(
                    f"{self._fn_name} is no plain `def` function: {_KINDS.get(type(node), type(node).__name__)} cannot be compiled"
                )
            self._ast = node
        return self._ast

    def lock(self) -> threading.RLock:
        """Held while any function is hashed, parsed or compiled from its tree by Python."""
        return self._hash_lock

    # -- parameters --------------------------------------------------------------------------------------

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    @cached_property
    def params(self) -> list[KernelParam]:
        return [KernelParam(i, p) for i, p in enumerate(self.signature.parameters.values())]

    @cached_property
    def arg_names(self) -> list[str]:
        return list(self.signature.parameters)

    def get_capture_scope(self) -> dict[str, Any]:
        """Names visible to the body: module globals, overlaid with closure variables that have a value."""
        return self.fn.__globals__ | self.cells.values()

    # -- dependencies ------------------------------------------------------------------------------------

    @property
    def cache_key(self) -> str:
        """Hash of everything in Python that the compiled form depends on (see the module's text)."""
        if self.hash is None or self.hash.startswith(_UNFINISHED):  # by another thread, or by this one: a cycle of calls
            with self._hash_lock:
                if self.hash is None:
                    self._compute_hash()
        assert self.hash is not None
        return self.hash

    def _compute_hash(self) -> None:
        self.hash = f"{_UNFINISHED}{self._fn_name}"  # what a cycle of calls sees of this function
        try:
            finder = _Dependencies(self)
            with deep_recursion():
                finder.visit(self.parse())
            defaults = [describe(p.default) for p in self.params if p.has_default]
            text = "\0".join([self.src, self.file, str(self.starting_line_number), str(self.noinline), *defaults, *finder.parts])
            self.used_global_vals = finder.used
            self.hash = hashlib.sha256(text.encode()).hexdigest()
        except BaseException:
            self.hash = None
            raise

    def called_by(self, caller: JITCallable) -> None:
        """Note that the hash of ``caller`` holds this function's."""
        if self._callers is None:
            self._callers = weakref.WeakSet()
        self._callers.add(caller)

    def outdate_callers(self) -> None:
        """The name of this function stands for another one from now on."""
        callers, self._callers = self._callers or (), None
        for caller in list(callers):
            caller.outdated()

    def outdated(self) -> None:
        """Something that the hash holds is no more: compute it again, and that of all callers, when it is asked for."""
        self.hash = None
        self.used_global_vals = {}
        self.outdate_callers()

    def check_globals(self) -> None:
        """RuntimeError where a global or closure variable has changed since the kernel was compiled with it."""
        for (name, _), (value, space) in self.used_global_vals.items():
            now = space.get(name, _MISSING)
            # Each launch comes here.  A constexpr is compared by its content, for its own comparison is four calls of Python.
            if now is value or type(now) is type(value) and type(now).__name__ == "constexpr" and now.value is value.value:
                continue
            if _differs(now, value):
                shown = "<deleted>" if now is _MISSING else repr(now)
                raise RuntimeError(
                    f"Global variable {name} has changed since we compiled this kernel, from {value!r} to {shown}: "
                    f"{self.__name__} keeps the value it was compiled with. Pass it as a tl.constexpr argument instead"
                )

    # -- calling -----------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from .context import active, current

        if not active():
            raise RuntimeError(f"Cannot call @triton.jit'd function {self.__name__} outside of the scope of a kernel")
        return current().call(self, args, kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.module}:{self.__qualname__})"


def _find_source(fn: FunctionType) -> tuple[list[str], int, int, str]:
    """(raw lines, file line of ``def``, columns removed, dedented text from ``def`` on)."""
    name = f"{fn.__module__}.{fn.__qualname__}" if fn.__module__ else fn.__qualname__
    if fn.__name__ == "<lambda>":
        raise SourceUnavailableError(
            f"a lambda ({fn.__code__.co_filename}:{fn.__code__.co_firstlineno}) cannot be compiled: write it as a `def` function"
        )
    try:
        raw, first = inspect.getsourcelines(fn)
        text = textwrap.dedent("".join(raw))
        start = _DEF.search(text)
        # Since 3.13 Python keeps the text of `python -c` under the file name that exec() gives its code too.
        if start is None or start[1] not in (fn.__code__.co_name, fn.__name__):
            raise OSError(f"{fn.__code__.co_filename}, line {first}, is not where it is defined")
    except (OSError, TypeError) as e:
        file = fn.__code__.co_filename
        if file.endswith(".py") and os.path.isfile(file):
            how = "which does not change between Python reading it and @jit being applied: start the program again"
        elif file.endswith(".py"):  # frozen programs and packages of .pyc files
            how = f"the file {file} is not there, and kernels are compiled from their source: ship it (PyInstaller: --add-data FILE.py:.)"
        else:
            how = "not by exec(), python -c, a program on standard input, at the plain prompt or under %%time (whose cells are exec()ed)"
        raise SourceUnavailableError(
            f"the source of {name} cannot be found ({e}): @jit functions should be defined in a Python file or a notebook cell, {how}"
        ) from None
    skipped = text.count("\n", 0, start.start())
    line = raw[skipped] if skipped < len(raw) else ""
    return raw, max(first, 1) + skipped, len(line) - len(line.lstrip()), text[start.start() :]


def _of_anytile(module: str | None) -> bool:
    """Whether the code belongs to anytile or to its `triton` face: the cache key's fingerprint covers it."""
    return module is not None and module.split(".", 1)[0] in ("anytile", "triton")


def describe(value: Any) -> str:
    """Text that is equal exactly where compiled code would be, stable from one process to the next."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)) and not isinstance(value, enum.Enum):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, enum.Enum):
        return f"{type(value).__module__}.{value!s}={describe(value.value)}"
    if isinstance(value, JITCallable):
        return value._fn_name if _of_anytile(value.module) else value.cache_key
    if isinstance(value, (tuple, list)):
        return f"{type(value).__qualname__}({','.join(map(describe, value))})"
    if isinstance(value, (set, frozenset)):
        return f"set({','.join(sorted(map(describe, value)))})"
    if isinstance(value, dict):
        return f"dict({','.join(f'{describe(k)}:{describe(v)}' for k, v in value.items())})"
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, type):
        members = [describe(m) for m in vars(value).values() if isinstance(m, JITCallable)]
        return f"class {value.__module__}.{value.__qualname__} {','.join(members)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"function {value.__module__}.{value.__qualname__}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "value") and type(value).__name__ == "constexpr":
        return f"constexpr {describe(value.value)}"
    text = repr(value)
    return kind if " at 0x" in text else f"{kind} {text}"


class _Dependencies(ast.NodeVisitor):
    """Walks one function body in order of evaluation and collects what it takes from outside.

    ``visit`` of an expression returns the Python object it denotes where that can be said without running
    anything (a global, an attribute of a module or class), else None.
    """

    def __init__(self, fn: JITCallable):
        self.fn = fn
        self.parts: list[str] = []
        self.used: dict[tuple[str, int], tuple[Any, Any]] = {}
        self.local: set[str] = set()
        self.seen: set[int] = set()

    def record(self, name: str, value: Any, space: Any) -> None:
        """Note that the body refers to ``value``; ``space`` is the namespace when it is a plain variable."""
        if isinstance(value, JITCallable):
            if id(value) not in self.seen and value is not self.fn:
                self.seen.add(id(value))
                if _of_anytile(value.module):
                    self.parts.append(value._fn_name)
                else:
                    self.parts.append(value.cache_key)
                    value.called_by(self.fn)
                    self.adopt(value)
            return
        code = isinstance(value, (type, *_ROUTINES))
        if value is None or isinstance(value, ModuleType) or code and _of_anytile(value.__module__):
            return
        if isinstance(value, FunctionType) and self.fn.runs_on_host and not getattr(value, "__triton_builtin__", False):
            if self.fn.calls_anything:
                self.parts.append(f"{name} {hashlib.sha256(value.__code__.co_code).hexdigest()} {describe(value.__code__.co_names)}")
                return
            raise RuntimeError(
                f"Unsupported function referenced: {value.__module__}.{value.__qualname__} in compile-time function {self.fn.__name__}. "
                "What it returns is not part of the compile cache's key; decorate it with @triton.constexpr_function too"
            )
        self.parts.append(f"{name}={describe(value)}")
        if isinstance(value, type):
            for member in vars(value).values():  # methods of an aggregate
                if isinstance(member, JITCallable):
                    self.record(name, member, None)
        elif space is not None and not code:
            self.used[(name, id(space))] = (_snapshot(value), space)

    def adopt(self, callee: JITCallable) -> None:
        """Depend on what a called function depends on.  RuntimeError where it saw another value of a global."""
        for place, (theirs, space) in callee.used_global_vals.items():
            ours = self.used.get(place)
            now = ours[0] if ours is not None else space.get(place[0], _MISSING)
            if _differs(now, theirs):
                raise RuntimeError(
                    f"Global variable {place[0]} has value {now} when compiling {self.fn.__name__}, but inner kernel {callee.__name__} "
                    f"has conflicting value {theirs} from when it was first compiled. This is not allowed."
                )
            self.used[place] = (theirs, space)

    def visit_Name(self, node: ast.Name) -> Any:
        if not isinstance(node.ctx, ast.Load):
            self.local.add(node.id)
            return None
        if node.id in self.local:
            return None
        space: Any = self.fn.cells if node.id in self.fn.cells else self.fn.__globals__
        value = space.get(node.id)
        self.record(node.id, value, space)
        return value

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        base = self.visit(node.value)
        if not isinstance(base, (ModuleType, type)):
            return None
        value = getattr(base, node.attr, None)
        if isinstance(value, JITCallable) or not _of_anytile(base.__name__ if isinstance(base, ModuleType) else base.__module__):
            self.record(f"{base.__name__}.{node.attr}", value, None)
        return value

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self.local.update(a.arg for a in every if a is not None)
        for statement in node.body:
            self.visit(statement)

    def _in_order(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._in_order(node.value, *node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._in_order(node.value, node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._in_order(node.value, node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._in_order(node.value, node.target)

    def visit_For(self, node: ast.For) -> None:
        self._in_order(node.iter, node.target, *node.body, *node.orelse)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> None:
        for g in node.generators:
            self._in_order(g.iter, g.target, *g.ifs)
        self.visit(node.elt)

    visit_GeneratorExp = visit_SetComp = visit_ListComp


def _snapshot(value: Any) -> Any:
    """A copy that later mutation of ``value`` cannot reach; the value itself where it cannot be copied."""
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # deepcopy runs user code: whatever it raises, the identity check remains
        return value


class DeviceFunction(JITCallable):
    """A function of the language written in the language: inlined where it is called."""


def device_function(fn: Callable[..., Any]) -> DeviceFunction:
    """The decorator of functions that anytile's own language is written with (``tl.sum``, ``tl.softmax`` …)."""
    return DeviceFunction(fn)
