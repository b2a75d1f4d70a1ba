"""Micro-kernels: each that this machine runs against NumPy, the others by their text."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import examples

from anytile.errors import AnytileError, UnsupportedError
from anytile.llvm import engine
from anytile.targets.cpu import machine, microkernels
from anytile.targets.cpu.microkernel_layout import blocked

DTYPES = {"float": np.float32, "double": np.float64, "i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8}
TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


def to_stored(values, element):
    """Values as they lie in memory; bfloat as the upper halves of floats that are exact in it."""
    if element == "bfloat":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(DTYPES[element])


def pack(layout, values, dims):
    out = np.zeros(layout.size, np.uint16 if layout.element == "bfloat" else DTYPES[layout.element])
    for index in np.ndindex(values.shape):
        out[layout.offset(**dict(zip(dims, index, strict=True)))] = to_stored(values[index], layout.element)
    return out


def build(kernel, cpu, columns=False):
    text = kernel.emit("kernel", columns).replace("define internal", "define")
    loaded = engine.load_object(engine.compile_object(text, cpu.tune, cpu.features))
    w, p = ctypes.c_int64, ctypes.c_void_p
    function = ctypes.CFUNCTYPE(None, p, w, w, p, p)(loaded.address("kernel"))
    function.loaded = loaded
    return function


def operands(m, n, k, acc):
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    low, high = (-8, 8) if acc in ("float", "double") else (-128, 128)  # small integers: exact in every type
    return rng.integers(low, high, (m, k)), rng.integers(low, high, (k, n)), rng.integers(-50, 50, (m, n))


def check_packed(cpu, a, acc, m, n, k):
    kernel = microkernels.select(cpu, a, a, acc, m, n, k)
    x, y, c = operands(m, n, k, acc)
    pa, pb = pack(kernel.packed_a, x, "mk"), pack(kernel.packed_b, y, "kn")
    out = np.full((m + 1, n), 7, DTYPES[acc])
    out[:m] = c
    build(kernel, cpu)(pa.ctypes.data, kernel.packed_stride, 0, pb.ctypes.data, out.ctypes.data)
    np.testing.assert_array_equal(out[:m], c + x @ y)
    assert (out[m] == 7).all()
    return kernel.kind


CPUS = [
    m.name for m in machine.MACHINES if m.requires <= machine.current().features and m.architecture in ("", machine.current().architecture)
]
SIZES = [(1, 1, 1), (2, 4, 8), (16, 16, 16), (1, 128, 32), (32, 1, 16), (16, 32, 64), (64, 16, 2), (8, 64, 4), (4, 2, 256), (128, 16, 16)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "types", [("float", "float"), ("double", "double"), ("i32", "i32"), ("i64", "i64"), ("i8", "i32"), ("bfloat", "float")]
)
def test_against_numpy(types, size):
    a, acc = types
    check_packed(machine.current(), a, acc, *size)


@pytest.mark.parametrize("name", CPUS)
@pytest.mark.parametrize("types", [("float", "float"), ("i8", "i32")])
def test_every_row_this_machine_runs(name, types):
    check_packed(machine.named(name), *types, 32, 32, 32)


@settings(max_examples=examples(15), deadline=None)
@given(st.tuples(*[st.sampled_from([1, 2, 4, 8, 16, 32])] * 3), st.sampled_from([("float", "float"), ("i8", "i32")]))
def test_any_size(size, types):
    check_packed(machine.current(), *types, *size)


@pytest.mark.parametrize("ahead", [0, 16, -(1 << 40)])
def test_rows_of_a_where_the_user_has_them(ahead):
    """Wherever the next call's rows are said to be: requesting lines that do not exist does nothing."""
    cpu, (m, n, k) = machine.current(), (32, 32, 16)
    kernel = microkernels.select(cpu, "float", "float", "float", m, n, k)
    assert kernel.direct_a
    a = np.random.default_rng(0).integers(-8, 8, (m, 100)).astype(np.float32)
    b = np.random.default_rng(1).integers(-8, 8, (k, n)).astype(np.float32)
    out = np.ones((m, n), np.float32)
    build(kernel, cpu)(a.ctypes.data, 100, ahead, b.ctypes.data, out.ctypes.data)
    np.testing.assert_array_equal(out, 1 + a[:, :k] @ b)


@settings(max_examples=examples(15), deadline=None)
@given(st.tuples(*[st.sampled_from([1, 2, 4, 8, 16, 32])] * 3), st.sampled_from(["float", "double", "i32"]))
def test_columns_of_a(size, acc):
    cpu, (m, n, k) = machine.current(), size
    kernel = microkernels.select(cpu, acc, acc, acc, m, n, k)
    assert kernel.columns_a
    x, y, c = operands(m, n, k, acc)
    a, b, out = (np.ascontiguousarray(v).astype(DTYPES[acc]) for v in (x.T, y, c))
    build(kernel, cpu, columns=True)(a.ctypes.data, 0, 0, b.ctypes.data, out.ctypes.data)
    np.testing.assert_array_equal(out, c + x @ y)


# --- what this machine cannot run --------------------------------------------------------------------------------

