"""Which instruction multiplies what: element types, arrangements in memory, accumulators, precisions; read off the PTX."""

from __future__ import annotations

import re

import nvidia_kernels as kernels
import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit

_HOPPER = GPUTarget("cuda", 90, 32)


def product(x: str, out: str, m: int, n: int, k: int, *, precision=None, turned=(False, False), imprecise=None, warps=4, arch=90):
    """The compiled kernel `nvidia_kernels.product`."""
    kinds = {"fp32": tl.float32, "fp16": tl.float16, "i32": tl.int32}
    constants = {
        "M": m, "N": n, "K": k, "PRECISION": precision, "OUT": kinds[out],
        "TURN_X": turned[0], "TURN_Y": turned[1], "IMPRECISE": imprecise,
    }  # fmt: skip
    signature = {"x_ptr": f"*{x}", "y_ptr": f"*{x}", "out_ptr": f"*{out}", "steps": "i32", **dict.fromkeys(constants, "constexpr")}
    attrs = {(i,): [["tt.divisibility", 16]] for i in range(3)}
    source = ASTSource(kernels.product, signature, constants, attrs)
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps})


def instructions(kernel) -> set[str]:
    return set(re.findall(r"(?:wg)?mma[.\w]*\.sync\.aligned\.m[\w.]*", kernel.asm["ptx"]))


@pytest.mark.parametrize(
    "x, out, precision, made",
    [
        ("i8", "i32", None, "m64n128k32.s32.s8.s8.satfinite"),
        ("fp8e5", "fp32", None, "m64n128k32.f32.e5m2.e5m2"),
        ("fp8e4nv", "fp32", None, "m64n128k32.f32.e4m3.e4m3"),
        ("fp16", "fp16", None, "m64n128k16.f16.f16.f16"),
        ("bf16", "fp32", None, "m64n128k16.f32.bf16.bf16"),
        ("fp32", "fp32", "tf32", "m64n128k8.f32.tf32.tf32"),
        ("fp32", "fp32", "bf16x3", "m64n128k16.f32.bf16.bf16"),
    ],
)
def test_hopper_multiplies_by_warpgroup(x, out, precision, made):
    kernel = product(x, out, 128, 128, 64, precision=precision)
    assert instructions(kernel) == {f"wgmma.mma_async.sync.aligned.{made}"}
    assert kernel.metadata.resources["stack"] == 0 or precision == "bf16x3"


@pytest.mark.parametrize(
    "x, out, precision, made",
    [
        ("i8", "i32", None, "m16n8k32.row.col.satfinite.s32.s8.s8.s32"),
        ("fp16", "fp16", None, "m16n8k16.row.col.f16.f16.f16.f16"),
        ("fp16", "fp32", None, "m16n8k16.row.col.f32.f16.f16.f32"),
        ("fp32", "fp32", "tf32", "m16n8k8.row.col.f32.tf32.tf32.f32"),
        ("fp32", "fp32", "bf16x6", "m16n8k16.row.col.f32.bf16.bf16.f32"),
    ],
)
@pytest.mark.parametrize("arch", [80, 90])
def test_small_tiles_and_ampere_multiply_by_warp(x, out, precision, made, arch):
    assert instructions(product(x, out, 32, 32, 32, precision=precision, arch=arch)) == {f"mma.sync.aligned.{made}"}


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, True)])
def test_tf32_needs_one_operand_contiguous_along_k(turned):
    """B along n: the product is turned and B comes from registers, read from the ring without conflicts."""
    kernel = product("fp32", "fp32", 128, 128, 32, precision="tf32", turned=turned)
    assert instructions(kernel) == {"wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32"}
    ptx = kernel.asm["ptx"]
    from_registers = re.findall(r"wgmma\.mma_async[\w.]* \{[^}]*\}, \{", ptx)
    assert bool(from_registers) == (turned == (False, False))
    if turned != (True, True):  # A along m cannot be copied as it is
        assert "cp.async.wait_group" in ptx


