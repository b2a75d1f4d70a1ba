"""Whether two accesses of one nest may meet in memory.

A nest runs index by index, so what a load reads there may have been written by a store of the same nest at an
earlier index.  `meet` decides whether that can happen; the planner then keeps the two apart.

Two pointers with different *origins* (parameters, pointers that were loaded) are taken not to overlap, as in the
programming model, where lanes have no order among themselves.  With a common origin, both addresses are written
as sums  constant + Σ coefficient · term;  a term is a scalar, or an `arange` that runs along some dimension of the
nest.  The accesses do not meet where the sums are equal (every index touches its own elements) or where they
differ by a constant which is larger than what the aranges span.  A row number times a stride that is only known
at run time counts as the start of a row of its own.
"""

from __future__ import annotations

from ...ir import Op, Value
from .shape import map_dims

__all__ = ["meet", "origins"]

Dims = tuple[int | None, ...]  # per dimension of the nest, the value's dimension that moves along with it
Sum = dict[tuple, int]  # term → coefficient; the constant's term is ()


def origins(p: Value) -> frozenset[Value]:
    """The values that pointer ``p`` may be derived from: parameters, loaded pointers, integers made pointers."""
    out: set[Value] = set()
    seen: set[Value] = set()
    stack = [p]
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        op = v.op
        if op is None:
            parent = v.owner.parent
            if isinstance(parent, Op):  # carried by a loop: whatever comes in
                stack += [x for x in parent.operands if x is not None and x.type.elem.is_ptr]
                stack += [x for b in parent.blocks for x in b.terminator.operands if x is not None and x.type.elem.is_ptr]
            else:
                out.add(v)
        elif op.name in ("load", "inttoptr", "constant"):
            out.add(v)
        else:
            stack += [x for x in op.operands if x is not None and x.type.elem.is_ptr]
            stack += [x for b in op.blocks for x in b.terminator.operands if x is not None and x.type.elem.is_ptr]
    return frozenset(out)


def meet(p: Value, p_dims: Dims, q: Value, q_dims: Dims) -> bool:
    """Whether the addresses ``p`` and ``q``, moving along the nest as the dims say, may meet at different indices."""
    if not origins(p) & origins(q):
        return False
    if p is q and p_dims == q_dims:
        return False
    a, b = _sum(p, p_dims, 64), _sum(q, q_dims, 64)
    if a is None or b is None:
        return True
    difference = {t: c for t in a.keys() | b.keys() if (c := a.get(t, 0) - b.get(t, 0))}
    if not difference:
        return False
    if set(difference) != {()}:
        return True
    span = sum(abs(c) * (_length(t) - 1) for t, c in a.items() if t and t[0] == "arange")
    return any(t and t[0] == "lanes" for t in a) or abs(difference[()]) <= span


def _length(term: tuple) -> int:
    return term[1].type.shape[0]


def _sum(v: Value, dims: Dims, depth: int) -> Sum | None:
    """``v`` as a sum of terms (elements, for a pointer); None where it is too deep to tell."""
    if depth == 0:
        return None
    op = v.op
    if v.type.is_scalar:
        dims = ()
    if op is None:
        return {_opaque(v, dims): 1}
    name = op.name
    if name == "constant":
        return {(): int(op.attrs["value"])} if not v.type.elem.is_float else None
    if name == "arange":
        return {("arange", v, dims): 1, (): op.attrs["start"]}
    if name in ("splat", "broadcast", "expand_dims", "permute", "sext", "zext", "trunci", "hint"):
        x = op.operands[0]
        return _sum(x, map_dims(op, x, v, dims), depth - 1)
    if name in ("add", "sub", "addptr"):
        a, b = (_sum(x, dims, depth - 1) for x in op.operands)
        if a is None or b is None:
            return None
        sign = -1 if name == "sub" else 1
        out = dict(a)
        for t, c in b.items():
            out[t] = out.get(t, 0) + sign * c
        return {t: c for t, c in out.items() if c or not t}
    if name == "mul":
        a, b = (_sum(x, dims, depth - 1) for x in op.operands)
        if a is None or b is None:
            return None
        for x, y in ((a, b), (b, a)):
            if set(x) <= {()}:
                return {t: c * x.get((), 0) for t, c in y.items()}
        if all(t == () or t[0] in ("arange", "scalar") for t in (*a, *b)):
            return {("row", v, dims): 1}
    return {_opaque(v, dims): 1}


def _opaque(v: Value, dims: Dims) -> tuple:
    return ("scalar", v, ()) if v.type.is_scalar else ("lanes", v, dims)
