"""Micro-kernels for instructions this machine may lack, run with the instructions emulated.

Each target intrinsic in the text is replaced by a function that hands its operands to Python, where three lines of
NumPy say what the instruction means.  So the text's addresses, strides, loops and shuffles are executed for real.
"""

import ctypes
import re

import numpy as np
import pytest

from anytile.llvm import engine
from anytile.targets.cpu import machine, microkernels

from test_microkernels import DTYPES, operands, pack  # isort: skip

P, W, B = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int8


def memory(address, count, dtype):
    return np.ctypeslib.as_array((ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(address)).view(dtype)


def widen(raw, element):
    """Stored elements as numbers."""
    if element == "bfloat":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return raw.view(DTYPES.get(element, np.float16)).astype(np.int64 if element.startswith("i") else np.float32)


class Tiles:
    """AMX: eight tiles of rows × bytes, as `ldtilecfg` sets them."""

    def __init__(self, element, group):
        self.element, self.group = element, group
        self.released = False

    def ldtilecfg(self, address):
        raw = memory(address, 64, np.uint8)
        assert raw[0] == 1
        self.row_bytes, self.rows = raw[16:32].view(np.uint16).astype(int), raw[48:56].astype(int)
        self.data = [np.zeros((r, b), np.uint8) for r, b in zip(self.rows, self.row_bytes, strict=True)]

    def tilerelease(self):
        self.released = True

    def tileloadd64(self, tile, address, stride):
        for row in range(self.rows[tile]):
            self.data[tile][row] = memory(address + row * stride, self.row_bytes[tile], np.uint8)

    def tilestored64(self, tile, address, stride):
        for row in range(self.rows[tile]):
            memory(address + row * stride, self.row_bytes[tile], np.uint8)[:] = self.data[tile][row]

    def product(self, c, a, b):
        """C[m, n] += Σ A[m, (k, g)] · B[k, (n, g)]: groups of A along the row, of B beneath one another."""
        x = widen(self.data[a], self.element).reshape(self.rows[a], -1, self.group)
        y = widen(self.data[b], self.element).reshape(self.rows[b], -1, self.group)
        assert x.shape[1] == y.shape[0]
        out = self.data[c].view(np.int32 if self.element == "i8" else np.float32)
        out += np.einsum("mkg,kng->mn", x, y).astype(out.dtype)


def grouped(element, group):
    """vdpbf16ps, sdot …: lane i sums the products of group i."""

    def instruction(c, a, b):
        lanes = c.size
        c += (widen(a, element) * widen(b, element)).reshape(lanes, group).sum(axis=1).astype(c.dtype)

    return instruction


def matrix(element, depth):
    """bfmmla, smmla: 2×2 += 2×depth · (2×depth) transposed."""

    def instruction(c, a, b):
        c += (widen(a, element).reshape(2, depth) @ widen(b, element).reshape(2, depth).T).ravel().astype(c.dtype)

    return instruction


def wrap_vector_instruction(text, meaning):
    """(text with the intrinsic defined as a call to Python, its symbols)."""
    line = next(line for line in text.splitlines() if line.startswith("declare") and "@llvm." in line)
    acc, name, operand = re.match(r"declare (<.*?>) @(\S+?)\(<.*?>, (<.*?>),", line).groups()
    lanes, acc_dtype = int(acc[1:].split()[0]), np.int32 if "i32" in acc else np.float32
    count, element = operand[1:-1].split(" x ")
    nbytes = int(count) * (1 if element == "i8" else 2)

    def call(c, a, b):
        meaning(memory(c, lanes, acc_dtype), memory(a, nbytes, np.uint8), memory(b, nbytes, np.uint8))

    body = f"""
declare void @python(ptr, ptr, ptr)
define internal {acc} @emulated({acc} %c, {operand} %a, {operand} %b) {{
  %pc = alloca {acc}
  %pa = alloca {operand}
  %pb = alloca {operand}
  store {acc} %c, ptr %pc
  store {operand} %a, ptr %pa
  store {operand} %b, ptr %pb
  call void @python(ptr %pc, ptr %pa, ptr %pb)
  %r = load {acc}, ptr %pc
  ret {acc} %r
}}
"""
    return text.replace(line, body).replace(f"@{name}", "@emulated"), {"python": ctypes.CFUNCTYPE(None, P, P, P)(call)}


def run(kernel, text, symbols, m, n, k):
    addresses = {name: ctypes.cast(function, P).value for name, function in symbols.items()}
    loaded = engine.load_object(engine.compile_object(text.replace("define internal void @kernel", "define void @kernel")), addresses)
    x, y, c = operands(m, n, k, kernel.accumulator)
    pa, pb = (pack_any(layout, v, d) for layout, v, d in ((kernel.packed_a, x, "mk"), (kernel.packed_b, y, "kn")))
    out = np.full((m + 1, n), 7, DTYPES[kernel.accumulator])
    out[:m] = c
    function = ctypes.CFUNCTYPE(None, P, W, W, P, P)(loaded.address("kernel"))
    function(pa.ctypes.data, kernel.packed_stride, 0, pb.ctypes.data, out.ctypes.data)
    np.testing.assert_array_equal(out[:m], c + x @ y)
    assert (out[m] == 7).all()


def pack_any(layout, values, dims):
    if layout.element != "half":
        return pack(layout, values, dims)
    out = np.zeros(layout.size, np.float16)
    for index in np.ndindex(values.shape):
        out[layout.offset(**dict(zip(dims, index, strict=True)))] = values[index]
    return out


@pytest.mark.parametrize("size", [(32, 32, 64), (64, 32, 128), (16, 64, 32), (4, 8, 16), (1, 1, 4), (32, 16, 8)], ids=str)
@pytest.mark.parametrize(
    ("name", "element", "acc", "group"), [("amx", "bfloat", "float", 2), ("amx-fp16", "half", "float", 2), ("amx", "i8", "i32", 4)]
)
def test_amx(name, element, acc, group, size):
    kernel = microkernels.select(machine.named(name), element, element, acc, *size)
    tiles, text = Tiles(element, group), kernel.emit("kernel")
    symbols = {
        "ldtilecfg": ctypes.CFUNCTYPE(None, P)(tiles.ldtilecfg),
        "tilerelease": ctypes.CFUNCTYPE(None)(tiles.tilerelease),
        "tileloadd64": ctypes.CFUNCTYPE(None, B, P, W)(tiles.tileloadd64),
        "tilestored64": ctypes.CFUNCTYPE(None, B, P, W)(tiles.tilestored64),
        "product": ctypes.CFUNCTYPE(None, B, B, B)(tiles.product),
    }
    text = re.sub(r"@llvm\.x86\.tdp\w+", "@product", text).replace("@llvm.x86.", "@")
    run(kernel, text, symbols, *size)
    assert tiles.released


@pytest.mark.parametrize("size", [(8, 32, 16), (16, 64, 8), (4, 16, 4), (1, 16, 8)], ids=str)
@pytest.mark.parametrize(
    ("name", "kind", "element", "acc", "group"),
    [("avx512bf16", "vdpbf16", "bfloat", "float", 2), ("neon-dotprod", "sdot", "i8", "i32", 4), ("avx512vnni", "vnni", "i8", "i32", 2)],
)
def test_grouped(name, kind, element, acc, group, size):
    kernel = microkernels.select(machine.named(name), element, element, acc, *size)
    assert kernel.kind == kind
    run(kernel, *wrap_vector_instruction(kernel.emit("kernel"), grouped(kernel.packed_a.element, group)), *size)


@pytest.mark.parametrize("size", [(8, 8, 16), (16, 32, 8), (2, 4, 8), (4, 16, 8)], ids=str)
@pytest.mark.parametrize(
    ("name", "kind", "element", "acc", "depth"), [("neon-bf16", "bfmmla", "bfloat", "float", 4), ("neon-i8mm", "smmla", "i8", "i32", 8)]
)
def test_mmla(name, kind, element, acc, depth, size):
    kernel = microkernels.select(machine.named(name), element, element, acc, *size)
    assert kernel.kind == kind
    run(kernel, *wrap_vector_instruction(kernel.emit("kernel"), matrix(element, depth)), *size)
