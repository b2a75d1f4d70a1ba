"""Every half, and the hard floats, against NumPy and against rounding done by hand."""

import ctypes

import numpy as np
import pytest

from anytile.llvm import engine, softfloat


def converter(source, target, target_bits):
    """A function over arrays that applies one of the file's own functions to bits."""
    name = {
        ("float", "half"): "__truncsfhf2",
        ("double", "half"): "__truncdfhf2",
        ("half", "float"): "__extendhfsf2",
        ("float", "bfloat"): "__truncsfbf2",
        ("double", "bfloat"): "__truncdfbf2",
    }[source, target]
    text = f"""
declare {target} @{name}({source})
define void @convert(ptr %from, ptr %to, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %p = getelementptr {source}, ptr %from, i64 %i
  %x = load {source}, ptr %p
  %y = call {target} @{name}({source} %x)
  %q = getelementptr {target}, ptr %to, i64 %i
  store {target} %y, ptr %q
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
    loaded = engine.load_object(engine.compile_object(text, features=()))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(loaded.address("convert"))

    def convert(values):
        out = np.zeros(len(values), target_bits)
        function(values.ctypes.data, out.ctypes.data, len(values))
        return out

    convert.loaded = loaded
    return convert


def hard_floats(dtype):
    """Every half, its neighbours' midpoints and points just beside them, specials, random bits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].astype(np.float64)
    ordered = np.unique(halves)
    middle = (ordered[1:] + ordered[:-1]) / 2
    near = np.concatenate([middle, middle * (1 + 2**-40), middle * (1 - 2**-40)])
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 65536, 1e30, -1e30, 1e-30, 2**-25, 2**-149, 5e-324])
    random = np.random.default_rng(1).integers(0, 1 << 32, 100_000, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        random = random.astype(np.float64)
        return np.concatenate([ordered, near, special, random]).astype(dtype)


def same(bits, expected, nan):
    return np.array_equal(bits[~nan], expected[~nan])


@pytest.mark.parametrize(("source", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_to_half(source, dtype):
    values = hard_floats(dtype)
    with np.errstate(all="ignore"):
        expected = values.astype(np.float16)
    got = converter(source, "half", np.uint16)(values)
    nan = np.isnan(values)
    assert same(got, expected.view(np.uint16), nan)
    assert np.isnan(got[nan].view(np.float16)).all()


def test_from_half():
    halves = np.arange(1 << 16, dtype=np.uint16)
    got = converter("half", "float", np.uint32)(halves)
    expected = halves.view(np.float16).astype(np.float32)
    nan = np.isnan(expected)
    assert same(got, expected.view(np.uint32), nan)
    assert np.isnan(got[nan].view(np.float32)).all()


@pytest.mark.parametrize(("source", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_to_bfloat(source, dtype):
    values = hard_floats(dtype)
    if dtype is np.float64:  # midpoints of bfloats, and points too close to them for a float to tell
        edges = np.arange(0x3F80, 0x4080, dtype=np.uint32)
        middles = ((edges << 16) | 0x8000).view(np.float32).astype(np.float64)
        values = np.concatenate([values, middles, middles * (1 + 2**-50), middles * (1 - 2**-50)])
    got = converter(source, "bfloat", np.uint16)(values)
    nan = np.isnan(values)
    assert same(got, reference_bfloat(values), nan)
    assert np.isnan((got[nan].astype(np.uint32) << 16).view(np.float32)).all()


def reference_bfloat(values):
    """Nearest bfloat, ties to even: of the two around the value, compared in double."""
    with np.errstate(all="ignore"):
        wide = values.astype(np.float64)
        low = (np.abs(wide).astype(np.float32).view(np.uint32) >> 16).astype(np.int64)
        candidates = np.stack([np.clip(low + d, 0, 0x7F80) for d in (-1, 0, 1)])
        worth = (candidates.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        worth[candidates == 0x7F80] = 2.0**128  # infinity rounds as the next power of two would
        distance = np.abs(worth - np.abs(wide))
        best = np.where(distance == distance.min(axis=0), candidates & 1, 2).argmin(axis=0)
    chosen = np.take_along_axis(candidates, best[None], axis=0)[0]
    chosen = np.where(np.isinf(wide), 0x7F80, chosen)
    return (chosen | np.where(np.signbit(wide), 0x8000, 0)).astype(np.uint16)


def test_objects_find_the_conversions_themselves():
    text = "define half @f(float %x) {\n  %h = fptrunc float %x to half\n  ret half %h\n}\n"
    data = engine.compile_object(text, features=())
    assert all(isinstance(address, int) for address in softfloat.symbols_for(data).values())
    engine.load_object(data).address("f")
