"""Constants, indices and views: operations that are recomputed or renamed wherever they are wanted.

Each function gives the result of a row in any placement; the operand of a view is asked for in the placement which
makes the view a renaming (`Placement.before_…`).
"""

from __future__ import annotations

from ...ir import Op
from .elementwise import apply
from .halves import pairwise
from .placement import Placement, log2, span
from .values import Generator, lazy, literal, llvm_type

__all__: list[str] = []


@lazy("constant")
def constant(g: Generator, op: Op, place: Placement) -> list[str]:
    return [literal(op.attrs["value"], op.result.type.elem)] * place.registers


@lazy("arange")
def arange(g: Generator, op: Op, place: Placement) -> list[str]:
    index = g.index(place, *span(place.shape, 0))
    start = op.attrs["start"]
    if not start:
        return index
    made: dict[str, str] = {}
    for i in index:
        if i not in made:
            made[i] = g.emit(f"add nsw i32 {i}, {start}")
    return [made[i] for i in index]


@lazy("splat")
def splat(g: Generator, op: Op, place: Placement) -> list[str]:
    return [g.scalar(op.operands[0])] * place.registers


@lazy("broadcast")
def broadcast(g: Generator, op: Op, place: Placement) -> list[str]:
    x = op.operands[0]
    return _spread(g.get(x, source := (wide := place.before_broadcast(x.type.shape)).compact()), wide, source)


@lazy("expand_dims", "reshape")
def reshape(g: Generator, op: Op, place: Placement) -> list[str]:
    x = op.operands[0]
    if x.type.is_scalar:
        return [g.scalar(x)] * place.registers
    return g.get(x, place.before_reshape(x.type.shape))


@lazy("window")
def window(g: Generator, op: Op, place: Placement) -> list[str]:
    return g.get(op.operands[0], place)


@lazy("permute")
def permute(g: Generator, op: Op, place: Placement) -> list[str]:
    x = op.operands[0]
    return g.get(x, place.before_permute(x.type.shape, tuple(op.attrs["order"])))


def _spread(registers: list[str], wide: Placement, compact: Placement) -> list[str]:
    """Registers of the compact form of ``wide``, repeated to all of its registers."""
    return [registers[compact.register_of[c]] for c in wide.constants]


@lazy("join")
def join(g: Generator, op: Op, place: Placement) -> list[str]:
    """The lowest index bit says which operand: known per register, or chosen by the thread."""
    shape = place.shape[:-1]
    if not shape:
        pair = [[g.scalar(v)] * place.registers for v in op.operands]
    else:
        wide = place.mapped(shape, lambda b: b >> 1)
        compact = wide.compact()
        pair = [_spread(g.get(v, compact), wide, compact) for v in op.operands]
    which, may = g.thread_part(tuple(b & 1 for b in place.thread))
    t = llvm_type(op.result.type.elem)
    out = []
    for r, c in enumerate(place.constants):
        x, y = pair[0][r], pair[1][r]
        if not may:
            out.append(y if c & 1 else x)
            continue
        odd = g.emit(f"icmp ne i32 {which}, 0")
        first, second = (y, x) if c & 1 else (x, y)
        out.append(g.emit(f"select i1 {odd}, {t} {second}, {t} {first}"))
    return out


@lazy("split")
def split(g: Generator, op: Op, place: Placement | None, half: int) -> list[str]:
    """Asks for both halves in a thread's registers and takes one."""
    x = op.operands[0]
    if place is None:
        place = Placement((), (), (0,) * 5, (0,) * log2(g.num_warps))
    both = Placement(
        x.type.shape, (1, *(b << 1 for b in place.register)), tuple(b << 1 for b in place.lane), tuple(b << 1 for b in place.warp)
    )
    return g.get(x, both)[half::2]


@lazy("elementwise")
def elementwise(g: Generator, op: Op, place: Placement) -> list[str]:
    """An elementwise row: its operands in the same placement."""
    if (pairs := pairwise(g, op, place)) is not None:
        return pairs
    return apply(g, op, [g.get(v, place) for v in op.operands])
