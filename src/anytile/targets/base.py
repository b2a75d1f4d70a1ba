"""What a target is, and the argument block that every target's kernels take.

A target turns an `ir.Module` into an `Artifact` (text and bytes that can lie in a disk cache and a
dictionary of JSON-able facts) and an artifact into a `Loaded` kernel that can be launched.

Argument block: one 8-byte little-endian slot per runtime parameter of the kernel, in order.  Pointers are
addresses, integers are sign-extended, f64 fills the slot, narrower floats are passed as f32 in the slot's
low half.  `struct_format` gives the `struct` format for it, so a launch packs with one call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from ..ir import Module, Type

__all__ = ["Artifact", "Loaded", "Target", "struct_format"]


@dataclass(frozen=True)
class Artifact:
    """``stages``: name → text or bytes, in the order made (``tile``, ``llir``, ``asm``, ``obj`` …).

    ``metadata`` holds what loading needs (``name``, ``slots``, ``scratch`` …); JSON-able.
    """

    stages: dict[str, str | bytes]
    metadata: dict[str, Any] = field(default_factory=dict)


class Loaded(Protocol):
    """A kernel ready to launch."""

    metadata: dict[str, Any]

    def run(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        """Runs the grid and returns when it is done.  Raises RuntimeError where a device assert failed."""


class Target(Protocol):
    name: str  # "cpu", "reference", "nvidia"

    def fingerprint(self) -> str:
        """Names everything about target and tool versions that the artifact depends on."""

    def compile(self, module: Module, options: Any) -> Artifact: ...

    def load(self, artifact: Artifact) -> Loaded: ...


def struct_format(types: list[Type]) -> str:
    """The `struct` format of an argument block of these parameter types."""
    out = "<"
    for t in types:
        e = t.elem
        if e.is_ptr:
            out += "Q"
        elif e.is_int:
            out += "q"
        else:
            out += "d" if e.bits == 64 else "f4x"
    return out
