"""Requests for the rows of a tile that is stored after a loop of dots.

The product's rows lie pages apart, where no hardware prefetcher follows, and a store waits until its line is there.  So before the
loop begins the lines are requested, to be written: they arrive while the dots are computed.

With the branch that computes into the loop's home (`Planner._settle`) this took Unsloth's gradient of expert weights (1024 tiles of 32×32 for
each of eight experts, two or three dots each) from 32 to 27 ms on two Cascade Lake cores; a product of 1024³ gains one per cent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Value
from .lanes import Lane
from .nest import Nest

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Requests"]


class Requests(Nest):
    """A nest without roots over the rows at ``pointer``, a tile of pointers that is contiguous in its last dimension."""

    def __init__(self, program: Program, pointer: Value):
        super().__init__(program, pointer.type.shape, pointer.type.rank - 1, 1, 1)
        self.pointer = pointer
        program.requested.add(pointer)

    def _vector(self, idx: list[Lane]) -> None:
        row = self.ev(self.pointer, (*idx[:-1], self.m.const(0, idx[-1].elem)))
        for ahead in range(0, self.shape[-1] * self.pointer.type.elem.pointee.bytes, 64):  # type: ignore[attr-defined]
            self._request(self.m.emit(f"getelementptr i8, ptr {row.val}, i64 {ahead}", row.level), write=True)
