"""Dots: tensor cores where an instruction takes the element types, fused multiply-adds elsewhere.

A row of `dot_table` is one ``mma.sync`` m16n8k(8p), where p elements fill 32 bits.  Its fragments are placements,
and their pattern is one and the same for every element type (PTX ISA, "Matrix Fragments for mma"):

    accumulator 16×8    registers: n bit 0, m bit 3            lanes: n bits 1–2, m bits 0–2
    A 16×8p             registers: k inside 32 bits, m bit 3, k bit log₂4p    lanes: k above, m bits 0–2
    B 8p×8              registers: k inside 32 bits, k bit log₂4p             lanes: k above, n bits 0–2

Larger tiles repeat them: first over more registers, at the top over warps.  So a dot asks for its operands in their
fragments' placements and everything else is a conversion, which may be none.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Block, Func, Op, Value
from ...ir.types import F16, F32, Element
from ...layouts.convert import ThroughShared, plan
from . import matrices, wgmma
from .convert import memory_bytes
from .dot_table import Instruction, instruction
from .multiply_add import multiply_add, result_place
from .placement import Placement, log2
from .values import Generator, eager, llvm_type

__all__ = [
    "accumulator",
    "as_words",
    "behind_loops",
    "dot_behind",
    "dots_fed",
    "fragments",
    "left_operand",
    "operand_chain",
    "reserve_invariant",
    "stage_invariant",
    "wanted_operands",
]

KEPT = 48
"""32-bit words of an operand's fragments that a thread holds at once."""


def operand_chain(func: Func) -> set[Op]:
    """Dots whose result, after elementwise operations, is an operand of another dot, and those others: warps along M only."""
    out: set[Op] = set()
    for op in func.walk():
        if op.name == "dot":
            before = dot_behind(op.operands[0])
            if before is not None:
                out |= {op, before}
    return out


def dot_behind(v: Value, fuel: int = 24) -> Op | None:
    """The dot that ``v`` is computed from by elementwise operations, looking at most ``fuel`` of them back."""
    op = v.op
    if op is None or fuel == 0:
        return None
    if op.name == "dot":
        return op
    if not op.defn.elementwise:
        return None
    for x in op.operands:
        if not x.type.is_scalar and (found := dot_behind(x, fuel - 1)) is not None:
            return found
    return None


def dots_fed(load: Op, body: Block, in_loops: bool = False) -> list[tuple[Value, Op, int]]:
    """The dots of ``body``, and of loops in it where ``in_loops``, that read what is loaded, each with the operand and its number.

    None where anything else reads it.  On the way it may be permuted and lose dimensions of 1.
    """
    out: list[tuple[Value, Op, int]] = []
    pending = [load.result]
    while pending:
        v = pending.pop()
        for user, i in v.uses:
            if user.name == "dot" and i <= 1 and (user.block is body or in_loops and behind_loops(user, body) is not None):
                out.append((v, user, i))
            elif user.name == "permute" or user.name == "reshape" and wgmma.drops_ones(user):
                pending.append(user.result)
            else:
                return []
    return out


def behind_loops(op: Op, body: Block) -> Op | None:
    """The operation of ``body`` that ``op`` is, or the loop of it that ``op`` is in with loops alone between them, if any."""
    around: Op | None = op
    while around is not None and around.block is not body:
        around = around.parent_op()
        if around is not None and around.name != "for":
            return None
    return around


# --- placements ------------------------------------------------------------------------------------------------


def _split_warps(m: int, n: int, warps: int, chained: bool) -> tuple[int, int, int]:
    """(bits of warps along M, along N, left over) for an accumulator of m × n."""
    wm = wn = 0
    while wm + wn < log2(warps):
        can_m, can_n = m >= 32 << wm, n >= 16 << wn
        if can_m and (chained or not can_n or m >> wm >= n >> wn):
            wm += 1
        elif can_n:
            wn += 1
        else:
            break
    return wm, wn, log2(warps) - wm - wn


