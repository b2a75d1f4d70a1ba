"""`CompiledKernel.run`: a launch by the positional protocol of Triton's launchers.

Programs that keep a compiled kernel and launch it themselves (torch's Inductor writes a Python function for every one) call::

    kernel.run(gx, gy, gz, stream, function, packed_metadata, launch_metadata, enter_hook, exit_hook, *arguments)

Each microsecond here is paid at every launch of a compiled model, so the function is generated per kernel: it knows which
arguments are memory.  Those are asked for their address and nothing else; the caller has chosen the kernel for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler import CompiledKernel

__all__ = ["make_runner"]

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
    signature, listed = kernel.src.signature, kernel.src.listed
    entries = list(signature.values())
    passed = [i for i, name in enumerate(signature) if name in listed]
    if not passed or any(not isinstance(entries[i], str) or entries[i].startswith("tensordesc") for i in passed):
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
