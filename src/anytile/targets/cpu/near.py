"""Functions with a usual case: computed for every lane the short way, and once more the long way where a lane of the vector needs it.

`math.library.NEAR` has them: sin and cos of f32, whose arguments are small but for once in a million.  Formulas do not branch, but
here a whole vector can.  Each becomes a function of LLVM's for the vectors of the nest, which LLVM writes in line; the long way is a
call out of it, and only the lanes that need it take its result, so that no lane depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Block, Builder, Op, Value
from ...ir.types import BOOL, Element, scalar
from ...math.library import EXPANSIONS, NEAR
from .division import Division
from .lanes import UNIFORM, Lane, uniform, vector
from .text import Writer, literal, llvm_type

__all__ = ["NATIVE_NEAR", "Near"]

NATIVE_NEAR = frozenset(f"{row}.{elem}" for row, elem in NEAR)


class Near(Division):
    """Adds the rows of `NEAR` to arithmetic on lanes."""

    def _op_sin(self, op: Op, xs: list[Lane]) -> Lane:
        (x,) = xs
        as_vector = x.kind is not UNIFORM
        t = self.vec_type(x.elem) if as_vector else llvm_type(x.elem)
        fn = self._function(op.name, x.elem, self.width if as_vector else 0)
        text = self.emit(f"call {t} @{fn}({self.operand(x, as_vector)})", x.level)
        return self._result(text, x.elem, as_vector, x.level)

    _op_cos = _op_sin

    def _function(self, row: str, elem: Element, width: int) -> str:
        """The name of the function for vectors of ``width`` (0: a scalar), which is written at its first use."""
        name = f"{row}.{elem}" + (f".{width}" if width else "")
        if name in self.w.declared:
            return name
        limit, near = NEAR[row, str(elem)]
        t = f"<{width} x {llvm_type(elem)}>" if width else llvm_type(elem)
        x = (vector if width else uniform)("%x", elem, 0)

        at = Near(Writer(), width or 1, self.contract)
        usual = at._formula(near, x)
        magnitude = at._call("fabs", [x])
        at_most = Lane(UNIFORM, literal(limit, elem), elem, const=limit)
        far = at._compare("fcmp", "uge", [magnitude, at_most])  # NaN, too, goes the long way
        anywhere = at.any_of(far)
        w = at.w
        w.cond_br(anywhere.val, "far", "done")
        w.open_block("far")
        long = w.ins(f"call {t} @{name}.far({t} %x)")
        chosen = at.select(far, Lane(x.kind, long, elem), usual)
        w.br("done")
        w.open_block("done")
        result = w.ins(f"phi {t} [ {usual.val}, %entry ], [ {chosen.val}, %far ]")
        w.put(f"ret {t} {result}")

        beyond = Near(Writer(), width or 1, self.contract)
        beyond.w.put(f"ret {t} {beyond._formula(EXPANSIONS[row, str(elem)], x).val}")
        for suffix, writer, how in (("", w, "alwaysinline"), (".far", beyond.w, "noinline cold")):
            self.w.declared.update(writer.declared)
            self.w.declared[name + suffix] = f"define internal {t} @{name}{suffix}({t} %x) nounwind {how} {{\nentry:\n{writer.text()}\n}}"
        return name

    def _formula(self, formula: Callable[..., Value], x: Lane) -> Lane:
        """``formula`` of the lanes ``x``, written here."""
        block = Block((scalar(x.elem),))
        b = Builder(block)
        b.make("yield", [formula(b, *block.args)])
        return self.run_block(block, [x], _no_other)[0]

    def any_of(self, mask: Lane) -> Lane:
        """Whether ``mask`` is true in any lane."""
        if mask.kind is UNIFORM:
            return mask
        n = self.width
        fn = self.w.declare(f"llvm.vector.reduce.or.v{n}i1", f"i1(<{n} x i1>)")
        return uniform(self.emit(f"call i1 {fn}(<{n} x i1> {self.vec(mask)})", mask.level), BOOL, mask.level)


def _no_other(v: Value) -> Lane:
    raise AssertionError(f"a formula uses {v!r}, which it did not make")
