"""Launches through the whole runtime, on GPUs of a driver of Python functions."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from fake_cuda import FakeCuda
from nvidia_kernels import add, nothing, scale

from anytile import testing
from anytile.errors import UnsupportedError
from anytile.runtime import driver as runtime_driver
from anytile.runtime.cuda_driver import CudaDriver
from anytile.runtime.driver import CpuDriver, GPUTarget, driver
from anytile.runtime.errors import DeviceError
from anytile.targets.nvidia import assemble
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.cuda_errors import NoDriverError

needs_assembler = pytest.mark.skipif(
    not (assemble._find_nvjitlink() or assemble._find_ptxas(chip(90))), reason="needs an assembler: pip install anytile[cuda-check]"
)


class OnGpu:
    """What the runtime sees of a tensor in a GPU's memory."""

    dtype = "float32"
    is_cpu, is_cuda = False, True

    def __init__(self, address: int = 0x7F0000001000, device: str = "cuda:0"):
        self.address, self.device = address, device

    def data_ptr(self) -> int:
        return self.address


@pytest.fixture
def gpus(install):
    """``gpus(FakeCuda(…))`` makes it the active driver until the test ends."""
    before = driver._active

    def use(fake: FakeCuda) -> CudaDriver:
        install(fake)
        active = CudaDriver()
        driver.set_active(active)
        return active

    yield use
    driver.set_active(before)
    for kernel in (add, scale, nothing):
        kernel.device_caches.clear()


@needs_assembler
def test_a_launch_with_gpu_memory(gpus) -> None:
    fake = FakeCuda(slots=4)
    gpus(fake)
    for n in (1000, 2008):
        kernel = add[(5,)](OnGpu(), OnGpu(0x7F0000002000), OnGpu(0x7F0000003000), n, BLOCK=256, num_warps=8)
    first, second = fake.launches
    assert first.grid == (5, 1, 1) and first.block == (256, 1, 1)
    assert first.slots[:3] == [0x7F0000001000, 0x7F0000002000, 0x7F0000003000] and first.slots[3] & 0xFFFFFFFF == 1000
    assert second.slots[3] & 0xFFFFFFFF == 2008
    assert kernel.target == GPUTarget("cuda", 90, 32)
    assert (kernel.n_regs, kernel.n_spills, kernel.n_max_threads) == (40, 6, 1024)
    assert ".target sm_90a" in kernel.asm["ptx"]
    assert len(fake.loaded) == 1


@needs_assembler
def test_floats_beyond_their_slot_become_infinite(gpus) -> None:
    fake = FakeCuda(slots=2)
    gpus(fake)
    for factor in (2.0, 1e300, -1e300):
        scale[(1,)](OnGpu(), factor, n=8)
    assert [launch.slots[1] for launch in fake.launches] == [0x40000000, 0x7F800000, 0xFF800000]


