"""Loops that carry a tile one way round and work on it the other way round."""

from __future__ import annotations

from anytile.ir.parser import parse_module
from anytile.ir.printer import print_module
from anytile.ir.verifier import verify
from anytile.passes.carried_views import carried_views

LOOP = """func @k(%p: ptr<f32>, %n: i32) {{
  %zero = constant {{value = 0, type = i32}} : i32
  %one = constant {{value = 1, type = i32}} : i32
  %c = constant {{value = 0.0, type = tile<4x8xf32>}} : tile<4x8xf32>
  %w = constant {{value = 1.0, type = tile<8x4xf32>}} : tile<8x4xf32>
  %r = for %zero, %n, %one, %c ^(%i: i32, %a: tile<4x8xf32>) {{
    %t = permute %a {{order = [1, 0]}} : tile<8x4xf32>
    %s = fadd %t, %w : tile<8x4xf32>
    %b = permute %s {{order = [1, 0]}} : tile<4x8xf32>
{more}    yield %b
  }} : tile<4x8xf32>
  %q = splat %p {{shape = [4, 8]}} : tile<4x8xptr<f32>>
  store %q, %r, _
  return
}}"""


def test_what_the_loop_works_on_is_what_it_carries():
    m = parse_module(LOOP.format(more=""))
    assert carried_views(m)
    verify(m)
    text = print_module(m)
    body = text[text.index(" = for ") : text.index("yield")]
    assert "%a: tile<8x4xf32>" in body and "fadd %a, %w" in body and "permute %a" not in body
    behind = text[text.index("} : tile<8x4xf32>") :]
    assert "permute" in behind and "tile<4x8xf32>" in behind
    assert not carried_views(m)


def test_what_is_used_both_ways_round_stays():
    m = parse_module(LOOP.format(more="    %p2 = splat %p {shape = [4, 8]} : tile<4x8xptr<f32>>\n    store %p2, %a, _\n"))
    assert not carried_views(m)


TURNED_EACH_TIME = """func @k(%p: ptr<f32>, %n: i32) {
  %zero = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  %q = splat %p {shape = [4, 4]} : tile<4x4xptr<f32>>
  %c = load %q, _, _ : tile<4x4xf32>
  %r = for %zero, %n, %one, %c ^(%i: i32, %a: tile<4x4xf32>) {
    %t = permute %a {order = [1, 0]} : tile<4x4xf32>
    yield %t
  } : tile<4x4xf32>
  store %q, %r, _
  return
}"""


def test_a_tile_that_each_iteration_turns_stays():
    """It is one way round after an even number of iterations, and the other way after an odd one."""
    m = parse_module(TURNED_EACH_TIME)
    assert not carried_views(m)
