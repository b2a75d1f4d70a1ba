"""Numbers that a loop loads anew in each iteration, though nothing in it could change them: loaded in front of it.

    for k in range(0, K, BLOCK):
        first = tl.load(table)                 first = tl.load(table, mask=0 < K), in front of the loop
        …

Only single numbers and short rows, which cost a register; and only out of loops that write nothing, wait for nobody and print nothing, so that
no memory changes while they run.  A load in front of a loop that does not run at all is off.
"""

from __future__ import annotations

from ...ir import Builder, Module, Op, Value
from ...ir.ops import Effect
from ...ir.rewrite import const_value
from ...passes.control_rules import trip_count
from ...passes.licm import licm

__all__ = ["fixed_loads"]

_ROW = 64
"""Elements of a row that a thread may have to hold altogether, where it is broadcast."""
_MOST = 32
"""Such loads of one loop: each takes a register for as long as the loop runs."""


def fixed_loads(m: Module) -> bool:
    changed = False
    while any([_out_of(loop) for f in m.funcs for loop in list(f.walk()) if loop.name == "for" and not loop.attrs["disable_licm"]]):
        licm(m)  # what is computed from such a number alone may be the address of the next
        changed = True
    return changed


def _out_of(loop: Op) -> bool:
    """Moves the loads of ``loop`` that it does not change in front of it; whether there were any."""
    body = loop.blocks[0]
    loads = [
        op
        for op in body.ops
        if op.name == "load" and op.result.type.numel <= _ROW and not op.attrs["volatile"] and op.attrs["cache"] != ".cv"
    ]
    loads = [op for op in loads if not any(x is not None and body.defines(x) for x in op.operands)]
    if not 0 < len(loads) <= _MOST or not all(_reads_at_most(op) for op in body.walk()):
        return False
    trips, step = trip_count(loop), const_value(loop.operands[2])
    if trips == 0 or not step:
        return False
    assert loop.block is not None
    b = Builder(loop.block, loop, loop.loc)
    runs = None if trips else _runs(loop, b, upwards=step > 0)
    for op in loads:
        pointer, mask, other = (op.operand(name) for name in ("ptr", "mask", "other"))
        here = runs
        if runs is not None and not op.result.type.is_scalar:
            here = b.make("splat", [runs], {"shape": op.result.type.shape}).result
        on = b.make("and", [mask, here], {}).result if mask is not None and here is not None else mask or here
        op.result.replace_with(b.make("load", [pointer, on, other], op.attrs).result)
        op.erase()
    return True


def _runs(loop: Op, b: Builder, upwards: bool) -> Value:
    """Whether ``loop`` runs at all."""
    first, end, _ = loop.operands[:3]
    ends = [first, end] if upwards else [end, first]
    return b.make("icmp", ends, {"pred": "ult" if loop.attrs["unsigned"] else "slt"}).result


def _reads_at_most(op: Op) -> bool:
    return op.name == "assume" or not op.defn.effects & ~Effect.READ and (op.name != "inline_asm" or op.attrs["pure"])
