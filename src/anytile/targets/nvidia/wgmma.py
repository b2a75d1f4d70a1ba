"""Dots by wgmma (sm_90a): four warps multiply 64 rows at once, operands from swizzled shared memory.

An operand in shared memory is a stack of *panels*: the contiguous dimension of the tile in memory (the inner one) is cut
into pieces of at most 128 bytes, and each panel holds such a piece of every outer row, one after the other, with its
16-byte chunks xored by the row number (`Panels`).  The hardware is told by a descriptor (PTX ISA, "Matrix-descriptor"):

    inner dimension is k    next 8 rows 8·bytes further, next 16 of k 32 bytes further
    it is m or n            next panel rows·bytes further, next 8 of k 8·bytes, next 16 of k 16·bytes further

where *bytes* is the length of a panel's row, 128, 64 or 32, which is also the swizzle.  A may instead come from registers,
in the fragments of `dot.fragments`; then what an earlier dot computed needs no shared memory at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, F16, F32
from .convert import memory_bytes, shared_store
from .placement import Placement, log2, span
from .values import SHARED, Generator

__all__ = ["Panels", "accumulate", "accumulator_place", "panels", "usable", "waited"]

ROWS = 64  # of one instruction
LARGEST_N = 256


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
        """Bytes from k = 0 to ``k`` (a multiple of 16)."""
        if inner_is_k:
            return k // self.width * self.panel + k % self.width * self.size
        return k * self.row

    def step_other(self, i: int, inner_is_k: bool) -> int:
        """Bytes from row (or column) 0 to ``i``, where an instruction begins."""
        if inner_is_k:
            return i * self.row
        return i // self.width * self.panel + i % self.width * self.size


def panels(g: Generator, v: Value) -> Panels:
    """The arrangement for a dot's operand: contiguous where its home's registers are."""
    place = g.place_for(v)
    first = place.register[0] if place.register else 1
    inner = 1 if first < v.type.shape[1] else 0
    return Panels(v.type.shape, memory_bytes(v.type.elem), inner)  # type: ignore[arg-type]


def _groups(m: int, num_warps: int) -> tuple[int, int]:
    """Warpgroups along M and N."""
    along_m = min(num_warps // 4, m // ROWS)
    return along_m, num_warps // 4 // along_m


def usable(op: Op, num_warps: int, sm: int) -> bool:
    a, b, acc = (v.type for v in op.operands)
    if sm != 90 or a.elem not in (F16, BF16) or b.elem is not a.elem or acc.elem is not F32 or acc.rank != 2:
        return False
    m, n = acc.shape
    if num_warps % 4 or m < ROWS or a.shape[1] < 16 or n < 16:
        return False
    n //= _groups(m, num_warps)[1]
    return 16 <= n <= LARGEST_N and (n >= 64 or n == acc.shape[1])


def accumulator_place(op: Op, num_warps: int) -> Placement:
    m, n = op.result.type.shape
    gm, gn = _groups(m, num_warps)
    bm, bn = log2(m), log2(n)
    row = [1 << (bn + k) for k in range(bm)]
    col = [1 << k for k in range(bn)]
    inner_m, inner_n = bm - log2(gm), bn - log2(gn)
    register = (col[0], row[3], *col[3:inner_n], *row[6:inner_m])
    return Placement((m, n), register, (col[1], col[2], *row[:3]), (row[4], row[5], *row[inner_m:], *col[inner_n:]))


def accumulate(g: Generator, op: Op, acc: Placement, place_a: Placement, words_a: list[str] | None, wait: bool = True) -> list[str]:
    """acc + a·b; ``words_a``: A's fragments, or None where A comes from shared memory.

    Without ``wait`` the instructions are left in flight: only a dot that adds to them, or `waited`, may take the result.
    """
    a, b, c = op.operands
    m, n = acc.shape
    k = a.type.shape[1]
    gm, gn = _groups(m, g.num_warps)
    rows, columns = m // gm, n // gn
    from_zero = const_value(c) == 0  # the first instruction then overwrites, and nothing is set to zero before
    values = [] if from_zero else list(g.get(c, acc))
    made: list[str] = []
    address_a = None
    form_a = form_b = panels(g, b)
    address_b, *rest = stage(g, [b] if words_a is not None else [b, a])
    if rest:
        form_a, address_a = panels(g, a), rest[0]
    k_inner_a, k_inner_b = form_a.inner == 1, form_b.inner == 0
    group = g.warpgroup()
    desc_a = desc_b = ""
    if address_a is not None:
        part = g.emit(f"and i32 {group}, {gm - 1}")
        step = g.emit(f"mul i32 {part}, {form_a.step_other(rows, k_inner_a)}")
        desc_a = _descriptor(g, g.emit(f"add i32 {address_a}, {step}"), form_a.descriptor(k_inner_a))
    part = g.emit(f"lshr i32 {group}, {log2(gm)}")
    step = g.emit(f"mul i32 {part}, {form_b.step_other(columns, k_inner_b)}")
    desc_b = _descriptor(g, g.emit(f"add i32 {address_b}, {step}"), form_b.descriptor(k_inner_b))

    count = columns // 2  # accumulator registers of one instruction
    t = "f16" if a.type.elem is F16 else "bf16"
    name = f"wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{t}.{t}"
    target = "{" + ",".join(f"${i}" for i in range(count)) + "}"
    result = "{ " + ", ".join(["float"] * count) + " }"

    def adds(k0: int) -> str:  # the predicate: whether the instruction adds to its registers
        return "z" if from_zero and k0 == 0 else "p"

    g.call("llvm.nvvm.wgmma.fence.sync.aligned", "void")
    for block in range(rows // ROWS):
        args = [("float", x) for x in values[block * count : (block + 1) * count]]
        constraints = ["=f"] * count + [str(i) for i in range(len(args))]
        lines = []
        at = count + len(args)
        if address_a is not None:
            args += [("i64", desc_a), ("i64", desc_b)]
            constraints += ["l", "l"]
            for k0 in range(0, k, 16):
                da = (form_a.step_k(k0, k_inner_a) + form_a.step_other(block * ROWS, k_inner_a)) >> 4
                db = form_b.step_k(k0, k_inner_b) >> 4
                lines.append(f"add.s64 da, ${at}, {da}; add.s64 db, ${at + 1}, {db};")
                lines.append(f"{name} {target}, da, db, {adds(k0)}, 1, 1, {int(not k_inner_a)}, {int(not k_inner_b)};")
        else:
            args.append(("i64", desc_b))
            constraints.append("l")
            for k0 in range(0, k, 16):
                first = place_a.register_of[(block * ROWS << log2(k)) | k0] >> 1
                assert words_a is not None
                args += [("i32", w) for w in words_a[first : first + 4]]
                constraints += ["r"] * 4
                here = at + 1 + k0 // 4
                fragment = "{" + ",".join(f"${here + i}" for i in range(4)) + "}"
                lines.append(f"add.s64 db, ${at}, {form_b.step_k(k0, k_inner_b) >> 4};")
                lines.append(f"{name} {target}, {fragment}, db, {adds(k0)}, 1, 1, {int(not k_inner_b)};")
        text = "{ .reg .pred p, z; .reg .b64 da, db; setp.eq.b32 p, 0, 0; setp.ne.b32 z, 0, 0; " + " ".join(lines) + " }"
        got = g.assembly(text, ",".join(constraints), result, args)
        made += [g.emit(f"extractvalue {result} {got}, {i}") for i in range(count)]
    g.call("llvm.nvvm.wgmma.commit_group.sync.aligned", "void")
    return waited(g, made) if wait else made


def waited(g: Generator, values: list[str]) -> list[str]:
    """The accumulators once the instructions are done; they pass through the wait, so that no use moves above it."""
    n = len(values)
    result = "{ " + ", ".join(["float"] * n) + " }"
    constraints = ",".join(["=f"] * n + [str(i) for i in range(n)])
    got = g.assembly("wgmma.wait_group.sync.aligned 0;", constraints, result, [("float", v) for v in values])
    return [g.emit(f"extractvalue {result} {got}, {i}") for i in range(n)]


def _descriptor(g: Generator, address: str, constant: int) -> str:
    chunk = g.emit(f"zext i32 {g.emit(f'lshr i32 {address}, 4')} to i64")
    return g.emit(f"or disjoint i64 {chunk}, {constant - (1 << 64) if constant >> 63 else constant}")


def stage(g: Generator, operands: list[Value]) -> list[str]:
    """Addresses (i32) of ``operands`` in shared memory: slots of a ring, or stored there now, or earlier."""
    missing = [v for v in dict.fromkeys(operands) if v not in g.ring and g.find(v, panels(g, v)) is None]
    if missing:
        held = [(v, g.place_for(v)) for v in missing]
        registers = [g.get(v, place) for v, place in held]
        g.barrier()  # nobody still reads what the last dot had there
        for (v, place), regs in zip(held, registers, strict=True):
            form = panels(g, v)
            pointer = g.buffer(v, form.bytes)
            store_panels(g, regs, place, form, pointer, v)
            g.define(v, [g.emit(f"ptrtoint {SHARED} {pointer} to i32")], form)
        g.assembly("fence.proxy.async.shared::cta;", "", "void", [])
        g.barrier()
    return [g.ring[v] if v in g.ring else g.find(v, panels(g, v))[0] for v in operands]  # type: ignore[index]


def store_panels(g: Generator, registers: list[str], place: Placement, form: Panels, pointer: str, v: Value) -> None:
    """Registers to their places in shared memory, up to 16 bytes at a time."""
    e = v.type.elem
    low, _ = span(form.shape, form.inner)
    n = 0
    while n < len(place.register) and (2 << n) * form.size <= 16 and place.register[n] == 1 << (low + n):
        n += 1
    for r, at in zip(range(0, place.registers, 1 << n), panel_addresses(g, place, form, pointer, 1 << n), strict=True):
        if place.register_of[place.constants[r]] == r:
            shared_store(g, at, registers[r : r + (1 << n)], e)


def panel_addresses(g: Generator, place: Placement, form: Panels, pointer: str, step: int) -> list[str]:
    """Address of every ``step``-th register's element in the panels at ``pointer``."""
    base, may = g.thread_part(tuple(form.offset(b) for b in place.thread))
    made: dict[int, str] = {}
    out = []
    for r in range(0, place.registers, step):
        c = form.offset(place.constants[r])
        if c not in made:
            fixed, moving = c & ~may, c & may
            key = moving | 1 << 62
            if key not in made:
                made[key] = g.emit(f"getelementptr i8, {SHARED} {pointer}, i32 {g.emit(f'xor i32 {base}, {moving}') if moving else base}")
            made[c] = g.emit(f"getelementptr i8, {SHARED} {made[key]}, i32 {fixed}") if fixed else made[key]
        out.append(made[c])
    return out
