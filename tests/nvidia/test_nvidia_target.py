"""Kernels compiled for GPUs without one: stages, metadata, limits, errors."""

from __future__ import annotations

import nvidia_kernels as kernels
import pytest
from sass_text import needs_nvdisasm

from anytile.errors import OutOfResources, UnsupportedError
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget, target_object
from anytile.runtime.options import Options
from anytile.targets.nvidia import assemble, codegen, target
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.target import NvidiaTarget, make_ptx

pytestmark = pytest.mark.skipif(
    not (assemble._find_nvjitlink() or assemble._find_ptxas(chip(90))), reason="needs an assembler: pip install anytile[cuda-check]"
)

H100 = GPUTarget("cuda", 90, 32)


def compiled(target: GPUTarget = H100, **options):
    signature = {"x_ptr": "*fp32", "y_ptr": "*fp32", "out_ptr": "*fp32", "n": "i32"}
    attrs = {(i,): [["tt.divisibility", 16]] for i in range(4)}
    return compile(ASTSource(kernels.add, signature, {"BLOCK": 1024}, attrs), target=target, options=options)


@pytest.mark.parametrize("arch", [75, 80, 90, 120])
def test_stages_and_facts(arch) -> None:
    kernel = compiled(GPUTarget("cuda", arch, 32))
    assert list(kernel.asm) == ["tile", "llir", "ptx", "cubin"]
    assert f".target {chip(arch).target}" in kernel.asm["ptx"]
    assert kernel.asm["cubin"][:4] == b"\x7fELF" and kernel.kernel is kernel.asm["cubin"]
    assert kernel.asm["ttir"] == kernel.asm["tile"]
    assert kernel.metadata.shared == 0 and kernel.metadata.num_warps == 4 and kernel.metadata.target.arch == arch
    resources = kernel.metadata.resources
    assert 0 < resources["registers"] < 64 and resources["spill_loads"] == 0


@needs_nvdisasm
def test_machine_code_as_text_is_made_when_asked_for() -> None:
    kernel = compiled()
    assert "sass" not in list(kernel.asm)
    assert "LDG.E.128" in kernel.asm["sass"]
    assert "sass" in list(kernel.asm)
    with pytest.raises(KeyError, match="no stage 'amdgcn'"):
        kernel.asm["amdgcn"]


def test_options_have_the_defaults_of_cuda() -> None:
    options = Options.of({}, H100)
    assert options.default_dot_input_precision == "tf32" and options.warp_size == 32 and options.backend_name == "cuda"
    assert "fp8e4nv" in options.supported_fp8_dtypes
    assert "fp8e4nv" not in Options.of({}, GPUTarget("cuda", 80, 32)).supported_fp8_dtypes
    assert Options.of({"default_dot_input_precision": "ieee"}, H100).default_dot_input_precision == "ieee"


def test_a_chosen_ptx_version() -> None:
    assert ".version 8.4" in compiled(ptx_version=84).asm["ptx"]
    for wrong in (70, 89):
        with pytest.raises(UnsupportedError, match=f"ptx_version={wrong}"):
            compiled(ptx_version=wrong)


def test_more_shared_memory_than_a_block_may_have(monkeypatch) -> None:
    real = codegen.lower

    def greedy(module, options, chip):
        text, metadata = real(module, options, chip)
        return text, {**metadata, "shared": 300_000}

    monkeypatch.setattr(codegen, "lower", greedy)
    with pytest.raises(OutOfResources, match=f"shared memory, Required: 300000, Hardware limit: {227 * 1024}"):
        compiled(num_warps=2)


def test_an_architecture_that_is_not_known() -> None:
    with pytest.raises(UnsupportedError, match="NVIDIA architecture 42"):
        target_object(GPUTarget("cuda", 42, 32))


def test_fingerprints_tell_chips_and_tools_apart(monkeypatch) -> None:
    assert NvidiaTarget(90).fingerprint() != NvidiaTarget(80).fingerprint()
    before = NvidiaTarget(90).fingerprint()
    monkeypatch.setenv("PTXAS_OPTIONS", "-O1")
    assert NvidiaTarget(90).fingerprint() != before


