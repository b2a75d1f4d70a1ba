"""Stores that go past the caches.

A line is read before it is written, unless it is written whole by stores that say so: then it goes to memory by itself.  A pass that
writes far more than the caches keep saves a third of what it moves (``a + b``: two reads, one write and the read before it).

In turns with torch, the sum of two tensors of 64 MB had 1.04 to 1.17 times its speed on two cores of a Xeon with AMX, and has 1.39 to 1.59
so; on two Cascade Lake cores it makes no difference.  Smaller results may still be in a cache when they are read, so this is for launches
that store `AT_LEAST` bytes (`AT_LEAST_BESIDE_SLOW` where the shared cache is not much faster than memory), and only the launch knows that:
the main loop exists twice, and each program chooses.  With AMX a pass that stores 16 MB takes 1/1.34 of the time so, and with torch
reading the result twice 1/1.08 of both; of 8 MB that is 1/1.14 and 1.00.  Two Cascade Lake cores lose with 16 MB.  It is for short passes
over long rows, whose time is memory's, and which do not read what they store; they may add to sums in scratch meanwhile.  Each store counts
for itself: 8 MB of partial sums of each of two kinds, which the next kernel adds up, take it 0.49 ms from the caches and 0.94 from memory.
In a loop (a row in blocks) the iterations count, too, and nothing in the kernel may read what is stored, since the next iteration or the
next loop would wait for memory.

Such stores are not ordered with others.  A kernel's entry waits for them at the end of its range of programs (`Program.waits`), and
kernels that order memory (`launch_memory.synchronises`) have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir import Effect, Func, Op, Value
from ...ir.types import BOOL, I64
from .alias import origins
from .lanes import RAMP, Lane
from .prefetch import STREAM_AHEAD
from .reach import known_step
from .roots import StoreRoot, WriteRoot
from .shape import is_linear, steps
from .text import llvm_type

if TYPE_CHECKING:
    from .memory import Memory
    from .nest import Nest
    from .program import Program

__all__ = ["AT_LEAST", "AT_LEAST_BESIDE_SLOW", "Choice", "choice", "store"]

AT_LEAST = 32 << 20
AT_LEAST_BESIDE_SLOW = 16 << 20
_LINE = 64
_NODE = "!{i32 1}"
_NAME = "!1"


@dataclass(frozen=True)
class Choice:
    """``when`` (i1) to store past the caches, and how many ``vectors`` a step then has: a line, since memory is slower than any loop."""

    when: str
    vectors: int


def choice(nest: Nest) -> Choice | None:
    """Emits the question whether this nest's stores go past the caches; None where they never do."""
    p, w = nest.p, nest.w
    if p.machine.architecture != "x86_64" or len(nest.shape) != 1 or nest.unroll < 4 or p.synchronises:
        return None
    stores = [r.op for r in nest.roots if isinstance(r, StoreRoot)]
    read = {pointer for pointer, write in nest.pointers().items() if not write}
    if not stores or not all(isinstance(r, (StoreRoot, WriteRoot)) for r in nest.roots):
        return None
    if not all(_suits(nest, op) and op.operands[0] not in read for op in stores):
        return None
    narrowest = min(op.operands[0].type.elem.pointee.bytes for op in stores)  # type: ignore[attr-defined]
    nbytes = nest.shape[0] * narrowest
    if nbytes < 2 * STREAM_AHEAD:
        return None
    loops = [(op, step) for op in p.loops if (step := known_step(op)) is not None]
    if len(loops) < len(p.loops) or loops and _read_again(p.func, stores):
        return None
    bases = [w.ins(f"ptrtoint ptr {nest.element(op.operands[0], 0).val} to i64") for op in stores]
    together = bases[0]
    for x in bases[1:]:
        together = w.ins(f"or i64 {together}, {x}")
    whole_lines = w.ins(f"icmp eq i64 {w.ins(f'and i64 {together}, {_LINE - 1}')}, 0")
    times = p.programs()
    for loop, step in loops:
        times = w.ins(f"mul i64 {times}, {_iterations(p, loop, step)}")
    least = min(AT_LEAST, AT_LEAST_BESIDE_SLOW) if p.machine.large_second_level else AT_LEAST
    many = w.ins(f"icmp uge i64 {times}, {-(-least // nbytes)}")
    p.waits = True
    w.declare("llvm.x86.sse.sfence", "void()")
    return Choice(w.ins(f"and i1 {whole_lines}, {many}"), max(1, _LINE // (nest.m.width * narrowest)))


def _iterations(p: Program, loop: Op, step: int) -> str:
    """How many ``loop``, which counts by ``step``, has (an i64; nonsense where it has none)."""
    w = p.w
    lb, ub = (p.memory.resize(p.scalar(v), I64).val for v in loop.operands[:2])  # type: ignore[arg-type]
    span = w.ins(f"sub i64 {ub}, {lb}")
    return w.ins(f"sdiv i64 {w.ins(f'add i64 {span}, {step - 1}')}, {step}")


def _read_again(kernel: Func, stores: list[Op]) -> bool:
    """Whether ``kernel`` reads memory that one of ``stores`` may go to."""
    written = frozenset().union(*(origins(op.operands[0]) for op in stores))  # type: ignore[arg-type]
    reads = (op.operands[0] for op in kernel.walk() if op.defn.effects & Effect.READ and op.operands)
    return any(written & origins(pointer) for pointer in reads if pointer is not None)


def _suits(nest: Nest, op: Op) -> bool:
    """Whether the main loop stores whole lines by ``op``, one after the other."""
    pointer: Value = op.operands[0]
    e = pointer.type.elem.pointee  # type: ignore[attr-defined]
    if e is BOOL or nest.m.width * nest.unroll * e.bytes % _LINE:
        return False
    return steps(pointer, nest.p.step_memo) == (1,) and is_linear(pointer)


def store(m: Memory, p: Lane, x: Lane, mask: Lane | None) -> bool:
    """Stores past the caches if this is a plain vector; False (and nothing is stored) if it is not."""
    if p.kind is not RAMP or p.stride != 1 or mask is not None and not mask.const:
        return False
    e, n = p.elem.pointee, m.width  # type: ignore[attr-defined]
    m.w.declared[_NAME] = f"{_NAME} = {_NODE}"
    align = min(_LINE, n * e.bytes)
    m.w.put(f"store <{n} x {llvm_type(e)}> {m.vec(x)}, ptr {p.val}, align {align}, !nontemporal {_NAME}")
    return True
