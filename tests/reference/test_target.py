"""Whole kernels through compile and load: control flow, arguments, debugging rows."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anytile.errors import AnytileError, DeviceAssertError, UnsupportedError
from anytile.ir import Block, Builder, Func, Module, ptr, scalar, tile
from anytile.ir.types import BF16, BOOL, F16, F32, F64, I8, I32, I64
from anytile.ir.verifier import verify
from anytile.targets import formats
from anytile.targets.base import struct_format
from anytile.targets.reference import ReferenceTarget


def launch(types, build, values, grid=(1, 1, 1), reload=False):
    f = Func("kernel", tuple(types), tuple(f"a{i}" for i in range(len(types))))
    b = Builder(f.body)
    build(b, *f.args)
    b.return_()
    module = Module([f])
    verify(module)
    target = ReferenceTarget()
    artifact = target.compile(module)
    loaded = (ReferenceTarget() if reload else target).load(artifact)
    packed = struct.pack(struct_format(types), *(v.ctypes.data if isinstance(v, np.ndarray) else v for v in values))
    loaded.run(packed, *grid)


@pytest.mark.parametrize("reload", [False, True])
def test_masked_sum_over_a_grid(reload):
    x = np.random.default_rng(5).standard_normal(100).astype(np.float32)
    out = np.zeros(2, np.float32)

    def build(b, x, out, n):
        pid = b.program_id(axis=0)
        lanes = b.add(b.splat(b.mul(pid, b.const(64, I32)), shape=(64,)), b.arange(start=0, end=64))
        loaded = b.load(b.addptr(b.splat(x, shape=(64,)), lanes), b.icmp(lanes, b.splat(n, shape=(64,)), pred="slt"))
        combine = Block((scalar(F32),) * 2)
        inner = Builder(combine)
        inner.yield_(inner.fadd(*combine.args))
        b.store(b.addptr(out, pid), b.make("reduce", [loaded], {"axis": 0}, (combine,)).result)

    launch([ptr(F32), ptr(F32), scalar(I32)], build, [x, out, 100], (2, 1, 1), reload)
    np.testing.assert_allclose(out, [x[:64].sum(), x[64:].sum()], rtol=1e-5)


def test_every_argument_type():
    elems = [I8, I64, BOOL, F16, BF16, F32, F64]
    values = [-5, -(2**62), 1, 1.5, -2.5, 0.1, 0.1]
    outs = [np.zeros(1, formats.storage(e)) for e in elems]

    def build(b, *args):
        for value, out in zip(args[: len(elems)], args[len(elems) :]):
            b.store(out, value)

    launch([*map(scalar, elems), *map(ptr, elems)], build, [*values, *outs])
    got = [float(formats.decode(o, e)[0]) if e.is_float else int(o[0]) for o, e in zip(outs, elems)]
    assert got == [-5, -(2**62), 1, 1.5, -2.5, float(np.float32(0.1)), 0.1]


@pytest.mark.parametrize(
    "lb, ub, step, unsigned", [(0, 10, 3, False), (5, -5, -2, False), (3, 3, 1, False), (9, 3, 1, False), (-3, -1, 1, True)]
)
def test_for(lb, ub, step, unsigned):
    out = np.zeros(2, np.int32)

    def build(b, out):
        body = Block((scalar(I32), scalar(I32), scalar(I32)))
        inner = Builder(body)
        i, total, count = body.args
        inner.yield_(inner.add(total, i), inner.add(count, inner.const(1, I32)))
        zero = b.const(0, I32)
        loop = b.make("for", [b.const(lb, I32), b.const(ub, I32), b.const(step, I32), zero, zero], {"unsigned": unsigned}, (body,))
        b.store(out, loop.results[0])
        b.store(b.addptr(out, b.const(1, I32)), loop.results[1])

    launch([ptr(I32)], build, [out])
    indices = list(range(lb, ub, step))
    assert out.tolist() == [sum(indices), len(indices)]


def test_step_zero_is_an_error():
    def build(b):
        body = Block((scalar(I32),))
        Builder(body).yield_()
        b.make("for", [b.const(0, I32), b.const(1, I32), b.const(0, I32)], {}, (body,))

    with pytest.raises(AnytileError, match="step 0"):
        launch([], build, [])


def test_while_and_if():
    """Steps of the Collatz sequence from 6 until 1."""
    out = np.zeros(1, np.int32)

    def build(b, out):
        before, body = Block((scalar(I32),) * 2), Block((scalar(I32),) * 2)
        w = Builder(before)
        w.condition(w.icmp(before.args[0], w.const(1, I32), pred="ne"), *before.args)
        w = Builder(body)
        n, steps = body.args
        even, odd = Block(), Block()
        e = Builder(even)
        e.yield_(e.sdiv(n, e.const(2, I32)))
        o = Builder(odd)
        o.yield_(o.add(o.mul(n, o.const(3, I32)), o.const(1, I32)))
        is_even = w.icmp(w.and_(n, w.const(1, I32)), w.const(0, I32), pred="eq")
        following = w.make("if", [is_even], blocks=(even, odd), types=(scalar(I32),)).result
        w.yield_(following, w.add(steps, w.const(1, I32)))
        loop = b.make("while", [b.const(6, I32), b.const(0, I32)], blocks=(before, body))
        b.store(out, loop.results[1])

    launch([ptr(I32)], build, [out])
    assert out[0] == 8


def test_print(capsys):
    def build(b):
        lanes = b.arange(start=0, end=16)
        grid = b.reshape(b.arange(start=0, end=4), shape=(2, 2))
        b.print(lanes, prefix="x", signed=(1,))
        b.print(grid, b.const(1.5, tile((2, 2), F16)), prefix="")
        b.print(b.const(-1, I8), prefix=" u: ", signed=(0,))
        b.print(b.const(-1, I8), prefix="h", hex=True)
        b.print(prefix="no arg")

    launch([], build, [], (1, 2, 1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["pid (0, 0, 0) idx ( 0) x: 0", "pid (0, 0, 0) idx ( 1) x: 1"]
    assert lines[16:21] == [f"pid (0, 0, 0) idx ({i}, {j}): (operand 0) {2 * i + j}" for i in (0, 1) for j in (0, 1)] + [
        "pid (0, 0, 0) idx (0, 0): (operand 1) 1.500000"
    ]
    assert lines[24:27] == ["pid (0, 0, 0) idx () u: 255", "pid (0, 0, 0) idx () h: 0xff", "pid (0, 0, 0) no arg"]
    assert lines[27] == "pid (0, 1, 0) idx ( 0) x: 0" and len(lines) == 54


def test_assert_names_place_program_and_lane():
    def build(b):
        lanes = b.arange(start=0, end=8)
        ok = b.icmp(lanes, b.const(5, tile((8,), I32)), pred="ne")
        b.op("assert", b.or_(ok, b.const(1, tile((8,), BOOL))), message="never", file="k.py", line=3)
        b.op("assert", ok, ok, message="masked", file="k.py", line=4)
        b.op("assert", ok, message="x != 5", file="k.py", function="kernel", line=7)

    with pytest.raises(
        DeviceAssertError, match=r"k.py:7 in kernel: device-side assert 'x != 5' failed in program \(0, 0, 0\), lane \(5,\)"
    ):
        launch([], build, [])
    assert issubclass(DeviceAssertError, RuntimeError)


def test_inline_assembly_is_refused():
    def build(b):
        b.make("inline_asm", [b.const(1, I32)], {"asm": "mov $0, $1;", "constraints": "=r,r"}, types=(scalar(I32),))

    with pytest.raises(UnsupportedError, match="inline assembly .*mov"):
        launch([], build, [])


def test_hints_and_clock():
    out = np.zeros(1, np.int64)

    def build(b, out):
        b.assume(b.const(1, BOOL))
        b.barrier()
        b.store(b.hint(out, kind="divisible", values=(8,)), b.clock())

    launch([ptr(I64)], build, [out])
    assert out[0] > 0
