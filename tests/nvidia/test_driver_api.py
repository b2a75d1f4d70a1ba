"""The driver's calls against a libcuda of Python functions."""

from __future__ import annotations

import gc
import json
import os
import weakref

import pytest
from fake_cuda import FakeCuda

from anytile.targets.nvidia import driver_api
from anytile.targets.nvidia.cuda_errors import (
    CudaError,
    DeviceMemoryError,
    DriverTooOldError,
    ForkedError,
    KernelFaultError,
    NoDriverError,
)
from anytile.targets.nvidia.driver_api import Cuda, DeviceMemory, Event


def test_devices_answer_questions(install):
    cuda = install(FakeCuda(arches=(90, 75)))
    assert cuda.version == (13, 0)
    assert [d.arch for d in cuda.devices] == [90, 75]
    assert cuda.device(1).name == "Fake GPU"
    assert cuda.device(0).attribute("multiprocessors") == 132
    with pytest.raises(CudaError, match="no GPU 2: the driver shows 2"):
        cuda.device(2)


def test_the_current_device_is_made_when_there_is_none(install):
    fake = FakeCuda(arches=(90, 90))
    cuda = install(fake)
    assert fake.context == 0
    assert cuda.current_device() == 0
    assert fake.context == cuda.device(0).context
    with cuda.device(1).current():
        assert cuda.current_device() == 1
        with cuda.device(1).current():
            pass
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0


def test_a_driver_that_is_too_old():
    with pytest.raises(DriverTooOldError, match=r"implements CUDA 11\.4, and anytile needs 11\.8"):
        Cuda(FakeCuda(version=11040).library())
    library = FakeCuda().library()
    del library.cuLaunchKernelEx
    with pytest.raises(DriverTooOldError, match="has no cuLaunchKernelEx"):
        Cuda(library)


def test_no_device():
    with pytest.raises(NoDriverError, match="CUDA_VISIBLE_DEVICES"):
        Cuda(FakeCuda(arches=()).library())
    with pytest.raises(NoDriverError, match="finds no GPU"):
        Cuda(FakeCuda(fail={"cuInit": [100]}).library())


def test_no_library(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))
    with pytest.raises(NoDriverError, match="ANYTILE_TARGET=cpu"):
        driver_api._load_library()


def test_who_asked_first_is_not_kept(monkeypatch, tmp_path):
    """The answer stays for ever; the variables of those who asked must not."""
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))

    def ask(tensor):
        return driver_api.available()

    tensor = FakeCuda()
    there = weakref.ref(tensor)
    driver_api._outcome.cache_clear()
    try:
        assert not ask(tensor)
        del tensor
        gc.collect()
        assert there() is None
    finally:
        driver_api._outcome.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("asked_before", [True, False])
def test_a_fork_of_a_process_that_uses_the_gpu(monkeypatch, asked_before):
    """It may compile for the GPU (torch's compile workers are such forks), but not use it, whoever had used it before."""
    fake = FakeCuda()
    owner = os.getpid()
    fake.Init = lambda flags: 0 if os.getpid() == owner else 3
    monkeypatch.setattr(driver_api, "_load_library", fake.library)
    driver_api._outcome.cache_clear()
    try:
        if asked_before:
            assert driver_api.available()
        reader, writer = os.pipe()
        if not os.fork():
            from anytile.runtime.cuda_driver import CudaDriver
            from anytile.runtime.driver import CpuDriver, driver

            active = CudaDriver()
            facts = [driver_api.available(), driver_api.present(), driver_api.version(), CudaDriver.is_active()]
            facts += [isinstance(driver.default, CpuDriver)]
            try:
                active.target_of(0)
            except ForkedError as error:
                facts.append(str(error))
            os.write(writer, json.dumps(facts).encode())
            os._exit(0)
        os.close(writer)
        os.wait()
        with os.fdopen(reader, "rb") as pipe:
            *facts, said = json.loads(pipe.read())
    finally:
        driver_api._outcome.cache_clear()
    assert facts == [False, True, [13, 0], True, True]
    assert "starting the NVIDIA driver: this process was forked from one that had used the GPU" in said
    assert "start processes by spawn" in said


def test_modules_functions_and_variables(install):
    cuda = install(FakeCuda())
    module = cuda.device(0).load(b"\x7fELF")
    function = module.function("add")
    assert (function.registers, function.local_bytes, function.static_shared, function.max_threads) == (40, 24, 16, 1024)
    assert module.variable("table") == (0xABC000, 16)
    with pytest.raises(CudaError, match="looking for kernel missing: the module has nothing of this name"):
        module.function("missing")
    module.unload()
    module.unload()


def test_loading_is_allowed_during_a_capture(install):
    fake = FakeCuda()
    install(fake).device(0).load(b"\x7fELF")
    at = fake.calls.index("cuModuleLoadDataEx")
    assert fake.calls[at - 1] == fake.calls[at + 1] == "cuThreadExchangeStreamCaptureMode"


def test_the_compiler_of_the_driver(install):
    cuda = install(FakeCuda(cubin=b"\x7fELFcode"))
    cubin, log = cuda.device(0).link(".version 8.0", "add")
    assert cubin == b"\x7fELFcode"
    assert "spill stores" in log
    with pytest.raises(CudaError, match=r"(?s)compiling the PTX of add: .*line 1: broken"):
        cuda.device(0).link("broken", "add")


def test_memory(install):
    cuda = install(FakeCuda())
    memory = DeviceMemory(cuda.device(0), 8)
    memory.write(b"12345678")
    memory.zero()
    assert memory.read() == b"\x07" * 8
    with pytest.raises(DeviceMemoryError, match="allocating 2097152 bytes on GPU 0: the GPU is out of memory") as caught:
        DeviceMemory(cuda.device(0), 2 << 20)
    assert isinstance(caught.value, MemoryError) and caught.value.code == 2


def test_whose_memory_an_address_is(install):
    cuda = install(FakeCuda(arches=(90, 90)))
    assert cuda.device_of(0x7F0000000000) == 1
    with pytest.raises(CudaError):
        cuda.device_of(16)


def test_events(install):
    cuda = install(FakeCuda())
    first, second = Event(cuda), Event(cuda)
    first.record()
    second.record(stream=5)
    second.synchronize()
    assert second.elapsed_since(first) == 1.5


def test_faults_name_the_way_to_find_them(install):
    fake = FakeCuda(fail={"cuStreamSynchronize": [700, 999]})
    cuda = install(fake)
    with pytest.raises(KernelFaultError, match="CUDA_LAUNCH_BLOCKING=1") as caught:
        cuda.synchronize()
    assert caught.value.code == 700 and "compute-sanitizer" in str(caught.value)
    with pytest.raises(CudaError, match="CUDA_ERROR_999"):
        cuda.synchronize()


def test_the_reason_is_kept(monkeypatch):
    monkeypatch.setattr(driver_api, "_outcome", lambda: NoDriverError("there is none"))
    assert not driver_api.available()
    assert driver_api.unavailable_because() == "there is none"
    for _ in range(2):
        with pytest.raises(NoDriverError, match="there is none"):
            driver_api.cuda()
