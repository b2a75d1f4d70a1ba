"""What the frontend's tests share: tracing a function, and running it with the reference target."""

from __future__ import annotations

import struct

import numpy as np

from anytile.frontend import trace
from anytile.ir import Module
from anytile.ir.verifier import verify
from anytile.language.source import JITCallable
from anytile.targets.base import struct_format
from anytile.targets.reference import ReferenceTarget


class Options:
    num_warps, num_stages, num_ctas = 4, 3, 1
    debug = True
    sanitize_overflow = False
    default_dot_input_precision = "ieee"
    target = None


_NAMES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bool": "i1", "uint8": "u8", "uint32": "u32", "int8": "i8"}


def kind(x) -> str:
    """The signature of an argument: arrays are pointers."""
    if isinstance(x, np.ndarray):
        name = x.dtype.name
        return "*" + (_NAMES.get(name) or name.replace("int", "i"))
    return {bool: "i1", int: "i32", float: "fp32"}[type(x)]


def traced(fn, **arguments) -> Module:
    """The verified module of ``fn``: text is a signature, everything else a constexpr."""
    fn = fn if isinstance(fn, JITCallable) else JITCallable(fn)
    signature, constexprs = {}, {}
    for i, name in enumerate(fn.arg_names):
        if name not in arguments:
            continue
        value = arguments[name]
        if isinstance(value, str) and not value.startswith("="):
            signature[name] = value
        else:
            signature[name], constexprs[i,] = "constexpr", value[1:] if isinstance(value, str) else value
    module = trace(fn, signature, constexprs, {}, Options)
    verify(module)
    return module


def text(fn, **arguments) -> str:
    return str(traced(fn, **arguments))


def names(fn, **arguments) -> list[str]:
    """The operations in textual order."""
    return [op.name for op in traced(fn, **arguments).walk()]


def run(fn, *args, grid=(1,), constexprs=None):
    """Runs the kernel on NumPy arrays and scalars; ``constexprs`` by parameter name."""
    fn = fn if isinstance(fn, JITCallable) else JITCallable(fn)
    fixed = constexprs or {}
    values = iter(args)
    signature, by_path, packed = {}, {}, []
    for i, name in enumerate(fn.arg_names):
        if name in fixed:
            signature[name], by_path[i,] = "constexpr", fixed[name]
        else:
            v = next(values)
            signature[name] = kind(v)
            packed.append(v.ctypes.data if isinstance(v, np.ndarray) else v)
    module = trace(fn, signature, by_path, {}, Options)
    verify(module)
    target = ReferenceTarget()
    loaded = target.load(target.compile(module, Options))
    fmt = struct_format([a.type for a in module.kernel.args])
    loaded.run(struct.pack(fmt, *packed), *(tuple(grid) + (1, 1))[:3])
    return module
