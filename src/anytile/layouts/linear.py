"""Layouts: where each element of a tile lives, as linear maps over the field of two elements.

The idea
--------
A tile of 64×128 elements is spread over the registers of 128 threads, or over the bytes of a shared buffer.  A *layout* says how:
it is a function from a **place** (which register, of which lane, of which warp) to a **tensor index** (dim0, dim1, …).  All sizes
are powers of two, so place and index are strings of bits, and all layouts that hardware and compilers use have one property:

    L(a ⊕ b) = L(a) ⊕ L(b)            ⊕ is exclusive or, bit by bit

They are linear over F2, hence known completely by their values at the powers of two, the **bases**: one index per bit of the place.
Everything one wants to know (are these two layouts equal, which threads hold one row, how wide may a vector be, where does an
element move in a conversion, do these accesses collide in a bank) becomes linear algebra on matrices of perhaps 14×14 bits.

A worked example
----------------
A 4×4 tile over two warps of four lanes with two registers each:

    bases       register 1 → (0, 1)     lane 1 → (0, 2)     warp 1 → (2, 0)
                                        lane 2 → (1, 0)

                dim1 = 0    1       2       3
    dim0 = 0      w0l0r0  w0l0r1  w0l1r0  w0l1r1
           1      w0l2r0  w0l2r1  w0l3r0  w0l3r1
           2      w1l0r0  w1l0r1  w1l1r0  w1l1r1
           3      w1l2r0  w1l2r1  w1l3r0  w1l3r1

    >>> L = LinearLayout({"register": [(0, 1)], "lane": [(0, 2), (1, 0)], "warp": [(2, 0)]}, {"dim0": 4, "dim1": 4})
    >>> L.apply(register=1, lane=3, warp=1)                # (0,1) ⊕ (0,2) ⊕ (1,0) ⊕ (2,0)
    {'dim0': 3, 'dim1': 3}

Changing one basis makes each of the usual complications:

- lane 2 → (1, 2): a *swizzle*.  In odd rows lanes 0 and 1 change sides.
- lane 2 → (0, 0): a *broadcast*.  Lanes 0 and 2 hold the same elements: the basis is *free*.
- dim1 dropped from every basis: the layout of a row sum.  Lane 1 and register 1 became free, so they are what the sum
  has to combine.

How it is stored
----------------
A basis is one Python integer: the coordinates side by side, the last dimension in the low bits.  For a tensor this integer is the
row-major flat index, so a reshape changes no basis at all.  A layout is two small dictionaries:

    ins   place dimension → its bases, low bit first         {"register": (1,), "lane": (2, 4), "warp": (8,)}
    outs  index dimension → its size, major to minor         {"dim0": 4, "dim1": 4}

Why place → index and not the other way round
---------------------------------------------
One element may live in several places (broadcasts), but a place holds one element, or several registers hold the same one: only this
direction is a function.  The other direction is asked for one conversion at a time: `dst.over(src)` solves src(x) = dst(y) by Gaussian
elimination and, where x has a choice, lets data stay in its register, lane and warp.

What it cannot do
-----------------
Sizes that are not powers of two, padding (row strides of 33), places that hold nothing, and anything affine: an offset that is added
instead of xored, as at the start of a slice.  Data-dependent movement (gather) is not a layout either.

Layouts are immutable and hash by value: plans made of them are cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from ..errors import IRError

__all__ = ["BLOCK", "DISTRIBUTED", "LANE", "OFFSET", "REGISTER", "WARP", "Echelon", "LinearLayout", "dims_of", "log2"]

REGISTER, LANE, WARP, BLOCK, OFFSET = "register", "lane", "warp", "block", "offset"
DISTRIBUTED = (REGISTER, LANE, WARP, BLOCK)  # place dimensions of a tile in registers, from the nearest to the farthest


def log2(n: int) -> int:
    """The exponent of a power of two."""
    if n < 1 or n & (n - 1):
        raise IRError(f"layouts need powers of two, not {n}")
    return n.bit_length() - 1


def dims_of(shape: Sequence[int]) -> dict[str, int]:
    """The ``outs`` of a tensor: dim0, dim1, … with their sizes."""
    return {f"dim{i}": n for i, n in enumerate(shape)}


class Echelon:
    """Columns over F2 in echelon form, remembering which columns make each row.

    Columns that depend on earlier ones are *free* (``free``: bit i for column i): no solution ever uses them.
    """

    __slots__ = ("free", "rows")

    def __init__(self, columns: Iterable[int] = ()):
        self.rows: dict[int, tuple[int, int]] = {}  # bit length of the vector → (vector, set of columns as a bit mask)
        self.free = 0
        for i, c in enumerate(columns):
            if not self.add(c, 1 << i):
                self.free |= 1 << i

    def reduce(self, v: int, combination: int = 0) -> tuple[int, int]:
        """(remainder, combination): ``v`` minus columns until its leading bit is no row's."""
        rows = self.rows
        while v:
            row = rows.get(v.bit_length())
            if row is None:
                break
            v ^= row[0]
            combination ^= row[1]
        return v, combination

    def add(self, v: int, combination: int = 0) -> bool:
        """Add a column; whether it was independent of those before."""
        v, combination = self.reduce(v, combination)
        if v:
            self.rows[v.bit_length()] = v, combination
        return bool(v)

    def __contains__(self, v: int) -> bool:
        return self.reduce(v)[0] == 0

    @property
    def rank(self) -> int:
        return len(self.rows)

    def solve(self, v: int) -> int | None:
        """The set of columns (as a bit mask) whose xor is ``v``; None where there is none."""
        rest, combination = self.reduce(v)
        return None if rest else combination


