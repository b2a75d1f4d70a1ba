"""``tl.dot`` and ``tl.dot_scaled``.

dot: operands of one type (int8, fp8 of any kinds, fp16, bf16, fp32, fp64), with any number of batch dimensions.  The
result has the accumulator's type; without one it is int32 for int8, else ``out_dtype`` (fp32 by default).
"""

from __future__ import annotations

import math
from typing import Any

from .arithmetic import add, bitwise, mul, shl, shr, where
from .builtin import builtin
from .casting import bitcast_to, cast_to
from .constexpr import unwrap
from .context import current
from .promotion import broadcast_to_shape, constant, emit, to_tensor
from .shaping import expand_dims, join, permute, reshape
from .target_info import is_cuda
from .tensor import tensor
from .types import bfloat16, dtype, float8e4nv, float8e5, float16, float32, float64, int32, make_block, uint8, uint16

__all__ = ["dot", "dot_scaled"]

_PRECISIONS = {"ieee": "ieee", "tf32": "tf32", "tf32x3": "tf32x3", "bf16x3": "bf16x3", "bf16x6": "bf16x6"}


def _precision(input_precision: Any, allow_tf32: Any) -> str:
    input_precision, allow_tf32 = unwrap(input_precision), unwrap(allow_tf32)
    if input_precision is not None and allow_tf32 is not None:
        raise ValueError("only one of input_precision and allow_tf32 can be given")
    if input_precision is None and allow_tf32 is not None:
        input_precision = "tf32" if allow_tf32 else "ieee"
    name = str(input_precision or getattr(current().options, "default_dot_input_precision", None) or "ieee").lower()
    if name not in _PRECISIONS:
        raise ValueError(f"input_precision must be one of {', '.join(_PRECISIONS)}. Got {input_precision}")
    return name


def _product_shape(lhs: tensor, rhs: tensor) -> tuple[int, ...]:
    a, b = lhs.type.shape, rhs.type.shape
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"Both inputs must be either 2D or 3D; (lhs: {list(a)} vs rhs: {list(b)})")
    if a[-1] != b[-2]:
        raise ValueError(
            f"First input shape ({list(a)}) and second input shape {list(b)} are not compatible for matmul "
            f"(second index of first shape ({a[-1]}) must be equal to first index of second shape ({b[-2]}))"
        )
    if a[:-2] != b[:-2]:
        raise ValueError(f"the batch dimensions of tl.dot differ: {list(a)} and {list(b)}")
    return (*a[:-1], b[-1])


def _result_type(lhs: dtype, rhs: dtype, acc: dtype | None, out: dtype | None) -> dtype:
    if not (lhs.is_fp8() and rhs.is_fp8()) and lhs != rhs:
        raise TypeError(f"Both operands must be same dtype. Got {lhs} and {rhs}")
    if lhs.is_int():
        if lhs.primitive_bitwidth != 8:
            raise TypeError(f"tl.dot supports int8 among the integers, not {lhs}")
        return int32
    if not lhs.is_floating():
        raise TypeError(f"Unsupported operand dtype {lhs} of tl.dot")
    if lhs.is_fp64():
        return float64
    out = out or acc or float32
    if out.is_bf16():
        raise ValueError("out_dtype=bfloat16 is unsupported. Please use out_dtype=float32/float16 and cast with `.to(tl.bfloat16)`")
    return float16 if out.is_fp16() and not lhs.is_fp32() and not lhs.is_bf16() else float32


