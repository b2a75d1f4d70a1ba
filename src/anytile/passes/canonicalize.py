"""Simplifies every operation locally, until nothing simplifies any more.

Three groups of rules work together:

here              constants and algebra:  f(c₁, c₂) = c;  x + 0 = x;  (x + c₁) + c₂ = x + (c₁ + c₂);
                  conversions of conversions;  masks that are all true or all false
shape_rules       tiles of low rank stay low-rank:  f(splat a, splat b) = splat f(a, b),
                  f(broadcast a, broadcast b) = broadcast f(a, b);  reshape of reshape …
control_rules     constant conditions, loops of zero and one trip, values that loops carry unchanged

Canonical forms which later passes rely on
- Constants stand on the right of commutative operations, and ``x − c`` is ``x + (−c)``.
- A tile constant is one `constant`, never splat, broadcast or reshape of one.
- A uniform tile is one `splat` of a scalar; a uniform part of a pointer lies in the scalar base:
  ``addptr(addptr(splat p, t), splat s) = addptr(splat(addptr(p, s)), t)``.  Addresses are 64 bits wide and
  wrap, so this order gives the same address.

Float identities are only those that hold for every operand, −0, infinities and NaN included:
``x · 1``, ``x / 1``, ``x + (−0)``, ``x − 0``, and division by a power of two as a product.
"""

from __future__ import annotations

import math

from ..ir.builder import canonical
from ..ir.core import Module, Op, Value
from ..ir.rewrite import CHANGED, apply, const_value, rule, rules_of, uniform_scalar
from ..ir.types import BOOL, Element, Float
from . import control_rules, shape_rules
from .fold import compare_ints, round_float

__all__ = ["canonicalize"]


def canonicalize(m: Module) -> bool:
    return apply(m, RULES)


def _inner(v: Value, name: str) -> Op | None:
    """The operation that defines ``v`` if it is called ``name``."""
    o = v.owner
    return o if type(o) is Op and o.defn.name == name else None


def _is(v: Value, number: int) -> bool:
    got = const_value(v)
    return got is not None and got == number


def _uniformity(v: Value) -> int:
    """2 for constants, 1 for splats, 0 for what differs by lane (and for scalars)."""
    o = v.owner
    return {"constant": 2, "splat": 1}.get(o.defn.name, 0) if type(o) is Op else 0


def _all_ones(e: Element) -> int:
    return int(canonical(-1, e))


# --- integers ---------------------------------------------------------------------------------------------


@rule("add", "mul", "and", "or", "xor", "smin", "smax", "umin", "umax", "fadd", "fmul")
def constant_right(op, b):
    # c + x = x + c;  splat a + x = x + splat a
    x, y = op.operands
    if _uniformity(x) > _uniformity(y):
        op.set_operands([y, x])
        return CHANGED
    return None


@rule("add", "mul", "and", "or", "xor")
def reassociate_constants(op, b):
    # (x ∘ c₁) ∘ c₂ = x ∘ (c₁ ∘ c₂): wrapping arithmetic is associative
    x, y = op.operands
    c2 = const_value(y)
    if c2 is None or (inner := _inner(x, op.defn.name)) is None:
        return None
    c1 = const_value(inner.operands[1])
    if c1 is None:
        return None
    c = {"add": c1 + c2, "mul": c1 * c2, "and": c1 & c2, "or": c1 | c2, "xor": c1 ^ c2}[op.defn.name]
    return b.op(op.defn.name, inner.operands[0], b.const(c, y.type))


@rule("add")
def reassociate_uniform(op, b):
    # (x + splat a) + splat c = x + splat(a + c): one tile operation fewer
    x, y = op.operands
    if not y.type.shape or (inner := _inner(x, "add")) is None:
        return None
    a, c = _inner(inner.operands[1], "splat"), _inner(y, "splat")
    if a is None or c is None:
        return None
    return b.add(inner.operands[0], b.splat(b.add(a.operands[0], c.operands[0]), shape=y.type.shape))


