"""Running programs: an environment from SSA values to arrays, a block at a time.

`Program` is one program of the grid.  `run_block` executes a block's operations in order and hands back what
its terminator yields; rows that own blocks call it again.  `combine` runs a block that is written over scalars
(reduce, scan, map) on arrays of lanes: all at once where every operation in it is elementwise, lane by lane
where the block has control flow of its own.

Programs run one after another on the calling thread, in order of x, then y, then z.  A program that waits for
a later one (a spin lock taken in reverse) therefore waits for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Block, Func, Op, Value
from . import arithmetic, control, functions, memory, tiles  # noqa: F401  (each fills IMPLEMENTATIONS)
from .rows import IMPLEMENTATIONS, STRUCTURAL

__all__ = ["Program", "execute", "run_grid"]


def execute(run: Any, op: Op, arrays: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The results of one operation on the given operand arrays."""
    out = IMPLEMENTATIONS[op.defn.name](run, op, *arrays)
    if out is None:
        return ()
    return out if isinstance(out, tuple) else (out,)


def _is_pointwise(block: Block) -> bool:
    return all(op.defn.elementwise or op.defn.name in ("constant", "yield") for op in block.ops)


class Program:
    """One program: ``pid`` and ``grid`` are (x, y, z)."""

    def __init__(self, pid: tuple[int, int, int], grid: tuple[int, int, int]):
        self.pid, self.grid = pid, grid
        self.env: dict[Value, np.ndarray] = {}

    def run_block(self, block: Block, args: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Binds the block's arguments, executes it, and gives its terminator's operands."""
        env = self.env
        env.update(zip(block.args, args))
        for op in block.ops:
            arrays = [None if v is None else env[v] for v in op.operands]
            if op.defn.name in STRUCTURAL:
                return tuple(arrays)  # type: ignore[arg-type]
            out = IMPLEMENTATIONS[op.defn.name](self, op, *arrays)
            if isinstance(out, tuple):
                env.update(zip(op.results, out))
            elif out is not None:
                env[op.results[0]] = out
        return ()

    def combine(self, block: Block, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """``block``, which takes and yields scalars, applied to every lane of equally shaped ``arrays``."""
        shape = arrays[0].shape
        if _is_pointwise(block):
            # A yielded constant has no lanes of its own yet.
            return tuple(np.broadcast_to(y, shape) for y in self.run_block(block, arrays))
        lanes = [self.run_block(block, [np.asarray(x) for x in lane]) for lane in zip(*(a.reshape(-1) for a in arrays))]
        return tuple(np.array(column).reshape(shape) for column in zip(*lanes))


def run_grid(func: Func, args: Sequence[np.ndarray], grid: tuple[int, int, int]) -> None:
    """Runs ``func`` for every program of ``grid``; ``args`` are rank-0 arrays."""
    # IEEE arithmetic: infinities and NaNs are results, not mishaps to warn of; integers wrap.
    with np.errstate(all="ignore"):
        gx, gy, gz = grid
        for z in range(gz):
            for y in range(gy):
                for x in range(gx):
                    Program((x, y, z), grid).run_block(func.body, args)
