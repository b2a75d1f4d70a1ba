"""``tl.inline_asm_elementwise``: assembly on every element, as it is on CUDA and translated elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import Block, Builder, Type, Value
from .builtin import builtin
from .constexpr import unwrap, unwrap_deep
from .context import current
from .promotion import broadcast_pair, to_tensor
from .ptx import translate
from .target_info import is_cuda
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import make_block

__all__ = ["inline_asm_elementwise"]


@builtin
def inline_asm_elementwise(asm: Any, constraints: Any, args: Sequence[Any], dtype: Any, is_pure: Any, pack: Any) -> Any:
    """Runs ``asm`` on ``pack`` elements at a time of ``args``, which broadcast; gives a tensor per result type.

    asm          PTX with LLVM's operand syntax (``$0`` …); how ``pack`` fills its registers is said in `ptx`
    constraints  LLVM's constraint string, such as ``"=r,r,r"``
    dtype        the element type of the result, or a tuple of several

    On targets other than CUDA the text is translated; UnsupportedError names an instruction that cannot be.
    """
    results: Any = unwrap(dtype)
    several = isinstance(results, (list, tuple, tl_tuple))
    kinds: list[Any] = [unwrap(t) for t in results] if several else [results]
    xs = [to_tensor(a) for a in unwrap(args)]
    for x in xs[1:]:
        xs[0], _ = broadcast_pair(xs[0], x)
    xs = [broadcast_pair(x, xs[0])[0] for x in xs]
    shape = xs[0].type.shape if xs else ()
    types = [make_block(t, shape) for t in kinds]
    text, form, n = unwrap_deep(asm), unwrap_deep(constraints), int(unwrap(pack))
    ir_types = tuple(t.to_ir() for t in types)
    if is_cuda():
        attrs = {"asm": text, "constraints": form, "pack": n, "pure": bool(unwrap(is_pure))}
        handles = current().builder.make("inline_asm", [x.handle for x in xs], attrs, types=ir_types).results
    else:
        handles = _translated(text, form, [x.handle for x in xs], ir_types, n)
    out = [tensor(r, t) for r, t in zip(handles, types)]
    return tl_tuple(out) if several else out[0]


def _translated(asm: str, constraints: str, xs: list[Value], types: tuple[Type, ...], pack: int) -> list[Value]:
    """The results of ``asm``, which is PTX, as operations that every target has."""
    b = current().builder
    results = [t.elem for t in types]
    if pack == 1 or not xs:
        return [values[0] for values in translate(b, asm, constraints, [[x] * pack for x in xs], results, pack)]
    shape, count = xs[0].type.shape, xs[0].type.numel
    # Consecutive elements are those of the row-major tile; one with fewer than `pack` is repeated to that length.
    flat = [b.reshape(x, shape=(count,)) if shape else b.splat(x, shape=(1,)) for x in xs]
    if count < pack:
        flat = [b.reshape(b.broadcast(b.reshape(x, shape=(1, count)), shape=(pack // count, count)), shape=(pack,)) for x in flat]
    block = Block(tuple(Type.of(x.type.elem, ()) for x in xs for _ in range(pack)))
    inner = Builder(block, loc=b.loc)
    arguments = [block.args[k : k + pack] for k in range(0, len(block.args), pack)]
    made = translate(inner, asm, constraints, arguments, results, pack)
    inner.make("yield", [v for values in made for v in values])
    out = b.make("map", flat, {"pack": pack}, (block,), tuple(Type.of(e, (max(count, pack),)) for e in results)).results
    return [_shaped(b, r, shape, count) for r in out]


def _shaped(b: Builder, x: Value, shape: tuple[int, ...], count: int) -> Value:
    """The first ``count`` elements of the flat tile ``x`` (or the one element, for a scalar) in ``shape``."""
    while x.type.numel > count:
        halves = b.reshape(x, shape=(2, x.type.numel // 2))
        x = b.split(b.permute(halves, order=(1, 0)))[0]
    if shape:
        return b.reshape(x, shape=shape)
    block = Block((Type.of(x.type.elem, ()),) * 2)
    inner = Builder(block, loc=b.loc)
    inner.make("yield", [block.args[0]])
    return b.make("reduce", [x], {"axis": 0}, (block,)).results[0]
