"""torch launches its own CUDA kernels from cubin files: they lie where it looks, and say what it asks.  No GPU is needed."""

import importlib

import pytest

import anytile

torch = pytest.importorskip("torch")
anytile.install()

import kernels_for_inductor as kernels  # noqa: E402

importlib.import_module("torch._inductor.config")  # Inductor is in use
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.compiler import compile as compile_  # noqa: E402

from anytile.errors import AnytileError  # noqa: E402

SIGNATURE = {"x": "*fp32", "out": "*fp32", "n": "i32", "factor": "fp32", "BLOCK": "constexpr"}


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    source = ASTSource(kernels.scale, SIGNATURE, {"BLOCK": 256}, {(0,): [["tt.divisibility", 16]]})
    try:
        return compile_(source, GPUTarget("cuda", 90, 32), {"num_warps": 4})
    except AnytileError as e:
        if "assembler" not in str(e):
            raise
        pytest.skip(str(e))


def test_the_cubin_lies_where_torch_looks(kernel, tmp_path):
    from torch._inductor.runtime.runtime_utils import triton_hash_to_path_key

    file = tmp_path / triton_hash_to_path_key(kernel.hash) / "scale.cubin"
    assert file.read_bytes() == kernel.asm["cubin"]
    # From the cache too, where only the kernel's file is left.
    file.unlink()
    compile_(kernel.src, GPUTarget("cuda", 90, 32), {"num_warps": 4})
    assert file.is_file()


def test_torch_makes_its_launcher_of_it(kernel):
    heuristics = pytest.importorskip("torch._inductor.runtime.triton_heuristics")
    if not hasattr(heuristics, "StaticTritonCompileResult"):
        pytest.skip(f"torch {torch.__version__} has no launcher for Triton kernels in general")
    result = heuristics.StaticTritonCompileResult.can_statically_launch(
        kernel, {}, {"device": None, "device_type": "cuda"}, heuristics.HeuristicType.POINTWISE
    )
    if result is None:
        pytest.skip("this build of torch has no launcher for CUDA")
    assert result.arg_tys == "OOif" and result.num_warps == 4 and result.shared == 0
    assert result.full_constexprs == [4]
