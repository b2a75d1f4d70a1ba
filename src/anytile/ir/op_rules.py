"""What rows of the op table say of types: how those of the results follow from operands and attributes, and what must hold of an operation.

`ops` names one of these functions, or writes one in place, for each row; they know nothing of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .core import Op
from .types import BOOL, Ptr, Type

Infer = Callable[[list[Type], dict[str, Any]], tuple[Type, ...]]  # types of the operands, None where one is absent
Check = Callable[[Op], str | None]

CMP_INT = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
CMP_FLOAT = ("oeq", "une", "olt", "ole", "ogt", "oge", "uno")

# --- types of results: of operand types and attributes -------------------------------------------------


def same(t, a):
    return (t[0],)


def nothing(t, a):
    return ()


def bool_like(t, a):
    return (t[0].with_elem(BOOL),)


def to(t, a):
    return (t[0].with_elem(a["to"]),)


def shaped(t, a):
    return (Type.of(t[0].elem, tuple(a["shape"])),)


def expand(t, a):
    s = list(t[0].shape)
    s.insert(a["axis"], 1)
    return (t[0].with_shape(tuple(s)),)


def permuted(t, a):
    return (t[0].with_shape(tuple(t[0].shape[i] for i in a["order"])),)


def reduced(t, a):
    ax = a["axis"]
    return tuple(x.with_shape(x.shape[:ax] + x.shape[ax + 1 :]) for x in t)


def pointee(t, a):
    return (t[0].with_elem(t[0].elem.pointee),)


# --- checks: a sentence about what is wrong, or None --------------------------------------------------


def uniform_types(op: Op) -> str | None:
    first = op.operands[0].type
    for v in op.operands[1:]:
        if v is not None and v.type is not first:
            return f"operand types differ: {first} and {v.type}"
    return None


def ints(op: Op) -> str | None:
    e = op.operands[0].type.elem
    return uniform_types(op) or (None if e.is_int else f"needs integers, not {e}")


def floats(op: Op) -> str | None:
    e = op.operands[0].type.elem
    return uniform_types(op) or (None if e.is_float else f"needs floats, not {e}")


def cmp_ints(op: Op) -> str | None:
    e = op.operands[0].type.elem
    if op.attrs["pred"] not in CMP_INT:
        return f"unknown predicate {op.attrs['pred']!r}"
    return uniform_types(op) or (None if e.is_int or e.is_ptr else f"needs integers or pointers, not {e}")


def cmp_floats(op: Op) -> str | None:
    if op.attrs["pred"] not in CMP_FLOAT:
        return f"unknown predicate {op.attrs['pred']!r}"
    return floats(op)


def cast(src: str, dst: str, order: str = "") -> Check:
    def check(op: Op) -> str | None:
        s, d = op.operands[0].type.elem, op.attrs["to"]
        if not getattr(s, "is_" + src) or not getattr(d, "is_" + dst):
            return f"cannot convert {s} to {d}"
        if order == "<" and not s.bits < d.bits or order == ">" and not s.bits > d.bits:
            return f"{s} to {d} goes the wrong way"
        return None

    return check


def bitcast(op: Op) -> str | None:
    s, d = op.operands[0].type.elem, op.attrs["to"]
    return None if s.bits == d.bits else f"{s} and {d} differ in width"


def select(op: Op) -> str | None:
    c, x, y = (v.type for v in op.operands)
    if c.elem is not BOOL:
        return f"condition is {c}, not i1"
    return None if x is y and c.shape == x.shape else f"operands {c}, {x}, {y} do not match"


def addptr(op: Op) -> str | None:
    p, o = op.operands[0].type, op.operands[1].type
    if not p.elem.is_ptr or not o.elem.is_int or p.shape != o.shape:
        return f"cannot add {o} to {p}"
    return None


def memory(op: Op) -> str | None:
    p = op.operands[0].type
    if not isinstance(p.elem, Ptr):
        return f"{p} is not a pointer"
    for name in ("value", "other", "cmp"):
        if name in op.defn.index and (v := op.operand(name)) is not None:
            if v.type is not p.with_elem(p.elem.pointee):
                return f"{name} is {v.type} but the pointer is {p}"
    if "mask" in op.defn.index and (m := op.operand("mask")) is not None:
        if m.type is not p.with_elem(BOOL):
            return f"mask is {m.type} but the pointer is {p}"
    return None


def reshape(op: Op) -> str | None:
    n = 1
    for d in op.attrs["shape"]:
        n *= d
    return None if n == op.operands[0].type.numel else "element counts differ"


def broadcast(op: Op) -> str | None:
    s, d = op.operands[0].type.shape, op.attrs["shape"]
    if len(s) != len(d) or any(a != b and a != 1 for a, b in zip(s, d)):
        return f"cannot broadcast {s} to {tuple(d)}"
    return None


def dot(op: Op) -> str | None:
    a, b, c = (v.type for v in op.operands)
    if not (a.rank == b.rank == c.rank and a.rank in (2, 3)):
        return f"ranks differ: {a}, {b}, {c}"
    ok = a.shape[-1] == b.shape[-2] and c.shape[-2:] == (a.shape[-2], b.shape[-1])
    if a.rank == 3:
        ok = ok and a.shape[0] == b.shape[0] == c.shape[0]
    return None if ok else f"shapes do not match: {a} x {b} + {c}"


def window(op: Op) -> str | None:
    tiles, base, *rest = (v.type for v in op.operands)
    if base is not tiles.with_shape(()):
        return f"the base is {base}, the pointers are {tiles}"
    if len(rest) != 3 * tiles.rank - 1:
        return f"{len(rest)} offsets, extents and strides for {tiles.rank} dimensions"
    return next((f"{t} among offsets, extents and strides" for t in rest if not (t.is_scalar and t.elem.is_int)), None)
