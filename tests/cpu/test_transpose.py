"""Blocks of memory that are contiguous along another dimension than the buffer they are read into."""

from __future__ import annotations

import numpy as np
import pytest
from differential import OPTIONS, launch, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current, named


def columns_times_rows(o, p, q, n, M: tl.constexpr, K: tl.constexpr):
    i, k, j = tl.arange(0, M), tl.arange(0, K), tl.arange(0, 16)
    a = tl.load(p + k[None, :] * n + i[:, None], mask=i[:, None] < n, other=0)
    b = tl.load(q + k[:, None] * 16 + j[None, :])
    tl.store(o + i[:, None] * 16 + j[None, :], tl.dot(a, b).to(o.dtype.element_ty))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("n", [32, 27])
def test_values(name, n):
    p = (np.arange(32 * n) % 7 - 3).astype(name)
    q = (np.arange(32 * 16) % 5 - 2).astype(name)
    out = "int32" if name == "int8" else name
    same(columns_times_rows, o=np.zeros(32 * 16, out), p=p, q=q, n=n, M=32, K=32)


def rows_times_columns(o, p, q, n, M: tl.constexpr, K: tl.constexpr):
    i, k, j = tl.arange(0, M), tl.arange(0, K), tl.arange(0, 16)
    a = tl.load(p + i[:, None] * K + k[None, :])
    b = tl.load(q + j[None, :] * n + k[:, None], mask=k[:, None] < n, other=0)
    tl.store(o + i[:, None] * 16 + j[None, :], tl.dot(a, b).to(o.dtype.element_ty))


@pytest.mark.parametrize("name", ["float32", "int8"])  # int8: in groups of neighbours along k, where the machine multiplies such
@pytest.mark.parametrize("n", [32, 27])
def test_values_of_a_second_operand(name, n):
    p, q = (np.arange(32 * 32) % 7 - 3).astype(name), (np.arange(32 * 16) % 5 - 2).astype(name)
    same(rows_times_columns, o=np.zeros(32 * 16, "int32" if name == "int8" else name), p=p, q=q, n=n, M=32, K=32)


def layer(o, x, w, rows, n, size, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """``x @ w.T``"""
    i, j, k = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N), tl.arange(0, K)
    acc = tl.zeros((M, N), o.dtype.element_ty)
    for start in range(0, size, K):
        inside = start + k < size
        a = tl.load(x + i[:, None] * size + (start + k)[None, :], mask=(i < rows)[:, None] & inside[None, :], other=0)
        b = tl.load(w + j[None, :] * size + (start + k)[:, None], mask=inside[:, None] & (j < n)[None, :], other=0)
        acc = tl.dot(a, b, acc)
    tl.store(o + i[:, None] * n + j[None, :], acc, mask=(i < rows)[:, None] & (j < n)[None, :])


@pytest.mark.parametrize("name", ["float32", "int8", "float16"])
@pytest.mark.parametrize(
    ("rows", "n", "size", "tile"), [(64, 64, 128, (32, 64, 64)), (40, 50, 70, (32, 32, 32)), (33, 17, 31, (32, 16, 16))]
)
def test_weights_that_lie_along_k(name, rows, n, size, tile):
    rng = np.random.default_rng(size)
    x, w = rng.integers(-4, 5, (rows, size)).astype(name), rng.integers(-4, 5, (n, size)).astype(name)
    o = np.zeros((rows, n), "int32" if name == "int8" else "float32")
    M, N, K = tile
    launch(CpuTarget(), layer, (-(-rows // M), -(-n // N), 1), o=o, x=x, w=w, rows=rows, n=n, size=size, M=M, N=N, K=K)
    np.testing.assert_array_equal(o, x.astype(o.dtype) @ w.astype(o.dtype).T)


@pytest.mark.parametrize(("machine", "elem"), [("amx", "bf16"), ("avx512bf16", "bf16"), ("amx", "i8")])
def test_groups_are_loaded_whole(machine, elem):
    """Neighbours along k lie side by side in memory and in the buffer: no gathers; and the next tile's columns are requested."""
    signature = {"o": "*i32" if elem == "i8" else "*fp32", "x": f"*{elem}", "w": f"*{elem}", "rows": "i32", "n": "i32", "size": "i32"}
    signature |= dict.fromkeys("MNK", "constexpr")
    constants = {(6,): 64, (7,): 64, (8,): 64}
    module = trace(JITCallable(layer), signature, constants, {}, OPTIONS)
    text = lower(module, OPTIONS, named(machine))[1]
    assert "llvm.masked.gather" not in text.split("define internal void @program", 1)[1].split("define", 1)[0]
    assert "llvm.prefetch" in text and "arithmetic.fence.v16f32" in text


def gradient_of_a_weight(o, p, q, n, M: tl.constexpr, K: tl.constexpr):
    i, k, j = tl.arange(0, M), tl.arange(0, K), tl.arange(0, 16)
    total = tl.zeros((M, 16), tl.float32)
    for start in range(0, n, K):
        rows = start + k
        scores = tl.load(p + rows[:, None] * M + i[None, :], mask=rows[:, None] < n, other=0)
        a = tl.where(rows[:, None] < n, scores * scores - 3, 0.0)
        total += tl.dot(a.T, tl.load(q + rows[:, None] * 16 + j[None, :], mask=rows[:, None] < n, other=0))
    tl.store(o + i[:, None] * 16 + j[None, :], total)


@pytest.mark.parametrize("n", [32, 75])
def test_a_computed_operand_is_transposed(n):
    p, q = (np.arange(80 * 32) % 7 - 3).astype("float32"), (np.arange(80 * 16) % 5 - 2).astype("float32")
    same(gradient_of_a_weight, o=np.zeros(32 * 16, "float32"), p=p, q=q, n=n, M=32, K=32)


def llvm_of(kernel):
    source = JITCallable(kernel)
    signature = {"o": "*fp32", "p": "*fp32", "q": "*fp32", "n": "i32", "M": "constexpr", "K": "constexpr"}
    return lower(trace(source, signature, {(4,): 32, (5,): 32}, {}, OPTIONS), OPTIONS, current())[1]


def test_stages_of_shuffles_are_kept_apart():
    # Instruction selection looked through all stages at once: half of the compile time of attention's backward pass.
    assert "llvm.arithmetic.fence" in llvm_of(rows_times_columns)


@pytest.mark.parametrize("kernel", [columns_times_rows, gradient_of_a_weight])
def test_first_operands_by_columns_are_copied_as_they_lie(kernel):
    text = llvm_of(kernel)
    assert "_columns(" in text
    assert "llvm.arithmetic.fence" not in text
