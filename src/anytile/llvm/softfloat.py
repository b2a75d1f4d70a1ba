"""Half-precision conversions that LLVM calls by name.

Where a CPU lacks the instructions (x86-64 without F16C, bfloat without AVX512-BF16) LLVM lowers ``fpext`` and
``fptrunc`` of half and bfloat to calls such as ``__truncsfhf2``, which belong to a compiler's run-time library
that a Python process may not have.  This file supplies them, in LLVM text on integers, round to nearest even.
They are a safety net: `passes/expand_casts` replaces such conversions where speed matters.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["NAMES", "TEXT", "symbols_for"]

NAMES = ("__truncsfhf2", "__truncdfhf2", "__extendhfsf2", "__gnu_f2h_ieee", "__gnu_h2f_ieee", "__truncsfbf2", "__truncdfbf2")

# Truncation from double first rounds to float *to odd*: the float keeps a sticky last bit, so that the second
# rounding, to 11 or 8 bits of significand, sees every discarded bit and rounds once.
TEXT = """
define internal i32 @round_to_odd(double %x) {
  %single = fptrunc double %x to float
  %back = fpext float %single to double
  %exact = fcmp ueq double %back, %x
  %bits = bitcast float %single to i32
  %too_far.lhs = call double @llvm.fabs.f64(double %back)
  %too_far.rhs = call double @llvm.fabs.f64(double %x)
  %too_far = fcmp ogt double %too_far.lhs, %too_far.rhs
  %toward_zero.step = zext i1 %too_far to i32
  %toward_zero = sub i32 %bits, %toward_zero.step
  %odd = or i32 %toward_zero, 1
  %result = select i1 %exact, i32 %bits, i32 %odd
  ret i32 %result
}

define internal i16 @single_to_half(i32 %bits) {
  %sign = lshr i32 %bits, 16
  %sign.half = and i32 %sign, 32768
  %magnitude = and i32 %bits, 2147483647
  ; normal result: rebias the exponent by 112, keep 10 of 23 fraction bits, ties to even
  %even = lshr i32 %magnitude, 13
  %even.bit = and i32 %even, 1
  %rebias = sub i32 %magnitude, 939524096
  %half.up = add i32 %rebias, 4095
  %rounded = add i32 %half.up, %even.bit
  %normal = lshr i32 %rounded, 13
  ; subnormal result: adding 0.5 lets the float adder align and round; the fraction is then the answer
  %abs = bitcast i32 %magnitude to float
  %aligned = fadd float %abs, 5.0e-1
  %aligned.bits = bitcast float %aligned to i32
  %subnormal = sub i32 %aligned.bits, 1056964608
  %is.subnormal = icmp ult i32 %magnitude, 947912704
  %finite = select i1 %is.subnormal, i32 %subnormal, i32 %normal
  ; 65520 and above is infinity; a NaN keeps its top fraction bits and becomes quiet
  %overflow = icmp uge i32 %magnitude, 1199566848
  %limited = select i1 %overflow, i32 31744, i32 %finite
  %nan = icmp ugt i32 %magnitude, 2139095040
  %payload = and i32 %even, 1023
  %quiet = or i32 %payload, 32256
  %unsigned = select i1 %nan, i32 %quiet, i32 %limited
  %signed = or i32 %unsigned, %sign.half
  %result = trunc i32 %signed to i16
  ret i16 %result
}

define internal i32 @half_to_single(i16 %x) {
  %wide = zext i16 %x to i32
  %sign.half = and i32 %wide, 32768
  %sign = shl i32 %sign.half, 16
  %magnitude = and i32 %wide, 32767
  %shifted = shl i32 %magnitude, 13
  %normal = add i32 %shifted, 939524096
  ; a subnormal half is an integer multiple of 2^-24
  %integer = uitofp i32 %magnitude to float
  %scaled = fmul float %integer, 0x3E70000000000000
  %subnormal = bitcast float %scaled to i32
  %is.subnormal = icmp ult i32 %magnitude, 1024
  %finite = select i1 %is.subnormal, i32 %subnormal, i32 %normal
  %special = icmp uge i32 %magnitude, 31744
  %infinite = or i32 %shifted, 2139095040
  %nan = icmp ugt i32 %magnitude, 31744
  %quiet = or i32 %infinite, 4194304
  %not.finite = select i1 %nan, i32 %quiet, i32 %infinite
  %unsigned = select i1 %special, i32 %not.finite, i32 %finite
  %result = or i32 %unsigned, %sign
  ret i32 %result
}

define internal i16 @single_to_bfloat(i32 %bits) {
  %high = lshr i32 %bits, 16
  %even = and i32 %high, 1
  %half.up = add i32 %bits, 32767
  %sum = add i32 %half.up, %even
  %rounded = lshr i32 %sum, 16
  %magnitude = and i32 %bits, 2147483647
  %nan = icmp ugt i32 %magnitude, 2139095040
  %quiet = or i32 %high, 64
  %chosen = select i1 %nan, i32 %quiet, i32 %rounded
  %result = trunc i32 %chosen to i16
  ret i16 %result
}

define half @__truncsfhf2(float %x) {
  %bits = bitcast float %x to i32
  %result = call i16 @single_to_half(i32 %bits)
  %half = bitcast i16 %result to half
  ret half %half
}
define half @__truncdfhf2(double %x) {
  %bits = call i32 @round_to_odd(double %x)
  %result = call i16 @single_to_half(i32 %bits)
  %half = bitcast i16 %result to half
  ret half %half
}
define float @__extendhfsf2(half %x) {
  %bits = bitcast half %x to i16
  %single = call i32 @half_to_single(i16 %bits)
  %result = bitcast i32 %single to float
  ret float %result
}
define i16 @__gnu_f2h_ieee(float %x) {
  %bits = bitcast float %x to i32
  %result = call i16 @single_to_half(i32 %bits)
  ret i16 %result
}
define float @__gnu_h2f_ieee(i16 %x) {
  %single = call i32 @half_to_single(i16 %x)
  %result = bitcast i32 %single to float
  ret float %result
}
define bfloat @__truncsfbf2(float %x) {
  %bits = bitcast float %x to i32
  %result = call i16 @single_to_bfloat(i32 %bits)
  %bfloat = bitcast i16 %result to bfloat
  ret bfloat %bfloat
}
define bfloat @__truncdfbf2(double %x) {
  %bits = call i32 @round_to_odd(double %x)
  %result = call i16 @single_to_bfloat(i32 %bits)
  %bfloat = bitcast i16 %result to bfloat
  ret bfloat %bfloat
}
declare double @llvm.fabs.f64(double)
"""


@lru_cache(maxsize=1)
def _addresses() -> dict[str, int]:
    from . import engine

    loaded = engine.load_object(engine.compile_object(TEXT, features=()))
    _addresses.loaded = loaded  # type: ignore[attr-defined]  # the code must outlive every object that calls it
    return {name: loaded.address(name) for name in NAMES}


def symbols_for(data: bytes) -> dict[str, int]:
    """Name → address of the conversions that an object may call, found by their names in its symbol table."""
    wanted = [name for name in NAMES if name.encode() in data]
    if not wanted or all(f"{name}".encode() in data for name in NAMES):
        return {}  # none, or this file's own object
    addresses = _addresses()
    return {name: addresses[name] for name in wanted}
