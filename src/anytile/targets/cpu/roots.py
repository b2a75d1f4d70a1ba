"""What a loop nest is for: the operations it carries out at each index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir import Op, Value
from .lanes import Lane
from .memory import Buffer

__all__ = ["AtomicRoot", "ReduceRoot", "Root", "StoreRoot", "WriteRoot"]


@dataclass(eq=False)
class StoreRoot:
    op: Op

    def reads(self) -> list[Value]:
        return [v for v in self.op.operands if v is not None]


@dataclass(eq=False)
class AtomicRoot:
    """``into``: buffer for the old values, or None when unused.  ``add``: what adds an element in place of an atomic instruction."""

    op: Op
    into: Buffer | None
    add: Callable[[Lane, Lane, Lane | None], None] | None = None


@dataclass(eq=False)
class WriteRoot:
    """Puts tile ``value`` into ``into``.  ``alone``: nothing else is ever written there."""

    value: Value
    into: Buffer
    alone: bool = False

    def reads(self) -> list[Value]:
        return [self.value]


@dataclass(eq=False)
class ReduceRoot:
    """``into``: one buffer per result, or None where the results are scalars."""

    op: Op
    into: list[Buffer] | None

    def reads(self) -> list[Value]:
        return list(self.op.operands)  # type: ignore[arg-type]


Root = StoreRoot | AtomicRoot | WriteRoot | ReduceRoot
