"""Operands of dots in shared memory: how they lie in a ring, and how warps read them as fragments.

A dot reads an operand that was copied to shared memory in one of three ways (`ring_form` says in which, if in any):

wgmma      by its descriptor, from `Panels`
ldmatrix   from `Panels` as well: one instruction gives a warp up to four 8×16-byte matrices, and the swizzle keeps the eight rows of
           a matrix in different banks.  The 16 bytes must be those that a row of a fragment has: neighbours along k; or, for elements of
           16 bits, the transposed form of the instruction takes neighbours along m or n
loads      f32 contiguous along n, from `Rows`

ldmatrix is described by the placement of the fragment alone.  Its lowest register bits (the elements of a 32-bit word) and lane bits 0
and 1 are the 16 bytes of a row, lane bits 2 to 4 are the rows; transposed, the two have changed roles.  The instruction takes the
address of row r of matrix i from lane 8·i + r, so lane bits 0 to 2 of an *address* contribute what the rows do, and bits 3 and 4 what
the next two register bits do.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Op
from ...ir.types import I32
from .convert import memory_bytes, shared_addresses, shared_load
from .dot_table import instruction
from .placement import Placement, log2
from .slots import Slot, pointer, words
from .values import Generator
from .wgmma import Panels, Rows, inner_dimension, panels

__all__ = ["BITS", "fragments_in", "ring_form", "row_addresses"]

BITS = 2
"""Register bits of a fragment, beyond those inside a word, that one ldmatrix fills."""


def ring_form(g: Generator, op: Op, index: int) -> Panels | Rows | None:
    """How operand ``index`` of ``op`` lies in a ring in shared memory; None where ``op`` cannot read it there."""
    v = op.operands[index]
    turned = g.assignment.by_warpgroup.get(op)
    if turned is not None:
        return Rows(v.type.shape) if turned and index == 1 else panels(g, v, index)  # type: ignore[arg-type]
    if v.type.rank != 2 or instruction(op, g.sm) is None:
        return None
    size, inner = memory_bytes(v.type.elem), inner_dimension(g, v)
    if inner == 1 - index or size == 2:
        return Panels(v.type.shape, size, inner) if v.type.shape[inner] * size >= 16 else None  # type: ignore[arg-type]
    return Rows(v.type.shape) if size == 4 and index == 1 else None  # type: ignore[arg-type]


def row_addresses(form: Panels, place: Placement, k_is_inner: bool) -> tuple[int, tuple[int, ...]]:
    """(matrices of one instruction, byte offset that each bit of the thread index contributes to the address it gives)."""
    inside = log2(4 // form.size)
    rows = place.lane[2:] if k_is_inner else (*place.register[:inside], *place.lane[:2])
    higher = place.register[inside:]
    count = min(4, 1 << len(higher))
    which = (*higher[: log2(count)], 0, 0)[:2]
    return count, tuple(form.offset(b) for b in (*rows, *which, *place.warp))


def fragments_in(g: Generator, slot: Slot, form: Panels | Rows, place: Placement, k_is_inner: bool) -> Callable[[int], list[str]]:
    """Flat index → the 32-bit words of ``place`` moved there, fragments of the tile that lies in ``slot``."""
    if isinstance(form, Rows):
        address = shared_addresses(g, pointer(g, slot), tuple(form.offset(b) for b in place.thread))
        return lambda first: [shared_load(g, address(form.offset(c ^ first)), 1, I32)[0] for c in place.constants]
    inside = log2(4 // form.size)
    count, bases = row_addresses(form, place, k_is_inner)
    at = words(g, slot, bases)
    turned = "" if k_is_inner else ".trans"
    outs = [f"${i}" for i in range(count)]
    code = f"ldmatrix.sync.aligned.m8n8.x{count}{turned}.shared.b16 {{{', '.join(outs)}}}, "
    result = g.several("i32", count)

    def read(first: int) -> list[str]:
        out: list[str] = []
        known: dict[int, list[str]] = {}
        for r in range(0, place.registers, count << inside):
            c = form.offset(place.constants[r] ^ first)
            if c not in known:
                address, offset = at(c)
                got = g.assembly(f"{code}[${count}+{offset}];", ",".join(["=r"] * count + ["r"]), result, [("i32", address)])
                known[c] = [got] if count == 1 else [g.emit(f"extractvalue {result} {got}, {i}") for i in range(count)]
            out += known[c]
        return out

    return read