@rule("add", "or", "xor")
def zero_right(op, b):
    # x + 0 = x | 0 = x ^ 0 = x
    x, y = op.operands
    return x if _is(y, 0) else None


@rule("sub")
def subtract(op, b):
    # x − x = 0;  x − c = x + (−c);  for i1 both are xor
    x, y = op.operands
    if x is y:
        return b.const(0, x.type)
    c = const_value(y)
    return None if c is None else b.add(x, b.const(-c, y.type))


@rule("shl", "lshr", "ashr")
def shift_by_zero(op, b):
    x, y = op.operands
    return x if _is(y, 0) else None


@rule("mul")
def multiply(op, b):
    # x · 0 = 0;  x · 1 = x
    x, y = op.operands
    if _is(y, 0):
        return y
    return x if op.results[0].type.elem.bits > 1 and _is(y, 1) else None


@rule("sdiv", "udiv")
def divide_by_one(op, b):
    x, y = op.operands
    return x if y.type.elem.bits > 1 and _is(y, 1) else None


@rule("srem", "urem")
def remainder_by_one(op, b):
    x, y = op.operands
    return b.const(0, x.type) if y.type.elem.bits > 1 and _is(y, 1) else None


@rule("and")
def conjunction(op, b):
    # x & x = x;  x & 0 = 0;  x & ~0 = x
    x, y = op.operands
    if x is y or _is(y, _all_ones(x.type.elem)):
        return x
    return y if _is(y, 0) else None


@rule("or")
def disjunction(op, b):
    # x | x = x;  x | ~0 = ~0
    x, y = op.operands
    if x is y:
        return x
    return y if _is(y, _all_ones(x.type.elem)) else None


_NOT = {"eq": "ne", "slt": "sge", "sle": "sgt", "ult": "uge", "ule": "ugt"}
_NOT.update({v: k for k, v in _NOT.items()})


@rule("xor")
def exclusive(op, b):
    # x ^ x = 0;  !(x < y) = x >= y
    x, y = op.operands
    if x is y:
        return b.const(0, x.type)
    if x.type.elem is BOOL and _is(y, 1) and (cmp := _inner(x, "icmp")) is not None:
        return b.icmp(*cmp.operands, pred=_NOT[cmp.attrs["pred"]])
    return None


@rule("smin", "smax", "umin", "umax", "fmin", "fmax", "fminimum", "fmaximum")
def extremum_of_same(op, b):
    x, y = op.operands
    return x if x is y else None


# --- floats -----------------------------------------------------------------------------------------------


@rule("fadd")
def add_negative_zero(op, b):
    # x + (−0) = x, also for x = +0 and x = −0
    x, y = op.operands
    c = const_value(y)
    return x if c == 0 and math.copysign(1, c) < 0 else None


@rule("fsub")
def subtract_zero(op, b):
    # x − (+0) = x
    x, y = op.operands
    c = const_value(y)
    return x if c == 0 and math.copysign(1, c) > 0 else None


@rule("fmul", "fdiv")
def multiply_by_one(op, b):
    x, y = op.operands
    return x if _is(y, 1) else None


@rule("fdiv")
def divide_by_power_of_two(op, b):
    # x / 2ᵏ = x · 2⁻ᵏ: both are exact scalings with one rounding, as long as 2⁻ᵏ is a normal number
    x, y = op.operands
    c = const_value(y)
    e = x.type.elem
    if not c or not math.isfinite(c) or round_float(c, e) != c:
        return None
    mantissa, exponent = math.frexp(c)
    if abs(mantissa) != 0.5 or not 2 - e.bias <= 2 - exponent < e.bias:
        return None
    return b.fmul(x, b.const(1.0 / c, y.type))