def test_tf32_with_neither_operand_along_k_is_multiplied_by_warp():
    kernel = product("fp32", "fp32", 128, 128, 32, precision="tf32", turned=(True, False), warps=8)
    assert instructions(kernel) == {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"}


@pytest.mark.parametrize("x", ["fp8e4b8", "fp8e4b15", "fp8e5b16"])
def test_fp8_without_an_instruction_is_multiplied_as_f16(x):
    assert instructions(product(x, "fp32", 64, 64, 64)) == {"wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16"}
    assert instructions(product(x, "fp32", 64, 64, 64, arch=80)) == {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"}


def test_partial_sums_of_fp8_move_on_in_f32():
    """An addition for each of a thread's 128 elements and each 32 products."""
    ptx = product("fp8e5", "fp32", 128, 128, 64, imprecise=32).asm["ptx"]
    assert ptx.count("add.f32") == 128 * 128 // 128 * (64 // 32)
    assert "add.f32" not in product("fp8e5", "fp32", 128, 128, 64).asm["ptx"]


def test_infinities_of_split_floats_stay():
    """inf − bf16(inf) is NaN: the sum of the small products is dropped where it is."""
    tile = product("fp32", "fp32", 32, 32, 32, precision="bf16x3").asm["llir"]
    assert "fcmp oeq float" in tile


@pytest.mark.parametrize("fmt, made", [("bf16", "f32.bf16.bf16"), ("fp16", "f32.f16.f16"), ("e5m2", "f32.bf16.bf16")])
def test_scaled_dots_are_products_of_16_bit_floats(fmt, made):
    y = {"bf16": "*bf16", "fp16": "*fp16", "e5m2": "*u8"}[fmt]
    constants = {"M": 64, "N": 64, "K": 64, "FORMAT": fmt}
    signature = {"x_ptr": "*u8", "sx_ptr": "*u8", "y_ptr": y, "out_ptr": "*fp32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(kernels.scaled_product, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(4)})
    found = instructions(compile(source, target=_HOPPER, options={}))
    assert found and all(made in i for i in found)


def test_scalars_are_printed_by_every_thread():
    ptx = compile(ASTSource(kernels.say, {"x_ptr": "*i32"}, {}, {}), target=_HOPPER, options={}).asm["ptx"]
    assert ptx.count("vprintf,") == 2 and "bra" not in ptx.replace("bra.uni", "")


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("x, arch, m", [("bf16", 80, 128), ("fp16", 89, 64), ("bf16", 90, 32), ("fp32", 120, 64)])
def test_rings_of_dots_by_warp_are_read_by_ldmatrix(x, arch, m, turned):
    """Copied ahead, 16 bytes a thread; transposed where an operand is not contiguous along k."""
    if x == "fp32" and turned != (False, True):
        pytest.skip("ldmatrix transposes 16-bit elements only")
    kernel = product(x, "fp32", m, 64, 32, precision="tf32", turned=turned, arch=arch)
    ptx = kernel.asm["ptx"]
    straight, transposed = (len(re.findall(rf"ldmatrix\.sync\.aligned\.m8n8\.x\d{t}\.shared", ptx)) for t in ("", r"\.trans"))
    assert bool(straight) == (turned != (True, False)) and bool(transposed) == (turned != (False, True))
    assert "cp.async.wait_group 1" in ptx and "ld.global" not in ptx
    assert kernel.metadata.resources["stack"] == 0


def test_turing_has_no_copies_ahead():
    assert "cp.async" not in product("fp16", "fp32", 64, 64, 32, arch=75).asm["ptx"]


def test_small_tiles_are_copied_in_smaller_pieces():
    """16×16 elements of 16 bits by 128 threads: two each, in the loop and in the loop in front of it."""
    ptx = product("bf16", "fp32", 16, 16, 16).asm["ptx"]
    assert len(re.findall(r"cp\.async\.ca\.shared\.global \[%\w+\+\d+\], \[%\w+\], 4", ptx)) == 2 + 2 and "cp.async.cg" not in ptx


@jit
def masked_product(x_ptr, y_ptr, out_ptr, k, B: tl.constexpr):
    i = tl.arange(0, B)
    acc = tl.zeros((B, B), tl.float32)
    for start in range(0, k, B):
        x = tl.load(x_ptr + i[:, None] * k + (start + i)[None, :], mask=(start + i)[None, :] < k, other=0.0)
        y = tl.load(y_ptr + i[None, :] * k + (start + i)[:, None], mask=(start + i)[:, None] < k, other=0.0)
        acc = tl.dot(x, y, acc)
    tl.store(out_ptr + i[:, None] * B + i[None, :], acc)


@pytest.mark.parametrize("kind", ["fp8e5", "fp8e4nv", "bf16"])
def test_masked_operands_are_copied_ahead(kind):
    """Zeros for what the mask leaves out: cp.async writes them, in 8-bit formats too, whose constants are bit patterns."""
    signature = {"x_ptr": f"*{kind}", "y_ptr": f"*{kind}", "out_ptr": "*fp32", "k": "i32", "B": "constexpr"}
    source = ASTSource(masked_product, signature, {"B": 128}, {(i,): [["tt.divisibility", 16]] for i in range(4)})
    ptx = compile(source, target=_HOPPER, options={"num_warps": 8}).asm["ptx"]
    assert "cp.async.wait_group" in ptx and "wgmma" in ptx and "ld.global" not in ptx


def test_a_loop_computes_only_what_it_changes():
    """Offsets of rows and columns are computed in front of the loop, once for the copies ahead of it and those in it."""
    bodies = set()
    lines = []
    for stages in (2, 3, 4):
        constants = {"M": 64, "N": 64, "K": 32, "PRECISION": None, "OUT": tl.float32, "TURN_X": False, "TURN_Y": False, "IMPRECISE": None}
        signature = {"x_ptr": "*fp16", "y_ptr": "*fp16", "out_ptr": "*fp32", "steps": "i32", **dict.fromkeys(constants, "constexpr")}
        source = ASTSource(kernels.product, signature, constants, {(i,): [["tt.divisibility", 16]] for i in range(3)})
        text = compile(source, target=_HOPPER, options={"num_warps": 4, "num_stages": stages}).asm["llir"]
        bodies.add(text[text.index("\nfor") : text.index("\ndone")].count("\n"))
        lines.append(text.count("\n"))
    assert len(bodies) == 1
    assert lines[1] == lines[2] < lines[0] + 20  # a loop makes the copies of all stages
