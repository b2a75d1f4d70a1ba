"""Values, operations, blocks, functions: the data structure of the tile IR.

The idea
--------
A kernel is one `Func` per program: SSA values typed by element and shape, in *structured* control flow.
There is no control-flow graph: a loop is an operation that owns a block, an ``if`` owns two.  Whatever a
pass wants to know about nesting it reads off ``op.block.parent``; dominance is textual order plus nesting.

    func @add(%x: ptr<f32> {divisible = 16}, %n: i32) {
      %pid = program_id {axis = 0} : i32
      ...
      %acc = for %lb, %ub, %step, %zero ^(%i: i32, %a: tile<64xf32>) {
        ...
        yield %next
      } : tile<64xf32>
      return
    }

What an operation *means* is said once, in its row of `ops.TABLE`; this file knows nothing of meanings.

- `Value`: a type, its definition (``op`` or ``block`` for a block argument) and its uses.
  ``uses`` is an insertion-ordered dict keyed ``(op, operand index)``, so use lists cost one dict entry.
- `Op`: ``defn`` (the row), ``operands`` (``None`` where an optional operand is absent), ``attrs``,
  ``results``, ``blocks`` (one block per region) and ``loc``.
- `Loc`: file, line, column and the call site when a device function was inlined: errors print the chain.

What it cannot do: no layouts (a GPU target keeps them beside the values), no unstructured jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .types import Type

if TYPE_CHECKING:
    from .ops import OpDef

__all__ = ["Loc", "UNKNOWN", "Value", "Op", "Block", "Func", "Module"]


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's source; ``caller`` is the call that inlined it (None at the kernel itself)."""

    file: str
    line: int
    col: int = 0
    function: str = ""
    caller: Loc | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


UNKNOWN = Loc("?", 0)


class Value:
    """One SSA value.  ``owner`` is the `Op` or the `Block` that defines it."""

    __slots__ = ("type", "owner", "index", "uses", "name")

    def __init__(self, type: Type, owner: Op | Block, index: int, name: str = ""):
        self.type, self.owner, self.index, self.name = type, owner, index, name
        self.uses: dict[tuple[Op, int], None] = {}

    @property
    def op(self) -> Op | None:
        """The defining operation, or None for a block argument."""
        return self.owner if type(self.owner) is Op else None

    def is_op(self, name: str) -> bool:
        return type(self.owner) is Op and self.owner.defn.name == name

    def users(self) -> list[Op]:
        return list(dict.fromkeys(op for op, _ in self.uses))

    def replace_with(self, new: Value) -> None:
        """Make every user of this value use ``new``."""
        if new is self:
            return
        for op, i in list(self.uses):
            op.set_operand(i, new)

    def __repr__(self) -> str:
        return f"<%{self.name or '?'}: {self.type}>"


class Op:
    """One operation.  Make it through `Builder`, which checks it against its table row."""

    __slots__ = ("defn", "name", "operands", "attrs", "results", "blocks", "loc", "block")

    def __init__(
        self,
        defn: OpDef,
        operands: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        result_types: tuple[Type, ...] = (),
        blocks: tuple[Block, ...] = (),
        loc: Loc = UNKNOWN,
    ):
        self.defn, self.name, self.attrs, self.loc = defn, defn.name, attrs or {}, loc
        # Typed as if all were there: the table row says which operands may be None, and who reads those asks.
        self.operands: list[Value] = operands  # type: ignore[assignment]
        self.block: Block | None = None
        self.blocks = list(blocks)
        for b in blocks:
            b.parent = self
        for i, v in enumerate(operands):
            if v is not None:
                v.uses[(self, i)] = None
        self.results = [Value(t, self, i) for i, t in enumerate(result_types)]

    @property
    def result(self) -> Value:
        return self.results[0]

    def operand(self, name: str) -> Value | None:
        """The operand called ``name`` in the table row; None where it is optional and absent."""
        return self.operands[self.defn.index_of(name)]

    def rest(self) -> list[Value]:
        """The variadic operands at the end (``inits`` of a loop, ``args`` of a print)."""
        return self.operands[self.defn.n_fixed :]

    def set_operand(self, i: int, v: Value | None) -> None:
        old = self.operands[i]
        if old is not None:
            old.uses.pop((self, i), None)
        self.operands[i] = v  # type: ignore[assignment,call-overload]
        if v is not None:
            v.uses[(self, i)] = None

    def drop_operand(self, i: int) -> None:
        """Remove operand ``i`` altogether (variadic operands only)."""
        keep = self.operands[:i] + self.operands[i + 1 :]
        self.set_operands(keep)

    def set_operands(self, values: Sequence[Value | None]) -> None:
        for i, v in enumerate(self.operands):
            if v is not None:
                v.uses.pop((self, i), None)
        self.operands = list(values)  # type: ignore[arg-type]
        for i, v in enumerate(self.operands):
            if v is not None:
                v.uses[(self, i)] = None

    def drop_uses(self) -> None:
        """Forget every operand, here and in nested blocks: the op is about to die."""
        for i, v in enumerate(self.operands):
            if v is not None:
                v.uses.pop((self, i), None)
        for b in self.blocks:
            for op in b.ops:
                op.drop_uses()

    def erase(self) -> None:
        """Take the op out of its block.  Its results must be unused."""
        assert not any(r.uses for r in self.results), f"{self.name} still has uses"
        self.drop_uses()
        if self.block is not None:
            self.block.ops.remove(self)
            self.block = None

    def walk(self) -> Iterator[Op]:
        """This op and all nested ones, in textual order."""
        yield self
        for b in self.blocks:
            yield from b.walk()

    def parent_op(self) -> Op | None:
        return self.block.parent if self.block is not None and isinstance(self.block.parent, Op) else None

    def __repr__(self) -> str:
        return f"<{self.name} at {self.loc}>"


