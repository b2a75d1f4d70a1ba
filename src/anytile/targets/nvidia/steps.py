"""By how much an address usually changes from one element to the next: which dimension of a tile lies side by side in memory.

`AxisInfo` says what holds for every element.  Where offsets are quotients and remainders by odd sizes (``i % 321 + 320 * j``) that is nothing,
yet nearly all neighbours along ``i`` are neighbours in memory, and a warp had better take them together.  This is a guess about
speed, on which no result depends.
"""

from __future__ import annotations

from ...ir import Op, Value
from ...ir.rewrite import const_value

__all__ = ["Steps"]

_DEPTH = 24  # operations between an address and the numbers that it is made of; what is further away is not known


class Steps:
    """``steps(v, dim)``: the usual difference of neighbours along ``dim`` (pointers: in elements); None where it is not known."""

    def __init__(self) -> None:
        self._known: dict[tuple[Value, int], int | None] = {}

    def __call__(self, v: Value, dim: int, depth: int = _DEPTH) -> int | None:
        if v.type.is_scalar or v.type.shape[dim] == 1:  # type: ignore[attr-defined]
            return 0
        key = v, dim
        if key not in self._known:
            self._known[key] = self._of(v.op, dim, depth - 1) if v.op is not None and depth else None
        return self._known[key]

    def _of(self, op: Op, dim: int, depth: int) -> int | None:
        name = op.name
        if name in ("constant", "splat", "sdiv", "udiv"):
            return 0
        if name == "arange":
            return 1
        if name not in _FOLLOWED:
            return None
        x = op.operands[0]
        assert x is not None
        if name == "expand_dims":
            axis = op.attrs["axis"]
            return 0 if dim == axis else self(x, dim - (dim > axis), depth)
        a = self(x, dim, depth)
        if name in _SAME:
            return a
        y = op.operands[1]
        assert y is not None
        b = self(y, dim, depth)
        if a is None or b is None:
            return None
        if name in ("add", "addptr", "sub"):
            return a - b if name == "sub" else a + b
        factor = const_value(y)
        if factor is None:
            return 0 if a == b == 0 else None
        return a * int(factor) if name == "mul" else a << int(factor)


_SAME = frozenset({"broadcast", "sext", "zext", "trunci", "srem", "urem", "hint"})
_FOLLOWED = _SAME | {"expand_dims", "add", "addptr", "sub", "mul", "shl"}
