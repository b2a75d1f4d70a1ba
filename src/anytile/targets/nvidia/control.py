"""Walking a kernel: blocks in order, loops and conditions as basic blocks with one phi a register.

Conditions and bounds are scalars, the same in every thread, so the threads of a program never part ways and
barriers may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...ir import Block, Op, Value
from ...ir.rewrite import const_value
from ..text import phis
from . import debugging, dot, exchange, memory, over_tiles, pipeline, reduce, scan  # noqa: F401  they register their rows
from .dot import reserve_invariant, stage_invariant, wanted_operands
from .elementwise import apply, compute, run_block
from .exchange import stage_tables
from .halves import in_pairs
from .over_tiles import OverTiles
from .pipeline import Pipeline
from .placement import Placement
from .values import EAGER, Generator, Scope, eager, literal, llvm_type, unsupported
from .views import elementwise

__all__ = ["emit_block"]


def emit_block(g: Generator, block: Block, order: Sequence[Op | Callable[[], None]] | None = None) -> None:
    """The operations of ``block``, or what ``order`` says: operations, and what else is to be written between them."""
    inner = block is not g.func.body and bool(g.assignment.small)
    g.unordered |= inner  # the copies of the iteration before
    for op in order or block.ops:
        if not isinstance(op, Op):
            op()
        elif not op.defn.terminator and op not in g.unread:
            _emit(g, op)
            g.emitted.add(op)
    g.unordered |= inner  # a barrier of this block need not have been passed


def _emit(g: Generator, op: Op) -> None:
    handler = EAGER.get(op.name)
    if handler is not None:
        handler(g, op)
        return
    for r in op.results:
        if not r.type.is_scalar:
            if g.is_lazy(r) or in_pairs(g, op):
                continue
            if not op.defn.elementwise:
                raise unsupported(f"operation {op.name}", op)
            for place in g.assignment.places(r):
                g.define(r, elementwise(g, op, place), place)
        elif op.name == "constant":
            g.define(r, [literal(op.attrs["value"], r.type.elem)])
        elif op.defn.elementwise or op.name == "hint":
            g.define(r, [compute(g, op, [g.scalar(v) for v in op.operands])])
        elif op.name in ("reshape", "splat", "broadcast", "split", "permute"):
            g.define(r, [_single(g, op, r)])
        else:
            raise unsupported(f"operation {op.name}", op)


def _single(g: Generator, op: Op, r: Value) -> str:
    """A scalar view of a tile (or of a scalar)."""
    x = op.operands[0]
    if x.type.is_scalar:
        return g.scalar(x)
    bits = x.type.numel.bit_length() - 1
    all_here = Placement(x.type.shape, tuple(1 << k for k in range(bits)), (0,) * 5, (0,) * g.warp_bits)
    return g.get(x, all_here)[r.index]


@eager("program_id", "num_programs")
def program_id(g: Generator, op: Op) -> None:
    register = "ctaid" if op.name == "program_id" else "nctaid"
    g.define(op.result, [g.special(f"{register}.{'xyz'[op.attrs['axis']]}")])


@eager("map")
def map_(g: Generator, op: Op) -> None:
    place = g.home(op.results[0])
    columns = [g.get(v, place) for v in op.operands]
    rows = [run_block(g, op.blocks[0], list(xs)) for xs in zip(*columns, strict=True)]
    for i, r in enumerate(op.results):
        g.define(r, [row[i] for row in rows], place)


@eager("hint")
def hint(g: Generator, op: Op) -> None:
    r = op.result
    if r.type.is_scalar:
        g.define(r, [g.scalar(op.operands[0])])
    elif not g.is_lazy(r):
        g.define(r, apply(g, op, [g.get(op.operands[0], g.homes[r])]), g.homes[r])


@eager("assume")
def assume(g: Generator, op: Op) -> None:
    g.call("llvm.assume", "void", ("i1", g.scalar(op.operands[0])))


@eager("clock")
def clock(g: Generator, op: Op) -> None:
    g.define(op.result, [g.call("llvm.nvvm.read.ptx.sreg.globaltimer", "i64")])


# --- loops and conditions ------------------------------------------------------------------------------------------


class _Carried:
    """Phis of a loop header for a list of carried values."""

    def __init__(self, g: Generator, values: list[Value], inits: list[Value]):
        self.g, self.values = g, values
        self.homes = [g.home(v) for v in values]
        self.start = [g.get(i, h) for i, h in zip(inits, self.homes, strict=True)]
        self.names: list[list[str]] = []

    def begin(self) -> None:
        """In front of the loop, once it is known which tiles are carried in values."""
        self.start = [_at_once(self.g, v, regs) for v, regs in zip(self.values, self.start, strict=True)]

    def open(self) -> None:
        """Names for the phis, and a hole where their text goes once the other end is known."""
        self.names = [[self.g.w.fresh("c") for _ in regs] for regs in self.start]
        self.hole = self.g.w.hole()
        for v, h, names in zip(self.values, self.homes, self.names, strict=True):
            self.g.define(v, names, h)

    def close(self, entry: str, latch: str, ends: list[list[str]]) -> None:
        for v, names, starts, lasts in zip(self.values, self.names, self.start, ends, strict=True):
            phis(self.hole, [llvm_type(v.type.elem)] * len(names), names, (entry, starts), (latch, lasts))

    def define(self, results: list[Value], left: tuple[str, str, list[list[str]]] | None = None) -> None:
        """Behind the loop.  ``left``: for one that is left from its middle, the blocks that lead around it and out of it, and what it ends with."""
        for k, (r, h, names) in enumerate(zip(results, self.homes, self.names, strict=True)):
            if left is not None:
                around, last, ends = left
                t = llvm_type(r.type.elem)
                names = [self.g.emit(f"phi {t} [ {a}, %{around} ], [ {b}, %{last} ]") for a, b in zip(self.start[k], ends[k], strict=True)]
            self.g.define(r, names, h)


def _at_once(g: Generator, v: Value, registers: list[str]) -> list[str]:
    """Zeros that wgmma adds to in a loop, made by one text: LLVM would make them twice, for the loop and for the way around it."""
    if len(registers) < 2 or set(registers) != {literal(0.0, v.type.elem)} or v.type.elem.bits != 32:
        return registers
    if not any(user in g.assignment.by_warpgroup for user, _ in v.uses):
        return registers
    t, n = llvm_type(v.type.elem), len(registers)
    made = g.assembly(
        " ".join(f"mov.b32 ${i}, 0;" for i in range(n)), ",".join(["=f" if t == "float" else "=r"] * n), g.several(t, n), [], pure=True
    )
    return [g.emit(f"extractvalue {g.several(t, n)} {made}, {i}") for i in range(n)]


def _prepare(g: Generator, blocks: list[Block]) -> None:
    """Conversions that a loop's body would make of values from outside are made in front of it."""
    inside = {r for b in blocks for op in b.walk() for r in op.results}
    for b in blocks:
        inside.update(b.args)
        inside.update(a for op in b.walk() for c in op.blocks for a in c.args)
        for op in b.walk():
            for v, place in wanted_operands(g, op):
                if v not in inside:
                    g.get(v, place)
            if op.name == "dot":
                stage_invariant(g, op, inside)
        stage_tables(g, b, inside)


