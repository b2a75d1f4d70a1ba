"""Random kernels that walk over rows or over a long line, as norms, losses and pointwise kernels do.

What varies: whether a program has one row or a loop over rows, how the loop is divided (strided by programs, one part each), pointers
carried by the loop, the width of integers, results written over what they were computed from, statistics stored inside a row that is
read again, sums carried over all rows, positions with remainders, quotients, exclusive ors and wrap-around.  The memory of several
parameters may be the same: then each program touches only its own rows, so that the order of programs is not seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from choices import Dice
from launches import Array, Launch, View

__all__ = ["line", "rows"]

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef larger(a, b):\n    return tl.maximum(a, b)\n\n\n@triton.jit\n"
_KINDS = ("i32", "i32", "i64", "i16", "i8", "u8", "u32", "fp32", "fp32", "fp16", "bf16", "fp64")
_NARROW = ("int8", "uint8", "int16", "uint16", "int64", "uint32", "int32")
_FLOATS = ("fp32", "fp16", "bf16", "fp64")
_WIDE = {"fp32": "fp32", "fp16": "fp32", "bf16": "fp32", "fp64": "fp64", "i64": "i64"}
#: positions from 0 to n - 1 for every i from 0 on
_INSIDE = (
    "i % n",
    "i % n",
    "(i + s) % n",
    "(i * d) % n",
    "(i * s + d) % n",
    "(i // d) % n",
    "(i % d) % n",
    "(i ^ 1) % n",
    "(i ^ s) % n",
    "(i | 3) % n",
    "(i & 7) % n",
    "tl.minimum(i, n - 1)",
    "tl.minimum(i + d, n - 1)",
    "tl.maximum(n - 1 - i, 0)",
    "tl.where(i < n - d, i + d, 0)",
    "(i.to(tl.int8).to(tl.int32) + 128) % n",
    "(i.to(tl.uint8) + 0).to(tl.int32) % n",
    "(i * 3).to(tl.uint8).to(tl.int32) % n",
    "tl.load(index + i, mask=mask, other=0)",
    "tl.load(index + (i % n))",
    "((i << 2) >> 1) % n",
    "(i * 65537 // 65537) % n",
    "((i * 1103515245 + 12345) >> 3 & 0x7FFFFFFF) % n",
    "((i - 40) % d + d) % n",
    "(i % d * (n // d) + i // d) % n",
)
#: those that are inside for every i below n
_NEEDS_MASK = ("i", "i", "i", "i // d", "i & -2", "tl.maximum(i - d, 0)", "i - i % d", "n - 1 - i", "i.to(tl.int64)")
_NAMES = {
    "fp32": "tl.float32",
    "fp64": "tl.float64",
    "i32": "tl.int32",
    "i64": "tl.int64",
    "i16": "tl.int16",
    "i8": "tl.int8",
    "u8": "tl.uint8",
}


class _Kernel:
    def __init__(self, seed: int):
        self.dice = Dice(seed)
        self.pick, self.chance, self.integer = self.dice.pick, self.dice.chance, self.dice.integer
        self.random = np.random.default_rng(self.integer(0, 2**32))
        self.arguments: dict[str, Any] = {}
        self.lines: list[str] = []
        self.depth = 1

    def say(self, text: str) -> None:
        self.lines += ["    " * self.depth + line for line in text.splitlines()]

    def numbers(self, kind: str, count: int) -> np.ndarray:
        low, high = (0, 5) if kind[0] == "u" else (-4, 5)
        return self.random.integers(low, high, count)

    def expression(self, have: list[str], whole: bool, depth: int = 0) -> str:
        """Of tiles and scalars named in ``have``; ``whole``: integers, of which all operations are exact, those of floats are few."""
        pick = self.pick
        if depth > 2 or self.integer(0, 3) == 0:
            return pick((*have, *have, "2", "3") if depth else have)
        x, y = (self.expression(have, whole, depth + 1) for _ in range(2))
        if not whole:
            forms = (
                f"({x} + {y})",
                f"({x} - {y})",
                f"tl.maximum({x}, {y})",
                f"tl.where({x} > {y}, {x}, {y} - 1)",
                f"tl.abs({x} + 0)",
                f"({x} * 2)",
            )
            return pick(forms)
        forms = (
            f"({x} + {y})",
            f"({x} - {y})",
            f"({x} * {y})",
            f"({x} * {y})",
            f"({x} & {y})",
            f"({x} ^ {y})",
            f"({x} // {pick((1, 2, 3, 7, -3, 16))})",
            f"({x} % {pick((2, 3, 5, 8, -5))})",
            f"({x} // ({y} * {y} % 5 + 6))",
            f"({x} << {pick((0, 1, 3))})",
            f"({x} >> {pick((0, 1, 5))})",
            f"tl.minimum({x}, {y})",
            f"tl.where({x} > {y}, {x}, {y})",
            f"({x} + 0).to(tl.{pick(_NARROW)}).to(tl.int32)",
            f"(-({x}))",
            f"(~({x} + 0))",
        )
        return pick(forms)

    def launch(self, constants: dict[str, int], grid: tuple[int, int, int]) -> Launch:
        names = ", ".join([*self.arguments, *(f"{c}: tl.constexpr" for c in constants)])
        text = HEAD + f"def kernel({names}):\n" + "\n".join(self.lines) + "\n"
        return Launch(text, self.arguments, constants, grid, self.chance())


class _Rows(_Kernel):
    def kernel(self) -> Launch:
        pick, chance, integer, say = self.pick, self.chance, self.integer, self.say
        tall = integer(0, 4) == 0  # enough for the cores to share a lone program's loop
        block = pick((256, 512, 1024)) if tall else pick((8, 16, 32, 64, 128, 256))
        n = block if integer(0, 2) == 0 else integer(block // 2 if tall else 1, block)
        count = integer(100, 300) if tall else integer(1, 40)
        kind, gap = pick(_KINDS), pick((0, 0, 0, 1, 5, 16))
        floats = kind in _FLOATS
        wide = _WIDE.get(kind, "i32")
        stride = n + gap
        size = (count - 1) * stride + n
        self.arguments["x"] = Array(kind, self.numbers(kind, size), chance())
        self.arguments["w"] = Array(kind, self.numbers(kind, n))
        in_place = integer(0, 3) == 0
        self.arguments["out"] = View("x") if in_place else Array(kind, np.zeros(size, np.int64), chance())
        other = pick(("none", "array", "x", "out"))
        if other == "array":
            self.arguments["y"] = Array(kind, self.numbers(kind, size))
        elif other != "none":
            self.arguments["y"] = View("x") if other == "x" or in_place else View("out")
        self.arguments["total"] = Array("fp64" if floats else "i64", np.zeros(64 * n, np.int64))
        self.arguments |= {"count": count, "n": n, "stride": stride}
        say("pid = tl.program_id(0)\nlanes = tl.arange(0, BLOCK)")
        whole_row = n == block and chance()
        mask = "" if whole_row else ", mask=lanes < n"
        load_mask = mask and mask + ", other=0"
        say(f"sums = tl.zeros((BLOCK,), {_NAMES[wide]})\nweights = tl.load(w + lanes{load_mask}).to({_NAMES[wide]})")
        loop = pick(("strided", "part", "carried") if tall else ("row", "strided", "part", "part", "carried", "while", "tiled"))
        programs = 1 if tall else pick((1, 1, 1, 2, 5))
        if loop == "row":
            programs = count
            say("row = pid")
        elif loop == "strided":
            say("for row in range(pid, count, tl.num_programs(0)):")
        elif loop in ("part", "carried"):
            say("per = tl.cdiv(count, tl.num_programs(0))")
            if loop == "carried":
                say("x_at = x + pid * per * stride + lanes")
            say("for row in range(pid * per, tl.minimum(count, (pid + 1) * per)):")
        elif loop == "while":
            say("row = pid\nwhile row < count:")
        else:
            say(
                "for first in tl.range(pid * 4, count, 4 * tl.num_programs(0)):\n    for row in range(first, tl.minimum(first + 4, count)):"
            )
        self.depth += {"row": 0, "tiled": 2}.get(loop, 1)
        at = (
            "x_at"
            if loop == "carried"
            else pick(("x + row * stride + lanes", "(x + row * stride) + lanes", "x + row.to(tl.int64) * stride + lanes"))
        )
        if loop != "row" and at.endswith("lanes") and ".to(" in at and loop == "while":
            at = "x + row * stride + lanes"
        say(f"a = tl.load({at}{load_mask}).to({_NAMES[wide]})")
        have = ["a", "weights"]
        if other != "none":
            say(f"b = tl.load(y + row * stride + lanes{load_mask}).to({_NAMES[wide]})")
            have.append("b")
        self.statistics(have, floats, wide, kind)
        places = ["store", "store", "sums", "again"]
        if integer(0, 3) == 0:
            # A statistic goes into the row itself, before the row is used for the last time.
            self.say(f"tl.store(out + row * stride + {integer(0, n - 1)}, tl.max(a, 0).to(out.dtype.element_ty))")
        for _ in range(integer(1, 3)):
            do = pick(places)
            if do == "store":
                say(f"value = {self.expression(have, not floats)}")
                say(f"tl.store(out + row * stride + lanes, (value + a * 0).to(out.dtype.element_ty){mask})")
            elif do == "sums":
                limit = self.expression(have, not floats)
                say(f"sums += tl.minimum(tl.maximum({limit} + a * 0, -9), 9).to({_NAMES[wide]})")
            else:
                # Of memory with two names, a lane reads only what it writes itself: lanes have no order.
                shared = any(isinstance(x, View) for x in self.arguments.values())
                place = "lanes" if shared else pick(("lanes", "lanes", "(n - 1 - lanes)"))
                say(f"c = tl.load({pick(('x', 'out'))} + row * stride + {place}{load_mask}).to({_NAMES[wide]})")
                have.append("c")
        if loop == "carried":
            say("x_at += stride")
        elif loop == "while":
            say("row += tl.num_programs(0)")
        self.depth = 1
        to = "total + pid * n + lanes"
        if programs <= 64:
            say(f"tl.store({to}, tl.where(lanes < n, sums, 0){mask})")
        return self.launch({"BLOCK": block}, (programs, 1, 1))

    def statistics(self, have: list[str], floats: bool, wide: str, kind: str) -> None:
        """Reductions, scans, sorts of what is there."""
        for _ in range(self.integer(0, 2)):
            name, x = f"s{len(have)}", self.pick(have)
            way = self.integer(0, 8)
            if way == 0:
                self.say(f"{name} = tl.sum({x} + a * 0, 0)")
            elif way == 1:
                self.say(f"{name} = tl.max({x} + a * 0, axis=0)")
            elif way == 2:
                self.say(f"{name} = tl.argmin({x} + a * 0, 0)" if self.chance() else f"{name} = tl.argmax(a, axis=0)")
            elif way == 3:
                self.say(f"{name} = tl.cumsum(a, 0{self.pick(('', ', reverse=True'))})")
            elif way == 4:
                self.say(f"{name} = tl.associative_scan(a, 0, larger, reverse={self.chance()})")
            elif way == 5:
                self.say(f"{name} = tl.sort(a, descending={self.chance()})")
            elif way == 6:
                self.say(f"{name} = tl.flip(a)")
            elif way == 7:
                self.say(f"{name} = tl.gather(a, (lanes * {self.pick((3, 5, 7))}) % BLOCK, 0)")
            else:
                self.say(f"{name} = tl.sum(tl.reshape(a, (BLOCK // 4, 4)), {self.pick((0, 1))})\n{name} = tl.sum({name}, 0)")
            have.append(name)


class _Line(_Kernel):
    def kernel(self) -> Launch:
        pick, chance, integer, say = self.pick, self.chance, self.integer, self.say
        block = pick((16, 32, 64, 128, 256))
        n = integer(1, 5 * block)
        kind = pick(_KINDS)
        self.arguments["x"] = Array(kind, self.numbers(kind, n), chance())
        self.arguments["index"] = Array(pick(("i32", "i64", "i16")), self.random.integers(0, n, n))
        self.arguments["out"] = Array(pick(("i32", "i64", kind)), np.zeros(n, np.int64), chance())
        self.arguments["bins"] = Array("i32", np.zeros(16, np.int64))
        self.arguments |= {"n": n, "d": integer(1, 9), "s": pick((1, 2, 3, 16, n + 1, 255))}
        loop = chance()
        wide = _WIDE.get(kind, "i32")
        say("pid = tl.program_id(0)")
        if loop:
            say("for begin in range(pid * BLOCK, n, tl.num_programs(0) * BLOCK):")
            self.depth += 1
            say("i = begin + tl.arange(0, BLOCK)")
        else:
            say("i = pid * BLOCK + tl.arange(0, BLOCK)")
        say("mask = i < n")
        have = []
        for name in ("a", "b", "c")[: integer(1, 3)]:
            say(f"{name} = {self.read()}.to({_NAMES[wide]})")
            have.append(name)
        if integer(0, 3) == 0:
            say(f"p = {pick(('i', 'i % n', '(i * 5) % n', 'tl.minimum(i, n - 1)'))}\nfor step in range(0, {pick(('d', '3', 'n % 4'))}):")
            say(
                f"    a += tl.load(x + p, mask=mask, other=1).to({_NAMES[wide]})\n    a = tl.minimum(a, 50)\n    p = (p + {pick(('1', 's', 'step', 'd'))}) % n"
            )
        floats = kind in _FLOATS
        say(f"value = ({self.expression(have, not floats)} + a * 0).to(out.dtype.element_ty)")
        where = pick(("i", "i", "n - 1 - i", "tl.where(mask, n - 1 - i, 0)"))
        say(f"tl.store(out + ({where}), value, mask=mask)")
        if integer(0, 3) == 0:
            say("tl.atomic_add(bins + (i * d) % 16, 1, mask=mask)")
        elif integer(0, 5) == 0:
            say("tl.atomic_max(bins + i // d % 16, i, mask=mask)")
        elif integer(0, 5) == 0:
            say("h = tl.histogram((i ^ s) & 15, 16, mask=mask)\ntl.atomic_add(bins + tl.arange(0, 16), h)")
        programs = integer(1, 4) if loop else -(-n // block)
        return self.launch({"BLOCK": block}, (programs, 1, 1))

    def read(self) -> str:
        """A load from positions that are inside whatever the numbers are, some of them only where the mask is set."""
        pick = self.pick
        masked_only = self.integer(0, 3) == 0
        position = pick(_NEEDS_MASK if masked_only else _INSIDE)
        if not masked_only and self.chance():
            return f"tl.load(x + ({position}))"
        condition = pick(("mask", "mask", "mask & (i % 3 > 0)", "(i < n) & (i >= d)", "mask & (i > n - 20)"))
        return f"tl.load(x + ({position}), mask={condition}, other={pick((0, 1, 3))})"


def rows(seed: int) -> Launch:
    return _Rows(seed).kernel()


def line(seed: int) -> Launch:
    return _Line(seed).kernel()
