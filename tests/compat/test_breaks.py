"""Every break between PyTorch and Triton that users met: the names, asked for as that PyTorch asks.

Each case is what a release of torch (or another program) does at import or while compiling, run at the API level which that release
gets here.  Beside it stands the level at which the same question must fail, because programs choose their code by it.
"""

import os
import subprocess
import sys

import pytest


def ask(code: str, level: str) -> str:
    """What ``code`` prints in a new interpreter with anytile as Triton ``level``; for an uncaught error its type."""
    program = f"import anytile; anytile.install()\ntry:\n{_indented(code)}\nexcept Exception as e:\n    print(type(e).__name__, e)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "ANYTILE_TRITON_API": level}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _indented(code: str) -> str:
    return "\n".join("    " + line for line in code.strip("\n").splitlines())


# ---- AttrsDescriptor: a dataclass in compiler.compiler, then a class in backends.compiler, then nothing ----

# torch 2.4, 2.5: _inductor/runtime/hints.py
INSTANCE_DESCRIPTOR = """
from dataclasses import fields
from triton.compiler.compiler import AttrsDescriptor
names = {f.name for f in fields(AttrsDescriptor)}
print(sorted(names), 'ids_of_folded_args' in names, AttrsDescriptor(divisible_by_16=(0, 1), equal_to_1=()))
"""

# torch 2.6: _inductor/runtime/hints.py
DESCRIPTOR_2_6 = """
try:
    from triton.backends.compiler import AttrsDescriptor
    made = AttrsDescriptor.from_dict(
        {'arg_properties': {'tt.divisibility': (0, 1), 'tt.equal_to': (2,)}, 'cls': AttrsDescriptor.__name__})
    assert made.property_values['tt.divisibility'] == 16 and made.property_values['tt.equal_to'] == 1
    print('new', made.divisibility_16, made.equal_to_1)
except ImportError:
    from triton.compiler.compiler import AttrsDescriptor
    made = AttrsDescriptor(divisible_by_16=(0, 1), equal_to_1=(2,))
    print('old', made.divisible_by_16, made.equal_to_1)
import copy, pickle
print(made == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)), eval(repr(made)) == made)
"""

# torch 2.7 on: _inductor/utils.py, get_triton_attrs_descriptor_version
ATTRS_VERSION = """
import triton.backends.compiler, triton.compiler.compiler
if hasattr(triton.backends.compiler, 'AttrsDescriptor'):
    print('V2_BACKENDS')
elif hasattr(triton.compiler.compiler, 'AttrsDescriptor'):
    print('V1_COMPILER')
else:
    print('V4_DICT')
"""


@pytest.mark.parametrize("level", ["3.0", "3.1"])
def test_attrs_descriptor_is_a_dataclass_for_torch_2_4_and_2_5(level):
    assert (
        ask(INSTANCE_DESCRIPTOR, level) == "['divisible_by_16', 'equal_to_1'] False AttrsDescriptor(divisible_by_16=(0, 1), equal_to_1=())"
    )


def test_attrs_descriptor_of_3_2_is_none():
    assert "dataclass" in ask(INSTANCE_DESCRIPTOR, "3.2")


@pytest.mark.parametrize(("level", "form"), [("3.1", "old"), ("3.2", "new")])
def test_attrs_descriptor_for_torch_2_6(level, form):
    assert ask(DESCRIPTOR_2_6, level).splitlines() == [f"{form} (0, 1) (2,)", "True True"]


def test_without_attrs_descriptor_torch_2_6_cannot_be_served():
    assert ask(DESCRIPTOR_2_6, "3.3").startswith("ImportError cannot import name 'AttrsDescriptor'")


@pytest.mark.parametrize(
    ("level", "version"),
    [("3.0", "V1_COMPILER"), ("3.1", "V1_COMPILER"), ("3.2", "V2_BACKENDS")] + [(f"3.{minor}", "V4_DICT") for minor in range(3, 10)],
)
def test_torch_tells_the_form_of_attributes_by_what_is_there(level, version):
    assert ask(ATTRS_VERSION, level) == version


