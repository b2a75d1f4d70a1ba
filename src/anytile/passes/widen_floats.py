"""Arithmetic on floats of 8 and 16 bits becomes f32 arithmetic between conversions.

    f(x, y) : bf16     =  fpcast→bf16( f(fpcast→f32 x, fpcast→f32 y) )
    fcmp x, y : bf16   =  fcmp(fpcast→f32 x, fpcast→f32 y)              widening is exact
    sitofp x → bf16    =  fpcast→bf16( sitofp x → f32 or f64 )          where the middle format holds x exactly

Each operation still rounds once into its own format: f32 carries more than twice the digits of every small
format plus two, so + − · / √ round as if computed at once.  Memory, select, bitcast, constants and the
operands of ``dot`` keep the small format, so only a target's loads, stores and conversions must know it.
``nextafter`` stays as well: its answer is a neighbour in the operand's own format, which f32 does not know.

A 64-bit integer may not fit f64 either.  There the low bits are first gathered into one sticky bit: with
t = (x >> 11) | (x mod 2¹¹ ≠ 0), 2¹¹·t is exact in f64 and rounds to a small format as x does; this is used
where |x| ≥ 2⁵³.

Reductions and scans of small floats run in f32 as a whole and round at the end.  Association is unspecified
anyway, and rounding once is never less accurate.  A combine block in which that is not simple (control flow,
bitcasts) keeps its format at the boundary and is widened inside.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.core import Block, Module, Op, Value
from ..ir.ops import TABLE
from ..ir.rewrite import apply, rule, rules_of
from ..ir.types import F32, F64, I64, Element, scalar
from .fold import round_float

__all__ = ["widen_floats"]

_ROWS = [d.name for d in TABLE.values() if d.group in ("float arithmetic", "mathematical functions") and d.name != "nextafter"]


def widen_floats(m: Module) -> bool:
    return apply(m, RULES)


def _small(e: Element) -> bool:
    return e.is_float and e.bits < 32


def _wide(v: Value, b: Builder) -> Value:
    return b.fpcast(v, to=F32)


@rule(*_ROWS)
def arithmetic(op, b):
    e = op.results[0].type.elem
    if not _small(e):
        return None
    got = b.make(op.defn.name, [_wide(v, b) for v in op.operands], op.attrs).results[0]
    return b.fpcast(got, to=e)


@rule("fcmp", "fptosi", "fptoui")
def from_small(op, b):
    if not _small(op.operands[0].type.elem):
        return None
    return b.make(op.defn.name, [_wide(v, b) for v in op.operands], op.attrs).results[0]


@rule("sitofp", "uitofp")
def integer_to_small(op, b):
    x, to = op.operands[0], op.attrs["to"]
    name = op.defn.name
    bits = x.type.elem.bits
    if not _small(to):
        return None
    if bits <= 32:
        return b.fpcast(b.op(name, x, to=F32 if bits <= 16 else F64), to=to)
    t = x.type
    low = b.and_(x, b.const((1 << 11) - 1, t))
    sticky = b.zext(b.icmp(low, b.const(0, t), pred="ne"), to=I64)
    high = b.op("ashr" if name == "sitofp" else "lshr", x, b.const(11, t))
    gathered = b.fmul(b.op(name, b.or_(high, sticky), to=F64), b.const(2.0**11, t.with_elem(F64)))
    limit = b.const(1 << 53, t)
    if name == "sitofp":
        fits = b.icmp(b.add(x, limit), b.const(1 << 54, t), pred="ule")  # −2⁵³ <= x <= 2⁵³
    else:
        fits = b.icmp(x, limit, pred="ule")
    return b.fpcast(b.select(fits, b.op(name, x, to=F64), gathered), to=to)


@rule("reduce", "scan")
def whole_reduction(op, b):
    if not any(_small(v.type.elem) for v in op.operands) or not _simple(op.blocks[0]):
        return None
    operands = [_wide(v, b) if _small(v.type.elem) else v for v in op.operands]
    new = b.make(op.defn.name, operands, op.attrs, blocks=(_widened(op.blocks[0]),))
    return tuple(b.fpcast(n, to=r.type.elem) if n.type is not r.type else n for n, r in zip(new.results, op.results, strict=True))


def _simple(block: Block) -> bool:
    """Whether every operation can take f32 in place of a small format."""
    return all(
        o.defn.terminator or o.defn.name == "constant" or (o.defn.elementwise and not (o.defn.name == "bitcast" and _touches_small(o)))
        for o in block.ops
    )


def _touches_small(op: Op) -> bool:
    return any(v is not None and _small(v.type.elem) for v in (*op.operands, *op.results))


def _widened(block: Block) -> Block:
    """A copy of a combine block in which f32 stands for every small format."""
    types = tuple(scalar(F32) if _small(a.type.elem) else a.type for a in block.args)
    copy = Block(types, tuple(a.name for a in block.args))
    b = Builder(copy)
    new: dict[Value, Value] = dict(zip(block.args, copy.args, strict=True))

    def widened(v: Value) -> Value:
        if v in new:
            return new[v]
        return _wide(v, b) if _small(v.type.elem) else v  # defined outside the block

    for op in block.ops:
        b.loc = op.loc
        d = op.defn
        if d.name == "constant":
            e = op.attrs["type"].elem
            value = round_float(op.attrs["value"], e) if _small(e) else op.attrs["value"]
            if value is None:  # beyond the small format: its own conversion decides
                new[op.results[0]] = _wide(b.const(op.attrs["value"], op.attrs["type"]), b)
            else:
                new[op.results[0]] = b.const(value, scalar(F32) if _small(e) else op.attrs["type"])
            continue
        operands = [widened(v) for v in op.operands if v is not None]
        if d.terminator:
            b.make(d.name, operands)
            continue
        to = op.attrs.get("to")
        got = operands[0]
        if not (d.name == "fpcast" and to is got.type.elem):  # fpcast bf16 → f32 has nothing left to do
            got = b.make(d.name, operands, op.attrs).results[0]
        # What the block itself converts to a small format rounds there, as written.
        new[op.results[0]] = _wide(got, b) if _small(got.type.elem) else got
    return copy


RULES = rules_of(globals())
