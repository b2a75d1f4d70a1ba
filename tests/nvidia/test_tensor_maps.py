"""The tensor memory accelerator: which accesses it makes, by which maps, and what the launcher makes of arguments."""

from __future__ import annotations

import re
import struct

import nvidia_kernels as kernels
import pytest
from fake_cuda import FakeCuda
from sass_text import needs_nvdisasm

from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.targets.nvidia.copies import Source
from anytile.targets.nvidia.encode_maps import MapArguments, value
from anytile.targets.nvidia.launch import CudaKernel, LaunchShape
from anytile.targets.nvidia.target import NvidiaTarget
from anytile.targets.nvidia.tensor_maps import TensorMap
from anytile.targets.nvidia.wgmma import Panels


def passed(kind="bf16", m=128, n=256, k=64, turned=False, arch=90, warps=8):
    """`nvidia_kernels.windows` of a host's descriptors."""
    rows, columns = (n, k) if turned else (k, n)
    constants = {"M": m, "N": n, "K": k, "TURNED": turned}
    signature = {
        "a": f"tensordesc<{kind}[{m},{k}]>", "b": f"tensordesc<{kind}[{rows},{columns}]>", "c": f"tensordesc<{kind}[{m},{n}]>", "k": "i32",
        **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    source = ASTSource(kernels.windows, signature, constants, {})
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": 3})


def made(padding="zero", far=False, tells=False):
    """`nvidia_kernels.made_windows`, nothing known of its integers."""
    constants = {"M": 64, "N": 64, "K": 32, "PADDING": padding, "FAR": far, "TELLS": tells}
    signature = {
        "a_ptr": "*i64" if far else "*fp16", "b_ptr": "*fp16", "c_ptr": "*fp16", "m": "i32", "n": "i32", "k": "i32",
        **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    source = ASTSource(kernels.made_windows, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 3})


def copied(kernel) -> tuple[int, int, int]:
    """How often the PTX has: boxes to shared memory, boxes from there, copies by threads."""
    ptx = kernel.asm["ptx"]
    tensor = re.findall(r"cp\.async\.bulk\.tensor\.[2-5]d\.(\w+)", ptx)
    return tensor.count("shared"), tensor.count("global"), len(re.findall(r"cp\.async\.c[ag]\.", ptx))


@pytest.mark.parametrize("turned, boxes", [(False, 5), (True, 2)])
def test_tiles_of_descriptors(turned, boxes):
    """A panel of 128 bytes a box: A has one, B four along n, or one along k; three stages are two of them ahead and one in the loop."""
    kernel = passed(turned=turned)
    assert copied(kernel) == (3 * boxes, 4, 0)
    assert kernel.metadata.resources["stack"] == 0 and kernel.metadata.shared == 3 * ((128 + 256) * 64 * 2 + 8)
    b, a, c = kernel.metadata.tensor_maps  # in the order in which they are asked for
    assert (a["box"], a["swizzle"], a["stored"]) == ((128, 64), 128, False)
    assert b["box"] == ((256, 64) if turned else (64, 64)) and c["box"] == (128, 64) and c["stored"]
    assert a["base"] == ("argument", 0) and a["extents"] == (("argument", 1), ("argument", 2)) and a["strides"] == (("argument", 3),)


@pytest.mark.parametrize("stages, apart", [(3, 64 << 10), (4, 0)])
def test_a_loop_over_tiles(stages, apart):
    """What is stored has shared memory of its own, where there is enough; the rings' barriers go on counting."""
    constants = {"M": 128, "N": 256, "K": 64}
    kinds = {"a": "tensordesc<bf16[128,64]>", "b": "tensordesc<bf16[256,64]>", "c": "tensordesc<bf16[128,256]>"}
    signature = {**kinds, "k": "i32", "tiles": "i32", "columns": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(kernels.persistent, signature, constants, {})
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "num_stages": stages})
    assert copied(kernel) == (2 * stages, 4, 0)
    assert kernel.metadata.shared == stages * (128 + 256) * 64 * 2 + apart + 8 * stages
    ptx = kernel.asm["ptx"]
    assert ptx.count("mbarrier.init") == ptx.count("mbarrier.test_wait") == stages and "mbarrier.inval" not in ptx
    assert kernel.metadata.resources["stack"] == 0
    text = kernel.asm["llir"]  # a phase may only be asked for while no copy can begin: before the barrier of threads
    asked, begun = text.rindex("mbarrier.test_wait"), text.index("mbarrier.arrive.expect_tx")
    assert text.rindex("call void @llvm.nvvm.barrier", 0, begun) > asked > text.index("mbarrier.init")


