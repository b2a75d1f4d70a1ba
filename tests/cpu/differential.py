"""Runs a kernel function on the CPU target and on the reference target and compares what they leave in memory."""

from __future__ import annotations

import struct
import types
from typing import Any

import numpy as np

from anytile.frontend import trace
from anytile.ir.verifier import verify
from anytile.language.source import JITCallable
from anytile.targets.base import struct_format
from anytile.targets.cpu import CpuTarget
from anytile.targets.reference import ReferenceTarget

__all__ = ["OPTIONS", "launch", "same", "traced"]

_NAMES = {
    "bool": "i1",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float16": "fp16",
    "float32": "fp32",
    "float64": "fp64",
}


OPTIONS = types.SimpleNamespace(
    num_warps=4,
    num_stages=3,
    num_ctas=1,
    debug=True,
    sanitize_overflow=False,
    default_dot_input_precision="ieee",
    allowed_dot_input_precisions=("ieee", "tf32", "tf32x3"),
    max_num_imprecise_acc_default=0,
    enable_fp_fusion=True,
    arch="x86_64",
    target=types.SimpleNamespace(backend="cpu", arch="x86_64", warp_size=1),
)


def traced(fn: Any, **args: Any) -> tuple[Any, list[Any]]:
    """(module of ``fn`` for these arguments, what its argument block holds); upper-case names are constexprs."""
    source = JITCallable(fn)
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    values = []
    for i, name in enumerate(source.arg_names):
        x = args[name]
        if name.isupper():
            signature[name], constants[(i,)] = "constexpr", x
            continue
        if isinstance(x, np.ndarray):
            signature[name] = "*" + _NAMES[str(x.dtype)]
        else:
            signature[name] = "fp32" if isinstance(x, float) else "i32"
        values.append(x.ctypes.data if isinstance(x, np.ndarray) else x)
    module = trace(source, signature, constants, {}, OPTIONS)
    verify(module)
    return module, values


def launch(target: Any, fn: Any, grid: tuple[int, int, int], **args: Any) -> None:
    """Traces ``fn`` for these arguments (arrays, ints, floats; upper-case names are constexprs), compiles and runs it."""
    module, values = traced(fn, **args)
    slots = struct_format([a.type for a in module.kernel.args])
    target.load(target.compile(module, OPTIONS)).run(struct.pack(slots, *values), *grid)


def same(fn: Any, grid: tuple[int, ...] = (1,), rtol: float = 0.0, **args: Any) -> dict[str, Any]:
    """Asserts that both targets leave the same arrays; returns the CPU's."""
    full = (*grid, 1, 1)[:3]
    out = []
    for target in (CpuTarget(), ReferenceTarget()):
        mine = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in args.items()}
        launch(target, fn, full, **mine)
        out.append(mine)
    for name, x in args.items():
        if isinstance(x, np.ndarray):
            np.testing.assert_allclose(out[0][name], out[1][name], rtol=rtol, atol=rtol, equal_nan=True, err_msg=name)
    return out[0]
