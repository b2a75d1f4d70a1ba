"""What each NVIDIA GPU can do: one row per compute capability, one row per feature of PTX.

Two questions are answered here.  *May a kernel use it?*: `Chip.has`, before code is generated.  *Which PTX does it need?*:
`ptx_version`, from the generated text, so that nobody can forget to say it.  The lowest version is chosen, since a driver
accepts PTX of its own CUDA version and older (`CUDA_OF_PTX`).

Both matter more than convenience: LLVM *aborts the process* on an intrinsic that the chip or the PTX version lacks.

Names of PTX targets: "sm_90a" has instructions that work on that one chip only (wgmma); code is made for the chip at hand,
so the chips that have such a variant are compiled for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from ...errors import UnsupportedError

__all__ = ["CHIPS", "CUDA_OF_PTX", "Chip", "FEATURES", "Feature", "chip", "features_of", "ptx_version"]

KIB = 1024

#: PTX version, as LLVM writes it (86 is 8.6) → the first CUDA whose drivers and assemblers accept it.
CUDA_OF_PTX: dict[int, tuple[int, int]] = {
    63: (10, 0),
    64: (10, 1),
    65: (10, 2),
    **{70 + n: (11, n) for n in range(9)},
    **{80 + n: (12, n) for n in range(6)},
    86: (12, 7),
    87: (12, 8),
    88: (12, 9),
    90: (13, 0),
}


@dataclass(frozen=True)
class Feature:
    """``since``: first compute capability.  ``ptx``: first PTX version.  ``only``: the capabilities that have it, where not all later ones do.

    ``text``: regular expression that finds a use in LLVM text: names of intrinsics and mnemonics of inline PTX.
    """

    name: str
    since: int
    ptx: int
    text: str
    only: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert self.ptx in CUDA_OF_PTX, f"feature {self.name} needs PTX {self.ptx}, which no CUDA has"
        assert not self.only or self.since == min(self.only), f"feature {self.name} begins at {self.since}, not {min(self.only)}"
        re.compile(self.text)

    def on(self, arch: int) -> bool:
        """Whether the GPU of this compute capability has it."""
        return arch >= self.since and (not self.only or arch in self.only)


_BLACKWELL_DATACENTER = (100, 103, 110)
_BLACKWELL = (100, 103, 110, 120, 121)

FEATURES: tuple[Feature, ...] = (
    # Matrix instructions of a warp: LLVM says llvm.nvvm.mma.<shape>.row.col.<types>, PTX mma.sync.aligned.<shape>.row.col.<types>.
    Feature("mma.m16n8k8.f16", 75, 65, r"mma\.(sync\.aligned\.)?m16n8k8\.row\.col\.f(16|32)\.f(16|32)\b"),
    Feature("mma.m16n8k16.f16", 80, 70, r"mma\.(sync\.aligned\.)?m16n8k16\.row\.col\.f(16|32)\.f(16|32)\b"),
    Feature("mma.bf16", 80, 70, r"mma\.(sync\.aligned\.)?m16n8k(8|16)\.row\.col\.(f32\.)?bf16"),
    Feature("mma.tf32", 80, 70, r"mma\.(sync\.aligned\.)?m16n8k[48]\.row\.col\.(f32\.)?tf32"),
    Feature("mma.m8n8k16.i8", 75, 65, r"mma\.(sync\.aligned\.)?m8n8k16\.row\.col\.(satfinite\.)?(s32\.)?[su]8"),
    Feature("mma.i8", 80, 70, r"mma\.(sync\.aligned\.)?m16n8k(16|32)\.row\.col\.(satfinite\.)?(s32\.)?[su]8"),
    Feature("mma.f64", 80, 70, r"mma\.(sync\.aligned\.)?m8n8k4\.row\.col\.f64"),
    Feature("mma.fp8", 89, 84, r"mma\.(sync\.aligned\.)?m16n8k(16|32)\.row\.col\.(f16|f32)\.e[45]m[23]"),
    Feature("ldmatrix", 75, 65, r"\bldmatrix\.sync"),
    Feature("stmatrix", 90, 78, r"\bstmatrix\.sync"),
    # Matrix instructions of a warpgroup (Hopper) and of a block (Blackwell).
    Feature("wgmma", 90, 80, r"\bwgmma\.", only=(90,)),
    Feature("tcgen05", 100, 86, r"\btcgen05\.", only=_BLACKWELL_DATACENTER),
    Feature("setmaxnreg", 90, 80, r"\bsetmaxnreg\.", only=(90, *_BLACKWELL)),
    # Copies that run beside the threads.
    Feature("cp.async", 80, 70, r"\bcp\.async\.(ca|cg|commit|wait|mbarrier)"),
    Feature("tma", 90, 80, r"\bcp\.(reduce\.)?async\.bulk|\bprefetch\.tensormap|\bfence\.proxy\.tensormap"),
    Feature("tma.cta", 90, 86, r"\bcp\.async\.bulk\.tensor\.g2s\.cta|\bcp\.async\.bulk\.[\w.:]*shared::cta\.global"),
    Feature("tma.gather", 100, 86, r"tile(::|\.)(gather4|scatter4)", only=_BLACKWELL_DATACENTER),
    Feature("mbarrier", 80, 70, r"\bmbarrier\.(init|inval|arrive|test|pending)"),
    Feature("mbarrier.parity", 80, 71, r"\bmbarrier\.test[._]wait\.parity"),
    Feature("mbarrier.try_wait", 90, 80, r"\bmbarrier\.try[._]wait|\bmbarrier\.arrive[\w.]*\.expect[._]tx|\bmbarrier\.expect[._]tx"),
    Feature("fence.proxy.async", 90, 80, r"\bfence\.proxy\.async|\bfence\.mbarrier_init|\bfence\.acquire\.sync_restrict"),
    # Blocks that work together, kernels that overlap.
    Feature("cluster", 90, 78, r"\bsreg\.cluster|%cluster|\bbarrier\.cluster|\bmapa\.|shared::cluster"),
    Feature("griddepcontrol", 90, 78, r"\bgriddepcontrol\."),
    Feature("elect", 90, 80, r"\belect\.sync"),
    Feature("redux", 80, 70, r"\bredux\.sync"),
    Feature("match", 75, 63, r"\bmatch\.(any|all)\.sync"),
    # Memory: hints and wide or narrow atomics.
    Feature("evict", 75, 74, r"\bL1::(evict|no_allocate)|\bL2::(64B|128B)"),
    Feature("prefetch.256", 80, 74, r"\bL2::256B"),
    Feature("cache_hint", 80, 74, r"\bL2::(cache_hint|evict)|\bcreatepolicy\."),
    Feature("atom.bf16", 90, 78, r"\b(atom|red)\.[\w.:]*(noftz\.)bf16"),
    Feature("atom.vector", 90, 81, r"\b(atom|red)\.[\w.:]*\.v[248]\.(f32|f16|bf16)"),
    Feature("atom.b128", 90, 83, r"\batom\.[\w.:]*b128"),
    Feature("ld.256", 100, 88, r"\b(ld|st)\.[\w.:]*\.(v8\.[bf]32|v4\.[bf]64)"),
    # Arithmetic.
    Feature("approx.f16", 75, 70, r"\b(ex2|tanh)\.approx\.(f16|ftz\.f16)|\btanh\.approx\.f32"),
    Feature("approx.bf16", 90, 78, r"\b(ex2|tanh)\.approx\.(ftz\.)?bf16"),
    Feature("bf16.fma", 80, 70, r"\bfma\.rn\.(relu\.)?bf16"),
    Feature("bf16.add", 90, 78, r"\b(add|sub|mul)\.(rn\.)?bf16"),
    Feature("cvt.bf16x2", 80, 70, r"\bcvt\.r[nz]\.(relu\.)?bf16x2|\bff2bf16x2|\bcvt\.rna\.tf32|\bf2tf32\.rna"),
    Feature(
        "cvt.fp8", 89, 81, r"\bcvt\.rn\.(satfinite\.)?(relu\.)?(e[45]m[23]x2|f16x2\.e[45]m[23]x2)|\.to\.e[45]m[23]x2|\be[45]m[23]x2\.to"
    ),
    Feature("cvt.fp4", 100, 86, r"\bcvt\.[\w.]*(e2m1x2|e2m3x2|e3m2x2|ue8m0x2)", only=_BLACKWELL),
    Feature("packed.f32", 100, 86, r"\b(add|mul|fma)\.[\w.]*f32x2", only=_BLACKWELL),
    Feature("nanosleep", 75, 63, r"\bnanosleep\b"),
)

_by_name = {f.name: f for f in FEATURES}
assert len(_by_name) == len(FEATURES), "two features have one name"


@dataclass(frozen=True)
class Chip:
    """A compute capability.  ``arch``: 90 is 9.0.  ``target``: what PTX and LLVM call it.  ``ptx``: the first version that knows it.

    Bytes: ``shared_per_block`` is the most that one block may have (the opt-in limit), ``shared_per_sm`` what the blocks of a
    multiprocessor share; each block takes ``shared_reserved`` more than it asks for.  Counts: ``warps`` and ``blocks`` resident on a
    multiprocessor.  All chips have warps of 32 lanes, 65,536 registers a multiprocessor and 255 a thread, 1,024 threads a block.
    """

    arch: int
    name: str
    target: str
    ptx: int
    shared_per_sm: int
    shared_per_block: int
    warps: int
    blocks: int
    shared_reserved: int = KIB
    registers: int = 65536
    registers_per_thread: int = 255
    threads_per_block: int = 1024
    warp_size: int = 32
    features: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", frozenset(f.name for f in FEATURES if f.on(self.arch)))
        assert self.target.rstrip("a") == f"sm_{self.arch}", f"chip {self.arch} is compiled for {self.target}"
        assert self.ptx in CUDA_OF_PTX, f"chip {self.arch} needs PTX {self.ptx}, which no CUDA has"
        assert self.shared_per_block + self.shared_reserved <= self.shared_per_sm, (
            f"a block of chip {self.arch} does not fit its multiprocessor"
        )
        assert self.threads_per_block <= self.warps * self.warp_size, (
            f"the largest block of chip {self.arch} does not fit its multiprocessor"
        )
        assert all(_by_name[f].only == () or self.target.endswith("a") for f in self.features), f"chip {self.arch} needs its 'a' target"

    def has(self, feature: str) -> bool:
        """Whether kernels for it may use a row of `FEATURES`.  KeyError for a name that is none."""
        return _by_name[feature].on(self.arch)

    @property
    def cuda(self) -> tuple[int, int]:
        """The first CUDA version that knows the chip."""
        return CUDA_OF_PTX[self.ptx]

    def occupancy(self, threads: int, registers: int, shared: int) -> int:
        """Blocks that are resident on one multiprocessor at a time.

        Registers are handed out to warps in units of 256, shared memory to blocks in units of 128 bytes.
        """
        warps = -(-threads // self.warp_size)
        by_registers = self.registers // (max(1, -(-registers * self.warp_size // 256) * 256) * warps)
        size = -(-(shared + self.shared_reserved) // 128) * 128
        return min(self.blocks, self.warps // warps, by_registers, self.shared_per_sm // size if size else self.blocks)

    def __str__(self) -> str:
        return f"{self.name} (sm_{self.arch})"


CHIPS: dict[int, Chip] = {
    c.arch: c
    for c in (
        #    arch  name              target     ptx  shared/SM   /block    warps blocks
        Chip(75, "Turing", "sm_75", 63, 64 * KIB, 64 * KIB, 32, 16, shared_reserved=0),
        Chip(80, "Ampere A100", "sm_80", 70, 164 * KIB, 163 * KIB, 64, 32),
        Chip(86, "Ampere", "sm_86", 71, 100 * KIB, 99 * KIB, 48, 16),
        Chip(87, "Orin", "sm_87", 74, 164 * KIB, 163 * KIB, 48, 16),
        Chip(89, "Ada", "sm_89", 78, 100 * KIB, 99 * KIB, 48, 24),
        Chip(90, "Hopper", "sm_90a", 80, 228 * KIB, 227 * KIB, 64, 32),
        Chip(100, "Blackwell B200", "sm_100a", 86, 228 * KIB, 227 * KIB, 64, 32),
        Chip(103, "Blackwell B300", "sm_103a", 88, 228 * KIB, 227 * KIB, 64, 32),
        Chip(110, "Thor", "sm_110a", 90, 228 * KIB, 227 * KIB, 48, 24),
        Chip(120, "Blackwell RTX", "sm_120a", 87, 100 * KIB, 99 * KIB, 48, 24),
        Chip(121, "Blackwell GB10", "sm_121a", 88, 100 * KIB, 99 * KIB, 48, 24),
    )
}


def chip(arch: int | str) -> Chip:
    """The row of a compute capability, given as 90, "90", "90a" or "sm_90a".  UnsupportedError where there is none."""
    text = str(arch).removeprefix("sm_").removesuffix("a")
    found = CHIPS.get(int(text)) if text.isdigit() else None
    if found is None:
        raise UnsupportedError(f"NVIDIA architecture {arch!r}", "", f"anytile knows {', '.join(f'sm_{a}' for a in CHIPS)}")
    return found


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[Feature, re.Pattern[str]]]:
    return [(f, re.compile(f.text)) for f in FEATURES]


def features_of(llvm_text: str) -> list[Feature]:
    """The features that generated LLVM text uses, in the order of the table."""
    # Only calls can use any, and a kernel makes few kinds of them: each intrinsic's name and each text of inline PTX is searched once.
    calls = "\n".join({_called(line) for line in llvm_text.splitlines() if "call " in line or "declare " in line})
    return [f for f, pattern in _patterns() if pattern.search(calls)]


_OPERANDS = re.compile(r"mov\.b32 \$\d+, 0; ?|\$\d+,? ?|\+\d+(?=\])")


def _called(line: str) -> str:
    """What a line of LLVM text calls or declares: the mnemonics of inline PTX, or the name, without operands."""
    before, assembly, rest = line.partition(" asm ")
    if assembly:
        return _OPERANDS.sub("", rest.partition('"')[2].partition('"')[0])
    return before.partition("@")[2].partition("(")[0]


def ptx_version(llvm_text: str, chip: Chip) -> int:
    """The lowest PTX version (86 is 8.6) that has all the text uses on ``chip``.

    UnsupportedError names a feature that the chip lacks: the code generator should have asked `Chip.has` first.
    """
    version = chip.ptx
    for f in features_of(llvm_text):
        if not f.on(chip.arch):
            only = " and ".join(f"sm_{a}" for a in f.only) if f.only else f"sm_{f.since} and later"
            raise UnsupportedError(f"the instruction group {f.name}", str(chip), f"only {only} has it")
        version = max(version, f.ptx)
    return version
