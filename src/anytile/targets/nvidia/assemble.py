"""PTX → machine code, with whatever the machine has; and machine code → text.

Three assemblers do the same work, tried in this order: the quickest first, and last the one that can do least, though it is quicker than
the second (scripts/gpu_launch.py assemblers, in turns on one H100: 17, 27 and 23 ms for an addition, 82 and 198, 115 and 235, 99 and
215 ms for two products on tensor cores):

``nvjitlink``  the library libnvJitLink: in the process.  The wheel ``nvidia-nvjitlink`` has it, and torch's CUDA builds
               bring it along.
``ptxas``      NVIDIA's program: a subprocess.  TRITON_PTXAS_PATH, a wheel, CUDA_HOME or PATH.
``driver``     the driver's own compiler: it needs a GPU of the architecture and takes no options, and is as old as the driver, but never
               absent.

An assembler is passed over where it is older than the PTX, does not know the chip, or makes machine code that is too new for
the driver (a newer CUDA *major* version; within one, older drivers read newer code).  ``ANYTILE_ASSEMBLER`` names the only one to use.

Everything is reported alike: registers, spilled bytes and shared memory come from the cubin and the assembler's log.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import AnytileError, OutOfResources, PTXASError, UnsupportedError
from . import driver_api
from .chips import CUDA_OF_PTX, Chip
from .cubin import read_resources
from .cuda_errors import CudaError
from .named import first_values

__all__ = [
    "ASK",
    "Assembled",
    "Assembler",
    "DriverJit",
    "NvJitLink",
    "Ptxas",
    "assemble",
    "assemblers",
    "disassemble",
    "find_tool",
    "identity",
    "load",
    "tool_version",
]


@dataclass(frozen=True)
class Assembled:
    """Machine code of one kernel.  ``registers`` a thread; bytes spilled by stores and re-read by loads; bytes of ``stack`` (local
    memory) a thread; bytes of ``shared`` memory that the code declares; ``by``: the assembler and its version; ``seconds`` it took."""

    cubin: bytes
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int
    log: str
    by: str
    seconds: float


class Assembler:
    """One way from PTX to a cubin."""

    name = ""
    quicker: tuple[str, ...] = ("-O1",)
    """The options that make it take less time, and less pains."""

    @property
    def version(self) -> tuple[int, int]:
        """The CUDA version it belongs to."""
        raise NotImplementedError

    def identity(self) -> str:
        """Changes with anything that its output may depend on; costs no start of the tool."""
        raise NotImplementedError

    def run(self, ptx: str, chip: Chip, kernel: str, options: Sequence[str]) -> tuple[bytes, str]:
        """(cubin, log).  PTXASError has the assembler's words."""
        raise NotImplementedError

    def refusal(self, ptx_version: int, chip: Chip, driver: tuple[int, int] | None) -> str:
        """Why it cannot serve; empty where it can.  ``driver``: the driver's CUDA version, None where there is none."""
        need = max(CUDA_OF_PTX[ptx_version], chip.cuda)
        have = self.version
        if have < need:
            return f"it is of CUDA {have[0]}.{have[1]}, and {chip} with PTX {ptx_version / 10} needs {need[0]}.{need[1]}"
        if driver is not None and have[0] > driver[0]:
            return f"it is of CUDA {have[0]}.{have[1]}, and the driver of {driver[0]}.{driver[1]} cannot read what it makes"
        return ""

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


def _file_identity(path: str) -> str:
    status = os.stat(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}"


class NvJitLink(Assembler):
    """The library ``path``.  Calls run without the GIL, so kernels may be assembled in several threads."""

    name = "nvjitlink"

    def __init__(self, path: str):
        self.path = path

    def identity(self) -> str:
        return f"{self.name} {_file_identity(self.path)}"

    @property
    def version(self) -> tuple[int, int]:
        return _nvjitlink(self.path)[1]

    def run(self, ptx: str, chip: Chip, kernel: str, options: Sequence[str]) -> tuple[bytes, str]:
        call = _nvjitlink(self.path)[0]
        given = [f"-arch={chip.target}", "-O3", "-verbose", "-Xptxas=-v", *(f"-Xptxas={o}" for o in options)]
        arguments = (c_char_p * len(given))(*(o.encode() for o in given))
        handle, data = c_void_p(), ptx.encode() + b"\0"
        if call["Create"](byref(handle), len(given), arguments):
            raise PTXASError(f"{self} refuses the options {' '.join(given)}")
        try:
            code = call["AddData"](handle, 2, data, len(data), kernel.encode())  # 2: NVJITLINK_INPUT_PTX
            code = code or call["Complete"](handle)
            if code:
                raise _refused(self, kernel, ptx, _nvjitlink_log(call, handle, "Error"))
            size = c_size_t()
            call["GetLinkedCubinSize"](handle, byref(size))
            cubin = ctypes.create_string_buffer(size.value)
            call["GetLinkedCubin"](handle, cubin)
            return cubin.raw, _nvjitlink_log(call, handle, "Info")
        finally:
            call["Destroy"](byref(handle))


