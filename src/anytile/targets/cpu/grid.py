"""What the CPU target takes for granted of grids: that a program's index times its block does not leave 32 bits.

Kernels compute where they are by ``program_id(0) * BLOCK + arange(0, BLOCK)``, in 32 bits, and torch's compiler takes such numbers
apart by signed division.  Were one of them negative, its quotient by 16 would not be the same for 16 positions in a row; nothing but
an overflow can make it so.  Therefore kernels are compiled for grids of as many programs as do not overflow (two thousand million
elements), and the pool looks at each grid.  The first launch of a larger one compiles the kernel again, without that.
"""

from __future__ import annotations

from ...ir import Builder, Func, Module, Op, Value
from ...ir.types import I32
from ...passes.range_info import RangeInfo
from ...passes.simplify_ranges import simplify_ranges

__all__ = ["ANY", "Programs", "assume_grid"]

Programs = tuple[int, int, int]

_LARGEST = (1 << 31) - 1
ANY: Programs = (_LARGEST, _LARGEST, _LARGEST)
"""As many programs on each axis as a grid can have."""


def assume_grid(m: Module) -> Programs:
    """Rewrites ``m`` for grids of at most so many programs on each axis; `ANY`, and no change, where that is of no use."""
    programs = _without_overflow(m.kernel)
    if programs == ANY:
        return ANY
    changed = simplify_ranges(m, programs)
    return programs if _divide_by_magnitude(m.kernel, programs) or changed else ANY


def _divide_by_magnitude(kernel: Func, programs: Programs) -> bool:
    """Signed divisions of a tile that is not negative by a scalar of unknown sign, as unsigned ones by its magnitude.

    Extents that a kernel is given (``xindex // ks0``) are such scalars, often of 64 bits where the positions have 32: then the
    magnitude is held to 2³¹, beyond which nothing changes any more, and the division is one of 32 bits.
    """
    changed = False
    info = RangeInfo(kernel, programs)
    for op in list(kernel.walk()):
        if op.name not in ("sdiv", "srem") or not op.result.type.rank:
            continue
        x, y = op.operands
        divisor = _scalar(y)
        if divisor is None or _constant(y) is not None or info[x].lo < 0:  # type: ignore[index]
            continue
        b = Builder(op.block, op, op.loc)  # type: ignore[arg-type]
        magnitude = b.op("iabs", divisor)
        wide = x.type.elem  # type: ignore[union-attr]
        narrow = wide.bits == 64 and info[x].hi <= _LARGEST  # type: ignore[index]
        if narrow:
            magnitude = b.op("trunci", b.op("umin", magnitude, b.const(1 << 31, wide)), to=I32)
            x = b.op("trunci", x, to=I32)
        name = "udiv" if op.name == "sdiv" else "urem"
        shape = op.result.type.shape
        new = b.op(name, x, b.op("splat", magnitude, shape=shape))
        if narrow:
            new = b.op("zext", new, to=wide)
        if op.name == "sdiv":
            negative = b.op("icmp", divisor, b.const(0, wide), pred="slt")
            sign = b.op("select", negative, b.const(-1, wide), b.const(1, wide))
            new = b.op("mul", new, b.op("splat", sign, shape=shape))
        op.result.replace_with(new)
        op.erase()
        changed = True
    return changed


def _scalar(v: Value | None) -> Value | None:
    """The scalar that fills tile ``v``."""
    while v is not None and v.op is not None and v.op.name in ("splat", "broadcast", "expand_dims"):
        v = v.op.operands[0]
    return v if v is not None and not v.type.rank else None


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
