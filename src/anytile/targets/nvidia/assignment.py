"""Which placement each eager value of a kernel has: its *home*.

Anchors choose for themselves: memory accesses a coalesced placement (16 bytes a thread where the addresses allow, lanes
along the contiguous dimension), small tiles that are only broadcast that of the larger one (`small_loads`), dots that of their
instruction.  Everything else follows its operands, so that
elementwise chains never move data.  Loops are walked twice: first with carried values unknown, to see what the body
makes of them, then with what it made.

Constants, indices and what is computed from them alone, views of anything, and addresses that loops copy ahead from (`addresses`) have no
home (`values`: lazy).
"""

from __future__ import annotations

from ...ir import Block, Func, Op, Value
from ...ir.types import BF16, F16, F32
from ...math.library import NEAR
from ...passes.axis_info import AxisInfo
from . import wgmma
from .addresses import computed_ahead
from .asked import asked_loads
from .convert import memory_bytes
from .dot import accumulator, dot_behind, fragments, operand_chain
from .memory import packed_addition
from .placement import LANES, Placement, blocked
from .reduce import outcome, reducible
from .scan import scan_place
from .small_loads import broadcast_loads
from .steps import Steps

__all__ = ["Assignment", "VIEWS"]

VIEWS = frozenset({"splat", "broadcast", "expand_dims", "reshape", "permute", "join", "split", "window"})
_ACCESSES = frozenset({"load", "store", "atomic_rmw", "atomic_cas"})
_SOURCES = frozenset({"constant", "arange"})
_UNPACKED = 8  # copies of an element that a thread may hold of a tile broadcast along a third dimension: what lay packed in one number
_FAR = 8  # operations between a tile and what it meets
_MANY = 1 << 16  # elements: as f32, all registers of a multiprocessor
_MANY_BESIDE_DOTS = 64  # elements of a thread


