"""Dots by wgmma (sm_90a): four warps multiply 64 rows at once, operands from swizzled shared memory.

An operand in shared memory is a stack of *panels*: the contiguous dimension of the tile in memory (the inner one) is cut
into pieces of at most 128 bytes, and each panel holds such a piece of every outer row, one after the other, with its
16-byte chunks xored by the row number (`Panels`).  The hardware is told by a descriptor (PTX ISA, "Matrix-descriptor"):

    inner dimension is k    next 8 rows 8·bytes further, next 16 of k 32 bytes further
    it is m or n            next panel rows·bytes further, next 8 of k 8·bytes, next 16 of k 16·bytes further

where *bytes* is the length of a panel's row, 128, 64 or 32, which is also the swizzle.  (k counts elements of 16 bits here; others
are only taken with k as the inner dimension, and 16 of k is then 32 bytes of k.)  A may instead come from registers, in the fragments
of `dot.fragments`; then what an earlier dot computed needs no shared memory at all.

f32 (as tf32) is mostly multiplied with a B that is contiguous along n, which no descriptor describes.  Such a dot is *turned*: the
instruction computes Bᵀ·Aᵀ, its A is Bᵀ from registers, its B is Aᵀ, whose k is contiguous.  The result is the same tile in a placement
whose rows and columns have changed roles; nothing is moved for it.  `plan` says which dots of a kernel are computed in which way.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Block, Func, Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, F8E4M3, F8E5M2, F16, F32, I8, I32, Element
from ...passes.axis_info import AxisInfo
from .convert import memory_bytes, shared_addresses, shared_store
from .placement import Placement, log2, span
from .slots import Slot, descriptor
from .tensor_maps import window_of
from .values import Generator

__all__ = [
    "FORMATS",
    "Panels",
    "Rows",
    "accumulate",
    "accumulator_place",
    "drops_ones",
    "free_unread",
    "inner_dimension",
    "panels",
    "plan",
    "usable",
]
__all__ += ["panel_addresses", "slot_of", "stage", "waited", "whole"]

ROWS = 64  # of one instruction
LARGEST_N = 256


@dataclass(frozen=True)
class Format:
    """What wgmma multiplies: the type's ``name``, ``k`` products an instruction, ``results`` that it adds to, what its text ends in.

    ``tail``: the negations of A and B, always off; ``turns``: whether an operand may be contiguous along m or n.
    """

    name: str
    k: int
    results: tuple[Element, ...]
    tail: str = ", 1, 1"
    turns: bool = False


@dataclass(frozen=True)
class Rows:
    """A tile of f32 in shared memory that threads read as fragments: row-major, its 16-byte chunks xored by 2·(row mod 4).

    The 32 lanes of a fragment lie in 4 rows and 8 columns: so they meet 32 different banks.
    """

    shape: tuple[int, int]
    size: int = 4
    inner: int = 1

    @property
    def bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.size

    def offset(self, flat: int) -> int:
        """As `Panels.offset`."""
        return (flat * self.size) ^ ((flat // self.shape[1] & 3) << 5)


FORMATS: dict[Element, Format] = {
    F16: Format("f16", 16, (F32, F16), turns=True),
    BF16: Format("bf16", 16, (F32,), turns=True),
    F32: Format("tf32", 8, (F32,)),
    I8: Format("s8", 32, (I32,), tail=""),
    F8E4M3: Format("e4m3", 32, (F32,)),
    F8E5M2: Format("e5m2", 32, (F32,)),
}


@dataclass(frozen=True)
class Panels:
    """How a tile of ``shape`` with elements of ``size`` bytes lies in shared memory; ``inner``: its contiguous dimension."""

    shape: tuple[int, int]
    size: int
    inner: int

    @property
    def bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.size

    @property
    def row(self) -> int:
        """Bytes of a panel's row."""
        return min(128, self.shape[self.inner] * self.size)

    @property
    def width(self) -> int:
        """Elements of a panel's row."""
        return self.row // self.size

    @property
    def panel(self) -> int:
        """Bytes of a panel."""
        return self.shape[1 - self.inner] * self.row

    def offset(self, flat: int) -> int:
        """Byte offset of the element of that row-major flat index; linear over xor."""
        (low_i, bits_i), (low_o, bits_o) = span(self.shape, self.inner), span(self.shape, 1 - self.inner)
        inner, outer = flat >> low_i & ((1 << bits_i) - 1), flat >> low_o & ((1 << bits_o) - 1)
        chunk = (outer * self.row >> 7 & (self.row // 16 - 1)) << 4  # the hardware xors address bits 4… with bits 7…
        return inner // self.width * self.panel + ((outer * self.row + inner % self.width * self.size) ^ chunk)

    def descriptor(self, inner_is_k: bool) -> int:
        """The constant part of the descriptor."""
        mode = {128: 1, 64: 2, 32: 3}[self.row]
        leading = 1 if inner_is_k else self.panel >> 4
        return mode << 62 | (8 * self.row >> 4) << 32 | leading << 16

    def step_k(self, k: int, inner_is_k: bool) -> int:
        """Bytes from k = 0 to ``k``, where an instruction begins."""
        if inner_is_k:
            return k // self.width * self.panel + k % self.width * self.size
        return k * self.row

    def step_other(self, i: int, inner_is_k: bool) -> int:
        """Bytes from row (or column) 0 to ``i``, where an instruction begins."""
        if inner_is_k:
            return i * self.row
        return i // self.width * self.panel + i % self.width * self.size


def inner_dimension(g: Generator, v: Value) -> int:
    """The dimension along which the registers of ``v`` lie: that of its neighbours in memory, where it was loaded."""
    if v.op is not None and v.op.name == "permute" and v.type.rank == 2:
        return 1 - inner_dimension(g, v.op.operands[0])
    if v.op is not None and v.op.name == "reshape" and drops_ones(v.op):
        return inner_dimension(g, v.op.operands[0])
    if v.op is not None and v.op.name == "load" and window_of(v.op.operands[0]) is not None:
        return 1
    place = g.place_for(v)
    first = place.register[0] if place.register else 1
    return 1 if first < v.type.shape[1] else 0


def drops_ones(op: Op) -> bool:
    """Whether a ``reshape`` takes away leading dimensions of 1 alone, down to two dimensions."""
    before, after = op.operands[0].type.shape, op.result.type.shape
    return len(after) == 2 and len(before) > 2 and before[-2:] == after


def panels(g: Generator, v: Value, index: int) -> Panels:
    """The arrangement of a dot's operand 0 or 1: contiguous where its registers are, but along k where elements are not of 16 bits."""
    size = memory_bytes(v.type.elem)
    inner = inner_dimension(g, v) if size == 2 else 1 - index
    return Panels(v.type.shape, size, inner)  # type: ignore[arg-type]


def _groups(m: int, num_warps: int) -> tuple[int, int]:
    """Warpgroups along M and N."""
    along_m = min(num_warps // 4, m // ROWS)
    return along_m, num_warps // 4 // along_m


def usable(op: Op, num_warps: int, sm: int, turned: bool = False) -> bool:
    """Whether the instruction takes the dot's types and shapes."""
    a, b, acc = (v.type for v in op.operands)
    row = FORMATS.get(a.elem)
    if sm != 90 or row is None or b.elem is not a.elem or acc.elem not in row.results or acc.rank != 2:
        return False
    if a.elem is F32 and op.attrs["precision"] != "tf32":
        return False
    m, n = reversed(acc.shape) if turned else acc.shape
    if num_warps % 4 or m < ROWS or a.shape[1] < row.k or n < 16:
        return False
    along_n = _groups(m, num_warps)[1]
    least = 64 if row.turns and along_n > 1 else 16  # a group's part of a row contiguous along n must be whole panels
    return least <= n // along_n <= LARGEST_N


def plan(func: Func, num_warps: int, sm: int, info: AxisInfo) -> dict[Op, bool]:
    """The dots that wgmma computes → whether turned."""
    out = {}
    for op in func.walk():
        if op.name == "dot":
            turned = op.operands[0].type.elem is F32 and _contiguous(op.operands[1], info) == 1
            if turned and _contiguous(op.operands[0], info) == 0:
                continue  # neither operand is contiguous along k
            if usable(op, num_warps, sm, turned):
                out[op] = turned
    return out


def _contiguous(v: Value, info: AxisInfo) -> int | None:
    """The dimension along which ``v`` is contiguous in memory; None where it is not loaded, or in no regular way."""
    if v.op is not None and v.op.name == "permute" and v.type.rank == 2:
        d = _contiguous(v.op.operands[0], info)
        return None if d is None else v.op.attrs["order"].index(d)
    if v.op is None or v.op.name != "load" or v.type.rank != 2:
        return None
    c = info[v.op.operands[0]].contiguity
    return None if c[0] == c[1] else int(c[1] > c[0])


def accumulator_place(op: Op, num_warps: int, turned: bool = False) -> Placement:
    m, n = op.result.type.shape
    if not turned:
        return _accumulator(m, n, num_warps)
    return _accumulator(n, m, num_warps).before_permute((m, n), (1, 0))


def _accumulator(m: int, n: int, num_warps: int) -> Placement:
    gm, gn = _groups(m, num_warps)
    bm, bn = log2(m), log2(n)
    row = [1 << (bn + k) for k in range(bm)]
    col = [1 << k for k in range(bn)]
    inner_m, inner_n = bm - log2(gm), bn - log2(gn)
    register = (col[0], row[3], *col[3:inner_n], *row[6:inner_m])
    return Placement((m, n), register, (col[1], col[2], *row[:3]), (row[4], row[5], *row[inner_m:], *col[inner_n:]))


def accumulate(g: Generator, op: Op, acc: Placement, fragment: Placement, words: list[str] | None) -> list[str]:
    """acc + a·b; ``words``: the 32-bit registers of ``fragment``, the instruction's A; None where that comes from shared memory.

    Where the dot's loop waits for it (`Generator.in_flight`), the instructions are left in flight: only a dot that adds to them, or `waited`,
    may take the result.
    Products of 8-bit floats lose low bits in the accumulator; where the dot's ``imprecise`` says after how many they must move on,
    they are summed from zero and added in f32.
    """
    k, c = op.operands[0].type.shape[1], op.operands[2]
    job = _Job(g, op, fragment, words)
    limit = op.attrs["imprecise"] if op.operands[0].type.elem in (F8E4M3, F8E5M2) else 0
    if 0 < limit <= k:
        values = list(g.get(c, acc))
        add = "fadd contract" if g.contract else "fadd"
        for begin in range(0, k, limit := max(limit, job.row.k)):
            part = waited(g, job.issue([], begin, min(begin + limit, k)), job.elem)
            values = [g.emit(f"{add} float {x}, {y}") for x, y in zip(values, part, strict=True)]
        return values
    # From zero, the first instruction overwrites, and nothing is set to zero before.
    held = job.flight is not None and job.flight.held is not None
    values = [] if held or const_value(c) == 0 else list(g.get(c, acc))
    if op in g.assignment.made_here and c.type.elem.bits == 32:
        values = _step_by_step(job, values, k)
    else:
        values = job.issue(values, 0, k)
    return values if job.flight is not None else waited(g, values, job.elem)


def _step_by_step(job: _Job, values: list[str], k: int) -> list[str]:
    """Instructions for one step of k after the other, each a group: A's words for a step are computed while those before are multiplied.

    They are waited for in the same iteration of a loop: where a product is in flight across the end of a block, the assembler gives the
    registers of A's words to others.
    """
    for begin in range(0, k, job.row.k):
        values = job.issue(values, begin, begin + job.row.k)
    return values


class _Job:
    """One dot's operands as the instructions see them; A and B are the instructions' here, the other way round in a turned dot."""

    def __init__(self, g: Generator, op: Op, fragment: Placement, words: list[str] | None):
        turned = g.assignment.by_warpgroup[op]
        index_a, index_b = (1, 0) if turned else (0, 1)
        a, b, c = op.operands[index_a], op.operands[index_b], op.operands[2]
        self.g, self.elem, self.fragment, self.words, self.flight = g, c.type.elem, fragment, words, g.in_flight.get(op)
        self.row = FORMATS[a.type.elem]
        m, n = reversed(c.type.shape) if turned else c.type.shape
        gm, gn = _groups(m, g.num_warps)
        self.rows, self.columns, self.k = m // gm, n // gn, op.operands[0].type.shape[1]
        self.form_b = panels(g, b, index_b)
        slot_b, *rest = stage(g, [(b, index_b)] if words is not None else [(b, index_b), (a, index_a)])
        self.form_a = panels(g, a, index_a) if rest else self.form_b
        self.k_inner_a, self.k_inner_b = self.form_a.inner == 1 - index_a, self.form_b.inner == 1 - index_b
        group = g.warpgroup()
        self.desc_a = ""
        if rest:
            part = g.early(f"and i32 {group}, {gm - 1}")
            step = g.early(f"mul i32 {part}, {self.form_a.step_other(self.rows, self.k_inner_a)}")
            self.desc_a = descriptor(g, rest[0], step, self.form_a.descriptor(self.k_inner_a))
        part = g.early(f"lshr i32 {group}, {log2(gm)}")
        step = g.early(f"mul i32 {part}, {self.form_b.step_other(self.columns, self.k_inner_b)}")
        self.desc_b = descriptor(g, slot_b, step, self.form_b.descriptor(self.k_inner_b))

    def issue(self, values: list[str], begin: int, end: int) -> list[str]:
        """The instructions for products ``begin`` … ``end`` − 1, one group; they add to ``values``, or to nothing where it is empty.

        Where the registers have names (`named`), they add to those, and none is given back.
        """
        g, columns = self.g, self.columns
        count = columns // 2 if self.elem.bits == 32 else columns // 4  # accumulator registers of one instruction
        t, constraint = _REGISTER[self.elem]
        named = None if self.flight is None else self.flight.held
        result = "void" if named is not None else g.several(t, count)
        held = _packed(g, values, self.elem)
        made: list[str] = []
        g.call("llvm.nvvm.wgmma.fence.sync.aligned", "void")
        if self.flight is not None and self.flight.before is not None:
            self.flight.before()
        for block in range(self.rows // ROWS):
            before = held[block * count : (block + 1) * count]
            args = [(t, x) for x in before]
            constraints = [f"={constraint}"] * (0 if named is not None else count) + [str(i) for i in range(len(before))]
            target = self._target(count) if named is None else named.span(block * count, count)
            lines: list[str] = []
            at = len(constraints)
            args.append(("i64", self.desc_b))
            constraints.append("l")
            if self.words is None:
                args.append(("i64", self.desc_a))
                constraints.append("l")
            asked = "" if self.flight is None else self.flight.adds
            first_adds = "p" if asked != "false" and (values or named is not None) else "z"
            if asked not in ("", "false"):
                first_adds = f"${len(constraints)}"
                args.append(("i1", asked))
                constraints.append("b")
            # With a name of its own for each descriptor the assembler sees constant offsets, and needs a fifth less time for an attention.
            # In flight the instructions share them: so they stand apart, and the loop's arithmetic between them, not behind, where the next
            # copies would wait for it.
            for step, k0 in enumerate(range(begin, end, self.row.k)):
                i = 0 if self.flight is not None else step
                lines.append(f"add.s64 b{i}, ${at}, {self.form_b.step_k(k0, self.k_inner_b) >> 4};")
                if self.words is None:
                    start = self.form_a.step_k(k0, self.k_inner_a) + self.form_a.step_other(block * ROWS, self.k_inner_a)
                    lines.append(f"add.s64 a{i}, ${at + 1}, {start >> 4};")
                    source, turned = f"a{i}", f", {int(not self.k_inner_a)}"
                else:
                    first = self.fragment.register_of[(block * ROWS << log2(self.k)) | k0] * self.form_b.size // 4
                    here, words = len(constraints), self.words[first : first + 4]
                    if self.flight is None or self.flight.left is None:
                        args += [("i32", w) for w in words]
                        constraints += ["r"] * 4
                        words = [f"${here + j}" for j in range(4)]
                    source, turned = "{" + ",".join(words) + "}", ""
                turned = f"{turned}, {int(not self.k_inner_b)}" if self.row.turns else ""
                adds = "p" if k0 > begin else first_adds  # the predicate: whether the instruction adds to its registers
                lines.append(f"{self._name()} {target}, {source}, b{i}, {adds}{self.row.tail}{turned};")
            steps = (end - begin) // self.row.k
            text = f"{{ .reg .pred p, z; .reg .b64 a<{steps}>, b<{steps}>; setp.eq.b32 p, 0, 0; setp.ne.b32 z, 0, 0; {' '.join(lines)} }}"
            got = g.assembly(text, ",".join(constraints), result, args)
            if named is None:
                made += [g.emit(f"extractvalue {result} {got}, {i}") for i in range(count)]
        g.call("llvm.nvvm.wgmma.commit_group.sync.aligned", "void")
        return made

    def _name(self) -> str:
        to = {F32: "f32", F16: "f16", I32: "s32"}[self.elem]  # type: ignore[index]
        name = f"wgmma.mma_async.sync.aligned.m64n{self.columns}k{self.row.k}.{to}.{self.row.name}.{self.row.name}"
        return f"{name}.satfinite" if self.elem is I32 else name

    @staticmethod
    def _target(count: int) -> str:
        return "{" + ",".join(f"${i}" for i in range(count)) + "}"


_REGISTER: dict[Element, tuple[str, str]] = {F32: ("float", "f"), F16: ("i32", "r"), I32: ("i32", "r")}
"""Accumulator's element → LLVM type and constraint of its registers; two f16 are one."""


def _packed(g: Generator, values: list[str], e: Element) -> list[str]:
    """Elements of an accumulator as the instruction's registers."""
    if e is not F16:
        return values
    out = []
    for x, y in zip(values[::2], values[1::2], strict=True):
        pair = g.emit(f"insertelement <2 x half> poison, half {x}, i32 0")
        out.append(g.emit(f"bitcast <2 x half> {g.emit(f'insertelement <2 x half> {pair}, half {y}, i32 1')} to i32"))
    return out


def _unpacked(g: Generator, registers: list[str], e: Element) -> list[str]:
    """Inverse of `_packed`."""
    if e is not F16:
        return registers
    pairs = [g.emit(f"bitcast i32 {x} to <2 x half>") for x in registers]
    return [g.emit(f"extractelement <2 x half> {pair}, i32 {i}") for pair in pairs for i in range(2)]


def waited(g: Generator, registers: list[str], e: Element) -> list[str]:
    """The accumulator's elements once the instructions are done; registers pass through the wait, so that no use moves above it."""
    n = len(registers)
    t, constraint = _REGISTER[e]
    result = g.several(t, n)
    constraints = ",".join([f"={constraint}"] * n + [str(i) for i in range(n)])
    got = g.assembly("wgmma.wait_group.sync.aligned 0;", constraints, result, [(t, v) for v in registers])
    return _unpacked(g, [g.emit(f"extractvalue {result} {got}, {i}") for i in range(n)], e)


def stage(g: Generator, operands: list[tuple[Value, int]], asynchronous: bool = True) -> list[Slot]:
    """Where values lie in shared memory, each with its place among its dot's operands: in a ring, or stored there now, or earlier.

    ``asynchronous``: whether wgmma reads them, which does so by another way than threads do.
    """
    forms = {(v, i): panels(g, v, i) for v, i in operands}
    missing = {whole(v, form): None for (v, _), form in forms.items() if slot_of(g, v, form) is None}
    if missing:
        held = [(v, form, g.place_for(v)) for v, form in missing]
        registers = [g.get(v, place) for v, _, place in held]
        g.reclaim()
        free_unread(g)
        for (v, form, place), regs in zip(held, registers, strict=True):
            assert isinstance(form, Panels)
            begin = g.buffer((v, form), form.bytes)
            store_panels(g, regs, place, form, g.at_byte(begin), v)
            g.define(v, [str(begin)], form)
        if g.sm >= 90 and asynchronous:
            g.assembly("fence.proxy.async.shared::cta;", "", "void", [])
        g.barrier()
    out = []
    for (v, _), form in forms.items():
        slot = slot_of(g, v, form)
        assert slot is not None
        out.append(slot)
    return out


def whole(v: Value, form: Panels | Rows) -> tuple[Value, Panels | Rows]:
    """The tile that an operand is, or is the transpose of, and how it lies where the operand lies as ``form``: the same bytes."""
    while isinstance(form, Panels) and v.op is not None and v.op.name == "permute" and v.type.rank == 2:
        v = v.op.operands[0]
        form = Panels((form.shape[1], form.shape[0]), form.size, 1 - form.inner)
    return v, form


def free_unread(g: Generator) -> None:
    """Gives back the shared memory of operands that no dot will read any more."""
    for key in g.buffer_owners():
        if isinstance(key, tuple) and isinstance(key[1], Panels) and _read_no_more(g, key[0]):
            g.free(key)


def _read_no_more(g: Generator, v: Value) -> bool:
    """Whether all dots that read ``v``, or its transpose, are behind what is written now: in their blocks, or in what of its own block they are in."""
    block = v.owner if isinstance(v.owner, Block) else v.owner.block
    pending = [v]
    while pending:
        for user, _ in pending.pop().uses:
            if user.name == "permute":
                pending.append(user.result)
            if user.name != "dot":
                continue
            around: Op | None = user
            while around is not None and around.block is not block:
                around = around.parent_op()
            if user in g.in_flight or around not in g.emitted:
                return False
    return True


def slot_of(g: Generator, v: Value, form: Panels | Rows) -> Slot | None:
    """Where ``v`` lies in shared memory as ``form``: in its ring, or where `stage` has put it; None where it does not."""
    if v in g.ring:
        return g.ring[v]
    staged = g.find(*whole(v, form))
    return None if staged is None else Slot(int(staged[0]))


def store_panels(g: Generator, registers: list[str], place: Placement, form: Panels, pointer: str, v: Value) -> None:
    """Registers to their places in shared memory, up to 16 bytes at a time."""
    n = vector(place, form)
    for r, at in zip(range(0, place.registers, n), panel_addresses(g, place, form, pointer, n), strict=True):
        if place.register_of[place.constants[r]] == r:
            shared_store(g, at, registers[r : r + n], v.type.elem)


def vector(place: Placement, form: Panels) -> int:
    """How many neighbours in the panels a thread has in ``place``, up to 16 bytes."""
    low, _ = span(form.shape, form.inner)
    n = 0
    while n < len(place.register) and (2 << n) * form.size <= 16 and place.register[n] == 1 << (low + n):
        n += 1
    return 1 << n


def panel_addresses(g: Generator, place: Placement, form: Panels | Rows, pointer: str, step: int) -> list[str]:
    """Address of every ``step``-th register's element in the panels at ``pointer``."""
    at = shared_addresses(g, pointer, tuple(form.offset(b) for b in place.thread))
    return [at(form.offset(place.constants[r])) for r in range(0, place.registers, step)]
