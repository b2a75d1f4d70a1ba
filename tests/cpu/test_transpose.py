"""Blocks of memory that are contiguous along another dimension than the buffer they are read into."""

from __future__ import annotations

import numpy as np
import pytest
from differential import OPTIONS, same

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu.driver import lower
from anytile.targets.cpu.machine import current


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


@pytest.mark.parametrize("n", [32, 27])
def test_values_of_a_second_operand(n):
    p, q = (np.arange(32 * 32) % 7 - 3).astype("float32"), (np.arange(32 * 16) % 5 - 2).astype("float32")
    same(rows_times_columns, o=np.zeros(32 * 16, "float32"), p=p, q=q, n=n, M=32, K=32)


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
