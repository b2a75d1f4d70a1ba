"""What `import triton` gives: names, levels, metadata, and how modules of the face behave."""

import importlib
import importlib.metadata
import os
import subprocess
import sys

import pytest

from anytile.compat.level import Level, current
from anytile.compat.table import MODULES


def python(code: str, **env: str) -> str:
    """Runs ``code`` in a new interpreter with anytile installed as triton; its output."""
    done = subprocess.run(
        [sys.executable, "-c", f"import anytile; anytile.install()\n{code}"], env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True, scope="module")
def installed():
    import anytile

    anytile.install()


def _of_this_level():
    """Modules of the API level that these tests run at: `test_breaks` asks for those of others."""
    level = current().number
    return [name for name, module in MODULES.items() if module.since <= level <= module.until]


@pytest.mark.parametrize("module", _of_this_level())
def test_every_module_imports(module):
    assert importlib.import_module(module) is sys.modules[module]


@pytest.mark.parametrize("module", MODULES)
def test_every_row_leads_to_an_object(module):
    def there(entry):
        try:
            return hasattr(importlib.import_module(entry.home), entry.attribute)
        except ModuleNotFoundError:
            return False

    assert [name for name, forms in MODULES[module].entries.items() if not all(map(there, forms))] == []


@pytest.mark.parametrize("module", [m for m in _of_this_level() if MODULES[m].mirror])
def test_every_mirror_has_names(module):
    names = importlib.import_module(MODULES[module].mirror).__all__
    assert names and set(names) - set(MODULES[module].entries) <= set(dir(importlib.import_module(module)))


def test_import_is_light_and_fast():
    # Time of the processor, not of the clock: the machine may be busy with something else.
    out = python(
        "import sys, time\n"
        "begin = time.process_time()\n"
        "import triton\n"
        "print(time.process_time() - begin)\n"
        "print([m for m in ('numpy', 'torch', 'llvmlite', 'rich') if m in sys.modules])"
    ).splitlines()
    assert float(out[0]) < 0.1
    assert out[1] == "[]"


def test_language_and_a_kernel_definition_load_no_heavy_module(tmp_path):
    file = tmp_path / "kernel.py"
    file.write_text(
        "import sys, triton, triton.language as tl\n"
        "@triton.jit\n"
        "def k(x, n, B: tl.constexpr):\n"
        "    tl.store(x + tl.arange(0, B), 0.0)\n"
        "print([m for m in ('numpy', 'torch', 'llvmlite') if m in sys.modules])\n"
    )
    assert python(f"import runpy; runpy.run_path({str(file)!r})") == "[]"


def test_usual_imports():
    import triton
    import triton.language as tl
    from triton.language import core
    from triton.runtime import driver
    from triton.runtime.driver import driver as again

    assert triton.language is tl
    assert tl.core is core
    assert driver is again
    assert importlib.import_module("triton.runtime.driver").driver is driver
    assert triton.runtime.driver is driver, "importing the module must not put it over the object"
    assert triton.cdiv(10, 4) == 3
    assert [triton.next_power_of_2(n) for n in (0, 1, 2, 3, 1000)] == [0, 1, 2, 4, 1024]


def test_modules_behave_like_modules():
    import inspect
    import types

    import triton

    assert type(triton) is types.ModuleType
    assert os.path.isfile(triton.__file__)
    assert triton.__path__ == []
    assert triton.__spec__.name == "triton"
    assert triton.language.__name__ == "triton.language"
    assert {"jit", "language", "cdiv", "Config", "__version__"} <= set(dir(triton))
    assert inspect.getmodule(triton.cdiv).__name__ == "anytile.compat.host"
    assert importlib.reload(triton) is triton
    assert "jit" in triton.__all__
    assert not [name for name in triton.__all__ if name.startswith("_")]


def test_star_import():
    scope: dict = {}
    exec("from triton.language import *", scope)
    assert {"load", "store", "arange", "program_id"} <= set(scope)


def test_what_is_missing_says_so():
    import triton

    assert not hasattr(triton, "no_such_name")
    with pytest.raises(AttributeError, match=r"anytile does not have triton\.no_such_name$"):
        triton.no_such_name  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"anytile does not have triton\.no_such_module$"):
        importlib.import_module("triton.no_such_module")
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from triton import no_such_name")
    assert importlib.util.find_spec("triton.no_such_module") is None
    assert importlib.util.find_spec("triton.language") is not None


@pytest.mark.parametrize(("asked", "version"), [("3.2", "3.2.0"), ("3.6", "3.6.0"), ("3.7.1", "3.7.1")])
def test_level_is_in_version_and_metadata(asked, version):
    out = python(
        "import triton, importlib.metadata as m\n"
        "print(triton.__version__, m.version('triton'), m.distribution('triton').metadata['Name'], 'triton' in m.packages_distributions())",
        ANYTILE_TRITON_API=asked,
    )
    assert out == f"{version} {version} triton True"