def _takes_place_later(g: Generator, op: Op, lb: str, ub: str, step: str) -> Callable[[str], str]:
    """Whether an iteration takes place, asked ahead of the loop `op`: its number may be beyond the last one of its type, and has wrapped around.

    So it is the distance from the first iteration that is compared, as a number without a sign (that one wraps only where a loop runs
    through all numbers of its type).
    """
    t, known = llvm_type(op.operands[0].type.elem), const_value(op.operands[2])
    kind = "u" if op.attrs["unsigned"] else "s"

    def limit(name: str) -> str:
        return g.call(f"llvm.{kind}{name}.{t}", t, (t, ub), (t, lb))

    if known is not None and known > 0 and kind == "s" and g.info.ranges[op.operands[0]].lo >= 0:  # counted from 0 instead
        end = g.call(f"llvm.smax.{t}", t, (t, ub), (t, "0"))
        return lambda i: g.emit(f"icmp ult {t} {i}, {end}")
    longest = "" if known is not None and known < 0 else g.emit(f"sub {t} {limit('max')}, {lb}")
    lowest = "" if known is not None and known > 0 else g.emit(f"sub {t} {lb}, {limit('min')}")

    def up(i: str) -> str:
        return g.emit(f"icmp ult {t} {g.emit(f'sub {t} {i}, {lb}')}, {longest}")

    def down(i: str) -> str:
        return g.emit(f"icmp ult {t} {g.emit(f'sub {t} {lb}, {i}')}, {lowest}")

    if known is not None:
        return up if known > 0 else down
    rises = g.emit(f"icmp sgt {t} {step}, 0")
    return lambda i: g.emit(f"select i1 {rises}, i1 {up(i)}, i1 {down(i)}")


