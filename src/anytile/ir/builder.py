"""Making operations.

``Builder`` appends to a block (or inserts before an op) and derives everything from the op table::

    b = Builder(func.body)
    x = b.fadd(a, c)                              # one result: a Value
    lo, hi = b.split(x)                           # several: a tuple
    loop = b.make("for", [lb, ub, step, init], blocks=(body,))   # the Op itself

Constants are canonical (integers in two's complement, i1 as 0/1), so equal constants compare equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import IRError
from .core import UNKNOWN, Block, Loc, Op, Value
from .ops import TABLE
from .types import Element, Float, Type, scalar

__all__ = ["Builder", "canonical"]


def canonical(value: Any, elem: Element) -> int | float:
    """``value`` as a constant of ``elem`` is stored: integers wrapped to the signed range, i1 as 0 or 1."""
    if isinstance(elem, Float):
        return float(value)
    v = int(value)
    if elem.bits == 1:
        return v & 1
    v &= (1 << elem.bits) - 1
    return v - (1 << elem.bits) if v >> (elem.bits - 1) else v


class Builder:
    """Appends operations to ``block``, or inserts them before ``before``, with location ``loc``."""

    __slots__ = ("block", "before", "loc")

    def __init__(self, block: Block, before: Op | None = None, loc: Loc = UNKNOWN):
        self.block, self.before, self.loc = block, before, loc

    def make(
        self,
        name: str,
        operands: Sequence[Value | None] = (),
        attrs: dict[str, Any] | None = None,
        blocks: tuple[Block, ...] = (),
        types: tuple[Type, ...] | None = None,
    ) -> Op:
        """The operation ``name``; ``types`` gives the result types of rows that cannot infer them."""
        d = TABLE.get(name)
        if d is None:
            raise IRError(f"no operation is called {name!r}")
        operands = list(operands)
        if len(operands) < d.n_fixed:
            operands += [None] * (d.n_fixed - len(operands))
        a = dict(attrs) if attrs else {}
        for n, (_, default) in d.attrs.items():
            if n not in a:
                if d.required_attr(n):
                    raise IRError(f"{name}: attribute {n} is missing")
                a[n] = default
        if types is None:
            if d.infer is None:
                raise IRError(f"{name}: result types must be given")
            types = d.infer([v.type if v is not None else None for v in operands], a)  # type: ignore[misc]
        op = Op(d, operands, a, types, blocks, self.loc)
        if d.check is not None and (problem := d.check(op)):
            op.drop_uses()
            raise IRError(f"{name}: {problem}")
        self.insert(op)
        return op

    def insert(self, op: Op) -> Op:
        op.block = self.block
        ops = self.block.ops
        if self.before is None:
            ops.append(op)
        else:
            ops.insert(ops.index(self.before), op)
        return op

    def op(self, name: str, *operands: Value | None, **attrs: Any) -> Any:
        """The results of the operation: a Value, a tuple of several, or None."""
        r = self.make(name, operands, attrs).results
        return r[0] if len(r) == 1 else tuple(r) if r else None

    def __getattr__(self, name: str):
        key = name[:-1] if name.endswith("_") else name  # b.and_, b.or_, b.for_
        if key not in TABLE:
            raise AttributeError(name)

        def call(*operands: Value | None, **attrs: Any) -> Any:
            return self.op(key, *operands, **attrs)

        return call

    def const(self, value: Any, type: Type | Element) -> Value:
        """``value`` in every lane of ``type``."""
        t = type if isinstance(type, Type) else scalar(type)
        return self.make("constant", (), {"value": canonical(value, t.elem), "type": t}).results[0]

    def at(self, op: Op) -> Builder:
        """A builder that inserts before ``op``, with its location."""
        assert op.block is not None
        return Builder(op.block, op, op.loc)
