"""The order of programs: along y where that is side by side in memory, along x wherever somebody could see a difference."""

import ctypes

import numpy as np
import pytest
from differential import OPTIONS, launch

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.passes.pipeline import optimize
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.pool_record import CELL
from anytile.targets.cpu.program_order import along_y, tells_order

CPU = CpuTarget()
RANGES = list(CELL).index("ranges")
BM, BN, COLUMNS = 4, 8, 40


def gather_rows(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    mask = (rows < n)[:, None] & (columns < D)[None, :]
    at = tl.load(i + rows, mask=rows < n, other=0)
    values = tl.load(e + at[:, None] * D + columns[None, :], mask=mask, other=0.0)
    tl.store(o + rows[:, None] * D + columns[None, :], values, mask=mask)


def add_rows(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    at = tl.load(i + rows)
    tl.atomic_add(o + at[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]))


def columns_first(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(1) * BM + tl.arange(0, BM)
    columns = tl.program_id(0) * BN + tl.arange(0, BN)
    tl.store(o + rows[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]))


def long_rows(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * 1024 + tl.arange(0, 1024)
    tl.store(o + rows[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]))


def prints(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    tl.device_print("row", tl.program_id(0))
    tl.store(o + rows[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]))


def draws_a_number(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    mine = tl.atomic_add(i, 1)
    tl.store(o + rows[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]) + mine)


def waits(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    while tl.load(i, volatile=True) < n:
        pass
    tl.store(o + rows[:, None] * D + columns[None, :], tl.load(e + rows[:, None] * D + columns[None, :]))


def product(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * 16 + tl.arange(0, 16)
    columns = tl.program_id(1) * 16 + tl.arange(0, 16)
    inner = tl.arange(0, 16)
    a, b = tl.load(e + rows[:, None] * D + inner[None, :]), tl.load(e + inner[:, None] * D + columns[None, :])
    tl.store(o + rows[:, None] * D + columns[None, :], tl.dot(a, b))


def by_stride(e, i, o, n, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """A row's length that only the launch tells; the columns' offset in another form."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    to = o + rows[:, None] * n + (tl.program_id(1) << 3) + tl.arange(0, 8)[None, :]
    tl.store(to, tl.load(e + rows[:, None] * n + (tl.program_id(1) << 3) + tl.arange(0, 8)[None, :]))


@pytest.mark.parametrize(("kernel", "expected"), [
    (gather_rows, True), (add_rows, True), (by_stride, True), (columns_first, False), (long_rows, False), (prints, False),
    (draws_a_number, False), (waits, False), (product, False),
])  # fmt: skip
def test_which_kernels(kernel, expected):
    source = JITCallable(kernel)
    signature = dict(e="*fp32", i="*i32", o="*fp32", n="i32", D="constexpr", BM="constexpr", BN="constexpr")
    constants = {(source.arg_names.index(name),): value for name, value in dict(D=4096, BM=BM, BN=BN).items()}
    module = trace(source, signature, constants, {}, OPTIONS)
    optimize(module)
    assert along_y(module.kernel) is expected


@pytest.mark.parametrize("rows", [1, 4, 23, 100])
@pytest.mark.parametrize("columns", [8, 40, 333])
def test_whole_grids(rows, columns):
    rng = np.random.default_rng(rows * columns)
    e, o = rng.standard_normal((50, columns)).astype("float32"), np.zeros((rows, columns), "float32")
    i = rng.integers(0, 50, rows).astype("int32")
    launch(CPU, gather_rows, (-(-rows // BM), -(-columns // BN), 1), e=e, i=i, o=o, n=rows, D=columns, BM=BM, BN=BN)
    np.testing.assert_array_equal(o, e[i])


def test_ranges_of_programs():
    """Program number k of a grid of 3 by 5 by 2 is y + 5·(x + 3·z); any range of them runs these and no others."""
    gx, gy, gz = 3, 5, 2
    source = JITCallable(gather_rows)
    signature = dict(e="*fp32", i="*i32", o="*fp32", n="i32", D="constexpr", BM="constexpr", BN="constexpr")
    constants = {(source.arg_names.index(name),): value for name, value in dict(D=COLUMNS, BM=BM, BN=BN).items()}
    kernel = CPU.load(CPU.compile(trace(source, signature, constants, {}, OPTIONS), OPTIONS))
    e, i = np.ones((1, COLUMNS), "float32"), np.zeros(gx * BM, "int32")
    o = np.zeros((gx * BM, COLUMNS), "float32")
    slots = np.array([e.ctypes.data, i.ctypes.data, o.ctypes.data, gx * BM], "int64")
    p, w, n = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    run = ctypes.CFUNCTYPE(None, p, p, w, w, n, n, n)(kernel.address)
    scratch = np.zeros(kernel.scratch + 64, "uint8")
    aligned = (scratch.ctypes.data + 63) & ~63
    for begin in range(gx * gy * gz + 1):
        for end in range(begin, gx * gy * gz + 1):
            o[:] = 0
            run(slots.ctypes.data, aligned, begin, end, gx, gy, gz)
            expected = np.zeros((gx, gy))
            for k in range(begin, end):
                expected[k // gy % gx, k % gy] = 1
            tiles = o.reshape(gx, BM, gy, BN).transpose(0, 2, 1, 3).reshape(gx, gy, -1)
            assert (tiles == expected[..., None]).all(), (begin, end)


def chained(flags, out, N: tl.constexpr):
    """Each program waits for the one before it."""
    i = tl.program_id(0)
    if i > 0:
        while tl.atomic_add(flags + i - 1, 0) == 0:
            pass
    tl.store(out + i, i)
    tl.atomic_xchg(flags + i, 1)


def test_programs_that_wait_for_others_begin_in_order():
    function = JITCallable(chained)
    module = trace(function, {"flags": "*i32", "out": "*i32", "N": "constexpr"}, {(2,): 4}, {}, OPTIONS)
    optimize(module)
    assert tells_order(module.kernel)
    artifact = CPU.compile(trace(function, {"flags": "*i32", "out": "*i32", "N": "constexpr"}, {(2,): 4}, {}, OPTIONS), OPTIONS)
    assert artifact.metadata["ordered"] and CPU.load(artifact).entry._cell[RANGES] == 1
    flags, out = np.zeros(500, np.int32), np.zeros(500, np.int32)
    for _ in range(3):
        flags[:] = 0
        CPU.load(artifact).run(np.array([flags.ctypes.data, out.ctypes.data], np.uint64).tobytes(), 500, 1, 1)
        assert (out == np.arange(500)).all() and flags.all()


def test_others_do_not():
    signature = {"e": "*fp32", "i": "*i32", "o": "*fp32", "n": "i32", "D": "constexpr", "BM": "constexpr", "BN": "constexpr"}
    module = trace(JITCallable(gather_rows), signature, {(4,): COLUMNS, (5,): BM, (6,): BN}, {}, OPTIONS)
    artifact = CPU.compile(module, OPTIONS)
    assert "ordered" not in artifact.metadata and CPU.load(artifact).entry._cell[RANGES] > 1
