"""Whole stories on real environments of genuine wheels: broken, diagnosed, repaired by the tool's own remedy, rebuilt, verified.

    python scripts/stories.py linux            torchvision 0.20.1 beside torch 2.13.0, upstream wheels for Linux
    python scripts/stories.py windows-skew     torch 2.6.0 beside triton-windows 3.3.1, of another generation, on a Windows Python under wine
    python scripts/stories.py windows-runtime  `DLL load failed while importing libtriton`: an old msvcp140.dll beside the base python.exe

    --folder DIR   where the environments, wheels and wine's files are made, and found again   (default: a folder in the temporary one)
    --record       append the result to bench/results/stories.jsonl

Needs a package index; the ones for Windows also root on a Debian or Ubuntu machine (wine, see scripts/windows.sh) and a Linux Python
3.11. Exit status 0 where a story ended green. The first run of each downloads 300 MB (Windows) or what torch needs (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "bench" / "results" / "stories.jsonl"
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[\\/](?:[\w.~+-]+[\\/])+")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class StoryFailed(Exception):
    """A chapter did not end as it should."""


class Story:
    """Chapters with what was run, what came of it, and how long it took."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chapters: list[dict[str, Any]] = []

    def tell(self, chapter: str, command: str, seconds: float, result: str) -> None:
        """One chapter is over. Of paths the names are kept: the folders are this machine's."""
        command, result = (_FOLDERS.sub("", text) for text in (command, result))
        self.chapters.append({"chapter": chapter, "command": command, "seconds": round(seconds, 1), "result": result})
        print(f"{chapter:10} {seconds:6.1f} s  {result}", flush=True)

    def run(self, chapter: str, run: Run, *arguments: str, ok: bool = True) -> str:
        """Runs a command that has to succeed (or, with ``ok`` false, to fail) and returns what it printed."""
        start = time.perf_counter()
        answer = run(*arguments)
        out = answer.stdout + answer.stderr
        if (answer.returncode == 0) != ok:
            raise StoryFailed(f"{chapter}: `{' '.join(arguments)}` ended with {answer.returncode}:\n{out[-3000:]}")
        last = next((line.strip() for line in reversed(out.splitlines()) if line.strip()), "")
        self.tell(chapter, " ".join(arguments)[:200], time.perf_counter() - start, last[:160])
        return out

    def diagnose(self, anytile: Run, environment: str, cause: str) -> dict[str, Any]:
        """The doctor's finding, which has to be the first and ``cause``."""
        start = time.perf_counter()
        answer = anytile("doctor", "--python", environment, "--json")
        if answer.returncode != 1:
            raise StoryFailed(f"doctor ended with {answer.returncode}:\n{(answer.stdout + answer.stderr)[-3000:]}")
        findings = json.loads(answer.stdout)["findings"]
        first: dict[str, Any] = findings[0]
        if first["cause"] != cause:
            raise StoryFailed(f"the doctor said {[f['cause'] for f in findings]}, not {cause}")
        self.tell(
            "doctor", "anytile doctor", time.perf_counter() - start, f"{cause} {first['confidence']:.0%}: {first['evidence'][0]['text']}"
        )
        return first

    def healthy(self, anytile: Run, environment: str, cause: str) -> None:
        """The doctor no longer finds ``cause``."""
        start = time.perf_counter()
        causes = [f["cause"] for f in json.loads(anytile("doctor", "--python", environment, "--json").stdout)["findings"]]
        if cause in causes:
            raise StoryFailed(f"the doctor still says {causes}")
        self.tell("doctor", "anytile doctor", time.perf_counter() - start, f"no longer {cause}")

    def lock(self, project: Path, system: str, wanted: Sequence[str]) -> None:
        """`anytile lock` writes the requirements file: what the remedy asks for, with everything that it needs, and hashes."""
        anytile = program(sys.executable, "-m", "anytile", cwd=project)
        options = ("--tool", "pip", "--platform", system, "--python", "3.11", "--triton", "upstream")
        self.run("lock", anytile, "lock", *wanted, "numpy", "setuptools", *options)

    def verified(self, anytile: Run, environment: str, wanted: Sequence[str]) -> None:
        """Every row is green, and the rows ``wanted`` were not skipped."""
        start = time.perf_counter()
        answer = anytile("verify", "--python", environment, "--json")
        document = json.loads(answer.stdout)
        bad = [(r["title"], r["detail"]) for r in document["rows"] if r["verdict"] not in ("passed", "skipped")]
        passed = [r["title"] for r in document["rows"] if r["verdict"] == "passed"]
        absent = [w for w in wanted if w not in passed]
        if answer.returncode or bad or absent:
            raise StoryFailed(f"verify ended with {answer.returncode}: failed {bad}, not passed {absent}")
        self.tell("verify", "anytile verify", time.perf_counter() - start, f"{len(passed)} rows passed: {', '.join(passed)}")


