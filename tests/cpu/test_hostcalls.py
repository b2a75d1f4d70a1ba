"""`print` and `assert` rows on the CPU: the reference target's text, the pool's stop."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anytile.errors import DeviceAssertError
from anytile.ir import Builder, Func, Module, ptr, scalar, tile
from anytile.ir.types import BF16, BOOL, F8E4M3, F8E5M2, F16, F32, F64, I8, I16, I32, I64
from anytile.targets.base import struct_format
from anytile.targets.cpu import CpuTarget
from anytile.targets.reference import ReferenceTarget

ASSERT = {"message": "x is small", "file": "k.py", "function": "kernel", "line": 7}


def launch(target, types, build, values, grid=(1, 1, 1)):
    f = Func("kernel", tuple(types), tuple(f"a{i}" for i in range(len(types))))
    b = Builder(f.body)
    build(b, *f.args)
    b.return_()
    loaded = target.load(target.compile(Module([f]), None))
    loaded.run(struct.pack(struct_format(list(types)), *values), *grid)


def both_print(capsys, types, build, values, grid=(1, 1, 1)) -> list[str]:
    out = []
    for target in (CpuTarget(), ReferenceTarget()):
        launch(target, types, build, values, grid)
        out.append(sorted(capsys.readouterr().out.splitlines()))
    assert out[0] == out[1]
    return out[0]


@pytest.mark.parametrize("elem", [BOOL, I8, I16, I32, I64, F8E4M3, F8E5M2, F16, BF16, F32, F64], ids=str)
@pytest.mark.parametrize("hexadecimal", [False, True])
def test_prints_every_element_type(capsys, elem, hexadecimal):
    def build(b, x):
        r = b.sub(b.arange(start=0, end=4), b.const(1, tile((4,), I32)))
        if elem.is_int:
            v = b.trunci(r, to=elem) if elem.bits < 32 else r if elem is I32 else b.sext(r, to=elem)
        else:
            v = b.sitofp(r, to=F32)
            v = v if elem is F32 else b.fpcast(v, to=elem)
        b.make("print", [v], {"prefix": " v: ", "hex": hexadecimal, "signed": (0,)})

    lines = both_print(capsys, [scalar(I32)], build, [3])
    assert len(lines) == 4 and lines[0].startswith("pid (0, 0, 0) idx (0) v: ")


def test_prints_scalars_pointers_and_several_operands(capsys):
    data = np.zeros(4, np.float32)

    def build(b, p, n):
        t = b.reshape(b.arange(start=0, end=8), shape=(2, 4))
        b.make("print", [t, n, b.splat(p, shape=(2,)), b.program_id(axis=1)], {"prefix": "many", "signed": (1, 1, 0, 1)})
        b.make("print", [], {"prefix": "nothing"})

    lines = both_print(capsys, [ptr(F32), scalar(I32)], build, [data.ctypes.data, -5], grid=(2, 2, 1))
    assert "pid (1, 1, 0) idx () many: (operand 1) -5" in lines and "pid (0, 1, 0) nothing" in lines


def test_print_inside_loop_keeps_program_order(capsys):
    def build(b, n):
        from anytile.ir import Block

        body = Block((scalar(I32),))
        inner = Builder(body)
        inner.make("print", [body.args[0]], {"prefix": "i", "signed": (1,)})
        inner.make("yield", [])
        b.make("for", [b.const(0, I32), n, b.const(1, I32)], {}, (body,))

    launch(CpuTarget(), [scalar(I32)], build, [12])
    assert capsys.readouterr().out.splitlines() == [f"pid (0, 0, 0) idx () i: {i}" for i in range(12)]


def asserting(shape, with_mask):
    def build(b, n, limit):
        size = int(np.prod(shape, dtype=int))
        i = b.arange(start=0, end=size) if shape else b.program_id(axis=0)
        i = b.reshape(i, shape=shape) if len(shape) > 1 else i
        spread = (lambda v: b.splat(v, shape=shape)) if shape else (lambda v: v)
        mask = b.icmp(i, spread(limit), pred="slt") if with_mask else None
        b.make("assert", [b.icmp(i, spread(n), pred="slt"), mask], ASSERT)

    return build


@pytest.mark.parametrize("shape", [(), (1,), (8,), (64,), (4, 32), (2, 4, 8)], ids=str)
def test_assert_says_what_the_reference_says(shape):
    types = [scalar(I32), scalar(I32)]
    for with_mask in (False, True):
        launch(CpuTarget(), types, asserting(shape, with_mask), [1000, 1000])
        messages = []
        for target in (CpuTarget(), ReferenceTarget()):
            with pytest.raises(RuntimeError, match=r"k.py:7 in kernel: device-side assert 'x is small' failed") as info:
                launch(target, types, asserting(shape, with_mask), [0, 1000])
            assert type(info.value) is DeviceAssertError
            messages.append(str(info.value))
        assert messages[0] == messages[1]
    launch(CpuTarget(), types, asserting(shape, True), [0, 0])


def test_failed_assert_stops_its_program_and_withdraws_others():
    seen = np.zeros(1 << 20, np.int32)

    def build(b, p):
        pid = b.program_id(axis=0)
        b.make("assert", [b.icmp(pid, b.const(5, I32), pred="ne")], ASSERT)
        b.store(b.addptr(p, pid), b.const(1, I32))

    with pytest.raises(DeviceAssertError, match=r"program \(5, 0, 0\)"):
        launch(CpuTarget(), [ptr(I32)], build, [seen.ctypes.data], grid=(seen.size, 1, 1))
    assert seen[5] == 0 and seen.sum() < seen.size - 1