def test_descriptors_of_more_dimensions():
    constants = {"M": 64, "N": 128, "K": 64}
    kinds = {"a": "tensordesc<fp16[1,64,64]>", "b": "tensordesc<fp16[1,1,128,64]>", "c": "tensordesc<fp16[1,64,128]>"}
    source = ASTSource(kernels.batched, {**kinds, "k": "i32", **dict.fromkeys(constants, "constexpr")}, constants, {})
    kernel = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 3})
    assert copied(kernel) == (6, 2, 0)
    assert [m["box"] for m in kernel.metadata.tensor_maps] == [(1, 64, 64), (1, 1, 128, 64), (1, 64, 64)]
    assert set(re.findall(r"bulk\.tensor\.\dd\.\w+", kernel.asm["ptx"])) == {
        "bulk.tensor.3d.shared",
        "bulk.tensor.4d.shared",
        "bulk.tensor.3d.global",
    }


@needs_nvdisasm
def test_machine_code_of_tiles_of_descriptors():
    sass = passed().asm["sass"]
    found = {name: len(re.findall(rf"\b{name}\b", sass)) for name in ("UTMALDG", "UTMASTG", "HGMMA", "STSM", "LDGSTS", "STG", "LDL", "STL")}
    assert found == {"UTMALDG": 15, "UTMASTG": 4, "HGMMA": 4, "STSM": 16, "LDGSTS": 0, "STG": 0, "LDL": 0, "STL": 0}


@pytest.mark.parametrize(
    "kind, m, n, k, turned, found",
    [
        ("fp16", 64, 64, 32, False, (6, 1, 0)),  # rows of 64 bytes
        ("fp16", 32, 32, 16, True, (6, 1, 0)),  # of 32; by mma.sync
        ("fp8e5", 128, 128, 128, True, (6, 1, 0)),
        ("fp32", 64, 64, 32, True, (6, 2, 0)),
        ("fp32", 64, 64, 32, False, (3, 2, 48)),  # B is read as fragments from an arrangement of its own
    ],
)
def test_other_tiles_of_descriptors(kind, m, n, k, turned, found):
    assert copied(passed(kind, m, n, k, turned, warps=4)) == found


def test_where_there_is_no_accelerator(monkeypatch):
    assert copied(passed(arch=80))[:2] == (0, 0)
    before = NvidiaTarget(90).fingerprint()
    monkeypatch.setenv("ANYTILE_TMA", "0")
    assert NvidiaTarget(90).fingerprint() != before
    assert copied(passed())[:2] == (0, 0)


def test_descriptors_made_in_the_kernel():
    """Their parts follow from the arguments, so the launcher makes the same maps."""
    kernel = made()
    assert copied(kernel) == (6, 1, 0)
    b, a, c = kernel.metadata.tensor_maps
    arguments = [0x1000, 0x2000, 0x3000, 100, 48, 40]
    assert [value(f, arguments) for f in (a["base"], *a["extents"], *a["strides"])] == [0x1000, 100, 40, 40]
    assert [value(f, arguments) for f in (b["base"], *b["extents"], *b["strides"])][0] == 0x2000
    assert value(b["extents"][1], arguments) == 24 and value(b["strides"][0], arguments) == 56 and value(c["strides"][0], arguments) == 48


