"""Intervals of integer values: for each value, lo <= every lane, read as signed, <= hi.

``ranges = RangeInfo(func)`` then ``ranges[v]`` gives a `Range`; what is unknown has the full range of its
width (i1: 0 … 1).  An interval that would leave the width falls back to the full range, so a known interval of
``x + y`` narrower than full also proves that the addition does not wrap: `RangeInfo.wraps`.

Facts come from `program_id` (0 … 2³¹ − 2) and `num_programs` (1 … 2³¹ − 1), `arange`, constants, extensions, remainders, shifts, minima,
``and`` with a mask, induction variables (lb … ub − 1 for positive steps), and from a select or if as the union
of both sides.  Values that loops carry get the full range: intervals of them would need widening, and the
masks of kernels depend on induction variables rather than on carried integers.
"""

from __future__ import annotations

from typing import NamedTuple

from ..ir.core import Block, Func, Op, Value
from ..ir.types import BOOL, Element

__all__ = ["Range", "RangeInfo", "full_range"]


class Range(NamedTuple):
    lo: int
    hi: int

    def join(self, other: Range) -> Range:
        return Range(min(self.lo, other.lo), max(self.hi, other.hi))


_I31 = (1 << 31) - 1
_FULL: dict[int, Range] = {bits: Range(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)} | {1: Range(0, 1)}


def full_range(e: Element) -> Range:
    return _FULL[e.bits]


def _corners(f, x: Range, y: Range) -> Range:
    values = [f(a, b) for a in x for b in y]
    return Range(min(values), max(values))


