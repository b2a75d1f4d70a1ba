"""Which values of f32 have no NaN but such as survive rounding to bf16 by an integer addition.

Rounding to bf16 adds up to 2¹⁵ to the bits of an f32 and takes the upper half (`math.conversions.encode`).  A NaN whose lower half is zero
comes out as it went in; one with other payload bits may carry over into the sign, or lose the bits that made it a NaN, so it has to be
looked for, which is a third of the work.

Processors of x86 and Arm make NaNs with one bit of payload, the uppermost, and an operation with NaN operands takes the payload of one of
them.  What was a bf16 has a lower half of zeros.  So arithmetic on nothing but such values and constants has only NaNs that survive, and
quiet ones.  GPUs of NVIDIA make NaNs with all bits set: there nothing of this holds.
"""

from __future__ import annotations

from ..ir import Op, Value
from ..ir.types import BF16

__all__ = ["survives_rounding"]

_ARITHMETIC = frozenset({"fadd", "fsub", "fmul", "fdiv", "fma", "sqrt"})
_MOVED = frozenset({"splat", "broadcast", "expand_dims", "reshape", "permute", "fneg", "fabs", "fmin", "fmax", "fminimum", "fmaximum"})
_DEEPEST = 64


def survives_rounding(v: Value) -> bool:
    """Whether ``v`` (f32) is arithmetic whose NaNs are quiet and have a lower half of zeros, where the processor makes no others."""
    return v.op is not None and v.op.name in _ARITHMETIC and _short(v, {}, 0)


def _short(v: Value, known: dict[Value, bool], depth: int) -> bool:
    """Whether all NaNs of ``v`` have a lower half of zeros."""
    if v not in known:
        known[v] = v.op is not None and depth < _DEEPEST and _short_result(v.op, known, depth + 1)
    return known[v]


def _short_result(op: Op, known: dict[Value, bool], depth: int) -> bool:
    if op.name in _ARITHMETIC or op.name in _MOVED:
        operands = op.operands
    elif op.name == "select":
        operands = op.operands[1:]
    elif op.name == "reduce" and all(o.name in _ARITHMETIC or o.defn.terminator for o in op.blocks[0].ops):
        operands = op.operands
    elif op.name == "fpcast":
        return op.operands[0] is not None and op.operands[0].type.elem is BF16
    else:
        return op.name in ("constant", "sitofp", "uitofp")
    return all(v is not None and _short(v, known, depth) for v in operands)
