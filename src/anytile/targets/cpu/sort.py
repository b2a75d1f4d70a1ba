"""sort: a bitonic network in place, one row at a time.

For n elements, k = 2, 4 … n and within it j = k/2, k/4 … 1: position i is ordered against i ⊕ j, rising where
i & k is 0.  With vectors of W lanes the network has three kinds of step, each emitted once:

    k ≤ W                   inside each vector, unrolled: partner lanes by a shuffle with i ⊕ j
    k > W, j ≥ W            vector against vector, loops over k, j and blocks; the direction is one scalar
    k > W, j < W            inside each vector again, one unrolled tail per k with that vector's direction

n log²(n) / 2W vector steps in about two hundred instructions, whatever n is.  (Batcher 1968.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op
from ...ir.types import BF16, I8
from .memory import Buffer
from .text import Writer, llvm_type

if TYPE_CHECKING:
    from .program import Program

__all__ = ["emit_sort"]

_LESS = {"float": "fcmp olt", "signed": "icmp slt", "unsigned": "icmp ult"}


def emit_sort(p: Program, op: Op, into: Buffer) -> None:
    """Sorts the last dimension of ``op``'s operand into ``into``."""
    p.write(op.operands[0], into)
    n = into.shape[-1]
    rows = 1
    for d in into.shape[:-1]:
        rows *= d
    if n == 1:
        return
    row = _Row(p.w, into, n, min(p.machine.lanes, n), _LESS[op.attrs["kind"]], op.attrs["descending"])
    if rows == 1:
        row.sort(into.ptr)
    else:
        row.loop(
            0,
            rows,
            1,
            lambda r: row.sort(p.w.ins(f"getelementptr {row.t}, ptr {into.ptr}, i64 {p.w.ins(f'mul i64 {r}, {n}')}")),
        )


