"""The variables a run-time loop carries from one iteration to the next (see `loops`)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from ..ir import Block, Op, Type, Value
from ..language.aggregate import flatten, unflatten
from ..language.tuples import tuple as tl_tuple
from .errors import TypeMismatchError
from .scope import Unavailable
from .values import Mismatch, decay, describe, is_number, name_value, reconcile, same
from .visitor import Tracer

__all__ = ["Carried"]


class Carried:
    """One loop while it is traced, as often as it takes to know what it carries.

    ``names``: variables its syntax assigns; ``certain``: those that every iteration assigns.  The protocol::

        loop = Carried(...)
        while True:
            block = loop.block()            # fresh variables, block arguments for the carried ones
            ... trace the body into block ...
            if loop.settled(block): break   # else: what is carried has changed, trace again
        inits = loop.end(block)             # the terminator is there, unchanged variables are gone
        loop.finish(make_op(inits))         # variables after the loop
    """

    def __init__(self, t: Tracer, node: ast.AST, names: frozenset[str], certain: frozenset[str]):
        self.t, self.node, self.names = t, node, names
        self.before = t.frame.locals
        self.line = t.frame.loc(node).line
        self.first: tuple[Type, ...] = ()  # arguments of the body's block before the carried ones
        self.init: dict[str, Any] = {}
        self.next: dict[str, Any] = {}
        self.passed: dict[str, Any] = {}  # `while` only: the values at its condition
        self.banned: dict[str, Unavailable] = {}
        for name, v in self.before.items():
            if name not in names or type(v) is Unavailable:
                continue
            if flatten(v):
                self.init[name] = v
            elif is_number(v) and name in certain:
                self.init[name] = self.made(v, name)

    def made(self, v: Any, name: str) -> Any:
        """``v`` as run-time value, made before the loop."""
        v = decay(v)
        name_value(v, name)
        return v

    # --- tracing ------------------------------------------------------------------------------------------

    def block(self, enter: Callable[[Block], None] | None = None) -> Block:
        """A block with one argument per carried SSA value; the variables become those arguments."""
        leaves = {name: flatten(v) for name, v in self.init.items()}
        types = [x.type for vs in leaves.values() for x in vs]
        block = Block((*self.first, *types))
        variables = {**self.before, **self.banned}
        at = len(self.first)
        for name, vs in leaves.items():
            variables[name] = unflatten(self.init[name], block.args[at : at + len(vs)])
            name_value(variables[name], name)
            at += len(vs)
        self.t.frame.locals = variables
        if enter is not None:
            enter(block)
        return block

    def settled_at_condition(self, check: Block) -> bool:
        """`settled` for the block with the condition of a ``while``; the body gets the variables as they are there."""
        return self._settled(check, (check,), self.passed)

    def settled(self, *blocks: Block) -> bool:
        """Whether the body just traced (the last of ``blocks``) keeps to what is carried; else forgets ``blocks``."""
        return self._settled(blocks[-1], blocks, self.next)

    def _settled(self, end: Block, blocks: tuple[Block, ...], values: dict[str, Any]) -> bool:
        if not self.compare(end, values):
            return True
        for block in blocks:
            for op in block.ops:
                op.drop_uses()
        return False

    def compare(self, block: Block, values: dict[str, Any]) -> bool:
        """Fills ``values`` with the carried variables at the end of ``block``; True if all must be traced again."""
        now, again = self.t.frame.locals, False
        for name, v in self.before.items():
            if name not in self.names or type(v) is Unavailable or name in self.banned:
                continue
            if name in self.init:
                start = self.init[name]
                values[name] = self.joined(name, block)
                again = again or name in self.banned or self.init[name] is not start
            elif not same(v, now[name]):
                again = True
                if _numeric(v):
                    self.init[name] = self.made(v, name)
                else:
                    self.ban(name, v, now[name])
        for name in self.banned:
            self.init.pop(name, None)
        return again

    def joined(self, name: str, block: Block) -> Any:
        """The value of ``name`` at the end of ``block`` in the structure that is carried; bans it where it has another."""
        value = self.t.frame.locals[name]
        if type(value) is Unavailable:
            self.banned[name] = value
            return None
        start = self.init[name]
        builder = self.t.builder
        try:
            held, value = reconcile(builder, start, builder.block, value, block)
        except Mismatch:
            self.ban(name, start, value)
            return None
        if not same(held, start):  # a number inside a tuple had to become a tensor
            self.init[name] = held
        return value

    def ban(self, name: str, start: Any, end: Any) -> None:
        """Makes ``name`` unreadable in and after the loop: fine for a variable that each iteration sets anew."""
        if type(end) is Unavailable:
            self.banned[name] = end
            return
        where = self.t.frame.assigned.get(name)
        line = f" (assigned at line {self.t.frame.loc(where).line})" if where is not None else ""
        self.banned[name] = Unavailable(
            f"{name} is {describe(start)} before the loop at line {self.line} but {describe(end)} at the end of its body{line}; "
            "a variable that a loop carries has one type: start it with the type it ends with "
            "(tl.zeros, tl.full, .to()), or use another name inside",
            TypeMismatchError,
        )

    # --- building -----------------------------------------------------------------------------------------

    def end(self, body: Block, check: Block | None = None, condition: Value | None = None) -> list[Value]:
        """Writes the terminators, takes out what never changes, and returns the initial values of the rest."""
        builder = self.t.builder
        with self.t.into(body):
            tail = builder.make("yield", [x for n in self.init for x in flatten(self.next[n])])
        head: Op | None = None
        if check is not None:
            with self.t.into(check):
                head = builder.make("condition", [condition, *(x for n in self.init for x in flatten(self.passed[n]))])
        inits = [x for v in self.init.values() for x in flatten(v)]
        first = len(self.first)
        self.kept: list[bool] = []
        for i, arg in enumerate(body.args[first:]):
            fixed = tail.operands[i] is arg and (head is None or check is None or head.operands[1 + i] is check.args[i])
            self.kept.append(not fixed)
        for i in reversed([i for i, kept in enumerate(self.kept) if not kept]):
            tail.drop_operand(i)
            _remove(body, first + i, inits[i])
            if head is not None and check is not None:
                head.drop_operand(1 + i)
                _remove(check, i, inits[i])
        return [x for x, kept in zip(inits, self.kept) if kept]

    def finish(self, op: Op, gone: tuple[str, ...] = ()) -> None:
        """Sets the variables after the loop ``op``; those in ``gone`` belong to it alone."""
        out = dict(self.before)
        self.t.frame.locals = out
        for name in (*self.names, *gone):
            old = out.get(name)
            if name not in out or type(old) is Unavailable or name in gone:
                out[name] = Unavailable(
                    f"{name} has no value after the loop at line {self.line}: only the loop assigns it. Assign it before the loop"
                )
        out.update(self.banned)
        results, kept = iter(op.results), iter(self.kept)
        for name, start in self.init.items():
            leaves, changed = [], False
            for x in flatten(start):
                keep = next(kept)
                changed = changed or keep
                leaves.append(next(results) if keep else x)
            if changed or start is not self.before[name]:
                out[name] = unflatten(start, leaves)
                name_value(out[name], name)


def _remove(block: Block, i: int, value: Value) -> None:
    block.args[i].replace_with(value)
    block.remove_arg(i)


def _numeric(v: Any) -> bool:
    return is_number(v) or isinstance(v, tl_tuple) and all(_numeric(x) for x in v.values)