class LinearLayout:
    """A linear map from places to indices; see the head of the file.

    ``ins`` maps each place dimension to its bases, low bit first; a basis is an index packed as an integer or a tuple of coordinates.
    ``outs`` maps each index dimension to its size, major to minor.  Raises IRError for sizes that are no powers of two and bases
    outside the index space.
    """

    __slots__ = ("_columns", "_echelon", "_hash", "_key", "ins", "outs")

    _key: tuple[object, ...]
    _hash: int
    _columns: tuple[int, ...] | None
    _echelon: Echelon | None
    ins: MappingProxyType[str, tuple[int, ...]]
    outs: MappingProxyType[str, int]

    def __init__(self, ins: Mapping[str, Sequence[int | Sequence[int]]], outs: Mapping[str, int]):
        bits = [log2(n) for n in outs.values()]
        packed: dict[str, tuple[int, ...]] = {}
        for d, bases in ins.items():
            row = []
            for b in bases:
                v = 0
                if isinstance(b, int):
                    v = b
                else:
                    if len(b) != len(bits):
                        raise IRError(f"a basis of {d!r} has {len(b)} coordinates, the index has {len(bits)}")
                    for x, n in zip(b, bits):
                        if x >> n:
                            raise IRError(f"basis {tuple(b)} of {d!r} lies outside {dict(outs)}")
                        v = v << n | x
                if v >> sum(bits):
                    raise IRError(f"basis {v} of {d!r} lies outside {dict(outs)}")
                row.append(v)
            packed[d] = tuple(row)
        self._set(packed, dict(outs))

    def _set(self, ins: dict[str, tuple[int, ...]], outs: dict[str, int]) -> None:
        put = object.__setattr__
        put(self, "ins", MappingProxyType(ins))
        put(self, "outs", MappingProxyType(outs))
        key = (tuple(ins.items()), tuple(outs.items()))
        put(self, "_key", key)
        put(self, "_hash", hash(key))
        put(self, "_columns", None)
        put(self, "_echelon", None)

    @staticmethod
    def make(ins: dict[str, tuple[int, ...]], outs: dict[str, int]) -> LinearLayout:
        """From packed bases known to be right: no checks."""
        made = object.__new__(LinearLayout)
        made._set(ins, outs)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"layouts are immutable; {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, LinearLayout) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return LinearLayout, (dict(self.ins), dict(self.outs))

    def __repr__(self) -> str:
        return f"LinearLayout({dict(self.ins)}, {dict(self.outs)})"

    def __str__(self) -> str:
        """One line a basis: ``lane 4 → (1, 0)``."""
        lines = [f"{d} {1 << k} → {tuple(self.unpack(b).values())}" for d, bases in self.ins.items() for k, b in enumerate(bases)]
        return "\n".join([" × ".join(f"{d}: {n}" for d, n in self.outs.items()), *lines])

    # --- asking -------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.outs.values())

    def size(self, place: str) -> int:
        """How many places there are along ``place``; 1 for one that the layout does not have."""
        return 1 << len(self.ins.get(place, ()))

    @property
    def columns(self) -> tuple[int, ...]:
        """All bases, in the order of ``ins``."""
        got = self._columns
        if got is None:
            got = tuple([b for bases in self.ins.values() for b in bases])
            object.__setattr__(self, "_columns", got)
        return got

    @property
    def echelon(self) -> Echelon:
        got = self._echelon
        if got is None:
            got = Echelon(self.columns)
            object.__setattr__(self, "_echelon", got)
        return got

    def __call__(self, **place: int) -> int:
        """The packed index (row-major flat index of a tensor) at a place; dimensions not named are 0."""
        v = 0
        for d, x in place.items():
            bases = self.ins.get(d, ())
            if x >> len(bases):
                raise IRError(f"there is no {d} {x}: the layout has {1 << len(bases)}")
            v ^= _combine(bases, x)
        return v

    def apply(self, **place: int) -> dict[str, int]:
        """The coordinates at a place."""
        return self.unpack(self(**place))

    def unpack(self, v: int) -> dict[str, int]:
        """A packed index as coordinates."""
        got = {}
        for d, n in list(self.outs.items())[::-1]:
            got[d] = v & (n - 1)
            v >>= n.bit_length() - 1
        return {d: got[d] for d in self.outs}

    def field(self, dim: str) -> tuple[int, int]:
        """(first bit, number of bits) of an index dimension in a packed index."""
        pos = 0
        for d, n in list(self.outs.items())[::-1]:
            if d == dim:
                return pos, log2(n)
            pos += log2(n)
        raise IRError(f"the layout has no dimension {dim!r}, only {list(self.outs)}")

    @property
    def index_bits(self) -> int:
        return sum(log2(n) for n in self.outs.values())

    @property
    def rank(self) -> int:
        return self.echelon.rank

    def free(self, place: str) -> int:
        """The bits of ``place`` (as a mask) whose basis depends on those before it, register first: they hold copies."""
        pos = 0
        for d, bases in self.ins.items():
            if d == place:
                return self.echelon.free >> pos & ((1 << len(bases)) - 1)
            pos += len(bases)
        return 0

    # --- deriving -----------------------------------------------------------------------------------------

    def without_copies(self, place: str = REGISTER) -> LinearLayout:
        """Free bits of ``place`` removed.  With registers: a thread holds each of its elements once."""
        free = self.free(place)
        if not free:
            return self
        bases = tuple(b for k, b in enumerate(self.ins[place]) if not free >> k & 1)
        return LinearLayout.make({**self.ins, place: bases}, dict(self.outs))

    def over(self, src: LinearLayout) -> LinearLayout:
        """C with src(C(place)) = self(place): where in ``src`` each place of this layout finds its element.

        The result's index dimensions are the place dimensions of ``src``.  Where an element lives in several places of ``src``, the one
        that moves least is taken: the same lane and warp if possible, else the same warp.  Raises IRError where src lacks an element.
        """
        return _over(self, src)


