"""The PTX instructions that have a translation: name → allowed modifiers and a function that records tile IR.

Each function gets the `Translation` (registers, builder) and the `Instruction`.  A modifier that a row does not list
makes the instruction unsupported: nothing is dropped silently.  ``approx``, ``full`` and ``ftz`` are allowances to be
less exact, which no target here takes.  Source of the semantics: NVIDIA's PTX ISA, chapter "Instruction Set".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..ir import Value
from ..ir.types import BF16, BOOL, F8E4M3, F8E5M2, F16, F32, I8, I16, I32, I64, Element, Float, int_element
from .ptx import KINDS, Instruction, Kind, Translation

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
    clamped = _resize(t, t.b.umin(by, t.const(width - 1, I32)), e, False)
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
    wide = _resize(t, t.read(a, I32), I64, i.kind.signed)
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
    t.write(d, [out if i.name == "brev" else _resize(t, out, I32, False)])


# --- arithmetic -----------------------------------------------------------------------------------------------

_LOOSE = "rn ftz approx full"


@instruction("add sub", "rn ftz sat")
def _add(t: Translation, i: Instruction) -> None:
    """Integers wrap (no ``sat``); floats round to nearest, ``sat`` clamps to [0, 1]."""
    if i.kind.elem.is_float:
        t.apply(i, lambda x, y: _saturated(t, i, t.b.op("f" + i.name, x, y)))
    else:
        _plain(t, i)
        t.apply(i, lambda x, y: t.b.op(i.name, x, y))


@instruction("mul", "rn ftz sat lo hi wide")
def _mul(t: Translation, i: Instruction) -> None:
    """Floats; or the low half, the high half or all of an integer product."""
    if i.kind.elem.is_float:
        t.apply(i, lambda x, y: _saturated(t, i, t.b.fmul(x, y)))
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
        return t.b.mul(_resize(t, x, wide, kind.signed), _resize(t, y, wide, kind.signed))
    if "hi" in i.modifiers:
        return t.b.smulhi(x, y) if kind.signed else t.b.umulhi(x, y)
    return t.b.mul(x, y)


@instruction("fma", "rn ftz sat relu")
def _fma(t: Translation, i: Instruction) -> None:
    """a · b + c, rounded once; ``relu`` replaces negative results and NaN by 0."""
    t.apply(i, lambda x, y, z: _saturated(t, i, t.b.fma(x, y, z)))


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
        total = t.b.add(total, t.b.mul(_resize(t, x, I32, ka.signed), _resize(t, y, I32, kb.signed)))
    t.write(d, [total])


@instruction("dp2a", "lo hi")
def _dp2a(t: Translation, i: Instruction) -> None:
    """c plus the dot product of two 16-bit halves of a and of the low or high two bytes of b."""
    d, a, b, c = i.operands
    ka, kb = i.kinds
    total, at = t.read(c, I32), 2 if "hi" in i.modifiers else 0
    for x, y in zip(t.parts(a, I16, 2), t.parts(b, I8, 4)[at : at + 2]):
        total = t.b.add(total, t.b.mul(_resize(t, x, I32, ka.signed), _resize(t, y, I32, kb.signed)))
    t.write(d, [total])


def _resize(t: Translation, x: Value, elem: Element, signed: bool) -> Value:
    """The integer ``x`` in the integer type ``elem``."""
    have = x.type.elem.bits
    if have == elem.bits:
        return x
    if have > elem.bits:
        return t.b.trunci(x, to=elem)
    return t.b.sext(x, to=elem) if signed else t.b.zext(x, to=elem)


def _saturated(t: Translation, i: Instruction, x: Value) -> Value:
    """``x`` after the modifiers ``sat`` (to [0, 1], NaN to 0) and ``relu`` (to ≥ 0; NaN stays)."""
    e = x.type.elem
    if "sat" in i.modifiers:
        x = t.b.fmin(t.b.fmax(x, t.const(0.0, e)), t.const(1.0, e))
    if "relu" in i.modifiers:
        x = t.b.fmaximum(x, t.const(0.0, e))
    return x


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

_FLOAT8 = {"e4m3x2": F8E4M3, "e5m2x2": F8E5M2}
_TO_INTEGRAL = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
_CVT = "rn rz rs rna rp rni rzi rmi rpi ftz sat satfinite relu e4m3x2 e5m2x2 e2m1x2 ue8m0x2 tf32"


@instruction("cvt", _CVT)
def _cvt(t: Translation, i: Instruction) -> None:
    """d = a in the first type; two sources fill a pair, the first one its upper half."""
    to, of = (s for s in i.suffixes if s in KINDS or s in ("e4m3x2", "e5m2x2", "e2m1x2", "ue8m0x2", "tf32"))
    d, *sources = i.operands
    if to == "tf32":  # f32 with 10 bits of mantissa, ties away from zero (rna) or to even (rn)
        t.write(d, [_tf32(t, t.read(sources[0], F32), "rna" in i.modifiers)])
    elif "rs" in i.modifiers:
        if to != "f16x2":
            raise t.unsupported(i.text)
        high, low, random = sources
        bits = t.parts(random, I16, 2)
        t.write(d, [_stochastic(t, t.read(x, F32), r) for x, r in zip((low, high), bits)])
    elif to in KINDS and KINDS[to].lanes == 2 and of == "f32":
        high, low = sources
        t.write(d, [_saturated(t, i, _round(t, i, t.read(x, F32), KINDS[to].elem)) for x in (low, high)])
    elif to in _FLOAT8:
        pair = t.parts(sources[0], F16, 2) if of == "f16x2" else [t.read(x, F32) for x in reversed(sources)]
        t.write(d, [t.b.fpcast(_saturated(t, i, x), to=_FLOAT8[to]) for x in pair])
    elif of in _FLOAT8:
        t.write(d, [t.b.fpcast(x, to=F16) for x in t.parts(sources[0], _FLOAT8[of], 2)])
    elif to == "e2m1x2":
        high, low = (_to_e2m1(t, _saturated(t, i, t.read(x, F32))) for x in sources)
        t.write(d, [t.b.or_(low, t.b.shl(high, t.const(4, I8)))])
    elif of == "e2m1x2":
        byte = t.read(sources[0], I8)
        t.write(d, [_from_e2m1(t, x) for x in (byte, t.b.lshr(byte, t.const(4, I8)))])
    elif of == "ue8m0x2" and to == "bf16x2":
        t.write(d, [_from_ue8m0(t, x) for x in t.parts(sources[0], I8, 2)])
    elif to == "ue8m0x2" and of == "f32":
        t.write(d, [_to_ue8m0(t, t.read(x, F32), "rp" in i.modifiers) for x in reversed(sources)])
    else:
        (source,) = sources
        t.write(d, [_convert(t, i, t.read(source, KINDS[of].elem), KINDS[of], KINDS[to])])


def _round(t: Translation, i: Instruction, x: Value, to: Element) -> Value:
    """Float to narrower float; ``satfinite`` keeps overflow finite (16-bit formats would give infinity)."""
    if "satfinite" in i.modifiers and isinstance(to, Float):
        limit = {F16: 65504.0, BF16: float.fromhex("0x1.fep127")}[to]
        clamped = t.b.fmin(t.b.fmax(x, t.const(-limit, F32)), t.const(limit, F32))
        x = t.b.select(t.b.fcmp(x, x, pred="uno"), x, clamped)
    return t.b.fpcast(x, to=to, rounding="rtz" if "rz" in i.modifiers else "rtne")


def _convert(t: Translation, i: Instruction, x: Value, of: Kind, to: Kind) -> Value:
    """One number to one number."""
    b = t.b
    integral = next((_TO_INTEGRAL[m] for m in i.modifiers if m in _TO_INTEGRAL), None)
    if of.elem.is_float and to.elem.is_float:
        if integral:
            x = x if of.bits >= 32 else b.fpcast(x, to=F32)
            x = b.op(integral, x)
        have = x.type.elem
        if have is not to.elem:
            x = b.fpcast(x, to=to.elem) if have.bits < to.bits else _round(t, i, x, to.elem)
        return _saturated(t, i, x)
    if of.elem.is_float:
        x = x if of.bits >= 32 else b.fpcast(x, to=F32)
        return _to_integer(t, b.op(integral or "trunc", x), to)
    if to.elem.is_float:
        if i.modifiers - {"rn"}:
            raise t.unsupported(i.text)
        wide = F32 if to.bits < 32 else to.elem
        x = b.sitofp(x, to=wide) if of.signed else b.uitofp(x, to=wide)
        return x if wide is to.elem else b.fpcast(x, to=to.elem)
    if "sat" in i.modifiers:
        x = _clamp_integer(t, x, of, to)
    return _resize(t, x, to.elem, of.signed)


def _to_integer(t: Translation, x: Value, to: Kind) -> Value:
    """Integral float → integer, clamped to its range; NaN gives 0."""
    b, e = t.b, x.type.elem
    low, high = _range(to)
    limit = float(high + 1)
    inside = b.and_(b.fcmp(x, t.const(float(low), e), pred="oge"), b.fcmp(x, t.const(limit, e), pred="olt"))
    safe = b.select(inside, x, t.const(0.0, e))
    n = b.fptosi(safe, to=to.elem) if to.signed else b.fptoui(safe, to=to.elem)
    n = b.select(b.fcmp(x, t.const(limit, e), pred="oge"), t.const(high, to.elem), n)
    return b.select(b.fcmp(x, t.const(float(low), e), pred="olt"), t.const(low, to.elem), n)


def _range(kind: Kind) -> tuple[int, int]:
    n = kind.elem.bits
    return (-(1 << (n - 1)), (1 << (n - 1)) - 1) if kind.signed else (0, (1 << n) - 1)


def _clamp_integer(t: Translation, x: Value, of: Kind, to: Kind) -> Value:
    """``x`` clamped to the range of ``to``, still in its own type."""
    (low, high), (least, most) = _range(to), _range(of)
    smaller, larger = (t.b.smin, t.b.smax) if of.signed else (t.b.umin, t.b.umax)
    if low > least:
        x = larger(x, t.const(low, of.elem))
    return smaller(x, t.const(high, of.elem)) if high < most else x


def _tf32(t: Translation, x: Value, away: bool) -> Value:
    """Round the mantissa to 10 bits by adding half of the last one kept; NaN and infinity have no bits to drop."""
    b = t.b
    bits = b.bitcast(x, to=I32)
    half = t.const(0x1000, I32)
    if not away:
        half = b.add(t.const(0x0FFF, I32), b.and_(b.lshr(bits, t.const(13, I32)), t.const(1, I32)))
    rounded = b.and_(b.add(bits, half), t.const(~0x1FFF, I32))
    finite = b.fcmp(b.fabs(x), t.const(float("inf"), F32), pred="olt")
    return b.bitcast(b.select(finite, rounded, bits), to=F32)


def _stochastic(t: Translation, x: Value, random: Value) -> Value:
    """f32 → f16: 13 random bits are added to the 13 mantissa bits that f16 lacks, the rest is cut off."""
    b = t.b
    noise = b.zext(b.and_(random, t.const(0x1FFF, I16)), to=I32)
    moved = b.bitcast(b.add(b.bitcast(x, to=I32), noise), to=F32)
    finite = b.fcmp(b.fabs(x), t.const(float("inf"), F32), pred="olt")
    return b.fpcast(b.select(finite, moved, x), to=F16, rounding="rtz")


#: Between which magnitudes e2m1 rounds up to its next value; at the bound itself where that value is even.
_E2M1_STEPS = ((0.25, "ogt"), (0.75, "oge"), (1.25, "ogt"), (1.75, "oge"), (2.5, "ogt"), (3.5, "oge"), (5.0, "ogt"))


def _to_e2m1(t: Translation, x: Value) -> Value:
    """f32 → 0, 0.5, 1, 1.5, 2, 3, 4 or 6 with a sign, as 4 bits; larger becomes 6, NaN +6."""
    b = t.b
    magnitude = b.fabs(x)
    code = t.const(0, I8)
    for bound, pred in _E2M1_STEPS:
        code = b.add(code, b.zext(b.fcmp(magnitude, t.const(bound, F32), pred=pred), to=I8))
    sign = b.trunci(b.lshr(b.bitcast(x, to=I32), t.const(31, I32)), to=I8)
    signed = b.or_(code, b.shl(sign, t.const(3, I8)))
    return b.select(b.fcmp(x, x, pred="uno"), t.const(7, I8), signed)


def _from_e2m1(t: Translation, x: Value) -> Value:
    """The low 4 bits as f16: put where f16 has exponent and mantissa, then 2¹⁴ makes up for the difference of the biases."""
    b = t.b
    bits = b.zext(x, to=I16)
    magnitude = b.shl(b.and_(bits, t.const(7, I16)), t.const(9, I16))
    sign = b.shl(b.and_(bits, t.const(8, I16)), t.const(12, I16))
    small = b.fpcast(b.bitcast(b.or_(magnitude, sign), to=F16), to=F32)
    return b.fpcast(b.fmul(small, t.const(16384.0, F32)), to=F16)


def _to_ue8m0(t: Translation, x: Value, up: bool) -> Value:
    """|x| as a power of two, 2^(code − 127): the next one above (rp) or below (rz); at most 254, NaN is 255."""
    b = t.b
    bits = b.and_(b.bitcast(x, to=I32), t.const(0x7FFFFFFF, I32))
    exponent = b.lshr(bits, t.const(23, I32))
    if up:
        rest = b.and_(bits, t.const(0x7FFFFF, I32))
        # Subnormal numbers up to 2⁻¹²⁷, half of the smallest normal one, are code 0.
        least = b.select(b.icmp(exponent, t.const(0, I32), pred="eq"), t.const(0x400000, I32), t.const(0, I32))
        exponent = b.add(exponent, b.zext(b.icmp(rest, least, pred="ugt"), to=I32))
    code = b.umin(exponent, t.const(254, I32))
    return b.trunci(b.select(b.fcmp(x, x, pred="uno"), t.const(255, I32), code), to=I8)


def _from_ue8m0(t: Translation, x: Value) -> Value:
    """2^(x − 127) as bf16, whose exponent field it is; 0 is 2⁻¹²⁷, a subnormal number, and 255 NaN."""
    b = t.b
    bits = b.umax(b.shl(b.zext(x, to=I16), t.const(7, I16)), t.const(0x40, I16))
    nan = b.icmp(x, t.const(255, I8), pred="eq")
    return b.bitcast(b.select(nan, t.const(0x7FC0, I16), bits), to=BF16)