@rule("fneg")
def negate_twice(op, b):
    inner = _inner(op.operands[0], "fneg")
    return inner.operands[0] if inner else None


@rule("fabs")
def absolute_of_signed(op, b):
    # ||x|| = |x|;  |−x| = |x|
    x = op.operands[0]
    if _inner(x, "fabs"):
        return x
    inner = _inner(x, "fneg")
    return b.fabs(inner.operands[0]) if inner else None


# --- comparison and choice --------------------------------------------------------------------------------

_SWAPPED = {"eq": "eq", "ne": "ne", "slt": "sgt", "sle": "sge", "ult": "ugt", "ule": "uge"}
_SWAPPED.update({v: k for k, v in _SWAPPED.items()})


@rule("icmp")
def compare(op, b):
    x, y = op.operands
    pred = op.attrs["pred"]
    if x is y:  # x < x is false, x <= x is true
        return b.const(int(compare_ints(pred, 0, 0, 1)), op.results[0].type)
    if const_value(x) is not None and const_value(y) is None:  # c < x  is  x > c
        return b.icmp(y, x, pred=_SWAPPED[pred])
    if pred in ("eq", "ne") and x.type.elem.is_int and _is(y, 0):
        # zext(flag) ≠ 0 is flag
        for name in ("zext", "sext"):
            if (wide := _inner(x, name)) is not None and wide.operands[0].type.elem is BOOL:
                flag = wide.operands[0]
                return flag if pred == "ne" else b.xor(flag, b.const(1, flag.type))
    if x.type.elem is BOOL and pred in ("eq", "ne") and (c := const_value(y)) is not None:
        # flag ≠ 0 is flag; flag = 0 is !flag
        return x if (pred == "ne") == (c == 0) else b.xor(x, b.const(1, x.type))
    return None


@rule("select")
def choose(op, b):
    cond, x, y = op.operands
    if x is y:
        return x
    c = const_value(cond)
    if c is not None:
        return x if c else y
    if x.type.elem is BOOL:
        cx, cy = const_value(x), const_value(y)
        if cx == 1:  # c ? true : y  is  c | y
            return b.or_(cond, y)
        if cy == 0:  # c ? x : false  is  c & x
            return b.and_(cond, x)
        if cx == 0 and cy == 1:
            return b.xor(cond, b.const(1, cond.type))
    if (flip := _inner(cond, "xor")) is not None and _is(flip.operands[1], 1):  # !c ? x : y  is  c ? y : x
        return b.select(flip.operands[0], y, x)
    return None


# --- conversions ------------------------------------------------------------------------------------------


def exact_conversion(a: Float, to: Float) -> bool:
    """Whether every value of format ``a`` exists in ``to`` (signed zero, infinities and NaN included)."""
    if a is to:
        return True
    if to.finite and not a.finite or to.fnuz and not a.fnuz:
        return False
    covers_large = (1 << a.exponent) - a.bias <= (1 << to.exponent) - to.bias - (0 if a.finite == to.finite else 1)
    covers_small = 1 - a.bias - a.mantissa >= 1 - to.bias - to.mantissa
    return a.mantissa <= to.mantissa and covers_large and covers_small


@rule("fpcast")
def float_conversions(op, b):
    # fpcast(x → same) = x;  fpcast(fpcast(x → wider) → f) = fpcast(x → f)
    x = op.operands[0]
    to = op.attrs["to"]
    if x.type.elem is to:
        return x
    inner = _inner(x, "fpcast")
    if inner is not None and exact_conversion(inner.operands[0].type.elem, x.type.elem):
        source = inner.operands[0]
        return source if source.type.elem is to else b.fpcast(source, to=to, rounding=op.attrs["rounding"])
    return None


