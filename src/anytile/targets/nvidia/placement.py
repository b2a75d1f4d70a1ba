"""Where the elements of a tile lie: the code generator's view of a layout.

A program is run by ``2^len(warp)`` warps of 32 lanes; a tile is spread over their registers.  The place
(register r, lane l, warp w) holds the element whose *row-major flat index* is the xor of the bases of the bits that
are set in r, l and w.  That index is a number of ``log2(numel)`` bits, the last dimension in the low ones, so

- reshape and expand_dims change no basis,
- permute moves bits about, broadcast and the sum over an axis drop some.

Every rule below is therefore a map of bits, applied to all bases.  A *zero* basis (or one that others make up)
means copies: several places hold the same element.  `owners` names the thread bits that must be zero for a
thread to be the one which stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from ...layouts.linear import LinearLayout, dims_of

__all__ = ["Placement", "blocked", "log2", "span"]

LANES = 5


def log2(n: int) -> int:
    return n.bit_length() - 1


def span(shape: tuple[int, ...], d: int) -> tuple[int, int]:
    """(lowest bit, number of bits) of dimension ``d`` in the flat index."""
    low = sum(log2(n) for n in shape[d + 1 :])
    return low, log2(shape[d])


@dataclass(frozen=True)
class Placement:
    """``register``, ``lane``, ``warp``: the flat index that each bit contributes, lowest bit first."""

    shape: tuple[int, ...]
    register: tuple[int, ...]
    lane: tuple[int, ...]
    warp: tuple[int, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.shape, self.register, self.lane, self.warp))

    @property
    def thread(self) -> tuple[int, ...]:
        """The bases of the bits of the thread index within the program."""
        return self.lane + self.warp

    @cached_property
    def layout(self) -> LinearLayout:
        """The same map, as `layouts` plans with it."""
        return LinearLayout.make({"register": self.register, "lane": self.lane, "warp": self.warp}, dims_of(self.shape))

    @property
    def registers(self) -> int:
        return 1 << len(self.register)

    @cached_property
    def constants(self) -> list[int]:
        """What each register contributes to the flat index."""
        out = [0]
        for b in self.register:
            out += [c ^ b for c in out]
        return out

    @cached_property
    def register_of(self) -> dict[int, int]:
        """Constant → the first register that has it."""
        out: dict[int, int] = {}
        for r, c in enumerate(self.constants):
            out.setdefault(c, r)
        return out

    @cached_property
    def owners(self) -> int:
        """Mask of the thread bits that are zero in the one thread which owns an element among its copies."""
        echelon: list[int] = []
        mask = 0
        for k, b in enumerate((*self.register, *self.thread)):
            for e in echelon:
                b = min(b, b ^ e)
            if b:
                echelon.append(b)
                echelon.sort(reverse=True)
            elif k >= len(self.register):
                mask |= 1 << (k - len(self.register))
        return mask

    @cached_property
    def own_registers(self) -> list[int]:
        """One register for each element that a thread holds."""
        return list(self.register_of.values())

    def every(self, n: int) -> Placement:
        """Of each ``n`` registers the first alone (n a power of two): part of the tile."""
        return Placement(self.shape, self.register[log2(n) :], self.lane, self.warp)

    def element(self, register: int, lane: int, warp: int) -> int:
        """The flat index at a place: what the rest of the file means, for tests."""
        out = self.constants[register]
        for k, b in enumerate(self.thread):
            if ((lane | warp << LANES) >> k) & 1:
                out ^= b
        return out

    def mapped(self, shape: tuple[int, ...], f: Callable[[int], int]) -> Placement:
        """The placement of a tile of ``shape`` whose element f(i) lies where i lies here; ``f`` is linear."""
        return Placement(shape, *(tuple(f(b) for b in bs) for bs in (self.register, self.lane, self.warp)))

    def joined(self) -> Placement:
        """Where two tiles lie that are here and are joined: each thread has both of a pair in neighbouring registers."""
        pair = self.mapped((*self.shape, 2), lambda b: b << 1)
        return Placement(pair.shape, (1, *pair.register), pair.lane, pair.warp)

    def halved(self) -> Placement:
        """Where the halves of a tile that is here lie, split along its last dimension of 2: a thread has both elements of a pair.

        Where the elements of a pair lie in two lanes, each of them takes half of the pairs that the two have, so that none is computed twice.
        """
        half = self.mapped(self.shape[:-1], lambda b: b >> 1).compact()
        register, lane = list(half.register), list(half.lane)
        for k, b in enumerate(self.lane):
            if b == 1 and register:
                lane[k] = register.pop()
        return Placement(half.shape, tuple(register), tuple(lane), half.warp)

    def spread(self, shape: tuple[int, ...]) -> Placement:
        """Where a tile that is here is broadcast to ``shape`` without a thread more: the copies are registers of each thread."""
        old = [b for d in reversed(range(len(shape))) if self.shape[d] != 1 for b in _bits(shape, d)]
        new = [1 << b for d in reversed(range(len(shape))) if self.shape[d] == 1 for b in _bits(shape, d)]
        wide = self.mapped(shape, lambda v: sum(((v >> i) & 1) << b for i, b in enumerate(old)))
        return Placement(shape, (*new, *wide.register), wide.lane, wide.warp)

    # --- the operand of a view, from where its result is wanted ---

    def before_reshape(self, shape: tuple[int, ...]) -> Placement:
        return Placement(shape, self.register, self.lane, self.warp)

    def before_broadcast(self, shape: tuple[int, ...]) -> Placement:
        kept = [b for d in reversed(range(len(shape))) if shape[d] != 1 for b in _bits(self.shape, d)]
        return self.mapped(shape, _gather(kept))

    def before_permute(self, shape: tuple[int, ...], order: tuple[int, ...]) -> Placement:
        """``shape``: the operand's; result dimension i is operand dimension order[i]."""
        at = {s: d for d, s in enumerate(order)}
        return self.mapped(shape, _gather([b for s in reversed(range(len(shape))) for b in _bits(self.shape, at[s])]))

    def without(self, axis: int) -> Placement:
        """The same places with dimension ``axis`` dropped; what differed only there are copies now."""
        kept = [b for d in reversed(range(len(self.shape))) if d != axis for b in _bits(self.shape, d)]
        return self.mapped(self.shape[:axis] + self.shape[axis + 1 :], _gather(kept))

    def compact(self) -> Placement:
        """Without the register bits that only make copies."""
        return Placement(self.shape, _independent(self.register), self.lane, self.warp)