def _reserved(g: Generator, body: Block) -> bool:
    """Whether ``body`` may be a chain of two dots by wgmma.  What `_prepare` puts into shared memory for them then has its place, below the loop's own."""
    dots = [op for op in body.walk() if op.name == "dot"]
    if len(dots) != 2 or any(op not in g.assignment.by_warpgroup for op in dots) or any(op.name == "gather" for op in body.walk()):
        return False
    for op in dots:
        reserve_invariant(g, op, body)
    return True


def _takes_place(g: Generator, op: Op, ub: str, step: str, i: str) -> str:
    """Whether iteration ``i`` of the loop ``op`` takes place, asked by the loop itself."""
    t, known = llvm_type(op.operands[0].type.elem), const_value(op.operands[2])
    less, more = ("ult", "ugt") if op.attrs["unsigned"] else ("slt", "sgt")
    if known is not None:
        return g.emit(f"icmp {less if known > 0 else more} {t} {i}, {ub}")
    up, down = g.emit(f"icmp {less} {t} {i}, {ub}"), g.emit(f"icmp {more} {t} {i}, {ub}")
    return g.emit(f"select i1 {g.emit(f'icmp sgt {t} {step}, 0')}, i1 {up}, i1 {down}")


def _begun(g: Generator, op: Op, bounds: tuple[str, str, str], carried: _Carried, late: bool) -> tuple[OverTiles | None, Pipeline | None]:
    """In front of the loop ``op``: the first copies of the ring of a loop inside that goes on through it, if any, and of its own.

    ``late``: what its dots read of outside is put into shared memory here, for it has its place already (`_reserved`).
    """
    body = op.blocks[0]
    lb, ub, step = bounds
    tiles = over_tiles.plan(g, op)
    ahead = g.over_tiles.pop(op, None) or (pipeline.plan(g, op) if tiles is None else None)
    overlap = ahead.overlap if ahead is not None else None
    if late and overlap is None:
        _prepare(g, [body])
    if ahead is not None and ahead.held is not None:
        k = body.args.index(ahead.held) - 1
        carried.start[k] = ahead.hold(carried.start[k])
    carried.begin()
    later = partial(_takes_place_later, g, op, lb, ub, step)
    if tiles is not None:
        g.over_tiles[tiles.loop] = tiles
        tiles.start_tiles(lb, step, later(), _emit)
    if ahead is not None:
        ahead.start(lb, step, later, _emit)
    if overlap is not None:
        if late:
            _prepare(g, [body])
        overlap.ready()
    return tiles, ahead