@builtin
def dot(
    input: Any,
    other: Any,
    acc: Any = None,
    input_precision: Any = None,
    allow_tf32: Any = None,
    max_num_imprecise_acc: Any = None,
    out_dtype: Any = None,
) -> tensor:
    """input[…, M, K] · other[…, K, N] + acc.

    input_precision         how fp32 operands are multiplied: "ieee", "tf32", "tf32x3", "bf16x3" or "bf16x6"; the
                            default comes from the options
    allow_tf32              its old spelling: True is "tf32", False is "ieee"
    max_num_imprecise_acc   on Hopper with fp8: after how many products partial sums move to fp32
    out_dtype               type of the result without ``acc``; fp32 by default
    """
    lhs, rhs, acc = unwrap(input), unwrap(other), unwrap(acc)
    if not isinstance(lhs, tensor) or not isinstance(rhs, tensor):
        raise TypeError(f"tl.dot needs two tensors, not {lhs!r} and {rhs!r}")
    shape = _product_shape(lhs, rhs)
    if acc is not None:
        acc = to_tensor(acc)
    to = _result_type(lhs.dtype, rhs.dtype, acc.dtype if acc is not None else None, unwrap(out_dtype))
    result = make_block(to, shape)
    if acc is None:
        acc = constant(0, result)
    elif not acc.rank:
        acc = broadcast_to_shape(cast_to(acc, to), shape)
    elif acc.type != result:
        raise ValueError(f"the accumulator of tl.dot is {acc.type}, but the result of {lhs.type} and {rhs.type} is {result}")
    imprecise = unwrap(max_num_imprecise_acc)
    if imprecise is not None and lhs.dtype.is_fp8() and rhs.dtype.is_fp8() and imprecise > lhs.type.shape[-1]:
        raise ValueError(f"max_num_imprecise_acc ({imprecise}) must be <= K ({lhs.type.shape[-1]})")
    precision = _precision(input_precision, allow_tf32)
    attrs = {"precision": precision if lhs.dtype.is_fp32() else "ieee", "imprecise": int(imprecise or 0)}
    if len(shape) > 3:  # the IR has one batch dimension
        lhs, rhs, acc = (reshape(x, (math.prod(x.type.shape[:-2]), *x.type.shape[-2:])) for x in (lhs, rhs, acc))
    product = emit("dot", acc.type, lhs.handle, rhs.handle, acc.handle, **attrs)
    return reshape(product, shape)


# --- microscaling formats -------------------------------------------------------------------------------

_FORMATS: dict[str, dtype] = {"e5m2": float8e5, "e4m3": float8e4nv, "bf16": bfloat16, "fp16": float16}


def _values(x: tensor, fmt: str, k_pack: bool, k_axis: int) -> tensor:
    """The operand as bf16 (fp16 for fp16): every other format is exact in it."""
    if fmt == "e2m1":
        if x.dtype.primitive_bitwidth != 8 or not x.dtype.is_int():
            raise TypeError(f"e2m1 format must be packed as uint8. Got {x.dtype}")
        return _unpack_e2m1(bitcast_to(x, uint8), k_axis if k_pack else (x.rank - 1 + x.rank - 2 - k_axis))
    to = _FORMATS.get(fmt)
    if to is None:
        raise ValueError(f"Invalid float format: {fmt}; use one of e2m1, {', '.join(_FORMATS)}")
    if not k_pack:
        raise ValueError(f"only e2m1 operands can be packed along a dimension other than K, not {fmt}")
    return cast_to(bitcast_to(x, to), float32)


def _unpack_e2m1(x: tensor, axis: int) -> tensor:
    """Two 4-bit floats a byte, the low half first, unpacked along ``axis``: 1 sign, 2 exponent and 1 fraction bits."""
    low, high = bitwise("and", x, 15), shr(x, 4)
    rank = x.rank
    pair = join(low, high)
    pair = permute(pair, (*range(axis + 1), rank, *range(axis + 1, rank)))
    shape = list(x.type.shape)
    shape[axis] *= 2
    code = cast_to(reshape(pair, shape), uint16)
    # bf16 has the same layout with wider fields: exponent e > 0 becomes e + 126, and the one subnormal is 0.5.
    magnitude = bitwise("and", code, 7)
    normal = add(shl(magnitude, 6), 126 << 7)
    bits = where(magnitude == 0, 0, where(magnitude == 1, 126 << 7, normal))
    sign = shl(bitwise("and", code, 8), 12)
    return cast_to(bitcast_to(bitwise("or", cast_to(bits, uint16), cast_to(sign, uint16)), bfloat16), float32)


