"""Small tiles that are loaded to be broadcast: rows of weights, of cosines and sines, a scale for each row.

    w = tl.load(weights + columns)                     64 elements, one a thread: to reach `x` they would go through shared memory
    y = x * w[None, :]

Such a tile is loaded where the larger one lies to which it is broadcast, and so are numbers by which it is found in a table.  Several
threads then load the same elements, which the cache serves at once, and two barriers and a round through shared memory are saved.

Nothing in the kernel may store through the pointer that the tile is loaded from: a thread could load its copy after the owner of
the element has stored to it.  Another argument may be the same tensor, as where a state is replaced in place: before the first write
behind such loads there is a barrier, one instead of two for each tile (`memory.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...ir import Func, Op, Value
from .loop_reads import base
from .placement import Placement

__all__ = ["broadcast_loads"]

_REGISTERS = 16
"""Elements of the small tile that a thread may hold."""
_BESIDE_DOTS = 32
"""The same in a loop with dots, where a barrier would keep warpgroups from taking turns (`chain`)."""
_VIEWS = frozenset({"expand_dims", "broadcast", "reshape", "permute"})
_WRITES = frozenset({"store", "atomic_rmw", "atomic_cas"})

Where = Callable[[Value], Placement | None]


def broadcast_loads(func: Func, threads: int, where: Where, cheap: Callable[[Value], bool]) -> dict[Value, list[Placement]]:
    """Results of loads, and what is computed from them alone before it is broadcast → the placements that the larger tiles want of them.

    ``where``: the placements of all values, as they are without this; ``cheap``: whether a value is computed from scalars and indices.
    """
    small = _candidates(func, threads, cheap)
    placed = _Placed(small, where, cheap)
    out: dict[Value, list[Placement]] = {}
    for v in small:
        found = placed.wanted(v)
        if found and set(found) != {where(v)} and sum(place.registers for place in found) <= _most(func, v):
            out[v] = list(found)
    return out


def _most(func: Func, v: Value) -> int:
    """How many elements of ``v`` a thread may hold."""
    block = v.op.block if v.op is not None else None
    beside_dots = block is not None and block is not func.body and any(op.name == "dot" for op in block.ops)
    return _BESIDE_DOTS if beside_dots else _REGISTERS


def _candidates(func: Func, threads: int, cheap: Callable[[Value], bool]) -> dict[Value, None]:
    """Loads that may be made by several threads, and what is computed from them alone."""
    ops = list(func.walk())
    written = {base(op.operands[0]) for op in ops if op.name in _WRITES}
    out: dict[Value, None] = {}
    for op in ops:
        made_of = [_seen_through(x) for x in op.operands if x is not None]
        if op.name == "load":
            known = base(op.operands[0])
            again = known is not None and not {None, known} & written and not op.attrs.get("volatile")
            again = again and all(cheap(x) or x in out for x in made_of)
        else:
            again = op.defn.elementwise and any(x in out for x in made_of) and all(x in out or cheap(x) for x in made_of)
        if again and not op.result.type.is_scalar and op.result.type.numel <= threads:
            out[op.result] = None
    return out


def _seen_through(v: Value) -> Value:
    """What ``v`` is a view of."""
    while v.op is not None and v.op.name in _VIEWS:
        v = v.op.operands[0]
    return v


class _Placed:
    """Which placements of a small tile its users want."""

    def __init__(self, small: dict[Value, None], where: Where, cheap: Callable[[Value], bool]):
        self.small, self.where, self.cheap = small, where, cheap
        self._known: dict[Value, dict[Placement, None] | None] = {}  # each value is asked for by every way to it, of which there may be 2ⁿ

    def wanted(self, v: Value) -> dict[Placement, None] | None:
        """In the order of the users; None where one of them wants it for another purpose than to broadcast it.

        The last of a chain of users first, without recursion: a function of libdevice's is a chain of hundreds.
        """
        pending = [v]
        while pending:
            ahead = [] if pending[-1] in self._known else [x for x in self._asked(pending[-1]) if x not in self._known]
            if not ahead:
                last = pending.pop()
                if last not in self._known:
                    self._known[last] = self._wanted(last)
            pending += ahead
        return self._known[v]

    def _asked(self, v: Value) -> Iterator[Value]:
        """The values whose users say what is wanted of ``v``."""
        for user, _ in v.uses:
            if user.name in _VIEWS or user.name == "load" and user.result in self.small:
                yield user.result
            elif user.defn.elementwise and user.result.type.shape == v.type.shape:
                yield user.result

    def _wanted(self, v: Value) -> dict[Placement, None] | None:
        out: dict[Placement, None] = {}
        for user, _ in v.uses:
            found = self._by(user, v)
            if found is None:
                return None
            out |= found
        return out

    def _by(self, user: Op, v: Value) -> dict[Placement, None] | None:
        if user.name in _VIEWS:
            wanted = self.wanted(user.result)
            return None if wanted is None else {_before(user, v, place): None for place in wanted}
        if user.name == "load" and user.result in self.small:
            return self.wanted(user.result)  # as addresses
        if not user.defn.elementwise or user.result.type.shape != v.type.shape:
            return None
        for x in user.operands:
            if x is not None and x.type.shape == v.type.shape and not self.cheap(x) and _seen_through(x) not in self.small:
                if (place := self.where(x)) is not None:
                    return {place: None}
        return self.wanted(user.result)


def _before(view: Op, operand: Value, place: Placement) -> Placement:
    """Where the operand of a view lies whose result lies at ``place``."""
    shape = operand.type.shape
    if view.name == "broadcast":
        return place.before_broadcast(shape).compact()
    if view.name == "permute":
        return place.before_permute(shape, tuple(view.attrs["order"]))
    return place.before_reshape(shape)
