"""Tiles that a loop advances become scalars that it advances.

Pointer kernels carry whole tiles of addresses around their loops::

    for k in range(0, K, BK):            %p = for … %p0 ^(%k: i32, %q: tile<64x32xptr<f32>>) {
        a = tl.load(ptrs)                    %a = load %q
        ptrs += BK * stride                  %n = addptr %q, splat(%d)
                                             yield %n }

Every lane moves by the same amount, so one scalar says it all.  With s₀ = 0 and sᵢ₊₁ = sᵢ + dᵢ,

    qᵢ = q₀ + splat(sᵢ)                              (uniform steps: dᵢ any scalar of the loop)
    qᵢ = q₀ + splat(i) · D,   D = Σ deltas           (steps that differ by lane but not by trip)

and the tile is computed where it is used, from a value outside the loop.  After `canonicalize` has moved
splat(s) into the scalar base, a load in the loop reads ``splat(base + s) + offsets`` with invariant offsets:
contiguity is visible, and nothing of tile size lives across the back edge.

Exactness: integers wrap modulo 2ʷ, so sums may be reordered and s has the tile's own width.  Addresses wrap
modulo 2⁶⁴ while offsets are sign-extended one by one, so for pointers s counts elements in i64.

A step may consist of several additions with loads at the places between; these stay and start from qᵢ.
Works on ``for`` and on ``while`` loops that hand the value through their condition unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.builder import Builder
from ..ir.core import Block, Module, Op, Value
from ..ir.types import I64, scalar

__all__ = ["carried", "position_after"]


def carried(m: Module) -> bool:
    changed = False
    for op in list(m.walk()):
        if op.defn.name == "for":
            changed |= _for(op)
        elif op.defn.name == "while":
            changed |= _while(op)
    return changed


@dataclass
class _Step:
    """One addition on the way from the carried value to its next: ``value`` per lane, negated by ``sub``."""

    value: Value
    negative: bool


def _for(loop: Op) -> bool:
    body = loop.blocks[0]
    changed = False
    for i, r in enumerate(loop.results):
        arg = body.args[1 + i]
        if not r.type.shape or r.type.elem.is_float:
            continue
        steps = _steps(body.terminator.operands[i], arg, body)
        if steps:
            changed |= _rewrite(loop, 3 + i, [(body, arg)], body, i, r, steps)
    return changed


def _while(loop: Op) -> bool:
    before, after = loop.blocks
    changed = False
    for i, r in enumerate(loop.results):
        if not r.type.shape or r.type.elem.is_float or before.terminator.operands[1 + i] is not before.args[i]:
            continue
        steps = _steps(after.terminator.operands[i], after.args[i], after)
        if steps:
            end = before.terminator
            places = [(before, before.args[i]), (after, after.args[i])]
            changed |= _rewrite(loop, i, places, after, i, r, steps, passed=(end, 1 + i))
    return changed


def _steps(v: Value | None, arg: Value, body: Block) -> list[_Step]:
    """The additions that lead from ``arg`` to ``v``, all directly in ``body``; empty where it is anything else."""
    steps: list[_Step] = []
    while v is not arg:
        op = v.op if v is not None else None
        if op is None or op.block is not body:
            return []
        name = op.defn.name
        x, y = op.operands[:2] if len(op.operands) == 2 else (None, None)
        if x is None or y is None or name not in ("add", "sub", "addptr"):
            return []
        if name == "add" and (_uniform(x) or x.op is not None and x.op.block is not body):
            x, y = y, x  # addition commutes: go on along the side that can lead to the argument
        steps.append(_Step(y, name == "sub"))
        v = x
    return steps


def _uniform(v: Value) -> bool:
    return v.is_op("splat") or v.is_op("constant")


def _outside(v: Value, loop: Op) -> bool:
    return not any(b.defines(v) for b in loop.blocks)


def _rewrite(
    loop: Op,
    operand: int,
    places: list[tuple[Block, Value]],
    body: Block,
    yielded: int,
    result: Value,
    steps: list[_Step],
    passed: tuple[Op, int] | None = None,
) -> bool:
    """Turns one carried position into a scalar.  ``places``: the block arguments that hold the carried value."""
    t = result.type
    count = scalar(I64 if t.elem.is_ptr else t.elem)  # the scalar's type
    init = loop.operands[operand]
    assert init is not None and loop.block is not None
    front = Builder(loop.block, loop, loop.loc)
    end = body.terminator
    late = Builder(body, end, loop.loc)

    if all(_uniform(s.value) for s in steps):
        total, delta = _sum_uniform(steps, count, late), None
    elif all(_uniform(s.value) or _outside(s.value, loop) for s in steps):
        total, delta = late.const(1, count), _sum_tiles(steps, count, loop, front)
        if delta is None:
            return False
    else:
        return False

    zero = front.const(0, count)
    if passed is not None:  # the condition hands the argument itself on: keep that one use as it is
        passed[0].set_operand(passed[1], None)
    after = position_after(loop)
    for block, v in [*places, (None, result)]:
        uses = list(v.uses)
        name = v.name
        v.type = count
        v.name = f"{name}_step" if name else ""
        if not uses:
            continue
        b = Builder(block, block.ops[0], loop.loc) if block is not None else after
        offset = b.splat(v, shape=t.shape)
        if delta is not None:
            offset = b.mul(offset, delta)
        tile = b.addptr(init, offset) if t.elem.is_ptr else b.add(init, offset)
        tile.name = name
        for user, i in uses:
            user.set_operand(i, tile)
    loop.set_operand(operand, zero)
    if passed is not None:
        passed[0].set_operand(passed[1], places[0][1])
    end.set_operand(yielded, late.add(places[-1][1], total))
    return True


def position_after(loop: Op) -> Builder:
    """Inserts behind ``loop``: a loop is never last, its block ends in a terminator."""
    assert loop.block is not None
    ops = loop.block.ops
    return Builder(loop.block, ops[ops.index(loop) + 1], loop.loc)


def _sum_uniform(steps: list[_Step], count, b: Builder) -> Value:
    total: Value | None = None
    for s in steps:
        op = s.value.op
        assert op is not None
        e = s.value.type.elem
        if op.defn.name == "constant":
            step = b.const(op.attrs["value"], count)
        else:
            step = op.operands[0]  # type: ignore[assignment]
            if e is not count.elem:  # offsets of pointers are signed
                step = b.sext(step, to=count.elem)
        if s.negative:
            step = b.sub(b.const(0, count), step)
        total = step if total is None else b.add(total, step)
    assert total is not None
    return total


def _sum_tiles(steps: list[_Step], count, loop: Op, b: Builder) -> Value | None:
    """Σ of the steps as a tile in front of the loop; None where a uniform step belongs to the loop."""
    for s in steps:
        op = s.value.op
        if not _outside(s.value, loop) and not (op.defn.name == "constant" or _outside(op.operands[0], loop)):  # type: ignore[union-attr,arg-type]
            return None
    total: Value | None = None
    for s in steps:
        v = s.value
        if not _outside(v, loop):
            op = v.op
            assert op is not None
            v = b.const(op.attrs["value"], v.type) if op.defn.name == "constant" else b.splat(op.operands[0], shape=v.type.shape)
        if v.type.elem is not count.elem:
            v = b.sext(v, to=count.elem)
        if s.negative:
            v = b.sub(b.const(0, v.type), v)
        total = v if total is None else b.add(total, v)
    return total
