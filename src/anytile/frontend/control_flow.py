"""``if``, conditional expressions and early return.

A run-time ``if`` traces each arm into a block of its own, starting from a copy of the variables, and merges:

    variable changed in some arm   →  a result of the `if` operation, yielded by both arms
    same compile-time value        →  stays as it is
    a number in one, a tensor in   →  the number becomes a scalar tensor
      the other, or two numbers
    no common type, or assigned    →  unavailable afterwards; reading it is an error that says why
      in one arm only

Early return.  When one arm always returns, the statements after the ``if`` belong to the other arm and are
traced there, so ``if pid >= n: return`` costs nothing.  When an arm returns only sometimes, the ``if`` also
yields a flag and the return value, and what follows is guarded by the flag.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Block, Value
from ..ir.types import BOOL, scalar
from ..language.aggregate import Recorded, flatten, unflatten
from ..language.shaping import static
from .errors import ShapeMismatchError, TypeMismatchError
from .outcome import FALLS, Outcome
from .scope import Unavailable
from .syntax import has_return
from .values import Mismatch, describe, is_tensor, name_value, reconcile, to_bool, zeros_of
from .visitor import Tracer, statement

__all__ = ["choose", "continue_after", "mismatch_kind"]

_ABSENT = object()


@dataclass
class Arm:
    """One side of an ``if`` after tracing: its block, its variables at the end, how it ends."""

    block: Block
    locals: dict[str, Any]
    outcome: Outcome

    @property
    def alive(self) -> bool:
        return not self.outcome.returns


@statement(ast.If)
def if_(t: Tracer, node: ast.If, rest: Sequence[Any], top: bool) -> tuple[Outcome, bool] | None:
    condition = static(t.eval(node.test))
    if not is_tensor(condition):
        taken = node.body if condition else node.orelse
        if has_return(node):
            # The taken arm and what follows are one list: a return in it then ends the list.
            return t.run([*taken, *rest], top), True
        t.run(taken)
        return None
    t.at(node)
    return branch(t, node, to_bool(condition).handle, lambda: t.run(node.body), lambda: t.run(node.orelse), rest, top)


def continue_after(t: Tracer, outcome: Outcome, rest: Sequence[Any], top: bool) -> Outcome:
    """Traces ``rest`` for the runs on which the code so far, which ended with ``outcome``, has not returned."""
    if outcome.returns:
        return outcome
    if outcome is FALLS:
        return t.run(rest, top)
    if not rest and not top:
        return outcome
    assert outcome.flag is not None  # what neither falls through nor returns has one
    node = outcome.node or ast.Pass()
    returned = Outcome.returned(outcome.value, outcome.node)
    return branch(t, node, outcome.flag, lambda: returned, lambda: t.run(rest, top), (), False)[0]


def branch(
    t: Tracer,
    node: ast.AST,
    condition: Value,
    then: Callable[[], Outcome],
    orelse: Callable[[], Outcome],
    rest: Sequence[Any],
    top: bool,
) -> tuple[Outcome, bool]:
    """Traces both arms (and ``rest`` in one of them if the other returns), merges, and records the ``if``."""
    frame, before, loc = t.frame, t.frame.locals, t.builder.loc
    a, b = _arm(t, before, then), _arm(t, before, orelse)
    consumed = False
    if a.alive != b.alive and (rest or top):
        going_on = a if a.alive else b
        frame.locals = going_on.locals
        with t.into(going_on.block):
            going_on.outcome = continue_after(t, going_on.outcome, rest, top)
        going_on.locals = frame.locals
        consumed = True
    t.builder.loc = loc
    merge = _Merge(t, node, a, b)
    frame.locals = merge.variables(before)
    outcome = merge.returns()
    merge.record(condition)
    return outcome, consumed


def _arm(t: Tracer, before: dict[str, Any], trace: Callable[[], Outcome]) -> Arm:
    t.frame.locals = dict(before)
    with t.into(Block()) as block:
        outcome = trace()
    return Arm(block, t.frame.locals, outcome)


class _Merge:
    """Collects what the two arms yield, and afterwards turns the results back into variables."""

    def __init__(self, t: Tracer, node: ast.AST, a: Arm, b: Arm):
        self.t, self.node, self.a, self.b = t, node, a, b
        self.left: list[Value] = []
        self.right: list[Value] = []
        self.after: list[Callable[[list[Value]], None]] = []  # run with the results of the `if`

    def yield_both(self, x: Sequence[Value], y: Sequence[Value], use: Callable[[list[Value]], None]) -> None:
        start, n = len(self.left), len(x)
        self.left += x
        self.right += y
        self.after.append(lambda results: use(results[start : start + n]))

    # --- variables ----------------------------------------------------------------------------------------

    def variables(self, before: dict[str, Any]) -> dict[str, Any]:
        """The variables after the ``if``; those that are results are filled in by `record`."""
        a, b = self.a, self.b
        if not a.alive and not b.alive:
            return dict(before)
        out = dict((a if a.alive else b).locals)
        for name in {**a.locals, **b.locals}:
            x, y = a.locals.get(name, _ABSENT), b.locals.get(name, _ABSENT)
            if a.alive and b.alive:
                if x is not y:
                    self.both(out, name, x, y)
            else:
                v = x if a.alive else y
                if v is not _ABSENT and v is not before.get(name, _ABSENT) and isinstance(v, Recorded):
                    self.one(out, name, v)
        return out

    def both(self, out: dict[str, Any], name: str, x: Any, y: Any) -> None:
        """Merges a variable that the arms leave with different values."""
        line = self.t.frame.loc(self.node).line
        missing = next((arm for arm, v in (("if", x), ("else", y)) if v is _ABSENT), None)
        if missing is not None:
            side = "the `if` branch" if missing == "else" else "the `else` branch"
            out[name] = Unavailable(
                f"{name} is not defined on every path: only {side} of the `if` at line {line} assigns it. Assign it before the `if`"
            )
            return
        for v in (x, y):
            if type(v) is Unavailable:
                out[name] = v
                return
        t = self.t
        try:
            x, y = reconcile(t.builder, x, self.a.block, y, self.b.block)
        except Mismatch as m:
            out[name] = Unavailable(
                f"Mismatched type for {name}: it is {describe(m.a)} after one branch of the `if` at line {line} and {describe(m.b)} after the other; "
                "a variable needs one type on all paths: convert with .to(), or use another name",
                mismatch_kind(m),
            )
            return
        if not isinstance(x, Recorded):
            out[name] = x
            return

        def use(results: list[Value]) -> None:
            out[name] = unflatten(x, results)
            name_value(out[name], name)

        self.yield_both(flatten(x), flatten(y), use)

    def one(self, out: dict[str, Any], name: str, v: Any) -> None:
        """Hands on a variable of the arm that goes on; the other arm has returned and yields zeros."""

        def use(results: list[Value]) -> None:
            out[name] = unflatten(v, results)
            name_value(out[name], name)

        dead = self.b if self.a.alive else self.a
        with self.t.into(dead.block):
            zeros = zeros_of(self.t.builder, v)
        pair = (flatten(v), zeros) if self.a.alive else (zeros, flatten(v))
        self.yield_both(*pair, use)

    # --- returns ------------------------------------------------------------------------------------------

    def returns(self) -> Outcome:
        """The outcome of the whole ``if``; its value is filled in by `record`."""
        x, y = self.a.outcome, self.b.outcome
        if x is FALLS and y is FALLS:
            return FALLS
        out = Outcome(x.returns and y.returns, node=(x if x is not FALLS else y).node)
        self.value(out, x, y)
        if not out.returns:

            def use(results: list[Value]) -> None:
                (out.flag,) = results

            self.yield_both([self.flag(self.a)], [self.flag(self.b)], use)
        return out

    def flag(self, arm: Arm) -> Value:
        """Whether ``arm`` has returned, as an i1 at its end."""
        if arm.outcome.flag is not None:
            return arm.outcome.flag
        with self.t.into(arm.block):
            return self.t.builder.const(int(arm.outcome.returns), scalar(BOOL))

    def value(self, out: Outcome, x: Outcome, y: Outcome) -> None:
        """Merges the returned values; an arm that falls through yields zeros."""
        t = self.t
        if x is FALLS or y is FALLS:
            like = y.value if x is FALLS else x.value
            if not isinstance(like, Recorded):
                out.value = like
                return
            with t.into((self.a if x is FALLS else self.b).block):
                zeros = zeros_of(t.builder, like)
            pair = (zeros, flatten(like)) if x is FALLS else (flatten(like), zeros)
        else:
            try:
                like, other = reconcile(t.builder, x.value, self.a.block, y.value, self.b.block)
            except Mismatch:
                line = t.frame.loc(x.node).line if x.node is not None else None
                first = f"the `return` at line {line}" if line is not None else "the end of the function"
                raise t.error(
                    TypeMismatchError,
                    y.node or x.node or self.node,
                    f"Inconsistent return types: {t.frame.name} returns {describe(y.value)} here but {describe(x.value)} at {first}; "
                    "all paths that are chosen at run time must return the same type",
                ) from None
            if not isinstance(like, Recorded):
                out.value = like
                return
            pair = (flatten(like), flatten(other))

        def use(results: list[Value]) -> None:
            out.value = unflatten(like, results)

        self.yield_both(*pair, use)

    # --- the operation ------------------------------------------------------------------------------------

    def record(self, condition: Value) -> None:
        """Ends the arms and records the ``if``; values that are the same in both arms do not pass through it."""
        builder = self.t.builder
        through = [i for i, (x, y) in enumerate(zip(self.left, self.right)) if x is not y]
        for arm, values in ((self.a, self.left), (self.b, self.right)):
            with self.t.into(arm.block):
                builder.make("yield", [values[i] for i in through])
        types = tuple(self.left[i].type for i in through)
        op = builder.make("if", [condition], blocks=(self.a.block, self.b.block), types=types)
        results = list(self.left)
        for i, r in zip(through, op.results):
            results[i] = r
        for use in self.after:
            use(results)


def mismatch_kind(m: Mismatch) -> type[TypeMismatchError]:
    """Which error says that two values do not agree."""
    if is_tensor(m.a) and is_tensor(m.b) and m.a.type.scalar == m.b.type.scalar:
        return ShapeMismatchError
    return TypeMismatchError


def choose(t: Tracer, node: ast.IfExp, condition: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    """``then() if condition else orelse()`` on a run-time scalar: only the chosen side is executed."""
    values: list[Any] = []

    def side(evaluate: Callable[[], Any]) -> Callable[[], Outcome]:
        def trace() -> Outcome:
            values.append(evaluate())
            return FALLS

        return trace

    frame, before = t.frame, t.frame.locals
    a, b = _arm(t, before, side(then)), _arm(t, before, side(orelse))
    t.at(node)
    merge = _Merge(t, node, a, b)
    frame.locals = merge.variables(before)
    merged: dict[str, Any] = {}
    try:
        merge_value(merge, merged, values)
    except Mismatch as m:
        raise t.error(
            mismatch_kind(m),
            node,
            f"Ternary expression with dynamic condition has inconsistent types: {m}; convert one of them, or use tl.where for tensors",
        ) from None
    merge.record(condition.handle)
    return merged["value"]


def merge_value(merge: _Merge, merged: dict[str, Any], values: list[Any]) -> None:
    x, y = reconcile(merge.t.builder, values[0], merge.a.block, values[1], merge.b.block)
    if not isinstance(x, Recorded):
        merged["value"] = x
        return
    merge.yield_both(flatten(x), flatten(y), lambda r: merged.update(value=unflatten(x, r)))
