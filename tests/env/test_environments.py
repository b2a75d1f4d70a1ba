"""Causes proved by the files of an environment. The environments are small: packages of a few lines with genuine metadata files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environments import SCRIPTS, site_packages

from anytile.env.collect import collect, find_python
from anytile.env.diagnose import diagnose
from anytile.env.elf import read_elf
from anytile.env.facts import Facts
from anytile.env.pe import read_pe
from anytile.env.report import as_html, as_json
from anytile.env.rules.model import Finding
from anytile.env.sources import Package, missing_names

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


class Environment:
    """A folder with the layout of a virtual environment of this system, without an interpreter that could run."""

    def __init__(self, root: Path) -> None:
        self.root, self.site = root, site_packages(root)
        self.site.mkdir(parents=True)
        home = Path(sys.base_prefix)
        if os.name == "nt":
            (root / SCRIPTS).mkdir()
            (root / SCRIPTS / "python.exe").write_bytes(b"")
        else:
            home /= "bin"
        (root / "pyvenv.cfg").write_text(f"home = {home}\nversion = {MINOR}.1\n")

    def add(
        self,
        name: str,
        version: str,
        files: dict[str, str] | None = None,
        requires: tuple[str, ...] = (),
        tag: str = "py3-none-any",
        **fields: str,
    ) -> None:
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        for path, text in (files or {}).items():
            (self.site / path).parent.mkdir(parents=True, exist_ok=True)
            (self.site / path).write_text(text)
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items()]
        (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n\nText.\n")
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
        (info / "RECORD").write_text("".join(f"{p},,\n" for p in files or {}))

    def torch(self, version: str = "2.6.0", cuda: str | None = None, requires: tuple[str, ...] = (), **files: str) -> None:
        text = f"__version__ = '{version}'\ncuda: str = {cuda!r}\n"
        self.add(
            "torch", version, {"torch/__init__.py": "", "torch/version.py": text, **{f"torch/{k}": v for k, v in files.items()}}, requires
        )

    def triton(self, version: str, dist: str = "triton", **files: str) -> None:
        self.add(dist, version, {"triton/__init__.py": f"__version__ = '{version}'\n", **{f"triton/{k}": v for k, v in files.items()}})

    def findings(self) -> dict[str, Finding]:
        self.facts: Facts = collect(str(self.root))
        return {f.cause: f for f in diagnose(self.facts)}


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An empty environment; home, caches and the working folder are empty ones too, and there is no GPU."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.chdir(tmp_path / "tmp")
    monkeypatch.setattr("anytile.env.collect._compilers", lambda: ("/usr/bin/cc",))
    monkeypatch.setattr("anytile.env.collect._gpus", lambda: ())
    return Environment(tmp_path / "env")


def test_a_matching_pair_is_healthy(env: Environment) -> None:
    use = "from triton.compiler.compiler import Key\n"
    env.torch(requires=('triton==3.2.0; platform_system == "Linux"',), **{"_inductor/a.py": use})
    env.triton("3.2.0", **{"compiler/compiler.py": "Key = 1\n", "compiler/__init__.py": ""})
    assert set(env.findings()) <= {
        "linux_python_headers",
        "win_python_dev_missing",
    }  # whether this machine's Python has headers is its own matter


def test_skew_is_computed_from_the_sources(env: Environment) -> None:
    env.torch(
        requires=('triton==3.2.0; platform_system == "Linux"',),
        **{"_inductor/a.py": "def f():\n    from triton.compiler.compiler import Key\n"},
    )
    env.triton("3.3.1", **{"compiler/compiler.py": "Other = 1\n", "compiler/__init__.py": ""})
    finding = env.findings()["torch_triton_api_skew"]
    assert finding.confidence > 0.95
    assert any("Key from triton.compiler.compiler" in e.text and e.where.endswith("a.py:2") for e in finding.evidence)
    assert any("3.2" in c for fix in finding.fixes for c in fix.commands)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("from triton.a import x", []),
        ("from triton.a import gone", ["gone"]),
        ("from triton.b import x", [None]),
        ("try:\n    from triton.a import gone\nexcept ImportError:\n    gone = None", []),
        ("try:\n    from triton.a import gone\nexcept ImportError:\n    from triton.b import gone", [None]),
        ("try:\n    from triton.a import x\nexcept ImportError:\n    from triton.b import x", []),
        ("if condition:\n    from triton.a import gone", []),
        ("if not is_triton_available():\n    f = None\nelse:\n    from triton.a import gone", ["gone"]),
        ("if has_triton():\n    from triton.a import gone", []),
        ("if _is_triton_available():\n    from triton.a import gone", ["gone"]),
        ("if has_triton_package():\n    from triton.a import x\nelse:\n    from triton.a import gone", []),
        ("from triton.a import (\n    x,  # kept\n    gone as y,\n)", ["gone"]),
        ("import triton.b", [None]),
        ("from triton.star import x, whatever", []),
        ("from triton.again import x, gone", ["gone"]),
        ("from triton.lazy import anything", []),
    ],
)
def test_missing_names(tmp_path: Path, source: str, missing: list[str | None]) -> None:
    folder = tmp_path / "triton"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "a": "x = 1",
        "star": "from os import *",
        "again": "from .a import *",
        "lazy": "def __getattr__(n): ...",
    }.items():
        (folder / f"{name}.py").write_text(text)
    (tmp_path / "user.py").write_text(source + "\n")
    assert [m.name for m in missing_names([tmp_path / "user.py"], Package(folder))] == missing


def test_two_tritons(env: Environment) -> None:
    env.triton("3.2.0")
    env.add("triton-windows", "3.3.1", {"triton/other.py": ""})
    assert "triton and triton-windows" in env.findings()["two_tritons"].evidence[0].text


def test_companions_of_another_torch(env: Environment) -> None:
    env.torch("2.6.0+cu124", "12.4")
    for name in ("torchvision", "torchaudio", "xformers"):
        env.add(name, "0.1", {f"{name}/__init__.py": ""}, requires=("torch==2.5.1",))
    assert {"torchvision_mismatch", "torchaudio_mismatch", "xformers_mismatch"} <= set(env.findings())


def test_an_old_consumer_of_triton(env: Environment) -> None:
    env.triton("3.2.0")
    env.add("bitsandbytes", "0.43", {"bitsandbytes/__init__.py": "", "bitsandbytes/k.py": "from triton.ops.matmul_perf_model import f\n"})
    assert "triton.ops.matmul_perf_model" in env.findings()["outdated_triton_consumer"].evidence[0].text
    env.add("xformers", "0.0.20", {"xformers/__init__.py": "", "xformers/k.py": "from triton.ops.blocksparse import matmul\n"})
    (fix,) = env.findings()["outdated_triton_consumer"].fixes
    assert fix.commands[0].endswith("bitsandbytes xformers")


def test_wrong_package_shadow_leftover_and_wrong_python(env: Environment) -> None:
    env.add("triton-library", "1.0", {"triton/__init__.py": ""})
    env.add("numpy", "2.0", {"numpy/core.so": ""}, tag="cp38-cp38-linux_x86_64", Requires_Python="<3.9")
    (env.site / "~orch").mkdir()
    Path("triton.py").write_text("")
    assert {"wrong_package", "shadowed_module", "leftover_files", "win_wrong_wheel_or_stale_venv", "python_unsupported"} <= set(
        env.findings()
    )


def test_cpu_torch_beside_a_gpu(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    from anytile.env.facts import Gpu

    monkeypatch.setattr("anytile.env.collect._gpus", lambda: (Gpu("NVIDIA L4", "8.9", "550.1", "12.4"),))
    env.torch("2.6.0+cpu")
    finding = env.findings()["torch_cpu_build"]
    assert any("whl/cu124" in c for fix in finding.fixes for c in fix.commands)


def test_damaged_cache(env: Environment, tmp_path: Path) -> None:
    (tmp_path / "cache/ab").mkdir(parents=True)
    (tmp_path / "cache/ab/k.json").write_text('{"a": ')
    (tmp_path / "cache/ab/launcher.so").write_text("")
    assert len(env.findings()["cache_corrupt"].evidence) == 2


@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="compiles with gcc")
def test_symbols_and_versions_of_extensions(env: Environment, tmp_path: Path) -> None:
    def build(out: Path, source: str, *options: str) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s.c").write_text(source)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, tmp_path / "s.c", *options], check=True)

    env.torch()
    lib = env.site / "torch/lib"
    build(lib / "libc10.so", "void _ZN3c104goodEv(void) {}")
    env.add("flash-attn", "2.7", {"flash.so": ""}, requires=("torch",))
    build(
        env.site / "flash.so",
        "void _ZN3c104goodEv(void); void _ZN3c103badESs(void); void f(void) { _ZN3c104goodEv(); _ZN3c103badESs(); }",
        f"-L{lib}",
        "-lc10",
        f"-Wl,-rpath,{lib}",
    )
    finding = env.findings()["ext_abi_undefined_symbol"]
    assert [e.text.split()[0] for e in finding.evidence] == ["_ZN3c103badESs"]
    elf = read_elf(env.site / "flash.so")
    assert elf is not None and "libc10.so" in elf.needed and elf.rpath == (str(lib),)


def test_pe_of_a_launcher_that_pip_brings() -> None:
    pip = pytest.importorskip("pip")
    launchers = sorted(Path(pip.__file__).parent.glob("_vendor/distlib/t64.exe"))
    if not launchers:
        pytest.skip("this pip brings no Windows launchers")
    pe = read_pe(launchers[0])
    assert pe is not None and pe.machine == 0x8664 and "kernel32.dll" in {i.lower() for i in pe.imports}


def test_damaged_files_are_no_libraries(tmp_path: Path) -> None:
    for content in (b"", b"MZ", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 100, b"MZ" + b"\xff" * 100):
        (tmp_path / "x").write_bytes(content)
        assert read_elf(tmp_path / "x") is None and read_pe(tmp_path / "x") is None


def test_json_html_and_redaction(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    (env.site / "~orch").mkdir()
    found = env.findings()
    document = json.loads(as_json(env.facts, list(found.values())))
    assert document["schema"] == 1 and set(document) == {"schema", "facts", "findings"}
    assert set(document["findings"][0]) >= {"cause", "confidence", "summary", "evidence", "fixes"}
    assert set(document["findings"][0]["fixes"][0]) == {"summary", "commands", "safe"}
    assert json.dumps(str(env.root))[1:-1] in as_json(env.facts, list(found.values()))
    for shared in (as_json(env.facts, list(found.values()), True), as_html(env.facts, list(found.values()), True)):
        assert str(env.root.parent) not in shared and json.dumps(str(env.root.parent))[1:-1] not in shared and "leftover_files" in shared


def test_command(tmp_path: Path) -> None:
    def doctor(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "anytile", "doctor", *arguments], input=text, capture_output=True, text=True, timeout=60
        )

    assert doctor("--log", "-", text="all is well").returncode == 0
    failing = doctor("--log", "-", "--json", text="/usr/bin/ld: cannot find -lcuda")
    assert failing.returncode == 1 and json.loads(failing.stdout)["findings"][0]["cause"] == "linux_libcuda_link"
    missing = doctor("--python", str(tmp_path / "nowhere"))
    assert missing.returncode == 2 and "there is no" in missing.stderr
    nothing = doctor("--log", "-", text="\n")
    assert nothing.returncode == 2 and nothing.stderr.startswith("anytile: could not look: standard input is empty; paste what")


@pytest.mark.skipif(sys.platform == "win32", reason="there what PATH finds ends in .exe")
def test_a_file_that_belongs_to_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim of a version manager, say: that nothing is found around it does not mean that nothing is wrong."""
    shim = tmp_path / "shims" / "python3"
    shim.parent.mkdir()
    shim.write_text('#!/bin/sh\nexec python3 "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    for name in (str(shim), "python3"):
        with pytest.raises(FileNotFoundError, match="python3 belongs to no environment that could be found.*sys.executable"):
            collect(name)


def test_looking_imports_neither_torch_nor_triton() -> None:
    program = (
        "import sys; from anytile.env.collect import collect; collect(); print({'torch', 'triton', 'numpy', 'llvmlite'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.skipif(sys.platform == "win32", reason="environments there have a python.exe of their own")
def test_the_python_of_an_environment_is_gone(env: Environment) -> None:
    """As after an upgrade of the system, of Homebrew or of pyenv."""
    (env.root / "pyvenv.cfg").write_text(f"home = /opt/gone/bin\nversion = {MINOR}.1\n")
    (env.root / "bin").mkdir()
    link = env.root / "bin" / "python"
    link.symlink_to("/opt/gone/bin/python3")
    finding = env.findings()["win_wrong_wheel_or_stale_venv"]
    assert finding.evidence[0].text == "the Python that it was made of is gone from /opt/gone/bin"
    assert any("venv --clear" in c for fix in finding.fixes for c in fix.commands)
    assert collect(str(link)).interpreter.stale  # which does not exist, and says enough all the same
    with pytest.raises(FileNotFoundError, match="cannot run: the Python that it was made of is gone"):
        find_python(str(env.root))


@pytest.mark.skipif(sys.platform == "win32", reason="environments there have a python.exe of their own")
def test_the_python_of_an_environment_became_another(env: Environment, tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "python3.99").write_text("")
    (env.root / "bin").mkdir()
    (env.root / "bin" / "python").symlink_to(tmp_path / "opt" / "python3.99")
    evidence = env.findings()["win_wrong_wheel_or_stale_venv"].evidence[0].text
    assert evidence.startswith(f"it was made with Python {MINOR}, and its python is 3.99 now")


@pytest.mark.skipif(sys.platform == "win32", reason="there it is python.exe")
def test_systems_that_have_python3_alone(env: Environment) -> None:
    (env.root / "bin").mkdir()
    (env.root / "bin" / "python3").symlink_to(sys.executable)
    assert find_python(str(env.root)) == str(env.root / "bin" / "python3")
