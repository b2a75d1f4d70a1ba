"""What the driver is handed at a launch."""

from __future__ import annotations

import struct
import threading

import pytest
from fake_cuda import FakeCuda

from anytile.errors import OutOfResources
from anytile.targets.nvidia.cuda_errors import CudaError
from anytile.targets.nvidia.launch import CudaKernel, LaunchShape

PACKED = struct.pack("<QqQ", 0x7F0000001000, -5, 42)


def kernel(shape: LaunchShape, slots: int = 3) -> CudaKernel:
    return CudaKernel(b"\x7fELF", "add", "add_entry", slots, shape, {})


def test_a_launch_reaches_the_driver(install):
    fake = FakeCuda(slots=3)
    install(fake)
    k = kernel(LaunchShape(128, shared=1024))
    k.run(PACKED, 7, 2, 1)
    k.run(PACKED, 8, 1, 1, stream=0x55)
    first, second = fake.launches
    assert first.grid == (7, 2, 1) and first.block == (128, 1, 1) and first.shared == 1024
    assert first.slots == [0x7F0000001000, 2**64 - 5, 42] and first.attributes == {}
    assert first.stream == 0 and second.stream == 0x55 and second.grid == (8, 1, 1)
    assert (k.n_regs, k.n_spills, k.n_max_threads) == (40, 6, 1024)
    assert len(fake.loaded) == 1


def test_a_kernel_without_parameters(install):
    fake = FakeCuda()
    install(fake)
    kernel(LaunchShape(32), slots=0).run(b"", 1, 1, 1)
    assert fake.launches[0].slots == []


def test_attributes_of_launches(install):
    fake = FakeCuda(slots=3)
    install(fake)
    kernel(LaunchShape(64, cooperative=True, overlap=True)).run(PACKED, 1, 1, 1)
    kernel(LaunchShape(64, cluster=(2, 1, 1))).run(PACKED, 10, 3, 1)
    kernel(LaunchShape(64, cluster=(4, 4, 1))).run(PACKED, 4, 4, 1)
    plain, pair, large = fake.launches
    assert plain.attributes == {2: (1, 0, 0), 6: (1, 0, 0)}
    assert pair.attributes == {4: (2, 1, 1)} and pair.grid == (10, 3, 1)
    assert large.attributes == {4: (4, 4, 1)}
    assert fake.shared_claims[14] == 1  # clusters of more than 8 blocks were announced


def test_much_shared_memory_is_announced(install):
    fake = FakeCuda(slots=3)
    install(fake)
    kernel(LaunchShape(64, shared=48 * 1024)).run(PACKED, 1, 1, 1)
    assert 8 not in fake.shared_claims
    kernel(LaunchShape(64, shared=100_000)).run(PACKED, 1, 1, 1)
    assert fake.shared_claims[8] == 100_000


def test_what_does_not_fit(install):
    install(FakeCuda(slots=3, max_threads=256))
    with pytest.raises(OutOfResources, match=f"shared memory, Required: 300016, Hardware limit: {227 * 1024}"):
        kernel(LaunchShape(64, shared=300_000)).run(PACKED, 1, 1, 1)
    with pytest.raises(OutOfResources, match="threads, Required: 512, Hardware limit: 256"):
        kernel(LaunchShape(512)).run(PACKED, 1, 1, 1)


def test_a_thread_without_context_gets_one(install):
    fake = FakeCuda(slots=3)
    cuda = install(fake)
    k = kernel(LaunchShape(64))
    k.run(PACKED, 1, 1, 1)
    fake.context = 0
    fake.fail["cuLaunchKernelEx"] = [201]
    launch = k.prepare(0)
    launch(PACKED, 1, 1, 1, 0)
    assert fake.launches[-1].context == cuda.device(0).context


def test_a_refused_launch_names_kernel_and_shape(install):
    fake = FakeCuda(slots=3, fail={"cuLaunchKernelEx": [1]})
    install(fake)
    with pytest.raises(CudaError, match="launching kernel add on GPU 0 with a grid of 9 × 1 × 1, 64 threads and 0 bytes"):
        kernel(LaunchShape(64)).run(PACKED, 9, 1, 1)
    kernel(LaunchShape(64)).run(PACKED, 1, 1, 1)


def test_each_gpu_loads_the_kernel_once(install):
    fake = FakeCuda(arches=(90, 90), slots=3)
    cuda = install(fake)
    k = kernel(LaunchShape(64))
    k.run(PACKED, 1, 1, 1)
    with cuda.device(1).current():
        k.run(PACKED, 1, 1, 1)
        k.run(PACKED, 1, 1, 1)
    assert len(fake.loaded) == 2
    assert [launch.context for launch in fake.launches] == [cuda.device(0).context, *[cuda.device(1).context] * 2]
    assert len({launch.function for launch in fake.launches}) == 2


def test_threads_launch_side_by_side(install):
    fake = FakeCuda(slots=3)
    cuda = install(fake)
    k = kernel(LaunchShape(64))
    cuda.device(0).make_current()

    def many(x: int) -> None:
        for i in range(50):
            k.run(struct.pack("<QQQ", x, x + i, x * i), x + i + 1, 1, 1)

    threads = [threading.Thread(target=many, args=(1000 * n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(fake.launches) == 200
    for launch in fake.launches:
        x, i = launch.slots[0], launch.slots[1] - launch.slots[0]
        assert launch.slots[2] == x * i and launch.grid[0] == x + i + 1


def test_the_generated_entry(install):
    fake = FakeCuda(slots=3)
    install(fake)
    k = kernel(LaunchShape(64, shared=512, cluster=(2, 1, 1), overlap=True))
    go = k.direct(", v0, v1, v2", "v0, v1, v2, ", "QqQ", lambda values: struct.pack("<QqQ", values[0], values[1], 0))
    go(6, 2, 1, 0x7F0000001000, -5, 42)
    go(8, 1, 1, 8, 9, -1)  # does not fit: packed in the other way
    first, second = fake.launches
    assert first.grid == (6, 2, 1) and first.block == (64, 1, 1) and first.shared == 512
    assert first.attributes == {4: (2, 1, 1), 6: (1, 0, 0)} and first.slots == [0x7F0000001000, 2**64 - 5, 42]
    assert second.slots == [8, 9, 0] and second.grid == (8, 1, 1)
    fake.fail["cuLaunchKernelEx"] = [719]
    with pytest.raises(CudaError, match="launching kernel add on GPU 0"):
        go(1, 1, 1, 0, 0, 0)