@lru_cache(maxsize=8)
def _nvjitlink(path: str) -> tuple[dict[str, Any], tuple[int, int]]:
    """(functions by their names without prefix, version) of a library."""
    try:
        lib = ctypes.CDLL(path)
    except OSError as error:
        raise AnytileError(f"{path} cannot be loaded ({error}); reinstall it with pip install --force-reinstall nvidia-nvjitlink") from None
    major, minor = c_uint(), c_uint()
    lib.nvJitLinkVersion(byref(major), byref(minor))
    prototypes: dict[str, list[Any]] = {
        "Create": [POINTER(c_void_p), c_uint, POINTER(c_char_p)],
        "Destroy": [POINTER(c_void_p)],
        "AddData": [c_void_p, c_int, c_void_p, c_size_t, c_char_p],
        "Complete": [c_void_p],
        "GetLinkedCubinSize": [c_void_p, POINTER(c_size_t)],
        "GetLinkedCubin": [c_void_p, c_void_p],
        "GetErrorLogSize": [c_void_p, POINTER(c_size_t)],
        "GetErrorLog": [c_void_p, c_void_p],
        "GetInfoLogSize": [c_void_p, POINTER(c_size_t)],
        "GetInfoLog": [c_void_p, c_void_p],
    }
    out = {}
    for name, arguments in prototypes.items():
        # Some releases export only the names with a version.
        function = getattr(lib, f"nvJitLink{name}", None) or getattr(lib, f"__nvJitLink{name}_{major.value}_{minor.value}")
        function.argtypes, function.restype = arguments, c_int
        out[name] = function
    return out, (major.value, minor.value)


def _nvjitlink_log(call: dict[str, Any], handle: c_void_p, which: str) -> str:
    size = c_size_t()
    call[f"Get{which}LogSize"](handle, byref(size))
    text = ctypes.create_string_buffer(size.value + 1)
    call[f"Get{which}Log"](handle, text)
    return text.value.decode(errors="replace").strip()


class Ptxas(Assembler):
    """The program ``path``."""

    name = "ptxas"

    def __init__(self, path: str):
        self.path = path

    def identity(self) -> str:
        return f"{self.name} {_file_identity(self.path)}"

    @property
    def version(self) -> tuple[int, int]:
        return _ptxas_version(self.path)

    def run(self, ptx: str, chip: Chip, kernel: str, options: Sequence[str]) -> tuple[bytes, str]:
        with tempfile.TemporaryDirectory(prefix="anytile-ptxas-") as folder:
            source, made = Path(folder, f"{kernel[:64]}.ptx"), Path(folder, "out.cubin")
            source.write_text(ptx)
            done = _run(self.path, f"-arch={chip.target}", "-O3", "-v", *options, str(source), "-o", str(made))
            log = (done.stdout + done.stderr).replace(str(source), kernel).strip()
            if done.returncode:
                raise _refused(self, kernel, ptx, log)
            return made.read_bytes(), log


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([program, *arguments], capture_output=True, text=True)
    except OSError as error:
        text = f"{program} cannot be run ({error.strerror}); TRITON_PTXAS_PATH and TRITON_NVDISASM_PATH name programs of NVIDIA's"
        raise AnytileError(text) from None


@lru_cache(maxsize=8)
def _ptxas_version(path: str) -> tuple[int, int]:
    said = _run(path, "--version").stdout
    found = re.search(r"release (\d+)\.(\d+)", said)
    if not found:
        raise AnytileError(f"{path} does not answer --version like NVIDIA's tools do; set TRITON_PTXAS_PATH to a ptxas that does")
    return int(found[1]), int(found[2])


class DriverJit(Assembler):
    """The driver's compiler, for the GPU that is current."""

    name = "driver"
    quicker: tuple[str, ...] = ()

    def identity(self) -> str:
        version = driver_api.version()
        return f"driver {version}" if version else "no driver"

    @property
    def version(self) -> tuple[int, int]:
        return driver_api.cuda().version

    def refusal(self, ptx_version: int, chip: Chip, driver: tuple[int, int] | None) -> str:
        if not driver_api.available():
            return driver_api.unavailable_because()
        if all(device.arch != chip.arch for device in driver_api.cuda().devices):
            return f"it compiles for the GPUs that are here, and none is {chip}"
        return super().refusal(ptx_version, chip, driver)

    def run(self, ptx: str, chip: Chip, kernel: str, options: Sequence[str]) -> tuple[bytes, str]:
        if options:
            raise UnsupportedError(f"ptx_options {' '.join(options)!r}", "the driver's PTX compiler", "pip install nvidia-nvjitlink")
        device = next(d for d in driver_api.cuda().devices if d.arch == chip.arch)
        try:
            return device.link(ptx, kernel)
        except CudaError as error:
            raise _refused(self, kernel, ptx, str(error)) from None


