"""Facts about syntax which control flow asks for again and again: kept on the node, computed once."""

from __future__ import annotations

import ast
from collections.abc import Iterable

__all__ = ["certainly_stored", "entangled", "has_return", "is_moved", "read_in", "stored"]

_BIT_SIGNS = {ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^"}


def stored(node: ast.AST) -> frozenset[str]:
    """Variables that the statement or expression may assign, itself or anything inside it."""
    got = getattr(node, "_anytile_stored", None)
    if got is None:
        names: set[str] = set()
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                names.add(n.id)
            elif isinstance(n, (ast.Subscript, ast.Attribute)) and isinstance(n.ctx, ast.Store):
                base: ast.AST = n
                while isinstance(base, (ast.Subscript, ast.Attribute)):
                    base = base.value
                if isinstance(base, ast.Name):
                    names.add(base.id)  # x[i] = v rebinds x
        got = node._anytile_stored = frozenset(names)  # type: ignore[attr-defined]
    return got


def stored_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset().union(*(stored(n) for n in nodes))


def certainly_stored(body: list[ast.stmt]) -> frozenset[str]:
    """Variables that every pass through ``body`` assigns, as far as the outermost statements say."""
    names: set[str] = set()
    for s in body:
        if isinstance(s, (ast.Assign, ast.AugAssign)):
            targets = s.targets if isinstance(s, ast.Assign) else [s.target]
            for target in targets:
                names |= stored(target)
    return frozenset(names)


def read_in(steps: Iterable[object], name: str) -> bool:
    """Whether one of the statements reads the variable before another ``for`` over it sets it anew.

    Other steps than statements (the iterations of an unrolled loop) are not looked into.
    """
    for s in steps:
        if not isinstance(s, ast.stmt):
            continue
        if isinstance(s, ast.For) and isinstance(s.target, ast.Name) and s.target.id == name:
            return name in _read(s.iter)
        if name in _read(s):
            return True
    return False


def _read(node: ast.AST) -> frozenset[str]:
    """Variables that the statement or expression reads, itself or anything inside it; ``x += v`` reads x."""
    got = getattr(node, "_anytile_read", None)
    if got is None:
        names: set[str] = set()
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                names.add(n.id)
            elif isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name):
                names.add(n.target.id)
        got = node._anytile_read = frozenset(names)  # type: ignore[attr-defined]
    return got


def is_moved(function: ast.AST, name: str) -> bool:
    """Whether the function says ``name += …`` or ``name -= …`` of one of its variables."""
    moves = (n.target for n in ast.walk(function) if isinstance(n, ast.AugAssign) and isinstance(n.op, (ast.Add, ast.Sub)))
    return any(isinstance(target, ast.Name) and target.id == name for target in moves)


def has_return(node: ast.AST) -> bool:
    """Whether a ``return`` stands anywhere in the statement."""
    got = getattr(node, "_anytile_returns", None)
    if got is None:
        got = node._anytile_returns = any(isinstance(n, ast.Return) for n in ast.walk(node))  # type: ignore[attr-defined]
    return got


def entangled(source: str, node: ast.Compare) -> str | None:
    """What is wrong with ``a >= b & c < d`` of the text ``source``, a chain of comparisons that nobody meant; None where nothing is."""
    for middle in node.comparators[:-1]:
        if isinstance(middle, ast.BinOp) and type(middle.op) in _BIT_SIGNS and not _in_brackets(source, middle):
            sign = _BIT_SIGNS[type(middle.op)]
            return (
                f"`{sign}` binds tighter than comparisons, so this compares with `{ast.unparse(middle)}` in the middle; put brackets around the "
                f"comparisons, (a >= b) {sign} (c < d), or around that"
            )
    return None


def _in_brackets(source: str, node: ast.expr) -> bool:
    """Whether ``source`` has ``(`` before the expression; the syntax tree does not keep brackets."""
    before = source.split("\n")[: node.lineno]
    before[-1] = before[-1].encode()[: node.col_offset].decode()
    return "\n".join(before).rstrip().endswith("(")