def _quotient(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


class RangeInfo:
    """Ranges of all integer values of ``func``, computed once in textual order.

    ``programs``: how many programs each axis of the grid has at most, where that is known.
    """

    def __init__(self, func: Func, programs: tuple[int, int, int] = (_I31, _I31, _I31)):
        self.programs = programs
        self._of: dict[Value, Range] = {}
        self._block(func.body)

    def __getitem__(self, v: Value) -> Range:
        got = self._of.get(v)
        return got if got is not None else full_range(v.type.elem)

    def wraps(self, op: Op) -> bool:
        """Whether ``add``, ``sub`` or ``mul`` may leave the signed range of its width."""
        got = self._exact(op)
        full = full_range(op.results[0].type.elem)
        return got is None or got.lo < full.lo or got.hi > full.hi

    def _block(self, block: Block) -> None:
        of = self._of
        for op in block.ops:
            if op.blocks:
                self._region(op)
                continue
            f = _TRANSFER.get(op.defn.name)
            if f is None:
                continue
            got = f(self, op)
            if got is not None:
                r = op.results[0]
                full = full_range(r.type.elem)
                if got.lo >= full.lo and got.hi <= full.hi and got != full:
                    of[r] = got

    def _region(self, op: Op) -> None:
        name = op.defn.name
        if name == "for":
            iv = op.blocks[0].args[0]
            step = self[op.operands[2]]  # type: ignore[index]
            lb, ub = self[op.operands[0]], self[op.operands[1]]  # type: ignore[index]
            if not op.attrs["unsigned"] or (lb.lo >= 0 and ub.lo >= 0):
                if step.lo > 0:  # the body runs only while iv < ub
                    self._of[iv] = Range(lb.lo, max(ub.hi - 1, lb.lo))
                elif step.hi < 0:
                    self._of[iv] = Range(min(ub.lo + 1, lb.hi), lb.hi)
        for b in op.blocks:
            self._block(b)
        if name == "if":
            ends = [b.terminator.operands for b in op.blocks]
            for r, x, y in zip(op.results, *ends, strict=True):
                if r.type.elem.is_int:
                    self._of[r] = self[x].join(self[y])

    def _exact(self, op: Op) -> Range | None:
        """The interval of ``add``, ``sub`` or ``mul`` in unbounded integers."""
        x, y = (self[v] for v in op.operands)
        if op.results[0].type.elem is BOOL:
            return None
        name = op.defn.name
        if name == "add":
            return Range(x.lo + y.lo, x.hi + y.hi)
        if name == "sub":
            return Range(x.lo - y.hi, x.hi - y.lo)
        return _corners(lambda a, b: a * b, x, y) if name == "mul" else None


# --- transfer functions: (info, op) → interval or None --------------------------------------------------------


def _constant(info: RangeInfo, op: Op) -> Range | None:
    v = op.attrs["value"]
    return Range(v, v) if isinstance(v, int) and op.results[0].type.elem.is_int else None


def _through(info: RangeInfo, op: Op) -> Range | None:
    return info[op.operands[0]] if op.results[0].type.elem.is_int else None  # type: ignore[index]


def _sext(info: RangeInfo, op: Op) -> Range | None:
    x = op.operands[0]
    return Range(-1, 0) if x.type.elem is BOOL else info[x]  # type: ignore[union-attr,index]


def _zext(info: RangeInfo, op: Op) -> Range | None:
    x = info[op.operands[0]]  # type: ignore[index]
    return x if x.lo >= 0 else Range(0, (1 << op.operands[0].type.elem.bits) - 1)  # type: ignore[union-attr]


def _trunci(info: RangeInfo, op: Op) -> Range | None:
    x = info[op.operands[0]]  # type: ignore[index]
    full = full_range(op.attrs["to"])
    return x if full.lo <= x.lo and x.hi <= full.hi else None


def _and(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    tops = [r.hi for r in (x, y) if r.lo >= 0]  # one side that is not negative bounds the result
    return Range(0, min(tops)) if tops else None


def _or_xor(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    if x.lo < 0 or y.lo < 0:
        return None
    top = (1 << max(x.hi, y.hi).bit_length()) - 1
    return Range(max(x.lo, y.lo) if op.defn.name == "or" else 0, top)


def _udivlike(op: Op, x: Range, y: Range) -> bool:
    """Whether an unsigned row can be read as signed."""
    return op.defn.name[0] == "s" or (x.lo >= 0 and y.lo >= 0)


def _div(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    if not _udivlike(op, x, y) or y.lo <= 0 or op.results[0].type.elem is BOOL:
        return None
    return _corners(_quotient, x, y)


def _rem(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    if not _udivlike(op, x, y) or y.lo <= 0 or op.results[0].type.elem is BOOL:
        return None
    top = y.hi - 1
    return Range(max(x.lo, -top) if x.lo < 0 else 0, min(max(x.hi, 0), top))


def _min_max(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    name = op.defn.name
    if op.results[0].type.elem is BOOL or (name[0] == "u" and (x.lo < 0 or y.lo < 0)):
        return None
    f = min if name[1:] == "min" else max
    return Range(f(x.lo, y.lo), f(x.hi, y.hi))


def _shift(info: RangeInfo, op: Op) -> Range | None:
    x, y = (info[v] for v in op.operands)
    bits = op.results[0].type.elem.bits
    if y.lo < 0 or y.hi >= bits or bits == 1:
        return None
    name = op.defn.name
    if name == "shl":
        return _corners(lambda a, b: a << b, x, y)
    if name == "lshr" and x.lo < 0:
        return None
    return _corners(lambda a, b: a >> b, x, y)


def _select(info: RangeInfo, op: Op) -> Range | None:
    if not op.results[0].type.elem.is_int:
        return None
    return info[op.operands[1]].join(info[op.operands[2]])  # type: ignore[index]


def _iabs(info: RangeInfo, op: Op) -> Range | None:
    x = info[op.operands[0]]  # type: ignore[index]
    full = full_range(op.results[0].type.elem)
    if x.lo == full.lo:
        return None
    return Range(0 if x.lo <= 0 <= x.hi else min(abs(x.lo), abs(x.hi)), max(abs(x.lo), abs(x.hi)))


_TRANSFER = {
    "constant": _constant,
    "arange": lambda info, op: Range(op.attrs["start"], op.attrs["end"] - 1),
    "program_id": lambda info, op: Range(0, info.programs[op.attrs["axis"]] - 1),
    "num_programs": lambda info, op: Range(1, info.programs[op.attrs["axis"]]),
    "splat": _through,
    "broadcast": _through,
    "expand_dims": _through,
    "reshape": _through,
    "permute": _through,
    "hint": _through,
    "gather": _through,
    "add": RangeInfo._exact,
    "sub": RangeInfo._exact,
    "mul": RangeInfo._exact,
    "sext": _sext,
    "zext": _zext,
    "trunci": _trunci,
    "and": _and,
    "or": _or_xor,
    "xor": _or_xor,
    "sdiv": _div,
    "udiv": _div,
    "srem": _rem,
    "urem": _rem,
    "smin": _min_max,
    "smax": _min_max,
    "umin": _min_max,
    "umax": _min_max,
    "shl": _shift,
    "ashr": _shift,
    "lshr": _shift,
    "select": _select,
    "iabs": _iabs,
}
