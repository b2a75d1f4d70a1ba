"""Conversions between element types: ``x.to(dtype)``, ``tl.cast``, bitcasts.

float → int truncates; anything → bool is ``!= 0``; bool → number is 0 or 1; float → narrower float rounds to
nearest even, or towards zero with ``fp_downcast_rounding="rtz"``; into an 8-bit float it saturates.
"""

from __future__ import annotations

from typing import Any

from .builtin import builtin, member
from .constexpr import unwrap
from .tensor import tensor
from .types import dtype, float32, int64

__all__ = ["cast", "to", "cast_to", "bitcast_to"]


@member
@builtin
def cast(input: Any, dtype: dtype, fp_downcast_rounding: str | None = None, bitcast: bool = False) -> tensor:
    """``input`` converted to the element type ``dtype``; with ``bitcast`` its bits are kept.

    ``fp_downcast_rounding``: "rtne" (default) or "rtz", only where a float becomes a narrower one (ValueError) or nothing changes.
    """
    to = unwrap(dtype)
    if not _is_dtype(to):
        raise TypeError(f"cast needs a dtype such as tl.float32, not {to!r}")
    x = promotion.to_tensor(input) if not isinstance(unwrap(input), (bool, int, float)) or unwrap(bitcast) else None
    if x is None:
        return _literal(unwrap(input), to.scalar)
    if unwrap(bitcast):
        return bitcast_to(x, to.scalar)
    return cast_to(x, to.scalar, unwrap(fp_downcast_rounding))


@member
@builtin
def to(self: Any, dtype: dtype, fp_downcast_rounding: str | None = None, bitcast: bool = False) -> tensor:
    """``x.to(dtype)`` is `cast`."""
    return cast(self, dtype, fp_downcast_rounding, bitcast)


def _is_dtype(x: Any) -> bool:
    return isinstance(x, dtype) and not x.is_tuple() and not x.is_void()


def _literal(value: Any, to: dtype) -> tensor:
    """A Python scalar as a constant of ``to``, as if it had been converted at run time."""
    if to.is_bool():
        value = bool(value)
    elif to.is_int() or to.is_ptr():
        value = int(value)
    elif isinstance(value, int):
        value = float(value)
    return promotion.constant(value, to)


def cast_to(x: tensor, to: dtype, rounding: str | None = None) -> tensor:
    """``x`` in the element type ``to``.  Raises TypeError for pointer ↔ float and ValueError for bad rounding."""
    src = x.type.scalar
    if rounding not in (None, "rtne", "rtz"):
        raise ValueError(f"Invalid rounding mode: {rounding}. Supported rounding modes are 'rtne' and 'rtz'.")
    if src == to:
        return x
    narrows = src.is_floating() and to.is_floating() and to.primitive_bitwidth < src.primitive_bitwidth
    if rounding is not None and not narrows:
        raise ValueError(
            "fp_downcast_rounding should be set only for truncating fp conversions. "
            f"Source scalar type is {src} and destination type is {to}"
        )
    result = x.type.with_element_ty(to)
    elem = to.element()

    def record(name: str, **attrs: Any) -> tensor:
        return promotion.emit(name, result, x.handle, to=elem, **attrs)

    if src.is_floating() and to.is_floating():
        return record("fpcast", rounding=rounding or "rtne")
    if to.is_bool():
        if src.is_ptr():
            x = cast_to(x, int64)
        return arithmetic.compare("ne", x, 0)
    if src.is_int() and to.is_int():
        if src.primitive_bitwidth == to.primitive_bitwidth:
            return tensor(x.handle, result)  # the IR's integers have no sign
        if src.primitive_bitwidth > to.primitive_bitwidth:
            return record("trunci")
        return record("sext" if src.is_int_signed() else "zext")
    if src.is_floating() and to.is_int():
        if src.is_fp8():
            return cast_to(cast_to(x, float32), to)
        return record("fptosi" if to.is_int_signed() else "fptoui")
    if src.is_int() and to.is_floating():
        if to.is_fp8():
            return cast_to(cast_to(x, float32), to)
        return record("sitofp" if src.is_int_signed() else "uitofp")
    if src.is_ptr() and to.is_int():
        if to.primitive_bitwidth != 64:
            raise TypeError(f"cannot cast {src} to {to}: an address has 64 bits; cast to tl.int64 first")
        return record("ptrtoint")
    if src.is_int() and to.is_ptr():
        if src.primitive_bitwidth != 64:
            x = cast_to(x, int64)
        return record("inttoptr")
    if src.is_ptr() and to.is_ptr():
        return tensor(x.handle, result) if src.element() is elem else record("bitcast")
    advice = "; a pointer is an address, and the number that it points to is read by tl.load" if src.is_ptr() else ""
    raise TypeError(f"cannot cast {src} to {to}{advice}")


def bitcast_to(x: tensor, to: dtype) -> tensor:
    """The bits of ``x`` under the element type ``to``.  Raises ValueError where the widths differ."""
    src = x.type.scalar
    if src == to:
        return x
    if src.is_ptr() or to.is_ptr():
        return cast_to(x, to)
    if src.primitive_bitwidth != to.primitive_bitwidth:
        raise ValueError(
            f"Cannot bitcast data-type of size {src.primitive_bitwidth} ({src}) to data-type of size {to.primitive_bitwidth} ({to})"
        )
    result = x.type.with_element_ty(to)
    if src.element() is to.element():
        return tensor(x.handle, result)
    return promotion.emit("bitcast", result, x.handle, to=to.element())


from . import arithmetic, promotion  # noqa: E402  they convert in turn
