"""Machines: what the code generator must know of a CPU, one row each.

A row is a class of CPUs, not a model.  `current()` takes the first row whose required features the host has.
``ANYTILE_CPU=avx2`` (any row's name) makes a host behave like a lesser row, for tests; a row the host cannot run
is refused.  The table says which *kinds* of micro-kernel a row can run; what a kind is, is in `microkernels`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass, replace
from functools import lru_cache

from ...errors import AnytileError, UnsupportedError
from ...llvm.host import architecture as architecture_of
from ...llvm.host import host as this_host

__all__ = ["MACHINES", "Machine", "current", "for_triple", "named"]

KERNEL_KINDS = ("amx_bf16", "amx_fp16", "amx_int8", "vdpbf16", "vnni", "bfmmla", "smmla", "sdot", "fma", "generic")


@dataclass(frozen=True)
class Machine:
    """One class of CPU.

    ``vector_bits``, ``vector_registers``: of the widest vector file worth using (not AMX tiles).
    ``masked_memory``: masked vector loads and stores are single instructions.
    ``gather``: likewise gathers.  ``f16c``: half ↔ float conversion in hardware.  ``bf16_convert``: float → bfloat,
    subnormals included (vcvtneps2bf16 of x86 makes zeros of them, so no row of x86 has it).
    ``kernels``: kinds of `dot` micro-kernel in order of preference; a kind says itself which types it takes.
    ``tune``: LLVM CPU name of the scheduling model.  ``features``: what generated code may use, with
    everything that ``requires`` names.
    """

    name: str
    architecture: str
    requires: frozenset[str]
    vector_bits: int
    vector_registers: int
    kernels: tuple[str, ...]
    tune: str
    features: frozenset[str] = frozenset()
    fma: bool = False
    masked_memory: bool = False
    gather: bool = False
    f16c: bool = False
    bf16_convert: bool = False

    def __post_init__(self) -> None:
        if self.vector_bits not in (64, 128, 256, 512):
            raise ValueError(f"machine {self.name}: {self.vector_bits} is no vector width")
        if unknown := set(self.kernels) - set(KERNEL_KINDS):
            raise ValueError(f"machine {self.name}: unknown micro-kernel kinds {sorted(unknown)}")
        if self.kernels[-1] != "generic":
            raise ValueError(f"machine {self.name}: the last micro-kernel kind must be 'generic', which takes every type")
        if "fma" in self.kernels and not self.fma:
            raise ValueError(f"machine {self.name}: 'fma' micro-kernels need fused multiply-add")
        if self.features and not self.requires <= self.features:
            raise ValueError(f"machine {self.name} lacks {sorted(self.requires - self.features)}")

    @property
    def lanes(self) -> int:
        """f32 lanes of a vector."""
        return self.vector_bits // 32

    def lanes_of(self, bits: int) -> int:
        """Lanes of a vector whose elements have this many bits."""
        return max(1, self.vector_bits // max(8, bits))

    @property
    def large_second_level(self) -> bool:
        """Whether each core has 2 MiB of second-level cache, beside which the shared one is slow: all processors with AMX."""
        return any(kind.startswith("amx") for kind in self.kernels)

    def has(self, feature: str) -> bool:
        return feature in self.features

    def fingerprint(self) -> str:
        """Names everything about this machine that object code depends on."""
        return f"{self.name}:{self.tune}:{','.join(sorted(self.features))}"


_SSE2 = frozenset({"sse", "sse2"})
_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi", "bmi2"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
_AVX512BF16 = _AVX512 | {"avx512bf16", "avx512vnni"}
_AMX = _AVX512BF16 | {"amx-tile", "amx-bf16", "amx-int8"}

_wide = {"fma": True, "masked_memory": True, "gather": True, "f16c": True}


def _x86(name: str, requires: frozenset[str], bits: int, registers: int, kernels: str, tune: str, **flags: bool) -> Machine:
    # A row by itself compiles for exactly what it requires; `current` widens it to the host's features.
    features = requires | _SSE2
    if "avx512vnni" in requires:
        features |= {"fast-dpwssd"}  # else LLVM splits vpdpwssd into multiply and add, for latency, at half the rate
    return Machine(name, "x86_64", requires, bits, registers, (*kernels.split(), "generic"), tune, features, **flags)


def _arm(name: str, requires: str, kernels: str) -> Machine:
    features = frozenset(requires.split())
    bf16 = "bf16" in features
    return Machine(
        name, "aarch64", features, 128, 32, (*kernels.split(), "generic"), "generic", features, fma=True, f16c=True, bf16_convert=bf16
    )


MACHINES: tuple[Machine, ...] = (
    _x86(
        "amx-fp16",
        _AMX | {"avx512fp16", "amx-fp16"},
        512,
        32,
        "amx_bf16 amx_fp16 amx_int8 fma",
        "graniterapids",
        **_wide,
    ),
    _x86("amx", _AMX | {"avx512fp16"}, 512, 32, "amx_bf16 amx_int8 fma", "sapphirerapids", **_wide),
    _x86("avx512bf16", _AVX512BF16, 512, 32, "vdpbf16 vnni fma", "cooperlake", **_wide),
    _x86("avx512vnni", _AVX512 | {"avx512vnni"}, 512, 32, "vnni fma", "cascadelake", **_wide),
    _x86("avx512", _AVX512, 512, 32, "fma", "skylake-avx512", **_wide),
    _x86("avx2", _AVX2, 256, 16, "fma", "haswell", **_wide),
    _x86("sse2", _SSE2, 128, 16, "", "x86-64"),
    _arm("neon-i8mm", "neon bf16 dotprod i8mm fullfp16", "bfmmla smmla fma"),
    _arm("neon-bf16", "neon bf16 dotprod fullfp16", "bfmmla sdot fma"),
    _arm("neon-dotprod", "neon dotprod", "sdot fma"),
    _arm("neon", "neon", "fma"),
    Machine("generic", "", frozenset(), 128, 16, ("generic",), ""),
)


def named(name: str) -> Machine:
    """The row of this name, for exactly the features it requires.  Raises AnytileError with the known names."""
    for machine in MACHINES:
        if machine.name == name:
            return machine
    raise AnytileError(f"there is no machine called {name!r}; known: {', '.join(m.name for m in MACHINES)}")


def for_triple(triple: str) -> Machine:
    """The baseline row of a foreign triple."""
    architecture = architecture_of(triple)
    return next(m for m in reversed(MACHINES[:-1]) if m.architecture == architecture) if _is_known(architecture) else MACHINES[-1]


def _is_known(architecture: str) -> bool:
    return any(m.architecture == architecture for m in MACHINES)


def current() -> Machine:
    """The host's row, or the row that ``ANYTILE_CPU`` names."""
    return _current(os.environ.get("ANYTILE_CPU", ""))


