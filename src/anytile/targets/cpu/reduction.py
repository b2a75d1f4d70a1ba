"""Reduction state inside a nest.

An `Accumulator` keeps, for one ``reduce`` op, its n partial results in each of U independent vectors, carried
through the loops as phis.  Where the combine block is one known operation it starts from that operation's
neutral element; otherwise from the first vector.  At the end the U vectors and then the W lanes are combined
(association is unspecified by the op table).

The same row may so be summed in another order, or with other products contracted into multiply-adds, where it lies in a tile of
another shape: U follows from the work per element, and a loop of one trip is no loop, in which LLVM sees the first product.  Fixing
the order would be cheap (four partial results always), fixing the contractions would not: each multiply-add had to be decided here.
So a check that compares one row by program with several bit for bit, as Unsloth's RMS norm does at its first call, may fail; it then
keeps to one row by program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...ir import Block, Op
from .lanes import UNIFORM, Lane, uniform, vector
from .text import Chunk, llvm_type

if TYPE_CHECKING:
    from .nest import Nest

__all__ = ["Accumulator", "identity"]

INNERMOST = 1 << 20


def identity(block: Block) -> float | int | None:
    """The neutral element of a combine block that is a single known operation, else None."""
    if len(block.ops) != 2 or len(block.args) != 2:
        return None
    op = block.ops[0]
    if set(op.operands) != set(block.args) or block.ops[1].operands != op.results:
        return None
    e = block.args[0].type.elem
    if op.name in ("smin", "smax", "umin"):
        top = (1 << (e.bits - 1)) - 1
        return {"smin": top, "smax": -top - 1, "umin": -1}[op.name]
    return {
        "add": 0,
        "or": 0,
        "xor": 0,
        "umax": 0,
        "and": -1,
        "mul": 1,
        "fadd": -0.0,
        "fmul": 1.0,
        "fmax": math.nan,  # the other operand wins against NaN
        "fmin": math.nan,
        "fmaximum": -math.inf,
        "fminimum": math.inf,
    }.get(op.name)


class Accumulator:
    def __init__(self, nest: Nest, op: Op, unroll: int):
        self.nest, self.op, self.m = nest, op, nest.m
        e = identity(op.blocks[0])
        self.has_identity = e is not None
        self.elems = [v.type.elem for v in op.operands]
        self.state: list[list[Lane] | None] = [None] * unroll
        self.phis: list[list[tuple[str, Lane]]] = []
        if e is not None:
            self.state = [[self.m.const(e, x) for x in self.elems] for _ in range(unroll)]

    @staticmethod
    def make(nest: Nest, op: Op, unroll: int) -> list[Accumulator]:
        return [Accumulator(nest, op, unroll)]

    # --- loop carriage; the loop calls enter, then the body calls take, then close_phis and leave ---

    def enter(self) -> None:
        """The header of a loop opens: every partial result becomes a phi."""
        self.phis = []
        for u, lanes in enumerate(self.state):
            if lanes is None:
                self.phis.append([])
                continue
            names = []
            fresh = []
            for x in lanes:
                n = self.m.w.fresh("acc")
                names.append((n, x))
                fresh.append(vector(n, x.elem, INNERMOST) if self._vectors() else uniform(n, x.elem, INNERMOST))
            self.phis.append(names)
            self.state[u] = fresh

    def _vectors(self) -> bool:
        return self.m.width > 1

    def take(self, u: int, xs: list[Lane]) -> None:
        """Combines ``xs`` into partial result ``u``."""
        have = self.state[u]
        self.state[u] = [self._form(x) for x in (xs if have is None else self.combine(have, xs))]

    def _form(self, x: Lane) -> Lane:
        return vector(self.m.vec(x), x.elem, x.level) if self._vectors() else x

    def combine(self, a: list[Lane], b: list[Lane]) -> list[Lane]:
        return self.m.run_block(self.op.blocks[0], a + b, self.nest.p.scalar)

    def close_phis(self, chunk: Chunk, before: str, latch: str) -> None:
        for names, lanes in zip(self.phis, self.state):
            for (n, init), x in zip(names, lanes or []):
                t, i = self._typed(init)
                chunk.append(f"  {n} = phi {t} [ {i}, %{before} ], [ {self._typed(x)[1]}, %{latch} ]")

    def _typed(self, x: Lane) -> tuple[str, str]:
        if not self._vectors():
            return llvm_type(x.elem), x.val
        t = self.m.vec_type(x.elem)
        return t, self.m.vec(x)

    def leave(self, skipped_from: str | None, latch: str) -> None:
        """After the loop; ``skipped_from`` is the block that may have jumped over it."""
        for u, (names, lanes) in enumerate(zip(self.phis, self.state)):
            out = []
            for (_, init), x in zip(names, lanes or []):
                t, text = self._typed(x)
                if skipped_from is not None:
                    text = self.m.w.ins(f"phi {t} [ {self._typed(init)[1]}, %{skipped_from} ], [ {text}, %{latch} ]")
                out.append(vector(text, x.elem, INNERMOST) if self._vectors() else uniform(text, x.elem, INNERMOST))
            if lanes is not None:
                self.state[u] = out

    # --- results ---

    def fold(self) -> None:
        """Combines the U partial results into the first."""
        live = [s for s in self.state if s is not None]
        while len(live) > 1:
            half = [self.combine(live[i], live[i + 1]) for i in range(0, len(live) - 1, 2)]
            live = half + live[len(live) - len(live) % 2 :]
        self.state = [live[0]]

    def values(self, u: int) -> list[Lane]:
        lanes = self.state[u]
        assert lanes is not None
        return lanes

    def horizontal(self) -> list[Lane]:
        """One scalar lane per result: halves of the vector combined until two lanes are left, those as scalars.

        Comparing whole vectors for their first lane's sake would be wrong: of ``fcmp`` of doubles and their neighbours, LLVM 22
        keeps a scalar comparison on AVX-512 and forgets the neighbour (an argmax compared numbers with themselves).
        """
        self.fold()
        lanes, n = self.values(0), self.m.width
        if not self._vectors():
            return [Lane(UNIFORM, x.val, x.elem, level=self.nest.level) for x in lanes]
        k = n // 2
        while k > 1:
            moved = [self._down(x, k) for x in lanes]
            lanes = self.combine(lanes, moved)
            k //= 2
        first, second = ([self._at(x, i) for x in lanes] for i in (0, 1))
        return self.combine(first, second)

    def _at(self, x: Lane, i: int) -> Lane:
        """Lane ``i`` of a vector."""
        text = self.m.w.ins(f"extractelement {self.m.vec_type(x.elem)} {self.m.vec(x)}, i64 {i}")
        return Lane(UNIFORM, text, x.elem, level=INNERMOST)

    def _down(self, x: Lane, k: int) -> Lane:
        m, n = self.m, self.m.width
        picks = ", ".join(f"i32 {(i + k) % n}" for i in range(n))
        t = m.vec_type(x.elem)
        return vector(m.w.ins(f"shufflevector {t} {m.vec(x)}, {t} poison, <{n} x i32> <{picks}>"), x.elem, INNERMOST)
