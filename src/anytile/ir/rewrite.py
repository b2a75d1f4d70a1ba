"""Rewriting: rules as small functions, sets of them, and the driver that applies a set until nothing changes.

A rule says which operations it looks at and returns what replaces the result::

    @rule("add")
    def add_zero(op, b):
        # x + 0 = x
        x, y = op.operands
        return x if const_value(y) == 0 else None

    RULES = rules_of(globals())        # every rule of the file, in the order written
    changed = apply(module, RULES + OTHER_RULES)

What a rule returns
    None       it does not apply
    Value      replaces the single result
    tuple      replaces all results (the empty tuple: an operation without results goes away)
    CHANGED    the operation was altered in place and stays

``b`` inserts in front of the operation, with its location.  A rule may read operands, their definitions, uses
and the operation's own blocks, and may move those blocks' operations with ``b.insert``; it must not look at
the list of operations around it, which the driver is rebuilding.

The driver sweeps a block from top to bottom and builds its list of operations anew (inserting into the
middle of a Python list would make long unrolled kernels quadratic).  What a rule creates is itself offered
to the rules before the sweep goes on, so chains collapse in one sweep; sweeps repeat until one changes
nothing.  Operations that nobody uses are dropped on the way; `passes.dce` removes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import IRError
from .builder import Builder
from .core import Block, Func, Module, Op, Value
from .ops import TABLE

__all__ = [
    "CHANGED",
    "RuleSet",
    "apply",
    "behind",
    "clone_op",
    "const_value",
    "drop_results",
    "inline_block",
    "is_pure",
    "rule",
    "rules_of",
    "uniform_scalar",
]

Rewritten = Any  # Value | tuple[Value, ...] | CHANGED | None
RuleFn = Callable[[Op, Builder], Rewritten]


class _Changed:
    def __repr__(self) -> str:
        return "CHANGED"


CHANGED = _Changed()
# Far above what terminating rules need; two rules that undo each other reach them.
MAX_SWEEPS = 40
MAX_CHAIN = 200  # replacements of replacements of one operation


def rule(*names: str) -> Callable[[RuleFn], RuleFn]:
    """Marks a function as a rule for the operations called ``names``; ``"*"`` means every operation."""

    def mark(fn: RuleFn) -> RuleFn:
        fn.op_names = names  # type: ignore[attr-defined]
        return fn

    return mark


class RuleSet:
    """Rules by operation name.  Sets add; within a name, rules are tried in order."""

    __slots__ = ("by_name", "rules")

    def __init__(self, rules: Iterable[RuleFn]):
        self.rules = list(rules)
        every = [r for r in self.rules if "*" in r.op_names]  # type: ignore[attr-defined]
        self.by_name: dict[str, list[RuleFn]] = {"*": every}
        for r in self.rules:
            for name in r.op_names:  # type: ignore[attr-defined]
                self.by_name.setdefault(name, [])
        for name, found in self.by_name.items():
            if name != "*":
                found += [r for r in self.rules if name in r.op_names or "*" in r.op_names]  # type: ignore[attr-defined]

    def __add__(self, other: RuleSet) -> RuleSet:
        return RuleSet(self.rules + other.rules)


def rules_of(namespace: dict[str, Any]) -> RuleSet:
    """The rules defined in a file: ``rules_of(globals())`` at its end."""
    return RuleSet(v for v in namespace.values() if hasattr(v, "op_names"))


# --- the driver -----------------------------------------------------------------------------------------


class _Inserter(Builder):
    """Collects what a rule creates, in order, until the driver takes it."""

    __slots__ = ("fresh",)

    def __init__(self, block: Block):
        super().__init__(block)
        self.fresh: list[Op] = []

    def insert(self, op: Op) -> Op:
        op.block = self.block
        self.fresh.append(op)
        return op


def apply(root: Module | Func, rules: RuleSet) -> bool:
    """Applies ``rules`` everywhere in ``root`` until none applies.  Returns whether anything changed."""
    changed = False
    for f in root.funcs if isinstance(root, Module) else [root]:
        driver = _Driver(rules)
        sweeps = 0
        while driver.sweep(f.body):
            sweeps += 1
            if sweeps == MAX_SWEEPS:
                raise IRError(f"in @{f.name}: rewriting did not settle after {MAX_SWEEPS} sweeps: two rules undo each other")
        changed |= driver.removed or sweeps > 0
    return changed


class _Driver:
    __slots__ = ("by_name", "every", "removed")

    def __init__(self, rules: RuleSet):
        self.by_name = rules.by_name
        self.every = rules.by_name["*"]
        self.removed = False  # whether an unused operation went: no reason for another sweep, but a change

    def sweep(self, block: Block) -> bool:
        """One pass over ``block`` and what it nests; whether a rule applied."""
        pending = block.ops[::-1]  # the next operation is at the end
        out = block.ops = []
        by_name, every = self.by_name, self.every
        b = _Inserter(block)
        applied = False
        chain: dict[Op, int] = {}  # how many replacements led to an operation
        while pending:
            op = pending.pop()
            got: Rewritten = None
            for r in by_name.get(op.defn.name, every):
                b.loc = op.loc
                got = r(op, b)
                if got is not None:
                    break
                if b.fresh:
                    raise IRError(f"rule {r.__name__} created operations and then declined {op.name}")
            if got is None:
                out.append(op)
                for inner in op.blocks:
                    if self.sweep(inner):
                        applied = True
                continue
            applied = True
            links = chain.get(op, 0) + 1
            if links > MAX_CHAIN:
                raise IRError(f"in @{block.func().name}: rewriting {op.name} does not end, last by {r.__name__}: two rules undo each other")
            if got is CHANGED:
                pending.append(op)
                chain[op] = links
            else:
                self.replace(op, (got,) if isinstance(got, Value) else got, r)
            if b.fresh:
                pending.extend(reversed(b.fresh))
                chain.update(dict.fromkeys(b.fresh, links))
                b.fresh = []
        self.drop_unused(block)
        return applied

    @staticmethod
    def replace(op: Op, replacement: Sequence[Value], r: RuleFn) -> None:
        if len(replacement) != len(op.results):
            raise IRError(f"rule {r.__name__} gave {len(replacement)} values for {len(op.results)} results of {op.name}")
        for old, new in zip(op.results, replacement, strict=True):
            if old.name and not new.name:
                new.name = old.name
            old.replace_with(new)
        op.drop_uses()
        op.block = None

    def drop_unused(self, block: Block) -> None:
        """Removes what rules left unused, last first, so that a chain goes at once."""
        live: list[Op] = []
        for op in reversed(block.ops):
            if op.defn in _PURE and not any([r.uses for r in op.results]):
                op.drop_uses()
                op.block = None
                self.removed = True
            else:
                live.append(op)
        if len(live) < len(block.ops):
            live.reverse()
            block.ops = live


# --- questions --------------------------------------------------------------------------------------------

_PURE = frozenset(d for d in TABLE.values() if d.pure and not d.n_blocks and d.name != "inline_asm")
_THROUGH = frozenset(("splat", "broadcast", "expand_dims", "reshape", "permute"))


def is_pure(op: Op) -> bool:
    """Whether ``op`` and everything nested in it only computes: it may be moved, merged or removed."""
    d = op.defn
    if d in _PURE:
        return True
    if d.effects or d.terminator or (d.name == "inline_asm" and not op.attrs["pure"]):
        return False
    return not op.blocks or all(o.defn.terminator or is_pure(o) for b in op.blocks for o in b.ops)


def behind(v: Value) -> Builder:
    """A builder right behind the definition of ``v``; a block ends in an operation that defines nothing, so there is one to stand before."""
    block = v.owner if isinstance(v.owner, Block) else v.owner.block
    assert block is not None
    at = block.ops[0 if v.op is None else block.ops.index(v.op) + 1]
    return Builder(block, at, at.loc if v.op is None else v.op.loc)


def const_value(v: Value | None) -> int | float | None:
    """The number in every lane of ``v`` where it is constant (also through splat, broadcast …), else None."""
    while v is not None and type(v.owner) is Op:
        op = v.owner
        name = op.defn.name
        if name == "constant":
            return op.attrs["value"]
        if name not in _THROUGH:
            return None
        v = op.operands[0]
    return None


def uniform_scalar(v: Value, b: Builder) -> Value | None:
    """The scalar that every lane of ``v`` holds, made with ``b`` where ``v`` is a constant; None if unknown."""
    if not v.type.shape:
        return v
    op = v.op
    if op is None:
        return None
    if op.defn.name == "splat":
        return op.operands[0]
    if op.defn.name == "constant":
        return b.const(op.attrs["value"], v.type.elem)
    return None


# --- copying and moving -----------------------------------------------------------------------------------


def clone_op(op: Op, b: Builder, mapping: dict[Value, Value]) -> Op:
    """A copy of ``op`` with its blocks, inserted by ``b``; operands go through ``mapping``, which learns the results."""
    operands = [mapping.get(v, v) if v is not None else None for v in op.operands]
    blocks = []
    for block in op.blocks:
        copy = Block(tuple(a.type for a in block.args), tuple(a.name for a in block.args))
        mapping.update(zip(block.args, copy.args, strict=True))
        inner = Builder(copy)
        for o in block.ops:
            clone_op(o, inner, mapping)
        blocks.append(copy)
    new = Op(op.defn, operands, dict(op.attrs), tuple(r.type for r in op.results), tuple(blocks), op.loc)
    for old, r in zip(op.results, new.results, strict=True):
        r.name = old.name
        mapping[old] = r
    b.insert(new)
    return new


def inline_block(block: Block, args: Sequence[Value], b: Builder) -> list[Value]:
    """Moves the operations of ``block`` in front of ``b``'s place, with ``args`` for its arguments.

    Returns the values its terminator handed on.  ``block`` is left empty.
    """
    for a, v in zip(block.args, args, strict=True):
        a.replace_with(v)
    *ops, end = block.ops
    block.ops = []
    for op in ops:
        b.insert(op)
    values: list[Value] = list(end.operands)  # type: ignore[arg-type]
    end.drop_uses()
    end.block = None
    return values


def drop_results(op: Op, keep: Sequence[bool]) -> None:
    """Removes the results of a ``for``, ``while`` or ``if`` that ``keep`` leaves out, with all that carries them.

    The dropped results, and the block arguments that go with them, must be unused once the carrying operands
    (initial values, yields) are gone.
    """

    def kept(operands: list, first: int) -> list:
        return operands[:first] + [v for v, k in zip(operands[first:], keep, strict=True) if k]

    name = op.defn.name
    first = {"for": 3, "while": 0, "if": 1}[name]
    if name != "if":
        op.set_operands(kept(op.operands, first))
    for block in op.blocks:
        end = block.terminator
        end.set_operands(kept(end.operands, 1 if end.defn.name == "condition" else 0))
    skip = 1 if name == "for" else 0
    for block in op.blocks if name != "if" else ():
        for i in range(len(keep) - 1, -1, -1):
            if not keep[i]:
                block.remove_arg(i + skip)
    op.results = [r for r, k in zip(op.results, keep, strict=True) if k]
    for i, r in enumerate(op.results):
        r.index = i
