"""The tile IR: typed SSA values over tiles, in structured control flow.  Start with `core` and `ops`."""

from .builder import Builder
from .core import UNKNOWN, Block, Func, Loc, Module, Op, Value
from .ops import TABLE, Effect, OpDef
from .printer import print_module
from .types import Type, parse_type, ptr, scalar, tile

__all__ = [
    "Block",
    "Builder",
    "Effect",
    "Func",
    "Loc",
    "Module",
    "Op",
    "OpDef",
    "TABLE",
    "Type",
    "UNKNOWN",
    "Value",
    "parse_type",
    "print_module",
    "ptr",
    "scalar",
    "tile",
]
