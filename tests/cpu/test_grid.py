"""What kernels take for granted of grids: quotients of positions are shared by a vector, and grids that overflow are right all the same."""

import numpy as np
import pytest
from differential import OPTIONS, launch

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.passes.pipeline import optimize
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.grid import ANY, assume_grid


def spread(x, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + (i % 32 + 32 * (i // 256)), mask=i < n), mask=i < n)


def quotients(o, STEP: tl.constexpr, B: tl.constexpr):
    """Positions that overflow where STEP is large: signed quotients of them."""
    p = tl.program_id(0)
    i = p * STEP + tl.arange(0, B)
    at = o + p * 2 * B + tl.arange(0, B)
    tl.store(at, i // 48)
    tl.store(at + B, i // 16)


def module(fn, **constants):
    source = JITCallable(fn)
    signature = {n: "constexpr" if n in constants else "i32" if n == "n" else "*fp32" for n in source.arg_names}
    made = trace(source, signature, {(source.arg_names.index(n),): v for n, v in constants.items()}, {}, OPTIONS)
    optimize(made)
    return made


def test_positions_are_not_negative():
    made = module(spread, B=1024)
    assert assume_grid(made) == ((2**31 - 1) // 1024 - 1, ANY[1], ANY[2])
    names = {op.name for op in made.kernel.walk()}
    assert {"udiv", "urem"} <= names and not {"sdiv", "srem"} & names


def test_nothing_to_gain():
    def copy(x, o, B: tl.constexpr):
        i = tl.program_id(0) * B + tl.arange(0, B)
        tl.store(o + i, tl.load(x + i))

    assert assume_grid(module(copy, B=1024)) == ANY


def test_one_load_for_a_vector_of_equal_quotients():
    text = CpuTarget().compile(module(spread, B=1024), OPTIONS).stages["llir"]
    assert "gather" not in text


def test_values():
    x = np.arange(4000, dtype=np.float32)
    o = np.zeros(5000, np.float32)
    launch(CpuTarget(), spread, (5, 1, 1), x=x, o=o, n=5000, B=1024)
    i = np.arange(5000)
    np.testing.assert_array_equal(o, x[i % 32 + 32 * (i // 256)])


def by_extent(x, o, extent, n, B: tl.constexpr):
    ks0 = tl.load(extent)
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + (i % ks0 + 500 * (i // ks0) + 100000), mask=i < n), mask=i < n)


EXTENTS = [1, 16, 48, 37, -16, -5, 5000, 2**31 - 16, -(2**31)]


@pytest.mark.parametrize(("extent", "type"), [
    *((n, "int32") for n in EXTENTS), *((n, "int64") for n in [*EXTENTS, 2**31, 2**32 + 16, -(2**40), -(2**63)])
])  # fmt: skip
def test_divisors_of_either_sign(extent, type):
    n = 90 if abs(extent) < 16 else 3000
    quotient = np.array([i // abs(extent) * (-1 if extent < 0 else 1) for i in range(n)])
    remainder = np.array([i % abs(extent) for i in range(n)])
    x = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    o = np.zeros(n, np.float32)
    launch(CpuTarget(), by_extent, (-(-n // 64), 1, 1), x=x, o=o, extent=np.array([extent], type), n=n, B=64)
    np.testing.assert_array_equal(o, x[remainder + 500 * quotient + 100000])


@pytest.mark.parametrize("step", [64, 1 << 20, 1 << 29, (1 << 30) + 16, -(1 << 28)])
def test_grids_that_overflow(step):
    programs, block = 9, 64
    o = np.zeros(programs * 2 * block, np.int32)
    launch(CpuTarget(), quotients, (programs, 1, 1), o=o, STEP=step, B=block)
    i = (np.arange(programs)[:, None].astype(np.int64) * step + np.arange(block)).astype(np.int32).astype(np.int64)
    want = np.stack([np.sign(i) * (np.abs(i) // d) for d in (48, 16)], 1)
    np.testing.assert_array_equal(o.reshape(programs, 2, block), want)
