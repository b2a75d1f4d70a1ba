"""Choices about a nest: which dimension carries the vector, how many vectors at once.

The vector runs along the dimension in which most accesses of the nest are contiguous.  How far a value moves
per step of each dimension is read off the IR by `steps`: 0 does not vary, 1 contiguous, other strides and
unknown patterns are gathers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...ir import Op, Value
from ...ir.rewrite import const_value
from .memory import Buffer
from .roots import ReduceRoot, Root, StoreRoot, WriteRoot

if TYPE_CHECKING:
    from .program import Program

__all__ = ["accesses", "choose_unroll", "choose_vector_dim", "in_order", "is_linear", "map_dims", "repeats", "runs", "steps"]

FAR = 1 << 20  # linear, but not by a known small stride
GATHER_COST, UNIFORM_COST, VECTOR_COST = 8, 1, 1


def steps(v: Value, memo: dict[Value, tuple]) -> tuple[int | None, ...]:
    """Per dimension: by how much ``v`` grows per index step; None where that is not constant.

    Remainders and the like grow so for a while only: where more than speed depends on it, `is_linear` is asked, too.
    """
    got = memo.get(v)
    if got is None:
        got = memo[v] = _steps(v, memo)
    return got


def _steps(v: Value, memo: dict) -> tuple[int | None, ...]:
    shape, op = v.type.shape, v.op
    flat = tuple(0 if d == 1 else None for d in shape)
    if op is None:
        return flat
    name = op.name
    if name in ("splat", "constant"):
        return (0,) * len(shape)
    if name == "arange":
        return (1,)
    if name in ("hint", "sext", "zext", "trunci"):
        return steps(op.operands[0], memo)
    if name == "broadcast":
        src = op.operands[0]
        return tuple(s if a == b else 0 for s, a, b in zip(steps(src, memo), src.type.shape, shape))
    if name == "expand_dims":
        s = list(steps(op.operands[0], memo))
        s.insert(op.attrs["axis"], 0)
        return tuple(s)
    if name == "permute":
        s = steps(op.operands[0], memo)
        return tuple(s[i] for i in op.attrs["order"])
    if name == "reshape":
        src = op.operands[0]
        if [d for d in src.type.shape if d > 1] == [d for d in shape if d > 1]:
            real = iter([s for s, d in zip(steps(src, memo), src.type.shape) if d > 1])
            return tuple(next(real) if d > 1 else 0 for d in shape)
        return flat
    if name in ("add", "sub", "addptr", "xor", "or"):
        a, b = (steps(x, memo) for x in op.operands)
        sign = -1 if name == "sub" else 1
        return tuple(None if x is None or y is None else x + sign * y for x, y in zip(a, b))
    if name == "mul":
        a, b = (steps(x, memo) for x in op.operands)
        return tuple(_times(op, k, x, y) for k, (x, y) in enumerate(zip(a, b)))
    if name in ("srem", "urem", "and"):
        a, b = (steps(x, memo) for x in op.operands)
        return tuple(x if y == 0 and x in (0, 1) else None for x, y in zip(a, b))
    if op.defn.elementwise:
        every = [steps(x, memo) for x in op.operands]
        return tuple(0 if all(e[k] == 0 for e in every) else None for k in range(len(shape)))
    return flat


_LINEAR = frozenset("add sub addptr broadcast expand_dims permute sext zext trunci hint mul".split())
_LOOKED_AT = 200


def is_linear(v: Value, but_for: tuple[str, ...] = ()) -> bool:
    """Whether ``v`` is an affine function of the index, as far as a quick look tells, if the operations ``but_for`` are."""
    stack, seen = [v], {v}
    while stack:
        x = stack.pop()
        op = x.op
        if x.type.is_scalar or op is not None and op.name in ("arange", "constant", "splat"):
            continue
        if op is None or len(seen) > _LOOKED_AT:
            return False
        elem = x.type.elem
        if op.name == "trunci" and elem.bits < 32:
            return False  # narrow integers wrap around
        if op.name == "zext":
            return False  # of numbers below zero it makes large ones, and truths are 0 or 1 in any order
        if op.name not in _LINEAR and op.name not in but_for and not (elem.is_bool and op.name in ("icmp", "and")):
            return False
        fresh = [y for y in op.operands if y is not None and y not in seen]
        stack += fresh
        seen.update(fresh)
    return True


def in_order(op: Op) -> tuple[Value, Value, str]:
    """(x, y, predicate) of an ``icmp``, turned round where it asks whether one operand is larger: then the other is smaller."""
    (x, y), pred = op.operands, op.attrs["pred"]
    return (y, x, pred.replace("g", "l")) if pred in ("sgt", "sge", "ugt", "uge") else (x, y, pred)


def repeats(v: Value) -> bool:
    """Whether neighbours mostly have the same ``v``: it is made of positions by dividing them all by one number."""
    stack, seen = [v], {v}
    while stack:
        op = stack.pop().op
        if op is None or len(seen) > _LOOKED_AT:
            continue
        if op.name in ("sdiv", "udiv") and op.result.type.rank:
            return is_linear(op.operands[0]) and _one_number(op.operands[1])
        if op.name in _LINEAR and op.result.type.rank:
            fresh = [x for x in op.operands if x not in seen]
            stack += fresh
            seen.update(fresh)
    return False


def _one_number(v: Value) -> bool:
    while v.op is not None and v.op.name in ("broadcast", "expand_dims"):
        v = v.op.operands[0]
    return v.op is not None and v.op.name in ("splat", "constant")


def _times(op, k: int, x: int | None, y: int | None) -> int | None:
    if x == 0 and y == 0:
        return 0
    if x is None or y is None or x and y:
        return None
    other = op.operands[1] if x else op.operands[0]
    c = const_value(other)
    return (x or y) * int(c) if c is not None else FAR


def choose_vector_dim(p: Program, shape: tuple[int, ...], roots: list[Root], axis: int | None) -> int:
    real = [d for d, n in enumerate(shape) if n > 1]
    if not real:
        return axis if axis is not None else len(shape) - 1
    if len(real) == 1:
        return real[0]
    touched = list(accesses(p, roots))
    best, best_cost = real[-1], None
    for d in reversed(real):
        narrow = 1 if shape[d] >= p.machine.lanes else p.machine.lanes // shape[d]
        cost = sum(UNIFORM_COST if s[d] == 0 else VECTOR_COST if s[d] == 1 else GATHER_COST for s in touched) * narrow
        cost += narrow  # even without accesses, full vectors are better
        if best_cost is None or cost < best_cost:
            best, best_cost = d, cost
    return best


def accesses(p: Program, roots: list[Root]):
    """Steps, per nest dimension, of every address that the nest touches."""
    memo = p.step_memo
    rank = None
    stack: list[tuple[Value, tuple[int | None, ...]]] = []
    for r in roots:
        if isinstance(r, WriteRoot):
            shape = r.value.type.shape
            yield _row_major(shape, tuple(range(len(shape))), r.into.strides)
            stack.append((r.value, tuple(range(len(shape)))))
            continue
        rank = r.op.operands[0].type.rank
        ident = tuple(range(rank))
        stack += [(v, ident) for v in r.op.operands if v is not None]
        if isinstance(r, StoreRoot):
            yield steps(r.op.operands[0], memo)
        elif isinstance(r, ReduceRoot):
            continue
    seen = set()
    while stack:
        v, dims = stack.pop()
        if (v, dims) in seen or v.type.is_scalar:
            continue
        seen.add((v, dims))
        b = p.buffers.get(v)
        if b is not None:
            yield _row_major(v.type.shape, dims, b.strides)
            continue
        op = v.op
        if op is None:
            continue
        if op.name == "load":
            s = steps(op.operands[0], memo)
            yield tuple(0 if d is None else s[d] for d in dims)
        if op.name == "reshape" and (b := p.buffers.get(op.operands[0])) is not None and b.is_row_major():  # type: ignore[arg-type]
            yield _row_major(v.type.shape, dims, Buffer.row_major(b.ptr, b.elem, v.type.shape).strides)
            continue
        if op.name == "splat":
            continue
        for x in op.operands:
            if x is not None:
                stack.append((x, map_dims(op, x, v, dims)))


def _row_major(shape, dims, strides) -> tuple[int, ...]:
    return tuple(0 if d is None or shape[d] == 1 else strides[d] for d in dims)


def map_dims(op, x: Value, v: Value, dims: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """For each nest dimension, the dimension of operand ``x`` that it moves along (None: it does not)."""
    name = op.name
    if name == "broadcast":
        return tuple(d if d is not None and x.type.shape[d] == v.type.shape[d] else None for d in dims)
    if name == "expand_dims":
        a = op.attrs["axis"]
        return tuple(None if d is None or d == a else d - (d > a) for d in dims)
    if name == "permute":
        return tuple(None if d is None else op.attrs["order"][d] for d in dims)
    if name == "reshape":
        src, dst = x.type.shape, v.type.shape
        if [d for d in src if d > 1] == [d for d in dst if d > 1]:
            a = [i for i, d in enumerate(src) if d > 1]
            b = [i for i, d in enumerate(dst) if d > 1]
            to = dict(zip(b, a))
            return tuple(to.get(d) if d is not None else None for d in dims)
        return tuple(x.type.rank - 1 if d == len(dst) - 1 else None for d in dims)
    if name == "join":
        return tuple(None if d is None or d >= x.type.rank else d for d in dims)
    return dims


def runs(src: tuple[int, ...], dst: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions of ``src`` and ``dst``, reshaped to each other, that have as many elements; those of size 1 left out."""
    a, b = ([d for d, n in enumerate(shape) if n > 1] for shape in (src, dst))
    while a:
        i = j = 1
        mine, theirs = src[a[0]], dst[b[0]]
        while mine != theirs:
            if mine < theirs:
                mine, i = mine * src[a[i]], i + 1
            else:
                theirs, j = theirs * dst[b[j]], j + 1
        yield a[:i], b[:j]
        a, b = a[i:], b[j:]


def choose_unroll(p: Program, shape: tuple[int, ...], roots: list[Root], d: int, width: int, axis: int | None) -> int:
    """Vectors per step of the main loop: several while the body is small, to overlap latencies."""
    if width == 1 or axis is not None and axis != d:
        return 1
    size = _body_size(p, roots)
    want = 4 if size <= 24 else 2 if size <= 90 else 1
    return max(1, min(want, shape[d] // width))


def _body_size(p: Program, roots: list[Root]) -> int:
    seen: set[Value] = set()
    stack = [v for r in roots for v in ([r.value] if isinstance(r, WriteRoot) else r.op.operands) if v is not None]
    n = 0
    while stack:
        v = stack.pop()
        if v in seen or v.type.is_scalar or v in p.buffers or v.op is None:
            continue
        seen.add(v)
        n += v.op.defn.elementwise and not v.type.elem.is_ptr or v.op.name == "load"
        stack += [x for x in v.op.operands if x is not None]
    return n
