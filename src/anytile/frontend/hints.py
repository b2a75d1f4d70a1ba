"""What to write instead: for names that NumPy and torch have and kernels have not, and for slips of the pen.

Who comes from NumPy or torch asks tiles for ``relu`` and ``mean``, asks pointers for their shape, and calls ``math.sqrt`` on what exists
only when the kernel runs.  What the messages about these end in is made here; each function gives "" where it knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from ..language.aggregate import Recorded
from ..language.constexpr import unwrap
from ..language.tensor import tensor

__all__ = ["SIZES", "foreign", "for_attribute", "instead", "near"]

#: Where the shape of an array is asked of its pointer.
SIZES = "a kernel gets the address alone: pass sizes and strides as arguments of their own"
_NO_ELEMENT = "use tl.sum(tl.where(index == k, x, 0)) for one element"

#: A name of NumPy or torch → how kernels say it.
_INSTEAD = {
    "relu": "use tl.maximum(x, 0)",
    "mean": "use tl.sum(x, axis) / n, with the n that the mask leaves",
    "var": "use tl.sum of the squared differences from the mean, / n",
    "std": "use tl.sqrt of the variance",
    "prod": "use tl.reduce with a @triton.jit function that multiplies",
    "any": "use tl.max(x.to(tl.int32), axis) != 0",
    "all": "use tl.min(x.to(tl.int32), axis) != 0",
    "amax": "use tl.max",
    "amin": "use tl.min",
    "matmul": "use tl.dot",
    "mm": "use tl.dot",
    "bmm": "use tl.dot",
    "power": "use libdevice.pow (from triton.language.extra import libdevice)",
    "square": "write x * x",
    "concatenate": "use tl.join or tl.cat",
    "stack": "use tl.join",
    "transpose": "use tl.trans or tl.permute",
    "t": "use tl.trans",
    "ones": "use tl.full(shape, 1, dtype)",
    "empty": "use tl.zeros(shape, dtype)",
    "linspace": "use tl.arange and arithmetic",
    "astype": "use x.to(dtype)",
    "type": "use x.to(dtype)",
    "float": "use x.to(tl.float32)",
    "half": "use x.to(tl.float16)",
    "int": "use x.to(tl.int32)",
    "long": "use x.to(tl.int64)",
    "bool": "use x.to(tl.int1)",
    "item": _NO_ELEMENT,
    "repeat": "use tl.broadcast_to",
    "expand": "use tl.broadcast_to",
    "reciprocal": "write 1 / x",
    "sign": "use tl.where(x > 0, 1, tl.where(x < 0, -1, 0))",
    "masked_fill": "use tl.where(mask, value, x)",
    "isnan": "a NaN is what x != x holds of",
    "inf": 'use float("inf")',
    "nan": 'use float("nan")',
    "pi": "define PI = tl.constexpr(3.141592653589793) outside",
    "print": "use tl.device_print",
    "num_threads": "programs run their lanes by themselves; there are no threads to count",
    "thread_id": "a program works on whole tiles; use tl.arange for the positions in one",
    "block_id": "use tl.program_id",
    "syncthreads": "use tl.debug_barrier, though a program's tiles need none",
    "load_shared": "memory on the chip is managed by the compiler",
}

#: What is asked of a tensor of the host, and a pointer cannot answer.
_HOST_SIZES = frozenset(
    {"size", "stride", "strides", "dim", "ndim", "numel", "nelement", "is_contiguous", "contiguous", "element_size", "itemsize"}
)

_FOREIGN = frozenset({"torch", "numpy", "math", "cmath", "statistics", "random", "scipy", "jax", "cupy", "numba", "time", "os"})


def instead(name: str) -> str:
    """How a kernel says what NumPy or torch call ``name``."""
    advice = _INSTEAD.get(name)
    if advice is not None:
        return advice
    from .. import language
    from ..language import libdevice

    if name in language.__all__ and callable(getattr(language, name)):
        return f"use tl.{name}"
    if name in libdevice.__all__:
        return f"use libdevice.{name} (from triton.language.extra import libdevice)"
    return ""


def for_attribute(base: Any, name: str) -> str:
    """What to do where ``base`` has no attribute ``name``, as the end of a sentence."""
    base = unwrap(base)
    if isinstance(base, tensor) and base.dtype.is_ptr() and name in _HOST_SIZES:
        return f"; {SIZES}"
    if isinstance(base, (tensor, ModuleType)) and (advice := instead(name)):
        return f"; {advice}"
    return near(name, dir(base)) if base is not None else ""


def near(name: str, known: Iterable[str]) -> str:
    """The name among ``known`` that ``name`` may have been meant to be."""
    from difflib import get_close_matches  # here: it is needed for nothing but this sentence

    found = get_close_matches(name, [k for k in known if k != name], 1, 0.7)
    return f"; did you mean {found[0]}?" if found else ""


def foreign(fn: Callable[..., Any], values: Iterable[Any]) -> bool:
    """Whether ``fn`` belongs to a library of the host and is given values that exist only when the kernel runs."""
    if not any(isinstance(v, Recorded) for v in values):
        return False
    home = getattr(fn, "__module__", None) or getattr(getattr(fn, "__self__", None), "__name__", None) or type(fn).__module__
    return home.partition(".")[0] in _FOREIGN