def test_text_for_another_chip_is_refused_before_llvm_sees_it() -> None:
    text = "declare void @llvm.nvvm.wgmma.fence.sync.aligned()\ndefine void @f() {\n  call void @llvm.nvvm.wgmma.fence.sync.aligned()\n  ret void\n}"
    assert "wgmma.fence" in make_ptx(text, chip(90))
    with pytest.raises(UnsupportedError, match="wgmma"):
        make_ptx(text, chip(80))


def ptx_of(kernel, signature, constants=None, target: GPUTarget = H100, **options) -> str:
    constants = constants or {}
    source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants, {})
    return compile(source, target=target, options=options).asm["ptx"]


@pytest.mark.parametrize("t", ["fp16", "bf16"])
def test_descriptors_take_extrema_of_16_bit_floats_by_compare_and_swap(t) -> None:
    ptx = ptx_of(kernels.greatest, {"out_ptr": f"*{t}", "x_ptr": f"*{t}"}, {"M": 16, "N": 16})
    assert f"max.{'f16' if t == 'fp16' else t}" in ptx and "cas.b16" in ptx


def test_bf16_is_added_by_compare_and_swap_before_hopper() -> None:
    signature = {"out_ptr": "*bf16", "x_ptr": "*bf16"}
    assert "add.noftz.bf16" in ptx_of(kernels.pair_sums, signature, {"N": 128})
    ptx = ptx_of(kernels.pair_sums, signature, {"N": 128}, GPUTarget("cuda", 80, 32))
    assert "mov.b16 n, 0x3F80; fma.rn.bf16 n, o, n" in ptx and "cas.b16" in ptx  # 0x3F80 is 1


def test_combine_functions_may_assert() -> None:
    signature = {"x_ptr": "*i32", "out_ptr": "*i32"}
    assert "__assertfail" in ptx_of(kernels.checked_sum, signature, {"N": 256}, debug=True)
    assert "__assertfail" not in ptx_of(kernels.checked_sum, signature, {"N": 256})


def test_what_only_a_gpu_tells() -> None:
    ptx = ptx_of(kernels.where, {"out_ptr": "*i32"})
    assert ptx.count("%smid") == ptx.count("griddepcontrol.wait") == ptx.count("griddepcontrol.launch_dependents") == 1


def test_clusters_need_hopper() -> None:
    from anytile.runtime.options import Options

    with pytest.raises(ValueError, match=r"num_ctas > 1 requires NVIDIA SM90\+ \(Hopper\), and kernel f is compiled for SM80"):
        Options.of({"num_ctas": 2, "arch": "sm80"}, H100, "f")


def test_the_knob_of_fused_multiply_adds_is_a_default() -> None:
    from anytile.runtime import knobs
    from anytile.runtime.options import Options

    with knobs.language.scope():
        knobs.language.default_fp_fusion = False
        assert not Options.of({}, H100).enable_fp_fusion
        assert Options.of({"enable_fp_fusion": True}, H100).enable_fp_fusion
        knobs.language.force_disable_fp_fusion = True  # whatever a launch asks for
        assert not Options.of({"enable_fp_fusion": True}, H100).enable_fp_fusion


def test_offsets_in_front_of_the_first_loop_with_wgmma_are_shifted():
    """Not those inside, which the assembler makes in one instruction; nor products by what is no power of two."""
    wide = "\tmul.wide.s32 \t%rd{}, %r{}, {};"
    ptx = "\n".join(
        ["$L_0:", "\t@%p1 bra \t$L_0;", wide.format(1, 2, 4), wide.format(3, 4, 12)]
        + ["$L_1:", wide.format(5, 6, 4), "\twgmma.mma_async;", "\t@%p2 bra \t$L_1;"]
    )
    shifted = "\t{ .reg .b64 wide; cvt.s64.s32 wide, %r2; shl.b64 %rd1, wide, 2; }"
    assert target._with_shifts(ptx) == ptx.replace(wide.format(1, 2, 4), shifted)
    assert target._with_shifts(wide.format(1, 2, 4)) == wide.format(1, 2, 4)
