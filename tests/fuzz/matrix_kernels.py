"""Random kernels of matrix products, as people write them: tiles of A and B loaded in a loop, `tl.dot`, an epilogue, a store.

What varies is what compilers look at: how addresses are written (anew, carried by the loop, block pointers, descriptors), how rows
beyond the end are kept away (masks, remainders, minima, `where`, indices from memory), strides, types, loops, the order of programs.
All numbers are whole and so small that every sum is exact, whatever its order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from choices import Dice
from launches import Array, Launch

__all__ = ["attention", "matmul"]

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
#: operands, what they are multiplied as, accumulator
_KINDS = (
    *(("fp32", "", "fp32"),) * 6,
    ("fp16", "", "fp32"),
    ("bf16", "", "fp32"),
    ("bf16", "", "fp32"),
    ("i8", "", "i32"),
    ("fp8e5", "", "fp32"),
    ("fp64", "", "fp64"),
    ("fp16", "fp32", "fp32"),
    ("i8", "fp16", "fp32"),
    ("bf16", "fp32", "fp32"),
    ("i32", "bf16", "fp32"),
)
_NAMES = {"fp32": "tl.float32", "fp16": "tl.float16", "bf16": "tl.bfloat16", "fp64": "tl.float64", "i32": "tl.int32"}
_MASKED, _WRAPPED = "masked", "wrapped"


def _values(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.integers(-2, 3, shape)


class _Matmul:
    def __init__(self, dice: Dice):
        self.dice, self.pick, self.chance, self.integer = dice, dice.pick, dice.chance, dice.integer
        self.random = np.random.default_rng(dice.integer(0, 2**32))
        self.bm, self.bn, self.bk = (self.pick((16, 16, 32, 32, 64, 128)) for _ in range(3))
        self.kind, self.cast, self.acc = self.pick(_KINDS)
        self.m, self.n = (max(1, self.integer(1, 5 * b // 2) if self.chance() else b * self.integer(1, 2)) for b in (self.bm, self.bn))
        self.even = self.integer(0, 2) == 0
        self.k = self.bk * self.integer(1, 4) if self.even else self.integer(1, 7 * self.bk // 2)
        self.arguments: dict[str, Any] = {}
        self.lines: list[str] = []

    def say(self, depth: int, text: str) -> None:
        self.lines += ["    " * depth + line for line in text.splitlines()]

    # --- operands ---

    def matrix(self, name: str, rows: int, cols: int) -> tuple[str, str]:
        """Makes the matrix; its strides as expressions."""
        pad = self.pick((0, 0, 0, 1, 3, 16))
        across = self.integer(0, 3) == 0
        lead = (rows if across else cols) + pad
        size = (cols - 1) * lead + rows if across else (rows - 1) * lead + cols
        self.arguments[name] = Array(self.kind, _values(self.random, size), self.integer(0, 2) == 0)
        self.arguments[f"{name}_s0"], self.arguments[f"{name}_s1"] = (1, lead) if across else (lead, 1)
        self.exact = pad == 0
        return f"{name}_s0", f"{name}_s1"

    def positions(self, name: str, extent: str, length: int, block: str, pid: str) -> tuple[str, str | None]:
        """Statements that set ``name`` to positions and ``at_<name>`` to those that are loaded; the mask that loads need."""
        self.say(1, f"{name} = {pid} * {block} + tl.arange(0, {block})")
        way = self.pick(
            (
                "mask",
                "mask",
                "mask",
                "wrap",
                "wrap",
                "wrap",
                "wrap",
                "hinted wrap",
                "where",
                "minimum",
                "indexed",
                "permuted",
                "reversed",
                "inside",
            )
        )
        mask = None
        if way == "mask":
            self.say(1, f"at_{name} = {name}")
            mask = f"{name} < {extent}"
        elif way == "wrap":
            self.say(1, f"at_{name} = {name} % {extent}")
        elif way == "hinted wrap":
            self.say(1, f"at_{name} = {name} % {extent}")
            if length % self.arguments_block(block) == 0:
                self.say(1, f"at_{name} = tl.max_contiguous(tl.multiple_of(at_{name}, {block}), {block})")
        elif way == "where":
            self.say(1, f"at_{name} = tl.where({name} < {extent}, {name}, 0)")
        elif way == "minimum":
            self.say(1, f"at_{name} = tl.minimum({name}, {extent} - 1)")
        elif way == "indexed":
            self.arguments[f"{name}_index"] = Array("i32", self.random.integers(0, length, length))
            self.say(1, f"at_{name} = tl.load({name}_index + {name}, mask={name} < {extent}, other=0)")
        elif way == "permuted":
            self.say(1, f"at_{name} = ({name} ^ {self.pick((1, 3, 8))}) % {extent}")
        elif way == "reversed":
            self.say(1, f"at_{name} = tl.maximum({extent} - 1 - {name}, 0)")
        else:
            self.say(1, f"at_{name} = tl.minimum({pid} * {block}, tl.maximum({extent} - {block}, 0)) + tl.arange(0, {block})")
            mask = f"at_{name} < {extent}"
        return f"at_{name}", mask

    def arguments_block(self, block: str) -> int:
        return {"BM": self.bm, "BN": self.bn, "BK": self.bk}[block]

    def kernel(self) -> Launch:
        pick, chance, integer = self.pick, self.chance, self.integer
        a0, a1 = self.matrix("a", self.m, self.k)
        b0, b1 = self.matrix("b", self.k, self.n)
        self.arguments |= {"M": self.m, "N": self.n, "K": self.k}
        grid = self.programs()
        form = pick(("anew", "anew", "carried", "carried", "blocks", "descriptors"))
        loop = pick(("cdiv", "cdiv", "step", "tl.range", "while", "upto"))
        if form == "descriptors" and (1 != self.arguments["a_s1"] or 1 != self.arguments["b_s1"]):
            form = "blocks"
        masks: dict[str, list[str]] = {"a": [], "b": []}
        if form in ("anew", "carried"):
            rows, row_mask = self.positions("rows", "M", self.m, "BM", "pid_m")
            cols, col_mask = self.positions("cols", "N", self.n, "BN", "pid_n")
            masks["a"] += [f"({row_mask})[:, None]"] if row_mask else []
            masks["b"] += [f"({col_mask})[None, :]"] if col_mask else []
            self.say(1, "inner = tl.arange(0, BK)")
        else:
            self.say(1, "rows = pid_m * BM + tl.arange(0, BM)\ncols = pid_n * BN + tl.arange(0, BN)")
        self.say(1, f"acc = {self.start()}")
        second = integer(0, 4) == 0
        if second:
            self.say(1, f"other = tl.zeros((BM, BN), {_NAMES[self.acc]})")
        if form == "carried":
            self.say(1, f"a_at = a + {rows}[:, None] * {a0} + inner[None, :] * {a1}")
            self.say(1, f"b_at = b + inner[:, None] * {b0} + {cols}[None, :] * {b1}")
        elif form == "blocks":
            order = (0, 1) if self.arguments["a_s0"] == 1 else (1, 0)
            self.say(1, f"a_at = tl.make_block_ptr(a, (M, K), ({a0}, {a1}), (pid_m * BM, 0), (BM, BK), {order})")
            order = (0, 1) if self.arguments["b_s0"] == 1 else (1, 0)
            self.say(1, f"b_at = tl.make_block_ptr(b, (K, N), ({b0}, {b1}), (0, pid_n * BN), (BK, BN), {order})")
        elif form == "descriptors":
            self.say(1, f"a_desc = tl.make_tensor_descriptor(a, shape=[M, K], strides=[{a0}, 1], block_shape=[BM, BK])")
            self.say(1, f"b_desc = tl.make_tensor_descriptor(b, shape=[K, N], strides=[{b0}, 1], block_shape=[BK, BN])")
        head = {
            "cdiv": "for k in range(0, tl.cdiv(K, BK)):",
            "tl.range": f"for k in tl.range(0, tl.cdiv(K, BK), num_stages={pick((1, 3))}):",
            "step": "for k0 in range(0, K, BK):",
            "while": "k0 = 0\nwhile k0 < K:",
            "upto": "for k in range((K + BK - 1) // BK):",
        }[loop]
        self.say(1, head)
        if loop in ("cdiv", "tl.range", "upto"):
            self.say(2, "k0 = k * BK")
        if form == "anew":
            wrapped = not self.even and integer(0, 5) == 0
            self.say(2, "depth = k0 + inner" + (" % BK" if chance() else ""))
            if wrapped:
                self.say(2, "depth = depth % K")
            elif not self.even or chance():
                masks["a"].append("(depth < K)[None, :]")
                masks["b"].append("(depth < K)[:, None]")
            a_at = f"a + {rows}[:, None] * {a0} + depth[None, :] * {a1}"
            b_at = f"b + depth[:, None] * {b0} + {cols}[None, :] * {b1}"
        elif form == "carried":
            if not self.even or chance():
                masks["a"].append("(inner[None, :] < K - k0)")
                masks["b"].append("(inner[:, None] < K - k0)")
            a_at, b_at = "a_at", "b_at"
        if form in ("anew", "carried"):
            for name, at in (("a", a_at), ("b", b_at)):
                mask = " & ".join(masks[name])
                self.say(2, f"{name}_tile = tl.load({at}" + (f", mask={mask}, other=0" if mask else "") + ")")
        elif form == "blocks":
            self.say(2, "a_tile = tl.load(a_at, boundary_check=(0, 1), padding_option='zero')")
            self.say(2, "b_tile = tl.load(b_at, boundary_check=(0, 1), padding_option='zero')")
        else:
            self.say(2, "a_tile = a_desc.load([pid_m * BM, k0])\nb_tile = b_desc.load([k0, pid_n * BN])")
        self.products(second)
        if form == "carried":
            self.say(2, f"a_at += BK * {a1}\nb_at += BK * {b0}")
        elif form == "blocks":
            self.say(2, "a_at = tl.advance(a_at, (0, BK))\nb_at = tl.advance(b_at, (BK, 0))")
        if loop == "while":
            self.say(2, "k0 += BK")
        self.epilogue(second)
        constants = {"BM": self.bm, "BN": self.bn, "BK": self.bk}
        names = ", ".join([*self.arguments, *(f"{c}: tl.constexpr" for c in constants)])
        text = HEAD + f"def kernel({names}):\n" + "\n".join(self.lines) + "\n"
        return Launch(text, self.arguments, constants, grid, chance())

    def programs(self) -> tuple[int, int, int]:
        tall, wide = -(-self.m // self.bm), -(-self.n // self.bn)
        way = self.pick(("two", "rows first", "columns first", "grouped"))
        if way == "two":
            self.say(1, "pid_m = tl.program_id(0)\npid_n = tl.program_id(1)")
            return tall, wide, 1
        if way == "rows first":
            self.say(1, "pid = tl.program_id(0)\npid_m = pid // tl.cdiv(N, BN)\npid_n = pid % tl.cdiv(N, BN)")
        elif way == "columns first":
            self.say(1, "pid = tl.program_id(0)\npid_m = pid % tl.cdiv(M, BM)\npid_n = pid // tl.cdiv(M, BM)")
        else:
            self.say(1, "pid_m, pid_n = tl.swizzle2d(tl.program_id(0) // tl.cdiv(N, BN), tl.program_id(0) % tl.cdiv(N, BN),")
            self.say(1, f"                           tl.cdiv(M, BM), tl.cdiv(N, BN), {self.pick((1, 2, 3))})")
        return tall * wide, 1, 1

    def start(self) -> str:
        if self.integer(0, 4):
            return f"tl.zeros((BM, BN), {_NAMES[self.acc]})"
        self.arguments["before"] = Array("i32", _values(self.random, self.n))
        return f"tl.load(before + cols[None, :] + rows[:, None] * 0, mask=cols[None, :] < N, other=0).to({_NAMES[self.acc]})"

    def products(self, second: bool) -> None:
        """What happens to the tiles in the loop."""
        if self.cast:
            self.say(2, f"a_tile = a_tile.to({_NAMES[self.cast]})\nb_tile = b_tile.to({_NAMES[self.cast]})")
        change = self.integer(0, 7)
        if change == 0:
            self.say(2, "a_tile = tl.where(a_tile > 0, a_tile, 0)" if self.kind != "fp8e5" else "a_tile = a_tile")
        elif change == 1:
            self.say(2, "b_tile = tl.trans(tl.trans(b_tile))")
        elif change == 2 and self.kind not in ("fp8e5", "i8"):
            self.say(2, "a_tile = a_tile + a_tile")
        target = f", out_dtype={_NAMES[self.acc]}" if self.acc in ("i32", "fp64") else ""
        way = self.integer(0, 4)
        if way < 2:
            self.say(2, f"acc = tl.dot(a_tile, b_tile, acc{target})")
        elif way == 2:
            self.say(2, f"acc += tl.dot(a_tile, b_tile{target})")
        elif way == 3:
            self.say(2, f"acc = acc + 2 * tl.dot(a_tile, b_tile{target})")
        else:
            self.say(2, f"scale = tl.where(rows % 3 == 0, 0, 1).to({_NAMES[self.acc]})")
            self.say(2, f"acc = acc * scale[:, None]\nacc = tl.dot(a_tile, b_tile, acc{target})")
        if second:
            self.say(
                2, f"other += tl.dot(a_tile, b_tile{target})" if self.chance() else "other += tl.sum(a_tile.to(other.dtype), 1)[:, None]"
            )

    def epilogue(self, second: bool) -> None:
        if second:
            self.say(1, self.pick(("acc = acc - other", "acc = tl.where(other > 0, acc, 1)")))
        if self.integer(0, 3) == 0:
            self.arguments["bias"] = Array("i32", _values(self.random, self.n))
            self.say(1, "acc += tl.load(bias + cols, mask=cols < N, other=0)[None, :]")
        if self.integer(0, 3) == 0:
            self.say(1, "acc = tl.maximum(acc, 0)")
        pad = self.pick((0, 0, 2))
        kind = self.pick(("fp64", "i32", self.acc, self.acc))
        lead = self.n + pad
        self.arguments["c"] = Array(kind, self.random.integers(-9, 10, (self.m - 1) * lead + self.n), self.chance())
        self.arguments["c_s0"] = lead
        way = self.integer(0, 5)
        mask = "(rows[:, None] < M) & (cols[None, :] < N)"
        at = "c + rows[:, None] * c_s0 + cols[None, :]"
        self.say(1, "value = acc.to(c.dtype.element_ty)")
        if way == 0:
            self.say(1, "out = tl.make_block_ptr(c, (M, N), (c_s0, 1), (pid_m * BM, pid_n * BN), (BM, BN), (1, 0))")
            self.say(1, "tl.store(out, value, boundary_check=(0, 1))")
        elif way == 1:
            self.say(1, f"tl.atomic_add({at}, value, mask={mask}, sem='relaxed')")
        elif way == 2:
            self.say(1, f"tl.store({at}, value + tl.load({at}, mask={mask}, other=0), mask={mask})")
        else:
            self.say(1, f"tl.store({at}, value, mask={mask})")
        if self.integer(0, 3) == 0:
            self.arguments["sums"] = Array("fp64", np.zeros(self.m * -(-self.n // self.bn), np.int64))
            self.say(1, f"kept = tl.where({mask}, acc, 0)")
            how = self.pick(("tl.sum(kept, 1)", "tl.max(kept, axis=1)", "tl.sum(kept.T, 0)"))
            self.say(1, f"tl.store(sums + pid_n * M + rows, {how}, mask=rows < M)")


def matmul(seed: int) -> Launch:
    """One, two products of matrices a step, or a product with a sum."""
    return _Matmul(Dice(seed)).kernel()


def attention(seed: int) -> Launch:
    """Queries by keys, a running maximum, weights by values: the loop of flash attention with whole numbers in place of powers."""
    dice = Dice(seed)
    pick, integer = dice.pick, dice.integer
    random = np.random.default_rng(integer(0, 2**32))
    bm, bn, d = pick((16, 32, 64)), pick((16, 32, 64)), pick((16, 32, 64))
    m, n, heads = integer(1, 2 * bm), integer(1, 3 * bn), integer(1, 2)
    kind = pick(("fp32", "fp16", "bf16"))
    gap = pick((0, 0, 5))
    causal, ends, carried, transposed = (bool(integer(0, 1)) for _ in range(4))
    lead = d + gap
    row = "(h * M + rows)" if integer(0, 1) else "(rows + h * M)"
    keys_mask, keys_other = ("keys[None, :] < N", ", other=0")
    text = [HEAD + "def kernel(q, k, v, out, most, M, N, lead, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):"]
    say = text.append
    say("    h = tl.program_id(1)\n    rows = tl.program_id(0) * BM + tl.arange(0, BM)\n    lanes = tl.arange(0, D)")
    say(f"    x = tl.load(q + {row}[:, None] * lead + lanes[None, :], mask=rows[:, None] < M, other=0)")
    say(
        "    biggest = tl.full((BM,), -1000.0, tl.float32)\n    total = tl.zeros((BM,), tl.float32)\n    acc = tl.zeros((BM, D), tl.float32)"
    )
    last = "tl.minimum(N, (tl.program_id(0) + 1) * BM)" if causal and ends else "N"
    if carried:
        say("    inner = tl.arange(0, BN)")
        say("    k_at = k + h * N * lead + inner[None, :] * lead + lanes[:, None]")
        say("    v_at = v + h * N * lead + inner[:, None] * lead + lanes[None, :]")
    say(f"    for begin in range(0, {last}, BN):\n        keys = begin + tl.arange(0, BN)")
    if carried:
        say(f"        y = tl.load(k_at, mask={keys_mask}{keys_other})")
    elif transposed:
        say("        y = tl.load(k + (h * N + keys)[:, None] * lead + lanes[None, :], mask=keys[:, None] < N, other=0).T")
    else:
        say(f"        y = tl.load(k + (h * N + keys)[None, :] * lead + lanes[:, None], mask={keys_mask}{keys_other})")
    say("        s = tl.dot(x, y)")
    seen = "(keys[None, :] < N)" + (" & (rows[:, None] >= keys[None, :])" if causal else "")
    say(f"        s = tl.where({seen}, s, -1000.0)")
    say("        new = tl.maximum(biggest, tl.max(s, 1))")
    say("        p = tl.maximum(s - new[:, None] + 3.0, 0.0)")
    say("        fade = tl.where(new == biggest, 1.0, 0.0)\n        total = total * fade + tl.sum(p, 1)\n        acc = acc * fade[:, None]")
    load = "v_at" if carried else "v + (h * N + keys)[:, None] * lead + lanes[None, :]"
    say(f"        z = tl.load({load}, mask=keys[:, None] < N, other=0)")
    say(pick(("        acc = tl.dot(p.to(z.dtype), z, acc)", "        acc += tl.dot(p.to(v.dtype.element_ty), z)")))
    say("        biggest = new")
    if carried:
        say("        k_at += BN * lead\n        v_at += BN * lead")
    say("    tl.store(out + (h * M + rows)[:, None] * D + lanes[None, :], acc - total[:, None], mask=rows[:, None] < M)")
    say("    tl.store(most + h * M + rows, biggest, mask=rows < M)")
    arguments: dict[str, Any] = {
        "q": Array(kind, _values(random, heads * m * lead - gap)),
        "k": Array(kind, _values(random, heads * n * lead - gap)),
        "v": Array(kind, _values(random, heads * n * lead - gap)),
        "out": Array("fp32", np.zeros(heads * m * d, np.int64)),
        "most": Array("fp32", np.zeros(heads * m, np.int64)),
        "M": m,
        "N": n,
        "lead": lead,
    }
    return Launch("\n".join(text) + "\n", arguments, {"BM": bm, "BN": bn, "D": d}, (-(-m // bm), heads, 1), bool(integer(0, 1)))
