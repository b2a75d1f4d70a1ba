"""Functions with a usual case: computed the short way, and once more the long way where an argument needs it.

`math.library.NEAR` has them: sin and cos of f32, whose arguments are small but for once in a million.  The long way goes through f64,
which takes three times as long on a Hopper and sixty times on GPUs that are not for computing.  A thread decides for all its registers at
once, so that the short ways of all of them run side by side and there is one branch, which is hardly ever taken.

The long way is a function of its own, called for each register; beside wgmma it is written in line, since the assembler lets none of
those instructions run beside others in a kernel with calls.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Block, Builder, Op, Value
from ...ir.types import F32, scalar
from ...math.library import EXPANSIONS, NEAR
from ..text import Writer
from .elementwise import run_block
from .values import Generator, literal

__all__ = ["near"]


def near(g: Generator, op: Op, xs: list[str]) -> list[str]:
    """The row of `NEAR` that ``op`` is, of each of ``xs``."""
    key = op.name, "f32"
    limit, short = NEAR[key]
    usual = [_formula(g, short, x) for x in xs]
    far = [g.emit(f"fcmp oge float {g.call('llvm.fabs.f32', 'float', ('float', x))}, {literal(limit, F32)}") for x in xs]
    anywhere = far[0]
    for one in far[1:]:
        anywhere = g.emit(f"or i1 {anywhere}, {one}")
    before, beyond, done = g.w.label, g.w.new_label("far"), g.w.new_label("near")
    g.w.cond_br(anywhere, beyond, done)
    g.w.open_block(beyond)
    right = []
    for x, here, y in zip(xs, far, usual, strict=True):
        long = _formula(g, EXPANSIONS[key], x) if g.assignment.by_warpgroup else g.emit(f"call float @{_function(g, op.name)}(float {x})")
        right.append(g.emit(f"select i1 {here}, float {long}, float {y}"))
    after = g.w.label
    g.w.br(done)
    g.w.open_block(done)
    return [g.emit(f"phi float [ {a}, %{before} ], [ {b}, %{after} ]") for a, b in zip(usual, right, strict=True)]


def _function(g: Generator, row: str) -> str:
    """The name of the long way as a function of its own, written at its first use."""
    name = f"{row}.far"
    if name not in g.once:
        outer, g.w = g.w, Writer()
        g.w.put(f"ret float {_formula(g, EXPANSIONS[row, 'f32'], '%x')}")
        outer.declared.update(g.w.declared)
        g.once[name] = f"define internal float @{name}(float %x) nounwind noinline cold {{\nentry:\n{g.w.text()}\n}}"
        g.globals.append(g.once[name])
        g.w = outer
    return name


def _formula(g: Generator, formula: Callable[..., Value], x: str) -> str:
    block = Block((scalar(F32),))
    b = Builder(block)
    b.make("yield", [formula(b, *block.args)])
    return run_block(g, block, [x])[0]