def accumulator(op: Op, num_warps: int, sm: int, chained: bool, turned: bool | None) -> Placement:
    """Where the accumulator of ``op`` lies.  ``turned``: as in `wgmma.plan`, None for a dot that wgmma does not compute."""
    shape = op.result.type.shape
    if turned is not None:
        return wgmma.accumulator_place(op, num_warps, turned)
    if instruction(op, sm) is None:
        return result_place(shape, num_warps)
    m, n = shape[-2:]
    bm, bn = log2(m), log2(n)
    wm, wn, rest = _split_warps(m, n, num_warps, chained)
    row = [1 << (bn + k) for k in range(bm)]
    batch = [1 << (bn + bm + k) for k in range(log2(op.result.type.numel) - bm - bn)]
    register = [1, row[3], *(1 << k for k in range(3, bn - wn)), *row[4 : bm - wm], *batch]
    lane = [2, 4, row[0], row[1], row[2]]
    warp = [*row[bm - wm :], *(1 << k for k in range(bn - wn, bn)), *([0] * rest)]
    return Placement(shape, tuple(register), tuple(lane), tuple(warp))


def fragments(op: Op, acc: Placement, pack: int) -> tuple[Placement, Placement]:
    """The placements of A and B that belong to the accumulator's."""
    return _fragments(op.operands[0].type.shape, op.operands[1].type.shape, acc, pack)


def _fragments(a: tuple[int, ...], b: tuple[int, ...], acc: Placement, pack: int) -> tuple[Placement, Placement]:
    m, n, k = acc.shape[-2], acc.shape[-1], a[-1]
    bm, bn, bk = log2(m), log2(n), log2(k)
    p = log2(pack)

    def split(bit: int) -> tuple[int, int, int]:  # of an accumulator basis: (batch, row, column)
        return bit >> (bn + bm), (bit >> bn) & (m - 1), bit & (n - 1)

    def in_a(batch: int, row: int, k_: int) -> int:
        return (batch << (bm + bk)) | (row << bk) | k_

    def in_b(batch: int, k_: int, col: int) -> int:
        return (batch << (bk + bn)) | (k_ << bn) | col

    rows = [r for r in (split(x)[1] for x in acc.register) if r]
    cols = [c for c in (split(x)[2] for x in acc.register) if c and c >= 8]
    batches = [q for q in (split(x)[0] for x in acc.register) if q]
    inside, above = [1 << i for i in range(p)], [1 << i for i in range(p + 3, bk)]
    k_lanes, k_half = [1 << p, 2 << p], 4 << p
    register_a = [in_a(0, 0, i) for i in inside] + [in_a(0, rows[0], 0), in_a(0, 0, k_half)] + [in_a(0, 0, i) for i in above]
    register_a += [in_a(0, r, 0) for r in rows[1:]] + [in_a(q, 0, 0) for q in batches]
    lane_a = [in_a(0, 0, i) for i in k_lanes] + [in_a(0, 1 << i, 0) for i in range(3)]
    warp_a = [in_a(0, split(x)[1], 0) for x in acc.warp]
    register_b = [in_b(0, i, 0) for i in inside] + [in_b(0, k_half, 0)] + [in_b(0, i, 0) for i in above]
    register_b += [in_b(0, 0, c) for c in cols] + [in_b(q, 0, 0) for q in batches]
    lane_b = [in_b(0, i, 0) for i in k_lanes] + [in_b(0, 0, 1 << i) for i in range(3)]
    warp_b = [in_b(0, 0, split(x)[2]) for x in acc.warp]
    return Placement(a, tuple(register_a), tuple(lane_a), tuple(warp_a)), Placement(b, tuple(register_b), tuple(lane_b), tuple(warp_b))


def wanted_operands(g: Generator, op: Op) -> list[tuple[Value, Placement]]:
    """(operand, placement) pairs that ``op`` will ask for: what is worth preparing in front of a loop."""
    if op.name != "dot":
        return []
    row = instruction(op, g.sm)
    if row is None or op in g.assignment.by_warpgroup:
        return []
    places = fragments(op, g.homes[op.result], row.pack)
    held = [(op.operands[i], place) for i, place in enumerate(places) if not _in_shared(g, op, i, place, row)]
    return [(v, place) for v, place in held if v not in g.copied]


def _in_shared(g: Generator, op: Op, index: int, place: Placement, row: Instruction) -> bool:
    """Whether an operand is read from shared memory piece by piece: its fragments at once would fill the registers."""
    if not g.means.large_in_shared or place.registers // row.pack <= KEPT:
        return False
    if dot_behind(op.operands[index]) is not None:  # what a dot made is in its fragments already
        return False
    return isinstance(matrices.ring_form(g, op, index), wgmma.Panels)