@lru_cache(maxsize=8)
def _current(override: str) -> Machine:
    host = this_host()
    architecture = architecture_of(host.triple)
    # Apple's detection reports no baseline features; every AArch64 CPU that runs Python has NEON.
    present = host.features | ({"neon"} if architecture == "aarch64" else _SSE2 if architecture == "x86_64" else frozenset())
    if override:
        machine = named(override)
        if machine.architecture not in ("", architecture) or not machine.requires <= present:
            missing = ", ".join(sorted(machine.requires - present)) or f"the architecture {machine.architecture}"
            raise UnsupportedError(f"ANYTILE_CPU={override}", f"this CPU, which lacks {missing}", "unset ANYTILE_CPU")
        if not _permitted(machine):
            raise UnsupportedError(f"ANYTILE_CPU={override}", "this system, which refuses AMX tile registers", "unset ANYTILE_CPU")
        return machine
    machine = next(m for m in MACHINES if m.architecture in ("", architecture) and m.requires <= present and _permitted(m))
    # AMD's and Arm's own names bring better scheduling than a row's; Intel's are what virtual machines get wrong.
    tune = host.cpu_name if host.cpu_name.startswith(("znver", "neoverse", "apple", "cortex")) else machine.tune
    return replace(machine, features=present | machine.features, tune=tune)


def _permitted(machine: Machine) -> bool:
    """Whether the system lets this process use the machine's tile registers.  Asking is what gets the permission.

    Linux hands out the 8 KiB of tile state per thread only to processes that ask (``ARCH_REQ_XCOMP_PERM`` of
    ``XTILEDATA``).  Other systems with AMX have no call that ctypes can make, so AMX stays off there.
    """
    if "amx-tile" not in machine.requires:
        return True
    if not sys.platform.startswith("linux"):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0