class Block:
    """A straight list of operations with arguments; the last op is the terminator."""

    __slots__ = ("args", "ops", "parent")

    def __init__(self, arg_types: tuple[Type, ...] = (), names: tuple[str, ...] = ()):
        self.args = [Value(t, self, i, names[i] if i < len(names) else "") for i, t in enumerate(arg_types)]
        self.ops: list[Op] = []
        self.parent: Op | Func | None = None

    def add_arg(self, type: Type, name: str = "") -> Value:
        v = Value(type, self, len(self.args), name)
        self.args.append(v)
        return v

    def remove_arg(self, i: int) -> None:
        assert not self.args[i].uses
        del self.args[i]
        for j, a in enumerate(self.args):
            a.index = j

    @property
    def terminator(self) -> Op:
        return self.ops[-1]

    def walk(self) -> Iterator[Op]:
        for op in list(self.ops):
            yield op
            for b in op.blocks:
                yield from b.walk()

    def func(self) -> Func:
        p = self.parent
        while isinstance(p, Op):
            p = p.block.parent if p.block is not None else None
        assert isinstance(p, Func)
        return p

    def encloses(self, other: Block | None) -> bool:
        """Whether ``other`` is this block or nested in it."""
        while other is not None:
            if other is self:
                return True
            p = other.parent
            other = p.block if isinstance(p, Op) else None
        return False

    def defines(self, v: Value) -> bool:
        """Whether ``v`` is made in this block, or in one nested in it."""
        return self.encloses(v.owner if isinstance(v.owner, Block) else v.owner.block)


class Func:
    """A function: its name, its entry block (whose arguments are the parameters) and facts about them.

    ``arg_attrs[i]`` may hold ``divisible`` (the pointer's address or the integer's value is a multiple of
    it) and ``const`` (nothing is stored through the pointer).
    """

    __slots__ = ("name", "body", "arg_attrs", "loc")

    def __init__(self, name: str, arg_types: tuple[Type, ...], arg_names: tuple[str, ...], loc: Loc = UNKNOWN):
        self.name, self.loc = name, loc
        self.body = Block(arg_types, arg_names)
        self.body.parent = self
        self.arg_attrs: list[dict[str, Any]] = [{} for _ in arg_types]

    @property
    def args(self) -> list[Value]:
        return self.body.args

    def walk(self) -> Iterator[Op]:
        return self.body.walk()


class Module:
    """A kernel (``funcs[0]``) with whatever it calls; ``attrs`` are facts about the whole compilation."""

    __slots__ = ("funcs", "attrs")

    def __init__(self, funcs: list[Func] | None = None, attrs: dict[str, Any] | None = None):
        self.funcs: list[Func] = funcs or []
        self.attrs: dict[str, Any] = attrs or {}

    @property
    def kernel(self) -> Func:
        return self.funcs[0]

    def walk(self) -> Iterator[Op]:
        for f in self.funcs:
            yield from f.walk()

    def __str__(self) -> str:
        from .printer import print_module

        return print_module(self)
