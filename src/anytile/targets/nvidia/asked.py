"""What a dot asks of loads: to lie where all that is computed from them is the dot's operand already.

wgmma takes its first operand A from registers as well, in the fragments of `dot.fragments`.  Weights that a loop loads as 4 or 8 bits
are widened, scaled and put in order by views before they are such an operand:

    load → permute → inline_asm → join, reshape, permute … → a · scale → dot

Each of these has its result where its operand lies, so the fragments' placement is followed back to the loads.  Where a load is then as
wide as the load itself would choose, it is made there: nothing goes through shared memory, and no thread waits for another.  Weights that
are stored in the order of the fragments (as mixture-of-experts kernels for Hopper do) come out so; others do not, and lie as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...ir import Op, Value
from .placement import Placement, span

__all__ = ["asked_loads"]

_FAR = 64
"""Operations between a dot's operand and a load that are looked through."""
_WORD = 4
"""Neighbours that a thread should have of the smaller tiles, such as scales: as many bytes as one copy moves at least."""


def asked_loads(
    dots: Iterable[tuple[Op, Placement]],
    order: Callable[[Value], tuple[int, ...]],
    width: Callable[[Value], int],
    cheap: Callable[[Value], bool],
) -> tuple[dict[Value, Placement], set[Op]]:
    """(Value → the placement it is asked to have, loads and what is computed from them; the dots whose A is then made in registers).

    ``dots``: each with its fragments of A; ``order``, ``width``: of a load's pointer, its dimensions by contiguity and the elements that one
    access can move; ``cheap``: whether a value is computed from scalars and indices alone.
    """
    out: dict[Value, Placement] = {}
    served: set[Op] = set()
    for dot, fragments in dots:
        a = dot.operands[0]
        if _loaded(a):
            continue  # copied to shared memory as it is
        found: dict[Op, Placement] = {}
        between: dict[Value, Placement] = {}
        if not _follow(a, fragments, found, between, cheap, [_FAR]) or any(load.block is not dot.block for load in found):
            continue
        placed = {load: _by_address(place, order(load.operands[0])) for load, place in found.items()}
        main = max(placed, key=lambda load: load.result.type.numel, default=None)
        if main is None or not _wide(main, placed[main], order, width):
            continue
        served.add(dot)
        out |= between | {load.result: place for load, place in placed.items() if load is main or _wide(load, place, order, width, _WORD)}
    return out, served


def _loaded(v: Value) -> bool:
    """Whether ``v`` is a load, perhaps permuted or without dimensions of 1."""
    while v.op is not None and v.op.name in ("permute", "reshape"):
        v = v.op.operands[0]
    return v.is_op("load")


def _follow(
    v: Value,
    place: Placement,
    found: dict[Op, Placement],
    between: dict[Value, Placement],
    cheap: Callable[[Value], bool],
    fuel: list[int],
) -> bool:
    """Collects the loads that ``v`` is computed from, and where they must lie for ``v`` to be at ``place``; False where one cannot.

    ``between``: what is computed on the way, where it must lie, register by register: arithmetic on 16-bit numbers takes two neighbours at
    a time, and the operand's words are those pairs then.  The text of an ``inline_asm`` takes neighbours of its own: those of its operand.
    """
    op = v.op

    def on(x: Value | None, there: Placement) -> bool:
        return x is None or _follow(x, there, found, between, cheap, fuel)

    fuel[0] -= 1
    if v.type.is_scalar or cheap(v):
        return True
    if op is None or op.blocks or fuel[0] < 0:
        return False
    if op.name == "load":
        return found.setdefault(op, place) == place
    if op.name == "permute":
        return on(op.operands[0], place.before_permute(op.operands[0].type.shape, tuple(op.attrs["order"])))
    if op.name in ("reshape", "expand_dims"):
        return on(op.operands[0], place.before_reshape(op.operands[0].type.shape))
    if op.name == "broadcast":
        return on(op.operands[0], place.before_broadcast(op.operands[0].type.shape).compact())
    if op.name == "join":
        part = place.mapped(op.operands[0].type.shape, lambda b: b >> 1).compact()
        return all(on(x, part) for x in op.operands)
    if not (op.defn.elementwise or op.name in ("inline_asm", "hint")) or between.get(v, place) != place:
        return False
    if op.name != "inline_asm":
        between[v] = place
    return all(on(x, place) for x in op.operands if x is None or x.type.shape == v.type.shape)


def _by_address(place: Placement, order: tuple[int, ...]) -> Placement:
    """The same place with its registers in the order of addresses, the fastest dimension first."""
    low, bits = span(place.shape, order[0])
    inside = [1 << low + i for i in range(bits) if 1 << low + i in place.register]
    return Placement(place.shape, (*inside, *(b for b in place.register if b not in inside)), place.lane, place.warp)


def _wide(
    load: Op, place: Placement, order: Callable[[Value], tuple[int, ...]], width: Callable[[Value], int], enough: int | None = None
) -> bool:
    """Whether a thread has as many neighbours at ``place`` as one access can move, or ``enough`` of them."""
    pointer = load.operands[0]
    low, bits = span(place.shape, order(pointer)[0])
    n = 0
    while n < min(bits, len(place.register)) and place.register[n] == 1 << low + n:
        n += 1
    return 1 << n >= min(width(pointer), enough or width(pointer))
