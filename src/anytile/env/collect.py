"""Looks at an environment by reading its files. Nothing of it is imported, so that what crashes cannot crash the doctor."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from .binaries import elf_problems, pe_problems
from .caches import find_caches, home_folder
from .dists import leftovers, read_distributions, triton_requirement
from .facts import Distribution, Facts, Gpu, Interpreter, Library, MissingName, Platform, Project, Torch, Triton
from .managers import manager_of
from .sources import Package, missing_names, missing_submodules

__all__ = ["SWITCH", "collect", "find_python", "venv_settings"]

_VARIABLES = (
    *("CC", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH"),
    *(
        "PYTHONNOUSERSITE",
        "TRITON_CACHE_DIR",
        "TRITON_LIBCUDA_PATH",
        "TRITON_PTXAS_PATH",
        "TORCHINDUCTOR_CACHE_DIR",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
    ),
)
SWITCH = "anytile-triton.pth"  # what `anytile enable` writes
_SHADOWABLE = ("triton", "torch", "xformers", "bitsandbytes", "numpy", "unsloth")
_USES_TRITON = ("bitsandbytes", "xformers", "unsloth", "unsloth-zoo", "flash-attn", "liger-kernel")


def _root(python: str) -> tuple[Path, str]:
    """(folder of the environment, executable) of a path to either."""
    path = Path(python).expanduser()
    if not path.exists() and path.name == python and (found := shutil.which(python)):
        path = Path(found)  # a command: python3.12
    if path.is_symlink() and not path.exists() and (path.parent.parent / "pyvenv.cfg").is_file():
        return path.parent.parent, ""  # the Python of the environment is gone
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a python executable or the folder of an environment")
    if path.is_dir():
        for candidate in ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe"):
            if (path / candidate).exists():
                return path, str(path / candidate)
        if list(path.glob("lib/python3*/site-packages")) or (path / "Lib" / "site-packages").is_dir():
            return path, ""
        raise FileNotFoundError(f"{path} is no Python environment: it has neither bin/python nor python.exe nor site-packages")
    return (path.parent.parent if path.parent.name.lower() in ("bin", "scripts") else path.parent), str(path)


def find_python(python: str | None) -> str:
    """The executable of ``python``, a path to one or to the folder of an environment; None: the Python that runs this.

    Raises FileNotFoundError where there is none.
    """
    if python is None:
        return sys.executable
    root, executable = _root(python)
    if not executable:
        if stale := _stale(root, venv_settings(root), ""):
            raise FileNotFoundError(f"{root} cannot run: {stale}; `anytile doctor --python` says what to do")
        raise FileNotFoundError(f"{root} has site-packages, but neither bin/python nor python.exe: there is no interpreter to run")
    return executable


def venv_settings(folder: Path) -> dict[str, str]:
    """What `pyvenv.cfg` in ``folder`` says, keys in lower case; empty where there is none."""
    try:
        lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {k.strip().lower(): v.strip() for k, _, v in (line.partition("=") for line in lines)}


def _stale(root: Path, config: dict[str, str], executable: str) -> str:
    """What befell the Python that the virtual environment ``root`` was made of, after an upgrade for instance; empty where it is well.

    Windows trees name folders of another machine when Linux looks at them; their Python is a file of their own.
    """
    made = re.match(r"3\.\d+", config.get("version") or config.get("version_info") or "")
    if not config.get("home"):
        return ""
    if os.name == "nt":
        try:
            os.stat(config["home"])
        except FileNotFoundError:
            return f"the Python that it was made of is gone from {config['home']}"
        except OSError:  # the folders of Windows' store may not be looked at
            pass
        return ""
    if any((link := root / "bin" / n).is_symlink() and not link.exists() for n in ("python", "python3")):
        return f"the Python that it was made of is gone from {config['home']}"
    now = re.search(r"python(3\.\d+)$", os.path.realpath(executable)) if executable else None
    if made and now and made.group() != now[1]:
        return f"it was made with Python {made.group()}, and its python is {now[1]} now ({os.path.realpath(executable)})"
    return ""


def _interpreter(python: str | None) -> tuple[Interpreter, str]:
    """The interpreter, and the system that its folders are of."""
    root, executable = (Path(sys.prefix), sys.executable) if python is None else _root(python)
    windows = (root / "Lib" / "site-packages").is_dir() and not (root / "bin").is_dir() or (root / "python.exe").is_file()
    config = venv_settings(root)
    base = Path(config["home"]) if "home" in config else Path(os.path.realpath(executable)).parent if executable else root
    if not windows and base.name == "bin":
        base = base.parent
    if not base.is_dir():
        base = root
    version = re.match(r"3\.\d+(?:\.\d+)?", config.get("version") or config.get("version_info") or "")
    minors = [m[1] for p in (root, base) for f in sorted(p.glob("lib/python3.*")) if (m := re.fullmatch(r"python(3\.\d+)", f.name))]
    dlls = [f"3.{m[1]}" for f in sorted(base.glob("python3*.dll")) if (m := re.fullmatch(r"python3(\d+)\.dll", f.name))]
    linked = re.search(r"python(3\.\d+)", os.path.realpath(executable)) if executable else None
    known = platform.python_version() if python is None else version.group() if version else linked.group(1) if linked else None
    number = known or next(iter([*minors, *dlls]), None)
    minor = ".".join((number or "3").split(".")[:2])
    own = (
        [root / "Lib" / "site-packages"]
        if windows
        else [root / f"lib/python{minor}/site-packages", root / f"lib64/python{minor}/site-packages"]
    )
    outer = config.get("include-system-site-packages") == "true"
    if not windows and (outer or not config):
        own += [
            base / f"lib/python{minor}/site-packages",
            base / f"local/lib/python{minor}/dist-packages",
            base / "lib/python3/dist-packages",
        ]
    if windows:
        user = (
            Path(os.environ.get("APPDATA", "")) / f"Python/Python{minor.replace('.', '')}/site-packages"
            if "APPDATA" in os.environ
            else None
        )
    else:
        user = home_folder() / f".local/lib/python{minor}/site-packages"
    isolated = bool(config) or (root / "conda-meta").is_dir() or (windows and any(root.glob("python3*._pth")))
    reads_user = isolated and (outer or not config) and "PYTHONNOUSERSITE" not in os.environ and user is not None and user.is_dir()
    seen: list[Path] = []
    for site in ([user] if reads_user and user else []) + own:
        if site.is_dir() and not any(site.samefile(s) for s in seen):
            seen.append(site)
    real = Path(os.path.realpath(executable)).parent.parent if executable else base  # a pyvenv.cfg may name a folder of links
    headers = [base / "include"] if windows else [b / f"include/python{minor}" for b in (base, real)]
    libs = {f.name.lower(): f for f in (base / "libs").glob("python3*.lib")} if windows else {}
    mine = f"python{minor.replace('.', '')}.lib"
    return Interpreter(
        executable=executable,
        version=number,
        prefix=str(root),
        base_prefix=str(base),
        site_packages=tuple(map(str, seen)),
        user_site=str(user) if reads_user and user else None,
        python_h=any((h / "Python.h").is_file() for h in headers),
        import_library=mine in libs if windows else None,
        foreign_libraries=tuple(str(f) for n, f in libs.items() if n not in (mine, "python3.lib")),
        pip=any((s / "pip").is_dir() for s in seen),
        made_by_uv="uv" in config,
        stale=_stale(root, config, executable) or None,
        on_path=tuple(dict.fromkeys(p for name in ("python", "python3") if (p := shutil.which(name)))),
    ), "windows" if windows else "darwin" if sys.platform == "darwin" else "linux"


def _platform(system: str) -> Platform:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    wsl = False
    if system == "linux" and Path("/proc/version").is_file():
        wsl = "microsoft" in Path("/proc/version").read_text(errors="replace").lower()
    long_paths = None
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
                long_paths = bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        except OSError:
            long_paths = False
    return Platform(system, machine, wsl, long_paths)


def _torch(site_packages: list[Path], distributions: tuple[Distribution, ...]) -> Torch | None:
    folder = next((s / "torch" for s in site_packages if (s / "torch" / "version.py").is_file()), None)
    if folder is None:
        return None
    text = (folder / "version.py").read_text(encoding="utf-8", errors="replace")

    def value(name: str) -> str | None:
        m = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.M)
        return m[1] if m else None

    listed = next((d.version for d in distributions if d.name == "torch"), "")
    return Torch(
        value("__version__") or listed, value("cuda"), value("hip"), any((folder / "lib").glob("*torch_cuda*")), str(folder), value("xpu")
    )


def _triton(site_packages: list[Path], distributions: tuple[Distribution, ...], torch: Torch | None) -> Triton | None:
    """The Triton of the files, with what torch asks of it in vain (not looked for where torch's own requirement is met).

    Where `anytile enable` has been run anytile is the Triton, whatever else lies there.
    """
    switch = next((s / SWITCH for s in site_packages if (s / SWITCH).is_file()), None)
    if switch is not None:
        return Triton(None, ("anytile",), str(switch))
    folder = next((s / "triton" for s in site_packages if (s / "triton" / "__init__.py").is_file()), None)
    if folder is None:
        return None
    owners = tuple(d.name for d in distributions if "triton" in d.packages)
    m = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", (folder / "__init__.py").read_text(encoding="utf-8", errors="replace"), re.M)
    version = next((d.version for d in distributions if d.name in owners), m[1] if m else None)
    missing: tuple[MissingName, ...] = ()
    if torch is not None and not _pin_met(distributions, version):
        at = Path(torch.location)
        importers = [at / "_inductor", at / "_dynamo", at / "utils" / "_triton.py", at / "_higher_order_ops"]
        missing = tuple(missing_names([i for i in importers if i.exists()], Package(folder)))
    return Triton(version, owners, str(folder), missing)


def _pin_met(distributions: tuple[Distribution, ...], version: str | None) -> bool:
    torch = next((d for d in distributions if d.name == "torch"), None)
    pin = triton_requirement(torch.requires) if torch and version else None
    return pin is not None and pin.specifier.contains((version or "").split(".post")[0], prereleases=True)


def _gpus() -> tuple[Gpu, ...]:
    """From nvidia-smi where there is one; the driver's version file on Linux otherwise."""
    smi = shutil.which("nvidia-smi")
    if smi:
        try:
            ask = partial(subprocess.run, capture_output=True, text=True, errors="replace", timeout=5)
            run = ask([smi, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"])
            top = ask([smi]).stdout
        except (OSError, subprocess.SubprocessError):
            return ()
        cuda = re.search(r"CUDA Version:\s*([\d.]+)", top)
        rows = (
            [[x.strip() for x in line.split(",")] for line in run.stdout.splitlines() if line.count(",") == 2]
            if run.returncode == 0
            else []
        )
        return tuple(Gpu(name, capability, driver, cuda[1] if cuda else None) for name, capability, driver in rows)
    proc = Path("/proc/driver/nvidia/version")
    if proc.is_file():
        m = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", proc.read_text(errors="replace"))
        return (Gpu("NVIDIA GPU", None, m[1] if m else None),)
    return ()


def _project(prefix: Path) -> Project:
    """The manager of the folder above the environment, else of the working folder; conda by its own mark, pixi by that and its folder."""
    if (prefix / "conda-meta").is_dir():
        return Project("pixi" if ".pixi" in prefix.parts else "conda")
    for folder in (prefix.parent, Path.cwd()):
        if manager := manager_of(folder):
            named = [str(folder / f) for f in (*manager.files, "pyproject.toml") if (folder / f).is_file()]
            return Project(manager.tool, tuple(named))
        project, files = (
            folder / "pyproject.toml",
            [f for f in ("poetry.lock", "uv.lock", "requirements.txt", "pyproject.toml") if (folder / f).is_file()],
        )
        if not files:
            continue
        text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
        lock = next((f for f in files if f.endswith(".lock")), None)
        tool = "poetry" if lock == "poetry.lock" or "[tool.poetry" in text else "uv" if lock == "uv.lock" or "[tool.uv" in text else "pip"
        stale = bool(lock and project.is_file() and (folder / lock).stat().st_mtime < project.stat().st_mtime)
        return Project(tool, tuple(str(folder / f) for f in files), stale)
    return Project()


def _compilers() -> tuple[str, ...]:
    named = os.environ.get("CC")
    if named:
        found = shutil.which(named.split()[0])
        return (found,) if found else ()
    return tuple(p for name in ("cc", "gcc", "clang", "cl") if (p := shutil.which(name)))


def _libcuda() -> tuple[str, ...]:
    folders = [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f]
    folders += [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        os.environ.get("TRITON_LIBCUDA_PATH", ""),
    ]
    return tuple(dict.fromkeys(str(f) for folder in folders if folder for f in sorted(Path(folder).glob("libcuda.so*"))))


def _shadows(distributions: tuple[Distribution, ...]) -> tuple[str, ...]:
    """Files in the working folder that are imported instead of an installed package: a script started here sees them first."""
    installed = {p for d in distributions for p in d.packages}
    here = Path.cwd()
    found = [here / f"{n}.py" for n in _SHADOWABLE if n in installed and (here / f"{n}.py").is_file()]
    for n in _SHADOWABLE:
        if n in installed and (here / n / "__init__.py").is_file() and not any(Path(d.location) == here for d in distributions):
            found.append(here / n)
    return tuple(map(str, found))


def _consumers(distributions: tuple[Distribution, ...], triton: Triton | None) -> list[Library]:
    """Packages that import, on reaching the line, a module which this Triton does not have; bitsandbytes without a fitting binary."""
    out: list[Library] = []
    for d in distributions:
        if triton is not None and d.name in _USES_TRITON and "anytile" not in triton.owners:
            for name in d.packages:
                for m in missing_submodules(Path(d.location) / name, Package(Path(triton.location))):
                    out.append(Library(f"{m.file}:{m.line}", "removed_module", m.module, "", d.name))
    return out


def _bitsandbytes(distributions: tuple[Distribution, ...], torch: Torch | None) -> list[Library]:
    bnb = next((d for d in distributions if d.name == "bitsandbytes"), None)
    if bnb is None or torch is None or not torch.cuda:
        return []
    wanted, have = torch.cuda.replace(".", ""), sorted({m[1] for e in bnb.extensions if (m := re.search(r"libbitsandbytes_cuda(\d+)", e))})
    if not have or wanted in have:
        return []
    where = str(Path(bnb.location) / "bitsandbytes")
    return [
        Library(
            where,
            "no_binary",
            f"bitsandbytes {bnb.version}",
            f"has binaries for CUDA {', '.join(have)}; torch is built for {wanted}",
            bnb.name,
        )
    ]


def collect(python: str | None = None) -> Facts:
    """Facts of this process's environment, or of the interpreter or environment folder ``python`` (a Windows tree included).

    Raises FileNotFoundError where ``python`` is neither, or has no packages that could be looked at. GPUs, caches, compilers and
    variables are those of this machine and user.
    """
    interpreter, system = _interpreter(python)
    if python is not None and not interpreter.site_packages:  # a shim of pyenv's or asdf's, an alias of Windows, no Python at all
        raise FileNotFoundError(
            f"{python} belongs to no environment that could be found: there is no site-packages folder around it; where it starts a Python, "
            f'`{python} -c "import sys; print(sys.executable)"` prints the path to give'
        )
    here = system == ("windows" if sys.platform == "win32" else "darwin" if sys.platform == "darwin" else "linux")
    sites = [Path(s) for s in interpreter.site_packages]
    distributions = read_distributions(sites)
    torch = _torch(sites, distributions)
    triton = _triton(sites, distributions, torch)
    libraries = _consumers(distributions, triton) + _bitsandbytes(distributions, torch)
    if system == "linux":
        libraries += elf_problems(distributions, interpreter, torch, os.environ.get("LD_LIBRARY_PATH", ""))
    elif system == "windows":
        libraries += pe_problems(distributions, interpreter, torch)
    return Facts(
        platform=_platform(system) if here else Platform(system),
        interpreter=interpreter,
        distributions=distributions,
        torch=torch,
        triton=triton,
        gpus=_gpus() if here else (),
        libraries=tuple(libraries),
        caches=find_caches(interpreter.minor) if here else (),
        project=_project(Path(interpreter.prefix)),
        compilers=_compilers() if here else None,
        variables=tuple((v, os.environ[v]) for v in _VARIABLES if v in os.environ) if here else (),
        libcuda=_libcuda() if here and system == "linux" else None,
        leftovers=leftovers(sites),
        shadows=_shadows(distributions) if here else (),
    )
