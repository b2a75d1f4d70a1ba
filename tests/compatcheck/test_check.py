"""`anytile compat check`: verdicts, report, exit status."""

import json
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from anytile.compat.level import NEWEST, Level, for_torch
from anytile.compatcheck import check as command
from anytile.compatcheck import face
from anytile.compatcheck.declined import why_declined
from anytile.compatcheck.face import Face
from anytile.compatcheck.facts import MADE_FOR, lacked_by
from anytile.compatcheck.forms import RULES, TorchForms, TritonForms
from anytile.compatcheck.recipe import RECIPES
from anytile.compatcheck.sources import LookError


@pytest.fixture
def torch(tmp_path):
    """Makes a wheel of a torch that has the given files."""

    def make(version: str, **files: str) -> str:
        wheel = tmp_path / f"torch-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as z:
            z.writestr(f"torch-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
            for name, text in files.items():
                z.writestr(f"torch/_inductor/{name}.py", textwrap.dedent(text))
        return str(wheel)

    return make


def verdict(torch: str, triton: str = "anytile"):
    (one,) = command.check(torch, triton)
    return one


def test_all_answered(torch):
    v = verdict(torch("2.9.1", hints="from triton.compiler.compiler import ASTSource, make_backend\nimport triton.runtime.jit"))
    assert v.ok
    assert v.triton == "anytile as Triton 3.5.1"
    assert v.answered == ["triton.compiler.compiler.ASTSource", "triton.compiler.compiler.make_backend", "triton.runtime.jit"]
    assert command.report(v) == ["torch 2.9.1 with anytile as Triton 3.5.1: answered", "  3 names are there, 0 only a run can tell of"]


def test_a_new_name_is_missing(torch):
    source = """
        from triton.compiler.compiler import make_backend, brand_new_name
        def f():
            import triton.brand_new_module
        def g():
            try:
                import triton.wished_for
            except ImportError:
                pass
    """
    v = verdict(torch("2.99.0", codecache=source))
    assert not v.ok
    assert v.breaks() == {"import": ["triton.compiler.compiler.brand_new_name"], "call": ["triton.brand_new_module"]}
    lines = command.report(v)
    assert lines[0] == "torch 2.99.0 with anytile as Triton 3.9.0: NOT ANSWERED"
    assert lines[2:] == [
        "  missing: triton.compiler.compiler.brand_new_name  (fails when torch is imported; torch/_inductor/codecache.py:2)",
        "  missing: triton.brand_new_module  (fails while torch compiles; torch/_inductor/codecache.py:4)",
        "  torch asks first for triton.wished_for",
    ]
    assert json.loads(json.dumps(v.as_dict()))["missing"][0]["status"] == "missing"


def test_a_handler_counts_where_the_try_fails(torch):
    source = """
        try:
            from triton.compiler.compiler import triton_key
        except ImportError:
            from triton.runtime.{} import triton_key
    """
    assert verdict(torch("2.9.0", a=source.format("cache"))).ok
    v = verdict(torch("2.9.0", a=source.format("nowhere")))
    assert v.breaks() == {"import": ["triton.runtime.nowhere.triton_key"]}


def test_what_the_triton_of_that_torch_lacks_too_breaks_nothing(torch):
    v = verdict(torch("2.9.0", a="def f():\n    from triton.compiler.compiler import AttrsDescriptor"))
    assert v.ok
    assert [(m.name, m.status) for m in v.missing] == [("triton.compiler.compiler.AttrsDescriptor", "as upstream")]


def test_against_the_sources_of_a_triton(torch, tmp_path):
    (tmp_path / "triton/compiler").mkdir(parents=True)
    (tmp_path / "triton/__init__.py").write_text("__version__ = '3.6.0'")
    (tmp_path / "triton/compiler/compiler.py").write_text("class ASTSource: ...\nclass CompiledKernel: ...")
    heuristics = "from triton.compiler.compiler import {}\ndef f(binary):\n    return binary.__class__.launch_enter_hook"
    wheel = torch("2.7.0", **{"runtime/triton_heuristics": heuristics.format("ASTSource")})
    v = verdict(wheel, str(tmp_path))
    assert v.breaks() == {"compile": ["launch hooks moved"]}
    assert "AttributeError before the first launch" in "\n".join(command.report(v))
    wheel = torch("2.7.0", **{"runtime/triton_heuristics": heuristics.format("triton_key")})
    assert verdict(wheel, str(tmp_path)).breaks() == {"import": ["triton.compiler.compiler.triton_key"], "compile": ["launch hooks moved"]}


def test_the_face_is_asked_as_a_program_asks():
    asked = [
        ("triton.runtime.driver.driver", "from"),
        ("triton.runtime.driver.driver.active.get_current_target", "attribute"),
        ("triton.compiler.CompiledKernel.launch_enter_hook", "attribute"),
        ("triton.compiler.compiler.AttrsDescriptor", "from"),
        ("triton.knobs", "import"),
        ("triton.language.dot", "attribute"),
    ]
    old, new = Face(Level("3.2", "test"), asked), Face(Level("3.9", "test"), asked)
    assert [old.has(*q) for q in asked] == [True, True, True, True, False, True]
    assert [new.has(*q) for q in asked] == [True, True, False, False, True, True]
    assert (old.forms.attrs, old.forms.make_ir, old.forms.hooks_on_class) == ("class", 4, True)
    assert (new.forms.attrs, new.forms.make_ir, new.forms.hooks_on_class) == ("none", 5, False)
    assert not old.forms.hash_lock and not new.forms.hash_lock


def test_every_rule_of_forms_tells_two_sides_apart():
    fine = TritonForms("dataclass", 3, False, True, True, False, False, True)
    torch = TorchForms(True, True, True, True, True, False, False, True, False, True, False, True)
    assert [r.name for r in RULES if r.breaks(torch, fine)] == []
    worst = TritonForms("none", 5, True, False, False, True, True, False)
    broken = {r.name for r in RULES if r.breaks(torch, worst)} | {
        r.name for r in RULES if r.breaks(torch, TritonForms("class", 3, False, True, True, False, False, True))
    }
    assert broken == {r.name for r in RULES}


def test_facts():
    assert lacked_by((3, 2), "triton.knobs", "from")
    assert not lacked_by((3, 4), "triton.knobs", "from")
    assert not lacked_by((3, 4), "triton.never_heard_of", "import")
    assert sorted(MADE_FOR) == [(2, minor) for minor in range(4, 16)]


def test_declined_names_say_what_torch_does_instead():
    assert "has_triton_tma()" in why_declined("triton.tools.experimental_descriptor.create_1d_tma_descriptor")
    assert why_declined("triton.language.dot") == ""


def anytile(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "anytile", "compat", "check", *arguments], capture_output=True, text=True, timeout=120)


