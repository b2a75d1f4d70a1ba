"""``TRITON_INTERPRET=1``: a kernel run as the Python function that it is, one program after another.

Every ``tl.*`` call computes at once with NumPy (see `targets.reference.eager`), so ``print``, ``breakpoint()``,
exceptions and ordinary Python work inside the kernel and show values.  Differences from the compiled kernel:

- ``if``, ``while`` and ``for`` are Python's own; they need scalars.  (``and``, ``or``, ``not``, ``a < b < c``: `interpreted_logic`.)
- Constexpr parameters arrive as plain Python values (with ``.value``, where they are numbers or text, for kernels that
  write it); ``range`` and ``tl.range`` give tensors.
- Functions handed to tl.reduce, tl.associative_scan and tl.map_elementwise are traced once and run on all
  lanes together: print shows no values inside these.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FrameType, FunctionType
from typing import Any

from ..language.context import Context
from ..language.source import JITCallable
from .arguments import unwrap as unwrap_argument
from .interpreted_logic import LOGIC, Logic, rewritten

__all__ = ["run_eager"]


def run_eager(fn: JITCallable, args: Mapping[str, Any], grid: tuple[int, int, int], options: Any) -> None:
    """Runs the kernel ``fn`` for every program of ``grid``.

    ``args``: parameter name → the launch's argument (tensor, number, tuple, None; any object for a constexpr),
    defaults may be left out.  ``options``: see `language.context.Options`.  What the kernel raises has an attribute ``stopped_at``, a line
    about the place in the source and the program.
    """
    import numpy as np

    from ..targets.reference.eager import EagerBuilder
    from ..targets.reference.executor import Program

    builder = EagerBuilder(Program((0, 0, 0), grid))
    session = _Session(builder, options, fn)
    keep: list[Any] = []
    values = {p.name: session.argument(p, args[p.name], keep) for p in fn.params if p.name in args}
    first = [values.pop(n) for n, p in fn.signature.parameters.items() if p.kind is p.POSITIONAL_ONLY and n in values]
    body = session.plain(fn)
    with session.context, np.errstate(all="ignore"):
        for z in builtins.range(grid[2]):
            for y in builtins.range(grid[1]):
                for x in builtins.range(grid[0]):
                    builder.program = Program((x, y, z), grid)
                    try:
                        body(*first, **values)
                    except Exception as e:
                        e.stopped_at = session.place(e, (x, y, z))  # type: ignore[attr-defined]
                        raise


class _EagerContext(Context):
    """A context in which kernels are run as Python; loops ask it for their indices."""

    __slots__ = ()

    def iterate(self, loop: Any) -> Iterator[Any]:
        """What ``for`` over a ``tl.range`` or ``tl.static_range`` runs through."""
        from ..language.hints import static_range

        if isinstance(loop, static_range):
            return iter(builtins.range(loop.start.value, loop.end.value, loop.step.value))
        return _range(loop.start, loop.end, loop.step)


class _Session:
    """One launch: its context, and the Python functions that stand for JIT functions in it."""

    def __init__(self, builder: Any, options: Any, kernel: JITCallable):
        self.builder, self.options, self.kernel = builder, options, kernel
        self.context = _EagerContext(builder, options, self.call, self.trace_block)
        self.functions: dict[JITCallable, FunctionType] = {}
        self.logic = Logic()

    # --- arguments ---

    def argument(self, p: Any, given: Any, keep: list[Any]) -> Any:
        """The language value of a launch argument; ``keep`` holds the memory of pointers alive."""
        from ..language.constexpr import unwrap

        if p.is_constexpr:
            plain = unwrap(given)
            return _PLAIN.get(type(plain), _same)(plain)
        ready = unwrap_argument(unwrap(given))
        keep.append(ready.keep)
        return self.convert(ready.value, ready.key, p.annotation_type)

    def convert(self, value: Any, key: Any, prescribed: str = "") -> Any:
        from ..language.descriptor import tensor_descriptor
        from ..language.types import parse_signature_type, tensor_descriptor_type

        if key is None or isinstance(key, tuple) and key and key[0] == "constexpr":
            return value
        if isinstance(key, tuple):
            named = bool(key) and isinstance(key[0], type)
            parts = [self.convert(v, k) for v, k in zip(value, key[1:] if named else key)]
            return key[0](*parts) if named else tuple(parts)
        text = "i32" if key == 1 else key.rstrip("!").removesuffix(":16")
        kind = parse_signature_type(prescribed if prescribed and not text.startswith(("*", "tensordesc")) else text)
        if isinstance(kind, tensor_descriptor_type):
            return tensor_descriptor.of(kind, [self.scalar(v, slot.type) for v, slot in zip(value, kind.slots())])
        return self.scalar(value, kind)

    def scalar(self, value: Any, kind: Any) -> Any:
        """The scalar tensor of type ``kind`` that holds a number or an address."""
        import numpy as np

        from ..language.tensor import tensor
        from ..targets import formats

        type_ = kind.to_ir()
        elem: Any = type_.elem
        if elem.is_ptr:
            data = np.asarray(value, np.uint64)
        elif elem.is_float:
            data = formats.encode(np.asarray(value, np.float64), elem)
        else:
            data = np.asarray(int(value) & (1 << 64) - 1, np.uint64).astype(formats.storage(elem))
        return tensor(self.builder.value(type_, data), kind)

    # --- functions ---

    def place(self, e: BaseException, program: tuple[int, int, int]) -> str:
        """Where ``e`` left the kernel: the innermost line that is a JIT function's."""
        tb, where = e.__traceback__, ""
        while tb is not None:
            known = self.builder.sources.get(tb.tb_frame.f_code)
            if known is not None:
                where = f"at {known[0]}:{tb.tb_lineno} in {known[1]}, "
            tb = tb.tb_next
        return f"{where}program {program}"

    def plain(self, fn: JITCallable) -> FunctionType:
        """``fn``'s Python function, with names of built-ins that mean something else in a kernel rebound."""
        got = self.functions.get(fn)
        if got is None:
            f = fn.fn
            code = rewritten(fn)
            overrides = {n: v for n, v in {**_BUILTINS, "breakpoint": self.breakpoint}.items() if n not in f.__globals__}
            cells = dict(zip(f.__code__.co_freevars, f.__closure__ or ()))
            closure = tuple(cells[n] for n in code.co_freevars)
            got = FunctionType(code, {**f.__globals__, **overrides, LOGIC: self.logic}, f.__name__, f.__defaults__, closure)
            got.__kwdefaults__ = f.__kwdefaults__
            self.functions[fn] = got
            self.builder.sources[code] = (fn.file, fn.__name__)
        return got

    def call(self, fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """`Context.call`: a JIT function runs as Python; anything else is called."""
        if not isinstance(fn, JITCallable):
            return fn(*args, **kwargs)
        from ..language.constexpr import unwrap

        constexprs = {p.name: p.is_constexpr for p in fn.params}
        given = {k: unwrap(v) if constexprs.get(k) else v for k, v in kwargs.items() if k not in ("_builder", "_semantic", "_generator")}
        positional = [unwrap(a) if p.is_constexpr else a for a, p in zip(args, fn.params)]
        return self.plain(fn)(*positional, *args[len(positional) :], **given)

    def breakpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Python's own, but that its debugger's ``step`` goes from a kernel's line into the function that the line calls.

        What lies between, anytile's frames and what they call, is passed over.  A debugger that was chosen (PYTHONBREAKPOINT, pytest,
        IPython) is called as ever.
        """
        if args or kwargs or sys.breakpointhook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT", ""):
            return sys.breakpointhook(*args, **kwargs)
        from pdb import Pdb

        sources = self.builder.sources

        class KernelDebugger(Pdb):
            def stop_here(self, frame: FrameType) -> bool:
                return super().stop_here(frame) and not _within_anytile(frame, sources)

        KernelDebugger().set_trace(sys._getframe(1))
        return None

    def trace_block(self, fn: Any, types: Sequence[Any]) -> Any:
        """`Context.trace_block`, by the frontend: the function is recorded, not run."""
        from ..frontend.calls import trace_block
        from ..frontend.scope import Frame
        from ..frontend.visitor import Tracer
        from ..ir import Block, Builder

        tracer = Tracer(Builder(Block(), loc=self.builder.loc), self.options)
        tracer.frame = Frame(self.kernel, None, None)
        with tracer.context:
            return trace_block(tracer, fn, types)


def _within_anytile(frame: FrameType, sources: Mapping[CodeType, Any]) -> bool:
    """Whether ``frame`` is anytile's, or was called by such a one and is no function of the kernel's."""
    at: FrameType | None = frame
    while at is not None and at.f_code not in sources:
        if str(at.f_globals.get("__name__", "")).partition(".")[0] in ("anytile", "triton"):
            return True
        at = at.f_back
    return False


class _Int(int):
    """A constexpr parameter's number; ``.value`` is the number itself.  Likewise the two classes below.

    Python's own ``is None`` and ``is True`` must hold of parameters too, so no wrapper will do; None and bool, which
    have no subclasses, are left as they are.
    """

    value = property(int)


class _Float(float):
    value = property(float)


class _Text(str):
    __slots__ = ()
    value = property(str)


def _same(x: Any) -> Any:
    return x


_PLAIN: dict[type, Any] = {int: _Int, float: _Float, str: _Text}


# --- built-ins in a kernel --------------------------------------------------------------------------------


def _range(*bounds: Any) -> Iterator[Any]:
    """``range`` of a kernel: the index is a tensor, as it is in the compiled kernel."""
    from ..language.constexpr import unwrap
    from ..language.promotion import constant, integer_type, literal_type
    from ..language.tensor import tensor

    plain, kind = [], None
    for b in map(unwrap, bounds):
        if isinstance(b, tensor):
            kind = b.dtype if kind is None else integer_type(kind, b.dtype)
            plain.append(int(b.handle.numpy(not b.dtype.is_int_unsigned())))  # type: ignore[attr-defined]
        else:
            plain.append(int(b))
    if kind is None:
        kind = literal_type(max(plain, key=abs, default=0))
    return (constant(i, kind) for i in builtins.range(*plain))


def _pick(name: str) -> Any:
    """``min`` and ``max``: tl.minimum and tl.maximum where a tensor is among the arguments."""

    def choose(*args: Any, **kwargs: Any) -> Any:
        from .. import language
        from ..language.tensor import tensor

        if kwargs or not any(isinstance(a, tensor) for a in args):
            return getattr(builtins, name)(*args, **kwargs)
        out = args[0]
        for a in args[1:]:
            out = getattr(language, name + "imum")(out, a)
        return out

    return choose


_BUILTINS = {"range": _range, "min": _pick("min"), "max": _pick("max")}
