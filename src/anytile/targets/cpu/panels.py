"""Packed operands that programs of one grid share.

The programs of a matmul that lie above each other read the same columns of B, and those of an attention head the same keys and
values.  Packing such a tile anew in each program was a quarter of a 1024³ f32 matmul in 64³ tiles.  So a tile that a loop packs
for a dot goes to a *panel*: places in the worker's scratch memory, one for each of the loop's first iterations, that outlive the
program.  A place says which tile it holds by its *key*, the values of all scalars that the tile is computed from beside the
kernel's arguments and constants; a program that finds its own key there has nothing to pack.

When that is right.  Programs of a grid run in no order and do not see each other's writes unless they synchronise, so an older
copy of what memory held during this launch is as good as a newer one, if the program itself has neither written nor synchronised
before it reads: the loop stands at the top of the kernel, and everything in the kernel that writes or orders memory comes after it.

When it pays.  Filling places costs second-level cache that a single buffer would not need.  Places beyond the first are only
filled while keys repeat: when the first place held what this program needs, or did so for the last key that it held.

Of each panel the worker's `launch_memory` holds: the loop's iteration; whether this program fills; whether the last key of the
first place was never found again; then for each place whether it is filled, and its key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...ir import Effect, Op, Value
from ...ir.types import I64
from .launch_memory import synchronises
from .memory import Buffer
from .roots import WriteRoot

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Panels"]

CAPACITY = 512 << 10
"""Bytes of all panels of a kernel: what second-level caches have to spare."""
_PLACES = 256
_STATE = 24


@dataclass(eq=False)
class _Panel:
    """``state``: offset in scratch; ``places`` of ``nbytes`` each.  Operands: ``pointer`` to the state, ``data`` the first place."""

    keys: list[Value]
    state: int
    places: int
    nbytes: int
    pointer: str = ""
    data: str = ""

    @property
    def tag_bytes(self) -> int:
        return 8 * (1 + len(self.keys))


class Panels:
    def __init__(self, program: Program):
        self.p = program
        self.panels: dict[Value, _Panel] = {}

    def prepare(self) -> None:
        """Finds the operands."""
        found = [(v, keys) for v in self._operands() if (keys := self._keys(v)) is not None]
        for v, keys in found:
            nbytes = (v.type.numel * v.type.elem.bytes + 63) & ~63
            places = min(_PLACES, CAPACITY // len(found) // nbytes)
            if places > 1:
                at = self.p.launch.take(_STATE + places * 8 * (1 + len(keys)))
                self.panels[v] = _Panel(keys, at, places, nbytes)

    def place(self) -> None:
        """Reserves the places.  A program begins at the first."""
        for panel in self.panels.values():
            panel.data = self.p.reserve(panel.places * panel.nbytes)
            panel.pointer = self.p.launch.pointer(panel.state)
            self.p.entry.append(f"  store i64 0, ptr {panel.pointer}, align 8")

    # --- which operands ---

    def _operands(self) -> list[Value]:
        """B operands computed in loops of which, and of what precedes them, nothing writes or orders memory."""
        body = self.p.func.body
        loops: list[Op] = []
        for op in body.ops:
            if any(o.defn.effects & Effect.WRITE or synchronises(o) for o in op.walk()):
                break
            if op.name == "for":
                loops.append(op)
        out: list[Value] = []
        for loop in loops:
            block = loop.blocks[0]
            for op in block.ops:
                if op not in self.p.dots.kernels or op.operands[1] in out:
                    continue
                v = op.operands[1]
                only_b = all(i == 1 and u in self.p.dots.kernels and u.block is block for u, i in v.uses)
                if v.type.rank == 2 and v.op is not None and v.op.block is block and only_b:
                    out.append(v)
        return out

    def _keys(self, v: Value) -> list[Value] | None:
        """The scalars that tile ``v`` depends on and that differ between programs or iterations; None where that is not all."""
        keys: list[Value] = []
        seen: set[Value] = set()
        stack, loads = [v], 0
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if x.type.is_scalar:
                if x.owner is self.p.func.body and x.op is None or x.is_op("constant"):
                    continue  # an argument: the same throughout a launch
                if not (x.type.elem.is_int or x.type.elem.is_ptr):
                    return None
                keys.append(x)
                continue
            op = x.op
            if op is None or op.blocks or op.name in ("dot", "scan", "sort", "histogram", "reduce", "gather"):
                return None
            if op.name == "load":
                loads += 1
            elif op.defn.effects & Effect.READ:
                return None
            stack += [y for y in op.operands if y is not None]
        return keys if loads else None

    # --- code ---

    def emit(self, v: Value, single: Buffer) -> Buffer:
        """Code that has tile ``v`` packed: in the panel, or in buffer ``single``."""
        p, w, panel = self.p, self.p.w, self.panels[v]

        def at(base: str, offset: str | int) -> str:
            return w.ins(f"getelementptr i8, ptr {base}, i64 {offset}")

        def load(base: str, offset: int) -> str:
            return w.ins(f"load i64, ptr {at(base, offset)}, align 8")

        def store(value: str, base: str, offset: int) -> None:
            w.put(f"store i64 {value}, ptr {at(base, offset)}, align 8")

        def flag(i1: str) -> str:
            return w.ins(f"zext i1 {i1} to i64")

        state = panel.pointer
        step = load(state, 0)
        has_place = w.ins(f"icmp ult i64 {step}, {panel.places}")
        place = w.ins(f"select i1 {has_place}, i64 {step}, i64 0")
        tag = at(state, w.ins(f"add i64 {w.ins(f'mul i64 {place}, {panel.tag_bytes}')}, {_STATE}"))
        keys = [self._number(k) for k in panel.keys]
        same = w.ins(f"and i1 {has_place}, {w.ins(f'icmp ne i64 {load(tag, 0)}, 0')}")
        for i, k in enumerate(keys):
            same = w.ins(f"and i1 {same}, {w.ins(f'icmp eq i64 {load(tag, 8 * (i + 1))}, {k}')}")
        # the first iteration decides for the others
        first = w.ins(f"icmp eq i64 {step}, 0")
        wasted = load(state, 16)
        pays = w.ins(f"or i1 {same}, {w.ins(f'icmp eq i64 {wasted}, 0')}")
        filling = w.ins(f"select i1 {first}, i1 {pays}, i1 {w.ins(f'icmp ne i64 {load(state, 8)}, 0')}")
        store(w.ins(f"add i64 {step}, 1"), state, 0)
        store(flag(filling), state, 8)
        store(w.ins(f"select i1 {first}, i64 {flag(w.ins(f'xor i1 {same}, true'))}, i64 {wasted}"), state, 16)
        fill = w.ins(f"and i1 {has_place}, {w.ins(f'or i1 {first}, {filling}')}")
        inside = w.ins(f"or i1 {same}, {fill}")
        data = at(panel.data, w.ins(f"mul i64 {place}, {panel.nbytes}"))
        where = w.ins(f"select i1 {inside}, ptr {data}, ptr {single.ptr}")
        pack, mark, packing, after = (w.new_label(s) for s in ("pack", "mark", "packing", "packed"))
        w.cond_br(same, after, pack)
        w.open_block(pack)
        w.cond_br(fill, mark, packing)
        w.open_block(mark)
        for i, k in enumerate(["1", *keys]):
            store(k, tag, 8 * i)
        w.br(packing)
        w.open_block(packing)
        into = replace(single, ptr=where)
        p.nest(v.type.shape, [WriteRoot(v, into)])
        w.br(after)
        w.open_block(after)
        return into

    def _number(self, key: Value) -> str:
        """``key`` as an i64 operand."""
        lane = self.p.scalar(key)
        if lane.elem.is_ptr:
            return self.p.w.ins(f"ptrtoint ptr {lane.val} to i64")
        return self.p.memory.resize(lane, I64).val
