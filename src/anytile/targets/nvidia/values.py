"""Values of a kernel as registers of a thread, and the state of code generation.

A scalar is one LLVM value, the same in every thread.  A tile is a list of LLVM values, one a register of its
`Placement`.  Two kinds of operation make tiles:

*Eager* ones (loads, reductions, dots, arithmetic on their results) are emitted where they stand, once, in the
value's *home*, the placement that `assignment` chose.

*Lazy* ones are emitted in whatever placement a user wants, when it wants it: index arithmetic, constants and
everything that only renames places (splat, broadcast, expand_dims, reshape, permute, join, split).  So no
conversion is ever made for an offset or a mask, and a view of an eager value asks for that value in the placement
which makes the view free.

`Generator.get` is the one door to all of this: it finds, recomputes or converts.  What it makes is remembered for
the block that is being written and the blocks inside; what a loop does not define is recomputed in front of it, once (`Scope`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import UnsupportedError
from ...ir import Block, Func, Op, Value
from ...ir.builder import canonical
from ...ir.types import BOOL, Element
from ...passes.axis_info import AxisInfo
from ..text import Chunk, Writer
from ..text import literal as plain_literal
from ..text import llvm_type as plain_type
from .placement import LANES, Placement, log2
from .shared_use import Fullest

if TYPE_CHECKING:
    from .assignment import Assignment
    from .copies import Source
    from .named import Named
    from .over_tiles import OverTiles
    from .slots import Slot
    from .tensor_maps import TensorMap

__all__ = ["EAGER", "LAZY", "Flight", "Generator", "Means", "Scope", "literal", "llvm_type", "memory_type", "unsupported"]

GLOBAL = "ptr addrspace(1)"
SHARED = "ptr addrspace(3)"
BARRIER = "llvm.nvvm.barrier.cta.sync.aligned.all"

LAZY: dict[str, Callable[..., list[str]]] = {}
"""Row → ``fn(g, op, place) -> registers``: the result in any placement."""
STAGING, BARRIERS = "%staging", "%barriers"
"""Pointer and i32 address in shared memory, above all that buffers and exchanges take: named before anybody knows where that ends."""
EAGER: dict[str, Callable[..., Any]] = {}
"""Row → ``fn(g, op)``: emits the operation and defines its results."""


def llvm_type(e: Element) -> str:
    return GLOBAL if e.is_ptr else plain_type(e)


def memory_type(e: Element) -> str:
    """As `llvm_type`, for memory: i1 lives in a byte."""
    return "i8" if e is BOOL else llvm_type(e)


def literal(value: int | float, e: Element) -> str:
    if e.is_ptr:
        return "null" if value == 0 else f"inttoptr (i64 {int(value)} to {GLOBAL})"
    return plain_literal(canonical(value, e), e)


def unsupported(what: str, op: Op) -> UnsupportedError:
    return UnsupportedError(what, "the NVIDIA target", f"it is used in {op.loc.function or 'a kernel'}, {op.loc.file}:{op.loc.line}")


def lazy(*names: str):
    def mark(fn):
        for n in names:
            LAZY[n] = fn
        return fn

    return mark


def eager(*names: str):
    def mark(fn):
        for n in names:
            EAGER[n] = fn
        return fn

    return mark


@dataclass
class Scope:
    """What is known in a part of the text.  ``values``: registers of (value, placement).

    ``block``: the loop body that the part belongs to: what is defined outside of it is computed outside, in the text ``before`` the
    loop (None: here).  None: nothing is moved out.

    ``ahead``: the part belongs to another iteration than the one around it, which has nothing to say of what the loop defines;
    ``supply``: gives that instead, where it is not among ``values`` (None: it is computed here).
    """

    block: Block | None = None
    before: Chunk | None = None
    ahead: bool = False
    supply: Callable[[Value, Hashable], list[str]] | None = None
    values: dict[tuple[Value, Hashable], list[str]] = field(default_factory=dict)

    def depends(self, v: Value) -> bool:
        """Whether ``v`` is defined in the loop, or nothing is moved out."""
        return self.block is None or self.block.defines(v)


@dataclass(frozen=True)
class Flight:
    """What a loop puts around the instructions of a dot that it waits for itself.

    ``before`` stands between the operands' registers and the instructions; ``behind`` is given the registers that they write, which are in
    flight, and gives those of the dot's result.

    ``held``: the registers that the instructions add to have names of their own, and nothing is given to or asked of ``behind``;
    ``adds``: an i1 that says whether the first instruction adds to them, or overwrites them (empty: it adds; "false": it never does).

    ``left``: the words of A have names of their own, too.
    """

    behind: Callable[[list[str]], list[str]]
    before: Callable[[], None] | None = None
    held: Named | None = None
    adds: str = ""
    left: Named | None = None


@dataclass(frozen=True)
class Means:
    """What makes a kernel faster and may not be possible: shared memory is short, or a barrier is in the way.

    ``staging_apart``: bulk stores in loops may have shared memory of their own; ``own_ahead``: loads that no dot reads may run ahead of
    their loop; ``large_in_shared``: mma.sync may read large operands from shared memory piece by piece; ``straight_copies``: what dots in
    no loop read may be copied where it is loaded; ``table_slots``: rings of what tables lead to may have as many slots as ``num_stages``
    says; ``tables``: what tables lead to may be copied ahead at all; ``lookups``: what a loop looks numbers up in may have shared memory of
    its own; ``over_tiles``: rings may go on from tile to tile, with ``spare_over_tiles`` slots fewer than others have; ``turns``:
    warpgroups may take turns; ``overlap``: a chain may have barriers in shared memory; ``spare_slots``: how many slots of a ring that has
    more than two are done without.
    """

    staging_apart: bool = True
    own_ahead: bool = True
    large_in_shared: bool = True
    straight_copies: bool = True
    table_slots: bool = True
    tables: bool = True
    lookups: bool = True
    over_tiles: bool = True
    spare_over_tiles: int = 0
    turns: bool = True
    overlap: bool = True
    spare_slots: int = 0


class Generator:
    """The text of one kernel under construction.

    ``w``: the writer; ``prologue``: a chunk at the kernel's entry for what every thread computes once;
    ``shared_bytes``: the shared memory that a launch gives; buffers lie at the bottom, like a stack, what exchanges need above them.
    """

    def __init__(
        self,
        func: Func,
        num_warps: int,
        num_stages: int,
        sm: int,
        contract: bool,
        ftz: bool,
        assignment: Assignment,
        info: AxisInfo,
        means: Means,
    ):
        self.func, self.num_warps, self.num_stages = func, num_warps, num_stages
        self.sm, self.contract, self.ftz = sm, contract, ftz
        self.assignment, self.info, self.means = assignment, info, means
        self.homes: dict[Value, Placement] = assignment.homes  # type: ignore[assignment]
        self.w = Writer()
        self.prologue = self.w.hole()
        self.shared_bytes = self.buffer_top = 0
        self.fullest = Fullest({}, 0, 0)  # what `shared_bytes` are for
        self.exchange = "@shared"
        self.once: dict[str, str] = {}  # what a file of the generator computes once at the kernel's entry, by a name of its own
        self.maps: dict[TensorMap, str] = {}  # tensor map → parameter
        self.ring: dict[Value, Slot] = {}  # operand of a pipelined dot → its current slot in shared memory
        self.own_copies: dict[Op, Callable[[], None]] = {}  # load that runs ahead of its loop, of no dot → defines its result
        self.under_way: list[frozenset[Value]] = []  # operands whose copies (`straight_copies`) nobody has waited for, by their groups
        self.copied: set[Value] = set()  # operands that are such copies
        self.unread: set[Op] = set()  # scalars of a loop that only copies ahead are made from: of no use to the iteration itself
        self.read_ahead: dict[
            Value, Callable[[Placement | None], list[str]]
        ] = {}  # table of the iteration whose copies are written → its numbers
        self.alone = False  # whether two warpgroups, each with half of a tile's rows, do not wait for each other (`warpgroups`)
        self.own_rings = 0  # of such loads so far
        self.rings_over_tiles = 0  # that go on from tile to tile, so far
        self.over_tiles: dict[Op, OverTiles] = {}  # a loop in a loop over tiles → its ring
        self.table_rings = 0  # loops with rings of what tables lead to, so far
        self.lookups = 0  # tables of gathers that stay in shared memory while a loop runs, so far
        self.large_operands = 0  # that mma.sync reads from shared memory piece by piece, so far
        self.in_flight: dict[Op, Flight] = {}  # dots whose loop says when they are waited for
        self.named_tiles = 0  # tiles in registers with names (`named`), so far
        self.overlaps = 0  # loops whose next first product is asked for early, so far
        self.small_chain = False  # whether a second block should multiply while the first computes (`occupancy`)
        self.disturbed = False  # whether a barrier got between warpgroups that take turns
        self.barriers_made = 0  # of all threads, so far in the text
        self.unordered = False  # whether copies of small tiles (`small_loads`) may still be on their way, for all that is known here
        self.tma = False  # whether the tensor memory accelerator may be used
        self.staging = 0  # bytes of shared memory that are kept for bulk stores alone, at STAGING
        self.barrier_count = 0  # mbarriers, at BARRIERS
        self.bulk_stores: dict[Op, Source] = {}  # stores that read shared memory some time after they were asked for
        self.words: dict[tuple[str, str], str] = {}  # two elements of 16 bits → the i32 that holds both
        self.counted: dict[
            str, tuple[str, int, int]
        ] = {}  # an index, or one of several → what they all begin with, the least and the most beyond
        self.halves: dict[str, tuple[str, int]] = {}  # such an element → that i32, and which half of it
        self._buffers: dict[object, range] = {}  # whose → bytes; between them are bytes that are nobody's
        self.emitted: set[Op] = set()  # operations whose text is complete
        self.globals: list[str] = []
        self.scopes = [Scope()]
        self._thread_parts: dict[Any, str] = {}
        self.tid = self._special("tid.x")
        self.warp_bits = log2(num_warps)

    # --- values ---

    def get(self, v: Value, place: Placement | None = None) -> list[str]:
        """The registers of ``v`` in ``place`` (None: a scalar's single value)."""
        got = self.find(v, place)
        if got is not None:
            return got
        if v in self.read_ahead:
            return self.read_ahead[v](place)
        assert place is not None, f"{v} has no value yet"
        if self.is_lazy(v):
            return self._recomputed(v, place)
        from .convert import convert  # convert needs Generator

        home = self.homes[v]
        source = self.find(v, home)
        assert source is not None, f"{v} of {v.op} has no value yet"
        got = convert(self, source, home, place, v.type.elem)
        self.define(v, got, place)
        return got

    def every(self, v: Value, place: Placement, n: int) -> list[str]:
        """Each ``n``-th register of ``v`` in ``place``: addresses and masks of accesses that move ``n`` neighbours."""
        if n > 1 and self.assignment.cheap(v):
            return self.get(v, place.every(n))
        return self.get(v, place)[::n]

    def _recomputed(self, v: Value, place: Placement) -> list[str]:
        """A lazy value's registers, computed in front of the loops that do not define it; where they are many, for this user alone."""
        assert v.op is not None
        bits = self._differing(v, place) if v.type.elem is BOOL else place.register
        if len(bits) < len(place.register):
            made = self.get(v, Placement(place.shape, bits, place.lane, place.warp))
            asked = [k for k, b in enumerate(place.register) if b in bits]
            return [made[sum((r >> k & 1) << i for i, k in enumerate(asked))] for r in range(place.registers)]
        scopes, here = self.scopes, self.w.cur
        level, kept = len(scopes), not self.assignment.widened(v)
        while kept and level > 1 and not scopes[level - 1].depends(v):
            level -= 1
        if level < len(scopes):
            self.scopes = scopes[:level]
            outer = scopes[level].before
            self.w.cur = here if outer is None else outer
        try:
            row = LAZY.get(v.op.name, LAZY["elementwise"])
            got = row(self, v.op, place, v.index) if v.op.name == "split" else row(self, v.op, place)
            if kept:
                self.define(v, got, place)
        finally:
            self.scopes, self.w.cur = scopes, here
        return got

    def _differing(self, v: Value, place: Placement) -> tuple[int, ...]:
        """The register bases of ``place`` on which ``v`` may depend: a mask changes only where the sizes that it compares with allow."""
        same = shift = 0
        for n, constancy in zip(reversed(place.shape), reversed(self.info[v].constancy), strict=True):
            same |= (min(constancy, n) - 1) << shift
            shift += log2(n)
        return tuple(b for b in place.register if b & ~same)

    def scalar(self, v: Value) -> str:
        return self.get(v)[0]

    def find(self, v: Value, place: Hashable) -> list[str] | None:
        for scope in reversed(self.scopes):
            got = scope.values.get((v, place))
            if got is not None:
                return got
            if scope.ahead and scope.depends(v):
                return None if scope.supply is None else scope.supply(v, place)
        return None

    def define(self, v: Value, registers: list[str], place: Hashable = None) -> None:
        self.scopes[-1].values[(v, place)] = registers

    def home(self, v: Value) -> Placement | None:
        return None if v.type.is_scalar else self.homes[v]

    def is_lazy(self, v: Value) -> bool:
        return v not in self.homes

    def place_for(self, v: Value) -> Placement:
        """A placement in which ``v`` costs little."""
        return self.assignment.where(v) or self.assignment.default(v.type.shape)

    # --- instructions ---

    def emit(self, rhs: str) -> str:
        return self.w.ins(rhs)

    def early(self, rhs: str) -> str:
        """An instruction at the kernel's entry."""
        return self.w.ins(rhs, self.prologue)

    def call(self, name: str, result: str, *args: tuple[str, str]) -> str:
        """Calls the intrinsic ``name``; ``args`` are (type, text).  Returns the result's name, "" for void."""
        fn = self.w.declare(name, f"{result}({', '.join(t for t, _ in args)})")
        text = f"call {result} {fn}({', '.join(f'{t} {a}' for t, a in args)})"
        if result == "void":
            self.w.put(text)
            return ""
        return self.emit(text)

    def several(self, t: str, n: int) -> str:
        """The type of ``n`` results of type ``t``; it has a name, since each use of a result repeats it."""
        if n == 1:
            return t
        name = f"%{t}.{n}"
        if name not in self.once:
            self.once[name] = f"{name} = type {{ {', '.join([t] * n)} }}"
            self.globals.append(self.once[name])
        return name

    def assembly(self, text: str, constraints: str, result: str, args: list[tuple[str, str]], pure: bool = False) -> str:
        """Inline PTX.  Impure text keeps its place among memory accesses and barriers."""
        effect = "" if pure else "sideeffect "
        clobber = "" if pure else ("," if constraints else "") + "~{memory}"
        call = f'call {result} asm {effect}"{text}", "{constraints}{clobber}"({", ".join(f"{t} {a}" for t, a in args)}) #1'
        if result == "void":
            self.w.put(call)
            return ""
        return self.emit(call)

    def rolled(self) -> str:
        """What the branch back of a loop carries that nobody is to unroll, neither LLVM nor the assembler."""
        if "rolled" not in self.once:
            self.once["rolled"] = "!0"
            self.globals += ["!0 = distinct !{!0, !1}", '!1 = !{!"llvm.loop.unroll.disable"}']
        return self.once["rolled"]

    def pair(self, low: str, high: str, word: str) -> None:
        """Notes that the i32 ``word`` holds two elements: so they are neither packed nor unpacked again."""
        self.words[low, high] = word
        self.halves[low], self.halves[high] = (word, 0), (word, 1)

    def barrier(self) -> None:
        """Waits for all threads of the program; what they wrote to memory before is visible after."""
        self.barriers_made += 1
        self.unordered = False
        self.call(BARRIER, "void", ("i32", "0"))

    def _special(self, register: str) -> str:
        name = f"llvm.nvvm.read.ptx.sreg.{register}"
        self.w.declare(name, "i32()")
        return self.early(f"call i32 @{name}()")

    def special(self, register: str) -> str:
        """A special register, read once."""
        key = ("special", register)
        if key not in self._thread_parts:
            self._thread_parts[key] = self._special(register)
        return self._thread_parts[key]

    def tensor_map(self, map_: TensorMap) -> str:
        """The parameter (a pointer) in which the launcher passes a tensor map."""
        return self.maps.setdefault(map_, f"%map{len(self.maps)}")

    # --- shared memory ---

    def scratch(self, size: int) -> None:
        """Makes ``exchange`` the address of ``size`` bytes of shared memory for one exchange between threads.

        All exchanges use the same memory, above the buffers: each begins with a barrier, so that no thread still reads the last one.
        """
        self._filled(size)
        self.exchange = self.at_byte(self.buffer_top)
        self.reclaim()

    def reclaim(self) -> None:
        """Waits until nobody, threads or copies, reads what was in shared memory before."""
        if self.bulk_stores and not self.staging:
            self.assembly("cp.async.bulk.wait_group.read 0;", "", "void", [])
        self.barrier()

    def barriers(self, count: int) -> str:
        """Address (i32) of ``count`` mbarriers that are the caller's for as long as the kernel runs."""
        self.barrier_count += count
        return self.emit(f"add i32 {BARRIERS}, {8 * (self.barrier_count - count)}")

    def at_byte(self, offset: int) -> str:
        """A pointer to a byte of shared memory."""
        if not offset:
            return "@shared"
        key = ("shared", offset)
        if key not in self._thread_parts:
            self._thread_parts[key] = self.early(f"getelementptr i8, {SHARED} @shared, i32 {offset}")
        return self._thread_parts[key]

    def buffer(self, key: object, size: int) -> int:
        """The first of ``size`` bytes of shared memory that belong to ``key`` alone until `release`, a multiple of 1024."""
        if key not in self._buffers:
            size = -(-size // 1024) * 1024
            begin = min((gap for gap in self._gaps() if len(gap) >= size), key=len, default=range(self.buffer_top, 0)).start
            self.buffer_top = max(self.buffer_top, begin + size)
            self._buffers[key] = range(begin, begin + size)
            self._filled(0)
        return self._buffers[key].start

    def _gaps(self) -> list[range]:
        """The bytes below `buffer_top` that are nobody's."""
        taken = sorted(self._buffers.values(), key=lambda b: b.start)
        begins, ends = [0, *(b.stop for b in taken)], [*(b.start for b in taken), self.buffer_top]
        return [range(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]

    def buffer_owners(self) -> list[object]:
        """To whom buffers belong."""
        return list(self._buffers)

    def free(self, key: object) -> None:
        """Gives back the buffer of ``key``, which nobody reads any more; who uses its memory next begins with a barrier."""
        del self._buffers[key]

    def _filled(self, exchange: int) -> None:
        """Notes how much shared memory is in use now, ``exchange`` bytes of it above the buffers."""
        if self.buffer_top + exchange > self.shared_bytes:
            self.shared_bytes = self.buffer_top + exchange
            self.fullest = Fullest(dict(self._buffers), self.buffer_top, exchange)

    def release(self, top: int) -> None:
        """Gives back the buffers made since ``buffer_top`` was ``top``, but for those that have room below it.

        Who uses their memory next begins with a barrier.
        """
        self.buffer_top = top
        self._buffers = {key: taken for key, taken in self._buffers.items() if taken.stop <= top}

    def warpgroup(self) -> str:
        """The number of this thread's group of four warps, in a uniform register."""
        if "warpgroup" not in self._thread_parts:
            number = self.early(f"lshr i32 {self.tid}, {LANES + 2}")
            self.w.declare("llvm.nvvm.shfl.sync.idx.i32", "i32(i32, i32, i32, i32)")
            self._thread_parts["warpgroup"] = self.early(f"call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, i32 {number}, i32 0, i32 31)")
        return self._thread_parts["warpgroup"]

    # --- indices ---

    def thread_part(self, bases: tuple[int, ...]) -> tuple[str, int]:
        """(i32 text, mask of bits it may set): the xor of ``bases[k]`` over the set bits k of the thread index."""
        key = ("part", bases)
        mask = 0
        for b in bases:
            mask |= b
        if key not in self._thread_parts:
            self._thread_parts[key] = self._make_thread_part(bases)
        return self._thread_parts[key], mask

    def _make_thread_part(self, bases: tuple[int, ...]) -> str:
        total, used = "0", 0
        k = 0
        while k < len(bases):
            b = bases[k]
            if b == 0:
                k += 1
                continue
            n = 1
            if b & (b - 1) == 0:  # a run of consecutive bits moves as one
                while k + n < len(bases) and bases[k + n] == b << n:
                    n += 1
                piece = self.early(f"lshr i32 {self.tid}, {k}") if k else self.tid
                if k + n < LANES + self.warp_bits or k + n < LANES:
                    piece = self.early(f"and i32 {piece}, {(1 << n) - 1}")
                shift = log2(b)
                piece = self.early(f"shl nuw nsw i32 {piece}, {shift}") if shift else piece
                bits = ((1 << n) - 1) << shift
            else:
                bit = self.early(f"and i32 {self.early(f'lshr i32 {self.tid}, {k}')}, 1")
                piece = self.early(f"mul nuw nsw i32 {bit}, {b}")
                bits = b
            if total == "0":
                total = piece
            else:
                total = self.early(f"{'xor' if used & bits else 'or disjoint'} i32 {total}, {piece}")
            used |= bits
            k += n
        return total

    def index(self, place: Placement, low: int, bits: int) -> list[str]:
        """Bits ``low … low + bits − 1`` of each register's flat index, as i32."""
        mask = (1 << bits) - 1
        base, may = self.thread_part(tuple((b >> low) & mask for b in place.thread))
        made: dict[int, str] = {}
        out = []
        for c in place.constants:
            c = (c >> low) & mask
            if c not in made:
                made[c] = base if c == 0 else str(c) if base == "0" else self.emit(f"{'xor' if may & c else 'or disjoint'} i32 {base}, {c}")
                if not may & c:
                    self.counted[made[c]] = base, c, c
            out.append(made[c])
        return out

    def thread_bit(self, k: int) -> str:
        """Bit ``k`` of the thread index as i1."""
        key = ("bit", k)
        if key not in self._thread_parts:
            masked = self.early(f"and i32 {self.tid}, {1 << k}")
            self._thread_parts[key] = self.early(f"icmp ne i32 {masked}, 0")
        return self._thread_parts[key]

    def parity(self, mask: int) -> str:
        """i1: an odd number of the bits ``mask`` of the thread index are set."""
        if mask & (mask - 1) == 0:
            return self.thread_bit(log2(mask))
        key = ("parity", mask)
        if key not in self._thread_parts:
            self.w.declare("llvm.ctpop.i32", "i32(i32)")
            ones = self.early(f"call i32 @llvm.ctpop.i32(i32 {self.early(f'and i32 {self.tid}, {mask}')})")
            self._thread_parts[key] = self.early(f"trunc i32 {ones} to i1")
        return self._thread_parts[key]

    def owner(self, mask: int) -> str | None:
        """i1: this thread's index has no bit of ``mask``; None where ``mask`` is 0: always."""
        if not mask:
            return None
        key = ("owner", mask)
        if key not in self._thread_parts:
            self._thread_parts[key] = self.early(f"icmp eq i32 {self.early(f'and i32 {self.tid}, {mask}')}, 0")
        return self._thread_parts[key]

    def all_threads(self) -> int:
        """Mask of every bit of the thread index."""
        return (1 << (LANES + self.warp_bits)) - 1

    def conjunction(self, *conditions: str | None) -> str | None:
        """The i1 that all of ``conditions`` hold; None stands for true."""
        out: str | None = None
        for c in conditions:
            if c is None or c == "true":
                continue
            out = c if out is None else self.emit(f"and i1 {out}, {c}")
        return out
