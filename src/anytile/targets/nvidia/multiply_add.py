"""Dots by fused multiply-adds: what no tensor core computes, as f32 in ``ieee`` precision, f64, a few rows.

Each thread has a tile of the result and reads its rows of A and its columns of B from shared memory, up to 16 bytes at a time along k.  So
both lie with k innermost, where the same numbers of neighbouring rows would share their banks: the 16-byte pieces of a row are swizzled by
the row's number.  Where a thread's neighbours along n fill 16 bytes, B lies with n innermost and is read along n.

What is read for so many steps along k as fit into some registers is read at once; more steps are a loop.  Sums are formed from k = 0 on,
one fused multiply-add after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...ir import Op
from ...ir.types import BF16, F16, F32, F64, Element
from .convert import memory_bytes, shared_addresses, shared_load, shared_store
from .placement import Placement, blocked, log2
from .values import SHARED, Generator, llvm_type, unsupported

__all__ = ["multiply_add", "result_place"]

_HELD = 64
"""32-bit words of operands that a thread has read and not multiplied yet."""
_WIDE = 16
"""Bytes of the widest access."""
_BANKS = 128
"""Bytes that all banks hold side by side."""


def result_place(shape: tuple[int, ...], num_warps: int) -> Placement:
    """Where the result of such a dot lies: threads have neighbours along n where there is more than an element for each thread."""
    return blocked(shape, num_warps, max(1, min(4, shape[-1], math.prod(shape) // (32 * num_warps))))


@dataclass(frozen=True)
class _Lying:
    """How an operand lies in shared memory: ``rows`` rows (or batches of them) of ``length`` elements of ``size`` bytes.

    ``begin``: its first byte in the scratch memory; ``swizzled``: the 16-byte pieces of a row change places by the row's number, so that
    the same piece of neighbouring rows lies in all banks.
    """

    begin: int
    rows: int
    length: int
    size: int
    swizzled: bool

    def offset(self, batch: int, row: int, i: int) -> int:
        """Bytes behind ``begin`` of element ``i`` of a row; linear over xor."""
        width = self.length * self.size
        at = (batch * self.rows + row) * width + i * self.size
        pieces = min(width, _BANKS) // _WIDE
        if not self.swizzled or pieces < 2:
            return at
        return at ^ (row * width // _BANKS if width < _BANKS else row) % pieces * _WIDE

    def pointer(self, g: Generator) -> str:
        return g.emit(f"getelementptr i8, {SHARED} {g.exchange}, i32 {self.begin}") if self.begin else g.exchange


class _Reader:
    """Reads an operand, several neighbours at once, and remembers them for an iteration of ``step`` along k."""

    def __init__(self, g: Generator, op: Op, index: int, at: Callable[[int], str], lying: _Lying, most: int):
        self.g, self.op, self.at, self.lying = g, op, at, lying
        self.elem: Element = op.operands[index].type.elem
        self.width = max(1, min(_WIDE // lying.size, lying.length, most))
        self.known: dict[tuple[int, int, int], str] = {}

    def element(self, batch: int, row: int, i: int) -> str:
        """Element ``i`` of a row, in the accumulator's type."""
        if (batch, row, i) not in self.known:
            first = i & -self.width
            got = shared_load(self.g, self.at(self.lying.offset(batch, row, first)), self.width, self.elem)
            for j, x in enumerate(got):
                self.known[batch, row, first + j] = _widened(self.g, x, self.elem, self.op.result.type.elem, self.op)
        return self.known[batch, row, i]


