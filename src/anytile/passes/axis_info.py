"""What is regular about a tile along each dimension: contiguity, divisibility, constancy.

For an integer or pointer value v and dimension d, with powers of two

    constancy[d] = k     aligned groups of k neighbours along d hold one value
    contiguity[d] = c    aligned groups of c neighbours along d hold x, x + 1, … (pointers: next elements)
    divisibility[d] = m  the first value of each such group of c is a multiple of m (pointers: in bytes)

Worked example: ``pid·64 + arange(0, 64)`` has contiguity 64 and divisibility 64, so a load at
``splat(p) + that`` with p divisible by 16 bytes (f32) is one run of 64 elements, aligned to 16 bytes.  The mask
``that < n`` with n divisible by 16 has constancy 16: groups of 16 lanes are on or off together.

Where a group starts at a multiple of c, the value at a multiple of a smaller c' is a multiple of min(m, c');
`AxisFact.at` says so once, and every rule builds on it.  A scalar is treated as a tile of shape (1,).

One assumption, the same that Triton makes: consecutive integers do not wrap inside a group.  Breaking it takes
offsets that jump by 2³¹ elements between neighbours; `simplify_ranges` and targets may not rely on more.
Carried values are found by iteration from the initial facts downwards; facts only shrink, so it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.core import Block, Func, Op, Value
from ..ir.rewrite import const_value
from ..ir.types import Ptr
from .range_info import RangeInfo

__all__ = ["AxisFact", "AxisInfo"]

_LARGEST = 1 << 62  # what zero is divisible by


def _pow2(v: int) -> int:
    """The largest power of two that divides ``v``."""
    return v & -v if v else _LARGEST


@dataclass(frozen=True)
class AxisFact:
    """One entry per dimension (one for a scalar); see the head of the file.  ``unit`` is the byte size of a step."""

    contiguity: tuple[int, ...]
    divisibility: tuple[int, ...]
    constancy: tuple[int, ...]
    unit: int = 1

    def at(self, d: int, c: int) -> int:
        """What the values at multiples of ``c`` along ``d`` are divisible by."""
        if c == 1:
            return self.everywhere()
        return self.divisibility[d] if self.contiguity[d] <= c else min(self.divisibility[d], c * self.unit)

    def everywhere(self) -> int:
        """What every value is divisible by: any dimension may prove it."""
        return max(m if c == 1 else min(m, self.unit) for m, c in zip(self.divisibility, self.contiguity, strict=True))

    def join(self, other: AxisFact) -> AxisFact:
        """What holds for both."""
        contiguity = tuple(map(min, self.contiguity, other.contiguity))
        divisibility = tuple(min(self.at(d, c), other.at(d, c)) for d, c in enumerate(contiguity))
        return AxisFact(contiguity, divisibility, tuple(map(min, self.constancy, other.constancy)), self.unit)


def _dims(v: Value) -> tuple[int, ...]:
    return v.type.shape or (1,)


def _unit(v: Value) -> int:
    e = v.type.elem
    return e.pointee.bytes if isinstance(e, Ptr) else 1


class AxisInfo:
    """Facts about all integer and pointer values of ``func``; ``info[v]`` never fails, it may be all ones.

    ``trusting``: dividends of signed quotients and remainders are taken not to be negative inside a run, as Triton does for
    ``offsets // length % size``.
    """

    def __init__(self, func: Func, ranges: RangeInfo | None = None, trusting: bool = False):
        self.ranges = ranges if ranges is not None else RangeInfo(func)
        self.trusting = trusting
        self._of: dict[Value, AxisFact] = {}
        for arg, attrs in zip(func.args, func.arg_attrs, strict=True):
            m = _pow2(int(attrs.get("divisible", 1)))
            self._of[arg] = AxisFact((1,), (max(m, _unit(arg)),), (1,), _unit(arg))
        self._block(func.body)

    def __getitem__(self, v: Value) -> AxisFact:
        got = self._of.get(v)
        if got is None:
            ones = (1,) * max(1, v.type.rank)
            unit = _unit(v)
            got = self._of[v] = AxisFact(ones, (unit,) * len(ones), ones, unit)
        return got

    def run(self, pointer: Value, axis: int = -1) -> tuple[int, int]:
        """For a pointer tile: how many neighbours along ``axis`` lie side by side, and each run's alignment in bytes."""
        f = self[pointer]
        return f.contiguity[axis], f.divisibility[axis]

    # --- walking --------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        for op in block.ops:
            name = op.defn.name
            if op.blocks:
                self._region(op, name)
                continue
            rule = _RULES.get(name)
            if rule is not None and op.results and not op.results[0].type.elem.is_float:
                got = rule(self, op)
                if got is not None:
                    self._of[op.results[0]] = got
                else:
                    self._of.pop(op.results[0], None)  # what an earlier, too hopeful round of a loop said

    def _region(self, op: Op, name: str) -> None:
        if name == "for":
            lb, step = self[op.operands[0]], self[op.operands[2]]  # type: ignore[index]
            body = op.blocks[0]
            self._of[body.args[0]] = AxisFact((1,), (min(lb.divisibility[0], step.divisibility[0]),), (1,))
            self._fixpoint(op.rest(), body.args[1:], [body], lambda: body.terminator.operands, op.results)
        elif name == "while":
            before, after = op.blocks

            def through() -> list[Value]:
                for a, p in zip(after.args, before.terminator.operands[1:], strict=True):
                    self._of[a] = self[p]  # type: ignore[index]
                self._block(after)
                return after.terminator.operands

            self._fixpoint(op.operands, before.args, [before], through, ())
            for r, p in zip(op.results, before.terminator.operands[1:], strict=True):
                self._of[r] = self[p]  # type: ignore[index]
        elif name == "if":
            for b in op.blocks:
                self._block(b)
            ends = [b.terminator.operands for b in op.blocks]
            for r, x, y in zip(op.results, *ends, strict=True):
                self._of[r] = self[x].join(self[y])

    def _fixpoint(self, inits, args, blocks: list[Block], nexts: Callable[[], list], results) -> None:
        facts = [self[v] for v in inits]
        while True:
            for a, f in zip(args, facts, strict=True):
                self._of[a] = f
            for b in blocks:
                self._block(b)
            joined = [f.join(self[v]) for f, v in zip(facts, nexts(), strict=True)]
            if joined == facts:
                break
            facts = joined
        if results:
            self._of.update(zip(results, facts, strict=True))