@pytest.mark.parametrize(
    "what, found",
    [
        ({"padding": "nan"}, (3, 1)),  # A's padding is not what the accelerator gives
        ({"far": True}, (3, 1)),  # the launcher cannot know A's base
        ({"tells": True}, (6, 0)),  # an ordinary store is seen by who waits at the barrier
    ],
)
def test_left_to_the_threads(what, found):
    assert copied(made(**what))[:2] == found


# --- the launcher ------------------------------------------------------------------------------------------------------


def test_formulas():
    stride = ("mul", 64, ("sext", 64, ("add", 32, ("argument", 0), ("constant", 8))), ("constant", 2))
    assert value(stride, [40]) == 96 and value(stride, [2**31 - 1]) == 2 * (7 - 2**31)  # as the kernel's integers wrap
    assert [value(("sdiv", 32, ("argument", 0), ("argument", 1)), x) for x in ([7, 2], [-7, 2], [7, 0])] == [3, -3, 0]
    assert value(("trunci", 32, ("sub", 64, ("argument", 0), ("argument", 1))), [5, 7]) == -2


TILE = {
    "base": ("argument", 0), "extents": [("argument", 1), ("argument", 2)], "strides": [("argument", 3)], "size": 2, "box": [128, 64],
    "swizzle": 128, "stored": False,
}  # fmt: skip
SLOTS = ["ptr<bf16>", "i32", "i32", "i64"]


def block(*values: int) -> bytes:
    return struct.pack("<Qqqq", *values)


def test_maps_of_arguments(install):
    fake = FakeCuda()
    maps = MapArguments([TILE, {**TILE, "swizzle": 0, "box": [16, 8]}], SLOTS, install(fake).device(0))
    got = maps(block(0x7F0000001000, 300, 200, 256))
    assert got is not None and len(got) == 256 and (got[0], got[128]) == (1, 2)
    first, second = fake.encoded
    assert first == {"type": 1, "base": 0x7F0000001000, "extents": (200, 300), "strides": (512,), "box": (64, 128), "swizzle": 3}
    assert second["box"] == (8, 16) and second["swizzle"] == 0
    assert maps(block(0x7F0000001000, 300, 200, 256)) is got and len(fake.encoded) == 2  # remembered
    maps(block(0x7F0000001000, 1, 200, 7))
    assert fake.encoded[2]["strides"] == (16,)  # of one row, of which nobody takes a step


def test_a_map_of_three_dimensions(install):
    fake = FakeCuda()
    device = install(fake).device(0)
    slots = ["ptr<bf16>", *["i32"] * 3, *["i64"] * 2]
    tile = {**TILE, "extents": [("argument", i) for i in (1, 2, 3)], "strides": [("argument", i) for i in (4, 5)], "box": [1, 128, 64]}
    assert MapArguments([tile], slots, device)(struct.pack("<Q5q", 0x1000, 7, 300, 200, 76800, 256)) is not None
    (made,) = fake.encoded
    assert made["extents"] == (200, 300, 7) and made["strides"] == (512, 153600) and made["box"] == (64, 128, 1)


def test_empty_tensors_lie_on_the_gpu_of_the_launch(install):
    fake = FakeCuda(arches=(90, 90), slots=4, maps=1)
    install(fake)
    kernel = CudaKernel(b"\x7fELF", "tile", "tile", 4, LaunchShape(128), {"tensor_maps": [TILE], "slots": SLOTS})
    for ordinal in (0, 1):
        kernel.prepare(ordinal)(block(0, 0, 200, 256), 7, 1, 1)
    assert [made["base"] for made in fake.encoded] == [0xDD0000, 0xDE0000]
    assert [made["extents"] for made in fake.encoded] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("values", [(0x1008, 300, 200, 256), (0x1000, 300, 200, 100), (0x1000, 300, 200, -256)])
