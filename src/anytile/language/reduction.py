"""Reductions, scans and elementwise maps by a combine function; histogram.

The combine function is one written in the language (a ``@triton.jit`` function, recorded by the frontend through
`Context.trace_block`) or a builtin such as ``tl.maximum`` (recorded here).  It takes 2n scalars, first those of the
left operand, and returns n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import Block, Builder
from .builtin import builtin, is_builtin, member
from .casting import cast_to
from .constexpr import unwrap
from .context import Context, current
from .promotion import broadcast_pair, emit, to_tensor
from .shaping import axis_of, expand_dims, reshape
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import dtype, int1, int32, make_block

__all__ = ["reduce", "associative_scan", "map_elementwise", "histogram", "record_block", "reduce_by", "scan_by"]


def record_block(fn: Any, types: Sequence[dtype]) -> tuple[Block, list[dtype]]:
    """A block over scalar arguments of ``types`` that ends by yielding what ``fn`` makes of them, with its types."""
    fn = unwrap(fn)
    if not callable(fn):
        raise TypeError(f"a combine function must be a @triton.jit function or a tl builtin, not {fn!r}")
    context = current()
    if not is_builtin(fn):
        block, results = context.trace_block(fn, list(types))
        return block, list(results)
    block = Block(tuple(t.to_ir() for t in types))
    inner = Context(Builder(block, loc=context.builder.loc), context.options, context.call, context.trace_block)
    with inner:
        out = fn(*[tensor(a, t) for a, t in zip(block.args, types)])
        values = [to_tensor(v) for v in (out if isinstance(out, (tuple, list, tl_tuple)) else [out])]
        inner.builder.make("yield", [v.handle for v in values])
    return block, [v.type for v in values]


def _operands(input: Any) -> tuple[list[tensor], bool]:
    input = unwrap(input)
    if isinstance(input, (tuple, list, tl_tuple)):
        xs = [to_tensor(x) for x in input]
        if not xs:
            raise ValueError("a reduction or scan needs at least one operand")
        for x in xs[1:]:
            if x.type.shape != xs[0].type.shape:
                raise ValueError(f"all operands must have the same shape, but they are {', '.join(str(x.type) for x in xs)}")
        return xs, True
    return [to_tensor(input)], False


def _combine(name: str, xs: list[tensor], axis: int, fn: Any, attrs: dict[str, Any], shape: tuple[int, ...]) -> list[tensor]:
    scalars = [x.dtype for x in xs]
    block, results = record_block(fn, scalars * 2)
    if len(results) != len(xs):
        raise ValueError(f"the combine function of tl.{name} returns {len(results)} values for {len(xs)} operands")
    for want, got in zip(scalars, results):
        if want.element() is not got.element() or got.is_block():
            raise TypeError(f"the combine function of tl.{name} returns {got} where the operand has {want}; cast its result")
    op = current().builder.make("reduce" if name == "reduce" else "scan", [x.handle for x in xs], {"axis": axis, **attrs}, blocks=(block,))
    return [tensor(r, make_block(t, shape)) for r, t in zip(op.results, scalars)]


@member
@builtin
def reduce(input: Any, axis: Any, combine_fn: Any, keep_dims: Any = False) -> Any:
    """Combines the elements along ``axis`` (all of them where it is None) by ``combine_fn`` in unspecified order.

    input        a tensor, or a tuple of n tensors of one shape
    combine_fn   2n scalars → n scalars, associative
    keep_dims    whether the reduced dimension stays with size 1
    """
    xs, several = _operands(input)
    out = reduce_by(combine_fn, xs, axis, keep_dims)
    return tl_tuple(out) if several else out[0]


def reduce_by(fn: Any, xs: list[tensor], axis: Any, keep_dims: Any) -> list[tensor]:
    """`reduce` on a list of tensors."""
    rank, axis, keep = xs[0].rank, unwrap(axis), bool(unwrap(keep_dims))
    if not rank:
        return xs
    if axis is None:
        if rank > 1:
            xs = [reshape(x, (x.type.numel,)) for x in xs]
        out = _combine("reduce", xs, 0, fn, {}, ())
        return [reshape(x, (1,) * rank) for x in out] if keep else out
    a = axis_of(axis, rank)
    shape = xs[0].type.shape
    out = _combine("reduce", xs, a, fn, {}, shape[:a] + shape[a + 1 :])
    return [expand_dims(x, a) for x in out] if keep else out


@member
@builtin
def associative_scan(input: Any, axis: Any, combine_fn: Any, reverse: Any = False) -> Any:
    """The inclusive prefix combination along ``axis``; from the end where ``reverse``.  Arguments as for `reduce`."""
    xs, several = _operands(input)
    out = scan_by(combine_fn, xs, axis, reverse)
    return tl_tuple(out) if several else out[0]


def scan_by(fn: Any, xs: list[tensor], axis: Any, reverse: Any) -> list[tensor]:
    """`associative_scan` on a list of tensors."""
    if not xs[0].rank:
        return xs
    a = axis_of(axis, xs[0].rank)
    return _combine("associative_scan", xs, a, fn, {"reverse": bool(unwrap(reverse))}, xs[0].type.shape)


@builtin
def map_elementwise(scalar_fn: Callable[..., Any], *args: Any, pack: Any = 1) -> Any:
    """``scalar_fn`` applied to every element of ``args``, which broadcast; it may branch and loop.

    With ``pack`` = n it takes n neighbouring elements of each argument at a time (all of the first argument's
    first) and returns n of each result.  One result is a tensor, several are a tuple.
    """
    n = unwrap(pack)
    if not isinstance(n, int) or n < 1 or n & (n - 1):
        raise ValueError(f"pack must be a compile-time power of two, not {n!r}")
    xs = [to_tensor(a) for a in args]
    if not xs:
        raise ValueError("tl.map_elementwise needs at least one tensor")
    for i in range(1, len(xs)):
        xs[0], xs[i] = broadcast_pair(xs[0], xs[i])
    xs = [broadcast_pair(x, xs[0])[0] for x in xs]
    shape = xs[0].type.shape
    if shape and shape[-1] % n:
        raise ValueError(f"pack {n} does not divide the last dimension of shape {list(shape)}")
    block, results = record_block(scalar_fn, [x.dtype for x in xs for _ in range(n)])
    if not results or len(results) % n:
        raise ValueError(f"the function of tl.map_elementwise returns {len(results)} values, not a multiple of pack = {n}")
    kinds = [results[i] for i in range(0, len(results), n)]
    types = tuple(make_block(t, shape) for t in kinds)
    op = current().builder.make("map", [x.handle for x in xs], {"pack": n}, (block,), tuple(t.to_ir() for t in types))
    out = [tensor(r, t) for r, t in zip(op.results, types)]
    return out[0] if len(out) == 1 else tl_tuple(out)


@member
@builtin
def histogram(input: tensor, num_bins: Any, mask: Any = None) -> tensor:
    """How often each of 0 … num_bins − 1 occurs in a one-dimensional integer tensor, int32; others are not counted."""
    bins = unwrap(num_bins)
    if input.rank != 1 or not input.dtype.is_int():
        raise ValueError(f"histogram only supports 1D integer input, not {input.type}")
    mask = unwrap(mask)
    if mask is not None:
        mask, _ = broadcast_pair(cast_to(to_tensor(mask), int1), input)
    return emit("histogram", make_block(int32, (bins,)), input.handle, None if mask is None else mask.handle, bins=bins)
