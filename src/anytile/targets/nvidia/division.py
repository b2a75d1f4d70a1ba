"""Quotients of 64-bit integers in instructions of the machine's own.

PTX has them, but assemblers make them calls of a library function.  In code that is still to be linked, as nvJitLink takes it, those are
calls to the outside, and beside such a call the assembler lets one wgmma wait for the other.  So kernels with wgmma divide by what
stands here.

The reciprocal 2⁶⁴ / d is begun in f32, and each of two Newton steps in 64-bit integers doubles the bits that are right; it is never
too large.  The quotient is then too small by 2 at most, which the remainder tells.

    r = ⌊(1 / d in f32) · 2⁶⁴ · (1 − 2⁻²¹)⌋        r += high(r · (−d · r)), twice        q = high(n · r), then q + 1 twice where n − q·d ≥ d
"""

from __future__ import annotations

from .values import Generator

__all__ = ["divided"]

_2_32 = "0x41F0000000000000"
"""2³² as LLVM writes an f32."""
_MINUS_2_32 = "0xC1F0000000000000"
_2_MINUS_32 = "0x3DF0000000000000"
_NEARLY_2_64 = "0x43EFFFFF00000000"
"""2⁶⁴ · (1 − 2⁻²¹): less by more than what the reciprocal may be too large by: three roundings, 2⁻²⁴ each, and the instruction's 2⁻²³."""


def divided(g: Generator, name: str, x: str, y: str) -> str:
    """The row ``name`` (sdiv, udiv, srem, urem) of the i64 ``x`` and ``y``, which is not 0."""
    if name[0] == "u":
        return _unsigned(g, x, y)[name == "urem"]
    signs = [g.emit(f"ashr i64 {v}, 63") for v in (x, y)]
    sizes = [g.emit(f"sub i64 {g.emit(f'xor i64 {v}, {s}')}, {s}") for v, s in zip((x, y), signs, strict=True)]
    got = _unsigned(g, *sizes)[name == "srem"]
    sign = signs[0] if name == "srem" else g.emit(f"xor i64 {signs[0]}, {signs[1]}")
    return g.emit(f"sub i64 {g.emit(f'xor i64 {got}, {sign}')}, {sign}")


def _unsigned(g: Generator, n: str, d: str) -> tuple[str, str]:
    """(quotient, remainder) of numbers without signs."""
    r, less = _first_reciprocal(g, d), g.emit(f"sub i64 0, {d}")
    for _ in range(2):
        r = g.emit(f"add i64 {r}, {_high(g, r, g.emit(f'mul i64 {less}, {r}'))}")
    q = _high(g, n, r)
    rest = g.emit(f"sub i64 {n}, {g.emit(f'mul i64 {q}, {d}')}")
    for _ in range(2):
        more = g.emit(f"icmp uge i64 {rest}, {d}")
        q = g.emit(f"add i64 {q}, {g.emit(f'zext i1 {more} to i64')}")
        rest = g.emit(f"sub i64 {rest}, {g.emit(f'select i1 {more}, i64 {d}, i64 0')}")
    return q, rest


def _first_reciprocal(g: Generator, d: str) -> str:
    """Somewhat less than 2⁶⁴ / d, 20 bits of it right."""
    upper = g.emit(f"lshr i64 {d}, 32")
    low, high = (g.emit(f"uitofp i32 {g.emit(f'trunc i64 {v} to i32')} to float") for v in (d, upper))
    whole = _fma(g, high, _2_32, low)
    inverse = g.assembly("rcp.approx.ftz.f32 $0, $1;", "=f,f", "float", [("float", whole)], pure=True)
    scaled = g.emit(f"fmul float {inverse}, {_NEARLY_2_64}")
    above = g.call("llvm.trunc.f32", "float", ("float", g.emit(f"fmul float {scaled}, {_2_MINUS_32}")))
    below = _fma(g, above, _MINUS_2_32, scaled)
    words = [g.emit(f"zext i32 {g.emit(f'fptoui float {v} to i32')} to i64") for v in (above, below)]
    return g.emit(f"or disjoint i64 {g.emit(f'shl i64 {words[0]}, 32')}, {words[1]}")


def _fma(g: Generator, a: str, b: str, c: str) -> str:
    return g.call("llvm.fma.f32", "float", ("float", a), ("float", b), ("float", c))


def _high(g: Generator, a: str, b: str) -> str:
    """The upper 64 bits of a product without signs."""
    return g.assembly("mul.hi.u64 $0, $1, $2;", "=l,l,l", "i64", [("i64", a), ("i64", b)], pure=True)
