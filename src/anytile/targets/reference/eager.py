"""Executing operations while they are being made, so that a kernel runs as the Python function that it is.

`EagerBuilder` has the interface of `ir.Builder`.  Each operation is checked against its table row as usual, then
executed at once; its results are `EagerValue`s, which carry their array.  Whatever records through a Builder
(the language, math expansions) therefore computes, and ``print``, ``breakpoint()`` and exceptions in the kernel's
Python body see values.  Blocks of reduce, scan and map stay recorded IR: they run on whole arrays.

What it cannot do: blocks of ``for``, ``while`` and ``if`` are not needed, for Python itself branches and loops.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import CodeType
from typing import Any

import numpy as np

from ...ir import UNKNOWN, Block, Builder, Loc, Op, Type, Value
from .. import formats
from .executor import Program, execute

__all__ = ["EagerBuilder", "EagerValue"]


class EagerValue(Value):
    """A value that is known: ``data`` is its array, laid out as `formats.storage` says."""

    __slots__ = ("data",)

    def __init__(self, type: Type, owner: Block, index: int, data: np.ndarray):
        super().__init__(type, owner, index)
        self.data = data

    def numpy(self, signed: bool = True) -> np.ndarray:
        """The numbers themselves: narrow floats decoded to float32, integers read with the given signedness."""
        elem = self.type.elem
        if elem.is_float:
            return self.data if elem.bits >= 32 else formats.decode(self.data, elem)  # type: ignore[arg-type]
        if elem.is_int and elem.bits > 1 and not signed:
            return self.data.view(formats.unsigned(elem.bits))
        return self.data

    def __repr__(self) -> str:
        return f"<{self.type}: {self.numpy()}>"


class EagerBuilder(Builder):
    """Runs operations for one `Program` at a time; ``program`` may be exchanged between kernels' runs.

    ``sources``: code object of each running kernel function → (file, name); `loc` finds the innermost of them on
    Python's stack, so errors and asserts name the kernel's current line.
    """

    __slots__ = ("program", "sources")

    def __init__(self, program: Program):
        self.block, self.before = Block(), None
        self.program = program
        self.sources: dict[CodeType, tuple[str, str]] = {}

    @property
    def loc(self) -> Loc:  # type: ignore[override]
        frame = sys._getframe(1)
        while frame is not None:
            known = self.sources.get(frame.f_code)
            if known is not None:
                return Loc(known[0], frame.f_lineno, 0, known[1])
            frame = frame.f_back  # type: ignore[assignment]
        return UNKNOWN

    def value(self, type: Type, data: np.ndarray) -> EagerValue:
        """A value that no operation made, such as an argument of the kernel."""
        return EagerValue(type, self.block, 0, data)

    def make(
        self,
        name: str,
        operands: Sequence[Value | None] = (),
        attrs: dict[str, Any] | None = None,
        blocks: tuple[Block, ...] = (),
        types: tuple[Type, ...] | None = None,
    ) -> Op:
        """The operation, executed: its results are EagerValues."""
        op = super().make(name, operands, attrs, blocks, types)
        for block in blocks:
            for inner in block.walk():
                for v in inner.operands:
                    if isinstance(v, EagerValue):  # a block may use values from outside it
                        self.program.env[v] = v.data
        arrays = [None if v is None else v.data for v in op.operands]  # type: ignore[attr-defined]
        out = execute(self.program, op, arrays)
        op.results = [EagerValue(r.type, self.block, i, y) for i, (r, y) in enumerate(zip(op.results, out))]
        # Nothing looks back at an executed operation; without this every array would live as long as the program.
        self.block.ops.clear()
        op.drop_uses()
        return op
