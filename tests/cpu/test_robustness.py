"""Many launches, large and tiny tiles, deep expressions, and Ctrl-C."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from differential import launch, same

import anytile.language as tl
from anytile.ir import Builder, Func, Module, ptr, scalar
from anytile.ir.types import BF16, F16, F32
from anytile.runtime.jit import jit
from anytile.targets.base import struct_format
from anytile.targets.cpu import CpuTarget
from anytile.targets.reference import ReferenceTarget


def increment(p, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(p + i, tl.load(p + i) + 1)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's own account of memory")
def test_ten_thousand_launches_take_no_memory():
    x = np.zeros(64, np.float32)
    f = Func("k", (ptr(F32),), ("p",))
    b = Builder(f.body)
    p = b.addptr(b.splat(f.args[0], shape=(64,)), b.arange(start=0, end=64))
    v = b.load(p)
    b.store(p, b.fadd(v, b.const(1.0, v.type)))
    b.return_()
    loaded = CpuTarget().load(CpuTarget().compile(Module([f]), None))
    packed = struct.pack("<Q", x.ctypes.data)

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for _ in range(200):
        loaded.run(packed, 1, 1, 1)
    before = pages()
    for _ in range(10_000):
        loaded.run(packed, 1, 1, 1)
    assert x[0] == 10_200 and pages() - before < 64


def large(p, o, B: tl.constexpr):
    v = tl.load(p + tl.arange(0, B))
    tl.store(o + tl.arange(0, B), tl.cumsum(v, axis=0) + tl.sum(v, axis=0))


def test_tile_of_a_million_elements():
    n = 1 << 20
    p, o = np.ones(n, np.int32), np.zeros(n, np.int32)
    launch(CpuTarget(), large, (3, 1, 1), p=p, o=o, B=n)
    np.testing.assert_array_equal(o, np.arange(1, n + 1) + n)


def deep(p, B: tl.constexpr):
    v = tl.load(p + tl.arange(0, B))
    for k in tl.static_range(1000):
        v = (v * 3) ^ k
    tl.store(p + tl.arange(0, B), v)


def deep_scalar(p):
    v = tl.load(p)
    for k in tl.static_range(1000):
        v = (v * 3) ^ k
    tl.store(p, v)


def test_expressions_two_thousand_operations_deep():
    same(deep, p=np.arange(32, dtype=np.int32), B=32)
    same(deep_scalar, p=np.arange(32, dtype=np.int32))


def test_deep_expression_in_a_thread():
    errors = []

    def run() -> None:
        try:
            launch(CpuTarget(), deep, (1, 1, 1), p=np.zeros(16, np.int32), B=16)
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors


def single(p, o, n):
    v = tl.load(p + tl.arange(0, 1))
    w = tl.sum(tl.sum(tl.reshape(v, (1, 1, 1)), axis=0), axis=0)
    u = tl.cumsum(w, axis=0) + tl.trans(tl.reshape(v, (1, 1))).reshape((1,))
    total = u
    for _ in range(n):
        total = total + u
    tl.store(o + tl.arange(0, 1), total + tl.max(u, axis=0))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_tiles_of_one_element(n):
    same(single, p=np.full(1, 2, np.float32), o=np.zeros(1, np.float32), n=n)


def nothing():
    pass


def never(p, n, B: tl.constexpr):
    v = tl.load(p + tl.arange(0, B))
    for _ in range(n, 0):
        v = v * 2
    for _ in range(n, 0):
        tl.store(p + tl.arange(0, B), v * 0)
    tl.store(p + tl.arange(0, B), v + 1)


def test_no_arguments_and_no_iterations():
    launch(CpuTarget(), nothing, (5, 1, 1))
    same(never, p=np.arange(64, dtype=np.float32), n=4, B=64)


@pytest.mark.parametrize("x", [1.2345, -0.0, 1e-40, 3e-39, 1.00390625, 1.01171875, 3.4e38, -math.inf, math.nan])
@pytest.mark.parametrize("elem", [F16, BF16], ids=str)
def test_narrow_scalar_arguments(elem, x):
    out = []
    for target in (CpuTarget(), ReferenceTarget()):
        f = Func("k", (ptr(elem), scalar(elem)), ("p", "x"))
        b = Builder(f.body)
        b.store(f.args[0], f.args[1])
        b.return_()
        bits = np.zeros(1, np.uint16)
        artifact = target.compile(Module([f]), None)
        target.load(artifact).run(struct.pack(struct_format([a.type for a in f.args]), bits.ctypes.data, x), 1, 1, 1)
        out.append(int(bits[0]))
        # LLVM would round by an instruction that makes zeros of subnormal numbers, where the machine has it.
        assert elem is F16 or "to bfloat" not in artifact.stages.get("llir", "")
    assert out[0] == out[1]


INTERRUPTED = """
import os, signal, struct, threading, time
from anytile.ir import Builder, Func, Module
from anytile.targets.cpu import CpuTarget
f = Func("k", (), ())
b = Builder(f.body)
b.return_()
loaded = CpuTarget().load(CpuTarget().compile(Module([f]), None))
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.time()
try:
    for _ in range(1000):
        loaded.run(b"", 2**31 - 1, 1, 1)
except KeyboardInterrupt:
    print("interrupted", time.time() - start < 5)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
def test_control_c_in_a_grid_of_two_billion_programs():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "interrupted True", done.stderr


@jit
def masked_by_a_web(x, out, n, N: tl.constexpr):
    i = tl.arange(0, N)
    j, m = i, i < n
    for _ in tl.static_range(48):
        j = (j & 7) + (j | 1) - 1  # every value is used twice: 2**48 ways from the mask to i
        m = m & (j >= 0) & m
    tl.store(out + i, tl.load(x + i, mask=m & (j < n)), mask=m)


def test_masks_whose_values_are_used_many_times():
    x, out = np.arange(64, dtype=np.float32), np.zeros(64, dtype=np.float32)
    masked_by_a_web[(1,)](x, out, 50, N=64)
    assert not out[50:].any()
