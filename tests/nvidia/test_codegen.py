"""What the code generator makes of kernels, read off the PTX: vector widths, predicates, exchanges, pipelines.

The kernels and cases are those of scripts/gpu_kernels_check.py, which runs them on a GPU; here every case is compiled.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import pytest
from nvidia_cases import sources

from anytile.frontend import trace
from anytile.runtime.options import Options
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.codegen import lower
from anytile.targets.nvidia.target import make_ptx


@lru_cache(maxsize=64)
def compiled(name: str, arch: int = 90, stages: int = 3, maxnreg: int | None = None):
    """(PTX, metadata) of the first case whose name begins so."""
    cases, kernels = sources()
    case = next(c for c in cases.CASES if c.name.startswith(name))
    fn = getattr(kernels, case.kernel)
    options = Options(num_warps=case.num_warps, num_stages=stages, maxnreg=maxnreg)
    text, metadata = lower(trace(fn, *cases.specialised(case, fn.arg_names), options), options, chip(arch))
    return make_ptx(text, chip(arch)), metadata


def count(ptx: str, pattern: str) -> int:
    return len(re.findall(pattern, ptx))


def test_add_moves_16_bytes_a_thread_under_one_predicate_each():
    ptx, metadata = compiled("add_fp32_16777216")
    assert count(ptx, r"@%p\d+ ld\.global\.v4\.b32") == 4  # 1024 elements of two arrays by 128 threads
    assert count(ptx, r"@%p\d+ st\.global\.v4\.b32") == 2
    assert count(ptx, r"ld\.global|st\.global") == 6
    assert metadata["shared"] == 0 and ".reqntid 128" in ptx
    assert metadata["slots"] == ["ptr<f32>", "ptr<f32>", "ptr<f32>", "i32"]


def test_sizes_that_are_not_known_to_be_multiples_are_masked_element_by_element():
    ptx, _ = compiled("add_fp32_98432_odd")
    assert count(ptx, r"\.v[24]\.b32") == 0
    assert count(ptx, r"@%p\d+ ld\.global\.b32") == 16


def test_elements_of_one_address_are_loaded_once_a_thread():
    ptx, _ = compiled("bias")
    assert count(ptx, r"ld\.global\.v4\.b32") == 2  # 1024 elements by 128 threads
    assert count(ptx, r"ld\.global\.b32") == 1


def test_what_is_nearly_contiguous_along_the_first_dimension_is_read_along_it():
    ptx, metadata = compiled("unpad")
    assert count(ptx, r"ld\.global\.b32") == 8 and count(ptx, r"st\.global\.cg\.v4\.b32") == 2  # 32 × 32 elements by 128 threads
    assert count(ptx, r"bar\.sync") > 0 and metadata["shared"] > 0  # in between it is turned


def test_row_reductions_shuffle_and_meet_once_each():
    ptx, metadata = compiled("softmax_fp16_4096x4096")
    assert count(ptx, r"shfl\.sync\.bfly") == 10  # five for the maximum, five for the sum
    assert metadata["shared"] == 32  # one word a warp
    assert count(ptx, r"ld\.global\.v4\.b32") == count(ptx, r"st\.global\.v4\.b32") == 2
    assert count(ptx, r"\bex2\.approx") == 16


def test_a_transpose_goes_through_shared_memory_in_vectors():
    ptx, metadata = compiled("transpose_fp16_64")
    assert metadata["shared"] == 64 * 64 * 2
    assert count(ptx, r"ld\.global\.v4\.b32") == count(ptx, r"st\.global\.v4\.b32") == 4


def test_atomics_are_made_by_one_thread_for_each_element():
    ptx, _ = compiled("atomics")
    assert count(ptx, r"@%p\d+ atom\.global\.gpu\.acq_rel\.add\.f32") == 1
    assert count(ptx, r"atom\.global\.gpu\.acq_rel\.max\.s32") == count(ptx, r"atom\.global\.gpu\.acq_rel\.min\.u32") == 2


def test_a_pipelined_matmul():
    ptx, metadata = compiled("matmul_bf16_4096x4096x4096_128x256x64w8")
    tile = (128 * 64 + 64 * 256) * 2
    assert metadata["shared"] == 3 * tile
    assert count(ptx, r"wgmma\.mma_async\.sync\.aligned\.m64n256k16\.f32\.bf16\.bf16") == 4
    assert count(ptx, r"cp\.async\.cg\.shared\.global") == 2 * tile // 16 // 256  # a loop of two copies in front, one inside
    assert count(ptx, r"ld\.global") == 0 and count(ptx, r"st\.global\.v4\.b32") == 16
    assert "wgmma.wait_group.sync.aligned 1" in ptx and "cp.async.wait_group 1" in ptx
    assert count(ptx, r"mov\.b32 [^;]*, 0;") <= 64 * 256 // 128 + 4  # the zeros it begins with, once


def test_stages_make_the_ring():
    for stages in (2, 4):
        _, metadata = compiled("matmul_bf16_4096x4096x4096_128x128x64w8", stages=stages)
        assert metadata["shared"] == stages * 2 * 128 * 64 * 2
    ptx, _ = compiled("matmul_bf16_4096x4096x4096_128x128x64w8", stages=1)
    assert "cp.async" not in ptx and "wgmma" in ptx


def test_attention_keeps_probabilities_in_registers():
    ptx, _ = compiled("attention_d128_128x64w8")
    assert count(ptx, r"wgmma\.mma_async[\w.]* \{[^}]*\}, a\d") == 8  # Q·K: 8 steps along d
    assert count(ptx, r"wgmma\.mma_async") == 8 + 4  # P·V: 4 steps along the 64 keys, P from registers
    assert count(ptx, r"shfl\.sync\.bfly") == 2 * 2 * 2  # two rows a thread, maximum and sum, four lanes a row


def test_older_chips_use_their_own_tensor_cores():
    ptx, _ = compiled("matmul_bf16_4096x4096x4096_128x128x64w8", 80)
    assert "wgmma" not in ptx and count(ptx, r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32") == 64
    ptx, _ = compiled("matmul_fp16_300x200x104_64x32x32w4", 75)
    assert "mma.sync" not in ptx and "fma.rn.f32" in ptx


@pytest.mark.parametrize(
    "name", ["matmul_i8", "matmul_fp32_tf32x3", "matmul_fp64", "exchange_64", "cumsum_2x32", "reduce_i32", "control", "shapes_64"]
)
def test_compiles_for_each_generation(name):
    for arch in (75, 80, 89, 90, 120):
        ptx, _ = compiled(name, arch)
        assert f".target {chip(arch).target}" in ptx


def test_a_limit_of_registers_is_passed_on():
    assert ".maxnreg 64" in compiled("add_fp32_16777216", maxnreg=64)[0]


def test_cases_are_named_once():
    cases, kernels = sources()
    names = Counter(c.name for c in cases.CASES)
    assert max(names.values()) == 1 and all(hasattr(kernels, c.kernel) for c in cases.CASES)
