"""Which placement values get, where a kernel leaves that open."""

from __future__ import annotations

from anytile.ir import Builder, Func
from anytile.ir.types import F32, ptr, tile
from anytile.passes.axis_info import AxisInfo
from anytile.targets.nvidia.assignment import Assignment


def woven(width: int, layers: int) -> tuple[Func, list]:
    """An outer sum of two loaded rows, ``width`` values made of it, and ``layers`` of as many more, each the sum of three of the last."""
    func = Func("woven", (ptr(F32),), ("p",))
    b = Builder(func.body)
    at = b.make("addptr", [b.make("splat", [func.args[0]], {"shape": [32]}).result, b.make("arange", [], {"start": 0, "end": 32}).result])
    row = b.make("load", [at.result, None, None]).result
    row = b.make("fadd", [row, row]).result
    spread = [b.make("broadcast", [b.make("expand_dims", [row], {"axis": axis}).result], {"shape": [32, 32]}).result for axis in (0, 1)]
    values = [b.fadd(*spread)]
    values *= width
    first = values[0]
    for _ in range(layers):
        values = [b.fadd(b.fadd(values[i], values[i - 1]), values[i - 2]) for i in range(width)]
    b.make("return", [])
    return func, [first, *values]


def test_a_value_is_asked_once_for_what_lies_behind_it(monkeypatch):
    asked = []
    plain = Assignment._asked
    monkeypatch.setattr(Assignment, "_asked", lambda self, v, *rest: (asked.append(v), plain(self, v, *rest))[1])
    func, values = woven(width=5, layers=8)
    homes = Assignment(func, 4, 80, AxisInfo(func)).homes
    assert all(homes[v] is homes[values[0]] is not None and homes[v].shape == tile([32, 32], F32).shape for v in values)
    assert len(asked) < 400