def test_back_ends_may_derive_their_own_descriptor():
    code = """
from triton.backends.compiler import AttrsDescriptor
class HIPAttrsDescriptor(AttrsDescriptor):
    __slots__ = ('pointer_range_32',)
made = AttrsDescriptor.from_dict({'arg_properties': {'tt.divisibility': [3]}, 'cls': 'HIPAttrsDescriptor'})
print(type(made).__name__, made.get_fn_attrs())
made = AttrsDescriptor.from_hints({0: 16, 2: 1})
print(made.arg_properties, made.get_constants(), made.filter_out_constants().arg_properties)
AttrsDescriptor.from_dict({'arg_properties': {}, 'cls': 'Nobody'})
"""
    assert ask(code, "3.2").splitlines() == [
        "HIPAttrsDescriptor {3: [('tt.divisibility', 16)]}",
        "{'tt.divisibility': [0], 'tt.equal_to': [2]} {2: 1} {'tt.divisibility': [0]}",
        "ValueError there is no AttrsDescriptor called Nobody; there are AttrsDescriptor, HIPAttrsDescriptor",
    ]


# ---- triton_key: torch 2.5 to 2.8 take its absence from compiler.compiler for "no working Triton" ----

KEY_OLD = "from triton.compiler.compiler import triton_key; print(len(triton_key()) > 8)"
KEY_NEW = """
try:
    from triton.compiler.compiler import triton_key
    print('old')
except ImportError:
    from triton.runtime.cache import triton_key
    print('new')
"""


@pytest.mark.parametrize("level", ["3.0", "3.1", "3.2", "3.3", "3.4"])
def test_triton_key_for_torch_2_4_to_2_8(level):
    assert ask(KEY_OLD, level) == "True"
    assert ask(KEY_NEW, level) == "old"
    assert ask("import triton.runtime.cache as c; print(hasattr(c, 'triton_key'))", level) == "False"


@pytest.mark.parametrize("level", ["3.5", "3.9"])
def test_triton_key_moved(level):
    assert ask(KEY_OLD, level).startswith("ImportError cannot import name 'triton_key'")
    assert ask(KEY_NEW, level) == "new"


# ---- launch hooks: attributes of CompiledKernel up to 3.3, then knobs ----

HOOKS_2_7 = "from triton.compiler import CompiledKernel; print(CompiledKernel.launch_enter_hook, CompiledKernel.launch_exit_hook)"
HOOKS_2_8 = """
try:
    from triton import knobs
except ImportError:
    knobs = None
print('knobs' if knobs is not None and not knobs.runtime.launch_enter_hook else 'class')
"""


@pytest.mark.parametrize("level", ["3.0", "3.3"])
def test_launch_hooks_on_the_class_for_torch_2_4_to_2_7(level):
    assert ask(HOOKS_2_7, level) == "None None"
    assert ask(HOOKS_2_8, level) == "class"


@pytest.mark.parametrize("level", ["3.4", "3.9"])
def test_launch_hooks_moved_to_knobs(level):
    assert ask(HOOKS_2_7, level).startswith("AttributeError")
    assert ask(HOOKS_2_8, level) == "knobs"


def test_hooks_set_on_the_class_are_called(tmp_path):
    kernel = tmp_path / "kernel.py"
    kernel.write_text("import triton, triton.language as tl\n@triton.jit\ndef one(x):\n    tl.store(x, 1.0)\n")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import numpy as np