def _by_panels(g: Generator, op: Op, index: int, place: Placement) -> bool:
    """Whether an operand that the loop around ``op`` makes anew goes to its fragments as copied ones do.

    That is stored by 8 or 16 bytes and read by ldmatrix.  The other way would store the elements of a fragment's word one by one where a
    thread's neighbours are no neighbours along k.
    """
    v = made = op.operands[index]
    while made.op is not None and (made.op.name == "permute" or made.op.name == "reshape" and wgmma.drops_ones(made.op)):
        made = made.op.operands[0]
    if made.op is None or made.op.block is not op.block or op.block is g.func.body or dot_behind(made) is not None:
        return False
    if not g.means.large_in_shared or g.is_lazy(made) or g.find(v, place) is not None:
        return False
    form, here = matrices.ring_form(g, op, index), g.place_for(v)
    if not isinstance(form, wgmma.Panels) or wgmma.vector(here, form) * form.size < 8:
        return False
    return isinstance(plan(here.layout, place.layout, form.size * 8), ThroughShared)


# --- emission ------------------------------------------------------------------------------------------------


@eager("dot")
def dot(g: Generator, op: Op) -> None:
    row = instruction(op, g.sm)
    acc = g.homes[op.result]
    _landed(g, op)
    if op in g.assignment.by_warpgroup:
        g.define(op.result, _by_warpgroup(g, op, acc), acc)
        return
    out = multiply_add(g, op, acc) if row is None else _by_tensor_core(g, op, acc, row)
    g.define(op.result, out, acc)


def _landed(g: Generator, op: Op) -> None:
    """Waits for the copies of ``op``'s operands that were started where those are loaded (`straight_copies`)."""
    groups = [i for i, values in enumerate(g.under_way) if not values.isdisjoint(op.operands[:2])]
    if groups:
        g.assembly(f"cp.async.wait_group {len(g.under_way) - 1 - groups[-1]};", "", "void", [])
        g.barrier()
        del g.under_way[: groups[-1] + 1]


def _by_tensor_core(g: Generator, op: Op, acc: Placement, row: Instruction) -> list[str]:
    place_a, place_b = fragments(op, acc, row.pack)
    values = list(g.get(op.operands[2], acc))
    e = op.operands[0].type.elem
    places = place_a, place_b
    large = [
        (v, i)
        for i, v in enumerate(op.operands[:2])
        if v not in g.ring and (_in_shared(g, op, i, places[i], row) or _by_panels(g, op, i, places[i]))
    ]
    g.large_operands += len(large)
    wgmma.stage(g, large, asynchronous=False)
    m, n, k = acc.shape[-2], acc.shape[-1], op.operands[0].type.shape[-1]
    bm, bn, bk = log2(m), log2(n), log2(k)
    at = acc.register_of
    p = log2(row.pack)
    one_a, steps_a = _steps(g, op, 0, place_a, row)
    one_b, steps_b = _steps(g, op, 1, place_b, row)
    for k0 in range(0, k, row.k):
        words_a, words_b = steps_a(k0), steps_b(k0)
        parts = [(words_a, words_b)]
        if e is F32:
            parts = _tf32_parts(g, words_a, words_b, op.attrs["precision"] == "tf32x3")
        for first in range(0, acc.registers, 4):  # register bits 0 and 1 are those of one instruction
            c = acc.constants[first]
            batch, mi, ni = c >> (bm + bn), (c >> bn) & (m - 1), c & (n - 1)
            d = [values[at[c ^ i]] for i in (0, 1, 8 << bn, (8 << bn) | 1)]
            ra = one_a.register_of[(batch << (bm + bk)) | (mi << bk)] >> p
            rb = one_b.register_of[(batch << (bk + bn)) | ni] >> p
            for xs, ys in parts:
                d = _mma(g, row, d, xs[ra : ra + 4], ys[rb : rb + 2])
            for i, x in zip((0, 1, 8 << bn, (8 << bn) | 1), d, strict=True):
                values[at[c ^ i]] = x
    return values


