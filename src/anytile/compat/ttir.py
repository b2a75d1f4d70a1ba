"""A kernel in the words of TTIR, for programs that walk it: `triton._C.libtriton.ir`.

torch finds out which arguments a user-defined kernel writes by building the kernel's TTIR and walking its operations, innermost
first.  It asks for names, operands, results, regions and blocks by number and never for text.  This module gives the tile IR
in these words: objects with MLIR's methods, made where they are asked for, over anytile's own operations.

Where the tile IR says a thing differently, this is how it reads:

- what TTIR has a name for gets that name (`_NAMES`); any other operation is ``anytile.<name>``, which no analysis takes for a
  write, and rightly: stores and atomics are the only operations that write;
- device functions are inlined before, so there is one ``tt.func`` and no ``tt.call``;
- block pointers and tensor descriptors are address arithmetic by then: accesses through them are plain loads and stores;
- a descriptor among the arguments stands for its base, extents and all strides, as upstream's does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["context", "load_dialects", "module", "operation"]

_NAMES = {
    "func": "tt.func",
    "return": "tt.return",
    "load": "tt.load",
    "store": "tt.store",
    "atomic_rmw": "tt.atomic_rmw",
    "atomic_cas": "tt.atomic_cas",
    "addptr": "tt.addptr",
    "splat": "tt.splat",
    "broadcast": "tt.broadcast",
    "expand_dims": "tt.expand_dims",
    "reshape": "tt.reshape",
    "permute": "tt.trans",
    "join": "tt.join",
    "split": "tt.split",
    "gather": "tt.gather",
    "histogram": "tt.histogram",
    "arange": "tt.make_range",
    "program_id": "tt.get_program_id",
    "num_programs": "tt.get_num_programs",
    "bitcast": "tt.bitcast",
    "ptrtoint": "tt.ptr_to_int",
    "inttoptr": "tt.int_to_ptr",
    "dot": "tt.dot",
    "reduce": "tt.reduce",
    "scan": "tt.scan",
    "map": "tt.map_elementwise",
    "inline_asm": "tt.elementwise_inline_asm",
    "print": "tt.print",
    "assert": "tt.assert",
    "constant": "arith.constant",
    "select": "arith.select",
    "for": "scf.for",
    "while": "scf.while",
    "if": "scf.if",
    "condition": "scf.condition",
}
# What ends a block is named after the operation whose block it is.
_YIELDS = {"reduce": "tt.reduce.return", "scan": "tt.scan.return", "map": "tt.map_elementwise.return"}


class context:
    """What MLIR keeps its types in; the tile IR has no need of one."""


def load_dialects(ctx: context) -> None:
    """Nothing to load: the tile IR has one table of operations."""


class _Value:
    """An operand, a result or a block's argument: all that is asked of it is which one it is."""

    def __init__(self, identity: object) -> None:
        self._identity = identity

    def id(self) -> int:
        """Equal for equal values, while the module lives."""
        return id(self._identity)


class _Region:
    """What holds the blocks of an operation; here every region has one block."""

    def __init__(self, block: _Block) -> None:
        self._block = block

    def id(self) -> int:
        return -self._block.id()  # no address is negative: regions and blocks never share an identity

    def size(self) -> int:
        return 1


class _Block:
    """``key``: what tells it from other blocks; ``arguments``: the values that it begins with; ``parent``: whose block it is."""

    def __init__(self, key: object, arguments: list[Any], parent: operation) -> None:
        self._key, self._arguments, self._parent = key, arguments, parent

    def id(self) -> int:
        return id(self._key)

    def get_num_arguments(self) -> int:
        return len(self._arguments)

    def get_argument(self, i: int) -> _Value:
        return _Value(self._arguments[i])

    def get_parent(self) -> _Region:
        return _Region(self)


