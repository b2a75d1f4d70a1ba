"""``triton.language.core``: every builtin of the language under the module name that libraries import from.

The functions live in files by subject; this one only gathers them.
"""

from __future__ import annotations

from typing import Any

from .aggregate import Aggregate, flatten, structure, unflatten
from .arithmetic import PropagateNan, add, clamp, div_rn, fdiv, fma, maximum, minimum, mul, sub, umulhi, where
from .builtin import builtin, extern, is_builtin
from .casting import cast
from .constexpr import CONSTEXPR_0, constexpr, constexpr_type
from .constexpr import unwrap as _unwrap_if_constexpr
from .debug import device_assert, device_print, static_assert, static_print
from .descriptor import (
    advance,
    load_tensor_descriptor,
    make_block_ptr,
    make_tensor_descriptor,
    store_tensor_descriptor,
    tensor_descriptor,
    tensor_descriptor_base,
)
from .external import extern_elementwise
from .hints import assume, condition, debug_barrier, expect_zero, max_constancy, max_contiguous, multiple_of, range, static_range
from .inline import inline_asm_elementwise
from .math import abs, ceil, cos, erf, exp, exp2, floor, log, log2, rsqrt, sin, sqrt, sqrt_rn
from .matmul import dot, dot_scaled
from .memory import (
    atomic_add,
    atomic_and,
    atomic_cas,
    atomic_load,
    atomic_max,
    atomic_min,
    atomic_or,
    atomic_poll,
    atomic_store,
    atomic_xchg,
    atomic_xor,
    load,
    store,
)
from .promotion import to_tensor as _to_tensor
from .records import aggregate as _aggregate
from .records import aggregate_replace
from .reduction import associative_scan, histogram, map_elementwise, reduce
from .shaping import (
    arange,
    broadcast,
    broadcast_to,
    cat,
    expand_dims,
    full,
    gather,
    interleave,
    join,
    num_programs,
    permute,
    program_id,
    ravel,
    reshape,
    split,
    squeeze,
    trans,
    unsqueeze,
    view,
    zeros,
    zeros_like,
)
from .tensor import tensor
from .tuples import slice, tuple
from .types import (
    TRITON_MAX_TENSOR_NUMEL,
    bfloat16,
    block_type,
    const,
    dtype,
    float8e4b8,
    float8e4b15,
    float8e4nv,
    float8e5,
    float8e5b16,
    float16,
    float32,
    float64,
    int1,
    int8,
    int16,
    int32,
    int64,
    pi32_t,
    pointer_type,
    str_to_ty,
    tuple_type,
    uint8,
    uint16,
    uint32,
    uint64,
    void,
)


@builtin
def to_tensor(x: Any) -> tensor:
    """A Python scalar as a tensor: bool → int1, int → the first of int32, uint32, int64, uint64 that holds it,
    float → fp32 (fp64 where it is out of range).  Tensors as they are."""
    return _to_tensor(x)


def get_int_dtype(bitwidth: int, signed: bool) -> dtype:
    """The integer type of that width.  Raises ValueError where there is none."""
    found = {(1, True): int1, (8, True): int8, (16, True): int16, (32, True): int32, (64, True): int64}
    found |= {(8, False): uint8, (16, False): uint16, (32, False): uint32, (64, False): uint64}
    try:
        return found[bitwidth, signed]
    except KeyError:
        raise ValueError(f"there is no {'signed' if signed else 'unsigned'} integer of {bitwidth} bits") from None


__all__ = [
    *(
        "Aggregate",
        "CONSTEXPR_0",
        "PropagateNan",
        "TRITON_MAX_TENSOR_NUMEL",
        "abs",
        "add",
        "advance",
        "aggregate_replace",
        "arange",
        "associative_scan",
    ),
    *("assume", "atomic_add", "atomic_and", "atomic_cas", "atomic_load", "atomic_max", "atomic_min", "atomic_or", "atomic_poll"),
    *("atomic_store", "atomic_xchg", "atomic_xor", "bfloat16", "block_type", "broadcast", "broadcast_to", "builtin", "cast", "cat"),
    *("ceil", "clamp", "condition", "const", "constexpr", "constexpr_type", "cos", "debug_barrier", "device_assert", "device_print"),
    *("div_rn", "dot", "dot_scaled", "dtype", "erf", "exp", "exp2", "expand_dims", "expect_zero", "extern", "fdiv", "flatten"),
    *("float16", "float32", "float64", "float8e4b15", "float8e4b8", "float8e4nv", "float8e5", "float8e5b16", "floor", "fma", "full"),
    *("gather", "get_int_dtype", "histogram", "inline_asm_elementwise", "int1", "int16", "int32", "int64", "int8", "interleave"),
    *("is_builtin", "join", "load", "load_tensor_descriptor", "log", "log2", "make_block_ptr", "make_tensor_descriptor"),
    *("map_elementwise", "max_constancy", "max_contiguous", "maximum", "minimum", "mul", "multiple_of", "num_programs", "permute"),
    *("pi32_t", "pointer_type", "program_id", "range", "ravel", "reduce", "reshape", "rsqrt", "sin", "slice", "split", "sqrt"),
    *("sqrt_rn", "squeeze", "static_assert", "static_print", "static_range", "store", "store_tensor_descriptor", "structure", "sub"),
    *(
        "str_to_ty",
        "tensor",
        "tensor_descriptor",
        "tensor_descriptor_base",
        "to_tensor",
        "trans",
        "tuple",
        "tuple_type",
        "uint16",
        "uint32",
    ),
    *(
        "uint64",
        "uint8",
        "umulhi",
        "unflatten",
        "unsqueeze",
        "view",
        "void",
        "where",
        "zeros",
        "zeros_like",
        "extern_elementwise",
        "_aggregate",
        "_unwrap_if_constexpr",
    ),
]
