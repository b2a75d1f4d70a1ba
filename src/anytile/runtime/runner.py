"""`CompiledKernel.run`: a launch by the positional protocol of Triton's launchers.

Programs that keep a compiled kernel and launch it themselves (torch's Inductor writes a Python function for every one) call::

    kernel.run(gx, gy, gz, stream, function, packed_metadata, launch_metadata, enter_hook, exit_hook, *arguments)

Each microsecond here is paid at every launch of a compiled model, so the function is made per kernel: it knows which
arguments are memory.  Those are asked for their address and nothing else; the caller has chosen the kernel for them.  It is native code where
there is such (`native.positional_ir`), which calls the generated Python for what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..native.launcher import FIXED, NotNative, Row
from .arguments import HOST
from .driver import driver
from .launcher import INTEGER_RANGES, slot_format
from .warm import native_maker, queue_of

if TYPE_CHECKING:
    from .compiler import CompiledKernel

__all__ = ["make_native_runner", "make_runner"]

# An argument that has no `data_ptr` (an address, a wrapped tensor, a descriptor) leaves to the general way.
_RUN = """
def run(gx, gy, gz, stream, function, packed, facts, enter, exit, *arguments):
    if enter or exit or len(arguments) != {count}:
        return general(gx, gy, gz, stream, function, packed, facts, enter, exit, *arguments)
    {names} = arguments
    try:
        {pointers}
    except AttributeError:
        return general(gx, gy, gz, stream, function, packed, facts, enter, exit, *arguments)
    if gx > 0 and gy > 0 and gz > 0:
        go({first}gx, gy, gz, {values})
"""


def make_runner(
    kernel: CompiledKernel, general: Callable[..., None], go: Callable[..., None], with_stream: bool = False
) -> Callable[..., None]:
    """``run`` for ``kernel``.  ``go(gx, gy, gz, *values)`` launches, ``go(stream, gx, …)`` where ``with_stream``; ``general``: the same
    as the result, for any arguments.

    Which arguments there are: all parameters where the source's signature listed them all, else those not declared constexpr.
    """
    entries = list(kernel.src.signature.values())
    passed = _passed(kernel)
    if not passed or not _simple(kernel, passed):
        return general
    pointers = [i for i in passed if entries[i].startswith("*")]
    text = _RUN.format(
        first="stream, " if with_stream else "",
        count=len(passed),
        names="".join(f"v{i}, " for i in passed),
        pointers="; ".join(f"v{i} = v{i}.data_ptr()" for i in pointers) or "pass",
        values=", ".join(f"v{i}" if i in passed else "None" for i in range(len(entries))),
    )
    space: dict[str, Any] = {"general": general, "go": go}
    exec(compile(text, f"<run of {kernel.name}>", "exec"), space)
    return space["run"]


def _passed(kernel: CompiledKernel) -> list[int]:
    """Numbers of the parameters that callers of ``run`` give values for."""
    return [i for i, name in enumerate(kernel.src.signature) if name in kernel.src.listed]


def _simple(kernel: CompiledKernel, passed: list[int]) -> bool:
    """Whether each of these parameters is a number or memory: no tuple, no descriptor."""
    entries = list(kernel.src.signature.values())
    return all(isinstance(entries[i], str) and not entries[i].startswith("tensordesc") for i in passed)


def make_native_runner(kernel: CompiledKernel, python: Callable[..., None]) -> Callable[..., None]:
    """``python``, which `make_runner` made, or native code that does the same and calls it where arguments are unusual."""
    from .compiler import argument_slots

    passed, names = _passed(kernel), list(kernel.src.signature)
    if not _simple(kernel, passed):
        return python
    numbers = {names[i]: FIXED + place for place, i in enumerate(passed)}
    slots = argument_slots(kernel.src.signature)
    if any(name not in numbers for _, _, name in slots):
        return python
    try:
        rows = [_row(kind, numbers[name], slot, name) for slot, (_, kind, name) in enumerate(slots)]
        place = driver.active.get_current_device() if kernel.target.backend == "cuda" else HOST
        maker = native_maker(place, False)
        queue = queue_of(kernel, len(slots))
        return maker.positional(python, FIXED + len(passed), rows, len(slots), kernel.living(), place, queue)
    except NotNative:
        return python


def _row(kind: str, argument: int, slot: int, name: str) -> Row:
    """What the argument is for a slot of the type ``kind``."""
    if kind.startswith("*"):
        return Row("address", argument, slot, name)
    format = slot_format(kind)
    if format == "d":
        return Row("float64", argument, slot, name)
    if format == "f4x":
        return Row("float32", argument, slot, name)
    if kind not in INTEGER_RANGES:
        raise NotNative(f"{name} is of type {kind}")
    low, high = INTEGER_RANGES[kind]
    return Row("integer", argument, slot, name, max(low, 0) if format == "Q" else low, min(high, 2**63 - 1), 1, 0)
