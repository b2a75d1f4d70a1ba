"""The parts of `anytile lock` that need no resolver."""

from __future__ import annotations

import email
import io
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from anytile.env.lock.errors import LockError, NetworkError, RequestError
from anytile.env.lock.index import File, Index, Mirrors
from anytile.env.lock.partners import cuda_of, glibc_of, names_missing, partner_requirement, triton_line
from anytile.env.lock.project import caret, read
from anytile.env.lock.request import PLATFORMS, Request, Target, marker_for, minors
from anytile.env.lock.resolve import Question, parse, resolve
from anytile.env.lock.write import write_file
from anytile.env.pe import linker_of, read_pe

_LINUX, _ARM, _WINDOWS, _MAC = PLATFORMS.values()


@pytest.mark.parametrize(
    ("chosen", "among", "marker"),
    [
        ([_LINUX, _ARM, _WINDOWS, _MAC], PLATFORMS.values(), ""),
        ([_WINDOWS], [_LINUX, _WINDOWS], "sys_platform == 'win32'"),
        ([_LINUX], [_LINUX, _WINDOWS], "sys_platform == 'linux'"),
        ([_LINUX], [_LINUX, _ARM], "sys_platform == 'linux' and platform_machine == 'x86_64'"),
        ([_LINUX, _ARM, _WINDOWS], PLATFORMS.values(), "sys_platform != 'darwin'"),
        ([_LINUX, _WINDOWS], PLATFORMS.values(), "(sys_platform == 'linux' and platform_machine == 'x86_64') or sys_platform == 'win32'"),
    ],
)
def test_markers(chosen: list, among: list, marker: str) -> None:
    assert marker_for(chosen, among) == marker
    if marker:
        for p in among:
            assert Target(p, "3.11").holds(Requirement(f"x ; {marker}")) == (p in chosen)


@pytest.mark.parametrize(
    ("poetry", "pip"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("1.2", "==1.2"),
        ("1.*", "==1.*"),
        ("*", ""),
        (">=3.11, <3.13", ">=3.11,<3.13"),
        ("~=1.4", "~=1.4"),
    ],
)
def test_ranges_of_poetry(poetry: str, pip: str) -> None:
    assert caret(poetry) == pip


def test_pythons() -> None:
    assert minors("3.11")[1] == ("3.11",)
    assert minors(">=3.11,<3.13")[1] == ("3.11", "3.12")
    assert minors(">=3.10.4,<3.11")[1] == ("3.10",)
    specifier, found, note = minors(">=3.10")
    assert found == ("3.10",) and "has no end" in note
    with pytest.raises(RequestError, match="has no version in it"):
        minors("<3.8")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tool": "conda"}, "give one of poetry, uv, pip"),
        ({"platforms": ["bsd"]}, "give one of linux-x86_64"),
        ({"cuda": "twelve"}, "give a version such as 12.4, or cpu"),
        ({"packages": ["torch=2"]}, "is no requirement"),
        ({"packages": ["triton"]}, "add --triton upstream, or leave triton out"),
        ({"mirrors": ["nonsense"]}, "give FROM=TO"),
        ({"python": "three"}, "is no release of Python 3"),
        ({"source": "my gpu"}, "a name of letters"),
    ],
)
def test_wrong_requests(wrong: dict, said: str) -> None:
    good = {"packages": ["torch"], "python": "3.11", "platforms": ["linux"], "cuda": None, "tool": "uv"}
    with pytest.raises(RequestError, match=said):
        Request.parse(**{**good, **wrong})


def test_wheels_fit() -> None:
    def fits(name: str, platform: object, python: str) -> bool:
        return File(name, "u", None, False).fits(Target(platform, python))  # type: ignore[arg-type]

    assert fits("torch-2.5.1+cu124-cp311-cp311-linux_x86_64.whl", _LINUX, "3.11")
    assert not fits("torch-2.5.1+cu124-cp311-cp311-linux_x86_64.whl", _LINUX, "3.12")
    assert not fits("torch-2.5.1-cp311-cp311-linux_aarch64.whl", _LINUX, "3.11")
    assert fits("xformers-0.0.34-cp39-abi3-manylinux_2_28_x86_64.whl", _LINUX, "3.12")
    assert fits("torch-2.8.0-cp311-none-macosx_11_0_arm64.whl", _MAC, "3.11")
    assert fits("x-1-py3-none-any.whl", _WINDOWS, "3.13") and fits("x-1-py3-none-win_amd64.whl", _WINDOWS, "3.13")
    assert fits("x-1-py2.py3-none-any.whl", _LINUX, "3.11") and not fits("x-1-py2-none-any.whl", _LINUX, "3.11")


def test_triton_of_a_platform_that_metadata_is_silent_about() -> None:
    torch = email.message_from_string(
        'Name: torch\nRequires-Dist: sympy\nRequires-Dist: triton (==3.1.0) ; platform_system == "Linux" and platform_machine == "x86_64"\n'
        'Requires-Dist: nvidia-cuda-runtime-cu12 (==12.4.127) ; platform_system == "Linux" and platform_machine == "x86_64"\n'
    )
    line = triton_line(torch)
    assert line is not None and str(partner_requirement(line, "triton-windows")) == "triton-windows==3.1.*"
    assert str(partner_requirement(Requirement("triton~=3.8.0"), "triton")) == "triton==3.8.*"
    assert cuda_of(torch, Target(_LINUX, "3.11")) == "12.4"
    assert cuda_of(torch, Target(_ARM, "3.11")) is None and cuda_of(torch, Target(_WINDOWS, "3.11")) is None