# --- rules: (info, op) → fact or None for "nothing is known" ---------------------------------------------------


def _fact(op: Op, contiguity, divisibility, constancy) -> AxisFact:
    return AxisFact(tuple(contiguity), tuple(divisibility), tuple(constancy), _unit(op.results[0]))


def _constant(info: AxisInfo, op: Op) -> AxisFact:
    dims = _dims(op.results[0])
    return _fact(op, (1,) * len(dims), (_pow2(int(op.attrs["value"])),) * len(dims), dims)


def _arange(info: AxisInfo, op: Op) -> AxisFact:
    n = op.attrs["end"] - op.attrs["start"]
    return _fact(op, (n,), (_pow2(op.attrs["start"]),), (1,))


def _splat(info: AxisInfo, op: Op) -> AxisFact:
    dims = _dims(op.results[0])
    return _fact(op, (1,) * len(dims), (info[op.operands[0]].divisibility[0],) * len(dims), dims)  # type: ignore[index]


def _expand(info: AxisInfo, op: Op) -> AxisFact:
    f, axis = info[op.operands[0]], op.attrs["axis"]  # type: ignore[index]
    return _fact(op, _put(f.contiguity, axis, 1), _put(f.divisibility, axis, f.everywhere()), _put(f.constancy, axis, 1))


