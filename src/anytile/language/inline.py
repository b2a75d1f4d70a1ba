"""``tl.inline_asm_elementwise``: target assembly on every element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .builtin import builtin
from .constexpr import unwrap, unwrap_deep
from .context import current
from .promotion import broadcast_pair, to_tensor
from .tensor import tensor
from .tuples import tuple as tl_tuple
from .types import make_block

__all__ = ["inline_asm_elementwise"]


@builtin
def inline_asm_elementwise(asm: Any, constraints: Any, args: Sequence[Any], dtype: Any, is_pure: Any, pack: Any) -> Any:
    """Runs ``asm`` on ``pack`` elements at a time of ``args``, which broadcast; gives a tensor per result type.

    asm          text in the target's assembly, with LLVM's operand syntax
    constraints  LLVM's constraint string
    dtype        the element type of the result, or a tuple of several
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
    attrs = {
        "asm": unwrap_deep(asm),
        "constraints": unwrap_deep(constraints),
        "pack": int(unwrap(pack)),
        "pure": bool(unwrap(is_pure)),
    }
    op = current().builder.make("inline_asm", [x.handle for x in xs], attrs, types=tuple(t.to_ir() for t in types))
    out = [tensor(r, t) for r, t in zip(op.results, types)]
    return tl_tuple(out) if several else out[0]
