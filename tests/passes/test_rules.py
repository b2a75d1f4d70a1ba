"""Precise output of canonicalize, carried, widen_floats and the range pass on small kernels.

``opt(body)`` wraps operations in a kernel, runs passes and gives the operations that remain, as text.
"""

from __future__ import annotations

import pytest

from anytile.ir import Builder, Func, Module, ptr
from anytile.ir.parser import parse_module
from anytile.ir.types import BF16, F8E4B8, F8E4M3, F16, F32, F64, I8, I32
from anytile.ir.verifier import verify
from anytile.passes.canonicalize import canonicalize, exact_conversion
from anytile.passes.carried import carried
from anytile.passes.cse import cse
from anytile.passes.dce import dce
from anytile.passes.fold import round_float
from anytile.passes.licm import licm
from anytile.passes.pipeline import optimize
from anytile.passes.simplify_ranges import simplify_ranges
from anytile.passes.widen_floats import widen_floats

HEAD = "func @k(%x: ptr<f32> {divisible = 16}, %h: ptr<bf16>, %q: ptr<i32>, %n: i32, %m: i32, %c: i1) {\n"


def opt(body: str, *passes) -> str:
    m = parse_module(HEAD + body + "\n  return\n}")
    verify(m)
    for p in passes:
        p(m)
        verify(m)
    return "\n".join(line.strip() for line in str(m).splitlines()[1:-2])


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("add", -2147483648),
        ("sub", 2147483646),
        ("mul", 2147483647),
        ("sdiv", 2147483647),
        ("srem", 0),
        ("shl", -2),
        ("smax", 2147483647),
        ("umulhi", 0),
        ("icmp", 0),
    ],
)
def test_integers_fold_with_wraparound(row: str, value: int) -> None:
    f = Func("k", (ptr(I32), ptr(I8)), ("p", "q"))
    b = Builder(f.body)
    x, y = b.const(2147483647, I32), b.const(1, I32)
    r = b.icmp(x, y, pred="slt") if row == "icmp" else b.op(row, x, y)
    b.store(f.args[0], r if row != "icmp" else b.zext(r, to=I32))
    b.make("return")
    m = Module([f])
    canonicalize(m)
    verify(m)
    store = f.body.ops[-2]
    assert store.operands[1].op.attrs["value"] == value


def test_rounding_to_each_format() -> None:
    assert round_float(0.1, F32) == 0.10000000149011612
    assert round_float(1e39, F32) == float("inf")
    assert round_float(65519.0, F16) == 65504.0
    assert round_float(65520.0, F16) == float("inf")
    assert round_float(2.0**-25, F16) == 0.0  # a tie goes to even
    assert round_float(3 * 2.0**-25, F16) == 2.0**-23
    assert round_float(1 + 2.0**-8, BF16) == 1.0
    assert round_float(1 + 3 * 2.0**-8, BF16) == 1 + 2.0**-6
    assert round_float(448.0, F8E4M3) == 448.0
    assert round_float(500.0, F8E4M3) is None
    assert str(round_float(-0.0, F8E4B8)) == "0.0"


def test_exact_conversions() -> None:
    assert exact_conversion(F16, F32) and exact_conversion(BF16, F32) and exact_conversion(F8E4M3, F16)
    assert not exact_conversion(F32, F16) and not exact_conversion(F16, BF16) and not exact_conversion(BF16, F16)
    assert exact_conversion(F32, F64)


def test_uniform_tiles_are_one_splat() -> None:
    out = opt(
        """%a = splat %n {shape = [8]} : tile<8xi32>
        %b = splat %m {shape = [8]} : tile<8xi32>
        %s = add %a, %b : tile<8xi32>
        %p = splat %q {shape = [8]} : tile<8xptr<i32>>
        store %p, %s""",
        canonicalize,
    )
    assert "add %n, %m : i32" in out and out.count("splat") == 2


def test_masks_stay_low_rank() -> None:
    out = opt(
        """%r = arange {start = 0, end = 8} : tile<8xi32>
        %e = expand_dims %r {axis = 1} : tile<8x1xi32>
        %w = broadcast %e {shape = [8, 16]} : tile<8x16xi32>
        %l = splat %n {shape = [8, 16]} : tile<8x16xi32>
        %k = icmp %w, %l {pred = "slt"} : tile<8x16xi1>
        %p = splat %x {shape = [8, 16]} : tile<8x16xptr<f32>>
        %v = constant {value = 1.0, type = tile<8x16xf32>} : tile<8x16xf32>
        store %p, %v, %k""",
        canonicalize,
    )
    assert '{pred = "slt"} : tile<8x1xi1>' in out
    assert "tile<8x16xi32>" not in out


def test_masks_that_are_known_go_away() -> None:
    out = opt(
        """%t = constant {value = 1, type = i1} : i1
        %f = constant {value = 0, type = i1} : i1
        %v = load %x, %t, _ : f32
        %w = load %x, %f, %v : f32
        store %x, %w, %t
        store %x, %v, %f""",
        canonicalize,
    )
    assert out.splitlines() == ["%v = load %x, _, _ : f32", "store %x, %v, _"]