def test_libraries_by_tags_and_headers() -> None:
    names = ("a-1-cp311-cp311-manylinux1_x86_64.whl", "b-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl")
    assert glibc_of(File(n, "u", None, False) for n in names) == "2.27"
    assert glibc_of([File("a-1-cp311-cp311-linux_x86_64.whl", "u", None, False)]) is None
    pip = pytest.importorskip("pip")
    launcher = next(iter(Path(pip.__file__).parent.glob("_vendor/distlib/t64.exe")), None)
    if launcher is not None:
        pe = read_pe(launcher)
        assert pe is not None and linker_of(launcher.read_bytes()[:4096]) == pe.linker
    assert linker_of(b"MZ") is None and linker_of(b"") is None


def test_names_are_compared_across_wheels() -> None:
    class Wheel:
        def __init__(self, **files: str) -> None:
            self._files = {k.replace("__", "/") + ".py": v for k, v in files.items()}
            self.names = list(self._files)

        def read(self, name: str) -> bytes:
            return self._files[name].encode()

    torch = Wheel(torch___inductor__hints="from triton.compiler.compiler import AttrsDescriptor\n", torch__other="import triton.gone\n")
    old = Wheel(triton__init="", triton__compiler__compiler="class AttrsDescriptor: ...\n")
    new = Wheel(triton__init="", triton__compiler__compiler="x = 1\n")
    assert names_missing(torch, old) == []  # type: ignore[arg-type]
    assert [(m.line, m.name) for m in names_missing(torch, new)] == [(1, "AttrsDescriptor")]  # type: ignore[arg-type]


def test_what_uv_prints() -> None:
    text = """\
jinja2==3.1.6 \\
    --hash=sha256:01 \\
    --hash=sha256:02
    # via torch
torch==2.5.1+cu124 \\
    --hash=sha256:03
    # via -c pyproject.toml, anytile-lock (pyproject.toml), xformers
x @ https://example.org/x-1-py3-none-any.whl \\
    --hash=sha256:04
    # via anytile-lock (pyproject.toml)
"""
    found = parse(text)
    assert found["jinja2"].hashes == ("sha256:01", "sha256:02") and found["jinja2"].via == ("torch",)
    assert str(found["torch"].version) == "2.5.1+cu124" and found["torch"].via == ("you", "xformers")
    assert found["x"].url == "https://example.org/x-1-py3-none-any.whl" and found["x"].version is None


def test_mirrors_go_both_ways() -> None:
    mirrors = Mirrors([("https://pypi.org/simple", "http://local/s")])
    assert mirrors.ask("https://pypi.org/simple/torch/") == "http://local/s/torch/"
    assert mirrors.name("http://local/s/torch/") == "https://pypi.org/simple/torch/"
    assert mirrors.ask("https://elsewhere/x") == "https://elsewhere/x"


def test_metadata_out_of_a_wheel_by_ranges(tmp_path: Path) -> None:
    """A wheel of 3 MB on a server: two or three blocks of it are fetched."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr("x/data.bin", bytes(3 << 20))
        z.writestr("x-1.dist-info/METADATA", "Name: x\nVersion: 1\nRequires-Dist: y==2\n")
    wheel, sent = buffer.getvalue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(wheel)))
            self.end_headers()

        def do_GET(self) -> None:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            body = wheel[first : last + 1]
            sent.append(len(body))
            self.send_response(206)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        file = File("x-1-py3-none-any.whl", f"http://127.0.0.1:{server.server_port}/x-1-py3-none-any.whl", None, False)
        assert Index("http://unused").metadata(file).get_all("Requires-Dist") == ["y==2"]
        assert sum(sent) < len(wheel) / 2
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("old")
    file.chmod(0o640)
    write_file(file, "new")
    assert file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o640

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_file(file, "newer")
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


def test_what_a_project_says(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\npython = "^3.11"\ntorch = {version = "^2.5", source = "gpu", markers = "sys_platform != \'darwin\'"}\n'
        'mine = {path = "../mine"}\nsome = {version = "*", optional = true}\n'
        '[[tool.poetry.source]]\nname = "gpu"\nurl = "https://example.org/gpu"\npriority = "explicit"\n'
    )
    project = read(None, None, tmp_path)
    assert project.tool == "poetry" and project.python == ">=3.11,<4"
    assert [str(d) for d in project.dependencies] == ['torch<3,>=2.5; sys_platform != "darwin"']
    assert project.sources[0].explicit and project.sourced == (("torch", "gpu"),)
    assert "mine comes from path" in project.notes[0]
    (tmp_path / "pyproject.toml").write_text("[tool\n")
    with pytest.raises(RequestError, match="no valid TOML"):
        read(None, None, tmp_path)


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert "proxy " not in str(NetworkError("https://pypi.org/simple", "refused")).partition("refused")[0]
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    told = str(NetworkError("https://pypi.org/simple", "refused"))
    assert "(through the proxy proxy.example:3128, which the environment names): refused" in told and "secret" not in told
    monkeypatch.setenv("NO_PROXY", "pypi.org")
    assert "through" not in str(NetworkError("https://pypi.org/simple", "refused"))


def test_without_uv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.setattr("shutil.which", lambda *_: None)
    request = Request.parse(["torch"], "3.11", ["linux"], None, "uv")
    with pytest.raises(LockError, match="pip install uv"):
        resolve(Question(request.packages), request)


def test_without_tomlkit_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(LockError, match=r"run `pip install tomlkit uv`, .* anytile\[lock\]"):
        read(None, None, tmp_path)