class _Row:
    def __init__(self, w: Writer, b: Buffer, n: int, width: int, less: str, descending: bool):
        self.w, self.n, self.width, self.less, self.descending = w, n, width, less, descending
        self.elem = b.elem
        self.t = llvm_type(I8 if b.elem.bits == 1 else b.elem)
        self.v = f"<{width} x {self.t}>"

    def loop(self, start: int | str, end: int | str, step: int | str, body) -> None:
        """``for i = start … < end``; at least one turn."""
        w = self.w
        head, after, before = w.new_label("sort"), w.new_label("sorted"), w.label
        w.br(head)
        w.open_block(head)
        i, phi = w.fresh("i"), w.hole()
        body(i)
        n = w.ins(f"add i64 {i}, {step}")
        phi.append(f"  {i} = phi i64 [ {start}, %{before} ], [ {n}, %{w.label} ]")
        w.cond_br(w.ins(f"icmp ult i64 {n}, {end}"), head, after)
        w.open_block(after)

    def sort(self, ptr: str) -> None:
        self.ptr = ptr
        self.loop(0, self.n, self.width, self._inside)
        if self.n > self.width:
            self._powers(2 * self.width, self.n, self._stage)

    def _powers(self, first: int, last: int, body) -> None:
        """``for k = first, 2·first … last``."""
        w = self.w
        head, after, before = w.new_label("grow"), w.new_label("grown"), w.label
        w.br(head)
        w.open_block(head)
        k, phi = w.fresh("k"), w.hole()
        body(k)
        n = w.ins(f"shl i64 {k}, 1")
        phi.append(f"  {k} = phi i64 [ {first}, %{before} ], [ {n}, %{w.label} ]")
        w.cond_br(w.ins(f"icmp ule i64 {n}, {last}"), head, after)
        w.open_block(after)

    def _address(self, i: str) -> str:
        return self.w.ins(f"getelementptr {self.t}, ptr {self.ptr}, i64 {i}")

    def _rising(self, i: str, k: str | int) -> str:
        """Whether the run of length ``k`` that holds position ``i`` rises (i1); the last run does so by ``descending``."""
        w = self.w
        bit = w.ins(f"and i64 {i}, {k}")
        return w.ins(f"icmp {'ne' if self.descending else 'eq'} i64 {bit}, 0")

    def _below(self, x: str, y: str) -> str:
        """The lanes in which ``x`` sorts before ``y``; a bf16 compares as the f32 whose upper half it is."""
        w, v = self.w, self.v
        if self.elem is BF16:
            wide, v = f"<{self.width} x i32>", f"<{self.width} x float>"
            up = [w.ins(f"shl {wide} {w.ins(f'zext {self.v} {z} to {wide}')}, splat (i32 16)") for z in (x, y)]
            x, y = (w.ins(f"bitcast {wide} {z} to {v}") for z in up)
        return w.ins(f"{self.less} {v} {x}, {y}")

    # --- one vector ---

    def _inside(self, i: str) -> None:
        """All steps with k ≤ W on the vector at ``i``."""
        w, W = self.w, self.width
        p = self._address(i)
        x = w.ins(f"load {self.v}, ptr {p}, align 1")
        k = 2
        while k <= W:
            if k == W:
                up = self._splat(self._rising(i, W))
            else:
                up = "<" + ", ".join(f"i1 {_bit(((lane & k) == 0) != self.descending)}" for lane in range(W)) + ">"
            x = self._tail(x, k // 2, up)
            k *= 2
        w.put(f"store {self.v} {x}, ptr {p}, align 1")

    def _splat(self, bit: str) -> str:
        w, W = self.w, self.width
        one = w.ins(f"insertelement <{W} x i1> poison, i1 {bit}, i64 0")
        return w.ins(f"shufflevector <{W} x i1> {one}, <{W} x i1> poison, <{W} x i32> zeroinitializer")

    def _tail(self, x: str, j: int, up: str) -> str:
        """Steps j, j/2 … 1 inside vector ``x``; lanes of ``up`` rise."""
        w, W = self.w, self.width
        while j:
            picks = ", ".join(f"i32 {lane ^ j}" for lane in range(W))
            y = w.ins(f"shufflevector {self.v} {x}, {self.v} poison, <{W} x i32> <{picks}>")
            lower = "<" + ", ".join(f"i1 {_bit(not lane & j)}" for lane in range(W)) + ">"
            least = w.ins(f"xor <{W} x i1> {up}, {lower}")  # 0 where this lane keeps the smaller of the two
            a, b = self._below(y, x), self._below(x, y)
            take = w.ins(f"select <{W} x i1> {least}, <{W} x i1> {b}, <{W} x i1> {a}")
            x = w.ins(f"select <{W} x i1> {take}, {self.v} {y}, {self.v} {x}")
            j //= 2
        return x

    # --- vector against vector ---

    def _stage(self, k: str) -> None:
        w, W = self.w, self.width
        head, after, before = w.new_label("shrink"), w.new_label("shrunk"), w.label
        half = w.ins(f"lshr i64 {k}, 1")
        w.br(head)
        w.open_block(head)
        j, phi = w.fresh("j"), w.hole()
        double = w.ins(f"shl i64 {j}, 1")
        self.loop(0, self.n, double, lambda block: self._exchange(block, j, self._rising(block, k)))
        n = w.ins(f"lshr i64 {j}, 1")
        phi.append(f"  {j} = phi i64 [ {half}, %{before} ], [ {n}, %{w.label} ]")
        w.cond_br(w.ins(f"icmp uge i64 {n}, {W}"), head, after)
        w.open_block(after)

        def finish(i: str) -> None:
            p = self._address(i)
            x = w.ins(f"load {self.v}, ptr {p}, align 1")
            x = self._tail(x, W // 2, self._splat(self._rising(i, k)))
            w.put(f"store {self.v} {x}, ptr {p}, align 1")

        self.loop(0, self.n, W, finish)

    def _exchange(self, block: str, j: str, up: str) -> None:
        """Orders positions block … block + j − 1 against those ``j`` further."""
        w = self.w
        end = w.ins(f"add i64 {block}, {j}")

        def body(i: str) -> None:
            p = self._address(i)
            q = self._address(w.ins(f"add i64 {i}, {j}"))
            x = w.ins(f"load {self.v}, ptr {p}, align 1")
            y = w.ins(f"load {self.v}, ptr {q}, align 1")
            a, b = self._below(y, x), self._below(x, y)
            swap = w.ins(f"select i1 {up}, <{self.width} x i1> {a}, <{self.width} x i1> {b}")
            w.put(f"store {self.v} {w.ins(f'select <{self.width} x i1> {swap}, {self.v} {y}, {self.v} {x}')}, ptr {p}, align 1")
            w.put(f"store {self.v} {w.ins(f'select <{self.width} x i1> {swap}, {self.v} {x}, {self.v} {y}')}, ptr {q}, align 1")

        self.loop(block, end, self.width, body)


def _bit(b: bool) -> str:
    return "true" if b else "false"
