"""What `launches.compare` sees: differences, and reads beyond the memory of an argument."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anytile

anytile.install()

from block_kernels import blocks  # noqa: E402
from launches import Array, Launch, View, compare, ordered  # noqa: E402
from loop_kernels import loops  # noqa: E402
from matrix_kernels import attention, matmul  # noqa: E402
from row_kernels import line, rows  # noqa: E402

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef kernel(x, out, n, N: tl.constexpr):\n    i = tl.arange(0, N)\n"


def copies(body: str, n: int, *, view: bool = False) -> Launch:
    x = Array("fp32", np.arange(32))
    out = View("x", 16) if view else Array("fp32", np.zeros(32, np.int64))
    return Launch(HEAD + body, {"x": x, "out": out, "n": n}, {"N": 32})


def test_both_targets_see_the_same_memory() -> None:
    assert not compare(copies("    tl.store(out + i, tl.load(x + i, mask=i < n, other=1), mask=i < n)\n", 16, view=True))


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second target's arguments are another number."""
    import launches

    right = launches._run

    def wrong(launch: Launch, module, options, on, *rest):  # noqa: ANN001, ANN002, ANN202
        return right(copies("", 31) if on.backend == "cpu" else launch, module, options, on, *rest)

    monkeypatch.setattr(launches, "_run", wrong)
    text = compare(copies("    tl.store(out + i, tl.load(x + i), mask=i < n)\n", 32))
    assert text == "out: 1 of 32 differ, first at 31: 0.0 instead of 31.0"


def test_stores_have_barriers_on_both_sides() -> None:
    launch = ordered(copies("    if n > 3:\n        tl.store(out + i, tl.load(x + i))\n", 7))
    barrier = "        tl.debug_barrier()\n"
    assert f"    if n > 3:\n{barrier}        tl.store(out + i, tl.load(x + i))\n{barrier}" in launch.source
    assert not compare(launch)


class GpuMemory:
    """Stands for a GPU's memory: an address, and what was written."""

    def __init__(self, device: object, size: int):
        self.size, self.address, self.data = size, 1 << 40, bytearray(size)

    def write(self, data: bytes) -> None:
        self.data[: len(data)] = data

    def read(self) -> bytes:
        return bytes(self.data)


def test_writing_beside_an_array_of_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import launches

    from anytile.targets.nvidia import driver_api

    monkeypatch.setattr(driver_api, "DeviceMemory", GpuMemory)
    monkeypatch.setattr(driver_api, "cuda", lambda: type("Cuda", (), {"device": staticmethod(lambda i: None)}))
    array = np.arange(7, dtype=np.int32)
    memory = launches._on_gpu(array)
    assert np.array_equal(launches._from_gpu(memory, array, "x"), array)
    for at in (launches.FENCE - 1, launches.FENCE + array.nbytes):
        was, memory.data[at] = memory.data[at], 0
        with pytest.raises(AssertionError, match="the kernel wrote beside x"):
            launches._from_gpu(memory, array, "x")
        memory.data[at] = was


@pytest.mark.skipif(sys.platform == "win32", reason="pages are not protected there")
def test_reading_beyond_the_end_ends_the_process() -> None:
    program = (
        f"import sys; sys.path[:0] = {[str(p) for p in Path(__file__).parents[:2]]!r}\n"
        "import anytile; anytile.install()\n"
        "from test_launches import copies; from launches import compare\n"
        "compare(copies('    tl.store(out + i, tl.load(x + 4 + i))\\n', 7))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode < 0, done.stderr


@pytest.mark.parametrize("make", [matmul, attention, rows, line, blocks, loops])
def test_a_seed_determines_its_kernel(make) -> None:  # noqa: ANN001
    assert make(7).source == make(7).source
    assert len({make(seed).source for seed in range(12)}) > 6


TABLE = """import triton
import triton.language as tl


@triton.jit
def kernel(table, x, out, R: tl.constexpr, C: tl.constexpr, DIVIDES: tl.constexpr):
    i, c = tl.arange(0, R), tl.arange(0, C)
    row = tl.load(table + i)
    if DIVIDES:
        row = (64 // (R - i)) % R
    tl.store(out + i[:, None] * C + c[None, :], tl.load(x + row[:, None] * C + c[None, :]) * 2)
"""


@pytest.mark.parametrize("divides", [False, True])
def test_rows_requested_ahead_are_those_of_the_tile(divides: bool) -> None:
    """Behind the table's last row is nothing to read, and behind the tile's last row a zero to divide by."""
    table, x = Array("i32", np.arange(16)[::-1].copy()), Array("fp32", np.arange(16 * 32))
    arguments = {"table": table, "x": x, "out": Array("fp32", np.zeros(16 * 32, np.int64))}
    assert not compare(Launch(TABLE, arguments, {"R": 16, "C": 32, "DIVIDES": divides}))
