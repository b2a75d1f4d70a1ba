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


def test_stages_of_shuffles_are_kept_apart():
    # Instruction selection looked through all stages at once: half of the compile time of attention's backward pass.
    source = JITCallable(columns_times_rows)
    signature = {"o": "*fp32", "p": "*fp32", "q": "*fp32", "n": "i32", "M": "constexpr", "K": "constexpr"}
    text = lower(trace(source, signature, {(4,): 32, (5,): 32}, {}, OPTIONS), OPTIONS, current())[1]
    assert "llvm.arithmetic.fence" in text
