"""What is wrong with the compiled files of the stack, found by reading them as the loader would: nothing is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .elf import Elf, read_elf
from .facts import Distribution, Interpreter, Library, Torch
from .pe import read_pe

__all__ = ["elf_problems", "pe_problems"]

_SAMPLE = 3  # extension files that tell whether a package is built on torch; its metadata need not say so
_LIMIT = 400  # extension files read of one environment
_SYSTEM = tuple(
    Path(p)
    for p in (
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/usr/lib",
        "/lib",
    )
)
_VERSIONED = {"libstdc++.so.6", "libc.so.6", "libm.so.6", "libgcc_s.so.1"}
_TORCH_LIBRARIES = ("libtorch", "libc10", "libtorch_cpu", "libtorch_cuda", "libc10_cuda", "libtorch_python")
_CUDA = re.compile(r"lib(?:cu|nv)\w+\.so\.\d+|libnccl\.so\.\d+")
_FROM_THE_DRIVER = re.compile(r"libcuda\.so|libnvidia-|libnvcuvid")
# Windows: DLLs that neither Windows nor Python brings
_RUNTIME = re.compile(r"(?i)(?:vcruntime140\w*|msvcp140\w*|concrt140|vcomp140|libomp140\.\w+)\.dll")
_NEVER_IN_WINDOWS = re.compile(r"(?i)libomp140\.\w+\.dll|vcruntime140_threads\.dll")


def _on_torch(path: Path) -> bool:
    elf = read_elf(path, symbols=False)
    return elf is not None and any(n.startswith(_TORCH_LIBRARIES) for n in elf.needed)


def elf_problems(
    distributions: tuple[Distribution, ...], interpreter: Interpreter, torch: Torch | None, library_path: str
) -> Iterator[Library]:
    """Undefined torch symbols, version nodes that the C++ library lacks, missing CUDA libraries, and such as are shadowed."""
    shadowing = [Path(p) for p in library_path.split(":") if p]
    own = [Path(interpreter.prefix) / "lib"]
    offers: dict[Path, Elf | None] = {}

    def offered(path: Path) -> Elf | None:
        if path not in offers:
            offers[path] = read_elf(path)
        return offers[path]

    torch_lib = Path(torch.location) / "lib" if torch else None
    brought = [torch_lib, *torch_lib.glob("../../nvidia/*/lib")] if torch_lib else []
    exports: set[str] | None = None
    for d in distributions:
        site = Path(d.location)
        stack = d.name in ("torch", "triton", "xformers", "bitsandbytes", "flash-attn", "torchvision", "torchaudio") or "torch" in " ".join(
            d.requires
        )
        cuda = torch_lib is not None and d.name.startswith("nvidia-")  # CUDA's own libraries need each other, and are shadowed likewise
        if not stack and not cuda and not any(_on_torch(site / name) for name in d.extensions[:_SAMPLE]):
            continue
        for name in d.extensions[:_LIMIT]:
            path = site / name
            elf = read_elf(path, symbols=False)
            if elf is None:
                continue
            folders = [Path(r.replace("$ORIGIN", str(path.parent))) for r in elf.rpath]
            for library, nodes in elf.versions_needed.items():
                if library in _VERSIONED:
                    first = next((f / library for f in (*folders, *shadowing, *own, *_SYSTEM) if (f / library).is_file()), None)
                    there = offered(first) if first else None
                    lacking = [n for n in nodes if there and there.versions_defined and n not in there.versions_defined]
                    if lacking:
                        yield Library(str(path), "version", lacking[-1], f"is not in {first}", d.name)
            for library in elf.needed:
                if _CUDA.fullmatch(library) and not _FROM_THE_DRIVER.match(library):
                    bundled = any((f / library).exists() for f in (*folders, path.parent, *brought))
                    shadow = next((f / library for f in shadowing if (f / library).exists() and "site-packages" not in str(f)), None)
                    if bundled and shadow and d.name != "torch" and not cuda:
                        continue
                    if bundled and shadow:
                        yield Library(str(path), "shadowed", str(shadow), "comes first on LD_LIBRARY_PATH", d.name)
                    elif (
                        not bundled
                        and not shadow
                        and not cuda
                        and not any((f / library).exists() for f in [*own, *_SYSTEM, Path("/usr/local/cuda/lib64")])
                    ):
                        yield Library(str(path), "missing", library, "is needed and in no folder that is searched", d.name)
            if d.name != "torch" and torch_lib and any(n.startswith(_TORCH_LIBRARIES) for n in elf.needed):
                if exports is None:
                    exports = set()
                    for file in torch_lib.glob("lib*.so*"):
                        if file.name.startswith(_TORCH_LIBRARIES):
                            exports |= (offered(file) or Elf()).defined
                full = read_elf(path) or Elf()
                # Libraries of one package ask each other for functions whose arguments are torch's: their names look like torch's own.
                beside = {f / n for n in full.needed for f in (path.parent, *folders) if f != torch_lib and (f / n).is_file()}
                siblings = {name for library in beside for name in (offered(library) or Elf()).defined}
                missing = sorted(
                    s
                    for s in full.undefined - siblings
                    if re.search(r"3c10|2at|5torch|5caffe2", s) and s.startswith("_Z") and s not in exports
                )
                if missing and exports:
                    abi = " (the old C++ ABI)" if any(re.search(r"S[sS]\b|ESs|RKSs", s) for s in missing) else ""
                    yield Library(str(path), "undefined", missing[0], f"is exported by no library of torch{abi}", d.name)


def _system32(base: Path) -> Path | None:
    """System32 of this Windows, or of the wine prefix that holds ``base``."""
    if root := os.environ.get("SystemRoot"):
        return Path(root) / "System32"
    drive = next((p for p in base.parents if p.name == "drive_c"), None)
    return drive / "windows" / "system32" if drive else None


class _Folders:
    """Files by name as Windows compares names, without case. Each folder is listed once: System32 holds thousands of files."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, folders: list[Path], name: str) -> Path | None:
        """The first of ``folders`` that holds ``name``, with the name as it is there."""
        return next((Path(path) for folder in folders if (path := self._files(folder).get(name.lower()))), None)

    def _files(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = {entry.name.lower(): entry.path for entry in os.scandir(folder)}
            except OSError:
                self._listed[folder] = {}
        return self._listed[folder]


def pe_problems(distributions: tuple[Distribution, ...], interpreter: Interpreter, torch: Torch | None) -> Iterator[Library]:
    """An old VC++ runtime in front, DLLs that no folder has, extensions linked against another Python."""
    base, system = Path(interpreter.base_prefix), _system32(Path(interpreter.base_prefix))
    loader = [base, *([system] if system else [])]
    minor = (interpreter.minor or "").replace(".", "")
    folders = _Folders()
    runtime = folders.find(loader, "msvcp140.dll")
    first = read_pe(runtime) if runtime else None  # the copy that the loader takes
    for d in distributions:
        if d.name not in ("torch", "triton-windows", "triton", "torchvision", "torchaudio", "xformers"):
            continue
        for name in d.extensions[:_LIMIT]:
            path = Path(d.location) / name
            pe = read_pe(path)
            if pe is None:
                continue
            # Built by Visual C++ 14.40 or later: std::mutex is initialised at compile time, which earlier msvcp140.dll crash on.
            for needed in pe.imports:
                lower = needed.lower()
                if lower == "msvcp140.dll" and pe.linker >= (14, 40) and first and first.version and first.version[:2] < (14, 40):
                    linked = f"is taken first; {path.name} was linked by {pe.linker[0]}.{pe.linker[1]}"
                    yield Library(str(runtime), "old_runtime", ".".join(map(str, first.version)), linked, d.name)
                python = re.fullmatch(r"python3(\d+)\.dll", lower)
                if python and minor and f"3{python[1]}" != minor:
                    yield Library(str(path), "python", needed, f"is needed; this Python is {interpreter.minor}", d.name)
                if _RUNTIME.fullmatch(needed) and (system is not None or _NEVER_IN_WINDOWS.fullmatch(needed)):
                    searched = [path.parent, *([Path(torch.location) / "lib"] if torch else []), *loader, base / "DLLs"]
                    if folders.find(searched, needed) is None:
                        yield Library(str(path), "missing", needed, "is needed and in no folder that is searched", d.name)
