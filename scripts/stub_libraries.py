"""Shared libraries that stand in for NVIDIA's, so that a CUDA build of torch is imported where there are none.

`stand_in(directory)` reads the libraries in torch's ``lib`` directory, finds which others they need that are neither there nor
part of the system, and writes one of each name beside them.  Every function in it returns 100, the runtime's "no device", so
`torch.cuda.is_available()` is False and the CPU works.  For checks only; needs gcc, nm and readelf.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

__all__ = ["stand_in"]

_SYSTEM = re.compile(r"^(ld-linux|libc\.|libdl|libm\.|libpthread|librt|libgcc_s|libstdc)")
# Prefixes of functions without a version → the library that has them; the first that fits.
_OWNERS = {
    **{"nccl": "libnccl", "cudnn": "libcudnn", "cublasLt": "libcublasLt", "cublas": "libcublas.", "cusparseLt": "libcusparseLt"},
    **{"cusparse": "libcusparse.", "cufft": "libcufft", "curand": "libcurand", "cusolver": "libcusolver", "nvrtc": "libnvrtc"},
    **{"cupti": "libcupti", "nvtx": "libnvTools", "cuFile": "libcufile", "nvshmem": "libnvshmem", "cuda": "libcudart", "cu": "libcuda."},
}
_TEXTS = re.compile(r"ErrorString|ErrorName|GetErrorStr|Get(Error|LastError)(String|Name)")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def stand_in(directory: Path) -> list[str]:
    """The names of the libraries written into ``directory``."""
    present = sorted(p.name for p in directory.iterdir() if ".so" in p.name)
    missing: set[str] = set()
    version_owner: dict[str, str] = {}
    wanted: dict[str, set[str]] = defaultdict(set)  # function → versions
    defined: set[str] = set()
    for name in present:
        path = str(directory / name)
        missing.update(n for n in re.findall(r"NEEDED\).*\[(.*?)\]", _output("readelf", "-dW", path)) if not _SYSTEM.match(n))
        file = ""
        for line in _output("readelf", "-VW", path).splitlines():
            if found := re.search(r"File: (\S+)", line):
                file = found[1]
            elif (found := re.search(r"Name: (\S+)\s+Flags", line)) and file and not _SYSTEM.match(file):
                version_owner[found[1]] = file
        for line in _output("nm", "-D", "--with-symbol-versions", path).splitlines():
            parts = line.split()
            symbol, _, version = parts[-1].partition("@")
            if len(parts) == 2 and parts[0] == "U":
                wanted[symbol].add(version.lstrip("@"))
            elif len(parts) == 3:
                defined.add(symbol)
    missing -= set(present)
    functions: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in missing}
    for symbol, versions in wanted.items():
        for version in versions:
            owner = version_owner.get(version) or next((o for prefix, o in _OWNERS.items() if symbol.startswith(prefix)), "")
            library = next((name for name in sorted(missing) if owner and name.startswith(owner)), None)
            if library and symbol not in defined:
                functions[library][version if version in version_owner else ""].add(symbol)
    for name, by_version in functions.items():
        _write(directory / name, by_version)
    return sorted(functions)


def _write(library: Path, by_version: dict[str, set[str]]) -> None:
    assembly, script = [".text"], []
    seen: set[str] = set()
    for version, symbols in sorted(by_version.items()):
        for symbol in sorted(symbols - seen):
            seen.add(symbol)
            answer = "lea .Ltext(%rip), %rax" if _TEXTS.search(symbol) else "mov $100, %eax"
            assembly += [f".globl {symbol}", f".type {symbol},@function", f"{symbol}:", f" {answer}", " ret"]
        if version:
            script.append(f"{version} {{ global: {' '.join(f'{s};' for s in sorted(symbols))} }};")
    assembly += [".section .rodata", '.Ltext: .asciz "no CUDA here"', '.section .note.GNU-stack,"",@progbits', ""]
    with tempfile.TemporaryDirectory() as scratch:
        source, versions = Path(scratch, "stub.s"), Path(scratch, "versions")
        source.write_text("\n".join(assembly))
        versions.write_text("\n".join(script) + "\n")
        link = [f"-Wl,--version-script={versions}"] if script else []
        subprocess.run(["gcc", "-shared", "-nostdlib", "-o", library, source, f"-Wl,-soname,{library.name}", *link], check=True)
