"""Checks that a module obeys the IR's rules; run between passes when ``ANYTILE_VERIFY=1`` and in all tests.

Rules: each operand is defined before its use in the same or an enclosing block; use lists agree with operand
lists; operand counts, attributes and types satisfy the table row; every block ends in exactly one terminator
whose values match what the enclosing op hands on.
"""

from __future__ import annotations

from ..errors import IRError
from .core import Block, Func, Module, Op, Value
from .types import scalar

__all__ = ["verify"]


def verify(m: Module) -> None:
    """Raises IRError naming the function, the op and the rule it breaks."""
    for f in m.funcs:
        defined: set[Value] = set()
        _block(f, f.body, defined, ("return",))


def _fail(f: Func, op: Op, why: str) -> None:
    raise IRError(f"in @{f.name}, {op.name} from {op.loc}: {why}")


def _block(f: Func, block: Block, defined: set[Value], ends: tuple[str, ...]) -> None:
    scope = list(block.args)
    defined.update(block.args)
    if not block.ops or not block.ops[-1].defn.terminator:
        raise IRError(f"in @{f.name}: a block does not end in {' or '.join(ends)}")
    for op in block.ops:
        if op.block is not block:
            _fail(f, op, "its block pointer is wrong")
        d = op.defn
        if d.terminator and (op is not block.ops[-1] or d.name not in ends):
            _fail(f, op, f"is not expected here; the block ends in {' or '.join(ends)}")
        if len(op.operands) < d.n_fixed or (len(op.operands) > d.n_fixed and not d.variadic):
            _fail(f, op, f"has {len(op.operands)} operands, the table says {d.operands}")
        for i, v in enumerate(op.operands):
            if v is None:
                if i >= d.n_fixed or not d.optional[i]:
                    _fail(f, op, f"operand {i} is missing")
                continue
            if v not in defined:
                _fail(f, op, f"operand {i} ({v!r}) is not defined here")
            if (op, i) not in v.uses:
                _fail(f, op, f"operand {i} ({v!r}) does not know this use")
        if set(op.attrs) != set(d.attrs):
            _fail(f, op, f"attributes {sorted(op.attrs)}, the table says {sorted(d.attrs)}")
        if d.check is not None and (why := d.check(op)):
            _fail(f, op, why)
        if d.infer is not None:
            want = d.infer([v.type if v is not None else None for v in op.operands], op.attrs)
            if tuple(r.type for r in op.results) != tuple(want):
                _fail(f, op, f"results are {[r.type for r in op.results]}, the table infers {list(want)}")
        if len(op.blocks) != d.n_blocks:
            _fail(f, op, f"has {len(op.blocks)} blocks, the table says {d.n_blocks}")
        for b in op.blocks:
            if b.parent is not op:
                _fail(f, op, "a block's parent pointer is wrong")
        if d.n_blocks:
            _region(f, op, defined)
        defined.update(op.results)
        scope.extend(op.results)
    defined.difference_update(scope)


def _region(f: Func, op: Op, defined: set[Value]) -> None:
    types = [r.type for r in op.results]
    name = op.name
    if name == "for":
        iv = op.operands[0].type
        _args(f, op, 0, [iv, *types])
        _block(f, op.blocks[0], defined, ("yield",))
        _yields(f, op, 0, types)
    elif name == "while":
        _args(f, op, 0, types)
        _block(f, op.blocks[0], defined, ("condition",))
        if [v.type for v in op.blocks[0].terminator.operands[1:]] != types:
            _fail(f, op, "condition passes other types than the results'")
        _args(f, op, 1, types)
        _block(f, op.blocks[1], defined, ("yield",))
        _yields(f, op, 1, types)
    elif name == "if":
        for i in (0, 1):
            _args(f, op, i, [])
            _block(f, op.blocks[i], defined, ("yield",))
            _yields(f, op, i, types)
    elif name in ("reduce", "scan"):
        elems = [scalar(v.type.elem) for v in op.operands]
        _args(f, op, 0, elems * 2)
        _block(f, op.blocks[0], defined, ("yield",))
        _yields(f, op, 0, elems)
    elif name == "map":
        pack = op.attrs["pack"]
        _args(f, op, 0, [scalar(v.type.elem) for v in op.operands for _ in range(pack)])
        _block(f, op.blocks[0], defined, ("yield",))
        _yields(f, op, 0, [scalar(r.type.elem) for r in op.results for _ in range(pack)])


def _args(f: Func, op: Op, i: int, types: list) -> None:
    got = [a.type for a in op.blocks[i].args]
    if got != types:
        _fail(f, op, f"block {i} takes {got}, expected {types}")


def _yields(f: Func, op: Op, i: int, types: list) -> None:
    got = [v.type for v in op.blocks[i].terminator.operands]
    if got != types:
        _fail(f, op, f"block {i} yields {got}, expected {types}")
