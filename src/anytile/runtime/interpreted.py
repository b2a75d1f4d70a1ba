"""`InterpretedFunction`: what `jit` makes of a function while ``TRITON_INTERPRET=1``.

A launch runs the kernel as Python (`interpret.run_eager`); nothing is compiled and nothing is cached.  Binding of
arguments, launch errors, grids and hooks are those of a compiled kernel, so autotuners and heuristics work around it.
"""

from __future__ import annotations

from bdb import BdbQuit
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

from ..errors import DeviceAssertError
from ..language.context import active
from ..language.mistakes import Mistake
from ..language.source import launch_inside
from . import knobs
from .bounds import checked, guarded
from .driver import GPUTarget, machine_arch
from .errors import GridError, InterpreterError, ReadOnlyError
from .hooks import LazyDict
from .jit import JITFunction
from .launcher import make_binder, normalize_grid
from .options import Options
from .refusals import call_grid

__all__ = ["InterpretedFunction"]


class InterpretedFunction(JITFunction):
    """A kernel that runs as the Python function that it is.  A launch returns None.

    What goes wrong inside the kernel is an InterpreterError whose ``__cause__`` is the error itself, with the kernel's own
    line last in its traceback.  Only failed device asserts, which are the same error on every target, and leaving the
    debugger pass as they are; with TRITON_FRONT_END_DEBUGGING=1 everything does.
    """

    compiled = False

    def target(self) -> GPUTarget:
        return GPUTarget("reference", machine_arch(), 1)

    @cached_property
    def _bind(self) -> Callable[..., Any]:
        return make_binder(self)

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        if active():
            raise TypeError(launch_inside(self.__name__))
        return partial(self._interpret, grid)

    def run(self, *args: Any, grid: Any = None, warmup: bool = False, **kwargs: Any) -> None:
        """``kernel[grid](*args, **kwargs)``; a warm-up checks the arguments and does nothing else."""
        if warmup:
            for hook in self.pre_run_hooks:
                hook(*args, **kwargs)
            self._bind(*args, **kwargs)
            return
        if grid is None:
            raise GridError(f"{self.__name__} was launched without a grid: write {self.__name__}[grid](...), with a grid such as (1,)")
        self._interpret(grid, *args, **kwargs)

    def _interpret(self, grid: Any, /, *args: Any, **kwargs: Any) -> None:
        from .interpret import run_eager

        for hook in self.pre_run_hooks:
            hook(*args, **kwargs)
        keys, _, bound, given = self._bind(*args, **kwargs)
        options = Options.of({"debug": bool(self.debug), **given}, self.target(), self.__name__, self.arg_names)
        extents = normalize_grid(self.__name__, call_grid(self.__name__, grid, {**bound}) if callable(grid) else grid)
        named = {name: bound[name] for name in self.arg_names}
        runtime = knobs.runtime
        facts = LazyDict({"name": self.__name__, "function": self.fn, "stream": 0})
        if runtime.launch_enter_hook:
            runtime.launch_enter_hook(facts)
        try:
            with guarded(keys, named), checked(named) if runtime.check_bounds else nullcontext():
                run_eager(self, named, extents, options)
        except (BdbQuit, DeviceAssertError):
            raise
        except Exception as e:
            from ..targets.reference.memory import BoundsError, ProtectedError

            if knobs.compilation.front_end_debugging:
                raise
            if isinstance(e, ProtectedError):
                raise ReadOnlyError.of(self.__name__, e.name, f"\n  {e.stopped_at}") from e  # type: ignore[attr-defined]
            kind, text = (ValueError, f"{e}: {e.advice}") if isinstance(e, Mistake) else (type(e), str(e))
            # A BoundsError names its place itself.
            place = f"\n  {e.stopped_at}" if hasattr(e, "stopped_at") and not isinstance(e, BoundsError) else ""
            raise InterpreterError(f"kernel {self.__name__} stopped with {kind.__name__}: {text}{place}") from e
        if runtime.launch_exit_hook:
            runtime.launch_exit_hook(facts)