class Assignment:
    """``homes``: eager tile value → placement.  ``where(v)``: the placement in which ``v`` costs least, None for any.

    ``by_warpgroup``: the dots that wgmma computes, and whether turned (`wgmma.plan`); ``made_here``: those whose A is computed where the
    instruction takes it from registers, ``asked``: loads that lie where it is (`asked`).
    """

    def __init__(self, func: Func, num_warps: int, sm: int, info: AxisInfo):
        self.num_warps, self.sm, self.info = num_warps, sm, info
        self.threads = num_warps << LANES
        self.homes: dict[Value, Placement | None] = {}
        self._cheap: dict[Value, bool] = {}
        self._dots = any(op.name == "dot" for op in func.walk())
        self.steps = Steps()
        self.apart = self._apart(func)
        self.vectors = self._access_widths(func)
        self.chained = operand_chain(func)
        self.by_warpgroup = wgmma.plan(func, num_warps, sm, info)
        wanted = [(op, self._fragments(op)) for op, turned in self.by_warpgroup.items() if not turned and op not in self.chained]
        self.asked, self.made_here = asked_loads(wanted, self._order, self._width, self.cheap)
        self.addresses = computed_ahead(func, self.cheap)
        self.small: dict[Value, list[Placement]] = {}
        self._block(func.body, final=True)
        self.small = broadcast_loads(func, self.threads, self.where, self.cheap)
        if self.small:
            self._block(func.body, final=True)

    def _fragments(self, op: Op) -> Placement:
        """Where wgmma takes A from registers."""
        acc = accumulator(op, self.num_warps, self.sm, op in self.chained, self.by_warpgroup.get(op))
        return fragments(op, acc, 4 // memory_bytes(op.operands[0].type.elem))[0]

    # --- kinds of values ---

    def cheap(self, v: Value) -> bool:
        """Whether ``v`` is computed from scalars and indices alone."""
        got = self._cheap.get(v)
        if got is None:
            op = v.op
            if v.type.is_scalar:
                got = True
            elif op is None or op.blocks:
                got = False
            elif op.name in _SOURCES:
                got = True
            elif (op.name, str(v.type.elem)) in NEAR:
                got = False  # it branches, which what is computed in front of a loop cannot
            elif op.name in VIEWS or op.defn.elementwise or op.name == "hint":
                got = all(self.cheap(x) for x in op.operands)
            else:
                got = False
            self._cheap[v] = got
        return got

    def widened(self, v: Value) -> bool:
        """Whether ``v`` are numbers of 16 bits as f32, so many that no block has registers for them: widened anew for each user.

        Beside dots, whose sums want registers, a quarter of a thread's is too many.
        """
        op = v.op
        if op is None or op.name != "fpcast" or v.type.is_scalar or op.attrs["to"] is not F32:
            return False
        if v.type.numel < (min(_MANY, _MANY_BESIDE_DOTS * self.threads) if self._dots else _MANY):
            return False
        return op.operands[0].type.elem in (F16, BF16) and op.operands[0].is_op("load")

    def lazy(self, v: Value) -> bool:
        return self.widened(v) or (v.op is not None and v.op.name in VIEWS) or v in self.addresses or self.cheap(v)

    # --- memory ---

    def _apart(self, func: Func) -> dict[tuple[int, ...], int]:
        """Shapes of tiles no two elements of which are known to be near in memory, whoever accesses them → the one axis they are reduced along.

        Where threads may as well have the elements in any order, they have those along this axis, and reduce what they have themselves.
        """
        axes: dict[tuple[int, ...], set[int]] = {}
        known: set[tuple[int, ...]] = set()
        for op in func.walk():
            if op.name != "reduce" and op.name not in _ACCESSES:
                continue
            x = op.operands[0]
            assert x is not None
            if op.name == "reduce":
                axes.setdefault(x.type.shape, set()).add(op.attrs["axis"])
            elif not x.type.is_scalar:
                shape, c = x.type.shape, self.info[x].contiguity
                if any(n > 1 and (c[d] > 1 or self.steps(x, d) is not None) for d, n in enumerate(shape)):
                    known.add(shape)
        return {shape: found.pop() for shape, found in axes.items() if len(found) == 1 and shape not in known}

    def _order(self, pointer: Value) -> tuple[int, ...]:
        """Dimensions by contiguity of the addresses; among equals, those along which addresses usually grow by one, then the last
        (the last but one where the tile is reduced along it and its elements lie apart).
        """
        c, shape = self.info[pointer].contiguity, pointer.type.shape
        reduced = self.apart.get(shape)

        def rank(d: int) -> tuple[int, bool, bool]:
            return -min(c[d], shape[d]), self.steps(pointer, d) != 1, d == reduced

        return tuple(sorted(reversed(range(len(shape))), key=rank))

    def fastest(self, pointer: Value) -> int:
        """The dimension along which the addresses are contiguous, or usually; the last where none is."""
        return self._order(pointer)[0]

    def _width(self, pointer: Value) -> int:
        """Neighbours that one access through ``pointer`` can move, up to 16 bytes a thread."""
        order, fact = self._order(pointer), self.info[pointer]
        d, size = order[0], pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
        width = min(16 // size, fact.contiguity[d], max(1, pointer.type.numel // self.threads))
        while width > 1 and fact.at(d, width) < width * size:
            width //= 2
        return max(1, width)

    def _access_widths(self, func: Func) -> dict[tuple[tuple[int, ...], tuple[int, ...]], int]:
        """(shape, order) → elements a thread takes, one number for all accesses of that form, so that what meets needs no conversion.

        It is the widest that any of them can use, but no more than 16 bytes (or 4 elements) of the largest element: a thread with
        32 bytes in a row would make two accesses of which each leaves gaps, and the cache serves such a warp at half its speed.
        """
        widest: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        gapless: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        for op in func.walk():
            if op.name in ("load", "store") and not op.operands[0].type.is_scalar and not self._feeds_dots(op):
                pointer = op.operands[0]
                key = pointer.type.shape, self._order(pointer)
                width = self._width(pointer)
                widest[key] = max(widest.get(key, 1), width)
                if width > 1 and not (op.name == "store" and dot_behind(op.operands[1])):  # what a dot made is moved before it is stored
                    size = pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
                    gapless[key] = min(gapless.get(key, 16), max(4, 16 // size))
        return {key: min(width, gapless.get(key, width)) for key, width in widest.items()}

    @staticmethod
    def _feeds_dots(op: Op) -> bool:
        """Whether all that is loaded are operands of dots, as they are or transposed: those are copied 16 bytes at a time, and meet nothing else."""

        def read(v: Value) -> bool:
            return bool(v.uses) and all(user.name == "dot" or user.name == "permute" and read(user.result) for user, _ in v.uses)

        return op.name == "load" and read(op.result)

    def coalesced(self, pointer: Value, width: int | None = None) -> Placement:
        order = self._order(pointer)
        width = width or self.vectors.get((pointer.type.shape, order), 1)
        return blocked(pointer.type.shape, self.num_warps, width, order)

    def default(self, shape: tuple[int, ...]) -> Placement:
        order = tuple(reversed(range(len(shape))))
        return blocked(shape, self.num_warps, self.vectors.get((shape, order), 1), order)

    # --- following ---

    def where(self, v: Value) -> Placement | None:
        if v in self.homes:
            return self.homes[v]
        op = v.op
        if op is None or self.cheap(v):
            return None
        if self.widened(v):
            return self.where(op.operands[0])
        if op.name in ("expand_dims", "reshape", "permute"):
            x = op.operands[0]
            inner = self.where(x)
            if inner is None or x.type.is_scalar:
                return None
            if op.name == "permute":
                order = tuple(op.attrs["order"])
                back = tuple(order.index(d) for d in range(len(order)))
                return inner.before_permute(v.type.shape, back)
            return inner.before_reshape(v.type.shape)
        if op.name == "broadcast" and len(v.type.shape) > 2:
            inner, copies = self.where(op.operands[0]), v.type.numel // op.operands[0].type.numel
            return inner.spread(v.type.shape) if inner is not None and copies <= _UNPACKED and not inner.owners else None
        if op.name == "join":
            inner = self.where(op.operands[0]) or self.where(op.operands[1])
            return inner.joined() if inner is not None else None
        if op.name == "split":
            inner = self.where(op.operands[0])
            return inner.halved() if inner is not None else None
        return None

    def places(self, v: Value) -> list[Placement]:
        """Where an eager value is made: its home first; small tiles that are broadcast in several placements, in each of them."""
        home = self.homes[v]
        assert home is not None
        return self.small.get(v) or [home]

    def _follow(self, op: Op, shape: tuple[int, ...], final: bool) -> Placement | None:
        found, anywhere, unknown = None, None, False
        for x in op.operands:
            if x is None or x.type.shape != shape or self.cheap(x):
                continue
            p = self.where(x)
            if p is None:
                unknown = True
            elif x in self.small:  # which may be loaded where the others lie
                anywhere = anywhere or p
            else:
                found = found or p
        found = found or anywhere or self._asked(op.result)
        if found is None and (final or not unknown):
            found = self.default(shape)
        return found

    def _asked(self, v: Value, depth: int = _FAR, asked: dict[Value, int] | None = None) -> Placement | None:
        """Where what ``v`` meets lies, or where it is stored: the place of what is computed from smaller tiles alone, which lie anywhere.

        ``asked``: values of which is known that nothing lies within so many operations behind them.
        """
        asked = {} if asked is None else asked
        if asked.get(v, 0) >= depth:
            return None
        for user, _ in v.uses:
            if user.name == "store":
                if user.operands[1] is v:
                    return self.coalesced(user.operands[0])
            elif user.defn.elementwise and user.result.type.shape == v.type.shape:
                for x in user.operands:
                    if x is not None and x is not v and x.type.shape == v.type.shape and not self.cheap(x) and (place := self.where(x)):
                        return place
                if place := self._asked(user.result, depth - 1, asked):
                    return place
        asked[v] = depth
        return None

    def _home(self, op: Op, v: Value, final: bool) -> Placement | None:
        name, shape = op.name, v.type.shape
        if v in self.asked:
            return self.asked[v]
        if v in self.small:
            return self.small[v][0]
        if name == "load":
            return self.coalesced(op.operands[0], self._width(op.operands[0]) if self._feeds_dots(op) else None)
        if name in ("atomic_rmw", "atomic_cas"):
            width = self._width(op.operands[0]) if packed_addition(op, self.sm) else 1
            return blocked(shape, self.num_warps, width, self._order(op.operands[0]))
        if name == "dot":
            return accumulator(op, self.num_warps, self.sm, op in self.chained, self.by_warpgroup.get(op))
        if name == "reduce":
            x, axis = op.operands[0], op.attrs["axis"]
            place = self.where(x)
            if place is None:
                if not self.cheap(x) and not final:
                    return None
                place = self.default(x.type.shape)
            if not reducible(place, axis):
                place = blocked(x.type.shape, self.num_warps)
            return outcome(place, axis)
        if name == "scan":
            return scan_place(shape, op.attrs["axis"], self.num_warps)
        if name == "sort":
            return scan_place(shape, len(shape) - 1, self.num_warps)
        if name == "gather":
            return self.where(op.operands[1]) or self.default(shape)
        return self._follow(op, shape, final)

    def _block(self, block: Block, final: bool) -> None:
        for op in block.ops:
            if op.name == "for":
                self._loop(op, op.blocks[0].args[1:], [op.blocks[0]], lambda o: o.blocks[0].terminator.operands, op.rest(), final)
                for r, a in zip(op.results, op.blocks[0].args[1:], strict=True):
                    self._same(r, a)
            elif op.name == "while":
                before, after = op.blocks
                self._loop(op, before.args, [before, after], lambda o: o.blocks[1].terminator.operands, op.operands, final)
                for r, p in zip(op.results, before.terminator.operands[1:], strict=True):
                    self._settle(r, self.where(p), final)
            elif op.name == "if":
                for b in op.blocks:
                    self._block(b, final)
                for i, r in enumerate(op.results):
                    ends = [self.where(b.terminator.operands[i]) for b in op.blocks]
                    self._settle(r, ends[0] or ends[1], final)
            else:
                for r in op.results:
                    if not r.type.is_scalar and not self.lazy(r):
                        self.homes[r] = self._home(op, r, final)

    def _loop(self, op: Op, args, blocks: list[Block], nexts, inits, final: bool) -> None:
        for a in args:
            if not a.type.is_scalar:
                self.homes[a] = None
        self._walk(blocks, False)
        for a, y, i in zip(args, nexts(op), inits, strict=True):
            self._settle(a, self.where(y) or self.where(i), True)
        self._walk(blocks, final)

    def _walk(self, blocks: list[Block], final: bool) -> None:
        self._block(blocks[0], final)
        if len(blocks) == 2:
            before, after = blocks
            for a, p in zip(after.args, before.terminator.operands[1:], strict=True):
                self._settle(a, self.where(p), final)
            self._block(after, final)

    def _same(self, v: Value, like: Value) -> None:
        if not v.type.is_scalar:
            self.homes[v] = self.homes[like]

    def _settle(self, v: Value, place: Placement | None, final: bool) -> None:
        if not v.type.is_scalar:
            self.homes[v] = place or (self.default(v.type.shape) if final else None)
