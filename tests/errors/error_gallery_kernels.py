"""Kernels of these tests: `triton.jit` reads their source from a file."""

from __future__ import annotations

import anytile.language as tl


def fill(x_ptr):
    tl.store(x_ptr + tl.program_id(0), 1.0)
