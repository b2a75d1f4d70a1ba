"""Conversions of PTX: the instruction ``cvt``, and what other instructions share of it, widths of integers and saturation.

Floats of 8, 6 and 4 bits come in pairs in one register; formats that the tile IR has no element for (e2m1, ue8m0, tf32) are put
together of integer operations.  `ptx_table` has the row.  Source of the semantics: NVIDIA's PTX ISA, "Data Movement and Conversion
Instructions: cvt".
"""

from __future__ import annotations

from ..ir import Value
from ..ir.types import BF16, F8E4M3, F8E5M2, F16, F32, I8, I16, I32, Element, Float
from .ptx import KINDS, Instruction, Kind, Translation

__all__ = ["MODIFIERS", "cvt", "resize", "saturated"]

_FLOAT8 = {"e4m3x2": F8E4M3, "e5m2x2": F8E5M2}
_TO_INTEGRAL = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
MODIFIERS = "rn rz rs rna rp rni rzi rmi rpi ftz sat satfinite relu e4m3x2 e5m2x2 e2m1x2 ue8m0x2 tf32"


def resize(t: Translation, x: Value, elem: Element, signed: bool) -> Value:
    """The integer ``x`` in the integer type ``elem``."""
    have = x.type.elem.bits
    if have == elem.bits:
        return x
    if have > elem.bits:
        return t.b.trunci(x, to=elem)
    return t.b.sext(x, to=elem) if signed else t.b.zext(x, to=elem)


def saturated(t: Translation, i: Instruction, x: Value) -> Value:
    """``x`` after the modifiers ``sat`` (to [0, 1], NaN to 0) and ``relu`` (to ≥ 0; NaN stays)."""
    e = x.type.elem
    if "sat" in i.modifiers:
        x = t.b.fmin(t.b.fmax(x, t.const(0.0, e)), t.const(1.0, e))
    if "relu" in i.modifiers:
        x = t.b.fmaximum(x, t.const(0.0, e))
    return x


def cvt(t: Translation, i: Instruction) -> None:
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
        t.write(d, [saturated(t, i, _round(t, i, t.read(x, F32), KINDS[to].elem)) for x in (low, high)])
    elif to in _FLOAT8:
        pair = t.parts(sources[0], F16, 2) if of == "f16x2" else [t.read(x, F32) for x in reversed(sources)]
        t.write(d, [t.b.fpcast(saturated(t, i, x), to=_FLOAT8[to]) for x in pair])
    elif of in _FLOAT8:
        t.write(d, [t.b.fpcast(x, to=F16) for x in t.parts(sources[0], _FLOAT8[of], 2)])
    elif to == "e2m1x2":
        high, low = (_to_e2m1(t, saturated(t, i, t.read(x, F32))) for x in sources)
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
        return saturated(t, i, x)
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
    return resize(t, x, to.elem, of.signed)


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