def pins(finding: dict[str, Any]) -> list[str]:
    """The requirements that the first remedy of a finding installs."""
    for fix in finding["fixes"]:
        for command in fix["commands"]:
            words = shlex.split(command, posix=True)
            verb = next((i for i, w in enumerate(words) if w in ("install", "add")), None)
            if verb is not None and (found := [w for w in words[verb + 1 :] if not w.startswith("-") and "://" not in w]):
                return found
    raise StoryFailed(f"no remedy of {finding['cause']} installs anything")


def program(*prefix: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> Run:
    """A function that runs ``prefix`` with more arguments."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *arguments],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=1500,
        )

    return run


# ---- Linux ------------------------------------------------------------------------------------------------------------------------


def linux(folder: Path) -> Story:
    """torchvision 0.20.1 beside torch 2.13.0, which it was not built for: `operator torchvision::nms does not exist`."""
    story = Story("linux")
    project = folder / "linux"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    uv = shutil.which("uv")
    python = project / ".venv" / "bin" / "python"
    anytile = program(sys.executable, "-m", "anytile", cwd=project)
    here = program(cwd=project)
    story.run("broken", here, *([uv, "venv", "-q", ".venv", "--python", sys.executable] if uv else [sys.executable, "-m", "venv", ".venv"]))
    install = [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
    story.run("broken", here, *install, "torch==2.13.0", "numpy", "pillow", "setuptools")
    story.run("broken", here, *install, "--no-deps", "torchvision==0.20.1")
    said = story.run("broken", program(str(python), cwd=project), "-c", "import torchvision", ok=False)
    if "torchvision::nms" not in said:
        raise StoryFailed(f"broken in another way:\n{said}")
    story.run("broken", anytile, "verify", "--python", ".venv", ok=False)
    finding = story.diagnose(anytile, ".venv", "torchvision_mismatch")
    story.lock(project, "linux-x86_64", pins(finding))
    story.run("rebuild", anytile, "rebuild", "--yes", "--keep-caches")
    story.verified(anytile, ".venv", ["import torch", "import torchvision", "import triton", "torch matmul", "torch.compile"])
    story.healthy(anytile, ".venv", finding["cause"])
    return story


# ---- Windows ----------------------------------------------------------------------------------------------------------------------

_WINE = "/usr/lib/wine/wine64"
_WHEELS = (
    *("torch==2.6.0", "triton-windows==3.2.0.post21", "triton-windows==3.3.1.post21", "numpy==2.4.6", "sympy==1.13.1", "mpmath==1.3.0"),
    *("networkx", "jinja2", "fsspec", "filelock", "typing_extensions", "markupsafe", "setuptools", "pip"),
)
# What CPython's venvlauncher does: starts the base python.exe named by `home` in pyvenv.cfg, telling it who asked.
_LAUNCHER = r"""
#include <windows.h>
#include <stdio.h>
#include <wchar.h>
int wmain(void) {
    static wchar_t self[4096], config[4096], base[4096], line[4096];
    GetModuleFileNameW(0, self, 4096);
    wcscpy(config, self);
    *wcsrchr(config, L'\\') = 0;
    wcscpy(wcsrchr(config, L'\\'), L"\\pyvenv.cfg");
    FILE *file = _wfopen(config, L"r");
    while (file && fgetws(line, 4096, file)) {
        wchar_t *value = wcschr(line, L'=');
        if (wcsncmp(line, L"home ", 5) == 0 && value) {
            line[wcscspn(line, L"\r\n")] = 0;
            swprintf(base, 4096, L"%ls\\python.exe", value + 2);
        }
    }
    if (file) fclose(file);
    if (!*base) return 106;
    SetEnvironmentVariableW(L"__PYVENV_LAUNCHER__", self);
    STARTUPINFOW start; PROCESS_INFORMATION made;
    GetStartupInfoW(&start);
    if (!CreateProcessW(base, GetCommandLineW(), 0, 0, TRUE, 0, 0, 0, &start, &made)) return 101;
    WaitForSingleObject(made.hProcess, INFINITE);
    DWORD code = 1;
    GetExitCodeProcess(made.hProcess, &code);
    return (int)code;
}
"""
# Windows 10 has this function; wine 8 has no such DLL, and programs in Rust (a dependency of the command line) want it.
_RANDOM = r"""
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) { return SystemFunction036(data, (ULONG)length); }
"""


def winpath(path: Path) -> str:
    """A path of this system as wine's programs see it."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


