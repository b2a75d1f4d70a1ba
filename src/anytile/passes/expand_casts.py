"""Replaces conversions that a target lacks by integer arithmetic.

``native`` names what the target converts itself:

    fpcast.f32.f16        from f32 to f16, to nearest even (or exactly, when widening)
    fpcast.f32.f16.rtz    the same towards zero
    sitofp.f16            signed integers of any width to f16; likewise uitofp, fptosi, fptoui

    short_nans            no conversion: the target makes no NaN with payload bits in its lower half (`nan_payload`)
    cheap_select          no conversion: choosing between two constants costs no more than adding one

Conversions between f32, f64 and integers, other than f64 → f32 towards zero, are taken to be native on every
target.  Afterwards 8-bit floats are only moved (loaded, stored, bitcast, selected, reshaped): their constants
are bit patterns and their casts are arithmetic on i32.
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import UnsupportedError
from ..ir import Block, Builder, Module, Op, Value
from ..ir.types import BF16, F8E5M2, F16, F32, F64, I8, Float
from ..math.conversions import decode, encode, encode_constant, round_to_odd
from ..math.expr import E, Scope, select
from .expand_math import all_blocks
from .nan_payload import survives_rounding

__all__ = ["expand_casts"]

_WIDE = (F32, F64)
_FROM_INT = ("sitofp", "uitofp")
_TO_INT = ("fptosi", "fptoui")


class _Caster:
    """Casts with what the target has; ``native`` as in the module's description."""

    def __init__(self, native: Collection[str]):
        self.native = native

    def has(self, src: Float, dst: Float, rounding: str) -> bool:
        widening = src in _WIDE and dst in _WIDE and src.bits <= dst.bits
        if rounding == "rtz" and not widening:
            return f"fpcast.{src}.{dst}.rtz" in self.native
        return src in _WIDE and dst in _WIDE or f"fpcast.{src}.{dst}" in self.native

    def cast(self, x: E, dst: Float, rounding: str) -> E:
        src = x.elem
        assert isinstance(src, Float)
        if src is dst:
            return x
        if self.has(src, dst, rounding):
            return x.row("fpcast", to=dst, rounding=rounding)
        if src not in _WIDE:
            return self.cast(self.widen(x, src), dst, rounding)
        if src is F64:
            return round_to_odd(x, towards_zero=True) if dst is F32 else self.cast(round_to_odd(x), dst, rounding)
        any_nan = not (dst is BF16 and "short_nans" in self.native and survives_rounding(x.v))
        return encode(x, dst, rounding, any_nan, cheap_select="cheap_select" in self.native)

    def widen(self, x: E, src: Float) -> E:
        """A narrow float as f32."""
        if src is F8E5M2 and self.has(F16, F32, "rtne"):  # the upper half of an f16
            half = (x.row("bitcast", to=I8).resize(16) << 8).row("bitcast", to=F16)
            return half.row("fpcast", to=F32)
        return x.row("fpcast", to=F32) if self.has(src, F32, "rtne") else decode(x, src)

    def from_int(self, x: E, row: str, dst: Float) -> E:
        """Integers to a narrow float, rounded once."""
        bits = x.elem.bits
        if bits < 32:  # at most 16 bits: exact in f32
            return self.cast(x.row(row, to=F32), dst, "rtne")
        if bits == 64:
            # f64 holds 53 bits: fold the low 11 into the twelfth by rounding to odd, unless the number is short.
            folded = (x & ~0x7FF) | select((x & 0x7FF).ne(0), 0x800, 0, like=x)
            short = x.ult(1 << 31) if row == "uitofp" else (x + (1 << 31)).ult(1 << 32)
            x = select(short, x, folded)
        return self.cast(x.row(row, to=F64), dst, "rtne")

    def to_int(self, x: E, op: Op) -> E:
        return self.cast(x, F32, "rtne").row(op.name, to=op.attrs["to"])


def _expand(op: Op, caster: _Caster, b: Builder) -> Value | None:
    """The replacement of ``op``, or None where the target does it itself."""
    name = op.name
    if name != "constant" and name != "fpcast" and name not in _FROM_INT and name not in _TO_INT:
        return None
    if name == "constant":
        elem = op.attrs["type"].elem
        if not isinstance(elem, Float) or elem.bits != 8:
            return None
        bits = b.const(encode_constant(op.attrs["value"], elem), op.attrs["type"].with_elem(I8))
        return b.bitcast(bits, to=elem)
    source = op.operands[0]
    assert source is not None
    x, src = E(Scope(b), source), source.type.elem
    if name == "fpcast":
        dst, rounding = op.attrs["to"], op.attrs["rounding"]
        assert isinstance(src, Float)
        if rounding not in ("rtne", "rtz"):
            raise UnsupportedError(f"rounding mode {rounding!r} of a cast", str(op.loc), "use 'rtne' or 'rtz'")
        if src is not dst and caster.has(src, dst, rounding):
            return None
        return caster.cast(x, dst, rounding).v
    if name in _FROM_INT:
        dst = op.attrs["to"]
        if dst in _WIDE or f"{name}.{dst}" in caster.native:
            return None
        return caster.from_int(x, name, dst).v
    if src in _WIDE or f"{name}.{src}" in caster.native:
        return None
    return caster.to_int(x, op).v


def expand_casts(m: Module, native: Collection[str]) -> bool:
    """Expands every conversion not in ``native``, and constants of 8-bit formats."""
    caster = _Caster(native)
    changed = False
    for block in all_blocks(m):
        done: list[Op] = []
        for op in block.ops:
            fresh = Block()
            value = _expand(op, caster, Builder(fresh, loc=op.loc))
            if value is None:
                done.append(op)
                continue
            for made in fresh.ops:
                made.block = block
            op.result.replace_with(value)
            op.drop_uses()
            op.block = None
            done.extend(fresh.ops)
            changed = True
        block.ops[:] = done
    return changed
