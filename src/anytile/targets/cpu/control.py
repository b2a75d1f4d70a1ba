"""Control flow: branches and loops as LLVM blocks.

Scalars that are carried, or that branches yield, are phis.  Tiles of that kind live in their *homes*, buffers that each branch or
iteration leaves its own in; where nothing reads the old one any longer it is computed there (`plan.Planner.home`), else it is put there
at the end.  What a region allocates is released behind it.

A long tile that begins with a constant, and that the first iteration writes before it reads it, is not filled in front of the loop: until
the first iteration is over, reads of its home have the constant for what it holds (`Buffer.written`).  Only a loop that never runs fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...ir import Op, Value
from ...ir.types import BOOL, I32, I64
from .lanes import Lane, uniform
from .memory import Buffer
from .text import Chunk, llvm_type, opaque

if TYPE_CHECKING:
    from .program import Program

__all__ = ["LATE", "emit_for", "emit_if", "emit_while"]

LATE = 8192  # bytes of the shortest tile that is left to the first iteration

Homes = Sequence[Buffer | None]  # of several values: None for scalars
Carried = list[tuple[str, Value] | None]  # (phi, what it is), None for tiles


def emit_if(p: Program, op: Op) -> None:
    w = p.w
    homes = [p.place(r) if r.type.rank else None for r in op.results]
    yes, no, after = w.new_label("then"), w.new_label("else"), w.new_label("endif")
    w.cond_br(p.scalar(op.operands[0]).val, yes, no)
    ends: list[tuple[str, list[str]]] = []
    for label, block in zip((yes, no), op.blocks):
        mark = p.offset
        w.open_block(label)
        p.block(block)
        _fill(p, block.terminator.operands, homes)
        ends.append((w.label, [p.scalar(v).val for v in block.terminator.operands if not v.type.rank]))
        w.br(after)
        p.offset = mark
    w.open_block(after)
    k = 0
    for r, home in zip(op.results, homes):
        if home is not None:
            p.buffers[r] = home
            continue
        pairs = ", ".join(f"[ {vals[k]}, %{label} ]" for label, vals in ends)
        p.scalars[r] = uniform(w.ins(f"phi {llvm_type(r.type.elem)} {pairs}"), r.type.elem)
        k += 1


def emit_for(p: Program, op: Op) -> None:
    w = p.w
    lb, ub, step = (p.scalar(v) for v in op.operands[:3])
    inits, body = op.rest(), op.blocks[0]
    homes = _homes(p, inits)
    late = _written_late(p, op, homes)
    early = [h if v not in late else None for v, h in zip(body.args[1:], homes)]
    _fill(p, inits, early)
    t = llvm_type(lb.elem)
    before_vals = [None if h else p.scalar(v).val for v, h in zip(inits, homes)]
    head, inside, after = w.new_label("for"), w.new_label("do"), w.new_label("done")
    enters = _enters(p, lb, ub, step, t, op.attrs["unsigned"])
    if late:
        never, ready = w.new_label("never"), w.new_label("ready")
        w.cond_br(enters, ready, never)
        w.open_block(never)
        _fill(p, inits, [h if v in late else None for v, h in zip(body.args[1:], homes)])
        w.br(ready)
        w.open_block(ready)
    before = w.label
    w.br(head)
    w.open_block(head)
    iv, go, phis = w.fresh("iv"), w.fresh("go"), w.hole()
    p.scalars[body.args[0]] = uniform(iv, lb.elem, 0, min(lb.align, step.align))
    carried = _carried(p, body.args[1:], homes)
    w.cond_br(go, inside, after)
    w.open_block(inside)
    mark = p.offset
    p.loops.append(op)
    if late:
        begun = uniform(w.ins(f"icmp ne {t} {iv}, {lb.val}"), BOOL)
        for a, init in late.items():
            home = p.buffers[a]
            home.written, home.initial = begun, p.memory.const(init.op.attrs["value"], init.type.elem)  # type: ignore[union-attr]
    p.block(body)
    _fill(p, body.terminator.operands, homes)
    p.loops.pop()
    nexts = [None if h else p.scalar(v).val for v, h in zip(body.terminator.operands, homes)]
    p.offset = mark
    n = w.ins(f"add {t} {iv}, {step.val}")
    n = w.ins(opaque(t, n)) if lb.elem in (I32, I64) else n
    more = _goes_on(p, iv, ub, step, t)
    latch = w.label
    w.br(head)
    phis.append(f"  {iv} = phi {t} [ {lb.val}, %{before} ], [ {n}, %{latch} ]")
    phis.append(f"  {go} = phi i1 [ {enters}, %{before} ], [ {more}, %{latch} ]")
    _phis(phis, carried, before_vals, before, nexts, latch)
    w.open_block(after)
    _passed(p, op.results, body.args[1:], homes)


def emit_while(p: Program, op: Op) -> None:
    w = p.w
    inits = op.rest()
    first, second = op.blocks
    homes = _homes(p, inits)
    _fill(p, inits, homes)
    before_vals = [None if h else p.scalar(v).val for v, h in zip(inits, homes)]
    head, inside, after = w.new_label("while"), w.new_label("do"), w.new_label("done")
    before = w.label
    w.br(head)
    w.open_block(head)
    phis = w.hole()
    carried = _carried(p, first.args, homes)
    mark = p.offset
    p.block(first)
    cond = first.terminator
    passed = cond.operands[1:]
    _fill(p, passed, homes)
    _passed(p, second.args, passed, homes)
    w.cond_br(p.scalar(cond.operands[0]).val, inside, after)
    w.open_block(inside)
    p.block(second)
    _fill(p, second.terminator.operands, homes)
    nexts = [None if h else p.scalar(v).val for v, h in zip(second.terminator.operands, homes)]
    p.offset = mark
    latch = w.label
    w.br(head)
    _phis(phis, carried, before_vals, before, nexts, latch)
    w.open_block(after)
    _passed(p, op.results, passed, homes)


def _written_late(p: Program, op: Op, homes: Homes) -> dict[Value, Value]:
    """The carried tiles whose homes the first iteration writes first, with what they begin with: constants, of `LATE` bytes and more.

    Two rows of 16 KB, begun with zeros by each program of a norm's backward that has two rows, took a twentieth of its time.
    Of numbers below 32 bits only where their loads, too, have masks: AVX2 would ask lane by lane.
    """
    body = op.blocks[0]
    if not p.machine.masked_memory:
        return {}
    carried = zip(body.args[1:], op.rest(), body.terminator.operands, homes)
    return {
        a: init
        for a, init, v, home in carried
        if home is not None
        and init.is_op("constant")
        and a.type.numel * a.type.elem.bytes >= LATE
        and (a.type.elem.bits >= 32 or p.memory.avx512)
        and p.planner.replaced_where_read(a, v, body)
    }


def _enters(p: Program, lb: Lane, ub: Lane, step: Lane, t: str, unsigned: bool) -> str:
    """Whether the loop runs at all (i1)."""
    less, more = ("ult", "ugt") if unsigned else ("slt", "sgt")
    if step.const is not None:
        return p.w.ins(f"icmp {less if step.const > 0 else more} {t} {lb.val}, {ub.val}")
    up = p.w.ins(f"icmp {less} {t} {lb.val}, {ub.val}")
    down = p.w.ins(f"icmp {more} {t} {lb.val}, {ub.val}")
    return p.w.ins(f"select i1 {p.w.ins(f'icmp sgt {t} {step.val}, 0')}, i1 {up}, i1 {down}")


def _goes_on(p: Program, iv: str, ub: Lane, step: Lane, t: str) -> str:
    """Whether one more step stays short of the bound.  ``iv + step < ub`` could wrap; the distance left cannot."""
    w = p.w
    if step.const is None:
        up = w.ins(f"icmp ugt {t} {w.ins(f'sub {t} {ub.val}, {iv}')}, {step.val}")
        down = w.ins(f"icmp ugt {t} {w.ins(f'sub {t} {iv}, {ub.val}')}, {w.ins(f'sub {t} 0, {step.val}')}")
        return w.ins(f"select i1 {w.ins(f'icmp sgt {t} {step.val}, 0')}, i1 {up}, i1 {down}")
    left = w.ins(f"sub {t} {ub.val}, {iv}" if step.const > 0 else f"sub {t} {iv}, {ub.val}")
    return w.ins(f"icmp ugt {t} {left}, {abs(int(step.const))}")


# --- what is carried ---


def _homes(p: Program, values: list[Value]) -> Homes:
    return [p.allocate(v.type) if v.type.rank else None for v in values]


def _carried(p: Program, args: list[Value], homes: Homes) -> Carried:
    """Names for the carried scalars, which are phis to be written when the loop ends; carried tiles are in their homes."""
    out: Carried = []
    for a, h in zip(args, homes):
        if h is not None:
            p.buffers[a] = h
            out.append(None)
        else:
            name = p.w.fresh("c")
            p.scalars[a] = uniform(name, a.type.elem)
            out.append((name, a))
    return out


def _phis(chunk: Chunk, carried: Carried, inits: list[str | None], before: str, nexts: list[str | None], latch: str) -> None:
    """Of the carried scalars: ``inits`` where control comes from block ``before``, ``nexts`` from ``latch``."""
    for c, i, n in zip(carried, inits, nexts):
        if c is not None:
            chunk.append(f"  {c[0]} = phi {llvm_type(c[1].type.elem)} [ {i}, %{before} ], [ {n}, %{latch} ]")


def _passed(p: Program, targets: list[Value], values: list[Value], homes: Homes) -> None:
    """``targets`` are what ``values`` are here, tiles what is in their homes."""
    for t, v, h in zip(targets, values, homes):
        if h is not None:
            p.buffers[t] = h
        else:
            p.scalars[t] = p.scalar(v)


def _fill(p: Program, values: list[Value], homes: Homes) -> None:
    """Puts yielded tiles into their homes: those that read another home go through copies."""
    todo = [(v, h) for v, h in zip(values, homes) if h is not None and p.buffers.get(v) is not h]
    if len(todo) > 1 or any(_reads_home(p, v, homes) for v, _ in todo):
        clash = [v for v, _ in todo if _reads_home(p, v, homes)]
        if clash and (len(todo) > 1 or not _pointwise(p, clash[0], homes)):
            copies = [(p.allocate(v.type), h) if v in clash else (None, h) for v, h in todo]
            for (v, _), (c, _) in zip(todo, copies):
                if c is not None:
                    p.write(v, c)
            for (v, h), (c, _) in zip(todo, copies):
                if c is None:
                    p.write(v, h)
                else:
                    _copy(p, c, h)
            return
    for v, h in todo:
        p.write(v, h)


def _reads_home(p: Program, v: Value, homes: Homes) -> bool:
    live = [h for h in homes if h is not None]
    return any(b in live for b in p.sources(v))


def _pointwise(p: Program, v: Value, homes: Homes) -> bool:
    """Whether ``v`` reads homes only at the index it is evaluated at."""
    stack, seen = [v], set()
    while stack:
        x = stack.pop()
        if x in seen or x.type.is_scalar or x in p.buffers or x.op is None:
            continue
        seen.add(x)
        if not x.op.defn.elementwise and _reads_home(p, x, homes):
            return False
        stack += [y for y in x.op.operands if y is not None]
    return True


def _copy(p: Program, src: Buffer, dst: Buffer) -> None:
    n = src.elem.bytes
    for d in src.shape:
        n *= d
    fn = p.w.declare("llvm.memcpy.p0.p0.i64", "void(ptr, ptr, i64, i1)")
    p.w.put(f"call void {fn}(ptr align 64 {dst.ptr}, ptr align 64 {src.ptr}, i64 {n}, i1 false)")
