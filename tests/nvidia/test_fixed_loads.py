"""Single numbers that a loop does not change are loaded in front of it; tests of bits take one instruction; read off the PTX."""

from __future__ import annotations

import re

import pytest
from ptx_text import loops
from test_packing import ptx

import anytile.language as tl
from anytile.runtime.jit import jit

TYPES = {"x": "*fp32", "table": "*fp32", "out": "*fp32", "n": "i32"}


@jit
def scaled(x, table, out, n, N: tl.constexpr):
    i, total = tl.arange(0, N), tl.zeros((N,), tl.float32)
    for k in range(0, n, N):
        total += tl.load(x + k + i) * tl.load(table) + tl.load(table + n)
    tl.store(out + i, total)


@jit
def looked_up_twice(x, table, out, n, N: tl.constexpr):
    """The second load's address is what the first one loads."""
    i, total = tl.arange(0, N), tl.zeros((N,), tl.float32)
    for k in range(0, n, N):
        at = tl.load(table).to(tl.int32)
        total += tl.load(x + k + i) * tl.load(table + at)
    tl.store(out + i, total)


@jit
def stored_between(x, table, out, n, N: tl.constexpr):
    i = tl.arange(0, N)
    for k in range(0, n, N):
        tl.store(out + k + i, tl.load(x + k + i) * tl.load(table))


@jit
def waited_for(x, table, out, n, N: tl.constexpr):
    i, total = tl.arange(0, N), tl.zeros((N,), tl.float32)
    for k in range(0, n, N):
        total += tl.load(x + k + i) * tl.load(table, volatile=True)
    tl.store(out + i, total)


@jit
def if_at_all(x, table, out, n, N: tl.constexpr):
    i, total = tl.arange(0, N), tl.zeros((N,), tl.float32)
    for k in range(0, n, N):
        if k > 1000:
            total += tl.load(x + k + i) * tl.load(table)
    tl.store(out + i, total)


def loads(kernel) -> tuple[int, int]:
    """(loads of single numbers in the loop, such loads in front of it that a predicate may switch off)."""
    text = ptx(kernel, constants={"N": 128}, **TYPES)
    body = max(loops(text), key=len)
    front = text[: text.index(body[0])]
    return len(re.findall(r"ld\S*\.global\S*\.b32", "\n".join(body))), len(re.findall(r"@%p\d+ ld\.global\.b32", front))


@pytest.mark.parametrize(("kernel", "in_loop", "in_front"), [(scaled, 1, 2), (looked_up_twice, 1, 2)])
def test_loaded_in_front_where_the_loop_runs(kernel, in_loop, in_front):
    assert loads(kernel) == (in_loop, in_front)


@pytest.mark.parametrize("kernel", [stored_between, waited_for, if_at_all])
def test_stays_where_memory_may_change_or_a_branch_decides(kernel):
    assert loads(kernel) == (2, 0)


@jit
def chosen(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    b = tl.load(x + i).to(tl.int32)
    high = b >> 4
    tl.store(out + i, tl.where((high & 2) != 0, tl.where((b & 4) == 0, 1.0, 2.0), tl.where((high & 8) != 0, 3.0, 4.0)))


def test_bits_are_tested_where_they_are():
    text = ptx(chosen, constants={"N": 128}, x="*u8", out="*fp32")
    assert [int(n) for n in re.findall(r"and\.b32\s+\S+ \S+ (\d+);", text) if n in ("32", "4", "128")] == [32, 4, 128]
    assert "bfe" not in text and len(re.findall(r"setp\.(?:ne|eq)\.b32", text)) == 3


@jit
def looked_up(x, table, out, n, N: tl.constexpr):
    i, total = tl.arange(0, N), tl.zeros((N,), tl.float32)
    for k in range(0, n, N):
        codes = tl.load(table + tl.arange(0, 16))
        at = tl.load(x + k + i).to(tl.int32)
        total += tl.gather(codes, at & 15, 0) * tl.gather(codes, at >> 4 & 15, 0)
    tl.store(out + i, total)


def test_a_table_that_a_loop_looks_numbers_up_in_is_put_where_all_find_it_once():
    """It is loaded and stored in front of the loop, which has no barrier."""
    text = ptx(looked_up, constants={"N": 128}, **TYPES)
    body = "\n".join(max(loops(text), key=len))
    assert body.count("ld.global") == 1 and body.count("ld.shared") == 2 and "bar.sync" not in body and "st.shared" not in body
    assert text.count("st.shared") == 1


@jit
def many_tables(x, table, out, n, TABLES: tl.constexpr):
    """Each table takes 4 KiB: that all of them stay in shared memory while the loop runs is no reason to refuse the kernel."""
    i = tl.arange(0, 1024)
    tables = ()
    for t in tl.static_range(TABLES):
        tables = tables + (tl.load(table + t * 1024 + i),)
    total = tl.zeros((1024,), tl.float32)
    for step in range(n):
        index = tl.load(x + step * 1024 + i)
        for t in tl.static_range(TABLES):
            total += tl.gather(tables[t], index, 0)
    tl.store(out + i, total)


def test_tables_that_do_not_fit_are_put_into_shared_memory_in_turn():
    assert "ld.shared" in ptx(many_tables, 90, 4, {"TABLES": 60}, x="*i32", table="*fp32", out="*fp32", n="i32")