@eager("for")
def for_(g: Generator, op: Op) -> None:
    lb, ub, step = (g.scalar(v) for v in op.operands[:3])
    body = op.blocks[0]
    t = llvm_type(body.args[0].type.elem)
    takes_place = partial(_takes_place, g, op, ub, step)
    # An attention's first copies are asked for before its queries, which must have come, are put into shared memory.
    late = _reserved(g, body)
    if not late:
        _prepare(g, [body])
    carried = _Carried(g, body.args[1:], op.rest())
    top = g.buffer_top
    tiles, ahead = _begun(g, op, (lb, ub, step), carried, late)
    overlap = ahead.overlap if ahead is not None else None
    entry, header, inside, done = g.w.label, *(g.w.new_label(s) for s in ("for", "body", "done"))
    before = g.w.hole()
    around = entry
    if overlap is not None:  # the loop is left from its middle, and not entered for no iteration
        entry = g.w.new_label("first")
        g.w.cond_br(takes_place(lb), entry, done)
        g.w.open_block(entry)
        overlap.enter()
        entry = g.w.label
    g.w.br(header)
    g.w.open_block(header)
    i, after = g.w.fresh("i"), g.w.fresh("i")
    phi = g.w.hole()
    g.scopes.append(Scope(body, before))
    carried.open()
    if tiles is not None:
        tiles.open_tiles()
    if ahead is not None:
        ahead.open()
    g.define(body.args[0], [i])
    once = ahead is not None and ahead.once  # the condition then stands at the end
    last, ends = g.w.new_label("last"), []

    def leave() -> None:
        nonlocal ends
        assert ahead is not None and overlap is not None
        ends = [
            [] if v is overlap.chain.second.result else g.get(v, h) for v, h in zip(body.terminator.operands, carried.homes, strict=True)
        ]
        g.w.put(f"{after} = add {t} {i}, {step}")
        go = g.w.new_label("next")
        g.w.cond_br(ahead.inside(after), go, last)
        g.w.open_block(go)

    if not once and overlap is None:
        g.w.cond_br(takes_place(i), inside, done)
        g.w.open_block(inside)
    if ahead is not None:
        ahead.body_begins()
    emit_block(g, body, ahead.order(leave) if ahead is not None else None)
    if overlap is None:
        ends = [g.get(v, h) for v, h in zip(body.terminator.operands, carried.homes, strict=True)]
        g.w.put(f"{after} = add {t} {i}, {step}")
    if ahead is not None:
        ahead.advance()
        ahead.close(entry, g.w.label)
    if tiles is not None:
        tiles.close_tiles(entry, g.w.label)
    phis(phi, [t], [i], (entry, [lb]), (g.w.label, [after]))
    carried.close(entry, g.w.label, ends)
    if ahead is not None and once:  # by the distance from the first iteration, which may have been one that there is not
        g.w.cond_br(ahead.inside(after), header, done)
    else:
        g.w.br(header)
    if ahead is not None and overlap is not None:
        g.w.open_block(last)
        overlap.finish()
        last = g.w.label
        g.w.br(done)
        ahead.leave()
    g.scopes.pop()
    g.w.open_block(done)
    carried.define(op.results, None if overlap is None else (around, last, ends))
    if ahead is not None:
        ahead.finish()
    if tiles is not None:
        tiles.finish_tiles()
    g.release(top)


@eager("while")
def while_(g: Generator, op: Op) -> None:
    before, after = op.blocks
    carried = _Carried(g, before.args, op.operands)
    carried.begin()
    entry, header, inside, done = g.w.label, *(g.w.new_label(s) for s in ("while", "body", "done"))
    g.w.br(header)
    g.w.open_block(header)
    g.scopes.append(Scope())
    carried.open()
    emit_block(g, before)
    condition, *passed = before.terminator.operands
    out = [g.get(v, g.home(r)) for v, r in zip(passed, op.results, strict=True)]
    through = [g.get(v, g.home(a)) for v, a in zip(passed, after.args, strict=True)]
    g.w.cond_br(g.scalar(condition), inside, done)
    g.w.open_block(inside)
    g.scopes.append(Scope())
    for a, regs in zip(after.args, through, strict=True):
        g.define(a, regs, g.home(a))
    emit_block(g, after)
    ends = [g.get(v, h) for v, h in zip(after.terminator.operands, carried.homes, strict=True)]
    latch = g.w.label
    g.w.br(header)
    g.scopes.pop()
    g.scopes.pop()
    carried.close(entry, latch, ends)
    g.w.open_block(done)
    for r, regs in zip(op.results, out, strict=True):
        g.define(r, regs, g.home(r))


@eager("if")
def if_(g: Generator, op: Op) -> None:
    labels = [g.w.new_label(s) for s in ("then", "else")]
    join = g.w.new_label("endif")
    g.w.cond_br(g.scalar(op.operands[0]), *labels)
    ends: list[list[list[str]]] = []
    came: list[str] = []
    for label, block in zip(labels, op.blocks, strict=True):
        g.w.open_block(label)
        g.scopes.append(Scope())
        emit_block(g, block)
        ends.append([g.get(v, g.home(r)) for v, r in zip(block.terminator.operands, op.results, strict=True)])
        g.scopes.pop()
        came.append(g.w.label)
        g.w.br(join)
    g.w.open_block(join)
    for r, yes, no in zip(op.results, *ends, strict=True):
        t = llvm_type(r.type.elem)
        g.define(r, [g.emit(f"phi {t} [ {a}, %{came[0]} ], [ {b}, %{came[1]} ]") for a, b in zip(yes, no, strict=True)], g.home(r))