def _refused(assembler: Assembler, kernel: str, ptx: str, log: str) -> AnytileError:
    """The error for PTX that was not accepted, with the lines that the log points to."""
    excess = re.search(r"too much shared data \((0x[0-9a-f]+) bytes, (0x[0-9a-f]+) max", log)
    if excess:
        return OutOfResources(int(excess[1], 16), int(excess[2], 16), f"shared memory of kernel {kernel}")
    lines = ptx.splitlines()
    shown: list[str] = []
    for number in dict.fromkeys(int(n) for n in re.findall(r"line (\d+)", log)):
        if 1 <= number <= len(lines) and len(shown) < 5:
            shown.append(f"  line {number}: {lines[number - 1].strip()}")
    return PTXASError("\n".join([f"{assembler} refuses the PTX of kernel {kernel}:", log, *shown]))


# --- finding them ----------------------------------------------------------------------------------------------------


def _wheel_folders() -> list[Path]:
    """Folders of the namespace package ``nvidia`` into which NVIDIA's wheels unpack."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []


def _toolkit_folders() -> list[Path]:
    named = [os.environ[n] for n in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(n)]
    return [Path(p) for p in (*named, "/usr/local/cuda") if Path(p).is_dir()]


def _newest(paths: list[Path]) -> list[Path]:
    """Without those that are the same file, the highest version first."""
    unique = {os.path.realpath(p): p for p in reversed(paths) if p.is_file()}
    return sorted(unique.values(), key=lambda p: [int(n) for n in re.findall(r"\d+", f"{p.parent.parent.name} {p.name}")], reverse=True)


def _find_nvjitlink() -> list[Path]:
    folders = [f / sub for f in _wheel_folders() for sub in ("cu13/lib", "nvjitlink/lib", "cu13/bin/x86_64", "cu13/bin", "nvjitlink/bin")]
    torch = importlib.util.find_spec("torch")
    if torch and torch.origin:
        folders.append(Path(torch.origin).parent / "lib")  # torch's Windows wheels bring the library themselves
    folders += [t / sub for t in _toolkit_folders() for sub in ("lib64", "lib", "bin")]
    pattern = "nvJitLink_*.dll" if sys.platform == "win32" else "libnvJitLink.so.*"
    return _newest([p for f in folders if f.is_dir() for p in f.glob(pattern)])


_WHEEL_OF = {"ptxas": "cuda_nvcc", "nvdisasm": "cuda_nvdisasm", "cuobjdump": "cuda_cuobjdump"}


def _installed(name: str) -> list[Path]:
    """Where one of NVIDIA's programs is: in wheels, in CUDA toolkits, on PATH."""
    program = f"{name}.exe" if sys.platform == "win32" else name
    wheels = _newest([f / sub / program for f in _wheel_folders() for sub in ("cu13/bin", f"{_WHEEL_OF[name]}/bin")])
    toolkits = [p for t in _toolkit_folders() if (p := t / "bin" / program).is_file()]
    on_path = shutil.which(program)
    return [*wheels, *toolkits, *([Path(on_path)] if on_path else [])]


def find_tool(name: str) -> str | None:
    """Path of NVIDIA's ``ptxas``, ``nvdisasm`` or ``cuobjdump``: of a wheel, a CUDA toolkit, or on PATH; None where there is none."""
    return next(map(str, _installed(name)), None)


def _find_ptxas(chip: Chip) -> list[Path]:
    variables = ["TRITON_PTXAS_BLACKWELL_PATH"] if chip.arch >= 100 else []
    given = [Path(os.environ[n]) for n in (*variables, "TRITON_PTXAS_PATH") if os.environ.get(n)]
    return [p for p in dict.fromkeys([*given, *_installed("ptxas")]) if p.is_file()]


@lru_cache(maxsize=16)
def _assemblers(chip: Chip, only: str, _environment: tuple[str | None, ...]) -> tuple[Assembler, ...]:
    found: list[Assembler] = [NvJitLink(str(p)) for p in _find_nvjitlink()]
    found += [Ptxas(str(p)) for p in _find_ptxas(chip)]
    found.append(DriverJit())
    if only:
        names = (NvJitLink.name, Ptxas.name, DriverJit.name)
        if only not in names:
            raise AnytileError(f"ANYTILE_ASSEMBLER={only!r} is none of {', '.join(names)}")
        found = [a for a in found if a.name == only]
    return tuple(found)


