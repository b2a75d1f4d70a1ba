"""Kernels that the tests of this folder launch and pickle: found by name, so they lie in a module."""

import triton
import triton.language as tl


@triton.jit
def scale(x, out, n, factor, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * factor, mask=i < n)


@triton.jit
def from_descriptor(x, out, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK), x.load([0]))
