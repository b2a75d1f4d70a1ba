"""Which values of f32 have no NaN but such as survive rounding to bf16 by an integer addition.

Rounding to bf16 adds up to 2¹⁵ to the bits of an f32 and takes the upper half (`math.conversions.encode`).  A NaN whose lower half is zero
comes out as it went in; one with other payload bits may carry over into the sign, or lose the bits that made it a NaN, so it has to be
looked for, which is a third of the work.

Processors of x86 and Arm make NaNs with one bit of payload, the uppermost, and an operation with NaN operands takes the payload of one of
them.  What was a bf16 has a lower half of zeros.  So arithmetic on nothing but such values and constants has only NaNs that survive, and
quiet ones (`survives_rounding`).  GPUs of NVIDIA make NaNs with all bits set: there nothing of this holds.

A row is often computed with a scalar that may be any NaN, such as one loaded or carried by a loop.  It is looked at once, instead of each
element that comes of it (`shorten_scalars`).
"""

from __future__ import annotations

import math

from ..ir import Builder, Module, Op, Value
from ..ir.types import BF16, F32

__all__ = ["shorten_scalars", "survives_rounding"]

_ARITHMETIC = frozenset({"fadd", "fsub", "fmul", "fdiv", "fma", "sqrt"})
_MOVED = frozenset({"splat", "broadcast", "expand_dims", "reshape", "permute", "fneg", "fabs", "fmin", "fmax", "fminimum", "fmaximum"})
_DEEPEST = 64
_LOWER = 0xFFFF


def survives_rounding(v: Value) -> bool:
    """Whether ``v`` (f32) is arithmetic whose NaNs are quiet and have a lower half of zeros, where the processor makes no others."""
    return v.op is not None and v.op.name in _ARITHMETIC and _short(v, {})


def shorten_scalars(m: Module) -> bool:
    """Lets tiles that are rounded to bf16 survive, where scalars are all that keeps them from it: each becomes the usual NaN if it is one."""
    changed = False
    for op in [o for o in m.walk() if o.name == "fpcast" and o.attrs["to"] is BF16 and o.attrs["rounding"] == "rtne"]:
        v = op.operands[0]
        if v is None or v.op is None or v.type.is_scalar or v.type.elem is not F32 or v.op.name not in _ARITHMETIC:
            continue
        found: list[tuple[Op, int]] = []
        if _scalars(v.op, {}, found):
            for user, i in found:
                _shorten(user, i)
            changed |= bool(found)
    return changed


def _scalars(op: Op, known: dict[Value, bool], found: list[tuple[Op, int]], seen: set[Op] | None = None) -> bool:
    """Whether nothing but scalars keeps ``op``'s results from being short; ``found`` gets where they are spread: (operation, operand)."""
    seen = set() if seen is None else seen
    seen.add(op)
    for i, v in _sources(op) or ():
        if _short(v, known):
            continue
        if v.op is None or v.type.is_scalar or v.type.elem is not F32 or len(seen) > _DEEPEST:
            return False
        scalar = v.op.operands[0] if v.op.name == "splat" else None
        if scalar is not None:
            found.append((op, i))
        elif v.op not in seen and (_sources(v.op) is None or not _scalars(v.op, known, found, seen)):
            return False
    return True


def _shorten(user: Op, i: int) -> None:
    spread = user.operands[i]
    assert spread is not None and spread.op is not None and user.block is not None
    b = Builder(user.block, user, user.loc)
    x = spread.op.operands[0]
    short = b.select(b.fcmp(x, x, pred="oeq"), x, b.const(math.nan, F32))
    user.set_operand(i, b.splat(short, shape=list(spread.type.shape)))


def _short(v: Value, known: dict[Value, bool], depth: int = 0) -> bool:
    """Whether all NaNs of ``v`` have a lower half of zeros."""
    if v not in known:
        known[v] = v.op is not None and depth < _DEEPEST and _short_result(v.op, known, depth + 1)
    return known[v]


def _short_result(op: Op, known: dict[Value, bool], depth: int) -> bool:
    sources = _sources(op)
    if sources is not None:
        return all(_short(v, known, depth) for _, v in sources)
    x = op.operands[0] if op.operands else None
    if op.name == "fpcast":
        return x is not None and x.type.elem is BF16
    if op.name == "bitcast":
        return x is not None and _whole(x, depth)
    return op.name in ("constant", "sitofp", "uitofp")


def _sources(op: Op) -> list[tuple[int, Value]] | None:
    """The operands (number, value) from which ``op``'s NaNs come; None where it is of no kind that takes them over as they are."""
    first = 0
    if op.name == "select":
        condition, x, _ = op.operands
        first = 2 if _is_number(condition, x) else 1
    elif op.name == "reduce":
        if not all((o.name in _ARITHMETIC or o.defn.terminator) and _within(o) for o in op.blocks[0].ops):
            return None
    elif op.name not in _ARITHMETIC and op.name not in _MOVED:
        return None
    return [(i, v) for i, v in enumerate(op.operands) if i >= first and v is not None]


def _within(op: Op) -> bool:
    """Whether ``op`` takes only what its block computes, or is given."""
    return all(v is None or (v.op.block if v.op is not None else v.owner) is op.block for v in op.operands)


def _is_number(condition: Value | None, x: Value | None) -> bool:
    """Whether ``condition`` says that ``x`` is no NaN."""
    op = condition.op if condition is not None else None
    return op is not None and op.name == "fcmp" and op.attrs["pred"] == "oeq" and op.operands[0] is x and op.operands[1] is x


def _whole(v: Value, depth: int) -> bool:
    """Whether the lower 16 bits of an i32 are zero."""
    op = v.op
    if op is None or v.type.elem.bits != 32 or depth > _DEEPEST:
        return False
    if op.name == "constant":
        return isinstance(op.attrs["value"], int) and op.attrs["value"] & _LOWER == 0
    operands = [x for x in op.operands if x is not None]
    if op.name == "shl":
        shift = operands[1].op
        return shift is not None and shift.name == "constant" and 16 <= shift.attrs["value"] < 32
    if op.name in ("add", "sub", "or", "xor"):
        return all(_whole(x, depth + 1) for x in operands)
    return op.name == "splat" and _whole(operands[0], depth + 1)