def assemblers(chip: Chip) -> tuple[Assembler, ...]:
    """All that this machine has, in order of preference; some may not serve a given kernel."""
    variables = ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH", "CUDA_HOME", "CUDA_PATH", "PATH")
    return _assemblers(chip, os.environ.get("ANYTILE_ASSEMBLER", "").strip().lower(), tuple(os.environ.get(n) for n in variables))


def load() -> None:
    """Loads libnvJitLink, where there is one."""
    for path in _find_nvjitlink()[:1]:
        _nvjitlink(str(path))


def identity(chip: Chip) -> str:
    """Changes with anything on this machine that machine code of `assemble` depends on, for cache keys."""
    return "; ".join([*(a.identity() for a in assemblers(chip)), *_environment_options()])


def _environment_options() -> list[str]:
    options = shlex.split(os.environ.get("PTXAS_OPTIONS", ""))
    if os.environ.get("DISABLE_PTXAS_OPT", "").lower() in ("1", "true", "on", "yes"):
        options += ["-O0"]
    return options


# --- PTX → cubin ------------------------------------------------------------------------------------------------------


ASK = "ask"


def assemble(
    ptx: str, chip: Chip, kernel: str, options: str = "", driver: tuple[int, int] | None | str = ASK, quick: bool = False
) -> Assembled:
    """Machine code of ``kernel`` (the name of the entry) for ``chip``.

    ``options``: more options in ptxas's words; PTXAS_OPTIONS adds to them.  ``driver``: the CUDA version of the driver that is to load the
    code, None where there is none; `ASK`: that of this machine.  ``quick``: less optimisation, unless options say something of their own.
    PTXASError where the PTX is refused, UnsupportedError where no assembler on this machine serves, OutOfResources where the code declares
    more shared memory than a block may have.
    """
    version = re.search(r"^\.version (\d+)\.(\d+)", ptx, re.M)
    if not version:
        raise PTXASError(f"the PTX of kernel {kernel} has no .version line")
    number = int(version[1]) * 10 + int(version[2])
    known = driver_api.version() if isinstance(driver, str) else driver
    reasons = []
    for assembler in assemblers(chip):
        reason = assembler.refusal(number, chip, known)
        if reason:
            reasons.append(f"{assembler.name}: {reason}")
            continue
        start = time.perf_counter()
        given = [*shlex.split(options), *_environment_options()]
        text = ptx if assembler.version >= (13, 0) else first_values(ptx)
        cubin, log = assembler.run(text, chip, kernel, given or assembler.quicker if quick else given)
        seconds = time.perf_counter() - start
        needs = read_resources(cubin, chip.shared_reserved if chip.arch >= 90 else 0)[kernel]
        stores, loads = _spills(log, kernel)
        return Assembled(cubin, needs.registers, stores, loads, needs.stack, needs.shared, log, str(assembler), seconds)
    raise UnsupportedError(
        f"assembling PTX {number / 10} for {chip}",
        "this machine",
        "; ".join([*reasons, "pip install nvidia-nvjitlink brings an assembler"]),
    )


def _spills(log: str, kernel: str) -> tuple[int, int]:
    """(bytes of spill stores, bytes of spill loads) of ``kernel`` and the functions it calls, by an assembler's log."""
    found = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    return sum(int(s) for s, _ in found), sum(int(n) for _, n in found)


# --- cubin → text -----------------------------------------------------------------------------------------------------


def tool_version(path: str) -> str:
    """The CUDA version that one of NVIDIA's programs belongs to, "12.8"."""
    return "{}.{}".format(*_ptxas_version(path))


def disassemble(cubin: bytes) -> str:
    """SASS, the GPU's own instructions, as NVIDIA's nvdisasm prints it.

    UnsupportedError where there is no nvdisasm; the extra ``anytile[cuda-check]`` brings it.
    """
    program = os.environ.get("TRITON_NVDISASM_PATH") or find_tool("nvdisasm")
    if program is None:
        raise UnsupportedError(
            "disassembling machine code", "this machine", "pip install nvidia-cuda-nvdisasm, or set TRITON_NVDISASM_PATH"
        )
    with tempfile.TemporaryDirectory(prefix="anytile-sass-") as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        done = _run(program, "-c", str(path))
    if done.returncode:
        raise AnytileError(f"{program} cannot read the machine code: {done.stderr.strip()}")
    return done.stdout
