"""Loads, stores and atomics through pointers.

A pointer is a scalar or a tile of addresses; block pointers and tensor descriptors are expanded to these in
`descriptor`.  Values are converted to the pointee's type and broadcast to the pointer's shape; masks are broadcast.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import UnsupportedError
from .arithmetic import invert, where
from .builtin import builtin, member
from .casting import bitcast_to, cast_to
from .constexpr import unwrap
from .context import current
from .mistakes import Mistake
from .promotion import broadcast_to_shape, constant, to_tensor
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import dtype, int32, int64, pointer_type, uint32, uint64

__all__ = [
    "load",
    "store",
    "atomic_add",
    "atomic_max",
    "atomic_min",
    "atomic_and",
    "atomic_or",
    "atomic_xor",
    "atomic_xchg",
    "atomic_cas",
    "atomic_load",
    "atomic_store",
    "atomic_poll",
    "load_pointers",
    "store_pointers",
]

_LOAD_CACHE = ("", ".ca", ".cg", ".cs", ".cv")
_STORE_CACHE = ("", ".wb", ".cg", ".cs", ".wt")
_EVICT = ("", "evict_last", "evict_first", "evict_normal", "no_allocate")
_SEM = ("acquire", "release", "acq_rel", "relaxed")
_SCOPE = ("gpu", "cta", "sys")


def _choice(value: Any, allowed: tuple[str, ...], what: str) -> str:
    value = unwrap(value) or allowed[0]
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is not supported; use one of {', '.join(repr(a) for a in allowed)}")
    return value


# --- load -----------------------------------------------------------------------------------------------


@member
@builtin
def load(
    pointer: Any,
    mask: Any = None,
    other: Any = None,
    boundary_check: Any = (),
    padding_option: Any = "",
    cache_modifier: Any = "",
    eviction_policy: Any = "",
    volatile: Any = False,
) -> tensor:
    """The values at ``pointer``; ``other`` where ``mask`` is off.

    pointer          scalar or tile of pointers, or a block pointer
    mask             int1, broadcast to the pointer's shape, or the pointer to its; lanes that are off touch no memory
    other            value of masked-off lanes (only with ``mask``); without it they are zero
    boundary_check   dimensions to check against the shape of a block pointer
    padding_option   "", "zero" or "nan": what a checked block pointer gives outside
    """
    pointer, mask, other = unwrap(pointer), unwrap(mask), unwrap(other)
    hints = {
        "cache": _choice(cache_modifier, _LOAD_CACHE, "cache modifier"),
        "evict": _choice(eviction_policy, _EVICT, "eviction policy"),
        "volatile": bool(unwrap(volatile)),
    }
    if isinstance(pointer, descriptor.block_pointer):
        if mask is not None or other is not None:
            raise ValueError("`mask` and `other` arguments cannot be specified for loading block pointers; use boundary_check")
        return pointer.load(boundary_check, padding_option, **hints)
    pointer = _pointers(pointer, "load")
    if unwrap(padding_option) or descriptor.dimensions(boundary_check):
        raise ValueError(
            f"`padding_option` and `boundary_check` belong to block pointers, but the pointer is a {pointer.type}; use mask and other"
        )
    return load_pointers(pointer, mask, other, **hints)


def _pointers(pointer: Any, what: str) -> tensor:
    if not isinstance(pointer, tensor) or not pointer.dtype.is_ptr():
        if isinstance(pointer, (tl_tuple, tuple)) and len(pointer) == 1:
            raise ValueError(
                f"Unsupported ptr type in `tl.{what}`: a tuple of one value, not a pointer; "
                "does a comma stand behind the pointer where it is assigned?"
            )
        shown = pointer.type if isinstance(pointer, tensor) else repr(pointer)
        raise ValueError(f"Unsupported ptr type {shown} in `tl.{what}`; it takes a pointer such as base + tl.arange(0, N)")
    return pointer


def pointee(pointer: tensor) -> dtype:
    """What a scalar or tile of pointers points to."""
    scalar = pointer.dtype
    assert isinstance(scalar, pointer_type)
    return scalar.element_ty


def load_pointers(pointer: tensor, mask: Any = None, other: Any = None, **hints: Any) -> tensor:
    """`load` through a scalar or tile of pointers."""
    element = pointee(pointer)
    if mask is None and other is not None:
        raise ValueError("`other` cannot be provided without `mask`")
    pointer = _widened(pointer, mask, other)
    mask = _mask(mask, pointer)
    if other is not None:
        other = _fit(other, element, pointer, "Other")
    attrs = {k: v for k, v in hints.items() if v}
    handles = [pointer.handle, _handle(mask), _handle(other)]
    op = current().builder.make("load", handles, attrs)
    return tensor(op.results[0], pointer.type.with_element_ty(element))


def _widened(pointer: tensor, *others: Any) -> tensor:
    """``pointer`` repeated along the dimensions in which it has one element and one of ``others`` has more, as Triton does from 3.7 on.

    What fits neither way is left to who broadcasts to the pointer's shape, and says so.
    """
    for x in map(unwrap, others):
        if isinstance(x, tensor) and x.rank == pointer.rank:
            shape = tuple(b if a == 1 else a for a, b in zip(pointer.type.shape, x.type.shape))
            pointer = broadcast_to_shape(pointer, shape)
    return pointer


def _handle(x: tensor | None) -> Any:
    return None if x is None else x.handle


# --- store ----------------------------------------------------------------------------------------------


@member
@builtin
def store(
    pointer: Any,
    value: Any,
    mask: Any = None,
    boundary_check: Any = (),
    cache_modifier: Any = "",
    eviction_policy: Any = "",
) -> None:
    """Writes ``value``, converted to the pointee's type and broadcast, where ``mask`` is on.

    Raises ValueError for a pointer to constant data and where shapes do not fit.
    """
    pointer, mask = unwrap(pointer), unwrap(mask)
    hints = {
        "cache": _choice(cache_modifier, _STORE_CACHE, "cache modifier"),
        "evict": _choice(eviction_policy, _EVICT, "eviction policy"),
    }
    if isinstance(pointer, descriptor.block_pointer):
        if mask is not None:
            raise ValueError("`mask` cannot be specified for storing through block pointers; use boundary_check")
        pointer.store(value, boundary_check, **hints)
        return
    pointer = _pointers(pointer, "store")
    if descriptor.dimensions(boundary_check):
        raise ValueError(f"`boundary_check` belongs to block pointers, but the pointer is a {pointer.type}; use mask")
    store_pointers(pointer, value, mask, **hints)


def store_pointers(pointer: tensor, value: Any, mask: Any = None, **hints: Any) -> None:
    """`store` through a scalar or tile of pointers."""
    _check_writable(pointer)
    pointer = _widened(pointer, value, mask)
    value = _fit(value, pointee(pointer), pointer, "Value")
    mask = _mask(mask, pointer)
    attrs = {k: v for k, v in hints.items() if v}
    current().builder.make("store", [pointer.handle, value.handle, _handle(mask)], attrs)


def _check_writable(pointer: tensor) -> None:
    if pointer.dtype.is_const():
        raise Mistake(
            f"Cannot store to a constant pointer ({pointer.dtype})", "the parameter's annotation tl.const promises that; take it away"
        )


def _fit(value: Any, element: dtype, pointer: tensor, what: str) -> tensor:
    """``value`` in the pointee's type and the pointer's shape."""
    value = unwrap(value)
    if isinstance(value, (bool, int, float)):
        return constant(_as(value, element), pointer.type.with_element_ty(element))
    value = to_tensor(value)
    if value.rank and not pointer.rank:
        raise ValueError(
            f"{what} argument cannot be block type if pointer argument is not a block (they are {value.type} and {pointer.type})"
        )
    return cast_to(broadcast_to_shape(value, pointer.type.shape), element)


def _as(value: Any, to: dtype) -> Any:
    """A Python number for memory of type ``to``; what integers cannot hold becomes their nearest end (NaN: 0), as on GPUs."""
    if to.is_bool():
        return bool(value)
    if to.is_floating():
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return 0 if math.isnan(value) else to.get_int_max_value() if value > 0 else to.get_int_min_value()
    return int(value)


def _mask(mask: Any, pointer: tensor) -> tensor | None:
    if mask is None:
        return None
    mask = to_tensor(mask)
    if mask.rank and not pointer.rank:
        raise ValueError(f"Mask argument cannot be block type if pointer argument is not a block (they are {mask.type} and {pointer.type})")
    if not mask.dtype.is_bool():
        raise ValueError(f"Mask must have boolean scalar type, not {mask.dtype}; compare it, or convert it with .to(tl.int1)")
    try:
        return broadcast_to_shape(mask, pointer.type.shape)
    except ValueError as e:
        raise Mistake(str(e), f"the mask has the shape {list(mask.type.shape)}, and the pointers have {list(pointer.type.shape)}") from None


# --- atomics --------------------------------------------------------------------------------------------


def _atomic_operands(name: str, pointer: Any, value: Any, mask: Any) -> tuple[tensor, tensor, tensor | None]:
    pointer = _pointers(unwrap(pointer), "atomic_" + name)
    _check_writable(pointer)
    element = pointee(pointer)
    if element.primitive_bitwidth < 16 or element.primitive_bitwidth == 16 and (element.is_int() or name not in ("add", "xchg")):
        raise ValueError(f"atomic_{name} does not support {element}")
    if element.is_floating() and name in ("and", "or", "xor"):
        raise ValueError(f"atomic_{name} needs integers, not {element}")
    if element.is_ptr():
        raise ValueError(f"atomic_{name} does not support {element}")
    return pointer, _fit(value, element, pointer, "Value"), _mask(unwrap(mask), pointer)


def _rmw(kind: str, pointer: tensor, value: tensor, mask: tensor | None, sem: Any, scope: Any) -> tensor:
    attrs = _order(sem, scope)
    op = current().builder.make("atomic_rmw", [pointer.handle, value.handle, _handle(mask)], {"kind": kind, **attrs})
    return tensor(op.results[0], value.type)


def _order(sem: Any, scope: Any) -> dict[str, str]:
    return {"sem": _choice(unwrap(sem) or "acq_rel", _SEM, "memory semantic"), "scope": _choice(scope, _SCOPE, "memory scope")}


@member
@builtin
def atomic_add(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Adds ``val`` at ``pointer`` atomically; gives the old value.

    sem is "acquire", "release", "acq_rel" (default) or "relaxed"; scope is "gpu" (default), "cta" or "sys".
    """
    pointer, val, mask = _atomic_operands("add", pointer, val, mask)
    return _rmw("fadd" if val.dtype.is_floating() else "add", pointer, val, mask, sem, scope)


