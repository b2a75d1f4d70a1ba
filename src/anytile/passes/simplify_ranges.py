"""Uses `range_info`: comparisons that intervals decide, and signed operations on values that are not negative.

    x < y           = true                 where hi(x) < lo(y);  false where lo(x) >= hi(y);  so for every predicate
    srem, sdiv      = urem, udiv           where neither operand can be negative
    64-bit division = 32-bit division      where both operands have 32 bits, as a program's number and an extent have
    smin, smax      = one operand          where the intervals do not overlap

A mask such as ``arange(0, 64) < 64`` or ``pid >= 0`` falls away here; `canonicalize` then drops the mask operand
of loads and stores, and everything that served only the mask dies.  Unsigned division by powers of two is a
shift in every target, signed division is not.  A division of 64 bits takes five times as long as one of 32, and on GPUs is a call.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.core import Block, Module, Op, Value
from ..ir.types import I32
from .range_info import Range, RangeInfo

__all__ = ["simplify_ranges"]

_CANDIDATES = frozenset(("icmp", "srem", "sdiv", "urem", "udiv", "smin", "smax"))


def simplify_ranges(m: Module, programs: tuple[int, int, int] | None = None) -> bool:
    """``programs``: how many programs each axis of the grid may be taken to have at most; any number by default."""
    changed = False
    for f in m.funcs:
        if any(op.defn.name in _CANDIDATES for op in f.walk()):
            changed |= _block(f.body, RangeInfo(f) if programs is None else RangeInfo(f, programs))
    return changed


def _block(block: Block, info: RangeInfo) -> bool:
    changed = False
    for op in list(block.ops):
        if op.defn.name in _CANDIDATES:
            new = _simplified(op, info)
            if new is not None:
                op.results[0].replace_with(new)
                op.erase()
                changed = True
        for b in op.blocks:
            changed |= _block(b, info)
    return changed


def _decide(pred: str, x: Range, y: Range) -> bool | None:
    """The truth of ``pred`` for every pair of values, where there is one."""
    if pred in ("eq", "ne"):
        if x.hi < y.lo or y.hi < x.lo:
            return pred == "ne"
        return pred == "eq" if x.lo == x.hi == y.lo == y.hi else None
    if pred[0] == "u" and (x.lo < 0 or y.lo < 0):
        return None
    kind = pred[1:]
    if kind in ("gt", "ge"):
        x, y, kind = y, x, {"gt": "lt", "ge": "le"}[kind]
    if kind == "lt":
        return True if x.hi < y.lo else False if x.lo >= y.hi else None
    return True if x.hi <= y.lo else False if x.lo > y.hi else None


def _simplified(op: Op, info: RangeInfo) -> Value | None:
    x, y = op.operands
    assert x is not None and y is not None
    if not x.type.elem.is_int or x.type.elem.bits == 1:
        return None
    name = op.defn.name
    rx, ry = info[x], info[y]
    b = Builder(op.block, op, op.loc)  # type: ignore[arg-type]
    if name == "icmp":
        known = _decide(op.attrs["pred"], rx, ry)
        return None if known is None else b.const(int(known), op.results[0].type)
    if name in ("smin", "smax"):
        low, high = (x, y) if rx.hi <= ry.lo else (y, x) if ry.hi <= rx.lo else (None, None)
        return low if name == "smin" else high
    return _division(name, x, y, rx, ry, b)


def _division(name: str, x: Value, y: Value, rx: Range, ry: Range, b: Builder) -> Value | None:
    """A quotient or remainder without a sign where there is none, and of 32 bits where these hold both numbers."""
    unsigned, kind = rx.lo >= 0 and ry.lo >= 0, name[1:]
    if name[0] == "u" and not unsigned:
        return None
    if x.type.elem.bits == 64:
        limit = 1 << 31
        # The least number by −1 has no quotient.
        fits = -limit <= rx.lo and rx.hi < limit and -limit <= ry.lo and ry.hi < limit and (rx.lo > -limit or ry.lo > -1)
        if unsigned and max(rx.hi, ry.hi) < 2 * limit or fits:
            narrow = (b.op("trunci", v, to=I32) for v in (x, y))
            return b.op("zext" if unsigned else "sext", b.op(("u" if unsigned else "s") + kind, *narrow), to=x.type.elem)
    return b.op("u" + kind, x, y) if unsigned and name[0] == "s" else None
