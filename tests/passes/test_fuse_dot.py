"""Products that are added to tiles accumulate in them."""

from __future__ import annotations

import pytest

from anytile.ir.parser import parse_module
from anytile.ir.verifier import verify
from anytile.passes.fuse_dot import fuse_dot

TEXT = """func @k(%p: ptr<f32>) {{
  %at = splat %p {{shape = [16, 16]}} : tile<16x16xptr<f32>>
  %zero = constant {{value = 0.0, type = tile<16x16xf32>}} : tile<16x16xf32>
  %a = load %at, _, _ : tile<16x16xf32>
  %one = dot %a, %a, %zero : tile<16x16xf32>
  store %at, %zero, _
  %b = load %at, _, _ : tile<16x16xf32>
  %two = dot %b, %b, %zero : tile<16x16xf32>
  %sum = fadd {sum} : tile<16x16xf32>
  store %at, %sum, _
  return
}}"""


@pytest.mark.parametrize("sum_", ["%one, %two", "%two, %one"])
def test_of_two_products_the_later_takes_the_other(sum_):
    """The earlier one stays where it is, and what it reads need not be kept."""
    m = parse_module(TEXT.format(sum=sum_))
    assert fuse_dot(m)
    verify(m)
    ops = [op for op in m.walk() if op.name in ("dot", "store", "fadd")]
    assert [op.name for op in ops] == ["dot", "store", "dot", "store"]
    assert ops[2].operands[2] is ops[0].result and not fuse_dot(m)


def test_a_product_takes_what_it_is_added_to():
    m = parse_module(TEXT.format(sum="%one, %b"))
    assert fuse_dot(m)
    verify(m)
    assert [op.operands[2].name for op in m.walk() if op.name == "dot"].count("b") == 1
