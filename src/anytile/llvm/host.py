"""The machine that this process runs on, in LLVM's words.

LLVM is asked once per machine; the answer is kept (`kept`) under what the processor says of itself, so that a
process which finds its kernels in the disk cache never loads LLVM.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import struct
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from ..errors import AnytileError
from .kept import kept
from .memory import CodeMemory, available

__all__ = ["Host", "LlvmliteError", "architecture", "host", "llvmlite_package"]

_OLDEST = (0, 50)  # the llvmlite whose LLVM understands what is written here; pyproject.toml says the same


class LlvmliteError(AnytileError, ImportError):
    """llvmlite is not there, or another package has put one in its place that is too old."""


def llvmlite_package() -> ModuleType:
    """llvmlite without its library, which `engine` alone loads.  LlvmliteError where it cannot serve."""
    wanted = "llvmlite>=" + ".".join(map(str, _OLDEST))
    remedy = f'install it with `"{sys.executable}" -m pip install "{wanted}"`'
    try:
        import llvmlite
    except ImportError as e:
        raise LlvmliteError(f"llvmlite, which makes machine code of kernels, cannot be imported ({e}): {remedy}") from e
    version = re.match(r"(\d+)\.(\d+)", llvmlite.__version__)
    if version is not None and (int(version[1]), int(version[2])) < _OLDEST:
        raise LlvmliteError(
            f"{os.path.dirname(str(llvmlite.__file__))} holds llvmlite {llvmlite.__version__}, and {wanted} is needed to make machine code "
            f"of kernels: {remedy}. If numba brought it, take a newer numba: each release names the llvmlite that it takes"
        )
    return llvmlite


class Host(NamedTuple):
    """``features``: LLVM names of the features present.  ``absent``: those that LLVM looked for and did not find.

    ``version``: of llvmlite and of LLVM, for cache keys.
    """

    triple: str
    cpu_name: str
    features: frozenset[str]
    absent: frozenset[str]
    data_layout: str
    version: str


def architecture(triple: str) -> str:
    """``x86_64``, ``aarch64`` …: the first field of a triple, Apple's name for aarch64 folded."""
    name = triple.split("-")[0]
    return "aarch64" if name.startswith("arm64") else name


@lru_cache(maxsize=1)
def host() -> Host:
    """Facts about the running machine."""
    identity = _identity()
    if identity is None:
        return _ask()
    name = hashlib.sha256(f"{identity} {_llvm_library()}".encode()).hexdigest()
    facts = json.loads(kept(f"host {name}", lambda: _pack(_ask())))
    found: dict[str, Any] = {k: frozenset(v) if isinstance(v, list) else v for k, v in facts.items()}
    return Host(**found)


def _ask() -> Host:
    from .engine import ask_host

    return ask_host()


def _pack(found: Host) -> bytes:
    return json.dumps({k: sorted(v) if isinstance(v, frozenset) else v for k, v in found._asdict().items()}).encode()


def _llvm_library() -> str:
    """Names the installed llvmlite without loading its library: version, place, size and time of the file."""
    llvmlite = llvmlite_package()
    folder = os.path.join(os.path.dirname(str(llvmlite.__file__)), "binding")
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.endswith((".py", ".pyc"))]
    return f"{llvmlite.__version__} " + " ".join(f"{f} {os.stat(f).st_size} {os.stat(f).st_mtime_ns}" for f in files)


# --- what the processor says of itself -------------------------------------------------------------------------------

# void cpuid(u32 leaf, u32 subleaf, u32 out[4])
_CPUID = bytes.fromhex(
    "53"  # push rbx
    "4989d0"  # mov r8, rdx
    "89f8"  # mov eax, edi
    "89f1"  # mov ecx, esi
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8 + 4], ebx
    "41894808"  # mov [r8 + 8], ecx
    "4189500c"  # mov [r8 + 12], edx
    "5b"  # pop rbx
    "c3"  # ret
)
# u64 xgetbv(): which register files the system saves
_XGETBV = bytes.fromhex(
    "31c9"  # xor ecx, ecx
    "0f01d0"  # xgetbv
    "48c1e220"  # shl rdx, 32
    "4809d0"  # or rax, rdx
    "c3"  # ret
)
_OSXSAVE = 1 << 27
_AT_HWCAP, _AT_HWCAP2 = 16, 26


def _identity() -> str | None:
    """Text that changes with anything LLVM's detection looks at; None where that cannot be had without LLVM.

    On x86-64 the instructions that LLVM itself uses are asked, not /proc/cpuinfo: emulators and valgrind run programs
    on a lesser processor than the one that file describes.
    """
    if not available():
        return None
    name = os.uname()
    system = f"{sys.platform} {name.sysname} {name.machine} {struct.calcsize('P')}"
    try:
        if name.machine == "x86_64":
            return f"{system} {_cpuid_words()}"
        if name.machine == "aarch64":
            return f"{system} {_arm_words()}"
    except OSError:
        pass  # memory cannot be made executable, or /proc is not there
    return None


def _cpuid_words() -> str:
    memory = CodeMemory(len(_CPUID) + len(_XGETBV))
    memory.buffer[: len(_CPUID) + len(_XGETBV)] = _CPUID + _XGETBV
    memory.protect(0, memory.size, execute=True)
    cpuid = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(memory.base)
    out = (ctypes.c_uint32 * 4)()

    def leaf(number: int, sub: int = 0) -> list[int]:
        cpuid(number, sub, out)
        return list(out)

    basic, extended = leaf(0), leaf(0x80000000)
    first = leaf(1)
    first[1] = 0  # ebx: number of the core that happens to run this
    words = [*basic, *first, *extended]
    for number, sub in ((7, 0), (7, 1), (0xD, 1), (0x14, 0), (0x19, 0), (0x1E, 1), (0x24, 0)):
        if number <= basic[0]:
            words += leaf(number, sub)
    for number in (0x80000001, 0x80000008):
        if number <= extended[0]:
            words += leaf(number)
    if first[2] & _OSXSAVE:
        words.append(ctypes.CFUNCTYPE(ctypes.c_uint64)(memory.base + len(_CPUID))())
    return " ".join(f"{w:x}" for w in words)


def _arm_words() -> str:
    """The kernel's feature bits, and which cores there are.  Raises OSError."""
    value = ctypes.CDLL(None).getauxval
    value.argtypes, value.restype = [ctypes.c_ulong], ctypes.c_ulong
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        cores = sorted({line.strip() for line in f if line.startswith(("CPU impl", "CPU part", "CPU variant", "CPU arch", "Features"))})
    return f"{value(_AT_HWCAP):x} {value(_AT_HWCAP2):x} {' '.join(cores)}"
