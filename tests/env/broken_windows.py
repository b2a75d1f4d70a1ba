"""The broken environments of Windows: a Windows CPython under wine, genuine wheels for Windows, the doctor run in that Python.

The interpreter is made as scripts/windows.sh makes it (ANYTILE_TEST_WINDOWS names a folder that has one, with its wine prefix).
Wine's texts are not Windows's, so what a failing import says is not compared; that it fails, and works afterwards, is.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from broken import Broken, Sandbox, hollow, scenario, whole

_WINE = "/usr/lib/wine/wine64"
_MINOR, _CP = "3.11", "cp311"
_WHEEL = rf"(?:{_CP}|cp3\d+-abi3|py3).*(?:win_amd64|none-any)"
_TORCH_NEEDS = ("typing_extensions", "filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec")
_DOCTOR_NEEDS = ("packaging",)
_SOURCE = Path(__file__).resolve().parents[2] / "src"


def home() -> Path:
    """The folder with `py` (the interpreter) and `prefix` (wine's)."""
    return Path(os.environ.get("ANYTILE_TEST_WINDOWS") or Path.home() / ".cache" / "anytile-tests" / "windows")


class WindowsSandbox(Sandbox):
    """A copy of the interpreter on drive C of the prefix, with packages put in by the host's pip."""

    def __init__(self, root: Path, system_site: bool = False) -> None:
        if not (home() / "py" / "python.exe").is_file() or not Path(_WINE).is_file():
            raise LookupError(f"there is no Windows Python in {home()} or no wine; scripts/windows.sh makes both")
        self.root, self.work = root, root / "work"
        self.work.mkdir(parents=True)
        self.prefix = home() / "prefix"
        self.base = self.prefix / "drive_c" / f"py{os.getpid()}"
        shutil.rmtree(self.base, ignore_errors=True)
        shutil.copytree(home() / "py", self.base, symlinks=True)
        self.site = self.base / "Lib" / "site-packages"
        self.python = str(self.base / "python.exe")
        inside = f"C:\\{self.base.name}"
        self.env = {
            **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SSL_CERT_FILE", "PIP_CERT", "HTTPS_PROXY", "HTTP_PROXY")},
            "WINEPREFIX": str(self.prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            # Microsoft's own runtime and no other: wine's stand-ins would hide that one is missing.
            "WINEDLLOVERRIDES": "ucrtbase,msvcp140,vcruntime140,vcruntime140_1,vcruntime140_threads=n",
            "PYTHONHOME": inside,
            "PYTHONPATH": f"{inside}\\DLLs",
            "KMP_AFFINITY": "disabled",
            "TRITON_CACHE_DIR": f"{inside}\\tc",
            "TORCHINDUCTOR_CACHE_DIR": f"{inside}\\ti",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PYTHONIOENCODING": "utf-8",
        }
        self._host_pip(*_DOCTOR_NEEDS)
        self.borrow("pip", "setuptools")  # triton imports setuptools and does not require it
        (self.site / "anytile-source.pth").write_text("Z:" + str(_SOURCE).replace("/", "\\") + "\n")
        system = self.prefix / "drive_c" / "windows" / "system32"
        for file in [*system.glob("msvcp140*.dll"), *system.glob("vcruntime140*.dll")]:
            file.unlink()  # a Windows as it comes has none of them

    def close(self) -> None:
        shutil.rmtree(self.base, ignore_errors=True)

    def _host_pip(self, *what: str, options: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--no-warn-conflicts", "--upgrade"]
        command += ["--target", str(self.site), "--only-binary=:all:", "--platform", "win_amd64", "--python-version", _MINOR, *options]
        done = subprocess.run([*command, *what], capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-1500:]

    def install(self, *wheels: Path) -> None:
        """Puts wheels in as they are, without what they require."""
        self._host_pip(*map(str, wheels), options=("--no-deps",))

    def run(self, command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """A line of a Windows terminal. Variables set by it hold for later lines."""
        words = [w.strip('"') if w[:1] == '"' else w.replace('"', "") for w in shlex.split(command, posix=False)]
        if words[0].lower() in ("set", "setx"):
            name, value = words[1].split("=", 1) if words[0].lower() == "set" else (words[1], words[2])
            self.env[name] = value
            return subprocess.CompletedProcess(command, 0, "", "")
        if words[0].lower() in ("copy", "ren", "del"):
            words = ["cmd", "/c", *words]
        elif words[0] in ("python", "python.exe"):
            words[0] = self.python
        # Its standard streams have to be pipes; files and /dev/null fail at the start of wine's programs.
        done = subprocess.run(
            [_WINE, *words], cwd=self.work, env=self.env, capture_output=True, text=True, errors="replace", input="", timeout=560
        )
        if check and done.returncode:
            raise AssertionError(f"{command}\nexit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-2000:]}")
        return done

    def doctor(self) -> list[dict]:
        # Without the command line in front of it: that loads pydantic, whose Rust wants a DLL which wine 8 has not.
        done = self.run('python -c "import sys; from anytile.cli.doctor import run; sys.exit(run(None, None, True, None, False))"')
        if not done.stdout.startswith("{"):
            raise AssertionError(f"the doctor could not look: {done.stdout[-500:]}{done.stderr[-2000:]}")
        return json.loads(done.stdout)["findings"]


def _runtime(box: WindowsSandbox, wheel: Path, name: str = "msvcp140") -> None:
    """Puts the copy of the C++ runtime that this wheel brings beside python.exe, as installers of other programs do."""
    with zipfile.ZipFile(wheel) as z:
        member = next(n for n in z.namelist() if Path(n).name.lower().startswith(name) and n.lower().endswith(".dll"))
        (box.base / f"{name}.dll").write_bytes(z.read(member))


def _windows(name: str):
    return scenario(name, heavy=True, network=True, box=WindowsSandbox)


@_windows("Windows: old VC++ runtime")
def old_runtime(box: WindowsSandbox) -> Broken:
    """An msvcp140.dll of 2017 lies beside the base python.exe; libtriton was linked by a newer toolset."""
    box.install(whole("triton-windows", "3.2.0.post21", _WHEEL))
    _runtime(box, whole("pyzmq", "26.0.0", rf"{_CP}.*win_amd64"))
    return Broken("win_vcredist_old", 'python -c "import triton"', "libtriton")


@_windows("Windows: missing DLL dependency")
def missing_dll(box: WindowsSandbox) -> Broken:
    """torch 2.14.1 wants VCRUNTIME140_THREADS.dll; the message names shm.dll."""
    box._host_pip(*_TORCH_NEEDS)
    box.install(whole("torch", "2.14.1", _WHEEL))
    return Broken("win_dll_missing_dep", 'python -c "import torch"', "", evidence="VCRUNTIME140_THREADS.dll")


@_windows("Windows: API skew, torch 2.6.0 with triton-windows 3.3.1")
def skew(box: WindowsSandbox) -> Broken:
    """Nothing on Windows ties the two together: cannot import name 'AttrsDescriptor'."""
    box._host_pip(*_TORCH_NEEDS)
    box.install(whole("torch", "2.6.0", _WHEEL), whole("triton-windows", "3.3.1.post21", _WHEEL))
    return Broken(
        "torch_triton_api_skew", 'python -c "import torch._inductor.runtime.hints"', "AttrsDescriptor", evidence="AttrsDescriptor"
    )


@_windows("Windows: extension of another Python")
def other_python(box: WindowsSandbox) -> Broken:
    """site-packages was copied from a Python 3.12: libtriton.pyd asks for python312.dll."""
    box.unpack(whole("triton-windows", "3.2.0.post21", r"cp312.*win_amd64"))
    return Broken("win_wrong_wheel_or_stale_venv", 'python -c "import triton"', "libtriton")


@_windows("Windows: path too long")
def long_path(box: WindowsSandbox) -> Broken:
    """The compile cache lies deep in the user's folder, and a path in it passes 260 characters."""
    box.install(hollow("triton-windows", "3.2.0.post21", _WHEEL))
    deep = box.base / ("a_folder_with_a_long_name_" * 4) / ("another_folder_with_a_long_name_" * 4)
    (deep / ("k" * 20)).mkdir(parents=True)
    (deep / ("k" * 20) / "triton_poi_fused_add_0.source").write_text("x")
    box.env["TRITON_CACHE_DIR"] = "C:" + str(deep).partition("drive_c")[2].replace("/", "\\")
    return Broken("long_path", evidence="characters")