def test_float_identities_respect_signed_zero() -> None:
    out = opt(
        """%v = load %x : f32
        %z = constant {value = 0.0, type = f32} : f32
        %k = constant {value = -0.0, type = f32} : f32
        %a = fadd %v, %z : f32
        %b = fadd %v, %k : f32
        store %x, %a
        store %x, %b""",
        canonicalize,
    )
    assert out.count("fadd") == 1 and "store %x, %v, _" in out


def test_loops_of_one_trip_and_invariants() -> None:
    out = opt(
        """%z = constant {value = 0, type = i32} : i32
        %o = constant {value = 1, type = i32} : i32
        %a = for %z, %o, %o, %n ^(%i: i32, %v: i32) {
          %s = add %v, %m : i32
          yield %s
        } : i32
        %b, %d = for %z, %n, %o, %m, %a ^(%i2: i32, %v2: i32, %w2: i32) {
          %u = add %w2, %v2 : i32
          yield %v2, %u
        } : i32, i32
        store %q, %d
        store %q, %b""",
        canonicalize,
    )
    assert out.count("for") == 1
    assert "add %w2, %m" in out and "store %q, %m, _" in out


def test_dead_cycle_around_a_loop_dies() -> None:
    out = opt(
        """%z = constant {value = 0, type = i32} : i32
        %a, %b = for %z, %n, %m, %n, %m ^(%i: i32, %v: i32, %w: i32) {
          %s = add %v, %v : i32
          %t = mul %w, %i : i32
          yield %s, %t
        } : i32, i32
        store %q, %b""",
        dce,
    )
    assert "add" not in out and "%b = for %z, %n, %m, %m ^(%i: i32, %w: i32)" in out


def test_loads_merge_only_between_writes() -> None:
    body = """%a = load %x : f32
        %b = load %x : f32
        %s = fadd %a, %b : f32
        store %x, %s
        %d = load %x : f32
        store %x, %d"""
    assert opt(body, cse).count("load") == 2
    assert opt(body.replace("load %x", "load %x, _, _ {volatile = true}"), cse).count("load") == 3


def test_carried_pointers_become_a_scalar() -> None:
    out = opt(
        """%r = arange {start = 0, end = 8} : tile<8xi32>
        %p0 = splat %x {shape = [8]} : tile<8xptr<f32>>
        %p = addptr %p0, %r : tile<8xptr<f32>>
        %z = constant {value = 0, type = i32} : i32
        %by = splat %m {shape = [8]} : tile<8xi32>
        %e = for %z, %n, %m, %p ^(%i: i32, %a: tile<8xptr<f32>>) {
          %v = load %a : tile<8xf32>
          store %a, %v
          %next = addptr %a, %by : tile<8xptr<f32>>
          yield %next
        } : tile<8xptr<f32>>""",
        optimize,
    )
    assert "^(%i: i32, %a_step: i64)" in out
    assert "sext %m {to = i64} : i64" in out
    assert "addptr %x, %" in out  # the scalar base moves


def test_carried_by_lane_uses_a_trip_count() -> None:
    out = opt(
        """%r = arange {start = 0, end = 8} : tile<8xi32>
        %p0 = splat %x {shape = [8]} : tile<8xptr<f32>>
        %z = constant {value = 0, type = i32} : i32
        %e = for %z, %n, %m, %p0 ^(%i: i32, %a: tile<8xptr<f32>>) {
          %v = load %a : tile<8xf32>
          store %a, %v
          %next = addptr %a, %r : tile<8xptr<f32>>
          yield %next
        } : tile<8xptr<f32>>""",
        carried,
        canonicalize,
        dce,
    )
    assert "mul" in out and "sext %r {to = i64} : tile<8xi64>" in out


def test_hoisting_respects_the_hint() -> None:
    body = """%z = constant {value = 0, type = i32} : i32
        for %z, %n, %m {HINT} ^(%i: i32) {
          %s = mul %n, %m : i32
          store %q, %s
          yield
        }"""
    assert opt(body.replace("HINT", ""), licm).splitlines()[1] == "%s = mul %n, %m : i32"
    assert opt(body.replace("HINT", "disable_licm = true"), licm).splitlines()[2] == "%s = mul %n, %m : i32"


def test_small_floats_compute_in_f32() -> None:
    out = opt(
        """%v = load %h : bf16
        %w = fadd %v, %v : bf16
        store %h, %w""",
        widen_floats,
        canonicalize,
        cse,
    )
    assert out.splitlines()[1:4] == ["%7 = fpcast %v {to = f32} : f32", "%8 = fadd %7, %7 : f32", "%w = fpcast %8 {to = bf16} : bf16"]


def test_ranges_decide_masks() -> None:
    out = opt(
        """%pid = program_id {axis = 0} : i32
        %z = constant {value = 0, type = i32} : i32
        %k = icmp %pid, %z {pred = "sge"} : i1
        %e = constant {value = 8, type = i32} : i32
        %d = sdiv %pid, %e : i32
        store %q, %d, %k""",
        simplify_ranges,
        canonicalize,
    )
    assert "udiv" in out and "icmp" not in out and out.endswith("_")