def _bits(shape: tuple[int, ...], d: int) -> range:
    low, n = span(shape, d)
    return range(low, low + n)


def _gather(bits: list[int]) -> Callable[[int], int]:
    """The map that makes bit i of its result of bit ``bits[i]``."""
    return lambda v: sum(((v >> b) & 1) << i for i, b in enumerate(bits))


def _independent(bases: Iterable[int]) -> tuple[int, ...]:
    out: list[int] = []
    echelon: list[int] = []
    for b in bases:
        v = b
        for e in echelon:
            v = min(v, v ^ e)
        if v:
            out.append(b)
            echelon.append(v)
            echelon.sort(reverse=True)
    return tuple(out)


def blocked(shape: tuple[int, ...], warps: int, vector: int = 1, order: tuple[int, ...] | None = None) -> Placement:
    """Consecutive elements in a thread's registers, then lanes, then warps, then more registers.

    ``vector`` elements along the fastest dimension belong to a thread; ``order`` names dimensions from fastest to
    slowest (default: last first).  Where the tile is smaller than the program, the remaining threads hold copies.
    """
    order = order or tuple(reversed(range(len(shape))))
    bits = [b for d in order for b in _bits(shape, d)]
    fast = log2(shape[order[0]]) if order else 0
    n = min(log2(vector), fast, len(bits))
    register = [1 << b for b in bits[:n]]
    rest = [1 << b for b in bits[n:]]
    lane = rest[:LANES]
    warp = rest[LANES : LANES + log2(warps)]
    register += rest[LANES + log2(warps) :]
    lane += [0] * (LANES - len(lane))
    warp += [0] * (log2(warps) - len(warp))
    return Placement(shape, tuple(register), tuple(lane), tuple(warp))