@member
@builtin
def atomic_max(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores the greater of the old value and ``val`` atomically; gives the old value."""
    return _atomic_extremum("max", pointer, val, mask, sem, scope)


@member
@builtin
def atomic_min(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores the lesser of the old value and ``val`` atomically; gives the old value."""
    return _atomic_extremum("min", pointer, val, mask, sem, scope)


def _atomic_extremum(name: str, pointer: Any, val: Any, mask: Any, sem: Any, scope: Any) -> tensor:
    pointer, val, mask = _atomic_operands(name, pointer, val, mask)
    t = val.dtype
    if t.is_int():
        return _rmw(("s" if t.is_int_signed() else "u") + name, pointer, val, mask, sem, scope)
    # Floats order like sign-magnitude integers: among values of one sign a signed (positive) or a reversed
    # unsigned (negative) integer comparison orders them, and across signs the sign bit decides.  So a
    # non-negative ``val`` wants a signed extremum of the bits and a negative one the opposite unsigned extremum.
    signed, unsigned = (int32, uint32) if t.is_fp32() else (int64, uint64)
    opposite = "min" if name == "max" else "max"
    bits = bitcast_to(val, signed)
    negative = bits < 0
    positive = invert(negative)
    on_pos, on_neg = (positive, negative) if mask is None else (mask & positive, mask & negative)
    old_pos = _rmw("s" + name, _retyped(pointer, signed), bits, on_pos, sem, scope)
    old_neg = _rmw("u" + opposite, _retyped(pointer, unsigned), bitcast_to(val, unsigned), on_neg, sem, scope)
    return bitcast_to(where(positive, old_pos, bitcast_to(old_neg, signed)), t)


def narrow_extremum(name: str, pointer: tensor, val: tensor, mask: tensor | None) -> None:
    """Atomic "min" or "max" of 16-bit floats, for targets that have it; NaN loses against a number."""
    _rmw("f" + name, pointer, val, mask, "relaxed", None)


def _retyped(pointer: tensor, element: dtype) -> tensor:
    return cast_to(pointer, pointer_type(element))


@member
@builtin
def atomic_and(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores old & val atomically; gives the old value."""
    return _rmw("and", *_atomic_operands("and", pointer, val, mask), sem, scope)


@member
@builtin
def atomic_or(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores old | val atomically; gives the old value."""
    return _rmw("or", *_atomic_operands("or", pointer, val, mask), sem, scope)


@member
@builtin
def atomic_xor(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores old ^ val atomically; gives the old value."""
    return _rmw("xor", *_atomic_operands("xor", pointer, val, mask), sem, scope)


@member
@builtin
def atomic_xchg(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """Stores ``val`` atomically; gives the old value."""
    return _rmw("xchg", *_atomic_operands("xchg", pointer, val, mask), sem, scope)


@member
@builtin
def atomic_cas(pointer: Any, cmp: Any, val: Any, sem: Any = None, scope: Any = None) -> tensor:
    """Stores ``val`` where the bits at ``pointer`` equal those of ``cmp``, atomically; gives the old value."""
    pointer = _pointers(unwrap(pointer), "atomic_cas")
    _check_writable(pointer)
    element = pointee(pointer)
    if element.primitive_bitwidth not in (16, 32, 64):
        raise ValueError(f"atomic_cas only supports elements with width {{16, 32, 64}}, not {element}")
    cmp, val = _fit(cmp, element, pointer, "Cmp"), _fit(val, element, pointer, "Value")
    op = current().builder.make("atomic_cas", [pointer.handle, cmp.handle, val.handle], _order(sem, scope))
    return tensor(op.results[0], val.type)


@member
@builtin
def atomic_load(pointer: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> tensor:
    """The value at ``pointer``, read atomically: an exchange-free read-modify-write that adds nothing."""
    pointer = _pointers(unwrap(pointer), "atomic_load")
    element = pointee(pointer)
    if element.is_floating():
        bits = {16: None, 32: int32, 64: int64}[element.primitive_bitwidth] if element.primitive_bitwidth >= 16 else None
        if bits is None:
            raise ValueError(f"atomic_load does not support {element}")
        return bitcast_to(atomic_load(_retyped(pointer, bits), mask, sem, scope), element)
    # or-ing zero leaves every integer as it is
    return atomic_or(pointer, 0, mask, sem, scope)


@member
@builtin
def atomic_store(pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> None:
    """Writes ``val`` atomically."""
    _rmw("xchg", *_atomic_operands("store", pointer, val, mask), sem, scope)


@member
@builtin
def atomic_poll(pointer: Any, expected_value: Any, sem: Any = None, scope: Any = None, timeout_ns: Any = None) -> tensor:
    """Would spin until the value at ``pointer`` is ``expected_value``; programs of a grid need not run at once here."""
    raise UnsupportedError("tl.atomic_poll", remedy="programs run one after another on some targets, so a spinning one may never end")


from . import descriptor  # noqa: E402  block pointers load and store through this file
