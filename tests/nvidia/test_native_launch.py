"""Native launches on a GPU: what the driver is handed, and when they do not happen."""

from __future__ import annotations

import ctypes
import threading

import pytest
from fake_cuda import FakeCuda

from anytile.native.launcher import Native, NotNative, Row
from anytile.targets.nvidia.launch import CudaKernel, LaunchShape

torch = pytest.importorskip("torch")

FLOAT32, CPU_AS_DLPACK = 0x12002, 1  # 1 lane of 32 bits of the code for floats; the device, as tensors of these tests lie on the CPU


def launcher(kernel: CudaKernel, slots: int, rows: list[Row], general=None, current=None, alive=None):
    """A native launcher of GPU 0 with one entry."""
    stream = {0: 0x55}.__getitem__  # a function of C that takes the number of a GPU, like torch's for the current stream
    native = Native(
        torch.empty(0), (torch.Tensor, torch.nn.Parameter), stream, current, {"launch_enter_hook": [], "launch_exit_hook": []}, {}, b"X"
    )
    bind, entries = native.function(general or (lambda *args, **options: ("general", args, options)))
    entries.append(
        native.entry(
            len(rows), (), rows, bytes(8 * slots), "kernel", alive or ctypes.c_int64(1), None, {}, lambda grid: (*grid, 1, 1), 0,
            kernel.queue(slots), None,
        )
    )  # fmt: skip
    return lambda grid, *args, **options: bind(grid)(*args, **options)


def rows() -> list[Row]:
    return [
        Row("exchanged", 0, 0, "x", FLOAT32, CPU_AS_DLPACK),
        Row("integer", 1, 1, "n", -(2**31), 2**31 - 1, 1, 1, 2),
        Row("float32", 2, 2, "f"),
        Row("float64", 3, 3, "d"),
    ]


def test_what_the_driver_is_handed(install):
    fake = FakeCuda(slots=4)
    install(fake)
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128, 1024, (2, 1, 1), True, True), {}), 4, rows())
    x = torch.empty(8)
    assert launch((7, 2), x, -5, 1.5, 2.5) == "kernel"
    assert launch((1,), x, 3, -1e300, 2.5) == "kernel"
    first, second = fake.launches
    assert first.grid == (7, 2, 1) and first.block == (128, 1, 1) and first.shared == 1024 and first.stream == 0x55
    assert first.attributes == {2: (1, 0, 0), 4: (2, 1, 1), 6: (1, 0, 0)}
    assert first.slots == [x.data_ptr(), 2**64 - 5, 0x3FC00000, 0x4004000000000000]
    assert second.grid == (1, 1, 1) and second.slots[2] == 0xFF800000  # as a float of 32 bits: minus infinity


def test_what_is_not_the_entrys_goes_the_general_way(install):
    fake = FakeCuda(slots=4)
    install(fake)
    alive = ctypes.c_int64(1)
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {}), 4, rows(), alive=alive)
    x = torch.empty(8)
    for call in ((x.double(), 3, 1.0, 1.0), (x, 16, 1.0, 1.0), (x, 1, 1.0, 1.0), (x, 3, 1, 1.0), (x, 3, 1.0), (None, 3, 1.0, 1.0)):
        assert launch((1,), *call) == ("general", ((1,), *call), {})
    assert launch((1,), x, 3, 1.0, d=1.0) == ("general", ((1,), x, 3, 1.0), {"d": 1.0})
    alive.value = 0
    assert launch((1,), x, 3, 1.0, 1.0)[0] == "general"
    assert fake.launches == []


def test_a_refused_launch_goes_the_general_way_which_reports_it(install):
    fake = FakeCuda(slots=4, fail={"cuLaunchKernelEx": [719]})
    install(fake)
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {}), 4, rows())
    assert launch((1,), torch.empty(8), 3, 1.0, 1.0)[0] == "general"
    assert launch((1,), torch.empty(8), 3, 1.0, 1.0) == "kernel"


def test_another_gpu_is_current(install):
    fake = FakeCuda(slots=4)
    install(fake)
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {}), 4, rows(), current=[].__sizeof__)
    assert launch((1,), torch.empty(8), 3, 1.0, 1.0)[0] == "general"  # a number, but not 0
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {}), 4, rows(), current=[].copy)
    assert launch((1,), torch.empty(8), 3, 1.0, 1.0)[0] == "general"  # which is no number


def test_threads_launch_side_by_side(install):
    fake = FakeCuda(slots=4)
    install(fake)
    launch = launcher(CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {}), 4, rows())
    x = torch.empty(8)

    def many(k: int) -> None:
        for i in range(100):
            launch((1 + k,), x, 1000 * k + 2 * i + 33 | 1, float(k), 0.0)

    threads = [threading.Thread(target=many, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(fake.launches) == 400
    assert all(one.slots[1] // 1000 == one.grid[0] - 1 and one.slots[3] == 0 for one in fake.launches)


def test_kernels_with_tensor_maps_stay_with_python(install):
    install(FakeCuda(slots=1))
    kernel = CudaKernel(b"\x7fELF", "add", "add", 4, LaunchShape(128), {})
    kernel.metadata = {"tensor_maps": [1]}
    with pytest.raises(NotNative, match="kernel add has tensor maps"):
        kernel.queue(4)


def test_functions_of_python_are_not_taken_for_functions_of_c():
    with pytest.raises(NotNative, match="is no C function of the expected kind"):
        Native(torch.empty(0), (torch.Tensor, torch.nn.Parameter), lambda ordinal: 0, None, {}, {}, b"X")