import triton
from triton.compiler import CompiledKernel
from triton.runtime.jit import JITFunction
from kernel import one
CompiledKernel.launch_enter_hook = lambda facts: print('enter', facts.get()['name'])
JITFunction.cache_hook = lambda **facts: print('compile', facts['already_compiled'])
JITFunction.compiled_hook = lambda **facts: print('compiled', facts['already_compiled'])
x = np.zeros(1, np.float32)
kernel = one[(1,)](x)
print(x[0], kernel.launch_enter_hook is CompiledKernel.launch_enter_hook)
CompiledKernel.launch_enter_hook = None
one[(1,)](x)
"""
    assert ask(code, "3.3").splitlines() == ["compile False", "compiled True", "enter one", "1.0 True"]


# ---- ASTSource.make_ir: torch counts its parameters ----


@pytest.mark.parametrize(
    ("level", "parameters"),
    [
        ("3.0", "options codegen_fns context"),
        ("3.2", "options codegen_fns module_map context"),
        ("3.4", "options codegen_fns module_map context"),
        ("3.5", "target options codegen_fns module_map context"),
        ("3.9", "target options codegen_fns module_map context"),
    ],
)
def test_parameters_of_make_ir(level, parameters):
    code = (
        "import inspect\nfrom triton.compiler.compiler import ASTSource\nprint(*list(inspect.signature(ASTSource.make_ir).parameters)[1:])"
    )
    assert ask(code, level) == parameters


@pytest.mark.parametrize(("level", "count"), [("3.2", 0), ("3.3", 1), ("3.9", 1)])
def test_parameters_of_get_codegen_implementation(level, count):
    code = """
