"""Tests of single bits: (x >> 4 & 1) ≠ 0 is (x & 16) ≠ 0, which is one instruction, and leaves `x` alone."""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.rewrite import apply, const_value, rule, rules_of
from ...ir.types import I32

__all__ = ["bit_of", "bit_tests"]

_PREDICATES = ("eq", "ne")


def bit_of(op: Op) -> tuple[Value, int] | None:
    """(x, 2ᵏ) where ``op`` is (x & 2ᵏ) ≠ 0 or = 0, of 32 bits."""
    x, zero = op.operands
    if op.attrs["pred"] not in _PREDICATES or x.type.elem is not I32 or const_value(zero) != 0 or x.op is None or x.op.name != "and":
        return None
    for a, b in (x.op.operands, x.op.operands[::-1]):
        mask = const_value(b)
        if isinstance(mask, int) and mask > 0 and mask & (mask - 1) == 0:
            return a, mask
    return None


@rule("icmp")
def of_what_was_shifted(op: Op, b: Builder) -> Value | None:
    found = bit_of(op)
    if found is None:
        return None
    x, mask = found
    if x.op is None or x.op.name not in ("ashr", "lshr"):
        return None
    by = const_value(x.op.operands[1])
    if not isinstance(by, int) or not 0 <= by < 31 or mask << by >= 1 << 31:
        return None
    bit = b.make("and", [x.op.operands[0], b.const(mask << by, x.type)], {}).result
    return b.make("icmp", [bit, op.operands[1]], {"pred": op.attrs["pred"]}).result


RULES = rules_of(globals())


def bit_tests(m: Module) -> bool:
    return apply(m, RULES)
