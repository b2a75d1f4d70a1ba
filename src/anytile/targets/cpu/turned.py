"""Products with few rows, computed turned around: (Bᵀ · Aᵀ)ᵀ instead of A · B.

A linear layer multiplies few rows, tokens, by weights that lie row by row along k (``x @ w.T``)::

    acc[M, N] += x[M, K] · w[N, K]ᵀ        M ≤ 16, and N·K numbers that are read once

A micro-kernel wants B packed, in rows of n; so each tile of weights would be turned around in registers, written, and read again, and
nothing asks for the next one meanwhile.  The other operand it takes as it lies, row by row along k, with requests for the next call's
rows (`direct`).  So here x and w change places: what is packed then is xᵀ, which is small and, in a loop over n, the same every time::

    accᵀ[N, M] += w[N, K] · xᵀ[K, M]

The accumulator that a loop carries stays turned (`carried_views`), and is turned back behind the loop.  A product of its own (the scores of
attention for one query, or for a group of heads that share keys) is turned back where it is used, by reading its buffer across the rows.
"""

from __future__ import annotations

from ...ir import Block, Builder, Module, Op, Value
from ...ir.rewrite import behind
from ...ir.types import BOOL
from ...passes.carried_views import carried_views
from .dot import group_of
from .machine import Machine
from .microkernels import select
from .shape import is_linear, steps
from .text import number_type

__all__ = ["turn_dots"]

MOST_ROWS = 16
_ORDER = (1, 0)


def turn_dots(m: Module, machine: Machine) -> bool:
    """Rewrites such products."""
    changed = False
    for op in [o for o in m.walk() if o.name == "dot"]:
        if _suits(op, machine):
            _turn(op)
            changed = True
    if changed:
        carried_views(m)  # accumulators
    return changed


def _suits(op: Op, machine: Machine) -> bool:
    a, b, acc = op.operands
    if a.type.rank != 2 or a.type.shape[0] > MOST_ROWS or b.type.shape[1] <= a.type.shape[0]:
        return False
    (rows, k), n = a.type.shape, b.type.shape[1]
    x, y, sums = (number_type(v.type.elem) for v in (b, a, acc))
    kernel = select(machine, x, y, sums, n, rows, k)
    as_it_lies = kernel.direct_a and kernel.packed_a.element == x
    return as_it_lies and _lies_along_k(b) and _may_turn(op, group_of(kernel.packed_b) > 1)


def _lies_along_k(b: Value) -> bool:
    """Whether ``b`` is loaded for this product alone, from rows of k."""
    op = _load_behind(b)
    if op is None or op.attrs["volatile"] or op.result.type.elem is BOOL or not is_linear(op.operands[0], ("srem", "urem")):
        return False
    along = steps(op.operands[0], {})
    n, k = along if b.is_op("permute") else along[::-1]
    return k == 1 and n not in (None, 0, 1)


def _load_behind(b: Value) -> Op | None:
    """The load that ``b`` is the result of, turned around or not, where nobody else needs it."""
    op = b.op
    if op is not None and op.name == "permute" and len(b.uses) == 1:
        b, op = op.operands[0], op.operands[0].op
    return op if op is not None and op.name == "load" and len(b.uses) == 1 else None


def _carrier(acc: Value) -> Op | None:
    """The ``for`` loop that carries accumulator ``acc``."""
    loop = acc.owner.parent if isinstance(acc.owner, Block) else None
    return loop if isinstance(loop, Op) and loop.name == "for" and acc.index > 0 else None


def _may_turn(op: Op, groups: bool) -> bool:
    """Whether turning the accumulator around costs little.

    A loop carries it, and this product alone has to do with it: nothing.  It is zero: the product is read across its rows then, which costs as
    much as turning B around where it is turned in words (``groups`` along k), and less where it is turned number by number.
    """
    acc, result, block = op.operands[2], op.result, op.block
    if acc.is_op("constant"):
        return not groups
    loop = _carrier(acc)
    if loop is None or block is not loop.blocks[0] or len(acc.uses) != 1:
        return False
    return list(result.uses) == [(block.terminator, acc.index - 1)]


def _turn(op: Op) -> None:
    a, b, acc = op.operands
    here = _before(op)
    load = _load_behind(b)
    assert load is not None
    rows = load.result if b.is_op("permute") else _turned_load(load)
    new = here.make("dot", [rows, _turned_behind(a), here.permute(acc, order=_ORDER)], op.attrs).result
    op.result.replace_with(here.permute(new, order=_ORDER))
    op.erase()


def _turned_load(load: Op) -> Value:
    b = _before(load)
    return b.make("load", [None if v is None else b.permute(v, order=_ORDER) for v in load.operands], load.attrs).result


def _turned_behind(a: Value) -> Value:
    """``a`` turned around right behind its definition, so that it is packed once, outside of inner loops."""
    turned: Value = behind(a).permute(a, order=_ORDER)
    return turned


def _before(op: Op) -> Builder:
    assert op.block is not None
    return Builder(op.block, op, op.loc)