import inspect, triton
from triton.backends.compiler import GPUTarget
backend = triton.compiler.compiler.make_backend(GPUTarget('cpu', '', 32))
print(len(inspect.signature(backend.get_codegen_implementation).parameters), backend.get_module_map())
"""
    assert ask("import triton.compiler.compiler\n" + code, level) == f"{count} {{}}"


# ---- specialisation: five forms of one question ----

ARGUMENTS = """
import ctypes, numpy as np
memory = np.zeros(64, np.float32)
memory = memory[(-memory.ctypes.data % 64) // 4:]
class Tensor:
    dtype = 'torch.float32'
    def __init__(self, offset): self.array = memory[offset:]
    def data_ptr(self): return self.array.ctypes.data
    class device: type = 'cpu'; index = None
args = [Tensor(0), Tensor(1), 16, 5, 1, 2**40, 1.5, True, None]
"""


def test_specialisation_by_methods_of_jit_function():
    code = """
from triton.runtime.jit import JITFunction
print(*(JITFunction._type_of(JITFunction._key_of(a)) for a in (16, 1, 2**40, 1.5, True, None)))
"""
    assert ask(code, "3.1") == "i32 i32 i64 fp32 i1 *i8"
    assert ask(code, "3.3").startswith("AttributeError")


def test_specialisation_of_tensors_for_torch_2_4():
    torch = pytest.importorskip("torch")
    from anytile.compat import specialisation

    x = torch.zeros(64, dtype=torch.float16)
    assert specialisation.type_of(specialisation.key_of(x)) == "*fp16"
    assert specialisation.mangle_type_0(x, is_const=True) == "*kfp16"
    assert specialisation.mangle_type_0(None) == "none"


FORMS = {
    "3.3": "impl = lambda a: jit.create_specialize_impl()(a, specialize_extra=BaseBackend.get_arg_specialization)",
    "3.5": "impl = jit.create_specialize_impl(specialize_extra=BaseBackend.get_arg_specialization)",
    "3.6": "impl = lambda a: jit.native_specialize_impl(BaseBackend, a, False, True, True)",
    "3.9": "impl = lambda a: jit.native_specialize_impl(BaseBackend, a, False, True, True)",
}


@pytest.mark.parametrize("level", FORMS)
def test_specialisation_by_functions(level):
    code = f"{ARGUMENTS}import triton.runtime.jit as jit\nfrom triton.backends.compiler import BaseBackend\n{FORMS[level]}\n"
    code += "print([impl(a) for a in args]); print([BaseBackend.parse_attr(s) for s in ('D', '')])\n"
    code += "print([jit.mangle_type(a) for a in args])"
    specialised, attributes, types = ask(code, level).splitlines()
    assert eval(specialised) == [
        ("*fp32", "D"),
        ("*fp32", ""),
        ("i32", "D"),
        ("i32", ""),
        ("constexpr", 1),
        ("i64", "D"),
        ("fp32", None),
        ("u1", None),
        ("constexpr", None),
    ]
    assert eval(attributes) == [[["tt.divisibility", 16]], []]
    assert eval(types) == ["*fp32", "*fp32", "i32", "i32", "i32", "i64", "fp32", "u1", "constexpr"]


def test_torch_finds_one_form_only():
    code = "import triton.runtime.jit as j; print(*(n for n in ('create_specialize_impl', 'native_specialize_impl', 'specialize_impl') if hasattr(j, n)))"
    assert [ask(code, f"3.{minor}") for minor in range(10)] == [""] * 3 + ["create_specialize_impl"] * 3 + ["native_specialize_impl"] * 4


# ---- triton.ops: bitsandbytes up to 0.45 takes two functions from it, and must find no module from 3.2 on ----

OPS = """
from triton.ops.matmul_perf_model import early_config_prune, estimate_matmul_time
import triton
class Matrix:
    def element_size(self): return 2
configs = [triton.Config({'BLOCK_M': m, 'BLOCK_N': m, 'BLOCK_K': 32, 'SPLIT_K': 1}, num_stages=s) for m, s in [(16, 2), (128, 2), (4096, 40)]]
a = Matrix()
kept = early_config_prune(configs, {'A': a, 'B': a, 'C': a, 'M': 4096, 'N': 4096, 'K': 4096})
print([c.kwargs['BLOCK_M'] for c in kept])
times = [estimate_matmul_time(A=a, B=a, C=a, M=4096, N=4096, K=4096, **c.all_kwargs()) for c in kept]
print(times[1] < times[0])
"""


def test_triton_ops_for_bitsandbytes():
    assert ask(OPS, "3.1").splitlines() == ["[16, 128]", "True"]
    assert ask(OPS, "3.2").startswith("ModuleNotFoundError Triton 3.2.0 has no triton.ops")


# ---- names that came and went ----


#: name → the minor releases 3.x that have it
NAMES = {
    "triton.language.core._constexpr_to_value": range(0, 4),
    "triton.language.core._unwrap_if_constexpr": range(2, 10),
    "triton.language.make_tensor_descriptor": range(4, 10),
    "triton.language.assume": range(2, 10),
    "triton.language.advance": range(0, 10),  # meant: 3.9 dropped it, published kernels use it
    "triton.runtime.cache._base64": range(2, 3),
    "triton.runtime.cache._base32": range(3, 10),
    "triton.set_allocator": range(3, 10),
    "triton.constexpr_function": range(5, 10),
    "triton.runtime.jit.ConstexprFunction": range(5, 10),
    "triton.runtime.autotuner.PTXASError": range(3, 10),
    "triton._utils.find_paths_if": range(3, 10),
    "triton.knobs": range(4, 10),
    "triton.tools.tensor_descriptor.TensorDescriptor": range(4, 10),
    "triton.common": (),
    "triton.runtime.backends": (),
    "triton.language.libdevice": (),
}
ASKED = (0, 1, 2, 3, 4, 5, 6, 9)


@pytest.fixture(scope="module")
def present():
    """name → the releases of `ASKED` in which the face has it."""
    code = """
import importlib
for name in %r:
    module, _, attribute = name.rpartition('.')
    try:
        print(hasattr(importlib.import_module(module), attribute))
    except ImportError:
        print(False)
"""
    answers = {minor: ask(code % list(NAMES), f"3.{minor}").splitlines() for minor in ASKED}
    return {name: [minor for minor in ASKED if answers[minor][i] == "True"] for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there_in_its_releases_only(name, present):
    assert present[name] == [minor for minor in ASKED if minor in NAMES[name]]


def test_the_sentence_for_what_is_gone_names_release_and_remedy():
    said = ask("from triton.compiler.compiler import triton_key", "3.6")
    assert said.startswith("ImportError")
    said = ask("import triton.compiler.compiler as c; c.triton_key", "3.6")
    assert "Triton 3.6.0 has no triton.compiler.compiler.triton_key; Triton has it up to 3.4" in said
    assert "ANYTILE_TRITON_API" in said