def _combine(columns: Sequence[int], mask: int) -> int:
    v = 0
    while mask:
        low = mask & -mask
        v ^= columns[low.bit_length() - 1]
        mask ^= low
    return v


@lru_cache(maxsize=4096)
def _over(dst: LinearLayout, src: LinearLayout) -> LinearLayout:
    if tuple(dst.outs.items()) != tuple(src.outs.items()):
        raise IRError(f"layouts of different tensors: {dict(dst.outs)} and {dict(src.outs)}")
    dims = list(src.ins)
    at, n = {}, 0  # packed position of each place dimension of src: the last listed is low
    for d in reversed(dims):
        at[d] = n
        n += len(src.ins[d])
    # One echelon per distance: registers only, then with lanes, with warps, …  Its columns know their packed position, and a
    # column that depends on nearer ones is never used, so a solution never leaves the thread (the warp) without need.
    nearness = sorted(dims, key=lambda d: DISTRIBUTED.index(d) if d in DISTRIBUTED else len(DISTRIBUTED))
    reach: list[Echelon] = []
    column: dict[int, int] = {}  # the bases themselves: most answers are one of them
    e = Echelon()
    for d in nearness:
        for k, b in enumerate(src.ins[d]):
            if e.add(b, 1 << (at[d] + k)):
                column[b] = 1 << (at[d] + k)
        grown = Echelon()
        grown.rows = dict(e.rows)
        reach.append(grown)
    ins: dict[str, tuple[int, ...]] = {}
    for d, bases in dst.ins.items():
        row = []
        same = src.ins.get(d, ())
        for k, b in enumerate(bases):
            stay = 1 << (at[d] + k) if k < len(same) else 0
            if stay and same[k] == b:
                row.append(stay)
                continue
            best = None
            if stay and d in nearness:  # the same lane (or warp), and only what is nearer changes
                for r in reach[: nearness.index(d)]:
                    if (best := r.solve(b ^ same[k])) is not None:
                        best ^= stay
                        break
            if best is None:
                best = column.get(b)
            if best is None:
                for r in reach:
                    if (best := r.solve(b)) is not None:
                        break
            if best is None:
                raise IRError(f"{d} {1 << k} of the one layout holds index {b}, which the other layout does not have:\n{dst}\nand\n{src}")
            row.append(best)
        ins[d] = tuple(row)
    return LinearLayout.make(ins, {d: 1 << len(src.ins[d]) for d in dims})
