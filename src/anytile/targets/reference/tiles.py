"""Constants, indices, shape rows, reductions and dot."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.builder import canonical
from .. import formats
from .rows import elem_of, implements, result_elem, stored

# --- constants and indices ------------------------------------------------------------------------------


@implements("constant")
def _constant(run: Any, op: Any) -> np.ndarray:
    type_ = op.attrs["type"]
    elem, value = type_.elem, op.attrs["value"]
    if elem.is_float:
        one = formats.encode(np.asarray(value, np.float64), elem)
    elif elem.is_ptr:
        one = np.asarray(int(value) & (1 << 64) - 1, np.uint64)
    else:
        one = np.asarray(canonical(value, elem), formats.storage(elem))
    return one if type_.is_scalar else np.full(type_.shape, one)


@implements("arange")
def _arange(run: Any, op: Any) -> np.ndarray:
    return np.arange(op.attrs["start"], op.attrs["end"], dtype=np.int32)


@implements("program_id")
def _program_id(run: Any, op: Any) -> np.ndarray:
    return np.asarray(run.pid[op.attrs["axis"]], np.int32)


@implements("num_programs")
def _num_programs(run: Any, op: Any) -> np.ndarray:
    return np.asarray(run.grid[op.attrs["axis"]], np.int32)


# --- shape ----------------------------------------------------------------------------------------------


@implements("splat")
def _splat(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return np.full(tuple(op.attrs["shape"]), x)


@implements("broadcast")
def _broadcast(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return np.array(np.broadcast_to(x, tuple(op.attrs["shape"])))


@implements("expand_dims")
def _expand_dims(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, op.attrs["axis"])


@implements("reshape")
def _reshape(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return x.reshape(tuple(op.attrs["shape"]))


@implements("permute")
def _permute(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(tuple(op.attrs["order"])))


@implements("join")
def _join(run: Any, op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack((x, y), axis=-1)


@implements("split")
def _split(run: Any, op: Any, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return np.array(x[..., 0]), np.array(x[..., 1])


@implements("gather")
def _gather(run: Any, op: Any, x: np.ndarray, index: np.ndarray) -> np.ndarray:
    axis = op.attrs["axis"]
    inside = np.clip(index, 0, x.shape[axis] - 1)  # an index out of range gives an unspecified element
    return np.take_along_axis(x, inside.astype(np.int64), axis)


@implements("histogram")
def _histogram(run: Any, op: Any, x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    bins = op.attrs["bins"]
    counted = (x >= 0) & (x < bins)
    if mask is not None:
        counted &= mask
    return np.bincount(x[counted].astype(np.int64), minlength=bins).astype(np.int32)


@implements("sort")
def _sort(run: Any, op: Any, x: np.ndarray) -> np.ndarray:
    elem = elem_of(op)
    if elem.is_float:
        key = formats.decode(x, elem)
    elif op.attrs["kind"] == "unsigned" and x.dtype != np.bool_:
        key = x.view(f"u{x.dtype.itemsize}")
    else:
        key = x
    order = np.argsort(key, axis=-1, kind="stable")
    if op.attrs["descending"]:
        order = order[..., ::-1]
    return np.take_along_axis(x, order, -1)


# --- combination along an axis --------------------------------------------------------------------------


def _along(x: np.ndarray, axis: int, part: slice) -> np.ndarray:
    return x[(slice(None),) * axis + (part,)]


@implements("reduce")
def _reduce(run: Any, op: Any, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Neighbours are combined in pairs until one is left, so order is kept and rounding errors grow slowly."""
    axis, block = op.attrs["axis"], op.blocks[0]
    while xs[0].shape[axis] > 1:
        left = [_along(x, axis, slice(0, None, 2)) for x in xs]
        right = [_along(x, axis, slice(1, None, 2)) for x in xs]
        xs = run.combine(block, [*left, *right])
    return tuple(np.asarray(x.take(0, axis)) for x in xs)


@implements("scan")
def _scan(run: Any, op: Any, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hillis and Steele's scan: after step k every lane combines the 2ᵏ lanes up to it."""
    axis, block = op.attrs["axis"], op.blocks[0]
    if op.attrs["reverse"]:
        xs = tuple(np.flip(x, axis) for x in xs)
    reach, n = 1, xs[0].shape[axis]
    while reach < n:
        earlier = [_along(x, axis, slice(0, n - reach)) for x in xs]
        here = [_along(x, axis, slice(reach, n)) for x in xs]
        combined = run.combine(block, [*earlier, *here])
        xs = tuple(np.concatenate((_along(x, axis, slice(0, reach)), c), axis) for x, c in zip(xs, combined))
        reach *= 2
    if op.attrs["reverse"]:
        xs = tuple(np.flip(x, axis) for x in xs)
    return tuple(np.ascontiguousarray(x) for x in xs)


@implements("map")
def _map(run: Any, op: Any, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    pack = op.attrs["pack"]
    lanes = [x.reshape(-1, pack)[:, i] for x in xs for i in range(pack)]
    ys = run.combine(op.blocks[0], lanes)
    out = []
    for i, result in enumerate(op.results):
        packed = np.stack(ys[i * pack : (i + 1) * pack], axis=-1)
        out.append(packed.reshape(result.type.shape))
    return tuple(out)


@implements("dot")
def _dot(run: Any, op: Any, a: np.ndarray, b: np.ndarray, acc: np.ndarray) -> np.ndarray:
    """Floats: products and sums in float64 on the operands as they are, one rounding at the end.

    ``precision`` and ``imprecise`` allow a target less than that; the oracle does not use the leave.
    """
    elem = result_elem(op)
    if elem.is_int:
        return stored(np.matmul(a.astype(np.int64), b.astype(np.int64)) + acc, elem)
    x = formats.decode(a, elem_of(op, 0)).astype(np.float64)
    y = formats.decode(b, elem_of(op, 1)).astype(np.float64)
    return formats.encode(np.matmul(x, y) + formats.decode(acc, elem), elem)
