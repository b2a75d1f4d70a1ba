"""Rules of `canonicalize` that keep tiles as small as they can be, and simplify changes of shape.

Uniform and broadcast tiles
    f(c₁, c₂)                          = c
    f(splat a, splat b)                = splat f(a, b)
    f(broadcast a, broadcast b, c)     = broadcast f(a, b, c)      where the union of the small shapes is small
The last is what keeps masks and offsets cheap on a CPU: with ``rows`` of shape M×1 and ``cols`` of 1×N,
``(rows·stride)`` broadcast to M×N is computed on M elements and repeated only where it meets ``cols``.

Changes of shape
    Pure insertions of unit dimensions are `expand_dims`; everything else that keeps the order of elements is
    `reshape`; `broadcast` moves outwards, towards its uses, past expand_dims, permute and elementwise rows.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.core import Op, Value
from ..ir.rewrite import rule, rules_of
from .fold import fold

__all__ = ["FOLDS", "RULES"]


@rule("*")
def fold_or_shrink(op, b):
    """f on constants, splats and broadcasts (also load, which reads one place once)."""
    d = op.defn
    if not d.elementwise and not (d.name == "load" and not op.attrs["volatile"]):
        return None
    shape = op.results[0].type.shape
    constants = True
    union = [1] * len(shape)
    uniform = True
    for v in op.operands:
        if v is None:
            continue
        o = v.owner
        name = o.defn.name if type(o) is Op else ""
        if name == "constant":
            continue
        constants = False
        if name == "splat":
            continue
        if name != "broadcast":
            return None
        uniform = False
        union = [max(x, y) for x, y in zip(union, o.operands[0].type.shape)]
    if constants:
        if d.name == "load":
            return None
        value = fold(op, [v.owner.attrs["value"] for v in op.operands])
        if value is not None:
            return b.const(value, op.results[0].type)
    if not shape:
        return None
    if uniform:
        return b.splat(b.make(d.name, [_scalar(v, b) for v in op.operands], op.attrs).results[0], shape=shape)
    small = tuple(union)
    if small == shape:
        return None
    return b.broadcast(b.make(d.name, [_shrunk(v, small, b) for v in op.operands], op.attrs).results[0], shape=shape)


FOLDS = rules_of({"fold_or_shrink": fold_or_shrink})


def _scalar(v: Value | None, b: Builder) -> Value | None:
    if v is None:
        return None
    o = v.op
    assert o is not None
    return o.operands[0] if o.defn.name == "splat" else b.const(o.attrs["value"], v.type.elem)


def _shrunk(v: Value | None, shape: tuple[int, ...], b: Builder) -> Value | None:
    """``v`` (constant, splat or broadcast) at the smaller ``shape``."""
    if v is None:
        return None
    o = v.op
    assert o is not None
    if o.defn.name == "constant":
        return b.const(o.attrs["value"], v.type.with_shape(shape))
    x = o.operands[0]
    if o.defn.name == "splat":
        return b.splat(x, shape=shape)
    return x if x.type.shape == shape else b.broadcast(x, shape=shape)


def _respread(v: Value, shape: tuple[int, ...], b: Builder) -> Value | None:
    """A uniform ``v`` at another shape; None where v is not uniform."""
    o = v.owner
    if type(o) is not Op:
        return None
    if o.defn.name == "constant":
        return b.const(o.attrs["value"], v.type.with_shape(shape))
    return b.splat(o.operands[0], shape=shape) if o.defn.name == "splat" else None


def _inner(v: Value, name: str) -> Op | None:
    o = v.owner
    return o if type(o) is Op and o.defn.name == name else None


@rule("splat", "broadcast", "expand_dims", "reshape", "permute")
def change_of_uniform(op, b):
    # any change of shape of a uniform tile is that uniform tile at the new shape
    x = op.operands[0]
    t = op.results[0].type
    if x.type is t:
        if op.defn.name != "permute":
            return x
        return x if list(op.attrs["order"]) == list(range(t.rank)) else None
    if op.defn.name == "splat":
        o = _inner(x, "constant")
        return b.const(o.attrs["value"], t) if o else None
    return _respread(x, t.shape, b)


@rule("broadcast")
def broadcast_twice(op, b):
    inner = _inner(op.operands[0], "broadcast")
    return b.broadcast(inner.operands[0], shape=op.attrs["shape"]) if inner else None


@rule("expand_dims")
def expand_broadcast(op, b):
    # expand_dims(broadcast x) = broadcast(expand_dims x)
    inner = _inner(op.operands[0], "broadcast")
    if inner is None:
        return None
    return b.broadcast(b.expand_dims(inner.operands[0], axis=op.attrs["axis"]), shape=op.results[0].type.shape)


@rule("permute")
def permute_simplified(op, b):
    x = op.operands[0]
    order = tuple(op.attrs["order"])
    shape = op.results[0].type.shape
    if order == tuple(range(len(order))):
        return x
    if (inner := _inner(x, "permute")) is not None:  # result[i] = x[order[i]] = source[inner[order[i]]]
        through = inner.attrs["order"]
        return b.permute(inner.operands[0], order=tuple(through[i] for i in order))
    if (inner := _inner(x, "broadcast")) is not None:
        return b.broadcast(b.permute(inner.operands[0], order=order), shape=shape)
    moved = [i for i in order if x.type.shape[i] != 1]
    if moved == sorted(moved):  # only unit dimensions move: the elements keep their order
        return b.reshape(x, shape=shape)
    return None


@rule("reshape")
def reshape_simplified(op, b):
    x = op.operands[0]
    shape = tuple(op.attrs["shape"])
    for name in ("reshape", "expand_dims"):
        if (inner := _inner(x, name)) is not None:
            source = inner.operands[0]
            return source if source.type.shape == shape else b.reshape(source, shape=shape)
    axes = _inserted_axes(x.type.shape, shape)
    if axes is None or not x.type.shape:
        return None
    for axis in axes:
        x = b.expand_dims(x, axis=axis)
    return x


def _inserted_axes(source: tuple[int, ...], shape: tuple[int, ...]) -> list[int] | None:
    """The axes, ascending, whose insertion with size 1 turns ``source`` into ``shape``; None if there are none."""
    axes, i = [], 0
    for axis, d in enumerate(shape):
        if i < len(source) and source[i] == d:
            i += 1
        elif d == 1:
            axes.append(axis)
        else:
            return None
    return axes if i == len(source) else None


@rule("split")
def split_of_join(op, b):
    inner = _inner(op.operands[0], "join")
    return tuple(inner.operands) if inner else None


@rule("arange")
def arange_of_one(op, b):
    start = op.attrs["start"]
    return b.const(start, op.results[0].type) if op.attrs["end"] - start == 1 else None


@rule("scan")
def scan_of_one(op, b):
    # the prefix over one element is that element
    return tuple(op.operands) if op.operands[0].type.shape[op.attrs["axis"]] == 1 else None


@rule("reduce")
def reduce_of_one(op, b):
    if op.operands[0].type.shape[op.attrs["axis"]] != 1 or not op.results[0].type.shape:
        return None
    return tuple(b.reshape(x, shape=r.type.shape) for x, r in zip(op.operands, op.results))


RULES = rules_of({k: v for k, v in globals().items() if v is not fold_or_shrink})