def _check_scale(name: str, scale: Any, operand: tensor, k_axis: int) -> None:
    """A scale has the operand's other dimension and one element per 32 along K (16 where it is e4m3)."""
    if scale is None:
        return
    run = 16 if scale.dtype.is_fp8() else 32
    other = operand.type.shape[operand.rank - 1 if k_axis == operand.rank - 2 else operand.rank - 2]
    want = [*operand.type.shape[:-2], other, operand.type.shape[k_axis] // run]
    if list(scale.type.shape) != want:
        raise ValueError(f"{name} must be a tensor of shape {want}. Got {list(map(str, scale.type.shape))}")


def _scaled(x: tensor, scale: tensor | None, axis: int) -> tensor:
    """``x`` times 2^(scale − 127), each scale for a run of elements along ``axis``; scale has K last: (…, M, K / run).

    A scale of 255 is NaN.
    """
    if scale is None:
        return x
    if scale.dtype.is_fp8():  # nvfp4 keeps its scales as e4m3
        factor = cast_to(scale, float32)
    else:
        code = cast_to(bitcast_to(scale, uint8), int32)
        # 2^(code − 127) as fp32: the code is the exponent field; code 0 is the subnormal 2^−127.
        bits = where(code == 0, 1 << 22, where(code == 255, 0x7FC00000, shl(code, 23)))
        factor = bitcast_to(bits, float32)
    k = x.type.shape[axis]
    run = k // scale.type.shape[-1]
    factor = broadcast_to_shape(expand_dims(factor, -1), (*factor.type.shape, run))
    factor = reshape(factor, (*scale.type.shape[:-1], k))
    if axis == x.rank - 2:
        factor = permute(factor, (*range(x.rank - 2), x.rank - 1, x.rank - 2))
    return mul(x, factor)


@builtin
def dot_scaled(
    lhs: tensor,
    lhs_scale: Any,
    lhs_format: Any,
    rhs: tensor,
    rhs_scale: Any,
    rhs_format: Any,
    acc: Any = None,
    fast_math: Any = False,
    lhs_k_pack: Any = True,
    rhs_k_pack: Any = True,
    out_dtype: Any = float32,
) -> tensor:
    """The product of microscaled operands: lhs[M, K] with scales [M, K/32], rhs[K, N] with scales [N, K/32].

    Formats are "e2m1" (two per byte), "e4m3", "e5m2", "bf16" and "fp16"; scales are e8m0 bytes (or e4m3, one per 16).
    ``*_k_pack`` says whether e2m1 is packed along K.  Scaled in fp32, then multiplied in fp32; on GPUs as bf16 (as fp16 where a
    format is "fp16"), which holds what a narrow format times a power of two is, and which tensor cores multiply.
    """
    a_scale, b_scale, acc = unwrap(lhs_scale), unwrap(rhs_scale), unwrap(acc)
    a_format, b_format = unwrap(lhs_format), unwrap(rhs_format)
    a = _values(lhs, a_format, bool(unwrap(lhs_k_pack)), lhs.rank - 1)
    b = _values(rhs, b_format, bool(unwrap(rhs_k_pack)), rhs.rank - 2)
    _check_scale("lhs_scale", a_scale, a, a.rank - 1)
    _check_scale("rhs_scale", b_scale, b, b.rank - 2)
    a = _scaled(a, a_scale, a.rank - 1)
    b = _scaled(b, b_scale, b.rank - 2)
    to = unwrap(out_dtype) if acc is None else acc.dtype
    if is_cuda() and {a_format, b_format} != {"fp16", "bf16"}:
        narrow = float16 if "fp16" in (a_format, b_format) else bfloat16
        a, b = cast_to(a, narrow), cast_to(b, narrow)
    product = dot(a, b, cast_to(acc, float32) if acc is not None else None, input_precision="ieee")
    return cast_to(product, to)
