"""Kernels of the tests for NVIDIA."""

from __future__ import annotations

import anytile.language as tl
from anytile.runtime.jit import jit


@jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)


@jit
def scale(x_ptr, factor, n: tl.constexpr):
    offsets = tl.arange(0, n)
    tl.store(x_ptr + offsets, tl.load(x_ptr + offsets) * factor)


@jit
def nothing(n):
    pass
