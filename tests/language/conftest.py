"""``evaluate(fn, array, …)``: what ``fn`` of the language makes of the arrays, run by the reference target.

Each array is loaded whole into a tile of its shape; a pair (array, dtype) says the language type.  ``fn`` returns
a tensor or several; each comes back as an array (narrow floats as float32).  Every recorded module is verified.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

import anytile.language as tl
from anytile.ir import Builder, Func, Module
from anytile.ir.verifier import verify
from anytile.language.context import Context
from anytile.targets import formats
from anytile.targets.base import struct_format
from anytile.targets.reference import ReferenceTarget

DTYPES = {
    "bool": tl.int1,
    **{f"int{n}": getattr(tl, f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": getattr(tl, f"uint{n}") for n in (8, 16, 32, 64)},
    **{f"float{n}": getattr(tl, f"float{n}") for n in (16, 32, 64)},
}


class Recording:
    """A kernel made by hand: parameters of language types, and a context to record its body in."""

    def __init__(self, types, debug=False, sanitize_overflow=False, precision="ieee", backend="cpu"):
        self.func = Func("kernel", tuple(t.to_ir() for t in types), tuple(f"a{i}" for i in range(len(types))))
        self.module = Module([self.func])
        self.args = [tl.tensor(v, t) for v, t in zip(self.func.args, types)]
        options = SimpleNamespace(
            num_warps=4,
            num_stages=3,
            num_ctas=1,
            debug=debug,
            sanitize_overflow=sanitize_overflow,
            default_dot_input_precision=precision,
            target=SimpleNamespace(backend=backend, arch=0),
        )
        self.context = Context(Builder(self.func.body), options, lambda fn, args, kwargs: fn(*args, **kwargs), None)

    def __enter__(self):
        self.context.__enter__()
        return self.args

    def __exit__(self, kind, *rest):
        self.context.__exit__(kind, *rest)
        if kind is None:
            self.context.builder.make("return")
            verify(self.module)

    def launch(self, *values, grid=(1, 1, 1)):
        target = ReferenceTarget()
        packed = struct.pack(
            struct_format([a.type for a in self.func.args]), *(v.ctypes.data if isinstance(v, np.ndarray) else v for v in values)
        )
        with np.errstate(all="ignore"):
            target.load(target.compile(self.module)).run(packed, *grid)


def _encoded(value):
    array, dtype = value if isinstance(value, tuple) else (np.asarray(value), None)
    array = np.asarray(array)
    dtype = dtype or DTYPES[array.dtype.name]
    elem = dtype.element()
    if elem.is_float and array.dtype.kind == "f":
        array = formats.encode(array, elem)
    return np.ascontiguousarray(array).astype(formats.storage(elem)).reshape(array.shape), dtype


def _decoded(array, dtype):
    if dtype.is_floating():
        return formats.decode(array, dtype.element())
    return array.view(array.dtype.name.replace("int", "uint")) if dtype.is_int_unsigned() else array


@pytest.fixture
def recording():
    return Recording


@pytest.fixture
def evaluate():
    def run(fn, *values, **options):
        inputs = [_encoded(v) for v in values]
        outputs = []

        def body(args, sink):
            tiles = []
            for (array, _), pointer in zip(inputs, args):
                tile = tl.load(pointer + tl.arange(0, array.size)).reshape(array.shape) if array.ndim else tl.load(pointer)
                tiles.append(tile)
            out = fn(*tiles)
            out = [tl.to_tensor(v) for v in (out if isinstance(out, (tuple, list, tl.tuple)) else [out])]
            for i, x in enumerate(out):
                sink(i, x)

        # Recorded twice: first to learn the types of the results, then with parameters for them.
        types = [tl.pointer_type(t) for _, t in inputs]
        with Recording(types, **options) as args:
            body(args, lambda i, x: outputs.append(x.type))
        kernel = Recording(types + [tl.pointer_type(t.scalar) for t in outputs], **options)
        with kernel as args:
            pointers = args[len(inputs) :]

            def store(i, x):
                if x.type.shape:
                    tl.store(pointers[i] + tl.arange(0, x.type.numel), x.ravel())
                else:
                    tl.store(pointers[i], x)

            body(args, store)
        results = [np.zeros(t.shape, formats.storage(t.element())) for t in outputs]
        kernel.launch(*(a for a, _ in inputs), *results)
        decoded = [_decoded(r, t.scalar) for r, t in zip(results, outputs)]
        run.last = outputs
        return decoded[0] if len(decoded) == 1 else decoded

    return run