def test_tensors_that_no_map_describes(install, values):
    fake = FakeCuda()
    device = install(fake).device(0)
    assert MapArguments([TILE], SLOTS, device)(block(*values)) is None and not fake.encoded
    fake.fail["cuTensorMapEncodeTiled"] = [1]
    assert MapArguments([TILE], SLOTS, device)(block(0x1000, 300, 200, 256)) is None  # the driver refuses


@pytest.mark.parametrize("direct", [False, True])
def test_launches_with_maps(install, direct):
    fake = FakeCuda(slots=4, maps=1)
    install(fake)
    other = FakeLaunches()
    metadata = {"tensor_maps": [TILE], "slots": SLOTS}
    kernel = CudaKernel(b"\x7fELF", "tile", "tile", 4, LaunchShape(128), metadata, lambda: other)  # type: ignore[arg-type,return-value]
    good, bad = (0x1000, 300, 200, 256), (0x1008, 300, 200, 256)
    if direct:
        go = kernel.direct(", v0, v1, v2, v3", "v0, v1, v2, v3, ", "Qqqq", lambda values: block(*values))
        for values in (good, good, bad):
            go(7, 1, 1, *values)
    else:
        for values in (good, good, bad):
            kernel.run(block(*values), 7, 1, 1)
    assert [launch.slots for launch in fake.launches] == [list(good)] * 2
    assert [launch.maps[0][0] for launch in fake.launches] == [1, 1]
    assert other.launched == [(block(*bad), 7, 1, 1)]


class FakeLaunches:
    def __init__(self) -> None:
        self.launched: list[tuple[bytes, int, int, int]] = []

    def run(self, packed: bytes, gx: int, gy: int, gz: int, stream: int | None = None) -> None:
        self.launched.append((packed, gx, gy, gz))


def test_the_kernel_without_maps_is_compiled_from_the_tile_ir(monkeypatch):
    kernel = made()
    target = NvidiaTarget(90)
    monkeypatch.setattr(NvidiaTarget, "load", lambda self, artifact: artifact)
    from anytile.targets.base import Artifact

    found = target._instead(Artifact(dict(kernel.asm), {"instead": {"num_warps": 4, "num_stages": 3}}))
    assert found.metadata["tensor_maps"] == [] and found.metadata["slots"] == kernel.metadata.slots  # type: ignore[attr-defined]
    assert "cp.async.bulk" not in found.stages["ptx"]  # type: ignore[attr-defined]


# --- arrangement in shared memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 64), (128, 256), (32, 512), (512, 32), (64, 16), (8, 8)])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("inner", [0, 1])
def test_boxes_fill_the_panels(shape, size, inner):
    """Each box, as the accelerator lays it out, is where the panels say: chunks of 16 bytes xored by address bits 7 and above."""
    form = Panels(shape, size, inner)
    outer_extent, inner_extent = shape[1 - inner], shape[inner]
    if form.row < 16 or (form.row < inner_extent * size and form.panel % 1024):
        pytest.skip("no box of the accelerator's")
    swizzle = form.row if form.row > 16 else 0
    rows, columns = min(outer_extent, 256), form.width
    map_ = TensorMap(("argument", 0), (("argument", 1), ("argument", 2)), (("argument", 3),), size, (rows, columns), swizzle)
    seen = {}
    for i, j, begin in Source(None, map_, form).boxes():  # type: ignore[arg-type]
        for y in range(rows):
            for x in range(0, columns, 16 // size):
                at = begin + (y * columns + x) * size
                seen[i + y, j + x] = at ^ (((at >> 7) & (max(swizzle, 16) // 16 - 1)) << 4)
    assert len(seen) == outer_extent * inner_extent * size // 16
    for (y, x), at in seen.items():
        flat = y * shape[1] + x if inner == 1 else x * shape[1] + y
        assert form.offset(flat) == at
