"""What is said when a launch on a GPU cannot be, or went wrong: kernel, cause, remedy."""

from __future__ import annotations

import pickle
import struct

import pytest
from fake_cuda import FakeCuda
from nvidia_kernels import add
from test_cuda_runtime import OnGpu

import anytile.language as tl
from anytile.errors import OutOfResources
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import CpuDriver, GPUTarget, driver
from anytile.runtime.errors import DeviceError
from anytile.runtime.jit import jit
from anytile.targets.nvidia import driver_api
from anytile.targets.nvidia.cuda_errors import CudaError, DeviceMemoryError, DriverTooOldError, KernelFaultError, NoDriverError
from anytile.targets.nvidia.launch import CudaKernel, LaunchShape

PACKED = struct.pack("<QqQ", 0x7F0000001000, -5, 42)


@jit
def product(a, b, c, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for i in range(0, K, BK):
        x = tl.load(a + m[:, None] * K + i + k[None, :])
        acc = tl.dot(x, tl.load(b + (i + k[:, None]) * N + n[None, :]), acc)
    tl.store(c + m[:, None] * N + n[None, :], acc.to(tl.bfloat16))


def compiled(blocks: tuple[int, int, int], stages: int, arch: int = 90) -> int:
    """Bytes of shared memory that `product` takes."""
    signature = {"a": "*bf16", "b": "*bf16", "c": "*bf16", "N": "i32", "K": "i32", "BM": "constexpr", "BN": "constexpr", "BK": "constexpr"}
    attributes = {(i,): [["tt.divisibility", 16]] for i in range(5)}
    source = ASTSource(product, signature, dict(zip(("BM", "BN", "BK"), blocks)), attributes)
    made = compile(source, target=GPUTarget("cuda", arch, 32), options={"num_stages": stages, "num_warps": 8})
    return made.metadata.shared


def test_shared_memory_says_what_it_is_for_and_what_fits():
    with pytest.raises(OutOfResources) as failure:
        compiled((256, 256, 64), 4)
    text = str(failure.value)
    assert text.startswith(f"out of resource: shared memory, Required: {4 * 65536}, Hardware limit: {227 * 1024}. ")
    assert (
        "a block of kernel product takes, on Hopper (sm_90): 131072 bytes for 4 stages of x (tile<256x64xbf16>, test_launch_errors.py:"
        in text
    )
    assert text.endswith(f"; num_stages=3 fits, with {3 * 65536} bytes")
    assert str(pickle.loads(pickle.dumps(failure.value))) == text


def test_shared_memory_that_no_number_of_stages_mends():
    with pytest.raises(OutOfResources, match="no num_stages fits: take smaller blocks"):
        compiled((256, 256, 256), 2)


def test_rings_before_hopper_do_with_a_slot_less_where_memory_asks_for_it():
    assert compiled((128, 128, 64), 3, arch=80) == 3 * 32768
    assert compiled((256, 256, 64), 3, arch=80) == 2 * 65536  # what Triton takes; three slots are more than an A100 has
    with pytest.raises(OutOfResources, match="num_stages=2 fits, with 131072 bytes"):
        compiled((256, 256, 64), 4, arch=80)


def kernel(shape: LaunchShape) -> CudaKernel:
    return CudaKernel(b"\x7fELF", "add", "add_entry", 3, shape, {})


def test_a_block_that_has_too_many_registers(install):
    install(FakeCuda(slots=3, max_threads=384))
    text = "threads, Required: 512, Hardware limit: 384.*\nkernel add has 40 registers a thread, so a block on .*can have 384 threads; "
    with pytest.raises(OutOfResources, match=text + r"launch it with num_warps=8, or with maxnreg=128"):
        kernel(LaunchShape(512)).run(PACKED, 1, 1, 1)


def test_a_block_for_a_larger_gpu(install):
    install(FakeCuda(slots=3))
    with pytest.raises(OutOfResources, match="kernel add was compiled for a GPU that gives a block more than <GPU 0: Fake GPU, sm_90>"):
        kernel(LaunchShape(64, shared=300_000)).run(PACKED, 1, 1, 1)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (200, DriverTooOldError, "the driver cannot read this machine code; install a newer driver, or set ANYTILE_ASSEMBLER=driver"),
        (209, CudaError, "the machine code was made for another GPU"),
        (2, DeviceMemoryError, "the GPU is out of memory; free tensors"),
    ],
)
def test_a_kernel_that_cannot_be_loaded_is_named(install, code, kind, words):
    install(FakeCuda(slots=3, fail={"cuModuleLoadDataEx": [code]}))
    with pytest.raises(kind, match=f"loading kernel add, 4 bytes of machine code, on GPU 0: {words}"):
        kernel(LaunchShape(64)).run(PACKED, 1, 1, 1)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (
            700,
            KernelFaultError,
            "a kernel read or wrote memory that is not its own; look at masks and strides, or run under compute-sanitizer",
        ),
        (701, CudaError, "a block needs more registers or shared memory than a multiprocessor has; use fewer warps, or maxnreg="),
        (716, KernelFaultError, "a kernel accessed memory at an address that is no multiple of the access's size"),
        (720, CudaError, "a cooperative launch needs all blocks on the GPU at once, and the grid has more; launch fewer programs"),
        (912, CudaError, "the cluster is larger than this GPU allows; use at most 8 blocks in cluster_dims"),
    ],
)
def test_a_launch_that_fails(install, monkeypatch, code, kind, words):
    monkeypatch.delenv("CUDA_LAUNCH_BLOCKING", raising=False)
    install(FakeCuda(slots=3, fail={"cuLaunchKernelEx": [code]}))
    with pytest.raises(kind) as failure:
        kernel(LaunchShape(64, 512, (2, 1, 1))).run(PACKED, 4, 1, 1)
    text = str(failure.value)
    before = (
        "launching kernel add on GPU 0 with a grid of 4 × 1 × 1, 64 threads and 512 bytes of shared memory a block, clusters of 2 blocks: "
    )
    assert text.startswith(before + words) and failure.value.code == code
    assert ("It may have been an earlier kernel: set CUDA_LAUNCH_BLOCKING=1" in text) == (kind is KernelFaultError)


