"""The table of language features: small kernels, each run on every target with the same arguments.

A case is a kernel and the arguments that it is launched with:

    @case(x=normal("fp32", 256), out=zeros("fp32", 256))
    def doubled(x, out, N: tl.constexpr = 256):
        ...

Parameters that the decorator does not name are constexprs and have defaults; several decorators make several cases of one kernel,
told apart by ``name``.  Files of kernels are listed in `FILES`.  `feature_run.run` runs a case; what it leaves in memory and prints on
the reference target is what every other target has to leave and print.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

import anytile.language as tl
from anytile.language.source import JITCallable
from anytile.targets import formats

__all__ = ["CASES", "DTYPES", "Array", "Case", "case", "integers", "load_all", "normal", "of", "uniform", "zeros"]

FILES = (
    "feature_shapes",
    "feature_arithmetic",
    "feature_memory",
    "feature_reductions",
    "feature_dots",
    "feature_tables",
    "feature_control",
    "feature_random",
    "feature_debug",
    "feature_libdevice",
)

#: Names of element types in signatures → the types.
DTYPES: dict[str, tl.dtype] = {
    t.mangle(): t for name in tl.__all__ if isinstance(t := getattr(tl, name), tl.dtype) and t.primitive_bitwidth and not t.is_ptr()
}


@dataclass(frozen=True)
class Array:
    """A pointer argument.  ``make(random)`` gives values, which are encoded in ``kind``: float64, or integers as they are."""

    kind: str
    make: Callable[[np.random.Generator], Any]

    def stored(self, random: np.random.Generator) -> np.ndarray:
        """The elements as they lie in memory (`formats`)."""
        element, values = DTYPES[self.kind].element(), np.asarray(self.make(random))
        if not element.is_float:
            return np.ascontiguousarray(values.astype(formats.storage(element)))
        if values.dtype.kind in "ui":  # bit patterns
            return np.ascontiguousarray(values).view(formats.storage(element))
        with np.errstate(over="ignore"):  # values beyond a narrow format's range are meant
            return np.ascontiguousarray(formats.encode(values.astype(np.float64), element))


def normal(kind: str, *shape: int, scale: float = 1.0) -> Array:
    return Array(kind, lambda random: random.standard_normal(shape) * scale)


def uniform(kind: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Array:
    return Array(kind, lambda random: random.uniform(low, high, shape))


def integers(kind: str, *shape: int, low: int = -100, high: int = 100) -> Array:
    """Integers from ``low`` up to but not including ``high``."""
    return Array(kind, lambda random: random.integers(low, high, shape, dtype=np.int64))


def zeros(kind: str, *shape: int) -> Array:
    return Array(kind, lambda random: np.zeros(shape))


def of(kind: str, values: Any) -> Array:
    """These values; of a float ``kind``, integers are bit patterns."""
    return Array(kind, lambda random: values)


@dataclass(frozen=True)
class Case:
    """``arguments``: an `Array`, an int (i32) or a float (fp32) for each run-time parameter.

    ``tolerance``: largest difference of an array's elements from the reference target's, relative to the largest of them; 0 asks for
    the same bits of numbers.  ``fails``: a regular expression for the message of the assertion that fails.
    ``printed``: whether what is printed is compared.  ``arch``: the least compute capability.
    """

    name: str
    kernel: Callable[..., None]
    arguments: Mapping[str, Any]
    constants: Mapping[str, Any]
    grid: tuple[int, ...] = (1,)
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    fails: str = ""
    printed: bool = False
    arch: int = 75

    @cached_property
    def source(self) -> JITCallable:
        return _source(self.kernel)

    def values(self) -> dict[str, Any]:
        """New arguments in the order of the parameters; the same at every call."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()))
        given = {n: a.stored(random) if isinstance(a, Array) else a for n, a in self.arguments.items()}
        return {n: given[n] for n in self.source.arg_names if n in given}

    def signature(self) -> tuple[dict[str, str], dict[tuple[int, ...], Any], dict[tuple[int, ...], Any]]:
        """(signature, constexprs, attributes) for ``frontend.trace``."""
        signature: dict[str, str] = {}
        constexprs: dict[tuple[int, ...], Any] = {}
        attributes: dict[tuple[int, ...], Any] = {}
        for i, name in enumerate(self.source.arg_names):
            if name not in self.arguments:
                signature[name] = "constexpr"
                constexprs[i,] = self.constants.get(name, self.source.signature.parameters[name].default)
                continue
            value = self.arguments[name]
            signature[name] = "*" + value.kind if isinstance(value, Array) else "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, Array):
                attributes[i,] = [["tt.divisibility", 16]]
        return signature, constexprs, attributes


@cache
def _source(kernel: Callable[..., None]) -> JITCallable:
    from anytile.runtime.jit import JITFunction

    return JITFunction(kernel)


CASES: dict[str, Case] = {}


def case(
    name: str = "",
    /,
    *,
    grid: tuple[int, ...] = (1,),
    options: Mapping[str, Any] | None = None,
    tolerance: float = 0.0,
    fails: str = "",
    printed: bool = False,
    arch: int = 75,
    constants: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds a case of the decorated kernel, called ``kernel`` or ``kernel-name``."""

    def add(kernel: Callable[..., None]) -> Callable[..., None]:
        full = f"{kernel.__name__}-{name}" if name else kernel.__name__
        if full in CASES:
            raise ValueError(f"two cases are called {full}")
        CASES[full] = Case(full, kernel, arguments, constants or {}, grid, options or {}, tolerance, fails, printed, arch)
        return kernel

    return add


@cache
def load_all() -> dict[str, Case]:
    """Every case of every file, by name."""
    for file in FILES:
        importlib.import_module(file)
    return CASES
