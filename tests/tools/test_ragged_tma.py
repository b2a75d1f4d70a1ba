"""Slices of one tensor through descriptors: bounded by their own ends, not by the tensor's."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime.jit import jit
from anytile.tools.ragged_tma import atomic_add_ragged, create_ragged_descriptor, load_ragged, store_ragged
from anytile.tools.tensor_descriptor import DescriptorError

torch = pytest.importorskip("torch")


@jit
def move(source, target, first, size, ADD: tl.constexpr, DIM: tl.constexpr):
    """The slice, moved block by block; one more block than it has, which must change nothing."""
    BLOCK: tl.constexpr = source.block_shape[DIM]
    for i in range(0, size + BLOCK, BLOCK):
        at = (i, 8) if len(source.shape) == 2 else ((i, 0, 8) if DIM == 0 else (0, i, 8))
        rows = load_ragged(source, first, size, at, ragged_dim=DIM)
        if ADD:
            atomic_add_ragged(target, first, size, at, rows + 1, ragged_dim=DIM)
        else:
            store_ragged(target, first, size, at, rows + 1, ragged_dim=DIM)


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize(("shape", "block", "dim"), [((20, 16), (4, 8), 0), ((20, 2, 16), (4, 2, 8), 0), ((2, 20, 16), (2, 4, 8), -2)])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(("first", "size"), [(0, 20), (3, 6), (7, 0), (5, 9)])
def test_a_slice_ends_where_it_ends(target, shape, block, dim, add, first, size, monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", target)
    x = torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape)
    y = torch.full(shape, -5.0)
    dim_ = dim % len(shape)
    move[(1,)](create_ragged_descriptor(x, block, dim), create_ragged_descriptor(y, block, dim), first, size, add, dim_)
    want = torch.full(shape, -5.0)
    part = [slice(None)] * (len(shape) - 1) + [slice(8, 16)]
    part[dim_] = slice(first, first + size)
    want[tuple(part)] = x[tuple(part)] + 1 - (5 if add else 0)
    assert torch.equal(y, want)


def test_what_cannot_be_ragged():
    with pytest.raises(DescriptorError, match="one of the dimensions 0 to 0 of the shape .* not 1"):
        create_ragged_descriptor(torch.zeros(4, 16), [2, 8], ragged_dim=1)
    with pytest.raises(DescriptorError, match="2 or 3 dimensions, and the shape .16. has 1"):
        create_ragged_descriptor(torch.zeros(16), [8])
