"""What the reader finds in sources of torch: names, when they are reached, behind what."""

import textwrap
from pathlib import Path

import pytest

from anytile.compatcheck.sources import LookError, Sources
from anytile.compatcheck.uses import Use, area_of, uses_of


@pytest.fixture
def read(tmp_path):
    """Uses in one file of a torch that is made of it."""

    def reader(source: str, file: str = "torch/_inductor/runtime/some.py") -> list[Use]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return [u for u in uses_of(Sources(tmp_path, "torch")) if u.file == file]

    return reader


def names(uses: list[Use]) -> list[str]:
    return [u.name for u in uses]


def test_imports_and_attribute_chains(read):
    uses = read(
        """
        import triton
        import triton.language as tl
        from triton.compiler import CompiledKernel as Kernel
        key = triton.compiler.compiler.triton_key

        def f():
            tl.core.view
            Kernel.launch_enter_hook
            driver = triton.runtime.driver
            return driver.active.get_current_target()
        """
    )
    assert [(u.name, u.phase, u.how) for u in uses] == [
        ("triton", "import", "import"),
        ("triton.language", "import", "import"),
        ("triton.compiler.CompiledKernel", "import", "from"),
        ("triton.compiler.compiler.triton_key", "import", "attribute"),
        ("triton.language.core.view", "call", "attribute"),
        ("triton.compiler.CompiledKernel.launch_enter_hook", "call", "attribute"),
        ("triton.runtime.driver", "call", "attribute"),
        ("triton.runtime.driver.active.get_current_target", "call", "attribute"),
    ]


def test_a_name_that_is_not_of_triton_is_none(read):
    assert names(read("def f(triton, tl):\n    import math as tl2\n    return tl2.x, config.triton.autotune")) == []


def test_torch_s_own_module_of_re_exports_is_seen_through(read):
    uses = read("from .triton_compat import CompiledKernel, knobs, tl\ndef f():\n    return knobs.runtime, CompiledKernel.run, tl.dot")
    assert names(uses) == ["triton.knobs.runtime", "triton.compiler.CompiledKernel.run", "triton.language.dot"]


def test_guards(read):
    uses = read(
        """
        import triton
        try:
            from triton.compiler.compiler import triton_key
        except ImportError:
            from triton.runtime.cache import triton_key
        try:
            import triton.language.extra.tlx
        except ImportError:
            raise

        def f():
            if hasattr(triton, "set_allocator"):
                triton.set_allocator(None)
            else:
                triton.old_allocator
            if not hasattr(triton, "knobs"):
                return
            triton.knobs.runtime
            if torch.version.hip:
                triton.backends.amd
            if TRITON_VERSION >= 3:
                triton.new
            return getattr(triton, "late", None)
        """
    )
    guards = {u.name: u.guards for u in uses}
    here = "torch/_inductor/runtime/some.py"
    assert guards["triton.compiler.compiler.triton_key"] == (f"try:{here}:3",)
    assert guards["triton.runtime.cache.triton_key"] == (f"except:{here}:3",)
    assert guards["triton.language.extra.tlx"] == ()
    assert guards["triton.set_allocator"] == ("has:triton.set_allocator",)
    assert guards["triton.old_allocator"] == ("lacks:triton.set_allocator",)
    assert guards["triton.knobs.runtime"] == ("has:triton.knobs",)
    assert guards["triton.backends.amd"] == ("has:triton.knobs", "platform")
    assert guards["triton.new"] == ("has:triton.knobs", "version")
    assert guards["triton.late"] == ("has:triton.knobs", "has:triton.late")


def test_after_a_try_that_leaves(read):
    uses = read(
        """
        def has_it():
            try:
                import triton.ops
            except ImportError:
                return False
            import triton.more
        """
    )
    assert [(u.name, [g.partition(":")[0] for g in u.guards]) for u in uses] == [("triton.ops", ["try"]), ("triton.more", ["passed"])]


def test_kernels_and_what_is_written_into_them(read):
    uses = read(
        '''
        import triton
        import triton.language as tl
        @triton.jit
        def k(x, B: tl.constexpr):
            """tl.not_a_use"""
            return tl.where(x, 0, B)
        def write(code, op):
            code.writeline("from triton.compiler.compiler import AttrsDescriptor")
            code.writeline(f"tmp = tl.load({op}); libdevice.{op}(x); tl_math.exp(x); triton.cudagraphs")
        '''
    )
    found = {(u.name, u.phase) for u in uses}
    assert ("triton.language.where", "kernel") in found
    assert ("triton.language.constexpr", "import") in found
    assert {n for n, phase in found if phase == "gen"} == {
        "triton.compiler.compiler",
        "triton.compiler.compiler.AttrsDescriptor",
        "triton.language.load",
        "triton.language.math.exp",
    }


def test_templates(tmp_path):
    file = tmp_path / "torch/_inductor/kernel/templates/mm.py.jinja"
    file.parent.mkdir(parents=True)
    file.write_text("{# tl.comment #}\n{{def_kernel()}}\n    a = tl.load(A)  # tl.also\n    acc += tl.dot(a, b)\n")
    uses = uses_of(Sources(tmp_path, "torch"))
    assert [(u.name, u.line, u.phase) for u in uses] == [("triton.language.load", 3, "gen"), ("triton.language.dot", 4, "gen")]


@pytest.mark.parametrize(
    ("file", "area"),
    [
        ("torch/_inductor/runtime/triton_heuristics.py", "core"),
        ("torch/_higher_order_ops/triton_kernel_wrap.py", "user kernels"),
        ("torch/_inductor/kernel/flex_attention.py", "templates"),
        ("torch/testing/_internal/triton_utils.py", "testing"),
        ("torch/sparse/_triton_ops.py", "sparse"),
        ("torch/nn/modules/linear.py", "other"),
    ],
)
def test_areas(file, area):
    assert area_of(file) == area


def test_what_is_no_torch_says_so(tmp_path):
    with pytest.raises(LookError, match=r"holds no folder torch/ with Python files; give a wheel of torch, its folder, or a version"):
        Sources(tmp_path, "torch")
    file = Path(tmp_path / "torch.whl")
    file.write_text("no archive")
    with pytest.raises(LookError, match="is no wheel"):
        Sources(file, "torch")