def test_a_launch_with_cpu_memory_stays_on_the_cpu(gpus) -> None:
    fake = FakeCuda()
    gpus(fake)
    x = np.arange(8, dtype=np.float32)
    kernel = scale[(1,)](x, 3.0, n=8)
    scale[lambda meta: (meta["n"] // 8,)](x, 2.0, n=8)
    assert kernel.target.backend == "cpu" and fake.launches == []
    np.testing.assert_array_equal(x, np.arange(8) * 6)
    assert list(scale.device_caches["cpu"][0].values()) == [kernel]


@needs_assembler
def test_each_gpu_gets_its_own_launches(gpus) -> None:
    fake = FakeCuda(arches=(90, 80), slots=2)
    active = gpus(fake)
    on_first, on_second = OnGpu(), OnGpu(0x7F0000009000, "cuda:1")
    one = scale[(1,)](on_first, 2.0, n=8)
    two = scale[(1,)](on_second, 2.0, n=8)
    assert (one.target.arch, two.target.arch) == (90, 80)
    contexts = [active._cuda.device(i).context for i in (0, 1)]
    assert [launch.context for launch in fake.launches] == contexts
    assert active.get_current_device() == 0
    active.set_current_device(1)  # now the launcher of GPU 0 is away from home
    scale[(1,)](on_first, 2.0, n=8)
    scale[(1,)](on_second, 2.0, n=8)
    assert [launch.context for launch in fake.launches[2:]] == contexts
    assert active.get_current_device() == 1 and active.get_current_target().arch == 80


def test_memory_of_several_devices_is_refused(gpus) -> None:
    gpus(FakeCuda(arches=(90, 90)))
    host = np.zeros(8, np.float32)
    with pytest.raises(DeviceError, match=r"kernel add lie in the memory of several devices \(x_ptr on the CPU, y_ptr on GPU 0\)"):
        add[(1,)](host, OnGpu(), OnGpu(), 8, BLOCK=8)
    with pytest.raises(DeviceError, match="x_ptr on GPU 0, out_ptr on GPU 1"):
        add[(1,)](OnGpu(), OnGpu(), OnGpu(device="cuda:1"), 8, BLOCK=8)


@needs_assembler
def test_a_kernel_without_memory_goes_to_the_current_gpu(gpus) -> None:
    fake = FakeCuda(arches=(90, 90), slots=1)
    active = gpus(fake)
    nothing[(1,)](5)
    active.set_current_device(1)
    nothing[(1,)](5)
    assert [launch.context for launch in fake.launches] == [active._cuda.device(i).context for i in (0, 1)]


@needs_assembler
def test_a_compiled_kernel_on_a_stream(gpus) -> None:
    fake = FakeCuda(slots=2)
    gpus(fake)
    kernel = scale.warmup(OnGpu(), 2.0, n=8, grid=(1,))
    assert fake.launches == []
    kernel[(3,)](OnGpu(), 4.0, stream=0x77)
    kernel.run(2, 1, 1, 0x88, None, None, None, None, None, OnGpu(), 4.0, None)
    kernel.run(4, 1, 1, 0x99, None, None, None, None, None, OnGpu(), 1e300, None)  # beyond float32: the packer's other way
    kernel.run(0, 1, 1, 0x99, None, None, None, None, None, OnGpu(), 4.0, None)
    assert [(launch.grid[0], launch.stream) for launch in fake.launches] == [(3, 0x77), (2, 0x88), (4, 0x99)]
    with pytest.raises(DeviceError, match="argument x_ptr of kernel scale is not memory of the GPU"):
        kernel[(1,)](np.zeros(8, np.float32), 4.0)


@needs_assembler
def test_a_compiled_kernel_runs_on_the_gpu_that_is_current(gpus) -> None:
    fake = FakeCuda(arches=(90, 90), slots=2)
    active = gpus(fake)
    kernel = scale.warmup(OnGpu(), 2.0, n=8, grid=(1,))
    for device in (0, 1):
        active.set_current_device(device)
        kernel.run(1, 1, 1, 0x88, None, None, None, None, None, OnGpu(), 4.0, None)
    assert [launch.context for launch in fake.launches] == [active._cuda.device(i).context for i in (0, 1)]


def test_warmup_goes_where_the_memory_is(gpus) -> None:
    gpus(FakeCuda())
    kernel = scale.warmup(np.zeros(8, np.float32), 2.0, n=8, grid=(1,))
    assert kernel.target.backend == "cpu"


class Exporter:
    """The CUDA array interface without torch."""

    def __init__(self, address: int):
        self.dtype = np.dtype("float32")
        self.__cuda_array_interface__ = {"data": (address, False), "typestr": "<f4", "shape": (8,), "version": 3}


@needs_assembler
def test_memory_of_other_libraries(gpus) -> None:
    fake = FakeCuda(slots=2)
    gpus(fake)
    scale[(1,)](Exporter(0x7F0000004000), 2.0, n=8)
    assert fake.launches[0].slots[0] == 0x7F0000004000


def test_facts_of_the_driver(gpus) -> None:
    active = gpus(FakeCuda(arches=(90,)))
    assert driver.active is active and active.is_active()
    assert active.get_current_target() == GPUTarget("cuda", 90, 32)
    properties = active.utils.get_device_properties(0)
    assert properties["multiprocessor_count"] == 132 and properties["max_shared_mem"] == 227 * 1024 and properties["warpSize"] == 32
    module, handle, registers, spills, threads = active.utils.load_binary("add", b"\x7fELF", 100_000, 0)
    assert handle and (registers, spills, threads) == (40, 6, 1024)
    active.utils.unload_module(module)
    assert active.map_python_to_cpp_type("*fp32") == "CUdeviceptr" and active.map_python_to_cpp_type("u8") == "uint8_t"
    assert active.get_current_stream() == 0


def test_times_are_the_gpus(gpus) -> None:
    fake = FakeCuda(memory=1 << 30)
    gpus(fake)
    calls = []
    assert testing.do_bench(lambda: calls.append(1), warmup=3, rep=6, return_mode="median") == 1.5
    assert len(calls) == 1 + 5 + 10 + 20  # an estimate of 1.5 / 5 ms
    assert fake.calls.count("cuMemsetD8Async") == 5 + 20


class GraphsOfTorch:
    """`torch.cuda` as far as graphs go: a replay takes half a millisecond for every call that was recorded."""

    def __init__(self, calls: list[int]):
        self.calls, self.now, self.replays = calls, 0.0, 0
        self.Stream, self.stream, self.synchronize = object, lambda stream: nullcontext(), lambda: None

    @contextmanager
    def graph(self, graph):
        before = len(self.calls)
        yield
        graph.recorded = len(self.calls) - before

    def CUDAGraph(self):
        def replay():
            self.now += graph.recorded * 0.5
            self.replays += 1

        graph = SimpleNamespace(replay=replay)
        return graph

    def Event(self, enable_timing):
        event = SimpleNamespace(elapsed_time=lambda end: end.at - event.at)
        event.record = lambda: setattr(event, "at", self.now)
        return event


def test_times_of_replayed_graphs(monkeypatch) -> None:
    calls: list[int] = []
    cuda = GraphsOfTorch(calls)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(testing, "device_clock", object)
    x = SimpleNamespace(grad=1, detach_=lambda: None, requires_grad_=lambda wanted: None)
    assert testing.do_bench_cudagraph(lambda: calls.append(1), rep=20, grad_to_none=[x], return_mode="all") == [0.5] * 10
    assert len(calls) == 1 + 5 + 40 and cuda.replays == 1 + 10 and x.grad is None
    with pytest.raises(ValueError, match="return_mode is 'mode': it must be mean, min, max, median or all"):
        testing.do_bench_cudagraph(lambda: None, return_mode="mode")


def test_no_graphs_without_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(testing, "device_clock", lambda: None)
    with pytest.raises(UnsupportedError, match="do_bench_cudagraph"):
        testing.do_bench_cudagraph(lambda: None)


@pytest.mark.parametrize("wish, kind", [("cpu", CpuDriver), ("reference", CpuDriver), ("cuda", CudaDriver), ("", CudaDriver)])
def test_the_environment_chooses(install, monkeypatch, wish, kind) -> None:
    install(FakeCuda())
    monkeypatch.setenv("ANYTILE_TARGET", wish)
    assert type(runtime_driver._machine_driver()) is kind


def test_without_a_gpu(monkeypatch) -> None:
    from anytile.targets.nvidia import driver_api

    monkeypatch.delenv("ANYTILE_TARGET", raising=False)
    monkeypatch.setattr(driver_api, "_outcome", lambda: NoDriverError("no NVIDIA driver is installed"))
    assert type(runtime_driver._machine_driver()) is CpuDriver
    monkeypatch.setenv("ANYTILE_TARGET", "cuda")
    with pytest.raises(NoDriverError, match="no NVIDIA driver is installed"):
        runtime_driver._machine_driver()


def test_gpu_memory_where_the_cpu_was_asked_for(monkeypatch) -> None:
    before = driver._active
    monkeypatch.setenv("ANYTILE_TARGET", "cpu")
    driver.set_active(CpuDriver())
    try:
        with pytest.raises(DeviceError, match=r"call \.cpu\(\) on it first, or do not ask for the target cpu"):
            scale[(1,)](OnGpu(), 2.0, n=8)
    finally:
        driver.set_active(before)


def test_importing_starts_no_driver() -> None:
    code = "import anytile.runtime.cuda_driver, anytile.targets.nvidia.driver_api as d, sys; print(d._outcome.cache_info().currsize, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.split() == ["0", "False"], done.stderr
