"""What `import triton` refuses by name, and small names that only some releases have."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import anytile
import anytile.language as tl
from anytile.errors import UnsupportedError
from anytile.language.extra import cuda
from anytile.runtime.jit import jit


@pytest.fixture(autouse=True, scope="module")
def installed():
    anytile.install()


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("triton.profiler.language", r"part of Proton is not supported by anytile: .*sessions, scopes and states"),
        ("triton.tools.build_extern", r"bitcode, is not supported by anytile; triton\.language\.extra\.libdevice"),
        ("triton.runtime.build", r"is not supported by anytile: it needs no C compiler"),
    ],
)
def test_modules(module, says):
    with pytest.raises(ModuleNotFoundError, match=says):
        importlib.import_module(module)


def test_an_attribute_of_the_package():
    import triton

    assert not triton.jit(through_e4b15.fn).is_gluon()
    with pytest.raises(AttributeError, match=r"triton\.tools\.build_extern, which .* is not supported"):
        triton.tools.build_extern  # noqa: B018


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("k.ttir", "module {\n  tt.func public @k(%x: !tt.ptr<f32>) {\n    tt.return\n  }\n}", "TTIR"),
        ("k.ttir", "#loc = loc(unknown)\nmodule {}", "TTIR"),
        ("k.ttgir", "module {}", "TTGIR"),
        ("k.llir", "define void @k() {}", "LLVM IR"),
        ("k.ptx", ".version 8.0", "PTX"),
    ],
)
def test_text_of_tritons_stages(name, text, kind, tmp_path):
    import triton

    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UnsupportedError, match=rf"compiling {kind} text \({name}\) is not supported on anytile; compile the Python kernel"):
        triton.compile(str(path))


def test_measuring_by_proton_and_comparing_with_cublas():
    from anytile import testing

    for call in (testing.do_bench_proton, testing.do_bench_cudagraph_proton):
        with pytest.raises(UnsupportedError, match=rf"{call.__name__}, which needs the Proton profiler, is not supported on anytile; use"):
            call(lambda: None)
    with pytest.raises(UnsupportedError, match="torch.matmul calls cuBLAS"):
        testing.cublas()
    assert testing.do_bench(lambda: None, warmup=0, rep=0, fast_flush=False) >= 0  # as programs wrote it for 3.0


def test_torch_compile_of_interpreted_kernels_is_refused_with_what_to_do():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend

    with pytest.raises(
        UnsupportedError, match="target reference:x86_64 is not supported .*TORCHDYNAMO_DISABLE=1 runs a program without torch.compile"
    ):
        make_backend(GPUTarget("reference", "x86_64", 1))


def test_stages_of_a_back_end():
    import triton
    from triton.backends.compiler import Language
    from triton.compiler import make_backend

    backend = make_backend(triton.runtime.driver.active.get_current_target())
    with pytest.raises(UnsupportedError, match="add_stages of .* is not supported on anytile; triton.compile compiles"):
        backend.add_stages({}, None, Language.TRITON)


@jit
def through_e4b15(x, out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    small = cuda.convert_custom_float8_sm80(tl.load(x + i).to(tl.float16), tl.float8e4b15)
    tl.store(out + i, cuda.convert_custom_float8_sm70(small, tl.float16).to(tl.float32))


def test_custom_conversions_of_eight_bit_floats():
    torch = pytest.importorskip("torch")
    x, out = torch.tensor([0.5, 1.0, -0.3, 7.0]), torch.zeros(4)
    through_e4b15[(1,)](x, out, BLOCK=4)
    assert out.tolist() == [0.5, 1.0, -0.3125, 1.75]


# Where each came, and went again.
NAMES = {
    "triton.runtime": {"RedisRemoteCacheBackend": "3.0-3.9", "RemoteCacheBackend": "3.0-3.9"},
    "triton.runtime.driver": {"DriverConfig": "3.0-3.9"},
    "triton.compiler": {"get_cache_key": "3.5-3.9", "max_shared_mem": "3.7-3.9", "AttrsDescriptor": "3.0-3.2"},
    "triton.backends.driver": {"GPUDriver": "3.0-3.9", "Benchmarker": "3.2-3.9"},
    "triton.backends.compiler": {"Language": "3.4-3.9"},
    "triton.language.core": {"to_tensor": "3.0-3.9", "must_use_result": "3.4-3.9", "tensor_descriptor_type": "3.3-3.9"},
    "triton.language": {"to_tensor": "3.7-3.9"},
    "triton.testing": {"do_bench_proton": "3.8-3.9", "cublas": "3.9-3.9", "cuda_graph_without_gc": "3.9-3.9"},
}


@pytest.mark.parametrize("level", ["3.0", "3.4", "3.7", "3.9"])
def test_names_by_release(level):
    code = (
        "import anytile, importlib; anytile.install()\n"
        f"for module, names in {NAMES!r}.items():\n"
        "    m = importlib.import_module(module)\n"
        "    for name in names: print(module, name, hasattr(m, name))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "ANYTILE_TRITON_API": level}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = {(module, name): answer == "True" for module, name, answer in map(str.split, done.stdout.splitlines())}
    want = {(m, n): first <= level <= last for m, names in NAMES.items() for n, span in names.items() for first, last in [span.split("-")]}
    assert there == want


def test_knobs_that_only_other_back_ends_read(monkeypatch):
    from anytile.runtime import knobs

    monkeypatch.setenv("TRITON_PROFILE_BUFFER_SIZE", "4096")
    assert knobs.proton.profile_buffer_size == 4096
    assert knobs.amd.dump_mir is None
    assert knobs.env_str("TRITON_NO_SUCH_VARIABLE", "x").get() == "x"
    with knobs.language.scope():
        knobs.language.default_fp_fusion = False
        assert [knobs.language.fp_fusion_enabled(asked) for asked in (None, True, False)] == [False, True, False]
        knobs.language.force_disable_fp_fusion = True
        assert not knobs.language.fp_fusion_enabled(True)


def test_profile_allocator():
    from anytile.runtime import allocation

    assert not allocation.has_profile_allocator()
    allocation.set_profile_allocator(lambda size, alignment, stream: None)
    assert allocation.has_profile_allocator()
    allocation.set_profile_allocator(None)
    assert not allocation.has_profile_allocator()
