"""Packed operands that programs of one grid share.

The programs of a matmul that lie above each other read the same columns of B, and those of an attention head the same keys and
values.  Packing such a tile anew in each program was a quarter of a 1024³ f32 matmul in 64³ tiles.  So a tile that a loop packs
for a dot goes to a *panel*: places in the worker's scratch memory, one for each of the loop's first iterations, that outlive the
program.  A place says which tile it holds by its *key*, the values of all scalars that the tile is computed from beside the
kernel's arguments and constants; a program that finds its own key there has nothing to pack.

When that is right.  Programs of a grid run in no order and do not see each other's writes unless they synchronise, so an older
copy of what memory held during this launch is as good as a newer one, if the program itself has neither written nor synchronised
before it reads: the loop stands at the top of the kernel, and everything in the kernel that writes or orders memory comes after it.

Persistent programs.  A program that goes through many tiles (``for tile in range(program_id, tiles, programs)``) packs and stores
in one loop over the tiles.  What it packs, of either operand, comes in sequences that repeat: the rows of B for the next tile in the
same column, A's for the tiles of the next.  So the places are a ring: a tile is looked for behind the place that was used last, and at the
first of the sequence; if it is neither, it goes behind the last, and a sequence begins if the one before has been found again.

Memory that the program stores to is compared at run time: each panel knows between which addresses its tiles were read
(``lo`` … ``hi``), each store to which it goes; where they meet, nothing that the panel holds counts any longer.  Both must be affine in
the index, so that a tile lies between the addresses of its corners; what is masked off only makes the ranges longer.

When it pays.  Filling places costs second-level cache that a single buffer would not need.  Places beyond the first are only
filled while keys repeat: when the first place held what this program needs, or did so for the last key that it held.  A ring that
was filled once around without finding anything is left as it is.

Of each panel the worker's `launch_memory` holds: the loop's iteration, or the place behind the last; whether this program fills; whether
the last key of the first place was never found again, or how many tiles in a row were not found; the first of the sequence; how often
the program has stored to what was read; the complement of ``lo``, so that zero is "nothing yet", and ``hi``; then for each place the number
of such stores when it was filled and one more, and its key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...ir import Effect, Op, Value
from ...ir.types import I64
from .direct import direct_load
from .launch_memory import synchronises
from .memory import Buffer
from .nest import Nest
from .roots import WriteRoot
from .shape import is_linear

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Panels"]

CAPACITY = 512 << 10
"""Bytes of all panels of a kernel: what second-level caches have to spare."""
_PLACES = 256
_STEP, _FILLS, _WASTED, _FIRST, _STORED, _NOT_LO, _HI, _STATE = range(0, 64, 8)


@dataclass(eq=False)
class _Panel:
    """``state``: offset in scratch; ``places`` of ``nbytes`` each; ``compared``: whether the program may store while it is in use;
    ``sources``: the tiles of pointers that it reads.  Operands: ``pointer`` to the state, ``data`` the first place."""

    keys: list[Value]
    sources: list[Value]
    compared: bool
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
        found = []
        for v, compared in self._operands():
            keys, sources = self._keys(v)
            if sources and (not compared or all(is_linear(x) for x in sources)):
                found.append((v, compared, keys, sources))
        large = self.p.machine.large_second_level
        for v, compared, keys, sources in found:
            nbytes = (v.type.numel * v.type.elem.bytes + 63) & ~63
            places = min(_PLACES, CAPACITY * (3 if compared and large else 1) // len(found) // nbytes)
            if places > 1:
                at = self.p.launch.take(_STATE + places * 8 * (1 + len(keys)))
                self.panels[v] = _Panel(keys, sources, compared, at, places, nbytes)

    def place(self) -> None:
        """Reserves the places.  A program begins at the first."""
        for panel in self.panels.values():
            panel.data = self.p.reserve(panel.places * panel.nbytes)
            panel.pointer = self.p.launch.pointer(panel.state)
            if not panel.compared:
                self.p.entry.append(f"  store i64 0, ptr {panel.pointer}, align 8")

    def before_store(self, op: Op) -> None:
        """Code in front of ``op``, a store: it may write what panels have been read from."""
        w, guarded = self.p.w, [p for p in self.panels.values() if p.compared]
        if not guarded:
            return
        start, end = self._range(op.operands[0])
        for panel in guarded:
            low = w.ins(f"xor i64 {self._load(panel.pointer, _NOT_LO)}, -1")
            meets = w.ins(f"icmp ult i64 {start}, {self._load(panel.pointer, _HI)}")
            meets = w.ins(f"and i1 {meets}, {w.ins(f'icmp ugt i64 {end}, {low}')}")
            stored = w.ins(f"add i64 {self._load(panel.pointer, _STORED)}, {w.ins(f'zext i1 {meets} to i64')}")
            self._store(stored, panel.pointer, _STORED)

    def _range(self, pointer: Value) -> tuple[str, str]:
        """Between which addresses (i64) the elements behind ``pointer``, affine in the index, lie."""
        w, shape, size = self.p.w, pointer.type.shape, pointer.type.elem.pointee.bytes  # type: ignore[attr-defined]
        nest, corners = Nest(self.p, shape, max(0, len(shape) - 1), 1, 1), [0]
        for n in shape:
            corners = [at * n + i for at in corners for i in sorted({0, n - 1})]
        lanes = [nest.element(pointer, at) if shape else self.p.scalar(pointer) for at in corners]
        low = high = ""
        for lane in lanes:
            x = w.ins(f"ptrtoint ptr {lane.val} to i64")
            low, high = (
                (x, x) if not low else tuple(w.ins(f"call i64 @llvm.{f}.i64(i64 {y}, i64 {x})") for f, y in (("umin", low), ("umax", high)))
            )
        for f in ("umin", "umax"):
            w.declare(f"llvm.{f}.i64", "i64(i64, i64)")
        return low, w.ins(f"add i64 {high}, {max(1, size)}")

    def _at(self, base: str, offset: str | int) -> str:
        return self.p.w.ins(f"getelementptr i8, ptr {base}, i64 {offset}")

    def _load(self, base: str, offset: int) -> str:
        return self.p.w.ins(f"load i64, ptr {self._at(base, offset)}, align 8")

    def _store(self, value: str, base: str, offset: int) -> None:
        self.p.w.put(f"store i64 {value}, ptr {self._at(base, offset)}, align 8")

    # --- which operands ---

    def _operands(self) -> list[tuple[Value, bool]]:
        """Operands packed in loops, and whether the program may store while they are in use.

        Of a loop and what precedes it nothing may order memory, or write it otherwise than by stores that can be compared.
        """
        out: dict[Value, bool] = {}
        written = False
        for op in self.p.func.body.ops:
            inside = list(op.walk())
            if any(synchronises(o) for o in inside):
                break
            writes = [o for o in inside if o.defn.effects & Effect.WRITE]
            if not all(o.name == "store" and is_linear(o.operands[0]) for o in writes):
                break
            for o in inside if op.name == "for" else ():
                nested = o.block is not op.blocks[0]
                if o in self.p.dots.kernels and (nested or not (written or writes)):
                    for i in (0, 1) if nested else (1,):
                        if self._packed_here(o, i):
                            out.setdefault(o.operands[i], nested)
            written = written or bool(writes)
        return list(out.items())

    def _packed_here(self, dot: Op, number: int) -> bool:
        """Whether operand ``number`` of ``dot`` is nothing else, and packed beside it."""
        v = dot.operands[number]
        alike = all(i == number and u in self.p.dots.kernels and u.block is dot.block for u, i in v.uses)
        if v.type.rank != 2 or v.op is None or v.op.block is not dot.block or not alike:
            return False
        return number == 1 or direct_load(self.p, v) is None

    def _keys(self, v: Value) -> tuple[list[Value], list[Value]]:
        """The scalars that tile ``v`` depends on and that differ between programs or iterations, and the tiles of pointers that it
        reads; none of these where that is not all."""
        keys: list[Value] = []
        sources: list[Value] = []
        seen: set[Value] = set()
        stack = [v]
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if x.type.is_scalar:
                if x.owner is self.p.func.body and x.op is None or x.is_op("constant"):
                    continue  # an argument: the same throughout a launch
                if not (x.type.elem.is_int or x.type.elem.is_ptr):
                    return [], []
                keys.append(x)
                continue
            op = x.op
            if op is None or op.blocks or op.name in ("dot", "scan", "sort", "histogram", "reduce", "gather"):
                return [], []
            if op.name == "load":
                sources.append(op.operands[0])
            elif op.defn.effects & Effect.READ:
                return [], []
            stack += [y for y in op.operands if y is not None]
        return keys, sources

    # --- code ---

    def emit(self, v: Value, single: Buffer) -> Buffer:
        """Code that has tile ``v`` packed: in the panel, or in buffer ``single``."""
        p, w, panel = self.p, self.p.w, self.panels[v]
        keys = [self._number(k) for k in panel.keys]
        stamp = w.ins(f"add i64 {self._load(panel.pointer, _STORED)}, 1")
        find = self._in_ring if panel.compared else self._by_iteration
        same, fill, place = find(panel, [stamp, *keys])
        tag = self._tag(panel, place)
        inside = w.ins(f"or i1 {same}, {fill}")
        data = self._at(panel.data, w.ins(f"mul i64 {place}, {panel.nbytes}"))
        where = w.ins(f"select i1 {inside}, ptr {data}, ptr {single.ptr}")
        pack, mark, packing, after = (w.new_label(s) for s in ("pack", "mark", "packing", "packed"))
        w.cond_br(same, after, pack)
        w.open_block(pack)
        w.cond_br(fill, mark, packing)
        w.open_block(mark)
        for i, k in enumerate([stamp, *keys]):
            self._store(k, tag, 8 * i)
        for source in panel.sources if panel.compared else ():
            start, end = self._range(source)
            for x, word in ((w.ins(f"xor i64 {start}, -1"), _NOT_LO), (end, _HI)):
                widest = w.ins(f"call i64 @llvm.umax.i64(i64 {self._load(panel.pointer, word)}, i64 {x})")
                self._store(widest, panel.pointer, word)
        w.br(packing)
        w.open_block(packing)
        into = replace(single, ptr=where)
        p.nest(v.type.shape, [WriteRoot(v, into)])
        w.br(after)
        w.open_block(after)
        return into

    def _tag(self, panel: _Panel, place: str) -> str:
        """The address of what ``place`` says that it holds."""
        w = self.p.w
        return self._at(panel.pointer, w.ins(f"add i64 {w.ins(f'mul i64 {place}, {panel.tag_bytes}')}, {_STATE}"))

    def _holds(self, tag: str, wanted: list[str]) -> str:
        w, same = self.p.w, "true"
        for i, k in enumerate(wanted):
            same = w.ins(f"and i1 {same}, {w.ins(f'icmp eq i64 {self._load(tag, 8 * i)}, {k}')}")
        return same

    def _by_iteration(self, panel: _Panel, wanted: list[str]) -> tuple[str, str, str]:
        """(whether its place holds ``wanted``, whether to fill it if not, the place): each iteration of the loop has one."""
        w, state = self.p.w, panel.pointer
        step = self._load(state, _STEP)
        has_place = w.ins(f"icmp ult i64 {step}, {panel.places}")
        place = w.ins(f"select i1 {has_place}, i64 {step}, i64 0")
        same = w.ins(f"and i1 {has_place}, {self._holds(self._tag(panel, place), wanted)}")
        # the first iteration decides for the others
        first = w.ins(f"icmp eq i64 {step}, 0")
        wasted = self._load(state, _WASTED)
        pays = w.ins(f"or i1 {same}, {w.ins(f'icmp eq i64 {wasted}, 0')}")
        filling = w.ins(f"select i1 {first}, i1 {pays}, i1 {w.ins(f'icmp ne i64 {self._load(state, _FILLS)}, 0')}")
        missing = w.ins(f"zext i1 {w.ins(f'xor i1 {same}, true')} to i64")
        self._store(w.ins(f"add i64 {step}, 1"), state, _STEP)
        self._store(w.ins(f"zext i1 {filling} to i64"), state, _FILLS)
        self._store(w.ins(f"select i1 {first}, i64 {missing}, i64 {wasted}"), state, _WASTED)
        return same, w.ins(f"and i1 {has_place}, {w.ins(f'or i1 {first}, {filling}')}"), place

    def _in_ring(self, panel: _Panel, wanted: list[str]) -> tuple[str, str, str]:
        """The same where tiles come in sequences that repeat: behind the last place, or again at the first of the sequence."""
        w, state = self.p.w, panel.pointer
        step, first, missed = (self._load(state, word) for word in (_STEP, _FIRST, _WASTED))
        behind = w.ins(f"select i1 {w.ins(f'icmp ult i64 {step}, {panel.places}')}, i64 {step}, i64 0")
        goes_on = self._holds(self._tag(panel, behind), wanted)
        same = w.ins(f"or i1 {goes_on}, {self._holds(self._tag(panel, first), wanted)}")
        fill = w.ins(f"and i1 {w.ins(f'xor i1 {same}, true')}, {w.ins(f'icmp ult i64 {missed}, {panel.places}')}")
        place = w.ins(f"select i1 {w.ins(f'or i1 {goes_on}, {fill}')}, i64 {behind}, i64 {first}")
        moves = w.ins(f"or i1 {same}, {fill}")
        begins = w.ins(f"and i1 {fill}, {w.ins(f'icmp eq i64 {missed}, 0')}")
        self._store(w.ins(f"select i1 {moves}, i64 {w.ins(f'add i64 {place}, 1')}, i64 {step}"), state, _STEP)
        self._store(w.ins(f"select i1 {begins}, i64 {place}, i64 {first}"), state, _FIRST)
        more = w.ins(f"add i64 {missed}, {w.ins(f'zext i1 {fill} to i64')}")
        self._store(w.ins(f"select i1 {same}, i64 0, i64 {more}"), state, _WASTED)
        return same, fill, place

    def _number(self, key: Value) -> str:
        """``key`` as an i64 operand."""
        lane = self.p.scalar(key)
        if lane.elem.is_ptr:
            return self.p.w.ins(f"ptrtoint ptr {lane.val} to i64")
        return self.p.memory.resize(lane, I64).val
