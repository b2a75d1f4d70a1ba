"""Copies of a later iteration are made of that iteration's addresses and masks, whatever else of the loop has the same ones."""

from __future__ import annotations

import re

import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def shares_its_mask(a, b, beside, out, sums, K, M: tl.constexpr, N: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BK)
    acc, total = tl.zeros((M, N), tl.float32), tl.zeros((M, BK), tl.float32)
    for i in range(0, K, BK):
        mask = (k[None, :] < K - i) & (m[:, None] < 100)
        total += tl.load(beside + m[:, None] * K + k[None, :] + i, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(a + m[:, None] * K + k[None, :] + i, mask=mask, other=0.0)
        y = tl.load(b + n[None, :] * K + k[:, None] + i, mask=k[:, None] < K - i, other=0.0)
        acc = tl.dot(x, y, acc)
    tl.store(out + m[:, None] * N + n[None, :], acc)
    tl.store(sums + m, tl.sum(total, 1))


def compiled(fn, floats: str, others: dict[str, str], constants: dict[str, int], arch: int, **options):
    """The LLVM text of ``fn`` for pointers ``floats`` to bfloat16, all divisible by 16."""
    signature = {**dict.fromkeys(floats.split(), "*bf16"), **others, **dict.fromkeys(constants, "constexpr")}
    attrs = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind != "constexpr"}
    return compile(ASTSource(fn, signature, constants, attrs), target=GPUTarget("cuda", arch, 32), options=options).asm["llir"]


def loops_behind_copies(text: str) -> list[set[str]]:
    """For each cp.async of ``text``: the names of the phis that its address and its condition are made of."""
    made = dict(re.findall(r"^\s*(%[\w.]+) = (.*)$", text, re.M))

    def walk(name: str, phis: set[str], seen: set[str]) -> set[str]:
        if name in made and name not in seen:
            seen.add(name)
            if made[name].startswith("phi"):
                phis.add(re.sub(r"\d+$", "", name))
            else:
                for x in re.findall(r"%[\w.]+", made[name]):
                    walk(x, phis, seen)
        return phis

    lines = [line for line in text.splitlines() if "cp.async.c" in line and ".shared.global" in line]
    return [set().union(*(walk(x, set(), set()) for x in re.findall(r"%[\w.]+", line))) for line in lines]


def test_a_mask_that_another_load_has():
    others = {"out": "*fp32", "sums": "*fp32", "K": "i32"}
    text = compiled(shares_its_mask, "a b beside", others, {"M": 128, "N": 128, "BK": 64}, 90, num_warps=4, num_stages=3)
    found = loops_behind_copies(text)
    assert len(found) == 32
    assert all(phis <= {"%ahead", "%slot"} for phis in found), found  # never %i, the iteration at hand


@jit
def between(a, b, out, first, last, step, BACK: tl.constexpr, STEP: tl.constexpr):
    """Blocks `first` … `last` of 64, which may be the last numbers that there are."""
    i, acc = tl.arange(0, 64), tl.zeros((64, 64), tl.float32)
    for k in range(last if BACK else first, first if BACK else last, STEP or step):
        at = (k - first) * 64
        acc = tl.dot(tl.load(a + at + i[:, None] * 64 + i[None, :]), tl.load(b + at + i[:, None] * 64 + i[None, :]), acc)
    tl.store(out + i[:, None] * 64 + i[None, :], acc)


@pytest.mark.parametrize("back, step, kinds", [(False, 1, ["max"]), (True, -1, ["min"]), (False, 0, ["max", "min"])])
def test_numbers_that_have_wrapped_around_are_beyond_the_end(back, step, kinds):
    """Conditions of copies compare distances from the first iteration, which have no sign; so does that of a loop whose first one takes place
    always (`Pipeline.once`).
    """
    types = {"out": "*fp32", "first": "i32", "last": "i32", "step": "i32"}
    text = compiled(between, "a b", types, {"BACK": back, "STEP": step}, 90, num_warps=4, num_stages=3)
    made = dict(re.findall(r"^\s*(%[\w.]+) = (.*)$", text, re.M))
    conditions = {
        c for line in text.splitlines() if "cp.async.c" in line and ".shared.global" in line for c in re.findall(r"i1 (%\w+)\)", line)
    }
    assert conditions
    for c in conditions:
        compared = [made[x] for x in re.findall(r"i1 (%\w+)", made[c])] if "select" in made[c] else [made[c]]
        assert all("icmp ult" in x for x in compared[-2:]), compared
    assert sorted(set(re.findall(r"call i32 @llvm\.s(m\w\w)\.i32", text))) == kinds
    assert not re.search(r"icmp s[lg]t i32 %i\d+", text)


@jit
def hashed(a, b, out, n, ROUNDS: tl.constexpr):
    """Blocks in an order of chance: each round asks twice for the number of the one before."""
    i, acc = tl.arange(0, 64), tl.zeros((64, 64), tl.float32)
    for k in range(0, n):
        x = k
        for _ in tl.static_range(ROUNDS):
            x ^= x << 3
        at = (x & 1023) * 4096
        acc = tl.dot(tl.load(a + at + i[:, None] * 64 + i[None, :]), tl.load(b + at + i[:, None] * 64 + i[None, :]), acc)
    tl.store(out + i[:, None] * 64 + i[None, :], acc)


def test_addresses_that_ask_for_a_number_on_many_ways():
    """2⁴⁰ ways lead from the iteration's number to its addresses: nobody may go all of them.  The iteration itself computes none."""
    text = compiled(hashed, "a b", {"out": "*fp32", "n": "i32"}, {"ROUNDS": 40}, 90, num_warps=4, num_stages=2)
    assert all(phis <= {"%ahead", "%slot"} for phis in loops_behind_copies(text))
    assert text.count("= shl i32 %") <= 2 * 40  # for the first copies and for those of a later iteration, not for the one at hand
