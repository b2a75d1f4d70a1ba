"""``triton.language``: what a kernel author writes.

dtypes (`types`), values (`tensor`, `constexpr`, `tuples`), and functions by subject: `shaping`, `memory`,
`arithmetic`, `math`, `matmul`, `reduction`, `standard`, `random`, `descriptor`, `hints`, `debug`.  Functions record
operations of the tile IR through the current `context.Context`.
"""

from __future__ import annotations

from . import tensor as _tensor_first  # the files behind tensor's operators import each other in the order it sets
from . import core, extra, math, random, standard, target_info
from .core import *  # noqa: F403
from .random import (
    pair_uniform_to_normal,
    philox,
    philox_impl,
    rand,
    rand4x,
    randint,
    randint4x,
    randn,
    randn4x,
    uint_to_uniform_float,
)
from .records import aggregate, aggregate_replace
from .standard import (
    argmax,
    argmin,
    bitonic_merge,
    cdiv,
    cumprod,
    cumsum,
    flip,
    max,
    min,
    reduce_or,
    sigmoid,
    softmax,
    sort,
    sum,
    swizzle2d,
    topk,
    xor_sum,
)

# Names shared by a function or class and the file it comes from (`tensor`, `aggregate`) are the former here, as in Triton.
__all__ = [
    *(name for name in core.__all__ if not name.startswith("_") and name not in ("Aggregate", "flatten", "unflatten", "structure")),
    *("aggregate", "aggregate_replace", "core", "extra", "math", "random", "standard", "target_info"),
    *("pair_uniform_to_normal", "philox", "philox_impl", "rand", "rand4x", "randint", "randint4x", "randn", "randn4x"),
    *("uint_to_uniform_float", "argmax", "argmin", "bitonic_merge", "cdiv", "cumprod", "cumsum", "flip", "max", "min"),
    *("reduce_or", "sigmoid", "softmax", "sort", "sum", "swizzle2d", "topk", "xor_sum"),
]