def multiply_add(g: Generator, op: Op, acc: Placement) -> list[str]:
    """The registers of ``op``'s result at ``acc``: operands through shared memory, then a thread's own rows and columns."""
    (a, b, c), elem = op.operands, op.result.type.elem
    m, n, k = acc.shape[-2], acc.shape[-1], a.type.shape[-1]
    bm, bn, bk = log2(m), log2(n), log2(k)
    size_a, size_b = memory_bytes(a.type.elem), memory_bytes(b.type.elem)
    beside = 1  # columns that a thread has side by side
    while beside < n and log2(beside) < len(acc.register) and acc.register[log2(beside)] == beside:
        beside *= 2
    along_n = beside * size_b >= _WIDE
    lying_a = _Lying(0, m, k, size_a, True)
    begin_b = -(-a.type.numel * size_a // _BANKS) * _BANKS
    lying_b = _Lying(begin_b, k, n, size_b, False) if along_n else _Lying(begin_b, n, k, size_b, True)

    def of_a(x: int) -> tuple[int, int]:  # accumulator index → batch and row
        return x >> (bn + bm), (x >> bn) & (m - 1)

    def of_b(x: int) -> tuple[int, int]:  # → batch and column
        return x >> (bn + bm), x & (n - 1)

    def b_at(batch: int, k_: int, column: int) -> int:
        return lying_b.offset(batch, k_, column) if along_n else lying_b.offset(batch, column, k_)

    place_a, place_b = g.place_for(a), g.place_for(b)
    regs_a, regs_b, values = g.get(a, place_a), g.get(b, place_b), g.get(c, acc)
    g.scratch(begin_b + b.type.numel * size_b)
    _put(g, regs_a, place_a, a.type.elem, lying_a, lambda v: lying_a.offset(v >> (bm + bk), (v >> bk) & (m - 1), v & (k - 1)))
    _put(g, regs_b, place_b, b.type.elem, lying_b, lambda v: b_at(v >> (bk + bn), (v >> bn) & (k - 1), v & (n - 1)))
    g.barrier()

    words = len({of_a(x) for x in acc.constants}) * max(1, size_a // 4) + len({of_b(x) for x in acc.constants}) * max(1, size_b // 4)
    step = min(k, 1 << log2(max(1, _HELD // words)))
    bases_a = tuple(lying_a.offset(*of_a(x), 0) for x in acc.thread)
    bases_b = tuple(b_at(of_b(x)[0], 0, of_b(x)[1]) for x in acc.thread)

    def sums(first: str, starts: list[str]) -> list[str]:
        """Adds the products of ``step`` steps along k from ``first`` on (i32 text; empty: 0)."""
        beyond = k - step  # the bits that ``first`` may have
        at_a = _addresses(g, lying_a, bases_a, first, lying_a.offset(0, 0, beyond), lying_a.offset(0, 0, 1))
        at_b = _addresses(g, lying_b, bases_b, first, b_at(0, beyond, 0), b_at(0, 1, 0))
        read_a = _Reader(g, op, 0, at_a, lying_a, step)
        read_b = _Reader(g, op, 1, at_b, lying_b, beside if along_n else step)
        out = list(starts)
        for k_ in range(step):
            for r, x in enumerate(acc.constants):
                (batch, column), u = of_b(x), read_a.element(*of_a(x), k_)
                v = read_b.element(batch, k_, column) if along_n else read_b.element(batch, column, k_)
                out[r] = _added(g, out[r], u, v, elem)
        return out

    return sums("", values) if step == k else _loop(g, k, step, values, llvm_type(elem), sums)


def _loop(g: Generator, k: int, step: int, values: list[str], t: str, body: Callable[[str, list[str]], list[str]]) -> list[str]:
    """``body(first, sums)`` for each ``step`` of ``k``."""
    entry, loop, done = g.w.label, g.w.new_label("k"), g.w.new_label("kdone")
    g.w.br(loop)
    g.w.open_block(loop)
    i, after = g.w.fresh("k"), g.w.fresh("k")
    names = [g.w.fresh("c") for _ in values]
    hole = g.w.hole()
    out = body(i, names)
    g.w.put(f"{after} = add i32 {i}, {step}")
    more = g.emit(f"icmp ult i32 {after}, {k}")
    g.w.put(f"br i1 {more}, label %{loop}, label %{done}, !llvm.loop {g.rolled()}")
    hole.append(f"  {i} = phi i32 [ 0, %{entry} ], [ {after}, %{loop} ]")
    for name, first, last in zip(names, values, out, strict=True):
        hole.append(f"  {name} = phi {t} [ {first}, %{entry} ], [ {last}, %{loop} ]")
    g.w.open_block(done)
    return out


def _addresses(g: Generator, lying: _Lying, bases: tuple[int, ...], first: str, beyond: int, unit: int) -> Callable[[int], str]:
    """c → pointer to byte (thread's part ^ c ^ that of step ``first`` along k) of an operand.

    ``unit``: bytes from a step to the next; ``beyond``: all bits that a step's part may have.
    """
    begin = lying.pointer(g)
    return shared_addresses(g, begin, bases, (g.emit(f"mul i32 {first}, {unit}"), beyond) if first else None)


def _added(g: Generator, total: str, x: str, y: str, e: Element) -> str:
    t = llvm_type(e)
    if e.is_float:
        return g.call(f"llvm.fma.f{e.bits}", t, (t, x), (t, y), (t, total))
    return g.emit(f"add {t} {total}, {g.emit(f'mul {t} {x}, {y}')}")


def _put(g: Generator, registers: list[str], place: Placement, e: Element, lying: _Lying, moved: Callable[[int], int]) -> None:
    """A whole tile to shared memory; ``moved``: flat index → byte offset, linear over xor."""
    bits = 0  # of the register's number, that are neighbours in shared memory
    while bits < len(place.register) and lying.size << bits < _WIDE and moved(place.register[bits]) == lying.size << bits:
        bits += 1
    while any(moved(b) % (lying.size << bits) for b in (*place.register[bits:], *place.thread)):
        bits -= 1
    at = shared_addresses(g, lying.pointer(g), tuple(moved(b) for b in place.thread))
    for r in place.own_registers:
        if r % (1 << bits) == 0:
            shared_store(g, at(moved(place.constants[r])), registers[r : r + (1 << bits)], e)


def _widened(g: Generator, x: str, e: Element, to: Element, op: Op) -> str:
    """An operand's element in the accumulator's type."""
    if e is to:
        return x
    if e.is_int and to.is_int:
        return g.emit(f"sext {llvm_type(e)} {x} to {llvm_type(to)}")
    if {e, to} <= {F16, BF16, F32, F64} and e.bits < to.bits:
        return g.emit(f"fpext {llvm_type(e)} {x} to {llvm_type(to)}")
    raise unsupported(f"a dot of {e} operands into {to}", op)
