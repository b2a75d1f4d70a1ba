"""Writing two tiles that are joined along a new last dimension: x0, y0, x1, y1 …

Quantised weights hold two numbers in a byte, and what unpacks them ends in a join.  A nest over the joined tile would run its
vector along either operand and scatter.  This one evaluates a vector of each, interleaves them in registers, and stores both at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Value
from ...ir.types import BOOL, I32
from .lanes import Lane
from .memory import Buffer
from .nest import Nest
from .roots import Root, WriteRoot
from .shape import choose_unroll
from .text import llvm_type

if TYPE_CHECKING:
    from .program import Program

__all__ = ["JoinNest", "interleaves", "is_join"]


def is_join(roots: list[Root]) -> bool:
    """Whether the nest only writes a join, of rows, to where its pairs lie side by side."""
    if len(roots) != 1 or not isinstance(roots[0], WriteRoot):
        return False
    return interleaves(roots[0].value) and roots[0].into.strides[-2:] == (2, 1)


def interleaves(v: Value) -> bool:
    """Whether ``v`` is a join of rows."""
    return v.is_op("join") and v.type.rank > 1 and v.type.shape[-2] > 1 and v.type.elem is not BOOL


class JoinNest(Nest):
    """Fills the buffer of ``root``, whose value is a join."""

    def __init__(self, program: Program, root: WriteRoot):
        assert root.value.op is not None
        self.into, shape = root.into, root.value.type.shape[:-1]
        self.parts: list[Root] = [WriteRoot(x, root.into) for x in root.value.op.operands if x is not None]
        width, d = min(program.machine.lanes, shape[-1]), len(shape) - 1
        super().__init__(program, shape, d, width, choose_unroll(program, shape, self.parts, d, width, None))

    def write(self) -> None:
        self.run(self.parts)

    def _leaf(self, idx: tuple[Lane, ...], u: int, accs: list) -> None:
        m, W, e = self.m, self.m.width, self.into.elem
        x, y = (m.vec(self.ev(r.value, idx)) for r in self.parts if isinstance(r, WriteRoot))
        t, pairs = llvm_type(e), ", ".join(f"i32 {i // 2 + i % 2 * W}" for i in range(2 * W))
        both = self.w.ins(f"shufflevector <{W} x {t}> {x}, <{W} x {t}> {y}, <{2 * W} x i32> <{pairs}>")
        firsts = Buffer(self.into.ptr, e, self.shape, self.into.strides[:-1])
        at = m.const(0, I32)
        for i, stride in zip(idx, firsts.strides):
            at = m.binary("add", at, m.binary("mul", i, m.const(stride, I32)))
        place = self.w.ins(f"getelementptr {t}, ptr {firsts.ptr}, i32 {at.val}")
        self.w.put(f"store <{2 * W} x {t}> {both}, ptr {place}, align {e.bytes}")