EXPECTED = {  # (machine, element, accumulator) → kind, instruction that its assembly must hold
    ("amx", "bfloat", "float"): ("amx_bf16", "tdpbf16ps"),
    ("amx", "i8", "i32"): ("amx_int8", "tdpbssd"),
    ("amx-fp16", "half", "float"): ("amx_fp16", "tdpfp16ps"),
    ("amx", "float", "float"): ("fma", "vfmadd"),
    ("avx512bf16", "bfloat", "float"): ("vdpbf16", "vdpbf16ps"),
    ("avx512vnni", "i8", "i32"): ("vnni", "vpdpwssd"),
    ("avx512", "double", "double"): ("fma", "vfmadd"),
    ("avx2", "half", "float"): ("fma", "vfmadd"),
    ("sse2", "float", "float"): ("generic", "mulps"),
    ("neon", "float", "float"): ("fma", "fmla"),
    ("neon-dotprod", "i8", "i32"): ("sdot", "sdot"),
    ("neon-bf16", "bfloat", "float"): ("bfmmla", "bfmmla"),
    ("neon-i8mm", "i8", "i32"): ("smmla", "smmla"),
    ("generic", "i64", "i64"): ("generic", "mul"),
}


@pytest.mark.parametrize("case", EXPECTED, ids=" ".join)
@pytest.mark.parametrize("size", [(64, 64, 64), (16, 16, 32)], ids=str)
def test_instructions(case, size):
    name, a, acc = case
    kind, instruction = EXPECTED[case]
    cpu = machine.named(name)
    kernel = microkernels.select(cpu, a, a, acc, *size)
    assert kernel.kind == kind
    text = kernel.emit("kernel").replace("define internal", "define")
    assembly = engine.emit_assembly(text, cpu.tune or None, cpu.features, triple=TRIPLES[cpu.architecture or "x86_64"])
    assert instruction in assembly
    if instruction == "vpdpwssd":
        assert "vpmaddwd" not in assembly  # LLVM would split it for latency


def test_amx_sequence():
    """Four multiplications for four loads a step, between one configuration and one release."""
    kernel = microkernels.select(machine.named("amx"), "bfloat", "bfloat", "float", 128, 64, 64)
    text = kernel.emit("k")
    calls = [line.split("@llvm.x86.")[1].split("(")[0] for line in text.splitlines() if "call" in line and "prefetch" not in line]
    loads_c, loads, products, stores = ["tileloadd64"] * 4, ["tileloadd64"] * 4, ["tdpbf16ps"] * 4, ["tilestored64"] * 4
    assert calls == ["ldtilecfg", *loads_c, *loads, *products, *stores, "tilerelease"]
    # palette 1, then eight tiles of 64 bytes a row, then eight of 16 rows
    configuration = text.split('c"')[1].split('"')[0]
    assert bytes.fromhex(configuration.replace("\\", "")) == bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])


def test_amx_small_sizes_shrink_tiles():
    kernel = microkernels.select(machine.named("amx"), "bfloat", "bfloat", "float", 4, 8, 16)
    configuration = bytes.fromhex(kernel.emit("k").split('c"')[1].split('"')[0].replace("\\", ""))
    assert configuration[48:56] == bytes([4] * 4 + [4] * 2 + [8] * 2)  # rows
    assert configuration[16:32:2] == bytes([32] * 4 + [32] * 2 + [32] * 2)  # bytes of a row


# --- layouts and the table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", EXPECTED, ids=" ".join)
def test_packed_layouts_are_bijections(case):
    name, a, acc = case
    kernel = microkernels.select(machine.named(name), a, a, acc, 16, 32, 64)
    for layout, first, second, shape in ((kernel.packed_a, "m", "k", (16, 64)), (kernel.packed_b, "k", "n", (64, 32))):
        offsets = sorted(layout.offset(**{first: i, second: j}) for i in range(shape[0]) for j in range(shape[1]))
        assert offsets == list(range(layout.size))


def test_layout_terms():
    pairs = blocked("bfloat", ("k", 2, 16), ("n", 1, 64), ("k", 1, 2))
    assert pairs.offset(k=5, n=3) == 2 * 128 + 3 * 2 + 1
    assert blocked("float", ("m", 1, 8), ("k", 1, 4)).offset(m=2, k=3) == 2 * 4 + 3


def test_sizes_are_powers_of_two():
    with pytest.raises(ValueError, match="3×4×4"):
        microkernels.select(machine.current(), "float", "float", "float", 3, 4, 4)


def test_unknown_accumulator():
    with pytest.raises(UnsupportedError, match="dot of i8 and i8 into half"):
        microkernels.select(machine.current(), "i8", "i8", "half", 16, 16, 16)


def test_machine_override(monkeypatch):
    monkeypatch.setenv("ANYTILE_CPU", CPUS[-1])
    assert machine.current().name == CPUS[-1]
    monkeypatch.setenv("ANYTILE_CPU", "toaster")
    with pytest.raises(AnytileError, match="no machine called 'toaster'; known: amx-fp16, amx"):
        machine.current()
    monkeypatch.setenv("ANYTILE_CPU", "neon" if engine.host().triple.startswith("x86") else "avx2")
    with pytest.raises(UnsupportedError, match="unset ANYTILE_CPU"):
        machine.current()


def test_machine_rows_check_themselves():
    with pytest.raises(ValueError, match="unknown micro-kernel kinds"):
        machine.Machine("x", "x86_64", frozenset(), 128, 16, ("warp", "generic"), "")
    with pytest.raises(ValueError, match="is no vector width"):
        machine.Machine("x", "x86_64", frozenset(), 96, 16, ("generic",), "")
    with pytest.raises(ValueError, match="must be 'generic'"):
        machine.Machine("x", "x86_64", frozenset(), 128, 16, ("fma",), "", fma=True)
