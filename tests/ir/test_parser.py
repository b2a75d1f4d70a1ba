"""The text form: printing what was parsed gives the same text, and errors name the line."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import examples, programs

from anytile.errors import IRError
from anytile.ir.parser import parse_module
from anytile.ir.printer import print_module
from anytile.ir.verifier import verify

EXAMPLE = """module name = "k"
module flags = [1, true, "a\\n\\"b\\""]
func @k(%x: ptr<f32> {divisible = 16, const = true}, %n: i32) {
  %2 = constant {value = -inf, type = tile<4x2xf32>} : tile<4x2xf32> at "dir\\\\a.py":3:7
  %a, %b = split %2 : tile<4xf32>, tile<4xf32>
  %c = fpcast %a {to = f16, rounding = "rtz"} : tile<4xf16>
  %acc, %acc_1 = for %n, %n, %n, %a, %b ^(%i: i32, %p: tile<4xf32>, %q: tile<4xf32>) {
    %s = reduce %p {axis = 0} ^(%l: f32, %r: f32) {
      %14 = fadd %l, %r : f32
      yield %14
    } : f32
    %v = load %x, _, _ : f32
    yield %q, %p
  } : tile<4xf32>, tile<4xf32>
  %w = while %n ^(%k: i32) {
    %18 = icmp %k, %n {pred = "slt"} : i1
    condition %18, %k
  } ^(%k_1: i32) {
    yield %n
  } : i32
  barrier
  %20 = clock : i64
  return
}
"""


def test_example_round_trips() -> None:
    m = parse_module(EXAMPLE)
    verify(m)
    assert print_module(m, locs=True) == EXAMPLE
    assert m.attrs == {"name": "k", "flags": (1, True, 'a\n"b"')}
    assert m.kernel.arg_attrs[0] == {"divisible": 16, "const": True}
    loc = m.kernel.body.ops[0].loc
    assert (loc.file, loc.line, loc.col) == ("dir\\a.py", 3, 7)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs())
def test_random_programs_round_trip(program) -> None:
    verify(program.module)
    text = print_module(program.module)
    again = parse_module(text)
    verify(again)
    assert print_module(again) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("func @k() {\n  %a = nonsense : i32\n}", "line 2: expected the name of an operation, found 'nonsense'"),
        ("func @k() {\n  return\n", "line 3: expected the name of an operation, found the end of the text"),
        ("func @k(%a: i33) {\n  return\n}", "line 1: unknown element type 'i33'"),
        ("func @k(%a: i32, %a: i32) {\n  return\n}", "%a is defined twice"),
        ("func @k() {\n  %b = popc %a : i32\n}", "line 2: a value that is not defined before, found '%a'"),
        ("func @k() {\n  %b = arange {start = 0} : tile<4xi32>\n}", "arange lacks its attribute end"),
        ("func @k() {\n  %b = clock {speed = 9} : i64\n}", "clock has no attribute speed"),
        ("func @k() {\n  return §\n}", "line 2: cannot read '§"),
        ("kernel", "expected 'module' or 'func', found 'kernel'"),
    ],
)
def test_errors_name_line_and_token(text: str, message: str) -> None:
    with pytest.raises(IRError) as e:
        parse_module(text)
    assert message in str(e.value)