def test_exit_status(torch, tmp_path):
    good, bad = torch("2.9.1", a="import triton"), torch("2.9.2", a="import triton.nowhere")
    done = anytile("--torch", good, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["ok"] is True
    assert anytile("--torch", bad).returncode == 1
    done = anytile("--torch", str(tmp_path / "no-such.whl"))
    assert done.returncode == 2
    assert "is no version, no range such as '>=2.9,<2.13', and no file" in done.stderr


def test_a_torch_without_a_pin_is_answered_at_the_level_that_it_gets(torch):
    """A CPU build of torch 2.13, made for 3.7, gets the newest face where it is installed: that one is asked."""
    assert verdict(torch("2.13.0", a="import triton")).triton == f"anytile as Triton {for_torch('2.13.0', None).version}"
    assert for_torch("2.13.0", None).number == NEWEST


def test_a_face_that_does_not_answer(torch, monkeypatch, capsys):
    monkeypatch.setattr(face, "_CHILD", "raise SystemExit('no such day')")
    assert command.run(torch("2.9.1", a="import triton"), "anytile", False, None) == 2
    assert "the face at level 3.5.1 could not be asked (exit status 1): no such day" in capsys.readouterr().err


def test_a_version_that_cannot_be_downloaded(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert command.run("2.3.99", "anytile", False, None) == 2
    said = capsys.readouterr().err
    assert "torch 2.3.99 could not be had from the package index" in said
    assert "check the version and the network, or give the path of a wheel or of a folder" in said


def test_ci_recipe(capsys):
    assert command.run(None, "anytile", False, "github") == 0
    text = capsys.readouterr().out
    assert text == RECIPES["github"]
    assert "anytile compat check --torch" in text and "schedule:" in text and "${{ matrix.torch }}" in text
    assert command.run(None, "anytile", False, "nobody") == 2
    assert "there is one for github" in capsys.readouterr().err


def test_the_parts_of_the_installed_torch_on_every_compilation_are_answered(tmp_path):
    """The whole of torch takes half a minute: `scripts/compat_pairs.py` reads all releases."""
    installed = pytest.importorskip("torch")
    root = Path(installed.__file__).parent
    for part in ("version.py", "_inductor/runtime", "_inductor/utils.py", "utils/_triton.py", "_higher_order_ops/triton_kernel_wrap.py"):
        place = tmp_path / "torch" / part
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(root / part)
    # Python does not follow links to folders when it lists files: name the files.
    (tmp_path / "torch/_inductor/runtime").unlink()
    (tmp_path / "torch/_inductor/runtime").mkdir()
    for file in (root / "_inductor/runtime").glob("*.py"):
        (tmp_path / "torch/_inductor/runtime" / file.name).symlink_to(file)
    v = verdict(str(tmp_path))
    assert v.ok, command.report(v)
    assert len(v.answered) > 60


def test_paths(tmp_path, torch):
    folder = tmp_path / "site" / "torch" / "_inductor"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder.parent / "version.py").write_text("__version__ = '2.8.0+cpu'")
    (folder / "a.py").write_text("import triton")
    for place in (tmp_path / "site", tmp_path / "site" / "torch"):
        v = verdict(str(place))
        assert (v.torch, v.triton) == ("2.8.0+cpu", "anytile as Triton 3.4.0")
    with pytest.raises(LookError, match="no release of torch|no file"):
        verdict("no such thing")