class Windows:
    """A Windows Python under wine, made by scripts/windows.sh, with this anytile in it."""

    def __init__(self, folder: Path) -> None:
        self.box, self.wheels, self.old = folder / "box", folder / "wheels", folder / "old"
        self.home = self.box / "python"
        self.system32 = self.box / "prefix" / "drive_c" / "windows" / "system32"
        if not (self.box / "made").exists():
            subprocess.run([REPOSITORY / "scripts" / "windows.sh", self.box, "-c", "pass"], check=True)
        self._complete()
        for target, wanted in ((self.wheels, _WHEELS), (self.old, ("scikit-learn==1.1.3",))):
            if not target.is_dir():
                for one in wanted:
                    self._pip("download", "-q", "--no-deps", "-d", str(target), *self._for_windows(), one)

    @staticmethod
    def _for_windows() -> tuple[str, ...]:
        return "--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:"

    @staticmethod
    def _pip(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, stderr=subprocess.DEVNULL)

    def _complete(self) -> None:
        """What a Windows installation has and the box has not; anytile of this working tree."""
        launcher = self.home / "Lib" / "venv" / "scripts" / "nt" / "python.exe"
        launcher.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as made:
            for source, output, options in (
                (_LAUNCHER, launcher, ("-municode",)),
                (_RANDOM, self.system32 / "bcryptprimitives.dll", ("-shared", "-ladvapi32")),
            ):
                (Path(made) / "x.c").write_text(source)
                subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", Path(made) / "x.c", "-o", output, *options], check=True)
            self._pip("wheel", "-q", "--no-deps", "-w", made, str(REPOSITORY))
            [wheel] = Path(made).glob("anytile-*.whl")
            site = str(self.home / "Lib" / "site-packages")
            self._pip("install", "-q", "--no-warn-conflicts", "--no-deps", "--upgrade", "--target", site, str(wheel))

    def python(self, cwd: Path, executable: Path | None = None) -> Run:
        """A function that runs the base python.exe, or that of an environment; wine's Python starts only on pipes."""

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            process = subprocess.Popen(
                [_WINE, str(executable or self.home / "python.exe"), *arguments],
                cwd=cwd,
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            out, err = process.communicate(timeout=1500)
            return subprocess.CompletedProcess(arguments, process.returncode, out, err)

        return run

    def environment(self) -> dict[str, str]:
        """Of every process under wine."""
        native = "ucrtbase,msvcp140,vcruntime140,vcruntime140_1=n,b"
        mine = {"WINEPREFIX": str(self.box / "prefix"), "WINEARCH": "win64", "WINEDEBUG": "-all", "WINEDLLOVERRIDES": native}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
        return {**kept, **mine, "KMP_AFFINITY": "disabled", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}

    def anytile(self, cwd: Path) -> Run:
        """anytile's command line, run by the base Python: one that is in no environment."""
        run = self.python(cwd)
        return lambda *arguments: run("-m", "anytile", *arguments)

    def project(self, folder: Path, triton: str) -> Path:
        """A project whose environment holds torch 2.6.0 and the release ``triton`` of Triton for Windows."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = self.python(folder)("-m", "venv", "--without-pip", ".venv")
        if made.returncode:
            raise StoryFailed(f"no virtual environment: {made.stderr}")
        site = str(folder / ".venv" / "Lib" / "site-packages")
        offline = ("--no-index", "--find-links", str(self.wheels), "--no-deps", "--target", site, *self._for_windows())
        names = [w.partition("==")[0] if "==" not in w else w for w in _WHEELS if not w.startswith(("triton", "pip"))]
        self._pip("install", "-q", "--no-compile", *offline, *names, f"triton-windows=={triton}")
        return folder

    def offline(self, project: Path) -> tuple[str, ...]:
        """Arguments for the pip under wine: the wheels of the project's requirements are fetched here, where there is a network."""
        self._pip("download", "-q", "--no-deps", "-d", str(self.wheels), "-r", str(project / "requirements.txt"), *self._for_windows())
        return "--no-index", "--find-links", winpath(self.wheels), "--no-compile"


_WINDOWS_ROWS = ("import torch", "import triton", "import torch._inductor", "torch matmul", "triton to machine code")


def windows_skew(folder: Path) -> Story:
    """`cannot import name 'AttrsDescriptor'`: torch 2.6.0 wants Triton 3.2, and no metadata on Windows says so."""
    story = Story("windows-skew")
    windows = Windows(folder)
    project = windows.project(folder / "skew", "3.3.1.post21")
    anytile, python = windows.anytile(project), windows.python(project, project / ".venv" / "Scripts" / "python.exe")
    said = story.run("broken", python, "-c", "import torch._inductor.runtime.hints", ok=False)
    if "AttrsDescriptor" not in said:
        raise StoryFailed(f"broken in another way:\n{said}")
    finding = story.diagnose(anytile, ".venv", "torch_triton_api_skew")
    story.lock(project, "windows", ["torch==2.6.0", *pins(finding)])
    story.run("rebuild", anytile, "rebuild", "--yes", "--keep-caches", "--", *windows.offline(project))
    story.verified(anytile, ".venv", _WINDOWS_ROWS)
    story.healthy(anytile, ".venv", finding["cause"])
    story.run("script", windows.python(project, project / ".venv" / "Scripts" / "pip.exe"), "--version")
    return story


def windows_runtime(folder: Path) -> Story:
    """An msvcp140.dll of Visual C++ 14.32 beside the base python.exe; a current one in System32, as the redistributable leaves it."""
    story = Story("windows-runtime")
    windows = Windows(folder)
    project = windows.project(folder / "runtime", "3.2.0.post21")
    anytile, python = windows.anytile(project), windows.python(project, project / ".venv" / "Scripts" / "python.exe")
    beside = windows.home / "msvcp140.dll"
    current = beside.read_bytes()
    try:
        (windows.system32 / "msvcp140.dll").unlink(missing_ok=True)
        (windows.system32 / "msvcp140.dll").write_bytes(current)
        [wheel] = windows.old.glob("scikit_learn-*.whl")
        with zipfile.ZipFile(wheel) as z:
            beside.write_bytes(z.read(next(n for n in z.namelist() if n.endswith("msvcp140.dll"))))
        said = story.run("broken", python, "-c", "import triton._C.libtriton", ok=False)
        if "DLL load failed while importing libtriton" not in said:
            raise StoryFailed(f"broken in another way:\n{said}")
        finding = story.diagnose(anytile, ".venv", "win_vcredist_old")
        copies = [c for fix in finding["fixes"] for c in fix["commands"] if c.startswith("copy ") and "msvcp140" in c]
        cmd = windows.python(project, Path("cmd.exe"))
        story.run("remedy", cmd, "/c", copies[0].replace('"', ""))
        story.lock(project, "windows", ["torch==2.6.0", "triton-windows==3.2.*"])
        story.run("rebuild", anytile, "rebuild", "--yes", "--keep-caches", "--", *windows.offline(project))
        story.verified(anytile, ".venv", _WINDOWS_ROWS)
        story.healthy(anytile, ".venv", finding["cause"])
    finally:
        beside.write_bytes(current)
    return story


STORIES = {"linux": linux, "windows-skew": windows_skew, "windows-runtime": windows_runtime}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("story", choices=STORIES)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "anytile-stories")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        story = STORIES[options.story](options.folder.resolve())
    except StoryFailed as e:
        print(f"{options.story}: {e}", file=sys.stderr)
        return 1
    row = {
        "story": story.name,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(time.perf_counter() - start),
        "chapters": story.chapters,
    }
    if options.record:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        others = [r for r in map(json.loads, RESULTS.read_text().splitlines()) if r["story"] != story.name] if RESULTS.is_file() else []
        RESULTS.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in sorted([*others, row], key=lambda r: r["story"])))
    print(f"{story.name}: green after {row['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
