"""What a tile value looks like at one place of a loop nest.

A nest evaluates tiles at an index: one dimension carries the vector (W consecutive positions), the others
are single positions.  There a value is a `Lane` of one of three shapes, as Halide's Broadcast and Ramp:

    UNIFORM  one scalar for all W lanes          base
    RAMP     integers or addresses in a row      base, base + stride, … base + (W−1)·stride
    VECTOR   anything else                       an LLVM vector of W elements

Index arithmetic stays UNIFORM or RAMP down to the load that consumes it, so contiguous accesses are known
without any analysis: a RAMP address of stride 1 *is* a vector load.

``level`` says in which loop the value is fixed (0: outside the nest); an instruction is written at the
highest level of its operands, which is loop-invariant code motion by construction.
``align`` is a power of two that divides the scalar (in elements, for addresses: bytes); it lets
``(pid·64 + arange) % n`` stay a RAMP where n is a multiple of W.
"""

from __future__ import annotations

from ...ir.types import Element

__all__ = ["Lane", "UNIFORM", "RAMP", "VECTOR", "uniform", "ramp", "vector"]

UNIFORM, RAMP, VECTOR = "uniform", "ramp", "vector"


class Lane:
    """``val``: LLVM operand text (scalar base, or vector).  ``stride``: int or operand text, RAMP only.

    ``const`` is the Python value of a UNIFORM known at compile time.
    """

    __slots__ = ("kind", "val", "elem", "stride", "align", "level", "const")

    def __init__(self, kind: str, val: str, elem: Element, stride: int | str = 0, align: int = 1, level: int = 0, const=None):
        self.kind, self.val, self.elem, self.stride = kind, val, elem, stride
        self.align, self.level, self.const = align, level, const

    @property
    def key(self) -> tuple[str, int | str]:
        return (self.val, self.stride if self.kind is RAMP else self.kind)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.val} {self.elem} stride={self.stride} level={self.level}>"


def uniform(val: str, elem: Element, level: int = 0, align: int = 1, const=None) -> Lane:
    return Lane(UNIFORM, val, elem, 0, align, level, const)


def ramp(base: str, elem: Element, stride: int | str, level: int, align: int = 1) -> Lane:
    return Lane(RAMP, base, elem, stride, align, level)


def vector(val: str, elem: Element, level: int) -> Lane:
    return Lane(VECTOR, val, elem, 0, 1, level)


def power_of_two_in(n: int) -> int:
    """The largest power of two that divides ``n`` (a large one for 0)."""
    return (n & -n) if n else 1 << 30
