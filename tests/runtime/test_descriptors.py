"""Host tensor descriptors as arguments of kernels."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime import driver
from anytile.runtime.autotuner import Config, autotune
from anytile.runtime.errors import DescriptorArgumentError, ReadOnlyError
from anytile.runtime.jit import jit
from anytile.tools.tensor_descriptor import TensorDescriptor


def matrix(rows: int, columns: int) -> np.ndarray:
    """A float32 matrix whose rows are 16-byte aligned."""
    memory = np.zeros(rows * columns + 4, np.float32)
    start = -memory.ctypes.data // 4 % 4
    out = memory[start : start + rows * columns].reshape(rows, columns)
    out[:] = np.arange(rows * columns).reshape(rows, columns)
    return out


@jit
def block_of(desc, at):
    return desc.load(at)


@jit
def double(x, y, n):
    block: tl.constexpr = x.block_shape[0]
    for i in range(0, n, block):
        tile = block_of(x, [i, 0])
        y.store([i, 0], tile * 2 + x.shape[1])


@pytest.fixture(params=["cpu", "reference"])
def target(request, monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", request.param)
    driver.driver.reset_active()
    yield request.param
    monkeypatch.undo()
    driver.driver.reset_active()


def test_load_and_store_in_a_loop(target):
    x, y = matrix(20, 12), matrix(20, 12)
    double[(1,)](TensorDescriptor.from_tensor(x, [8, 16]), TensorDescriptor.from_tensor(y, [8, 16]), 20)
    assert (y == x * 2 + 12).all()


@jit
def padded(x, o):
    tl.store(o + tl.arange(0, 8), x.load([1]))


@pytest.mark.parametrize("padding", ["zero", "nan"])
def test_padding(padding):
    x, o = matrix(1, 4)[0], np.zeros(8, np.float32)
    padded[(1,)](TensorDescriptor(x, [4], [1], [8], padding), o)
    assert (o[:3] == [1, 2, 3]).all() and (np.isnan(o[3:]) if padding == "nan" else o[3:] == 0).all()


@jit
def from_tuple(pair, o):
    d, k = pair
    tl.store(o + tl.arange(0, 4), d.load([k]))


def test_in_a_tuple():
    x, o = matrix(1, 12)[0], np.zeros(4, np.float32)
    from_tuple[(1,)]((TensorDescriptor.from_tensor(x, [4]), 5), o)
    assert (o == [5, 6, 7, 8]).all()


@jit
def copy_rows(x, y, ROWS: tl.constexpr):
    at = tl.program_id(0) * ROWS
    y.store([at, 0], x.load([at, 0]))


def blocks(args):
    args["x"].block_shape = args["y"].block_shape = [args["ROWS"], 8]


def test_block_shape_set_by_the_autotuner():
    fn = autotune([Config({"ROWS": r}, pre_hook=blocks) for r in (2, 4)], key=[], do_bench=lambda f, quantiles: [f() or 1.0] * 3)(copy_rows)
    x, y = matrix(9, 8), matrix(9, 8)
    y[:] = 0
    fn[lambda META: (-(-9 // META["ROWS"]),)](TensorDescriptor.from_tensor(x, [1, 1]), TensorDescriptor.from_tensor(y, [1, 1]))
    assert (y == x).all()


def test_mistakes():
    x = matrix(8, 8)
    d = TensorDescriptor.from_tensor(x, [4, 1])
    with pytest.raises(ValueError, match="16 bytes in the last dimension"):
        copy_rows[(1,)](d, d, 4)
    d = TensorDescriptor.from_tensor(x, [4, 4])
    d.strides = [6, 1]
    with pytest.raises(DescriptorArgumentError, match=r"argument x of kernel copy_rows .*strides \[6, 1\]"):
        copy_rows[(1,)](d, d, 4)
    d = TensorDescriptor.from_tensor(x, [4, 4])
    d.base = x[:, 1:]
    with pytest.raises(DescriptorArgumentError, match="not a multiple of 16 bytes"):
        copy_rows[(1,)](d, d, 4)
    frozen = matrix(8, 8)
    frozen.setflags(write=False)
    with pytest.raises(ReadOnlyError, match="argument y"):
        copy_rows[(1,)](TensorDescriptor.from_tensor(x, [4, 4]), TensorDescriptor.from_tensor(frozen, [4, 4]), 4)
