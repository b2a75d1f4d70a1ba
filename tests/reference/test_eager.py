"""Kernels run as Python: the eager builder, and `runtime.interpret.run_eager` against the compiled tile IR."""

from __future__ import annotations

import struct
import traceback

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import DeviceAssertError, IRError
from anytile.frontend.trace import trace
from anytile.ir import scalar
from anytile.ir.types import BF16, F32, I32
from anytile.runtime.driver import GPUTarget
from anytile.runtime.interpret import run_eager
from anytile.runtime.jit import JITFunction
from anytile.runtime.options import Options
from anytile.targets.base import struct_format
from anytile.targets.reference import ReferenceTarget, memory
from anytile.targets.reference.eager import EagerBuilder, EagerValue
from anytile.targets.reference.executor import Program


def options(**given):
    return Options.of(given, GPUTarget("reference", "x86_64", 1), "kernel")


def test_builder_executes_and_checks():
    b = EagerBuilder(Program((3, 0, 0), (4, 1, 1)))
    x = b.add(b.program_id(axis=0), b.const(4, I32))
    assert isinstance(x, EagerValue) and int(x.data) == 7
    assert b.block.ops == [] and not x.uses
    with pytest.raises(IRError, match="operand types differ"):
        b.add(x, b.const(1.0, F32))
    low, high = b.split(b.arange(start=5, end=7))
    assert (int(low.data), int(high.data)) == (5, 6)
    half = b.const(1.5, scalar(BF16))
    assert half.data.dtype == np.uint16 and half.numpy() == 1.5
    assert b.const(-1, I32).numpy(signed=False) == 2**32 - 1


@JITFunction
def scaled(x, FACTOR: tl.constexpr):
    return x * FACTOR, x + 1


@JITFunction
def larger(a, b):
    return tl.maximum(a, b)


@JITFunction
def clipped(a):
    if a > 3:
        a = a - 3
    return a


@JITFunction
def everything(x, y, n, s, BLOCK: tl.constexpr, MODE: tl.constexpr = None):
    pid = tl.program_id(0)
    lanes = pid * BLOCK + tl.arange(0, BLOCK)
    mask = lanes < n
    v = tl.load(x + lanes, mask=mask, other=0.0)
    if MODE is None:
        v, w = scaled(v, 2)
    acc = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n, BLOCK):
        acc += tl.sum(v, axis=0) + i.to(tl.float32)
    for j in tl.range(3):
        acc += j
    for j in tl.static_range(2):
        acc += j
    if pid == 0:
        acc = tl.softmax(acc)
    count = 0
    while count * count < n:
        count += 1
    best = tl.reduce(v, 0, larger)
    if best > 3 and pid > 0:
        acc += count
    acc += tl.cumsum(v, 0) + tl.argmax(v, 0) + tl.rand(3, lanes) * s + tl.map_elementwise(clipped, w)
    tl.store(y + lanes, min(acc, 1e6), mask=mask)


def test_interpreted_equals_compiled():
    x, opts = np.arange(6, dtype=np.float32), options()
    eager, compiled = np.zeros(6, np.float32), np.zeros(6, np.float32)
    run_eager(everything, {"x": x, "y": eager, "n": 6, "s": 0.5, "BLOCK": 4}, (2, 1, 1), opts)
    signature = {"x": "*fp32", "y": "*fp32", "n": "i32", "s": "fp32", "BLOCK": "constexpr", "MODE": "constexpr"}
    module = trace(everything, signature, {(4,): 4, (5,): None}, {}, opts)
    target = ReferenceTarget()
    packed = struct.pack(struct_format([a.type for a in module.kernel.args]), x.ctypes.data, compiled.ctypes.data, 6, 0.5)
    target.load(target.compile(module)).run(packed, 2, 1, 1)
    np.testing.assert_array_equal(eager, compiled)
    assert eager.any()


@JITFunction
def printing(x, n):
    v = tl.load(x + tl.arange(0, 4))
    print("loaded", v, n)
    print(f"{tl.sum(v, 0)!r} {v.to(tl.bfloat16)}")
    tl.device_print("v", tl.sum(v, 0))


def test_print_shows_values(capsys):
    run_eager(printing, {"x": np.array([1, 2, 3, 4.5], np.float32), "n": 7}, (1, 1, 1), options())
    assert capsys.readouterr().out.splitlines() == [
        "loaded [1.  2.  3.  4.5] 7",
        "tensor(10.5, fp32) [1.  2.  3.  4.5]",
        "pid (0, 0, 0) idx () v: 10.500000",
    ]


@JITFunction
def failing(x, n):
    v = tl.load(x + tl.arange(0, 4))
    if n > 3:
        raise RuntimeError(f"n is {n}")  # line marked
    if v > 0:
        tl.store(x, v)


def test_exceptions_come_from_the_kernels_line():
    x = np.zeros(4, np.int32)
    with pytest.raises(RuntimeError, match="n is 5") as e:
        run_eager(failing, {"x": x, "n": 5}, (1, 1, 1), options())
    assert "line marked" in traceback.extract_tb(e.value.__traceback__)[-1].line
    with pytest.raises(TypeError, match="has no one truth"):
        run_eager(failing, {"x": x, "n": 2}, (1, 1, 1), options())


@JITFunction
def asserting(x):
    tl.device_assert(tl.arange(0, 4) < 3, "small")


ASSERTING = asserting.fn.__code__.co_firstlineno + 2


def test_asserts_name_the_kernels_line():
    run_eager(asserting, {"x": np.zeros(4)}, (1, 1, 1), options())
    with pytest.raises(DeviceAssertError, match=rf"test_eager.py:{ASSERTING} in asserting: .*'small'.*lane \(3,\)"):
        run_eager(asserting, {"x": np.zeros(4)}, (1, 1, 1), options(debug=True))


@JITFunction
def of_arguments(out, pair, flag, wide, unsigned, KIND: tl.constexpr):
    a, b = pair
    value = a.to(tl.float32) + b
    if flag:
        value += 1
    tl.static_assert(wide.dtype == tl.int64)
    tl.static_assert(unsigned.dtype == tl.uint64)
    tl.store(out, value.to(KIND))


def test_arguments_of_all_kinds():
    out = np.zeros(1, np.float16)
    args = {"out": out, "pair": (3, 0.5), "flag": True, "wide": 2**40, "unsigned": 2**64 - 1, "KIND": tl.float16}
    run_eager(of_arguments, args, (1, 1, 1), options())
    assert out[0] == 4.5


def test_outside_of_interpretation_values_stay_unknown():
    with pytest.raises(RuntimeError, match="for statement"):
        iter(tl.range(3))


@JITFunction
def overrunning(x, n, BLOCK: tl.constexpr):
    lanes = tl.arange(0, BLOCK)
    tl.store(x + lanes, lanes)


def test_bounds_are_checked_at_the_kernels_line():
    x = np.zeros(6, np.int32)
    memory.register(x.ctypes.data, x.nbytes, "x")
    try:
        with pytest.raises(memory.BoundsError, match=r"store at .*test_eager.py:\d+.*lane \(6,\) .*'x', 0 bytes past its end"):
            run_eager(overrunning, {"x": x, "n": 6, "BLOCK": 8}, (1, 1, 1), options())
    finally:
        memory.clear()
    assert not x.any()
