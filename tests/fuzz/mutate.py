"""Kernels with mistakes: one to three random changes in the syntax tree of a right one (`fuzz_kernels`)."""

from __future__ import annotations

import ast
import copy
import random
from pathlib import Path

__all__ = ["SOURCE", "mutant"]

SOURCE = Path(__file__).with_name("fuzz_kernels.py")

_CONSTANTS = (0, 1, 2, 3, -1, 7, 1 << 31, 1 << 40, 1 << 70, 0.5, 1e300, float("inf"), True, None, "evict_last", "add", "", ...)
_LANGUAGE = (
    "load store arange zeros full sum max min argmax reduce associative_scan sort topk flip gather histogram dot dot_scaled join split "
    "interleave permute trans reshape view expand_dims broadcast_to broadcast cat where exp log sqrt rsqrt sigmoid softmax cdiv ravel "
    "atomic_add atomic_cas atomic_xchg make_block_ptr advance make_tensor_descriptor program_id num_programs static_range range tensor "
    "constexpr static_assert device_assert device_print inline_asm_elementwise map_elementwise multiple_of max_contiguous rand randint "
    "philox umulhi div_rn cumsum cumprod xor_sum swizzle2d debug_barrier float32 int8 uint32 float8e4nv bfloat16 pointer_type math no_such_name"
).split()
_OPERATORS = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.LShift,
    ast.RShift,
    ast.BitAnd,
    ast.BitOr,
    ast.MatMult,
)
_COMPARISONS = (ast.Lt, ast.GtE, ast.Eq, ast.NotEq, ast.Is, ast.In)


class _Places(ast.NodeVisitor):
    """Every (parent, field, index) of the body where an expression or a statement stands."""

    def __init__(self) -> None:
        self.expressions: list[tuple[ast.AST, str, int | None]] = []
        self.statements: list[tuple[list[ast.stmt], int]] = []

    def generic_visit(self, node: ast.AST) -> None:
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, ast.stmt):
                        self.statements.append((value, i))  # type: ignore[arg-type]
                    elif isinstance(item, ast.expr) and field != "decorator_list":
                        self.expressions.append((node, field, i))
            elif isinstance(value, ast.expr) and field != "annotation":
                self.expressions.append((node, field, None))
        super().generic_visit(node)


def _get(place: tuple[ast.AST, str, int | None]) -> ast.expr:
    node, field, i = place
    return getattr(node, field) if i is None else getattr(node, field)[i]


def _put(place: tuple[ast.AST, str, int | None], new: ast.expr) -> None:
    node, field, i = place
    if i is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[i] = new


def _change(dice: random.Random, function: ast.FunctionDef) -> None:
    places = _Places()
    for statement in function.body:
        places.visit(ast.Module([statement], []))
    kind = dice.choice(("expression",) * 6 + ("drop", "repeat", "swap", "wrap"))
    if kind == "expression" and places.expressions:
        _change_expression(dice, dice.choice(places.expressions), places)
        return
    body, i = dice.choice([(function.body, k) for k in range(len(function.body))] + [p for p in places.statements if len(p[0]) > 1])
    if kind == "drop" and len(body) > 1:
        del body[i]
    elif kind == "repeat":
        body.insert(dice.randrange(len(body) + 1), copy.deepcopy(body[i]))
    elif kind == "wrap":
        test = ast.Compare(ast.Name("n" if dice.random() < 0.5 else "at", ast.Load()), [ast.Gt()], [ast.Constant(3)])
        loop: ast.stmt = ast.For(ast.Name("i", ast.Store()), ast.Call(ast.Name("range", ast.Load()), [ast.Constant(2)], []), [body[i]], [])
        body[i] = loop if dice.random() < 0.5 else ast.If(test, [body[i]], [])
    else:
        j = dice.randrange(len(body))
        body[i], body[j] = body[j], body[i]


def _change_expression(dice: random.Random, place: tuple[ast.AST, str, int | None], places: _Places) -> None:
    old = _get(place)
    if isinstance(getattr(old, "ctx", None), ast.Store):
        return
    if isinstance(old, ast.Call) and dice.random() < 0.6:
        change = dice.randrange(4)
        if change == 0 and old.args:
            del old.args[dice.randrange(len(old.args))]
        elif change == 1:
            old.args.insert(dice.randrange(len(old.args) + 1), ast.Constant(dice.choice(_CONSTANTS)))
        elif change == 2 and old.keywords:
            old.keywords[dice.randrange(len(old.keywords))].arg = dice.choice(("mask", "axis", "other", "dtype", "no_such_keyword"))
        elif len(old.args) > 1:
            dice.shuffle(old.args)
        return
    if isinstance(old, ast.BinOp) and dice.random() < 0.7:
        old.op = dice.choice(_OPERATORS)()
        return
    if isinstance(old, ast.Compare) and dice.random() < 0.7:
        old.ops[0] = dice.choice(_COMPARISONS)()
        return
    if isinstance(old, ast.Attribute) and dice.random() < 0.7:
        old.attr = dice.choice(_LANGUAGE)
        return
    names = [n for n in (_get(p) for p in places.expressions) if isinstance(n, ast.Name)]
    new = dice.choice(
        [
            ast.Constant(dice.choice(_CONSTANTS)),
            copy.deepcopy(dice.choice(names)) if names else ast.Constant(1),
            copy.deepcopy(_get(dice.choice(places.expressions))),
            ast.Subscript(copy.deepcopy(old), ast.Constant(dice.choice((0, None, 5))), ast.Load()),
            ast.Tuple([copy.deepcopy(old), ast.Constant(1)], ast.Load()),
            ast.UnaryOp(dice.choice((ast.USub, ast.Invert, ast.Not))(), copy.deepcopy(old)),
            ast.IfExp(copy.deepcopy(old), copy.deepcopy(old), ast.Constant(2.5)),
            ast.Attribute(ast.Name("tl", ast.Load()), dice.choice(_LANGUAGE), ast.Load()),
        ]
    )
    for n in ast.walk(new):
        if hasattr(n, "ctx"):
            n.ctx = ast.Load()
    _put(place, new)


def mutant(seed: int) -> tuple[str, str]:
    """(name of the kernel, source of the whole file with that kernel changed); the seed determines both."""
    dice = random.Random(seed)
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef)]
    entries = [f for f in functions if f.name not in ("half", "larger", "best_of")]
    entry = dice.choice(entries)
    for _ in range(dice.choice((1, 1, 2, 3))):
        _change(dice, entry if dice.random() < 0.9 else dice.choice(functions))
    return entry.name, ast.unparse(ast.fix_missing_locations(tree))