def _put(t: tuple[int, ...], axis: int, v: int) -> tuple[int, ...]:
    return (*t[:axis], v, *t[axis:])


def _broadcast(info: AxisInfo, op: Op) -> AxisFact:
    x = op.operands[0]
    assert x is not None
    f = info[x]
    constancy = [n if s == 1 else k for n, s, k in zip(op.attrs["shape"], x.type.shape, f.constancy, strict=True)]
    return _fact(op, f.contiguity, f.divisibility, constancy)


def _permute(info: AxisInfo, op: Op) -> AxisFact:
    f, order = info[op.operands[0]], op.attrs["order"]  # type: ignore[index]
    return _fact(op, *([t[i] for i in order] for t in (f.contiguity, f.divisibility, f.constancy)))


def _reshape(info: AxisInfo, op: Op) -> AxisFact | None:
    x = op.operands[0]
    assert x is not None
    f, source, shape = info[x], x.type.shape, tuple(op.attrs["shape"])
    dims = [d for d, n in enumerate(source) if n != 1]
    if not shape:
        return _fact(op, (1,), (f.everywhere(),), (1,))
    contiguity, divisibility, constancy = [1] * len(shape), [f.everywhere()] * len(shape), [1] * len(shape)
    targets = [d for d, n in enumerate(shape) if n != 1]
    if [source[d] for d in dims] == [shape[d] for d in targets]:
        pairs = list(zip(dims, targets, strict=True))  # unit dimensions come and go
    elif dims and targets:
        pairs = [(dims[-1], targets[-1])]  # groups along the minor dimension survive up to its new size
    else:
        return None
    for d, t in pairs:
        n = min(source[d], shape[t])
        contiguity[t] = c = min(f.contiguity[d], n)
        divisibility[t], constancy[t] = f.at(d, c), min(f.constancy[d], n)
    return _fact(op, contiguity, divisibility, constancy)


def _same(info: AxisInfo, op: Op) -> AxisFact:
    f = info[op.operands[0]]  # type: ignore[index]
    return _fact(op, f.contiguity, f.divisibility, f.constancy)


def _resized(info: AxisInfo, op: Op) -> AxisFact:
    """Another width without the sign: runs break where a value does not fit, multiples of powers of two stay such."""
    x, bits = op.operands[0], op.results[0].type.elem.bits
    low, high = info.ranges[x]
    narrowing = bits < x.type.elem.bits
    if (low >= -(1 << bits - 1) and high < 1 << bits - 1) if narrowing else low >= 0:
        return _same(info, op)
    f = info[x]
    return _fact(op, [1] * len(f.contiguity), [f.everywhere()] * len(f.contiguity), f.constancy)


def _reinterpret(info: AxisInfo, op: Op) -> AxisFact | None:
    x = op.operands[0]
    assert x is not None
    if x.type.elem.is_float:
        return None
    f = info[x]
    if _unit(x) == _unit(op.results[0]):
        return _same(info, op)
    # Other units: neighbours are no longer one step apart, multiples in bytes stay.
    ones = (1,) * len(f.constancy)
    return _fact(op, ones, (f.everywhere(),) * len(ones), f.constancy)


def _add(info: AxisInfo, op: Op) -> AxisFact:
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    scale = _unit(op.results[0])  # an offset counts elements, divisibility of pointers counts bytes
    subtract = op.defn.name == "sub"
    contiguity, divisibility, constancy = [], [], []
    for d in range(len(x.constancy)):
        c = min(x.contiguity[d], y.constancy[d])
        if not subtract:
            c = max(c, min(x.constancy[d], y.contiguity[d]))
        contiguity.append(c)
        divisibility.append(min(x.at(d, c), y.at(d, c) * scale))
        constancy.append(min(x.constancy[d], y.constancy[d]))
    return _fact(op, contiguity, divisibility, constancy)