def test_names_come_with_their_level():
    code = (
        "import triton, triton.language as tl, triton.runtime.jit as j\n"
        "print([hasattr(triton, n) for n in ('knobs', 'set_allocator', 'constexpr_function')], hasattr(tl, 'make_tensor_descriptor'))\n"
        "try:\n    triton.knobs\nexcept AttributeError as e:\n    print(e)\n"
        "try:\n    import triton.knobs\nexcept ImportError as e:\n    print(type(e).__name__)\n"
    )
    out = python(code, ANYTILE_TRITON_API="3.2").splitlines()
    assert out[0] == "[False, False, False] False"
    assert "Triton 3.2.0 has no triton.knobs; Triton has it since 3.4. The API level is ANYTILE_TRITON_API" in out[1]
    assert out[1].rstrip().endswith("; ANYTILE_TRITON_API=3.4 in the environment sets one that has it")
    assert out[2] == "ModuleNotFoundError"


@pytest.mark.parametrize("text", ["x", "3", "2.1", "4.0", "3.99", "3.6.0rc1"])
def test_levels_that_do_not_exist(text):
    with pytest.raises(ValueError, match=r"ANYTILE|Triton release"):
        Level(text, "ANYTILE_TRITON_API")


@pytest.mark.parametrize(
    ("torch", "requirement", "version"),
    [
        ("2.13.0", 'Requires-Dist: triton==3.7.1 ; platform_system == "Linux" and python_version < "3.15"', "3.7.1"),
        ("2.14.0", "Requires-Dist: triton (~=3.8.0)", "3.8.0"),
        ("2.4.1", "Requires-Dist: sympy", "3.0.0"),
        ("2.9.1+cpu", "Requires-Dist: triton-kernels==9", "3.5.1"),
        ("2.13.0+cpu", "Requires-Dist: sympy", "3.9.0"),
        ("2.99.0", "Requires-Dist: triton==3.42.0", "3.9.0"),
    ],
)
def test_level_follows_the_installed_torch(tmp_path, monkeypatch, torch, requirement, version):
    from anytile.compat import level

    info = tmp_path / f"torch-{torch}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: torch\n{requirement}\n\nRequires-Dist: triton==1.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delenv("ANYTILE_TRITON_API", raising=False)
    assert level._decide().version == version
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing")])
    assert level._decide().version == "3.9.0"


def test_metadata_search_of_directories_does_not_find_it(tmp_path):
    assert [d.name for d in importlib.metadata.distributions(path=[str(tmp_path)])] == []


def test_upstream_is_outranked(tmp_path):
    """A directory that looks like an installed upstream Triton loses in module and in metadata."""
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("__version__ = 'upstream'\n")
    info = tmp_path / "triton-3.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: triton\nVersion: 3.1.0\n")
    code = "import triton, importlib.metadata as m; print(triton.__version__, m.version('triton'))"
    env = {"PYTHONPATH": str(tmp_path), "ANYTILE_TRITON_API": "3.6"}
    assert python(code, **env) == "3.6.0 3.6.0"
    late = "import triton, anytile\ntry:\n    anytile.install()\nexcept RuntimeError as e:\n    print(e)"
    done = subprocess.run([sys.executable, "-c", late], env={**os.environ, **env}, capture_output=True, text=True)
    assert "another triton is already imported" in done.stdout


def test_the_finder_may_come_back():
    """Where somebody has taken it out of `sys.meta_path`, the triton that is loaded is still anytile's."""
    code = (
        "import anytile, sys; anytile.install(); import triton; from anytile.compat.hook import FINDER; sys.meta_path.remove(FINDER); "
        "anytile.install(); import triton.language; print(FINDER in sys.meta_path)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_functions_of_the_language_say_where_triton_has_them():
    """torch writes an import for each global of a user-defined kernel that says it is of triton, and its annotations."""
    code = (
        "from triton.language import store as put; from triton.language.extra.libdevice import fast_dividef; import triton.language.math as m; "
        "from triton.language import constexpr; "
        "print(put.__module__, put.__name__, fast_dividef.__module__, m.rsqrt.__module__, constexpr.__module__)"
    )
    assert python(code) == "triton.language store triton.language.extra.libdevice triton.language.math triton.language"


def test_an_installation_without_a_module_of_anytile_says_so():
    """As in a frozen program for which only what is imported by name was collected."""
    told = python(
        "import sys, triton\nsys.modules['anytile.runtime.autotuner'] = None\n"
        "try:\n    triton.autotune\nexcept AttributeError as e:\n    print(e)"
    )
    assert told.startswith("triton.autotune is anytile.runtime.autotuner.autotune, and this installation of anytile has no such module")
    assert "--collect-all anytile" in told


def test_quotients_of_constexprs_are_plain_numbers_on_the_host():
    import triton
    import triton.language as tl

    for got in (triton.cdiv(65, tl.constexpr(32)), triton.cdiv(tl.constexpr(65), 32), triton.next_power_of_2(tl.constexpr(3)) - 1):
        assert type(got) is int and got == 3
