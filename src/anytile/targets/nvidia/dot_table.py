"""The instructions ``mma.sync``, by the element types that they multiply and add to."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Op
from ...ir.types import BF16, F8E4M3, F8E5M2, F16, F32, I8, I32, Element

__all__ = ["INSTRUCTIONS", "Instruction", "instruction"]


@dataclass(frozen=True)
class Instruction:
    """``mma.sync`` on operands of ``types``; ``pack`` elements fill a 32-bit register.  Integers are added with saturation."""

    types: str
    pack: int
    since: int
    result: str = "f32"

    @property
    def k(self) -> int:
        return 8 * self.pack


INSTRUCTIONS: dict[tuple[Element, Element], Instruction] = {
    (F16, F32): Instruction("f16.f16", 2, 80),
    (F16, F16): Instruction("f16.f16", 2, 80, "f16"),
    (BF16, F32): Instruction("bf16.bf16", 2, 80),
    (F32, F32): Instruction("tf32.tf32", 1, 80),
    (I8, I32): Instruction("s8.s8", 4, 80, "s32"),
    (F8E4M3, F32): Instruction("e4m3.e4m3", 4, 89),
    (F8E5M2, F32): Instruction("e5m2.e5m2", 4, 89),
}
"""(operands, accumulator) → the instruction."""


def instruction(op: Op, sm: int) -> Instruction | None:
    """The tensor-core instruction for ``op`` on compute capability ``sm``; None: multiply-adds."""
    a, b, acc = (v.type for v in op.operands)
    row = INSTRUCTIONS.get((a.elem, acc.elem))
    if row is None or a.elem is not b.elem or sm < row.since:
        return None
    if a.elem is F32 and op.attrs["precision"] not in ("tf32", "tf32x3"):
        return None
    m, n, k = acc.shape[-2], acc.shape[-1], a.shape[-1]
    return row if m >= 16 and n >= 8 and k >= row.k else None
