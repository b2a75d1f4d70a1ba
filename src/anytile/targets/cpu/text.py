"""LLVM text as `targets.text` writes it, and the error for what the CPU target has no code for."""

from __future__ import annotations

from ...errors import UnsupportedError
from ...ir import Op
from ..text import Chunk, Writer, literal, llvm_type, memory_type

__all__ = ["Chunk", "Writer", "literal", "llvm_type", "memory_type", "unsupported"]


def unsupported(what: str, op: Op | None = None) -> UnsupportedError:
    """The error that names ``what``, and the place in the source where ``op`` comes from."""
    if op is None:
        return UnsupportedError(what, "the CPU target")
    return UnsupportedError(what, "the CPU target", f"it is used in {op.loc.function or 'a kernel'}, {op.loc.file}:{op.loc.line}")
