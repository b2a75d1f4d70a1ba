"""What the reader finds in sources of a Triton."""

import textwrap

import pytest

from anytile.compatcheck.definitions import TritonSources
from anytile.compatcheck.sources import Sources

FILES = {
    "triton/__init__.py": """
        __version__ = '3.5.0'
        from . import language
        from .runtime import driver, JITFunction
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from .nowhere import only_typed
    """,
    "triton/language/__init__.py": "from .core import *\nfrom . import math\n__all__ = ['load']",
    "triton/language/core.py": "__all__ = ['load', 'store']\ndef load(): ...\ndef store(): ...\ndef _hidden(): ...",
    "triton/language/math.py": "def exp(): ...",
    "triton/runtime/__init__.py": "from .driver import driver\nfrom .jit import JITFunction",
    "triton/runtime/driver.py": "driver = object()",
    "triton/runtime/jit.py": """
        class JITCallable:
            def __init__(self):
                self._hash_lock = 1
        class JITFunction(JITCallable):
            cache_hook = None
            def run(self): ...
        def create_specialize_impl(extra): ...
    """,
    "triton/compiler/__init__.py": "",
    "triton/compiler/compiler.py": """
        from ..backends.compiler import AttrsDescriptor
        class ASTSource:
            def __init__(self, fn, signature, constexprs=None, attrs=None): ...
            def make_ir(self, options, codegen_fns, module_map, context): ...
        class CompiledKernel:
            launch_enter_hook = None
    """,
    "triton/backends/__init__.py": "",
    "triton/backends/compiler.py": "class AttrsDescriptor:\n    pass",
}


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    root = tmp_path_factory.mktemp("triton")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    return TritonSources(Sources(root, "triton"))


@pytest.mark.parametrize(
    ("name", "how", "there"),
    [
        ("triton.language.load", "attribute", True),
        ("triton.language.store", "attribute", True),
        ("triton.language._hidden", "attribute", False),
        ("triton.language.core._hidden", "from", True),
        ("triton.language.math.exp", "attribute", True),
        ("triton.language.math.log", "attribute", False),
        ("triton.runtime.driver", "import", True),
        ("triton.runtime.driver", "attribute", True),
        ("triton.runtime.driver.driver", "from", True),
        ("triton.runtime.driver.active", "attribute", None),  # the object hides the module, and objects cannot be read
        ("triton.runtime.jit.JITFunction.run", "attribute", True),
        ("triton.runtime.jit.JITFunction._hash_lock", "attribute", True),
        ("triton.runtime.jit.JITFunction.compiled_hook", "attribute", False),
        ("triton.JITFunction.cache_hook", "attribute", True),
        ("triton.compiler.compiler.AttrsDescriptor", "from", True),
        ("triton.only_typed", "from", False),
        ("triton.ops", "import", False),
        ("triton.ops.matmul", "from", False),
        ("triton.__version__", "attribute", True),
        ("triton._C.libtriton.ir.context", "attribute", None),
    ],
)
def test_names(triton, name, how, there):
    assert triton.has(name, how) is there


def test_forms(triton):
    assert triton.label == "Triton 3.5.0"
    assert triton.level == (3, 5)
    forms = triton.forms
    assert (forms.attrs, forms.make_ir, forms.constexprs, forms.hooks_on_class, forms.hash_lock) == ("class", 4, True, True, True)
    assert not forms.native_specialisation