def _mul(info: AxisInfo, op: Op) -> AxisFact:
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    ones = (1,) * len(x.constancy)
    m = min(x.everywhere() * y.everywhere(), _LARGEST)
    return _fact(op, ones, (m,) * len(ones), map(min, x.constancy, y.constancy))


def _shl(info: AxisInfo, op: Op) -> AxisFact | None:
    k = const_value(op.operands[1])
    x = info[op.operands[0]]  # type: ignore[index]
    if k is None or not 0 <= k < 62:
        return None
    ones = (1,) * len(x.constancy)
    return _fact(op, ones, (min(x.everywhere() << int(k), _LARGEST),) * len(ones), x.constancy)


def _quotients(x: AxisFact, part: int) -> list[int]:
    """Constancy of floor(x / y), y one multiple of ``part``: runs of x inside one multiple become constant."""
    return [max(k, min(c, m, part)) for k, c, m in zip(x.constancy, x.contiguity, x.divisibility, strict=True)]


def _divided(info: AxisInfo, op: Op, divisor: int) -> AxisFact:
    """floor(x / divisor)."""
    x = info[op.operands[0]]  # type: ignore[index]
    ones = (1,) * len(x.constancy)
    part = _pow2(divisor)
    constancy = _quotients(x, part)
    m = max(1, x.everywhere() // part) if part == divisor else 1
    return _fact(op, ones, (m,) * len(ones), constancy)


def _div(info: AxisInfo, op: Op) -> AxisFact:
    x, y = op.operands
    v = const_value(y)
    if v is None and (info.ranges[x].lo >= 0 or info.trusting):  # type: ignore[index]
        by = info[y]  # type: ignore[index]
        ones = (1,) * len(by.constancy)
        return _fact(op, ones, ones, map(min, _quotients(info[x], by.everywhere()), by.constancy))  # type: ignore[index]
    if v is None or v <= 0:
        return _uniform_groups(info, op)
    exact = _pow2(int(v)) == v and info[x].everywhere() % v == 0  # then the sign does not matter
    if info.ranges[x].lo < 0 and not exact and not info.trusting:  # type: ignore[index]
        return _uniform_groups(info, op)
    return _divided(info, op, int(v))


def _shr(info: AxisInfo, op: Op) -> AxisFact:
    x, y = op.operands
    k = const_value(y)
    if k is None or not 0 <= k < 31 or (op.defn.name == "lshr" and info.ranges[x].lo < 0):  # type: ignore[index]
        return _uniform_groups(info, op)
    return _divided(info, op, 1 << int(k))


def _remainder(info: AxisInfo, op: Op, m: int) -> AxisFact:
    """x mod y for x >= 0 and y a multiple of ``m`` (one value per group): runs inside one multiple stay runs."""
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    contiguity, divisibility = [], []
    for d in range(len(x.constancy)):
        c = min(x.contiguity[d], x.divisibility[d], m, y.constancy[d])
        contiguity.append(c)
        divisibility.append(min(x.at(d, c), m))
    return _fact(op, contiguity, divisibility, map(min, x.constancy, y.constancy))


def _rem(info: AxisInfo, op: Op) -> AxisFact:
    x, y = op.operands
    if info.ranges[x].lo < 0 and not info.trusting:  # type: ignore[index]
        return _uniform_groups(info, op)
    return _remainder(info, op, info[y].everywhere())  # type: ignore[index]


def _and(info: AxisInfo, op: Op) -> AxisFact:
    mask = const_value(op.operands[1])
    if mask is not None and mask > 0 and not (int(mask) + 1) & int(mask):
        return _remainder(info, op, int(mask) + 1)  # x & (2ᵏ − 1) = x mod 2ᵏ, for negative x too
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    ones = (1,) * len(x.constancy)
    m = max(x.everywhere(), y.everywhere())  # a zero bit on either side stays zero
    return _fact(op, ones, (m,) * len(ones), map(min, x.constancy, y.constancy))


def _bitwise(info: AxisInfo, op: Op) -> AxisFact:
    """or, xor, minima and maxima: the result's low zero bits are those of both."""
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    ones = (1,) * len(x.constancy)
    return _fact(op, ones, (min(x.everywhere(), y.everywhere()),) * len(ones), map(min, x.constancy, y.constancy))


def _uniform_groups(info: AxisInfo, op: Op) -> AxisFact:
    """Any function of its operands: lanes that agree in every operand agree in the result."""
    facts = [info[v] for v in op.operands if v is not None]
    constancy = facts[0].constancy
    for f in facts[1:]:
        constancy = tuple(map(min, constancy, f.constancy))
    ones = (1,) * len(constancy)
    return _fact(op, ones, ones, constancy)


def _icmp(info: AxisInfo, op: Op) -> AxisFact:
    x, y = info[op.operands[0]], info[op.operands[1]]  # type: ignore[index]
    pred = op.attrs["pred"]
    constancy = []
    for d in range(len(x.constancy)):
        k = min(x.constancy[d], y.constancy[d])
        # x < n with runs of x and n both at multiples of g: the whole run of g lies on one side
        if pred[1:] in ("lt", "ge"):
            k = max(k, min(x.contiguity[d], x.divisibility[d] // x.unit, y.constancy[d], y.everywhere() // y.unit))
        elif pred[1:] in ("gt", "le"):
            k = max(k, min(y.contiguity[d], y.divisibility[d] // y.unit, x.constancy[d], x.everywhere() // x.unit))
        constancy.append(max(1, k))
    ones = (1,) * len(constancy)
    return _fact(op, ones, ones, constancy)


def _select(info: AxisInfo, op: Op) -> AxisFact:
    cond, x, y = (info[v] for v in op.operands)  # type: ignore[index]
    both = x.join(y)
    contiguity = tuple(map(min, both.contiguity, cond.constancy))
    divisibility = tuple(both.at(d, c) for d, c in enumerate(contiguity))
    return _fact(op, contiguity, divisibility, map(min, both.constancy, cond.constancy))


def _hint(info: AxisInfo, op: Op) -> AxisFact:
    f = info[op.operands[0]]  # type: ignore[index]
    values = [_pow2(int(v)) for v in op.attrs["values"]]
    if len(values) != len(f.constancy):
        return f
    kind = op.attrs["kind"]
    if kind == "divisible":
        return _fact(op, f.contiguity, map(max, f.divisibility, values), f.constancy)
    dims = _dims(op.results[0])
    values = [min(v, n) for v, n in zip(values, dims, strict=True)]
    if kind == "constant":
        return _fact(op, f.contiguity, f.divisibility, map(max, f.constancy, values))
    # Longer runs start at fewer places: the old multiples still hold there.
    return _fact(op, map(max, f.contiguity, values), f.divisibility, f.constancy)


_RULES: dict[str, Callable[[AxisInfo, Op], AxisFact | None]] = {
    "constant": _constant,
    "arange": _arange,
    "splat": _splat,
    "expand_dims": _expand,
    "broadcast": _broadcast,
    "permute": _permute,
    "reshape": _reshape,
    "sext": _same,
    "zext": _resized,
    "trunci": _resized,
    "ptrtoint": _reinterpret,
    "inttoptr": _reinterpret,
    "bitcast": _reinterpret,
    "add": _add,
    "sub": _add,
    "addptr": _add,
    "mul": _mul,
    "shl": _shl,
    "sdiv": _div,
    "udiv": _div,
    "ashr": _shr,
    "lshr": _shr,
    "srem": _rem,
    "urem": _rem,
    "and": _and,
    "or": _bitwise,
    "xor": _bitwise,
    "smin": _bitwise,
    "smax": _bitwise,
    "umin": _bitwise,
    "umax": _bitwise,
    "icmp": _icmp,
    "select": _select,
    "hint": _hint,
    "window": _same,
    "load": _uniform_groups,
    "iabs": _uniform_groups,
}
