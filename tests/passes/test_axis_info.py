"""Axis and range facts on the expressions kernels are made of, and both against brute force on random programs."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from strategies import examples, programs

from anytile.ir.parser import parse_module
from anytile.passes.axis_info import AxisInfo
from anytile.passes.range_info import Range, RangeInfo
from anytile.targets.reference import executor

KERNEL = parse_module("""func @k(%x: ptr<f32> {divisible = 16}, %n: i32 {divisible = 16}, %stride: i32 {divisible = 16}) {
  %pid = program_id {axis = 0} : i32
  %c = constant {value = 64, type = i32} : i32
  %start = mul %pid, %c : i32
  %r = arange {start = 0, end = 64} : tile<64xi32>
  %s = splat %start {shape = [64]} : tile<64xi32>
  %offs = add %s, %r : tile<64xi32>
  %nn = splat %n {shape = [64]} : tile<64xi32>
  %mask = icmp %offs, %nn {pred = "slt"} : tile<64xi1>
  %xs = splat %x {shape = [64]} : tile<64xptr<f32>>
  %p = addptr %xs, %offs : tile<64xptr<f32>>
  %eight = constant {value = 8, type = tile<64xi32>} : tile<64xi32>
  %row = udiv %r, %eight : tile<64xi32>
  %col = urem %r, %eight : tile<64xi32>
  %z = constant {value = 0, type = i32} : i32
  %last = for %z, %n, %c, %start ^(%i: i32, %a: i32) {
    %next = add %a, %c : i32
    yield %next
  } : i32
  return
}""")


def test_facts_of_a_typical_kernel() -> None:
    f = KERNEL.kernel
    info = AxisInfo(f)
    values = {r.name: r for op in f.walk() for r in op.results}
    assert info[values["offs"]].contiguity == (64,)
    assert info[values["offs"]].divisibility == (64,)
    assert info[values["mask"]].constancy == (16,)
    assert info.run(values["p"]) == (64, 16)
    assert info[values["row"]].constancy == (8,)
    assert info[values["col"]].contiguity == (8,)
    assert info[values["last"]].divisibility == (64,)
    assert info.ranges[values["row"]] == Range(0, 7)
    assert info.ranges[values["col"]] == Range(0, 7)


def test_quotients_and_remainders_by_an_argument() -> None:
    """Sixteen neighbours have one quotient by what sixteen divides, whatever it is: FlagGems' concatenation and upsampling."""
    f = parse_module("""func @k(%n: i32 {divisible = 16}, %m: i32) {
  %r = arange {start = 0, end = 64} : tile<64xi32>
  %nn = splat %n {shape = [64]} : tile<64xi32>
  %mm = splat %m {shape = [64]} : tile<64xi32>
  %row = sdiv %r, %nn : tile<64xi32>
  %col = srem %r, %nn : tile<64xi32>
  %any = sdiv %r, %mm : tile<64xi32>
  return
}""").kernel
    info = AxisInfo(f)
    values = {r.name: r for op in f.walk() for r in op.results}
    assert info[values["row"]].constancy == (16,) and info[values["col"]].contiguity == (16,)
    assert info[values["any"]].constancy == (1,)


def test_runs_break_where_a_width_does_not_hold_them() -> None:
    f = parse_module("""func @k() {
  %r = arange {start = 0, end = 256} : tile<256xi32>
  %byte = trunci %r {to = i8} : tile<256xi8>
  %wide = zext %byte {to = i32} : tile<256xi32>
  %half = trunci %r {to = i16} : tile<256xi16>
  return
}""").kernel
    info = AxisInfo(f)
    values = {r.name: r for op in f.walk() for r in op.results}
    assert info[values["byte"]].contiguity == info[values["wide"]].contiguity == (1,)
    assert info[values["half"]].contiguity == (256,)


class _Recorder(executor.Program):
    """A program that checks every value against the facts as it is computed."""

    info: AxisInfo
    ranges: RangeInfo

    def run_block(self, block, args):
        for v, a in zip(block.args, args, strict=True):
            self.check(v, a)
        out = super().run_block(block, args)
        for op in block.ops:
            for r in op.results:
                if r in self.env:
                    self.check(r, self.env[r])
        return out

    def check(self, v, array) -> None:
        e = v.type.elem
        if not e.is_int or array.shape != v.type.shape:
            return  # floats; lanes of a combine block at once
        x = array.astype(np.int64).reshape(v.type.shape or (1,))
        lo, hi = self.ranges[v]
        assert lo <= x.min() and x.max() <= hi, (v, lo, hi)
        f = self.info[v]
        for d in range(x.ndim):
            lines = np.moveaxis(x, d, -1).reshape(-1, x.shape[d])
            groups = lines.reshape(-1, f.constancy[d])
            assert (groups == groups[:, :1]).all(), (v, f, d)
            groups = lines.reshape(-1, f.contiguity[d])
            assert (groups - groups[:, :1] == np.arange(f.contiguity[d])).all(), (v, f, d)
            assert (groups[:, 0] % min(f.divisibility[d], 1 << 30) == 0).all(), (v, f, d)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs(max_steps=20))
def test_facts_hold_on_random_programs(program) -> None:
    func = program.module.kernel
    info = AxisInfo(func)

    class Checked(_Recorder):
        pass

    Checked.info, Checked.ranges = info, info.ranges
    original, executor.Program = executor.Program, Checked
    try:
        for n in (0, 3):
            from anytile.targets.reference import ReferenceTarget

            program.run(ReferenceTarget(), n=n, m=4)
    finally:
        executor.Program = original