class operation:
    """One operation, with the methods of MLIR's that programs call.

    ``raw``: the operation of the tile IR, or None for the function and the module around it.
    """

    def __init__(self, name: str, raw: Any, block: _Block | None, attributes: dict[str, Any]) -> None:
        self._name, self._raw, self._block, self._attributes = name, raw, block, attributes
        self._operands = [v for v in raw.operands if v is not None] if raw is not None else []
        self._results = raw.results if raw is not None else []
        self._blocks: list[_Block] = []

    def get_name(self) -> str:
        return self._name

    def get_num_operands(self) -> int:
        return len(self._operands)

    def get_operand(self, i: int) -> _Value:
        return _Value(self._operands[i])

    def get_num_results(self) -> int:
        return len(self._results)

    def get_result(self, i: int) -> _Value:
        return _Value(self._results[i])

    def get_num_regions(self) -> int:
        return len(self._blocks)

    def get_region(self, i: int) -> _Region:
        return _Region(self._blocks[i])

    def get_block(self) -> _Block | None:
        """The block that it stands in; None for the module."""
        return self._block

    def get_str_attr(self, name: str) -> str | None:
        return self._attributes.get(name)

    def get_bool_attr(self, name: str) -> bool | None:
        return self._attributes.get(name)

    def get_int_attr(self, name: str) -> int | None:
        return self._attributes.get(name)

    def get_flat_symbol_ref_attr(self, name: str) -> str | None:
        """Calls are inlined, so no operation refers to a function."""
        return None

    def __str__(self) -> str:
        return self._name


class module:
    """A kernel as `ASTSource.make_ir` gives it.

    ``raw``: the module of the tile IR; ``strides``: per argument of the kernel, how many unnamed strides upstream's TTIR has after
    it.
    """

    def __init__(self, raw: Any, strides: dict[int, int]) -> None:
        self._raw, self._strides = raw, strides

    def verify(self) -> bool:
        """Whether the tile IR is well formed."""
        from ..errors import AnytileError
        from ..ir.verifier import verify

        try:
            verify(self._raw)
        except AnytileError:
            return False
        return True

    def walk(self, visit: Callable[[operation], Any]) -> None:
        """Calls ``visit`` with every operation: those of a block in order, what an operation contains before itself."""
        whole = operation("builtin.module", None, None, {})
        around = _Block(self, [], whole)
        whole._blocks.append(around)
        kernel = self._raw.kernel
        function = operation(_NAMES["func"], None, around, {"sym_name": kernel.name})
        arguments: list[Any] = []
        for i, value in enumerate(kernel.args):
            arguments += [value, *(object() for _ in range(self._strides.get(i, 0)))]
        body = _Block(kernel.body, arguments, function)
        function._blocks.append(body)
        self._walk_block(kernel.body, body, "func", visit)
        visit(function)
        visit(whole)

    def _walk_block(self, raw_block: Any, block: _Block, owner: str, visit: Callable[[operation], Any]) -> None:
        for raw in raw_block.ops:
            name = _YIELDS.get(owner, "scf.yield") if raw.name == "yield" else _NAMES.get(raw.name, f"anytile.{raw.name}")
            op = operation(name, raw, block, raw.attrs)
            for inner in raw.blocks:
                made = _Block(inner, inner.args, op)
                op._blocks.append(made)
                self._walk_block(inner, made, raw.name, visit)
            visit(op)

    def __str__(self) -> str:
        """The tile IR as text."""
        return str(self._raw)


def _make_ir(source: Any, options: Any) -> module:
    """The kernel of an `ASTSource`, traced."""
    from ..runtime.compiler import argument_slots

    last_slots: dict[str, int] = {}
    for i, (_, _, parameter) in enumerate(argument_slots(source.signature)):
        last_slots[parameter] = i
    # The tile IR leaves out a descriptor's innermost stride, which is 1.
    strides = {i: 1 for name, i in last_slots.items() if str(source.signature[name]).startswith("tensordesc")}
    return module(source.make_module(options), strides)


def make_ir_0(self: Any, options: Any, codegen_fns: Any, context: Any) -> module:
    """``ASTSource.make_ir`` of 3.0 and 3.1."""
    return _make_ir(self, options)


def make_ir_2(self: Any, options: Any, codegen_fns: Any, module_map: Any, context: Any) -> module:
    """``ASTSource.make_ir`` of 3.2 to 3.4."""
    return _make_ir(self, options)


def make_ir_5(self: Any, target: Any, options: Any, codegen_fns: Any, module_map: Any, context: Any) -> module:
    """``ASTSource.make_ir`` from 3.5 on."""
    return _make_ir(self, options)
