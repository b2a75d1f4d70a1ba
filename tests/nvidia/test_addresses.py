"""Loads of dots whose addresses and masks hold loaded numbers are copied ahead like others; read off the PTX."""

from __future__ import annotations

import pytest
from test_packing import ptx

import anytile.language as tl
from anytile.runtime.jit import jit


@jit
def rows_by_index(x, y, out, ids, n, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, BK: tl.constexpr):
    """A mixture of experts: the rows of x are those that ``ids`` names, below ``n``."""
    row = tl.load(ids + tl.arange(0, M)).to(tl.int64)
    valid = row < n
    k, c = tl.arange(0, BK), tl.arange(0, N)
    px = x + (row[:, None] // 2 * K + k[None, :])
    py = y + (k[:, None] + c[None, :] * K)
    acc = tl.zeros((M, N), tl.float32)
    for i in range(0, tl.cdiv(K, BK)):
        a = tl.load(px, mask=valid[:, None] & (k[None, :] < K - i * BK), other=0.0)
        acc += tl.dot(a, tl.load(py, mask=k[:, None] < K - i * BK, other=0.0))
        px += BK
        py += BK
    tl.store(out + row[:, None] * N + c[None, :], acc, mask=valid[:, None])


SIZES = {"K": 4064, "M": 128, "N": 128, "BK": 64}


@pytest.mark.parametrize("sm", [80, 90])
def test_rows_by_index_are_copied_ahead(sm):
    text = ptx(rows_by_index, sm, 8, SIZES, x="*bf16", y="*bf16", out="*fp32", ids="*i32", n="i32")
    loop = text[text.index("cp.async.wait_group") : text.index("mma.")]
    assert text.count("cp.async.cg") == 2 * 8, "both operands, in front of the loop and in it: four copies of 16 bytes a thread each"
    assert "ld.global" not in loop and "st.shared" not in loop and loop.count("bar.sync") == 1
