"""Random kernels around a loop that carries tiles and stores while rows wait to be read.

What varies: tiles short and longer than `control.LATE`, that begin with constants or rows and trade places; loops that run never, once
or several times, upwards and downwards, nested, by `while`; rows that are read in front of the loop, in it and behind it; stores of rows,
single elements and parts of rows, under branches and behind barriers, near to those rows or upon them; tiles that are read before they
are written anew, after it, or both.  One program runs, so that program order decides everything.

Integers wrap around, floats are only computed with element by element, so that both targets must agree on every bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from choices import Dice
from launches import Array, Launch

__all__ = ["loops"]

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef kernel(mem, other, out, n, k, stride, N: tl.constexpr):\n"
_MIDDLE, _BEHIND = 7 * 4096, 9 * 4096
"""Where rows begin, more or less, and what lies behind: loops have at most five iterations, strides are at most ± N."""


class _Maker:
    def __init__(self, dice: Dice):
        self.dice, self.pick, self.chance = dice, dice.pick, dice.chance
        self.kind = self.pick(("fp32", "fp32", "i32", "i32", "i16", "i64"))
        self.size = self.pick((64, 1024, 2048, 4096, 4096))
        self.lines: list[str] = []
        self.tiles: list[str] = []  # that are carried
        self.rows: list[str] = []  # that may be read here
        self.count = 0

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def put(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    # --- expressions ---

    def place(self, at: str) -> str:
        """Where a row begins, in iteration ``at``."""
        shift = self.pick((0, 0, 1, 16, 40, self.size, -self.size, self.size - 1, self.size // 2))
        moved = self.pick(
            ("", "", f" + {at} * stride", f" + {at} * stride", f" - {at} * {self.pick((1, 8, 64))}", f" + {at} * {self.size}")
        )
        return f"{self.pick(('mem', 'mem', 'other'))} + {_MIDDLE + shift}{moved}"

    def mask(self, at: str) -> str:
        conditions = [
            "i < n",
            "i >= k",
            f"i < {at} * 24",
            f"i < (5 - {at}) * 40",
            f"i + {at} * 7 < n",
            "(i & 3) != 0",
            "n - i > k",
            "i <= k",
        ]
        some = [self.pick(conditions) for _ in range(self.dice.integer(1, 2))]
        return " & ".join(f"({c})" for c in some)

    def load(self, at: str) -> str:
        if self.chance():
            return f"tl.load({self.place(at)} + i)"
        return f"tl.load({self.place(at)} + i, mask={self.mask(at)}{self.pick(('', ', other=3'))})"

    def expression(self, have: list[str]) -> str:
        x, y, z = (self.pick(have) for _ in range(3))
        if self.kind == "fp32":
            return self.pick(
                (
                    f"{x} + {y}",
                    f"{x} * 0.5 + {y}",
                    f"tl.minimum({x}, {y}) - {z}",
                    f"tl.sqrt(tl.abs({x}) + {y} * {y}) / (tl.abs({z}) + 1.0)",
                    f"tl.where({x} > {y}, {z} * 0.25, {x})",
                    f"{x} / (tl.abs({y} - {z}) + 2.0)",
                )
            )
        return self.pick(
            (
                f"{x} + {y}",
                f"{x} * 3 - {y}",
                f"tl.maximum({x}, {y}) ^ {z}",
                f"({x} & 1023) // (({y} & 7) + 1) + {z} % 7",
                f"tl.where({x} > {y}, {z} - 5, {x})",
                f"({x} % 1000) * ({y} % 77) // 13 + {z}",
            )
        )

    # --- statements ---

    def statement(self, indent: int, at: str, depth: int) -> None:
        kind = self.pick(
            (
                "row",
                "row",
                "update",
                "update",
                "update",
                "swap",
                "store",
                "store",
                "store",
                "part",
                "number",
                "statistic",
                "barrier",
                "branch",
                "loop",
            )
        )
        if kind == "row":
            text = self.load(at)
            self.rows.append(self.name("w"))
            self.put(indent, f"{self.rows[-1]} = {text}")
        elif kind == "update":
            self.put(indent, f"{self.pick(self.tiles)} = {self.expression(self.tiles + self.rows)}")
        elif kind == "swap" and len(self.tiles) > 1:
            x, y = self.tiles[0], self.tiles[-1]
            self.put(indent, f"{x}, {y} = {y}, {self.pick((x, self.expression(self.tiles + self.rows)))}")
        elif kind == "store":
            self.put(
                indent, f"tl.store({self.place(at)} + i, {self.pick((self.expression(self.tiles + self.rows), self.pick(self.tiles)))})"
            )
        elif kind == "part":
            self.put(indent, f"tl.store({self.place(at)} + i, {self.expression(self.tiles + self.rows)}, mask={self.mask(at)})")
        elif kind == "number":
            self.put(indent, f"tl.store({self.place(at)}, {self.pick((at, 'k'))} + 3)")
        elif kind == "statistic":
            self.put(indent, f"tl.store({self.place(at)}, tl.max({self.pick(self.tiles + self.rows)}, axis=0))")
        elif kind == "barrier":
            self.put(indent, "tl.debug_barrier()")
        elif kind == "branch" and depth < 3:
            self.put(indent, f"if {self.pick((f'{at} > k', 'n > 100', f'{at} == 0', 'k < 2'))}:")
            self.body(indent + 1, at, depth + 1, 2)
        elif kind == "loop" and depth < 2:
            self.loop(indent, depth)

    def body(self, indent: int, at: str, depth: int, most: int) -> None:
        rows = list(self.rows)
        self.put(indent, "pass")
        for _ in range(self.dice.integer(1, most)):
            self.statement(indent, at, depth)
        self.rows = rows

    def gradient(self, indent: int, at: str, depth: int) -> None:
        """What a norm's backward does: rows are read, each tile goes on by itself, and more is done with what came out."""
        rows = list(self.rows)
        for _ in range(self.dice.integer(1, 2)):
            text = self.load(at)
            self.rows.append(self.name("w"))
            self.put(indent, f"{self.rows[-1]} = {text}")
        if self.chance():
            self.put(indent, f"tl.store({self.place(at)} + i, {self.expression(self.rows)})")
        for tile in self.tiles:
            self.put(indent, f"{tile} = {self.expression([tile, tile, self.rows[-1]])}")
        if self.chance():
            self.put(indent, "tl.debug_barrier()")
            self.put(indent, f"tl.store({self.place(at)} + i, {self.expression(self.tiles)})")
        for _ in range(self.dice.integer(0, 3)):
            self.statement(indent, at, depth)
        self.rows = rows

    def loop(self, indent: int, depth: int) -> None:
        at = self.name("r")
        kind = self.pick(("for", "for", "for", "for", "while"))
        if kind == "while":
            self.put(indent, f"{at} = 0")
            self.put(indent, f"while {at} < k:")
            self.body(indent + 1, at, depth + 1, 4)
            self.put(indent + 1, f"{at} += {self.pick((1, 2))}")
            return
        bounds = self.pick(("0, k", "0, k", "1, k", "0, k, 2", "k, 0, -1", "0, 3", "k - 2, k", "0, k * 0", "0, k - 2"))
        self.put(indent, f"for {at} in range({bounds}):")
        if self.chance():
            self.gradient(indent + 1, at, depth + 1)
        else:
            self.body(indent + 1, at, depth + 1, 5)

    def make(self) -> Launch:
        self.put(1, "i = tl.arange(0, N)")
        dtype = {"fp32": "tl.float32", "i32": "tl.int32", "i16": "tl.int16", "i64": "tl.int64"}[self.kind]
        for _ in range(self.dice.integer(1, 2)):
            self.rows.append(self.name("w"))
            self.put(1, f"{self.rows[-1]} = {self.load('k')}")
        for _ in range(self.dice.integer(1, 3)):
            tile = self.name("t")
            begin = self.pick((*[f"tl.zeros((N,), {dtype})"] * 3, f"tl.full((N,), 2, {dtype})", f"{self.rows[0]} + 1"))
            self.put(1, f"{tile} = {begin if dtype in begin else f'({begin}).to({dtype})'}")
            self.tiles.append(tile)
        for _ in range(self.dice.integer(1, 2)):
            self.loop(1, 0)
        for _ in range(self.dice.integer(0, 2)):
            self.statement(1, "k", 2)
        for number, name in enumerate(self.tiles):
            self.put(1, f"tl.store(out + {number} * N + i, {name})")
        values = np.arange(_MIDDLE + _BEHIND) * 37 % 101 - 50
        arguments: dict[str, Any] = {
            "mem": Array(self.kind, values),
            "other": Array(self.kind, values[::-1].copy()),
            "out": Array(self.kind, np.zeros(3 * self.size, np.int64)),
            "n": self.pick((0, 17, 64, self.size - 3, self.size)),
            "k": self.pick((0, 1, 2, 3, 5)),
            "stride": self.pick((0, 1, 64, self.size, self.size // 2, -64, -self.size, 3)),
        }
        return Launch(HEAD + "\n".join(self.lines) + "\n", arguments, {"N": self.size}, specialise=self.chance())


def loops(seed: int) -> Launch:
    """The kernel of ``seed``."""
    return _Maker(Dice(seed)).make()
