"""Which arguments of a kernel are written through: a launch must not pass read-only memory for these."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..ir import Module, Op, Value

__all__ = ["stored_arguments"]

_WRITES = frozenset({"store", "atomic_rmw", "atomic_cas"})
_READS = frozenset({"load", "atomic_rmw", "atomic_cas"})  # what is read from memory is not derived from the pointer


def stored_arguments(module: Module) -> list[int]:
    """Indices of the kernel's arguments that a written address may derive from, in order.

    Conservative: any operation passes its operands' origins on to its results and its blocks' arguments.
    """
    origins: dict[Value, frozenset[int]] = {
        v: frozenset({i}) for i, v in enumerate(module.kernel.args) if v.type.elem.is_ptr or v.type.elem.is_int
    }
    none: frozenset[int] = frozenset()

    def of(values: list[Value]) -> frozenset[int]:
        return none.union(*(origins.get(v, none) for v in values if v is not None))

    def grow(targets: list[Value], new: frozenset[int]) -> bool:
        changed = False
        for t in targets:
            if not new <= origins.get(t, none):
                origins[t] = origins.get(t, none) | new
                changed = True
        return changed

    def step(op: Op) -> bool:
        if op.name in _READS:
            return False
        new = of(op.operands)
        for block in op.blocks:
            if block.ops:
                new |= of(block.terminator.operands)
        changed = grow(op.results, new) if new else False
        for block in op.blocks:
            changed |= grow(block.args, new) if new else False
        return changed

    ops = list(module.walk())
    while any([step(op) for op in ops]):  # a list: every operation is visited in each round
        pass
    written = none.union(*(of(op.operands[:1]) for op in ops if op.name in _WRITES))
    return sorted(i for i in written if module.kernel.args[i].type.elem.is_ptr)
