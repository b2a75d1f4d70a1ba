"""Masks: where they need not be looked at.

A mask is a conjunction.  Conjuncts like ``offsets < n`` hold on a prefix of the vector dimension and
conjuncts which do not vary along it hold for all or none, so the vector loop is split: a main loop over the
part where they all hold (unmasked, several vectors at once), and a loop over the rest with real masks.

    for row …                       outer dimensions, scalar
      full = min(limit of each conjunct), 0 where a row condition fails
      for j in 0, W·U … full        masks assumed true
      for j in full, W … extent     masks evaluated

Rows of a few vectors would spend more on that than on themselves.  A mask that holds nowhere but before some limits in each dimension
holds everywhere if it holds at the last corner: so tiles of short rows are looked at once, where vectors have masks of their own
(AVX-512), and the whole nest exists twice, without masks and with them in every vector.  Products of 32×32×32 by Unsloth's gradient of
expert weights: 30 to 28 ms on one Cascade Lake core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...ir import Op, Value
from ...ir.types import BOOL, I32, I64
from .lanes import RAMP, UNIFORM, Lane, ramp, uniform
from .roots import Root, StoreRoot, WriteRoot
from .shape import in_order, is_linear, steps

if TYPE_CHECKING:
    from .memory import Memory
    from .program import Program

__all__ = ["Conjunct", "Index", "Masks", "rises_nowhere"]

Index = tuple[Lane, ...]
Conjunct = tuple[Value, tuple]  # a mask and the index it is seen at, as `Masks._seen_at` writes it


def rises_nowhere(p: Program, mask: Value) -> bool:
    """Whether the mask holds everywhere if it holds at the last index.

    Comparisons of unsigned numbers do not say so: ``j - 3``, of a halo perhaps, begins at the largest ones and goes on at zero.
    """
    if mask.type.is_scalar:
        return True
    op = mask.op
    if op is None or mask in p.buffers:
        return False
    if op.name in ("broadcast", "expand_dims", "splat"):
        return op.operands[0].type.is_scalar or rises_nowhere(p, op.operands[0])
    if op.name == "and":
        return all(rises_nowhere(p, x) for x in op.operands)
    if op.name == "constant":
        return True
    if op.name != "icmp":
        return False
    x, y, pred = in_order(op)
    rises = is_linear(x) and all(s in (0, 1) for s in steps(x, p.step_memo))
    return pred in ("slt", "sle") and rises and all(s == 0 for s in steps(y, p.step_memo))


class Masks:
    """What `nest.Nest` knows of the masks in it."""

    p: Program
    m: Memory
    shape: tuple[int, ...]
    vec_dim: int
    vec_key: tuple | None  # key of the index lane along the vector dimension
    probe: Lane
    roots: list[Root]
    whole: set[Value]  # masks that are on everywhere

    @property
    def level(self) -> int:
        raise NotImplementedError

    def ev(self, v: Value, idx: Index) -> Lane:
        raise NotImplementedError

    def _map_index(self, op: Op, v: Value, idx: Index) -> Index:
        raise NotImplementedError

    def _probe(self, idx: list[Lane]) -> Index:
        """``idx`` at the beginning of the vector dimension, whose lane is `self.probe` and nothing else."""
        at = list(idx)
        self.probe = at[self.vec_dim] = ramp("0", I32, 1, self.level, 1 << 30)
        self.vec_key = self.probe.key
        return tuple(at)

    def _seen_at(self, v: Value, idx: Index) -> Conjunct:
        """Names mask ``v`` at ``idx`` for all steps of the vector loop alike."""
        return v, tuple("vector" if x.key == self.vec_key else x.key for x in idx)

    def _limits(self, idx: list[Lane]) -> list[tuple[Conjunct, Lane]]:
        """Conjuncts that split the vector loop: (conjunct, count of leading positions where it holds)."""
        if self.m.width == 1 or not self.shape:
            return []
        at = self._probe(idx)
        found: dict[Conjunct, Lane | None] = {}
        for v, i in self._masks(at):
            for leaf, j in self._conjuncts(v, i):
                if all(x.const is not None or any(x is y for y in at) for x in j):  # else computed from the index, by a reshape
                    conjunct = self._seen_at(leaf, j)
                    if conjunct not in found:
                        found[conjunct] = self._limit(leaf, j)
        return [(v, x) for v, x in found.items() if x is not None]

    def _masks(self, idx: Index):
        """Masks of the loads and stores evaluated in this nest, with the index each is seen at."""
        seen: set = set()
        stack: list[tuple[Value, Index]] = []
        for r in self.roots:
            if isinstance(r, WriteRoot):
                stack.append((r.value, idx))
            else:
                stack += [(v, idx) for v in r.op.operands if v is not None]
                if isinstance(r, StoreRoot) and (m := r.op.operand("mask")) is not None and m not in self.whole:
                    yield m, idx
        while stack:
            v, i = stack.pop()
            key = (v, tuple(x.key for x in i))
            if key in seen or v.type.is_scalar or v in self.p.buffers or v.op is None:
                continue
            seen.add(key)
            op = v.op
            if op.name == "load" and (m := op.operand("mask")) is not None and m not in self.whole:
                yield m, i
            stack += self._children(op, v, i)

    def _children(self, op: Op, v: Value, i: Index) -> list[tuple[Value, Index]]:
        return [(x, self._map_index(op, v, i)) for x in op.operands if x is not None]

    def _conjuncts(self, v: Value, i: Index, seen: set[Any] | None = None):
        """What must hold for ``v`` to hold, each with its index, and each once."""
        seen = set() if seen is None else seen
        key = (v, tuple((x.key, x is self.probe) for x in i))
        if key in seen:
            return
        seen.add(key)
        op = v.op
        if op is not None and v not in self.p.buffers:
            if op.name == "and" and v.type.elem is BOOL:
                for x in op.operands:
                    yield from self._conjuncts(x, i, seen)
                return
            if op.name in ("broadcast", "expand_dims", "permute", "splat", "hint"):
                yield from self._conjuncts(op.operands[0], self._map_index(op, v, i), seen)
                return
        yield v, i

    def _limit(self, leaf: Value, i: Index) -> Lane | None:
        """How many leading positions satisfy ``leaf`` (i64 lane), or None where that is not a prefix."""
        m, extent = self.m, self.shape[self.vec_dim]
        if self._slope(leaf, i) == 0:
            c = self.ev(leaf, i)
            return m.select(c, m.const(extent, I64), m.const(0, I64)) if c.kind is UNIFORM else None
        op = leaf.op
        if op is None or op.name != "icmp" or leaf in self.p.buffers or any(self._slope(v, i) is None for v in op.operands):
            return None
        less, more, pred = in_order(op)
        x, y = self.ev(less, i), self.ev(more, i)
        if pred not in ("slt", "sle", "ult", "ule") or x.kind is not RAMP or x.stride != 1 or y.kind is not UNIFORM:
            return None
        signed = pred[0] == "s"
        base = uniform(x.val, x.elem, x.level, const=int(x.val) if x.val.lstrip("-").isdigit() else None)
        if not signed and (x.elem is I64 or base.const is None or base.const < 0):
            return None  # below zero are the largest numbers: the mask may begin in the middle
        if x.elem is I64:
            n = m.binary("sub", y, base)  # indices are far from the ends of i64
        else:
            n = m.binary("sub", m.resize(y, I64, signed), m.resize(base, I64, signed))
        return m.binary("add", n, m.const(1, I64)) if pred[1:] == "le" else n

    def _slope(self, v: Value, i: Index, known: dict[Any, int | None] | None = None) -> int | None:
        """How ``v`` goes along the whole vector dimension: 0 not at all, 1 as an affine function; None: unknown.

        ``known``: what was found out before; a value may be used many times, and each use of its operands, too.
        """
        known = {} if known is None else known
        key = (v, tuple((x.key, x is self.probe) for x in i))
        if key not in known:
            known[key] = self._new_slope(v, i, known)
        return known[key]

    def _new_slope(self, v: Value, i: Index, known: dict[Any, int | None]) -> int | None:
        if v.type.is_scalar or not any(x is self.probe for x in i):
            return 0
        op = v.op
        if op is None or v in self.p.buffers:
            return None
        if op.name in ("arange", "constant"):
            return int(op.name == "arange")
        if op.name in ("splat", "broadcast", "expand_dims", "permute"):
            return self._slope(op.operands[0], self._map_index(op, v, i), known)
        if not (op.defn.elementwise or op.name in ("hint", "load")):
            return None
        slopes = [self._slope(x, i, known) for x in op.operands if x is not None]
        if not any(s != 0 for s in slopes):
            return 0
        if None in slopes or op.name not in ("add", "sub", "mul", "addptr", "sext", "zext", "trunci", "hint"):
            return None
        return None if op.name == "mul" and slopes[0] and slopes[1] else 1

    def _split(self, limits: list[tuple[Conjunct, Lane]], idx: list[Lane], extent: int, step: int) -> tuple[str, str]:
        """(end of the main loop, end of the masked loop) as i32 text."""
        m = self.m
        n = m.const(extent, I64)
        for _, x in limits:
            n = self._call2("smin", n, x)
        n = self._call2("smax", n, m.const(0, I64))
        full = m.binary("and", n, m.const(-step, I64))
        full32 = m.resize(full, I32)
        tail = str(extent)
        if all(isinstance(r, StoreRoot) for r in self.roots) and self._limits_cover_stores({v for v, _ in limits}, idx):
            # nothing is stored past the limit: stop at the vector that contains it
            up = m.binary("and", m.binary("add", n, m.const(m.width - 1, I64)), m.const(-m.width, I64))
            tail = m.resize(up, I32).val
        return full32.val, tail

    def _limits_cover_stores(self, leaves: set[Conjunct], idx: list[Lane]) -> bool:
        at = self._probe(idx)
        for r in self.roots:
            assert isinstance(r, StoreRoot)
            mask = r.op.operand("mask")
            mine = {self._seen_at(v, i) for v, i in self._conjuncts(mask, at)} if mask is not None else set()
            if not leaves <= mine:
                return False
        return True

    def _call2(self, name: str, x: Lane, y: Lane) -> Lane:
        if x.const is not None and y.const is not None:
            return self.m.const({"smin": min, "smax": max}[name](x.const, y.const), x.elem)
        return self.m._call(name, [x, y])