@rule("trunci")
def truncate_extended(op, b):
    # the low bits of an extension are the bits that were extended
    for name in ("sext", "zext"):
        if (inner := _inner(op.operands[0], name)) is not None:
            source, to = inner.operands[0], op.attrs["to"]
            if source.type.elem is to:
                return source
            return b.op("trunci" if to.bits < source.type.elem.bits else name, source, to=to)
    if (inner := _inner(op.operands[0], "trunci")) is not None:
        return b.trunci(inner.operands[0], to=op.attrs["to"])
    return None


@rule("sext", "zext")
def extend_extended(op, b):
    # sext(sext x) = sext x;  zext(zext x) = sext(zext x) = zext x
    x, to = op.operands[0], op.attrs["to"]
    if (inner := _inner(x, "zext")) is not None:
        return b.zext(inner.operands[0], to=to)
    if op.defn.name == "sext" and (inner := _inner(x, "sext")) is not None:
        return b.sext(inner.operands[0], to=to)
    return None


@rule("sitofp", "uitofp")
def convert_extended(op, b):
    # an extended integer has the value of the narrow one
    x, to = op.operands[0], op.attrs["to"]
    if (inner := _inner(x, "zext")) is not None:
        return b.uitofp(inner.operands[0], to=to)
    if op.defn.name == "sitofp" and (inner := _inner(x, "sext")) is not None:
        return b.sitofp(inner.operands[0], to=to)
    return None


@rule("bitcast", "ptrtoint", "inttoptr")
def reinterpret_twice(op, b):
    x, to = op.operands[0], op.attrs["to"]
    name = op.defn.name
    if name == "bitcast" and x.type.elem is to:
        return x
    inner = _inner(x, {"bitcast": "bitcast", "ptrtoint": "inttoptr", "inttoptr": "ptrtoint"}[name])
    if inner is None:
        return None
    source = inner.operands[0]
    return source if source.type.elem is to else b.bitcast(source, to=to) if name == "bitcast" else None


# --- memory -----------------------------------------------------------------------------------------------


@rule("addptr")
def move_by_zero(op, b):
    return op.operands[0] if _is(op.operands[1], 0) else None


def _has_uniform_base(v: Value) -> bool:
    """Whether the addresses ``v`` are offsets from one scalar pointer."""
    while type(v.owner) is Op and v.owner.defn.name in ("addptr", "broadcast", "expand_dims", "permute"):
        v = v.owner.operands[0]
    return v.is_op("splat")


@rule("addptr")
def uniform_offset_into_base(op, b):
    # addptr(addptr(p, t), splat s) = addptr(addptr(p, splat s), t), and so on down to the scalar base of p
    p, s = op.operands
    inner = p.op
    if inner is None or not p.type.shape or not _uniformity(s) or not _has_uniform_base(p):
        return None
    if inner.defn.name == "addptr":
        x, t = inner.operands
        return None if _uniformity(t) else b.addptr(b.addptr(x, s), t)
    if inner.defn.name in ("expand_dims", "permute"):
        x = inner.operands[0]
        scalar = uniform_scalar(s, b)
        return b.op(inner.defn.name, b.addptr(x, b.splat(scalar, shape=x.type.shape)), **inner.attrs)
    return None


@rule("load")
def load_mask(op, b):
    p, mask, other = op.operands
    if mask is None:
        return b.make("load", [p], op.attrs).results[0] if other is not None else None
    c = const_value(mask)
    if c is None:
        return None
    if c:
        return b.make("load", [p], op.attrs).results[0]
    return other if other is not None else b.const(0, op.results[0].type)


@rule("store", "atomic_rmw")
def store_mask(op, b):
    *head, mask = op.operands
    c = const_value(mask)
    if c is None:
        return None
    if c:
        op.set_operands([*head, None])
        return CHANGED
    return (b.const(0, op.results[0].type),) if op.results else ()


@rule("assume", "assert")
def condition_holds(op, b):
    c = const_value(op.operands[0])
    return () if c else None


RULES = shape_rules.FOLDS + rules_of(globals()) + shape_rules.RULES + control_rules.RULES
