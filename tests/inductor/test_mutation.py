"""Which arguments a kernel writes, as torch.compile asks it: with tensors that have no memory, and with a driver of GPUs."""

import pytest

import anytile

anytile.install()

import kernels_for_inductor as kernels  # noqa: E402
from fake_cuda import FakeCuda  # noqa: E402

from anytile.runtime import cuda_driver  # noqa: E402
from anytile.runtime.driver import driver  # noqa: E402
from anytile.targets.nvidia import driver_api, launch  # noqa: E402

torch = pytest.importorskip("torch")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is not there, for what is asked of its driver before anything is launched."""
    before = driver.active
    cuda = driver_api.Cuda(FakeCuda().library())
    monkeypatch.setattr(driver_api, "_outcome", lambda: cuda)
    monkeypatch.setattr(driver_api, "present", lambda: True)
    monkeypatch.setattr(launch, "_torch", lambda: None)
    driver.set_active(cuda_driver.CudaDriver())
    yield
    driver.set_active(before)


def test_a_kernel_is_analysed_while_torch_traces_for_a_gpu(gpu):
    """Where this fails, torch takes it that all arguments are written, and copies each of them before the call."""
    from torch._higher_order_ops.triton_kernel_wrap import generate_ttir
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        arguments = {"x": torch.empty(64), "out": torch.empty(64), "n": 64, "factor": 2.0, "BLOCK": 64}
        module, names = generate_ttir(kernels.scale, arguments, {})
    assert names[:2] == ["x", "out"] and "store " in str(module)


def test_a_kernel_that_takes_a_descriptor_is_analysed(gpu, monkeypatch):
    """The descriptor that torch puts in its place describes a real tensor, which must not be asked anything either."""
    wrap = pytest.importorskip("torch._higher_order_ops.triton_kernel_wrap")
    from torch._subclasses.fake_tensor import FakeTensorMode

    if not hasattr(wrap, "create_tma_stable_metadata"):
        pytest.skip("this torch knows no host descriptors")
    monkeypatch.setattr("torch.utils._triton.has_triton_tensor_descriptor_host_tma", lambda: True)
    with FakeTensorMode():
        arguments = {"x": torch.empty(64), "out": torch.empty(64), "BLOCK": 64}
        module, names = wrap.generate_ttir(kernels.from_descriptor, arguments, {"x": wrap.create_tma_stable_metadata([64])})
    assert names == ["x", "x STRIDE PLACEHOLDER 0", "x SIZE PLACEHOLDER 0", "out"] and "store " in str(module)
