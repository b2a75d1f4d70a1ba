"""Quotients of 64 bits in the machine's own instructions: what they compute, whatever the last bit of its reciprocal; and who divides so."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia.division import divided

MASK = (1 << 64) - 1


class Machine:
    """Executes the instructions that `divided` writes, on one number each; ``off`` is added to the last place of the reciprocal."""

    def __init__(self, off: int):
        self.off = off
        self.values: dict[str, Any] = {}

    def set(self, x: Any) -> str:
        name = f"%v{len(self.values)}"
        self.values[name] = x
        return name

    def get(self, text: str) -> Any:
        if text in self.values:
            return self.values[text]
        if text.startswith("0x"):
            return np.float32(np.array(int(text, 16), np.uint64).view(np.float64))
        return int(text) & MASK

    def emit(self, text: str) -> str:
        name, rest = text.split(" ", 1)
        if rest.startswith("disjoint "):
            rest = rest[len("disjoint ") :]
        if name in ("trunc", "zext", "uitofp", "fptoui"):
            kind, x = re.fullmatch(r"(?:i\d+|float) (\S+) to (\S+)", rest).groups()[::-1]  # type: ignore[union-attr]
            value = self.get(x)
            if name == "uitofp":
                return self.set(np.float32(value))
            assert name != "fptoui" or 0 <= value < 1 << 32, "not what an i32 holds"
            return self.set(int(value) & ((1 << int(kind[1:])) - 1))
        if name == "select":
            c, a, b = re.fullmatch(r"i1 (\S+), i64 (\S+), i64 (\S+)", rest).groups()  # type: ignore[union-attr]
            return self.set(self.get(a) if self.get(c) else self.get(b))
        x, y = (self.get(v) for v in rest.split(" ", 2 if name == "icmp" else 1)[-1].split(", "))
        if name == "fmul":
            return self.set(np.float32(x) * np.float32(y))
        signed = x - (1 << 64) if x >> 63 else x
        ways = {
            "add": x + y, "sub": x - y, "mul": x * y, "xor": x ^ y, "or": x | y, "icmp": x >= y,
            "lshr": x >> min(y, 64), "shl": x << min(y, 64), "ashr": signed >> min(y, 64),
        }  # fmt: skip
        return self.set(ways[name] if name == "icmp" else ways[name] & MASK)

    def call(self, name: str, result: str, *args: tuple[str, str]) -> str:
        xs = [self.get(x) for _, x in args]
        if name == "llvm.trunc.f32":
            return self.set(np.trunc(xs[0]))
        a, b, c = (Fraction(float(x)) for x in xs)
        exact = (a * b + c) * (1 << 64)  # a whole number, and one rounding
        assert name == "llvm.fma.f32" and exact.denominator == 1
        return self.set(self.rounded(exact.numerator))

    @staticmethod
    def rounded(x: int) -> np.float32:
        """x / 2⁶⁴."""
        shift = max(0, abs(x).bit_length() - 24)
        low, half = abs(x) & ((1 << shift) - 1), (1 << shift) >> 1
        high = (abs(x) >> shift) + (low > half or (low == half and low > 0 and abs(x) >> shift & 1))
        return np.float32(float(high << shift) / 2.0**64 * (1 if x >= 0 else -1))

    def assembly(self, text: str, constraints: str, result: str, args: list[tuple[str, str]], pure: bool = False) -> str:
        if text.startswith("rcp"):
            exact = np.float32(1) / self.get(args[0][1])
            return self.set((np.array(exact).view(np.int32) + self.off).view(np.float32)[()])
        return self.set(self.get(args[0][1]) * self.get(args[1][1]) >> 64)


def numbers() -> list[int]:
    rng = random.Random(7)
    edges = [1, 2, 3, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, MASK - 1, MASK, 10**9 + 7]
    return edges + [rng.getrandbits(rng.randrange(1, 65)) or 1 for _ in range(24)]


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("name", ["udiv", "urem", "sdiv", "srem"])
def test_quotients_are_exact(name, off):
    values = numbers()
    for x in [0, *values]:
        for y in values[:: 1 if x < 20 else 2]:
            machine = Machine(off)
            a, b = x, y
            if name[0] == "s":
                a, b = (v - (1 << 64) if v >> 63 else v for v in (x, y))
                if a == -(1 << 63) and b == -1:
                    continue
            q = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            want = (q if name.endswith("div") else a - q * b) & MASK
            assert machine.get(divided(machine, name, machine.set(x), machine.set(y))) == want, (x, y)  # type: ignore[arg-type]


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_reciprocals_are_never_too_large(off):
    """2⁶⁴ / d just below a whole number: what is too large by the last bit of f32 would be rounded to it."""
    for k in range(2, 300):
        y = (1 << 64) // k + 1
        for x in (MASK, y - 1, y):
            machine = Machine(off)
            assert machine.get(divided(machine, "udiv", machine.set(x), machine.set(y))) == x // y, (x, y)  # type: ignore[arg-type]


@jit
def product(a, b, out, n, K: tl.constexpr, M: tl.constexpr):
    m, k = tl.arange(0, M), tl.arange(0, 64)
    rows = (tl.program_id(0) * M + m.to(tl.int64)) % n
    acc = tl.zeros((M, 64), tl.float32)
    for i in range(0, K, 64):
        acc = tl.dot(tl.load(a + rows[:, None] * K + (i + k)[None, :]), tl.load(b + (i + k)[:, None] * 64 + k[None, :]), acc)
    tl.store(out + m[:, None] * 64 + k[None, :], acc)


@pytest.mark.parametrize("rows, here", [(64, True), (32, False)])
def test_kernels_with_wgmma_divide_so(rows, here):
    signature = {"a": "*bf16", "b": "*bf16", "out": "*fp32", "n": "i32", "K": "constexpr", "M": "constexpr"}
    source = ASTSource(product, signature, {"K": 512, "M": rows}, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    text = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4}).asm["ptx"]
    assert ("wgmma" in text) == here and ("rem.s64" in text) != here


@jit
def by_arguments(x, q, r, n, m, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(q + i, v // n)
    tl.store(r + i, v % m)


def test_quotients_by_one_number_share_their_divisor():
    """Zero and −1 are replaced by 1 whatever is divided, so that the assembler computes one reciprocal."""
    target = GPUTarget("cuda", 90, 32)
    types = {"x": "*i32", "q": "*i32", "r": "*i32", "n": "i32", "m": "i32", "N": "constexpr"}
    ptx = compile(ASTSource(by_arguments, types, {"N": 128}), target=target, options={"num_warps": 1}).asm["ptx"]
    for name in ("div", "rem"):
        divisors = re.findall(rf"{name}\.s32\s+\S+\s+\S+\s+(\S+);", ptx)
        assert len(divisors) == 4 and len(set(divisors)) == 1
