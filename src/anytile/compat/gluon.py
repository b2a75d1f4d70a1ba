"""What stands for Gluon (`triton.experimental.gluon`), whose kernels spell out the layouts of one kind of GPU.

No target here runs them.  But libraries keep them beside kernels in `triton.language` and import Gluon for both: vLLM does in the
module through which each of its kernels gets `triton`.  So the names are there, and using one is the error:

- `jit` makes a `GluonKernel`, which refuses to be launched, compiled or called;
- every other name, at any depth, is a `GluonName`, which may stand in annotations and at the top of a module, as
  ``LAYOUT = gl.BlockedLayout(...)`` does, and refuses to be used in a kernel.

The face gives this one module for all of Gluon's.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any, NoReturn

from ..errors import UnsupportedError
from ..language.context import active
from ..runtime.jit import KernelInterface, constexpr_function

__all__ = ["GluonKernel", "GluonName", "constexpr_function", "jit"]

__path__: list[str] = []  # the modules below Gluon are this one, too

_REMEDY = "write the kernel in triton.language, which every target runs"


class GluonKernel(KernelInterface):
    """A function under ``gluon.jit``: it has a name and parameters, and every use of it is an UnsupportedError."""

    def __init__(self, fn: FunctionType):
        self.fn = fn
        self.__name__, self.__qualname__, self.__module__, self.__doc__ = fn.__name__, fn.__qualname__, fn.__module__, fn.__doc__
        self.arg_names = list(inspect.signature(fn).parameters)

    def is_gluon(self) -> bool:
        return True

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise UnsupportedError(f"Gluon (triton.experimental.gluon), in which kernel {self.__name__} is written,", remedy=_REMEDY)

    run = warmup = __call__ = __getitem__ = _refuse

    def __repr__(self) -> str:
        return f"GluonKernel({self.__module__}:{self.__qualname__})"


def jit(fn: Any = None, **options: Any) -> Any:
    """``@gluon.jit`` and ``@gluon.jit(…)``: a `GluonKernel`."""
    return GluonKernel if fn is None else GluonKernel(fn)


class GluonName:
    """A name of Gluon's, or what a call of one would be."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> GluonName:
        if attribute.startswith("__"):
            raise AttributeError(f"{self._name} has no {attribute}", name=attribute, obj=self)
        return GluonName(f"{self._name}.{attribute}")

    def __call__(self, *_: Any, **__: Any) -> GluonName:
        if active():
            raise UnsupportedError(f"{self._name}, which is of Gluon (triton.experimental.gluon),", remedy=_REMEDY)
        return GluonName(f"{self._name}(…)")

    def __getitem__(self, _: Any) -> GluonName:
        return self

    def __or__(self, _: Any) -> GluonName:  # annotations such as `gl.tensor | None`
        return self

    __ror__ = __or__

    def __repr__(self) -> str:
        return self._name


def __getattr__(attribute: str) -> Any:
    if attribute.startswith("__"):
        raise AttributeError(f"Gluon has no {attribute}", name=attribute)
    return GluonName(f"gluon.{attribute}")
