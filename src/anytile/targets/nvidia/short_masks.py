"""Masks of 64-bit positions, compared in 32 bits where that is the same.

    rows = chunk.to(tl.int64) * 64 + tl.arange(0, 64)
    mask = rows < n                      two comparisons a row, and a 64-bit sum before them
         = arange < n − chunk · 64       the difference once, of numbers; one comparison a row

A position is the sum of a tile of 32-bit indices and of numbers, none of which wraps around (`passes.range_info`).  What the difference has
beyond 32 bits no index reaches, so the nearest number of 32 bits does as well.  A mask of which is known that neighbours share it keeps
its comparison: whole vectors are loaded by it.
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.rewrite import const_value
from ...ir.types import I32, I64
from ...passes.axis_info import AxisInfo
from ...passes.range_info import Range, RangeInfo

__all__ = ["short_masks"]

_TURNED = {"slt": "sgt", "sle": "sge", "sgt": "slt", "sge": "sle"}
_MANY = 32
"""Positions for a warp: with fewer, the number that they are compared with costs as much as it saves."""
_FAR = 1 << 60
"""Numbers below it may be added and subtracted a few times without wrapping around."""
_LOW, _HIGH = -(1 << 31), (1 << 31) - 1


def short_masks(m: Module) -> bool:
    changed, num_warps = False, int(m.attrs.get("num_warps", 4))
    for f in m.funcs:
        wide = [op for op in f.walk() if op.name == "icmp" and op.attrs["pred"] in _TURNED and _wide(op.operands[0], num_warps)]
        if wide:
            ranges = RangeInfo(f)
            facts = AxisInfo(f, ranges)
            for op in wide:
                changed |= all(n == 1 for n in facts[op.result].constancy) and _shortened(op, ranges)
    return changed


def _wide(v: Value | None, num_warps: int) -> bool:
    return v is not None and v.type.elem is I64 and v.type.numel >= _MANY * num_warps


def _shortened(op: Op, ranges: RangeInfo) -> bool:
    assert op.block is not None
    b = Builder(op.block, op, op.loc)
    sides = [_parts(v, b, ranges) for v in op.operands if v is not None]
    if None in sides:
        return False
    (x, numbers), (y, others) = sides  # type: ignore[misc]
    pred = op.attrs["pred"]
    if x is None:
        x, y, numbers, others, pred = y, x, others, numbers, _TURNED[pred]
    if x is None or y is not None:
        return False
    end, low, high = b.const(0, I64), 0, 0
    for v, r in others:
        end, low, high = b.add(end, v), low + r.lo, high + r.hi
    for v, r in numbers:
        end, low, high = b.sub(end, v), low - r.hi, high - r.lo
    end = b.make("smax", [end, b.const(_LOW, I64)], {}).result if low < _LOW else end
    end = b.make("smin", [end, b.const(_HIGH, I64)], {}).result if high > _HIGH else end
    short = b.make("trunci", [end], {"to": I32}).result
    tile = b.make("splat", [short], {"shape": list(x.type.shape)}).result
    op.result.replace_with(b.make("icmp", [x, tile], {"pred": pred}).result)
    op.erase()
    return True


def _parts(v: Value, b: Builder, ranges: RangeInfo) -> tuple[Value | None, list[tuple[Value, Range]]] | None:
    """(tile of 32-bit indices, None: 0; numbers of 64 bits and what they may be) whose sum is ``v``; None where it is no such sum."""
    op, known = v.op, const_value(v)
    if op is None:
        return None
    if known is not None or op.name == "splat":
        number, span = (op.operands[0], ranges[op.operands[0]]) if known is None else (b.const(known, I64), Range(int(known), int(known)))
        return (None, [(number, span)]) if -_FAR < span.lo and span.hi < _FAR else None
    if op.name == "sext" and op.operands[0].type.elem is I32:
        index = op.operands[0]
        return (index, []) if _LOW < ranges[index].lo and ranges[index].hi < _HIGH else None
    if op.name in ("expand_dims", "broadcast"):
        found = _parts(op.operands[0], b, ranges)
        if found is None or found[0] is None:
            return found
        return b.make(op.name, [found[0]], dict(op.attrs)).result, found[1]
    if op.name == "add":
        one, other = (_parts(x, b, ranges) for x in op.operands if x is not None)
        if one is None or other is None or one[0] is not None and other[0] is not None:
            return None
        return (other[0] if one[0] is None else one[0]), [*one[1], *other[1]]
    return None
