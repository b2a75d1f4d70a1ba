"""Stores past the caches: where there are some, and that they store what they should."""

from __future__ import annotations

import re

import numpy as np
import pytest
from differential import OPTIONS, launch

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu import CpuTarget, nontemporal
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current, named

CPU = CpuTarget()


def add_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i, mask=i < n) + tl.load(y + i, mask=i < n), mask=i < n)


def two_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(y + i, v * 2)
    tl.store(o + i, v + 1)


def in_place_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(o + i) + tl.load(x + i))


def signalling_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i) + 1)
    tl.atomic_add(y, 1)


def summing_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(o + i, v / tl.sum(v, 0))


def gathering_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + (i * 3) % n, tl.load(x + i))


def blocks_kernel(x, y, o, n, B: tl.constexpr):
    row = tl.program_id(0) * n
    for start in range(0, n, B):
        i = start + tl.arange(0, B)
        tl.store(o + row + i, tl.load(x + row + i, mask=i < n) + 1, mask=i < n)


def read_in_the_next_loop_kernel(x, y, o, n, B: tl.constexpr):
    for start in range(0, n, B):
        i = start + tl.arange(0, B)
        tl.store(o + i, tl.load(x + i) + 1)
    for start in range(0, n, B):
        i = start + tl.arange(0, B)
        tl.store(x + i, tl.load(o + i) + 1)


def adding_kernel(x, y, o, n, B: tl.constexpr):
    i = tl.arange(0, B)
    sums = tl.zeros((B,), tl.float32)
    for row in range(tl.program_id(0) * n, (tl.program_id(0) + 1) * n):
        v = tl.load(x + row * B + i)
        tl.store(o + row * B + i, v * 2)
        sums += v
    tl.store(y + tl.program_id(0) * B + i, sums)


def text_of(kernel, element="fp32", machine=None):
    signature = {name: f"*{element}" if len(name) == 1 and name != "n" else "i32" for name in "xyon"} | {"B": "constexpr"}
    module = trace(JITCallable(kernel), signature, {(4,): 4096}, {}, OPTIONS)
    return lower(module, OPTIONS, machine or current())[1]


@pytest.mark.parametrize("kernel", [add_kernel, two_kernel, summing_kernel, blocks_kernel, adding_kernel])
@pytest.mark.parametrize(
    ("machine", "element"), [("avx512", "fp32"), ("avx512", "fp16"), ("avx512", "i8"), ("avx2", "fp32"), ("avx2", "fp16")]
)
def test_streams_may_go_past_the_caches_and_are_waited_for(kernel, machine, element):
    text = text_of(kernel, element, named(machine))
    assert "!nontemporal" in text
    entries = 3 if kernel is adding_kernel else 1  # of a lone program's rows in parts, the parts and the end wait, too
    assert text.count("call void @llvm.x86.sse.sfence()") == entries


@pytest.mark.parametrize("kernel", [in_place_kernel, signalling_kernel, gathering_kernel, read_in_the_next_loop_kernel])
def test_other_stores_stay(kernel):
    text = text_of(kernel)
    assert "!nontemporal" not in text
    assert "sfence" not in text


@pytest.mark.parametrize(("machine", "limit"), [("avx512", 32 << 20), ("amx", 16 << 20)])
def test_what_a_launch_stores_decides_and_by_the_machine_from_when_on(machine, limit):
    for kernel in (add_kernel, two_kernel):
        assert re.search(rf"icmp uge i64 %programs\d+, {limit // (4096 * 4)}\b", text_of(kernel, machine=named(machine)))


def test_only_on_machines_that_have_them():
    assert "!nontemporal" not in text_of(add_kernel, machine=named("neon"))


@pytest.mark.parametrize("shift", [0, 1, 16])
@pytest.mark.parametrize("kernel", [add_kernel, two_kernel])
@pytest.mark.parametrize("name", ["float32", "float16", "int8", "float64"])
def test_values_at_any_address(monkeypatch, kernel, name, shift):
    monkeypatch.setattr(nontemporal, "AT_LEAST", 1)
    x, y, o = (np.zeros(4 * 1024 + 64, name) for _ in range(3))
    start = -(o.ctypes.data // o.itemsize) % (64 // o.itemsize) + shift  # a line's first element, or some behind it
    n = 4096 if kernel is two_kernel else 3000
    x[:], y[:] = np.arange(x.size) % 50, np.arange(x.size) % 31
    want = x[:n] + y[:n] if kernel is add_kernel else x[:n] + 1
    launch(CPU, kernel, (2, 1, 1), x=x, y=y, o=o[start : start + 4096], n=n, B=2048)
    np.testing.assert_array_equal(o[start : start + n], want)
    assert not o[:start].any() and not o[start + n :].any()
    if kernel is two_kernel:
        np.testing.assert_array_equal(y[:n], x[:n] * 2)


@pytest.mark.parametrize(("programs", "n"), [(3, 6000), (3, 100), (1, 8192), (2, 8192)])
def test_values_of_rows_in_blocks(monkeypatch, programs, n):
    monkeypatch.setattr(nontemporal, "AT_LEAST", 4 * 4096 * 4)  # all of the grids but the two in the middle
    x = np.arange(programs * n, dtype=np.float32)
    o = np.zeros_like(x)
    launch(CPU, blocks_kernel, (programs, 1, 1), x=x, y=x, o=o, n=n, B=4096)
    np.testing.assert_array_equal(o, x + 1)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("least", [1, 1 << 40])
def test_rows_stored_beside_sums(monkeypatch, rows, least):
    monkeypatch.setattr(nontemporal, "AT_LEAST", least)
    x = np.random.default_rng(rows).integers(-50, 50, (3 * rows + 1, 4096)).astype(np.float32)
    o, y = np.zeros_like(x), np.ones((3, 4096), np.float32)
    launch(CPU, adding_kernel, (3, 1, 1), x=x, y=y, o=o, n=rows, B=4096)
    np.testing.assert_array_equal(o[:-1], 2 * x[:-1])
    np.testing.assert_array_equal(y, x[:-1].reshape(3, rows, 4096).sum(1))
    assert not o[-1].any()
