"""``for`` and ``while``: which variables a loop carries.

A loop's body is traced once.  Candidates for being carried are the variables that the body's syntax assigns
and that have a value before the loop:

- Run-time values become arguments of the body's block.  What the body leaves unchanged is taken out again.
- A number assigned by an unconditional statement of the body (``acc = 0.0`` before, ``acc += x`` inside)
  becomes a scalar tensor before the loop: i32, f32 … as its value asks.
- Every other compile-time value is expected to stay.  If tracing shows that the body changes it, the body is
  traced again with that variable carried; so constexprs that only an untaken branch assigns stay constexprs.

A variable whose type changes in the body is an error if an iteration reads what the last one left, else it
is merely unavailable after the loop, as are the variables that only the body assigns.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import Block
from ..language.arithmetic import add, floordiv, mul, sub, where
from ..language.casting import cast_to
from ..language.constexpr import constexpr, unwrap
from ..language.promotion import integer_type
from ..language.shaping import static
from ..language.tensor import tensor
from .carried import Carried
from .errors import NotConstexprError, UnsupportedLanguageConstruct
from .expressions import iterate
from .outcome import Outcome
from .scope import Unavailable
from .statements import assign
from .syntax import certainly_stored, read_in, stored_in
from .values import as_tensor, describe, is_number, is_tensor, to_bool
from .visitor import Tracer, statement

__all__: list[str] = []

#: Iterations of one `tl.static_range`; more would take minutes and gigabytes, and are a slip of the pen.
MOST_UNROLLED = 1 << 16


# --- for ------------------------------------------------------------------------------------------------


@statement(ast.For)
def for_(t: Tracer, node: ast.For, rest: Sequence[Any], top: bool) -> tuple[Outcome, bool] | None:
    if node.orelse:
        raise t.error(UnsupportedLanguageConstruct, node.orelse[0], "`else` after a loop is not supported in a kernel; there is no `break`")
    bounds = _range_call(t, node.iter)
    if bounds is None:
        return _unrolled(t, node, _elements(t, node.iter))
    _run_time_for(t, node, bounds, rest)
    return None


class Range:
    """Bounds and hints of a run-time loop."""

    def __init__(self, start: Any, end: Any, step: Any, hints: dict[str, Any]):
        self.start, self.end, self.step, self.hints = start, end, step, hints


def _range_call(t: Tracer, node: ast.expr) -> Range | None:
    """The bounds if ``node`` calls ``range`` or ``tl.range``; None for everything that is unrolled."""
    from ..language import hints

    if not isinstance(node, ast.Call):
        return None
    fn = t.eval(node.func)
    if fn is range:
        from .calls import arguments

        args, kwargs = arguments(t, node)
        if kwargs or not 1 <= len(args) <= 3:
            raise t.error(
                UnsupportedLanguageConstruct, node, "range takes one to three positional arguments; tl.range has hints as keywords"
            )
        start, end = (0, args[0]) if len(args) == 1 else (args[0], args[1])
        return Range(start, end, args[2] if len(args) == 3 else 1, {})
    if fn is hints.range:
        r = t.eval(node)
        return Range(r.start, r.end, r.step, _hints(r))
    return None


def _hints(r: Any) -> dict[str, Any]:
    """The hints of a ``tl.range`` as attributes of the loop; None means that the target decides."""
    return {
        "num_stages": int(unwrap(r.num_stages) or 0),
        "unroll": int(unwrap(r.loop_unroll_factor) or 0),
        "flatten": bool(unwrap(r.flatten)),
        "warp_specialize": bool(unwrap(r.warp_specialize)),
        "disable_licm": bool(unwrap(r.disable_licm)),
    }


def _elements(t: Tracer, node: ast.expr) -> list[Any]:
    """What an unrolled loop runs over: tl.static_range or any compile-time sequence."""
    from ..language import hints

    value = t.eval(node)
    if isinstance(value, hints.static_range):
        bounds = [static(b) for b in (value.start, value.end, value.step)]
        if not all(isinstance(b, int) for b in bounds):
            raise t.error(
                NotConstexprError, node, "the bounds of tl.static_range must be integers known at compile time; use tl.range for others"
            )
        if len(range(*bounds)) > MOST_UNROLLED:
            raise t.error(
                UnsupportedLanguageConstruct,
                node,
                f"tl.static_range would unroll {len(range(*bounds)):,} iterations, and {MOST_UNROLLED:,} are allowed; tl.range makes a loop",
            )
        return [constexpr(i) for i in range(*bounds)]
    value = unwrap(value)
    if not hasattr(value, "__iter__"):
        raise t.error(
            UnsupportedLanguageConstruct,
            node,
            f"cannot loop over {describe(value)}; use range, tl.range, tl.static_range or a compile-time sequence",
        )
    return iterate(t, value, node)


def _unrolled(t: Tracer, node: ast.For, items: list[Any]) -> tuple[Outcome, bool]:
    def step(item: Any) -> Callable[[], Outcome]:
        def trace() -> Outcome:
            assign(t, node.target, item)
            return t.run(node.body)

        return trace

    return t.run([step(item) for item in items]), False


def _run_time_for(t: Tracer, node: ast.For, r: Range, rest: Sequence[Any]) -> None:
    if not isinstance(node.target, ast.Name):
        raise t.error(UnsupportedLanguageConstruct, node.target, "the variable of a run-time loop must be a name")
    t.at(node)
    step = unwrap(r.step)
    if not is_tensor(step) and step == 0:
        raise t.error(UnsupportedLanguageConstruct, node.iter, "the step of a loop must not be 0")
    ends = [as_tensor(x) for x in (r.start, r.end, r.step)]
    iv_type = ends[0].type
    for e in ends:
        if not e.type.is_int() or e.type.is_block():
            types = ", ".join(str(x.type) for x in ends)
            raise t.error(
                UnsupportedLanguageConstruct,
                node.iter,
                f"the bounds and the step of a loop must be scalar integers, but they are ({types})",
            )
        iv_type = integer_type(iv_type, e.type)  # the wider; of equal width the unsigned one
    ends = [cast_to(e, iv_type) for e in ends]
    handles = [e.handle for e in ends]
    target = node.target.id
    attrs = {**r.hints, "unsigned": not iv_type.is_int_signed()}

    def enter(block: Block) -> None:
        index = block.args[0]
        index.name = target
        t.frame.locals[target] = tensor(index, iv_type)

    assigned = stored_in(node.body)
    loop = Carried(t, node, assigned - {target}, certainly_stored(node.body))
    loop.first = (handles[0].type,)
    t.frame.loops += 1
    while True:
        block = loop.block(enter)
        with t.into(block):
            t.run(node.body)
        if loop.settled(block):
            break
    t.frame.loops -= 1
    t.at(node)
    inits = loop.end(block)
    loop.finish(t.builder.make("for", [*handles, *inits], attrs, blocks=(block,)), gone=(target,))
    if isinstance(step, int) and read_in(rest, target) and target not in assigned:
        before = loop.before.get(target)
        kept = as_tensor(before) if is_tensor(before) or is_number(before) else None
        # A float or a tile before the loop is no value that the last index could be one type with.
        if before is None or type(before) is Unavailable or (kept is not None and kept.type.is_int() and not kept.rank):
            t.frame.locals[target] = _last_index(ends[0], ends[1], step, kept)


def _last_index(start: tensor, end: tensor, step: int, before: tensor | None) -> tensor:
    """The loop's variable after the loop, as in Python: its last value, or ``before``, a scalar integer, where the loop ran not once.

    Triton promises nothing of it, and kernels read it.  Where there is nothing to keep either, Python would stop: the number then means
    nothing.
    """
    low, high, size = (start, end, step) if step > 0 else (end, start, -step)
    steps = floordiv(sub(sub(high, low, False), 1, False), size)
    last = add(start, mul(steps, step, False), False)
    return last if before is None else where(low < high, last, before)


# --- while ----------------------------------------------------------------------------------------------


@statement(ast.While)
def while_(t: Tracer, node: ast.While, rest: Sequence[Any], top: bool) -> None:
    if node.orelse:
        raise t.error(UnsupportedLanguageConstruct, node.orelse[0], "`else` after a loop is not supported in a kernel; there is no `break`")
    t.at(node)
    loop = Carried(t, node, stored_in([node.test, *node.body]), certainly_stored(node.body))
    t.frame.loops += 1
    while True:
        check = loop.block()
        with t.into(check):
            condition = _condition(t.eval(node.test))
        if not is_tensor(condition):
            t.frame.loops -= 1
            if unwrap(condition):
                raise t.error(
                    UnsupportedLanguageConstruct, node.test, "this `while` never ends: its condition is always true and there is no `break`"
                )
            t.frame.locals = loop.before
            return
        with t.into(check):
            condition = to_bool(condition)
        if not loop.settled_at_condition(check):
            continue
        body = loop.block()
        with t.into(body):
            t.run(node.body)
        if loop.settled(check, body):
            break
    t.frame.loops -= 1
    t.at(node)
    inits = loop.end(body, check, condition.handle)
    loop.finish(t.builder.make("while", inits, blocks=(check, body)))


def _condition(value: Any) -> Any:
    """The value of a ``while`` condition; ``tl.condition`` wraps one to carry hints for the optimiser."""
    from ..language import hints

    return value.condition if isinstance(value, hints.condition) else value
