"""What the CPU target takes for granted of grids: that a program's index times its block does not leave 32 bits.

Kernels compute where they are by ``program_id(0) * BLOCK + arange(0, BLOCK)``, in 32 bits, and torch's compiler takes such numbers
apart by signed division.  Were one of them negative, its quotient by 16 would not be the same for 16 positions in a row; nothing but
an overflow can make it so.  Therefore kernels are compiled for grids of as many programs as do not overflow (two thousand million
elements), and the pool looks at each grid.  The first launch of a larger one compiles the kernel again, without that.
"""

from __future__ import annotations

from ...ir import Func, Module, Op, Value
from ...passes.simplify_ranges import simplify_ranges

__all__ = ["ANY", "Programs", "assume_grid"]

Programs = tuple[int, int, int]

_LARGEST = (1 << 31) - 1
ANY: Programs = (_LARGEST, _LARGEST, _LARGEST)
"""As many programs on each axis as a grid can have."""


def assume_grid(m: Module) -> Programs:
    """Rewrites ``m`` for grids of at most so many programs on each axis; `ANY`, and no change, where that is of no use."""
    programs = _without_overflow(m.kernel)
    return programs if programs != ANY and simplify_ranges(m, programs) else ANY


def _without_overflow(kernel: Func) -> Programs:
    """The largest extents for which no product of a program's index and a constant comes near 2³¹."""
    most = list(ANY)
    for op in kernel.walk():
        if op.name not in ("mul", "shl"):
            continue
        for x, y in (op.operands, op.operands[::-1]):
            axis, factor = _axis(x), _constant(y)
            if axis is None or factor is None or op.name == "shl" and x is not op.operands[0]:
                continue
            factor = abs(factor) if op.name == "mul" else 1 << (factor & 31)
            most[axis] = min(most[axis], max(1, _LARGEST // max(1, factor) - 1))
    return most[0], most[1], most[2]


def _axis(v: Value | None) -> int | None:
    op = _origin(v)
    return op.attrs["axis"] if op is not None and op.name == "program_id" else None


def _constant(v: Value | None) -> int | None:
    op = _origin(v)
    return op.attrs["value"] if op is not None and op.name == "constant" and isinstance(op.attrs["value"], int) else None


def _origin(v: Value | None) -> Op | None:
    op = v.op if v is not None else None
    while op is not None and op.name in ("splat", "broadcast", "expand_dims"):
        op = op.operands[0].op  # type: ignore[union-attr]
    return op