def _steps(g: Generator, op: Op, index: int, place: Placement, row: Instruction) -> tuple[Placement, Callable[[int], list[str]]]:
    """What one instruction's step along k takes of operand ``index``: its placement at k = 0, and k0 → its 32-bit words.

    An operand in shared memory is read step by step: a thread need not hold all of it, and multiplies what it has while more comes.
    """
    v, form = op.operands[index], matrices.ring_form(g, op, index)
    k, low = op.operands[0].type.shape[-1], log2(v.type.shape[-1]) if index else 0  # the lowest bit of k in a flat index
    later = [r for r in place.register if r >> low & (k - 1) >= row.k]
    here = tuple(r for r in place.register if r not in later)
    one = Placement(place.shape, here, place.lane, place.warp)
    slot = None if form is None else wgmma.slot_of(g, v, form)
    if form is None or slot is None:
        whole = as_words(g, g.get(v, place), v.type.elem, row.pack)
        return one, lambda k0: [whole[place.register_of[c ^ k0 << low] // row.pack] for c in one.constants[:: row.pack]]
    more = max(0, min(len(later), matrices.BITS + log2(row.pack) - len(here)))  # so that each instruction reads as much as it may
    chunk = Placement(place.shape, here + tuple(later[:more]), place.lane, place.warp)
    read = matrices.fragments_in(g, slot, form, chunk, form.inner == 1 - index)
    known: dict[int, list[str]] = {}

    def words(k0: int) -> list[str]:
        begin = k0 & -(row.k << more)
        if begin not in known:
            known[begin] = read(begin << low)
        return [known[begin][chunk.register_of[c ^ (k0 - begin) << low] // row.pack] for c in one.constants[:: row.pack]]

    return one, words


def _operand_words(g: Generator, op: Op, index: int, place: Placement, pack: int) -> list[str]:
    """Operand ``index`` in its fragments, as 32-bit words: from shared memory where it lies there."""
    v, form = op.operands[index], matrices.ring_form(g, op, index)
    slot = None if form is None else wgmma.slot_of(g, v, form)
    if form is None or slot is None:
        return as_words(g, g.get(v, place), v.type.elem, pack)
    return matrices.fragments_in(g, slot, form, place, form.inner == 1 - index)(0)


def _by_warpgroup(g: Generator, op: Op, acc: Placement) -> list[str]:
    """By wgmma."""
    flight = g.in_flight.get(op)
    out = wgmma.accumulate(g, op, acc, *left_operand(g, op))
    return out if flight is None else flight.behind(out)


def left_operand(g: Generator, op: Op) -> tuple[Placement, list[str] | None]:
    """The fragments of the A of wgmma's instructions, and its words; None where it is in shared memory.

    From registers where it is computed there; B where it is turned.
    """
    a, acc = op.operands[0], g.homes[op.result]
    pack = 4 // memory_bytes(a.type.elem)
    words, turned = None, g.assignment.by_warpgroup[op]
    if turned:
        (m, n), k = acc.shape, a.type.shape[1]
        fragment, _ = _fragments((n, k), (k, m), acc.before_permute((n, m), (1, 0)), 1)
        here = fragment.before_permute((k, n), (1, 0))
        words = _operand_words(g, op, 1, here, 1)
    else:
        fragment, _ = fragments(op, acc, pack)
        if a not in g.ring and _from_registers(g, op):
            words = as_words(g, g.get(a, fragment), a.type.elem, pack)
            g.small_chain |= op in g.assignment.made_here
    return fragment, words


def reserve_invariant(g: Generator, op: Op, body: Block) -> None:
    """Gives the operands of wgmma's dot that `stage_invariant` will put into shared memory their place there."""
    for i in _shared_by_warpgroup(g, op, g.assignment.by_warpgroup[op]):
        v = op.operands[i]
        form = wgmma.panels(g, v, i)
        if not body.defines(v) and wgmma.slot_of(g, v, form) is None:
            g.buffer((v, form), form.bytes)


def _shared_by_warpgroup(g: Generator, op: Op, turned: bool) -> tuple[int, ...]:
    """The operands of wgmma's dot that it reads from shared memory."""
    return (0,) if turned else (1,) if _from_registers(g, op) else (0, 1)


def stage_invariant(g: Generator, op: Op, inside: set[Value]) -> None:
    """Puts operands of a dot in a loop that come from outside into shared memory, once: wgmma's, and others' that are large."""
    _landed(g, op)
    turned, row = g.assignment.by_warpgroup.get(op), instruction(op, g.sm)
    shared: tuple[int, ...] = ()
    if turned is not None:
        shared = _shared_by_warpgroup(g, op, turned)
    elif row is not None:
        shared = tuple(i for i, place in enumerate(fragments(op, g.homes[op.result], row.pack)) if _in_shared(g, op, i, place, row))
    wgmma.stage(g, [(op.operands[i], i) for i in shared if op.operands[i] not in inside], asynchronous=turned is not None)


def _from_registers(g: Generator, op: Op) -> bool:
    """Whether wgmma takes A from registers: where an earlier dot made it, or what it is computed from was loaded for it (`asked`)."""
    return op in g.assignment.made_here or dot_behind(op.operands[0]) is not None


def _mma(g: Generator, row: Instruction, c: list[str], a: list[str], b: list[str]) -> list[str]:
    """One instruction: c + a·b."""
    t, k = {"s32": ("i32", "r"), "f32": ("float", "f"), "f16": ("i32", "r")}[row.result]
    if row.result == "f16":  # two elements a register
        c = as_words(g, c, F16, 2)
    n = len(c)
    target, fragment_a = "{" + ", ".join(f"${i}" for i in range(n)) + "}", "{" + ", ".join(f"${n + i}" for i in range(4)) + "}"
    start = "{" + ", ".join(f"${n + 6 + i}" for i in range(n)) + "}"
    shape = f"m16n8k{row.k}.row.col" + (".satfinite" if row.result == "s32" else "")
    code = f"mma.sync.aligned.{shape}.{row.result}.{row.types}.{row.result} {target}, {fragment_a}, {{${n + 4}, ${n + 5}}}, {start};"
    constraints = ",".join([f"={k}"] * n + ["r"] * 6 + [str(i) for i in range(n)])
    args = [("i32", x) for x in (*a, *b)] + [(t, x) for x in c]
    result = g.several(t, n)
    got = g.assembly(code, constraints, result, args, pure=True)
    out = [g.emit(f"extractvalue {result} {got}, {i}") for i in range(n)]
    if row.result == "f16":
        pairs = [g.emit(f"bitcast i32 {x} to <2 x half>") for x in out]
        out = [g.emit(f"extractelement <2 x half> {pair}, i32 {i}") for pair in pairs for i in range(2)]
    return out


def as_words(g: Generator, registers: list[str], e: Element, pack: int) -> list[str]:
    """Registers as i32, ``pack`` neighbours in each."""
    t = llvm_type(e)
    known: dict[tuple[str, ...], str] = {}
    out = []
    for i in range(0, len(registers), pack):
        group = tuple(registers[i : i + pack])
        if group in g.words:
            known[group] = g.words[group]  # type: ignore[index]
        if group not in known:
            if pack == 1:
                known[group] = group[0] if t == "i32" else g.emit(f"bitcast {t} {group[0]} to i32")
            else:
                vector = "poison"
                for j, x in enumerate(group):
                    vector = g.emit(f"insertelement <{pack} x {t}> {vector}, {t} {x}, i32 {j}")
                known[group] = g.emit(f"bitcast <{pack} x {t}> {vector} to i32")
        out.append(known[group])
    return out


def _tf32_parts(g: Generator, a: list[str], b: list[str], three: bool) -> list[tuple[list[str], list[str]]]:
    """f32 bit patterns as tf32: rounded; with ``three``, the rounding errors' products as well, smallest first."""

    def rounded(x: str) -> str:
        return g.assembly("cvt.rna.tf32.f32 $0, $1;", "=r,r", "i32", [("i32", x)], pure=True)

    def rest(x: str, high: str) -> str:
        low = g.emit(f"fsub float {g.emit(f'bitcast i32 {x} to float')}, {g.emit(f'bitcast i32 {high} to float')}")
        return rounded(g.emit(f"bitcast float {low} to i32"))

    known: dict[str, tuple[str, str]] = {}

    def split(x: str) -> tuple[str, str]:
        if x not in known:
            high = rounded(x)
            known[x] = high, rest(x, high) if three else ""
        return known[x]

    high_a, high_b = [split(x)[0] for x in a], [split(x)[0] for x in b]
    if not three:
        return [(high_a, high_b)]
    low_a, low_b = [split(x)[1] for x in a], [split(x)[1] for x in b]
    return [(low_a, high_b), (high_a, low_b), (high_a, high_b)]