def test_a_grid_that_clusters_do_not_divide(install):
    install(FakeCuda(slots=3, fail={"cuLaunchKernelEx": [912]}))
    with pytest.raises(CudaError, match="kernel add with a grid of 33 × 1 × 1, .*: the grid is no multiple of the clusters of 2 × 1 × 1"):
        kernel(LaunchShape(64, cluster=(2, 1, 1))).run(PACKED, 33, 1, 1)


def test_a_fault_where_launches_wait_is_this_kernels(install, monkeypatch):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    install(FakeCuda(slots=3, fail={"cuLaunchKernelEx": [700]}))
    with pytest.raises(KernelFaultError, match="Every launch waits for its kernel, so it was this one"):
        kernel(LaunchShape(64)).run(PACKED, 1, 1, 1)


@pytest.mark.parametrize(
    "error",
    [
        NoDriverError("no NVIDIA driver is installed (libcuda.so.1: not found); install one, or run on the CPU with ANYTILE_TARGET=cpu"),
        DriverTooOldError("the NVIDIA driver implements CUDA 11.4, and anytile needs 11.8 (driver 520) or newer; install a newer driver"),
    ],
)
def test_memory_of_a_gpu_that_cannot_be_used(monkeypatch, error):
    monkeypatch.setattr(driver_api, "_outcome", lambda: error)
    monkeypatch.delenv("ANYTILE_TARGET", raising=False)
    before = driver._active
    driver.set_active(CpuDriver())
    try:
        with pytest.raises(DeviceError) as failure:
            add[(1,)](OnGpu(), OnGpu(), OnGpu(), 8, BLOCK=8)
    finally:
        driver.set_active(before)
    text = str(failure.value)
    assert text.startswith("argument x_ptr of kernel add is a tensor on cuda:0, which the CPU target cannot reach; call .cpu() on it first")
    assert ("install a newer driver" in text) == isinstance(error, DriverTooOldError)
