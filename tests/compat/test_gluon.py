"""Gluon may be imported, as libraries do beside other kernels; its kernels and names refuse to be used."""

from __future__ import annotations

import pytest

import anytile
from anytile.errors import UnsupportedError

anytile.install()

import triton  # noqa: E402
import triton.experimental.gluon.language as gl  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.experimental import gluon  # noqa: E402
from triton.experimental.gluon import language  # noqa: E402
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma  # noqa: E402
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor  # noqa: E402

LAYOUT = gl.BlockedLayout([1], [32], [4], [0])  # as libraries have at the top of a module


@gluon.jit
def copy(x_ptr, n: gl.constexpr, layout: gl.constexpr | None = LAYOUT):
    gl.store(x_ptr, gl.zeros([n], gl.float32, layout))


@triton.autotune([triton.Config({"n": 4})], key=[])
@gluon.jit(noinline=True)
def tuned(x_ptr, n: language.constexpr):
    tma.store_wait(mbarrier)


@triton.jit
def uses_a_name(x_ptr):
    tl.store(x_ptr, gl.zeros([4], tl.float32))


@triton.jit
def calls_a_kernel(x_ptr):
    copy(x_ptr, 4)


@triton.jit
def scale(x_ptr):
    tl.store(x_ptr, tl.load(x_ptr) * 2)


def test_kernels_beside_it_run():
    torch = pytest.importorskip("torch")
    x = torch.ones(1)
    scale[(1,)](x)
    assert x.item() == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda: copy[(1,)](None, 4),
        lambda: copy.warmup(None, 4, grid=(1,)),
        lambda: copy(None, 4),
        lambda: copy[(1,)](TensorDescriptor.from_tensor(None, [4], LAYOUT), 4),
    ],
)
def test_a_kernel_refuses(use):
    with pytest.raises(
        UnsupportedError, match=r"^Gluon \(triton.experimental.gluon\), in which kernel copy is written, is not supported; write"
    ):
        use()


def test_a_tuned_kernel_refuses():
    with pytest.raises(UnsupportedError, match="in which kernel tuned is written"):
        tuned[(1,)](None)


@pytest.mark.parametrize(
    ("kernel", "says"), [(uses_a_name, r"gluon\.zeros, which is of Gluon"), (calls_a_kernel, "in which kernel copy is written")]
)
def test_other_kernels_cannot_use_it(kernel, says):
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception, match=says):
        kernel[(1,)](torch.ones(4))


def test_what_it_says_of_itself():
    assert copy.is_gluon() and not scale.is_gluon()
    assert copy.arg_names == ["x_ptr", "n", "layout"] and "copy" in repr(copy)
    assert repr(LAYOUT) == "gluon.BlockedLayout(…)" and repr(gl.not_imported.by.anyone) == "gluon.not_imported.by.anyone"
    assert not hasattr(gl, "__wrapped__") and not hasattr(LAYOUT, "__wrapped__")
