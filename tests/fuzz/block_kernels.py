"""Random kernels on blocks of two dimensions: reductions along either axis, transposes, functions called, loops over columns.

What varies: pointers, block pointers or descriptors, for loads and for stores; masks; blocks longer than the matrix; running sums
and extrema with their places over a loop of columns; results of one function used by another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from choices import Dice
from launches import Array, Launch

__all__ = ["blocks"]

_HEAD = """import triton
import triton.language as tl


@triton.jit
def larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def first_of(a, i, b, j):
    take = (a > b) | ((a == b) & (i < j))
    return tl.where(take, a, b), tl.where(take, i, j)


@triton.jit
def halves(x, N: tl.constexpr):
    low, high = tl.split(tl.reshape(x, (x.shape[0], N // 2, 2)))
    return tl.join(high, low).reshape(x.shape[0], N)


@triton.jit
def bounded(x, LIMIT: tl.constexpr = 7):
    return tl.minimum(tl.maximum(x, -LIMIT), LIMIT)


@triton.jit
"""
_KINDS = ("i32", "i64", "i16", "i8", "fp32", "fp32", "fp16", "bf16", "fp64")
_WIDE = {"i64": "tl.int64", "fp64": "tl.float64", "fp32": "tl.float32", "fp16": "tl.float32", "bf16": "tl.float32"}


def blocks(seed: int) -> Launch:
    dice = Dice(seed)
    pick, chance, integer = dice.pick, dice.chance, dice.integer
    random = np.random.default_rng(integer(0, 2**32))
    bm, bn = pick((2, 4, 8, 16, 32)), pick((4, 8, 16, 32, 64, 128))
    m, n = integer(1, 3 * bm), integer(1, 3 * bn)
    kind, gap = pick(_KINDS), pick((0, 0, 1, 4))
    wide = _WIDE.get(kind, "tl.int32")
    lead = n + gap
    form, out_form = pick(("pointers", "pointers", "blocks", "descriptors")), pick(("pointers", "pointers", "blocks", "descriptors"))
    width = {"i8": 1, "i16": 2, "fp16": 2, "bf16": 2, "i32": 4, "fp32": 4}.get(kind, 8)
    if lead * width % 16 or bn * width < 16:  # what a descriptor asks for: strides of 16 bytes, and rows of at least as many
        form, out_form = (f if f != "descriptors" else "pointers" for f in (form, out_form))
    lines: list[str] = []

    def say(depth: int, text: str) -> None:
        lines.extend("    " * depth + line for line in text.splitlines())

    say(1, "rows = tl.program_id(0) * BM + tl.arange(0, BM)\nlanes = tl.arange(0, BN)")
    say(1, f"sums = tl.zeros((BM,), {wide})\nbest = tl.full((BM,), -100, {wide})\nplace = tl.full((BM,), 0, tl.int32)")
    say(1, f"columns = tl.zeros((BN,), {wide})")
    if form == "blocks":
        say(1, "x_at = tl.make_block_ptr(x, (m, n), (lead, 1), (tl.program_id(0) * BM, 0), (BM, BN), (1, 0))")
    elif form == "descriptors":
        say(1, "x_desc = tl.make_tensor_descriptor(x, shape=[m, n], strides=[lead, 1], block_shape=[BM, BN])")
    if out_form == "descriptors":
        say(1, "out_desc = tl.make_tensor_descriptor(out, shape=[m, n], strides=[lead, 1], block_shape=[BM, BN])")
    loop = pick(("for begin in range(0, n, BN):", "for step in tl.range(0, tl.cdiv(n, BN), num_stages=2):", "begin = 0\nwhile begin < n:"))
    say(1, loop)
    if "step" in loop:
        say(2, "begin = step * BN")
    say(2, "cols = begin + lanes\ninside = (rows[:, None] < m) & (cols[None, :] < n)")
    if form == "pointers":
        at = pick(("x + rows[:, None] * lead + cols[None, :]", "x + cols[None, :] + lead * rows[:, None]"))
        turned = integer(0, 3) == 0
        if turned:
            say(2, "a = tl.load(x + rows[None, :] * lead + cols[:, None], mask=(rows[None, :] < m) & (cols[:, None] < n), other=0).T")
        else:
            say(2, f"a = tl.load({at}, mask=inside, other={pick((0, 0, 1))})")
    elif form == "blocks":
        say(2, "a = tl.load(x_at, boundary_check=(0, 1), padding_option='zero')\nx_at = tl.advance(x_at, (0, BN))")
    else:
        say(2, "a = x_desc.load([tl.program_id(0) * BM, begin])")
    say(2, f"a = a.to({wide})")
    for _ in range(integer(1, 4)):
        say(
            2,
            pick(
                (
                    "a = bounded(a * 2 - 1)",
                    "a = bounded(a + tl.sum(a, 1)[:, None], LIMIT=5)",
                    "a = bounded(a - tl.max(a, 0)[None, :])",
                    "a = a + tl.min(tl.max(a, 1), 0)",
                    "a = bounded(a + tl.cumsum(a, 1))",
                    "a = tl.associative_scan(a, 0, larger)",
                    "a = bounded(tl.cumsum(a, axis=0, reverse=True))",
                    "a = tl.where(a > 0, a, a * 2)",
                    "a = halves(a, BN)",
                    "a = bounded(a + tl.trans(tl.trans(a) + 1))",
                    "a = tl.flip(a, 1)",
                    "a = tl.sort(a, descending=True)",
                    "a = bounded(a + tl.argmax(a, 1)[:, None].to(a.dtype))",
                    "a = bounded(a + tl.argmin(a, axis=0)[None, :].to(a.dtype))",
                    "a = bounded(a + tl.sum(tl.reshape(a, (BM, BN // 2, 2)), 2).reshape(BM * BN // 2).sum(0))",
                    "a = bounded(a + tl.gather(a, (cols[None, :] + rows[:, None]) % BN, 1))",
                )
            ),
        )
    say(2, "kept = tl.where(inside, a, 0)\nsums += bounded(tl.sum(kept, 1))")
    if chance():
        say(2, "columns = bounded(columns + tl.sum(kept, axis=0))")
    if chance():
        say(2, "value, where = tl.reduce((tl.where(inside, a, -99), tl.broadcast_to(cols[None, :], (BM, BN))), 1, first_of)")
        say(2, "more = value > best\nbest = tl.where(more, value, best)\nplace = tl.where(more, where, place)")
    say(2, "result = a.to(out.dtype.element_ty)")
    if out_form == "pointers":
        turn = chance()
        at, mask, value = "out + rows[:, None] * lead + cols[None, :]", "inside", "result"
        say(2, f"tl.store(({at}).T, ({value}).T, mask=({mask}).T)" if turn else f"tl.store({at}, {value}, mask={mask})")
    elif out_form == "blocks":
        say(2, "out_at = tl.make_block_ptr(out, (m, n), (lead, 1), (tl.program_id(0) * BM, begin), (BM, BN), (1, 0))")
        say(2, "tl.store(out_at, result, boundary_check=(0, 1))")
    else:
        say(2, "out_desc.store([tl.program_id(0) * BM, begin], result)")
    if "while" in loop:
        say(2, "begin += BN")
    say(1, "tl.store(found + rows, sums.to(tl.float64) + best.to(tl.float64) + place.to(tl.float64), mask=rows < m)")
    say(1, "tl.store(below + tl.program_id(0) * BN + lanes, columns.to(tl.float64))")
    programs = -(-m // bm)
    arguments: dict[str, Any] = {
        "x": Array(kind, random.integers(-4, 5, (m - 1) * lead + n), chance() and form != "descriptors"),
        "out": Array(kind, np.zeros((m - 1) * lead + n, np.int64)),
        "found": Array("fp64", np.zeros(m, np.int64)),
        "below": Array("fp64", np.zeros(programs * bn, np.int64)),
        "m": m,
        "n": n,
        "lead": lead,
    }
    text = _HEAD + f"def kernel({', '.join(arguments)}, BM: tl.constexpr, BN: tl.constexpr):\n" + "\n".join(lines) + "\n"
    return Launch(text, arguments, {"BM": bm, "BN": bn}, (programs, 1, 1), chance())
