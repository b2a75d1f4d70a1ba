"""Conversions: how a tile's data gets from one layout to another.

`plan(src, dst, bits)` looks at the map ``dst.over(src)``, which says for each register of each thread where its element is now, and
gives the cheapest of

    Nothing         every register already holds what it should
    Permute         the right elements are in the right threads, in other registers: renaming, no instruction
    Shuffle         the right elements are in the right warps: `shfl` between lanes, selects around them
    ThroughShared   by way of shared memory: stores, a barrier, loads

as a frozen dataclass that an emitter follows without thinking, and that `tests/layouts/simulator.py` executes.  Registers are
numbered from 0 in each layout; all lists of registers are indexed by these numbers.

Shuffles
--------
A `shfl` gives each lane one register of another lane, but *the source decides which register it offers*.  The map that is to be
carried out takes (register r, lane l) of the destination to (C r ⊕ D l, A r ⊕ B l) of the source.  If B is invertible and D = 0, one
`shfl` for each r does it.  A transpose has B = 0: all of lane l's elements come from its own register number in other lanes; asking for
them one destination register after the other would ask one lane for all its registers at once.  So in round ρ each lane receives its
register ρ ⊕ G l, with G chosen such that M = B ⊕ A G, the map from lane to source lane, is as invertible as possible.  The source then
has to offer register C ρ ⊕ H (its own lane ⊕ A ρ), where H M = C G ⊕ D.  A register number that varies by lane is not a thing registers
can do; xoring it by H·lane is: for each term of H, swap registers in those lanes where a parity of lane bits is odd (`LaneSelect`).
The same undoes G at the destination.

Narrow elements that stay together are moved as 32-bit words, wide ones as two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..errors import IRError, UnsupportedError
from .linear import BLOCK, LANE, REGISTER, WARP, Echelon, LinearLayout
from .shared import Access, arrange, representative

__all__ = [
    "Conversion",
    "Exchange",
    "LaneSelect",
    "Nothing",
    "Permute",
    "Shuffle",
    "ThroughShared",
    "plan",
]

# Costs are in issue slots of a warp, the unit of a wavefront.  A barrier makes the latency of the slowest warp everyone's.
BARRIER_COST, LATENCY_COST = 20.0, 15.0
SCRATCH_LIMIT = 32 * 1024


@dataclass(frozen=True)
class Nothing:
    """The layouts agree: register r is register r."""

    cost: float = 0.0


@dataclass(frozen=True)
class Permute:
    """Register r of the result is register ``registers[r]`` of the source, in the same thread."""

    registers: tuple[int, ...]
    cost: float = 0.0


@dataclass(frozen=True)
class LaneSelect:
    """In lanes l where ``l & lanes`` has an odd number of ones, register r becomes what register ``r ^ xor`` was; all r at once."""

    lanes: int
    xor: int


@dataclass(frozen=True)
class Exchange:
    """One `shfl` of a word: ``targets`` of this lane from ``sources`` of lane ``base ^ (the plan's lane map at this lane)``.

    Both list registers of one word, low bits first.
    """

    sources: tuple[int, ...]
    base: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Shuffle:
    """Within each warp: selects among source registers, one `shfl` an exchange, selects among its results.

    The source lane of an exchange is ``base`` xor ``lanes[k]`` for each set bit k of the receiving lane.  With ``butterfly`` that is
    ``base ^ lane``: `shfl.bfly`, or nothing at all where base is 0.  Exchanges fill registers that ``after`` works on; then register
    r of the result is register ``copies[r]``.
    """

    bits: int
    before: tuple[LaneSelect, ...]
    lanes: tuple[int, ...]
    exchanges: tuple[Exchange, ...]
    after: tuple[LaneSelect, ...]
    copies: tuple[int, ...]
    cost: float

    @property
    def butterfly(self) -> bool:
        return self.lanes == tuple(1 << k for k in range(len(self.lanes)))


@dataclass(frozen=True)
class ThroughShared:
    """Stores to ``scratch`` bytes of shared memory, a barrier, loads; for each round, with a barrier between rounds.

    ``scope`` is who must meet at these barriers: "warp" where no element leaves its warp, else "block".  The scratch must be free:
    whoever used it before is synchronised with by the emitter.  It needs an alignment of 16 bytes.
    """

    bits: int
    memory: LinearLayout
    store: Access
    load: Access
    scratch: int
    scope: str
    cost: float


Conversion = Nothing | Permute | Shuffle | ThroughShared


@lru_cache(maxsize=2048)
def plan(src: LinearLayout, dst: LinearLayout, bits: int, scratch_limit: int = SCRATCH_LIMIT) -> Conversion:
    """The cheapest way from ``src`` to ``dst`` for elements of ``bits`` bits (1 counts as 8; pointers 64).

    Both cover the same tensor with the same lanes and warps.  ``scratch_limit``: bytes of shared memory that a conversion should
    not exceed; where it cannot help it, `ThroughShared.scratch` says so.
    Raises UnsupportedError where elements would have to move between the blocks of a cluster.
    """
    route = _Route(src, dst)
    if route.in_thread:
        table = [0]
        for v in route.at.ins[REGISTER]:
            table += [r ^ route.part(v, REGISTER) for r in table]
        if table == list(range(src.size(REGISTER))):
            return Nothing()
        return Permute(tuple(table))

    arrangement = arrange(src, dst, max(8, bits), scratch_limit)
    in_warp = route.stays(WARP) and _warps_apart(src)
    rounds = 1 << arrangement.round_bits
    shared = ThroughShared(
        bits=max(8, bits),
        memory=arrangement.memory,
        store=arrangement.store,
        load=arrangement.load,
        scratch=arrangement.bytes,
        scope="warp" if in_warp else "block",
        cost=arrangement.store.wavefronts + arrangement.load.wavefronts + rounds * (LATENCY_COST + (0 if in_warp else BARRIER_COST)),
    )
    if route.in_warp:
        from_registers, from_lanes = route.at.ins[REGISTER], route.at.ins[LANE]
        c, a = ([route.part(v, to) for v in from_registers] for to in (REGISTER, LANE))
        d, b = ([route.part(v, to) for v in from_lanes] for to in (REGISTER, LANE))
        shuffle = _shuffle(dst, a, b, c, d, max(8, bits))
        if shuffle is not None and shuffle.cost <= shared.cost:
            return shuffle
    return shared


class _Route:
    """How far data must travel: ``at`` is ``dst.over(src)``.  Raises IRError where the two do not fit one program."""

    def __init__(self, src: LinearLayout, dst: LinearLayout):
        for place in {*src.ins, *dst.ins} - {REGISTER}:
            if src.size(place) != dst.size(place):
                raise IRError(f"a conversion between layouts of {src.size(place)} and {dst.size(place)} places along {place!r}")
        self.at = dst.over(src)
        self.fields = {d: self.at.field(d) for d in self.at.outs}
        if not self.stays(BLOCK):
            raise UnsupportedError("a layout conversion between the blocks of a cluster", "NVIDIA", "use num_ctas=1")

    def part(self, v: int, dim: str) -> int:
        pos, n = self.fields.get(dim, (0, 0))
        return v >> pos & ((1 << n) - 1)

    def stays(self, dim: str) -> bool:
        """Neither does anything else move along ``dim``, nor does an element's place along it change."""
        own = self.at.ins.get(dim, ())
        return all(self.part(v, dim) == 1 << k for k, v in enumerate(own)) and not any(
            self.part(v, dim) for d, bases in self.at.ins.items() if d != dim for v in bases
        )

    @property
    def in_warp(self) -> bool:
        """Warps keep their elements, and all warps move them in the same way."""
        farther = self.at.ins.get(WARP, ()) + self.at.ins.get(BLOCK, ())
        return self.stays(WARP) and not any(self.part(v, LANE) or self.part(v, REGISTER) for v in farther)

    @property
    def in_thread(self) -> bool:
        """Threads keep their elements, and all threads rename their registers in the same way."""
        return self.in_warp and self.stays(LANE) and not any(self.part(v, REGISTER) for v in self.at.ins[LANE])


def _warps_apart(layout: LinearLayout) -> bool:
    """Whether different warps hold different elements, so that each has a part of the scratch to itself."""
    e = Echelon(layout.ins[REGISTER] + layout.ins[LANE])
    return all(e.add(v) for v in layout.ins[WARP])


def _times(columns: list[int], v: int) -> int:
    out = 0
    for k, c in enumerate(columns):
        if v >> k & 1:
            out ^= c
    return out


def _terms(columns: list[int]) -> tuple[LaneSelect, ...]:
    """A map lane → register xor, as few selects as its rank."""
    e = Echelon()
    basis: list[int] = []
    masks: list[int] = []
    for k, c in enumerate(columns):
        rest, used = e.reduce(c)
        if rest:
            e.add(c, 1 << len(basis))
            basis.append(c)
            masks.append(1 << k)
        else:
            for j in range(len(basis)):
                masks[j] |= (used >> j & 1) << k
    return tuple(LaneSelect(m, x) for m, x in zip(masks, basis))


def _shuffle(dst: LinearLayout, a: list[int], b: list[int], c: list[int], d: list[int], bits: int) -> Shuffle | None:
    """The cheapest schedule for source = (C r ⊕ D l, A r ⊕ B l), see the head of the file; None where lanes of one source need different
    registers of it at once, which happens only where the destination reads some lanes never and others twice."""
    copies = representative(dst)
    own = [k for k in range(len(c)) if copies[1 << k] == 1 << k]  # destination register bits that are no copies
    # Either each round's lanes ask different lanes, or several ask one for the same register, as a broadcast does: that has no G.
    found = [_schedule(copies, own, a, b, c, d, g, bits) for g in (_apart(own, a, b), [0] * len(b))]
    return min((x for x in found if x is not None), key=lambda x: x.cost, default=None)


def _apart(own: list[int], a: list[int], b: list[int]) -> list[int]:
    """G: gives each lane bit whose source lane depends on others a register bit that leads elsewhere."""
    e, g = Echelon(), [0] * len(b)
    dependent = [k for k, v in enumerate(b) if not e.add(v)]
    for k in dependent:
        j = next((j for j in own if a[j] not in e), None)
        if j is not None:
            e.add(a[j])
            g[k] = 1 << j
    return g


def _schedule(
    copies: tuple[int, ...], own: list[int], a: list[int], b: list[int], c: list[int], d: list[int], g: list[int], bits: int
) -> Shuffle | None:
    """The schedule with a given G; None where it would need different registers of one source at once."""
    m = [b[k] ^ _times(a, g[k]) for k in range(len(b))]  # B ⊕ A G
    n = [d[k] ^ _times(c, g[k]) for k in range(len(b))]  # C G ⊕ D
    e = Echelon()
    for k, v in enumerate(m):
        rest, used = e.reduce(v, 1 << k)
        if rest:
            e.add(v, 1 << k)
        elif _times(n, used):
            return None
    lane_bits = len(b)
    for k in range(lane_bits):  # lanes that nobody reads: H is 0 there
        e.add(1 << k, 0)
    h = [_times(n, e.reduce(1 << k)[1]) for k in range(lane_bits)]

    before, after = _terms(h), _terms(g)
    touched_source, touched_target = 0, 0
    for x in h:
        touched_source |= x
    for x in g:
        touched_target |= x
    packs: list[tuple[int, int]] = []  # (destination bit, source bit) of registers that travel side by side
    for j in own:
        x = c[j]
        alone = x and not x & (x - 1) and not a[j] and not touched_target >> j & 1 and not touched_source & x
        if alone and not any(c[i] & x for i in own if i != j) and (2 << len(packs)) * bits <= 32:
            packs.append((j, x.bit_length() - 1))
    packed = {j for j, _ in packs}
    exchanges = []
    targets = [0]
    for j in own:
        if j not in packed:
            targets += [r | 1 << j for r in targets]
    for rho in targets:
        base = _times(a, rho)
        source = _times(c, rho) ^ _times(h, base)
        word_source, word_target = [source], [rho]
        for j, i in packs:
            word_source += [r ^ 1 << i for r in word_source]
            word_target += [r | 1 << j for r in word_target]
        exchanges.append(Exchange(tuple(word_source), base, tuple(word_target)))
    words = len(exchanges) * max(1, bits // 32)
    moved = all(v == 1 << k for k, v in enumerate(m))
    shuffles = sum(1 for x in exchanges if x.base or not moved) * max(1, bits // 32)
    cost = shuffles + words * (len(before) + len(after)) / 2 + LATENCY_COST
    return Shuffle(bits, before, tuple(m), tuple(exchanges), after, copies, cost)
