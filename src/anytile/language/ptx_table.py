"""The PTX instructions that have a translation: name → allowed modifiers and a function that records tile IR.

Each function gets the `Translation` (registers, builder) and the `Instruction`.  A modifier that a row does not list
makes the instruction unsupported: nothing is dropped silently.  ``approx``, ``full`` and ``ftz`` are allowances to be
less exact, which no target here takes.  Source of the semantics: NVIDIA's PTX ISA, chapter "Instruction Set".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..ir import Value
from ..ir.types import BOOL, F32, I8, I16, I32, I64, int_element
from . import ptx_conversions
from .ptx import Instruction, Kind, Translation
from .ptx_conversions import resize, saturated

__all__ = ["Row", "TABLE"]

Build = Callable[[Translation, Instruction], None]


class Row(NamedTuple):
    build: Build
    modifiers: frozenset[str]


TABLE: dict[str, Row] = {}


def instruction(names: str, modifiers: str = "") -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        for name in names.split():
            TABLE[name] = Row(build, frozenset(modifiers.split()))
        return build

    return register


# --- moving ---------------------------------------------------------------------------------------------------

_TIMERS = ("%globaltimer", "%clock64", "%clock", "%globaltimer_lo")


@instruction("mov")
def _mov(t: Translation, i: Instruction) -> None:
    """d = a; ``{lo, hi}`` on either side splits or joins registers; the timers are nanoseconds; %smid is 0."""
    d, a = i.operands
    if a in _TIMERS:
        now = t.b.clock()
        t.write(d, [t.b.splat(now, shape=t.shape) if t.shape else now])
    elif a == "%smid":
        t.write(d, [t.const(0, I32)])
    elif isinstance(a, str) and a.startswith("%") and a not in t.registers:
        raise t.unsupported(i.text)
    elif isinstance(d, tuple):
        t.write(d, t.parts(a, int_element(i.kind.bits // len(d)), len(d)))
    else:
        t.write(d, t.parts(a, i.kind.elem, i.kind.lanes))


@instruction("selp")
def _selp(t: Translation, i: Instruction) -> None:
    """d = p ? a : b"""
    d, a, b, p = i.operands
    e = i.kind.elem
    t.write(d, [t.b.select(t.read(p, BOOL), t.read(a, e), t.read(b, e))])


@instruction("prmt")
def _prmt(t: Translation, i: Instruction) -> None:
    """Byte k of d is byte (nibble k of c) & 7 of {b, a}; where the nibble's top bit is set, that byte's sign in all bits."""
    d, a, b, c = i.operands
    source = [*t.parts(a, I8, 4), *t.parts(b, I8, 4)]
    selector = t.immediate(c)
    if selector is not None:
        nibbles = [selector >> (4 * k) & 15 for k in range(4)]
        t.write(d, [_sign(t, source[n & 7]) if n & 8 else source[n & 7] for n in nibbles])
        return
    out = []
    for k in range(4):
        n = t.b.lshr(t.read(c, I32), t.const(4 * k, I32))
        byte = source[0]
        for j in range(1, 8):
            byte = t.b.select(t.b.icmp(t.b.and_(n, t.const(7, I32)), t.const(j, I32), pred="eq"), source[j], byte)
        signed = t.b.icmp(t.b.and_(n, t.const(8, I32)), t.const(0, I32), pred="ne")
        out.append(t.b.select(signed, _sign(t, byte), byte))
    t.write(d, out)


def _sign(t: Translation, byte: Value) -> Value:
    return t.b.ashr(byte, t.const(7, I8))


@instruction("griddepcontrol", "wait launch_dependents")
def _griddepcontrol(t: Translation, i: Instruction) -> None:
    """Programmatic dependent launch: kernels run one after another here, so there is nothing to do."""


# --- logic and bits -------------------------------------------------------------------------------------------


@instruction("and or xor")
def _logic(t: Translation, i: Instruction) -> None:
    t.apply(i, lambda x, y: t.b.op(i.name, x, y))


@instruction("not")
def _not(t: Translation, i: Instruction) -> None:
    t.apply(i, lambda x: _inverse(t, x))


def _inverse(t: Translation, x: Value) -> Value:
    return t.b.xor(x, t.const(-1, x.type.elem))


@instruction("lop3")
def _lop3(t: Translation, i: Instruction) -> None:
    """Any function of three bits: bit a·4 + b·2 + c of the table is the result.  a chooses between two functions of b and c."""
    d, a, b, c, table = i.operands
    lut = t.immediate(table)
    if lut is None:
        raise t.unsupported(i.text)
    x, y, z = (t.read(o, I32) for o in (a, b, c))
    low, high = lut & 15, lut >> 4 & 15

    def two(table: int) -> Value:
        return _two_bits(t, y, z, table)

    if low == high:
        result = two(low)
    elif low == 0:
        result = t.b.and_(x, two(high))
    elif high == 15:
        result = t.b.or_(x, two(low))
    elif low == high ^ 15:
        result = t.b.xor(x, two(low))
    else:
        result = t.b.xor(two(low), t.b.and_(x, two(low ^ high)))
    t.write(d, [result])


def _two_bits(t: Translation, y: Value, z: Value, table: int) -> Value:
    """The function of two bits whose value is bit y·2 + z of ``table``."""
    b = t.b
    forms: dict[int, Callable[[], Value]] = {
        0: lambda: t.const(0, I32),
        2: lambda: b.and_(_inverse(t, y), z),
        4: lambda: b.and_(y, _inverse(t, z)),
        6: lambda: b.xor(y, z),
        8: lambda: b.and_(y, z),
        10: lambda: z,
        11: lambda: b.or_(_inverse(t, y), z),
        12: lambda: y,
        13: lambda: b.or_(y, _inverse(t, z)),
        14: lambda: b.or_(y, z),
    }
    return forms[table]() if table in forms else _inverse(t, forms[table ^ 15]())


@instruction("shl shr")
def _shift(t: Translation, i: Instruction) -> None:
    """Shifts by the width or more give 0, or all sign bits for shr of a signed type."""
    d, a, n = i.operands
    e, width = i.kind.elem, i.kind.bits
    x, count = t.read(a, e), t.immediate(n)
    arithmetic = i.name == "shr" and i.kind.signed
    op = "shl" if i.name == "shl" else "ashr" if arithmetic else "lshr"
    if count is not None:
        if count >= width and not arithmetic:
            t.write(d, [t.const(0, e)])
        else:
            t.write(d, [t.b.op(op, x, t.const(min(count, width - 1), e))])
        return
    by = t.read(n, I32)
    clamped = resize(t, t.b.umin(by, t.const(width - 1, I32)), e, False)
    out = t.b.op(op, x, clamped)
    if not arithmetic:
        out = t.b.select(t.b.icmp(by, t.const(width, I32), pred="ult"), out, t.const(0, e))
    t.write(d, [out])


@instruction("shf", "l r wrap clamp")
def _funnel(t: Translation, i: Instruction) -> None:
    """The 64 bits {b, a} shifted by c (mod 32, or at most 32): the high half of shf.l, the low half of shf.r."""
    d, a, b, c = i.operands
    x = t.regroup([t.read(a, I32), t.read(b, I32)], I64)[0]
    n = t.read(c, I32)
    n = t.b.and_(n, t.const(31, I32)) if "wrap" in i.modifiers else t.b.umin(n, t.const(32, I32))
    n = t.b.zext(n, to=I64)
    if "l" in i.modifiers:
        t.write(d, [t.regroup([t.b.shl(x, n)], I32)[1]])
    else:
        t.write(d, [t.b.trunci(t.b.lshr(x, n), to=I32)])


@instruction("bfe")
def _bfe(t: Translation, i: Instruction) -> None:
    """``len`` bits of a from ``pos`` up, zero- or sign-extended; 0 where len is 0."""
    d, a, pos, length = i.operands
    if i.kind.bits != 32:
        raise t.unsupported(i.text)
    b = t.b
    wide = resize(t, t.read(a, I32), I64, i.kind.signed)
    p = b.umin(b.and_(t.read(pos, I32), t.const(255, I32)), t.const(63, I32))
    n = b.umin(b.and_(t.read(length, I32), t.const(255, I32)), t.const(64, I32))
    shifted = b.ashr(wide, b.zext(p, to=I64)) if i.kind.signed else b.lshr(wide, b.zext(p, to=I64))
    empty = b.icmp(n, t.const(0, I32), pred="eq")
    unused = b.zext(b.select(empty, t.const(0, I32), b.sub(t.const(64, I32), n)), to=I64)
    left = b.shl(shifted, unused)
    field = b.trunci(b.ashr(left, unused) if i.kind.signed else b.lshr(left, unused), to=I32)
    t.write(d, [b.select(empty, t.const(0, I32), field)])


@instruction("bfi")
def _bfi(t: Translation, i: Instruction) -> None:
    """b with its ``len`` bits from ``pos`` up replaced by the low bits of a."""
    d, a, into, pos, length = i.operands
    if i.kind.bits != 32:
        raise t.unsupported(i.text)
    b = t.b
    p = b.zext(b.umin(b.and_(t.read(pos, I32), t.const(255, I32)), t.const(32, I32)), to=I64)
    n = b.zext(b.umin(b.and_(t.read(length, I32), t.const(255, I32)), t.const(32, I32)), to=I64)
    one = t.const(1, I64)
    mask = b.trunci(b.shl(b.sub(b.shl(one, n), one), p), to=I32)
    field = b.trunci(b.shl(b.zext(t.read(a, I32), to=I64), p), to=I32)
    t.write(d, [b.or_(b.and_(t.read(into, I32), _inverse(t, mask)), b.and_(field, mask))])


@instruction("popc clz brev")
def _count(t: Translation, i: Instruction) -> None:
    """popc and clz give 32 bits whatever they count in; brev keeps its type."""
    d, a = i.operands
    out = t.b.op(i.name, t.read(a, i.kind.elem))
    t.write(d, [out if i.name == "brev" else resize(t, out, I32, False)])


@instruction("fns")
def _find_nth_set(t: Translation, i: Instruction) -> None:
    """The position of the n-th set bit of a: upwards from bit ``base`` for n > 0, downwards for n < 0, that bit itself for n = 0; -1 if none."""
    d, a, base, nth = i.operands
    b, mask, start, n = t.b, t.read(a, I32), t.b.and_(t.read(base, I32), t.const(31, I32)), t.read(nth, I32)
    zero, top = t.const(0, I32), t.const(31, I32)
    down = b.icmp(n, zero, pred="slt")
    at = b.and_(b.lshr(mask, start), t.const(1, I32))
    mask, start, n = b.select(down, b.brev(mask), mask), b.select(down, b.sub(top, start), start), b.iabs(n)
    mask = b.shl(b.lshr(mask, start), start)  # nothing before the start
    place = zero
    for step in (16, 8, 4, 2, 1):
        further = b.add(place, t.const(step, I32))
        below = b.sub(b.shl(t.const(1, I32), further), t.const(1, I32))
        enough = b.icmp(b.popc(b.and_(mask, below)), n, pred="uge")
        place = b.select(enough, place, further)
    there = b.icmp(b.popc(mask), n, pred="uge")
    place = b.select(there, b.select(down, b.sub(top, place), place), t.const(-1, I32))
    itself = b.select(b.icmp(at, zero, pred="ne"), start, t.const(-1, I32))
    t.write(d, [b.select(b.icmp(n, zero, pred="eq"), itself, place)])


# --- arithmetic -----------------------------------------------------------------------------------------------

_LOOSE = "rn ftz approx full"


@instruction("add sub", "rn ftz sat")
def _add(t: Translation, i: Instruction) -> None:
    """Integers wrap (no ``sat``); floats round to nearest, ``sat`` clamps to [0, 1]."""
    if i.kind.elem.is_float:
        t.apply(i, lambda x, y: saturated(t, i, t.b.op("f" + i.name, x, y)))
    else:
        _plain(t, i)
        t.apply(i, lambda x, y: t.b.op(i.name, x, y))


@instruction("mul", "rn ftz sat lo hi wide")
def _mul(t: Translation, i: Instruction) -> None:
    """Floats; or the low half, the high half or all of an integer product."""
    if i.kind.elem.is_float:
        t.apply(i, lambda x, y: saturated(t, i, t.b.fmul(x, y)))
    else:
        t.write(i.operands[0], [_product(t, i)])


@instruction("mad", "rn ftz lo hi wide")
def _mad(t: Translation, i: Instruction) -> None:
    """a · b + c; floats as fma."""
    if i.kind.elem.is_float:
        _fma(t, i)
    else:
        p = _product(t, i)
        t.write(i.operands[0], [t.b.add(p, t.read(i.operands[3], p.type.elem))])


def _product(t: Translation, i: Instruction) -> Value:
    kind, (x, y) = i.kind, (t.read(o, i.kind.elem) for o in i.operands[1:3])
    if "wide" in i.modifiers:
        wide = int_element(2 * kind.bits)
        return t.b.mul(resize(t, x, wide, kind.signed), resize(t, y, wide, kind.signed))
    if "hi" in i.modifiers:
        return t.b.smulhi(x, y) if kind.signed else t.b.umulhi(x, y)
    return t.b.mul(x, y)


@instruction("fma", "rn ftz sat relu")
def _fma(t: Translation, i: Instruction) -> None:
    """a · b + c, rounded once; ``relu`` replaces negative results and NaN by 0."""
    t.apply(i, lambda x, y, z: saturated(t, i, t.b.fma(x, y, z)))


@instruction("div", _LOOSE)
def _div(t: Translation, i: Instruction) -> None:
    """a / b; integers towards zero."""
    if i.kind.elem.is_float:
        t.apply(i, lambda x, y: t.b.fdiv(x, y, precise="rn" in i.modifiers))
    else:
        t.apply(i, lambda x, y: t.b.sdiv(x, y) if i.kind.signed else t.b.udiv(x, y))


@instruction("rem")
def _rem(t: Translation, i: Instruction) -> None:
    t.apply(i, lambda x, y: t.b.srem(x, y) if i.kind.signed else t.b.urem(x, y))


@instruction("abs neg", "ftz")
def _sign_of(t: Translation, i: Instruction) -> None:
    if i.kind.elem.is_float:
        t.apply(i, t.b.fabs if i.name == "abs" else t.b.fneg)
    elif i.name == "abs":
        t.apply(i, t.b.iabs)
    else:
        t.apply(i, lambda x: t.b.sub(t.const(0, x.type.elem), x))


@instruction("min max", "ftz NaN xorsign abs")
def _extremum(t: Translation, i: Instruction) -> None:
    """``NaN``: a NaN operand gives NaN.  ``xorsign.abs``: the smaller or larger magnitude, with the sign of a · b."""
    if not i.kind.elem.is_float:
        _plain(t, i)
        t.apply(i, lambda x, y: t.b.op(("s" if i.kind.signed else "u") + i.name, x, y))
        return
    name = f"f{i.name}imum" if "NaN" in i.modifiers else f"f{i.name}"
    if "xorsign" not in i.modifiers:
        t.apply(i, lambda x, y: t.b.op(name, x, y))
        return

    def by_magnitude(x: Value, y: Value) -> Value:
        bits = int_element(x.type.elem.bits)
        flips = t.b.xor(t.b.bitcast(x, to=bits), t.b.bitcast(y, to=bits))
        sign = t.b.and_(flips, t.const(1 << (bits.bits - 1), bits))
        magnitude = t.b.bitcast(t.b.op(name, t.b.fabs(x), t.b.fabs(y)), to=bits)
        return t.b.bitcast(t.b.or_(magnitude, sign), to=x.type.elem)

    t.apply(i, by_magnitude)


@instruction("copysign")
def _copysign(t: Translation, i: Instruction) -> None:
    """The magnitude of b with the sign of a."""
    t.apply(i, lambda x, y: t.b.copysign(y, x))


@instruction("dp4a")
def _dp4a(t: Translation, i: Instruction) -> None:
    """c plus the dot product of four bytes of a (first type) and of b (second type)."""
    d, a, b, c = i.operands
    ka, kb = i.kinds
    total = t.read(c, I32)
    for x, y in zip(t.parts(a, I8, 4), t.parts(b, I8, 4)):
        total = t.b.add(total, t.b.mul(resize(t, x, I32, ka.signed), resize(t, y, I32, kb.signed)))
    t.write(d, [total])


@instruction("dp2a", "lo hi")
def _dp2a(t: Translation, i: Instruction) -> None:
    """c plus the dot product of two 16-bit halves of a and of the low or high two bytes of b."""
    d, a, b, c = i.operands
    ka, kb = i.kinds
    total, at = t.read(c, I32), 2 if "hi" in i.modifiers else 0
    for x, y in zip(t.parts(a, I16, 2), t.parts(b, I8, 4)[at : at + 2]):
        total = t.b.add(total, t.b.mul(resize(t, x, I32, ka.signed), resize(t, y, I32, kb.signed)))
    t.write(d, [total])


def _plain(t: Translation, i: Instruction) -> None:
    """Refuses modifiers on integers: ``add.sat.s32`` and the like."""
    if i.modifiers:
        raise t.unsupported(i.text)


# --- functions ------------------------------------------------------------------------------------------------


def _function(name: str) -> Callable[[Translation, Value], Value]:
    return lambda t, x: t.b.op(name, x)


_FUNCTIONS: dict[str, Callable[[Translation, Value], Value]] = {
    "ex2": _function("exp2"),
    "lg2": _function("log2"),
    "sin": _function("sin"),
    "cos": _function("cos"),
    "tanh": _function("tanh"),
    "rsqrt": _function("rsqrt"),
    "sqrt": lambda t, x: t.b.sqrt(x, precise=True),
    "rcp": lambda t, x: t.b.fdiv(t.const(1.0, x.type.elem), x, precise=True),
}


@instruction(" ".join(_FUNCTIONS), "rn ftz approx")
def _math(t: Translation, i: Instruction) -> None:
    """2ˣ, log₂ x, sin, cos, tanh, 1/√x, √x, 1/x; 16-bit types compute in f32 and round once."""
    f = _FUNCTIONS[i.name]

    def narrow(x: Value) -> Value:
        e = x.type.elem
        return f(t, x) if e.bits >= 32 else t.b.fpcast(f(t, t.b.fpcast(x, to=F32)), to=e)

    t.apply(i, narrow)


# --- comparison -----------------------------------------------------------------------------------------------

_ORDERED = {"eq": "oeq", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "neu": "une", "nan": "uno"}
_OPPOSITE = {"ne": "oeq", "ltu": "oge", "leu": "ogt", "gtu": "ole", "geu": "olt", "num": "uno"}  # true exactly where that is false
_UNSIGNED = {"lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge", "eq": "eq", "ne": "ne"}
_COMPARISONS = "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan"


def _compare(t: Translation, i: Instruction, x: Value, y: Value, kind: Kind) -> Value:
    b = t.b
    (name,) = i.modifiers & set(_COMPARISONS.split())
    if not kind.elem.is_float:
        pred = _UNSIGNED.get(name) or ("s" if kind.signed else "u") + name
        return b.icmp(x, y, pred=pred)
    if name in _ORDERED:
        return b.fcmp(x, y, pred=_ORDERED[name])
    unordered = b.fcmp(x, y, pred="uno")
    if name == "equ":
        return b.or_(b.fcmp(x, y, pred="oeq"), unordered)
    if name == "ne":  # ordered and different
        return b.and_(b.fcmp(x, y, pred="une"), _inverse(t, unordered))
    return _inverse(t, b.fcmp(x, y, pred=_OPPOSITE[name]))


@instruction("setp", _COMPARISONS + " and or xor ftz")
def _setp(t: Translation, i: Instruction) -> None:
    """p = (a ? b) [combined with the predicate c]; of ``p|q`` the second gets the opposite comparison."""
    d, a, b, *more = i.operands
    kind = i.kind
    holds = _compare(t, i, t.read(a, kind.elem), t.read(b, kind.elem), kind)
    both = [holds, _inverse(t, holds)]
    for combine in i.modifiers & {"and", "or", "xor"}:
        both = [t.b.op(combine, p, t.read(more[0], BOOL)) for p in both]
    for name, p in zip(d.split("|"), both):
        t.write(name.strip(), [p])


@instruction("set", _COMPARISONS + " ftz")
def _set(t: Translation, i: Instruction) -> None:
    """All ones (1.0 for a float type) where the comparison holds, else 0."""
    d, a, b = i.operands
    to, kind = i.kinds
    p = _compare(t, i, t.read(a, kind.elem), t.read(b, kind.elem), kind)
    e = to.elem
    t.write(d, [t.b.select(p, t.const(1.0 if e.is_float else -1, e), t.const(0, e))])


# --- conversion -----------------------------------------------------------------------------------------------

instruction("cvt", ptx_conversions.MODIFIERS)(ptx_conversions.cvt)
