"""Writing LLVM IR as text.

A function body is a tree of *chunks* (lists of lines and of further chunks).  A chunk that lies before a
loop stays open while the loop is written, so an instruction which does not depend on the loop can still be
put in front of it: hoisting costs nothing and needs no pass.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..ir.types import BF16, F16, F32, F64, Element, Float

__all__ = ["INTRINSICS", "Chunk", "Writer", "literal", "llvm_type", "memory_type", "phis"]

Chunk = list[Any]

# What LLVM has a function for, named without the type of its operands.
INTRINSICS = {
    **{n: f"llvm.{n}" for n in ("smin", "smax", "umin", "umax", "fma", "floor", "ceil", "trunc", "fabs", "copysign")},
    "fmin": "llvm.minnum",
    "fmax": "llvm.maxnum",
    "fminimum": "llvm.minimum",
    "fmaximum": "llvm.maximum",
    "rint": "llvm.roundeven",
    "popc": "llvm.ctpop",
    "brev": "llvm.bitreverse",
}

_TYPES = {F16: "half", BF16: "bfloat", F32: "float", F64: "double"}


@cache
def llvm_type(e: Element) -> str:
    """LLVM's type of one lane; 8-bit floats are carried as their bits."""
    if e.is_ptr:
        return "ptr"
    if isinstance(e, Float):
        return _TYPES.get(e, "i8")
    return f"i{e.bits}"


def memory_type(e: Element) -> str:
    """LLVM's type of one element in memory: i1 lives in a byte, pointers are addresses."""
    return "i8" if e.bits == 1 else llvm_type(e)


def literal(value: int | float, e: Element) -> str:
    """A constant operand of type ``e``."""
    if e.is_ptr:
        return "null" if value == 0 else f"inttoptr (i64 {int(value)} to ptr)"
    if not isinstance(e, Float):
        if e.bits == 1:
            return "true" if value else "false"
        return str(int(value))
    if e is F64:
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if e is F32:
        return f"0x{struct.unpack('<Q', struct.pack('<d', _round32(value)))[0]:016X}"
    if e is F16:
        try:
            bits = struct.unpack("<H", struct.pack("<e", value))[0]
        except OverflowError:
            bits = 0x7C00 if value > 0 else 0xFC00
        return f"0xH{bits:04X}"
    if e is BF16:
        u = struct.unpack("<I", struct.pack("<f", _round32(value)))[0]
        if value != value:
            return "0xR7FC0"
        return "0xR%04X" % (((u + 0x7FFF + ((u >> 16) & 1)) >> 16) & 0xFFFF)
    if value == 0:
        return "0"
    import numpy as np

    from .formats import encode

    return str(encode(np.asarray(value, np.float64), e))


def _round32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def phis(hole: Chunk, types: Sequence[str], names: Sequence[str], *ways: tuple[str, Sequence[str]]) -> None:
    """Fills ``hole``, at the beginning of a block, with phis of ``names``; ``ways``: the blocks that lead here, and the values that come from each."""
    for i, (t, name) in enumerate(zip(types, names, strict=True)):
        hole.append(f"  {name} = phi {t} {', '.join(f'[ {values[i]}, %{label} ]' for label, values in ways)}")


class Writer:
    """One function's text: current chunk, current basic block, fresh names, the declarations it needs."""

    def __init__(self) -> None:
        self.root: Chunk = []
        self.cur: Chunk = self.root
        self.label = "entry"
        self.declared: dict[str, str] = {}
        self._n = 0

    def fresh(self, stem: str = "t") -> str:
        self._n += 1
        return f"%{stem}{self._n}"

    def new_label(self, stem: str) -> str:
        self._n += 1
        return f"{stem}{self._n}"

    def put(self, line: str) -> None:
        self.cur.append("  " + line)

    def ins(self, rhs: str, chunk: Chunk | None = None, stem: str = "t") -> str:
        """Appends ``%new = rhs`` to ``chunk`` (default: here) and returns its name."""
        name = self.fresh(stem)
        (self.cur if chunk is None else chunk).append(f"  {name} = {rhs}")
        return name

    def hole(self) -> Chunk:
        """An empty chunk at this place, to be filled later; writing goes on after it."""
        c: Chunk = []
        self.cur.append(c)
        return c

    def open_block(self, label: str) -> None:
        self.cur.append(f"{label}:")
        self.label = label

    def br(self, label: str) -> None:
        self.put(f"br label %{label}")

    def cond_br(self, cond: str, yes: str, no: str) -> None:
        self.put(f"br i1 {cond}, label %{yes}, label %{no}")

    def declare(self, name: str, signature: str) -> str:
        """Declares ``@name``; ``signature`` is ``ret(args)``.  Returns ``@name``."""
        ret, args = signature.split("(", 1)
        self.declared[name] = f"declare {ret} @{name}({args}"
        return "@" + name

    def text(self) -> str:
        out: list[str] = []
        stack: list[Any] = [iter(self.root)]
        while stack:
            for item in stack[-1]:
                if isinstance(item, list):
                    stack.append(iter(item))
                    break
                out.append(item)
            else:
                stack.pop()
        return "\n".join(out)
