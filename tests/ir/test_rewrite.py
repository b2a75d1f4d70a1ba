"""The driver of rewrite rules, and copying and moving of operations."""

from __future__ import annotations

import pytest

from anytile.errors import IRError
from anytile.ir import Block, Builder, Func, Module, ptr, scalar, tile
from anytile.ir.rewrite import RuleSet, apply, clone_op, const_value, inline_block, rule
from anytile.ir.types import I32
from anytile.ir.verifier import verify


def kernel() -> tuple[Module, Builder]:
    f = Func("k", (ptr(I32), scalar(I32)), ("p", "n"))
    return Module([f]), Builder(f.body)


@rule("add")
def double(op, b):
    x, y = op.operands
    return b.mul(x, b.const(2, x.type)) if x is y else None


@rule("mul")
def shift(op, b):
    return b.shl(op.operands[0], b.const(1, op.results[0].type)) if const_value(op.operands[1]) == 2 else None


def test_sets_add_and_new_operations_are_rewritten_at_once() -> None:
    m, b = kernel()
    p, n = m.kernel.args
    b.store(p, b.add(n, n))
    b.make("return")
    assert apply(m, RuleSet([double]) + RuleSet([shift]))
    verify(m)
    assert [op.name for op in m.walk()] == ["constant", "shl", "store", "return"]
    assert not apply(m, RuleSet([double, shift]))


def test_rules_that_undo_each_other_are_reported() -> None:
    @rule("add")
    def there(op, b):
        return b.sub(*op.operands)

    @rule("sub")
    def back(op, b):
        return b.add(*op.operands)

    m, b = kernel()
    p, n = m.kernel.args
    b.store(p, b.add(n, n))
    b.make("return")
    with pytest.raises(IRError, match="in @k: rewriting .* undo each other"):
        apply(m, RuleSet([there, back]))


def test_a_rule_must_not_create_and_decline() -> None:
    @rule("add")
    def careless(op, b):
        b.const(1, I32)

    m, b = kernel()
    p, n = m.kernel.args
    b.store(p, b.add(n, n))
    b.make("return")
    with pytest.raises(IRError, match="careless created operations and then declined add"):
        apply(m, RuleSet([careless]))


def test_constants_are_seen_through_changes_of_shape() -> None:
    _, b = kernel()
    t = b.broadcast(b.expand_dims(b.splat(b.const(7, I32), shape=(4,)), axis=1), shape=(4, 8))
    assert const_value(t) == 7
    assert const_value(b.const(3, tile((4,), I32))) == 3
    assert const_value(b.arange(start=0, end=4)) is None
    assert const_value(None) is None


def test_clone_and_inline() -> None:
    m, b = kernel()
    p, n = m.kernel.args
    body = Block((scalar(I32), scalar(I32)), ("i", "a"))
    inner = Builder(body)
    inner.make("yield", [inner.add(body.args[1], body.args[0])])
    loop = b.make("for", [n, n, n, n], {}, (body,))
    mapping = {n: loop.result}
    copy = clone_op(loop, b, mapping)
    assert copy.operands[3] is loop.result and mapping[loop.result] is copy.result
    b.store(p, copy.result)
    end = b.make("return")
    verify(m)
    (value,) = inline_block(copy.blocks[0], [n, n], Builder(m.kernel.body, copy))
    copy.result.replace_with(value)
    copy.erase()
    verify(m)
    assert [op.name for op in m.kernel.body.ops] == ["for", "add", "store", "return"] and end.block is m.kernel.body
