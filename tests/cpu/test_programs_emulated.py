"""Whole kernels for AMX, run on any machine with AVX-512: tile registers are emulated, all else is the kernel's own code."""

import ctypes
import re
import struct

import numpy as np
import pytest
from differential import OPTIONS
from test_microkernels_emulated import Tiles
from test_transpose import layer

from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.llvm import engine
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current, named

pytestmark = pytest.mark.skipif(not current().has("avx512bw"), reason="the text is for vectors of 512 bits with masks")
P, W, B, N = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int8, ctypes.c_int32


def run(signature, constants, arguments, grid, element, group):
    """Runs `layer` as it is compiled for AMX; returns the text."""
    _, text, found = lower(trace(JITCallable(layer), signature, constants, {}, OPTIONS), OPTIONS, named("amx"))
    tiles = Tiles(element, group)
    text = re.sub(r"@llvm\.x86\.tdp\w+", "@product", text)
    text = re.sub(r"@llvm\.x86\.(ldtilecfg|tilerelease|tileloadd64|tilestored64)", r"@\1", text)
    functions = {
        "ldtilecfg": ctypes.CFUNCTYPE(None, P)(tiles.ldtilecfg),
        "tilerelease": ctypes.CFUNCTYPE(None)(tiles.tilerelease),
        "tileloadd64": ctypes.CFUNCTYPE(None, B, P, W)(tiles.tileloadd64),
        "tilestored64": ctypes.CFUNCTYPE(None, B, P, W)(tiles.tilestored64),
        "product": ctypes.CFUNCTYPE(None, B, B, B)(tiles.product),
    }
    host = current()
    data = engine.compile_object(text, host.tune, host.features, level="lite")
    loaded = engine.load_object(data, {name: ctypes.cast(f, P).value for name, f in functions.items()})
    scratch = np.zeros(found["scratch"] + 64, np.uint8)
    slots = ctypes.create_string_buffer(b"".join(struct.pack("<q", a if isinstance(a, int) else a.ctypes.data) for a in arguments))
    kernel = ctypes.CFUNCTYPE(None, P, P, W, W, N, N, N)(loaded.address("kernel"))
    kernel(ctypes.addressof(slots), (scratch.ctypes.data + 63) & ~63, 0, grid[0] * grid[1], *grid, 1)
    return text


@pytest.mark.parametrize(("rows", "n", "size", "tile"), [(40, 50, 70, (32, 32, 32)), (33, 33, 31, (32, 32, 16)), (5, 50, 70, (16, 32, 32))])
@pytest.mark.parametrize(("name", "element", "group"), [("bf16", "bfloat", 2), ("i8", "i8", 4)])
def test_weights_that_lie_along_k(name, element, group, rows, n, size, tile):
    """Packed by blocks of words, or, where rows are few, read as they lie."""
    rng = np.random.default_rng(size)
    x, w = (rng.integers(-4, 5, (count, size)) for count in (rows, n))
    stored = [a.astype(np.int8) if name == "i8" else (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16) for a in (x, w)]
    out = np.zeros((rows, n), np.int32 if name == "i8" else np.float32)
    signature = {"o": "*i32" if name == "i8" else "*fp32", "x": f"*{name}", "w": f"*{name}", "rows": "i32", "n": "i32", "size": "i32"}
    constants = {(6 + i,): extent for i, extent in enumerate(tile)}
    grid = (-(-rows // tile[0]), -(-n // tile[1]))
    text = run(signature | dict.fromkeys("MNK", "constexpr"), constants, [out, *stored, rows, n, size], grid, element, group)
    np.testing.assert_array_equal(out, (x @ w.T).astype(out.dtype))
    dots = "x".join(map(str, tile if tile[0] > 16 else (tile[1], tile[0], tile[2])))
    assert f"_{dots}_" in text
