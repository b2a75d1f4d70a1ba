"""`NvidiaTarget`: tile IR → LLVM text → PTX → machine code → a kernel on the GPU.

    module ──codegen.lower──▶ LLVM text ──LLVM──▶ PTX ──assemble──▶ cubin ──(disk cache)──▶ CudaKernel

What `codegen.lower(module, options, chip)` returns beside the text is a dictionary of what launching needs; all of it
is kept in the artifact:

``entry``         name of the kernel's function in the text (default: the kernel's name)
``num_warps``     warps a block (default: the option; more where warps are specialised)
``shared``        bytes of dynamic shared memory a block (default 0)
``tile``          text of the tile IR as it was lowered: becomes the stage of that name
``work``          the fields of its `occupancy.Work` (default: its defaults)
and anything else that is worth keeping.

The function's parameters are the slots of the argument block by their natural types (`launch`).
A kernel from the disk cache is loaded and launched without LLVM and without an assembler.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import OutOfResources, UnsupportedError
from ...ir.parser import parse_module
from ...llvm.host import host
from ..base import Artifact
from . import assemble as assembling
from . import driver_api, tensor_maps
from .chips import CUDA_OF_PTX, Chip, chip, ptx_version
from .launch import CudaKernel, LaunchShape
from .occupancy import Work, gave_away, limited, register_limits, roomy
from .straight import straight

if TYPE_CHECKING:
    from ...ir import Module

__all__ = ["NvidiaTarget", "make_ptx", "prepare"]

_OPTIONS = (
    *("num_warps", "num_stages", "num_ctas", "maxnreg", "enable_fp_fusion", "enable_reflect_ftz", "ptx_version", "ptx_options"),
    *("cluster_dims", "launch_cooperative_grid", "launch_pdl"),
)
"""What compiling asks of the options."""

TRIPLE = "nvptx64-nvidia-cuda"


def make_ptx(llir: str, chip: Chip, version: int | None = None, level: str = "plain") -> str:
    """PTX of LLVM text, in the lowest version that has what it uses, or in ``version`` (86 is 8.6).

    UnsupportedError where the text uses what ``chip`` lacks, or where ``version`` is too low or none.
    """
    from ...llvm import engine

    need = ptx_version(llir, chip)
    if version is not None and (version < need or version not in CUDA_OF_PTX):
        known = ", ".join(str(v) for v in CUDA_OF_PTX if v >= need)
        raise UnsupportedError(f"ptx_version={version}", f"{chip} for this kernel", f"leave it out, or use one of {known}")
    ptx = engine.emit_assembly(llir, cpu=chip.target, features={f"ptx{version or need}"}, level=level, triple=TRIPLE)
    return _with_shifts(ptx) if "wgmma" in llir else ptx


_WIDE_PRODUCT = re.compile(r"\tmul\.wide\.s32 \t(%rd\d+), (%r\d+), (2|4|8|16);")
_LABEL = re.compile(r"^(\$\w+):", re.M)


def _with_shifts(ptx: str) -> str:
    """Offsets in bytes that are computed in front of a kernel's first loop with wgmma, by shifts.

    Made by products, the assembler makes them anew inside the loop, to save their registers: by an instruction that takes four times as
    long as an addition, between the copies of the next tiles.  Products with tiles of 256 columns lost a twentieth of their speed.
    """
    for label in _LABEL.finditer(ptx):
        back = re.search(rf"\bbra(\.uni)? \t?{re.escape(label[1])};", ptx[label.end() :])
        if back and "wgmma.mma_async" in ptx[label.end() : label.end() + back.start()]:
            return _WIDE_PRODUCT.sub(_shifted, ptx[: label.start()]) + ptx[label.start() :]
    return ptx


def _shifted(product: re.Match[str]) -> str:
    to, index, size = product.groups()
    return f"\t{{ .reg .b64 wide; cvt.s64.s32 wide, {index}; shl.b64 {to}, wide, {int(size).bit_length() - 1}; }}"


@lru_cache(maxsize=1)
def prepare() -> None:
    """Imports the code generator, starts LLVM and loads the assembler, ahead of the first kernel."""
    from . import codegen  # noqa: F401

    make_ptx(f'target triple = "{TRIPLE}"\ndefine ptx_kernel void @nothing() {{\n  ret void\n}}\n', chip(80))
    assembling.load()


class NvidiaTarget:
    """Compiles for one architecture, on any machine; loads where a GPU of it is.  ``driver``: as in `assemble`."""

    name = "nvidia"

    def __init__(self, arch: int | str, driver: tuple[int, int] | None | str = assembling.ASK):
        self.chip, self.driver = chip(arch), driver

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes need not start the driver to learn its version."""
        return NvidiaTarget, (self.chip.arch, driver_api.version() if self.driver == assembling.ASK else self.driver)

    def prepare(self) -> None:
        """Loads what every compilation needs."""
        prepare()

    def fingerprint(self) -> str:
        copies = "" if tensor_maps.wanted() else ":without TMA"
        return f"nvidia:{__version__}:{self.chip.target}{copies}:{host().version}:{assembling.identity(self.chip)}"

    def compile(self, module: Module, options: Any = None) -> Artifact:
        """Stages ``tile``, ``llir``, ``ptx`` and ``cubin``.

        OutOfResources where a block needs more shared memory than the chip has; UnsupportedError for what it cannot do.
        """
        from .codegen import lower

        kernel = module.kernel
        slots = [str(a.type) for a in kernel.args]
        llir, found = lower(module, options, self.chip)
        tile = found.pop("tile", None) or str(module)
        use = found.pop("shared_use", "")
        metadata = {"name": kernel.name, "entry": kernel.name, "slots": slots, **self._shape(options), **found}
        if metadata["shared"] > self.chip.shared_per_block:
            detail = f"a block of kernel {kernel.name} takes, on {self.chip}: {use}"
            raise OutOfResources(metadata["shared"], self.chip.shared_per_block, "shared memory", detail)
        ptx = make_ptx(llir, self.chip, getattr(options, "ptx_version", None))
        ptx, made = self._assembled(ptx, metadata, options)
        if made.shared + metadata["shared"] > self.chip.shared_per_block:
            detail = f"a block of kernel {kernel.name} takes {metadata['shared']} bytes, and its code declares {made.shared} more"
            raise OutOfResources(made.shared + metadata["shared"], self.chip.shared_per_block, "shared memory", detail)
        metadata["resources"] = {
            "registers": made.registers,
            "spill_stores": made.spill_stores,
            "spill_loads": made.spill_loads,
            "stack": made.stack,
            "static_shared": made.shared,
            "assembler": made.by,
        }
        if metadata["tensor_maps"]:
            metadata["instead"] = {name: getattr(options, name) for name in _OPTIONS if hasattr(options, name)}
        return Artifact({"tile": tile, "llir": llir, "ptx": ptx, "cubin": made.cubin}, metadata)

    def _assembled(self, ptx: str, metadata: dict[str, Any], options: Any) -> tuple[str, assembling.Assembled]:
        """The machine code of ``ptx``, or of the same with fewer registers, which then comes along."""

        def assemble(text: str, quick: bool) -> assembling.Assembled:
            return assembling.assemble(text, self.chip, metadata["entry"], getattr(options, "ptx_options", None) or "", self.driver, quick)

        threads = 32 * metadata["num_warps"]
        quick = straight(ptx, threads) and not getattr(options, "maxnreg", None)
        made = assemble(ptx, quick)
        if quick and made.stack:  # with pains it may do without
            quick, made = False, assemble(ptx, False)
        if made.spill_stores and not getattr(options, "maxnreg", None) and gave_away(self.chip, threads, made.registers):
            fewer = assemble(text := roomy(ptx), False)
            if fewer.spill_stores < made.spill_stores:
                ptx, made = text, fewer
        # What spills already would spill more; and it is what the assembler takes longest for.
        if not getattr(options, "maxnreg", None) and not made.spill_stores:
            shared = metadata["shared"] + made.shared
            work = Work(**metadata.get("work", {}))
            for limit in register_limits(self.chip, ptx, threads, made.registers, shared, work):
                text = limited(ptx, limit)
                smaller = assemble(text, quick)
                if smaller.stack <= made.stack + work.spills:
                    return text, smaller
        return ptx, made

    @staticmethod
    def _shape(options: Any) -> dict[str, Any]:
        """What the options say about launches; the code generator may say otherwise."""
        return {
            "num_warps": getattr(options, "num_warps", 4),
            "num_ctas": getattr(options, "num_ctas", 1),
            "shared": 0,
            "cluster_dims": list(getattr(options, "cluster_dims", (1, 1, 1))),
            "launch_cooperative_grid": bool(getattr(options, "launch_cooperative_grid", False)),
            "launch_pdl": bool(getattr(options, "launch_pdl", False)),
        }

    def load(self, artifact: Artifact) -> CudaKernel:
        """The kernel of an artifact.  CudaError where this machine has no driver or no GPU."""
        m = artifact.metadata
        x, y, z = (*m["cluster_dims"], 1, 1)[:3]
        # A program is one block whatever num_ctas says: that is how much hardware it might use, not what it computes.
        shape = LaunchShape(32 * m["num_warps"], m["shared"], (x, y, z), m["launch_cooperative_grid"], m["launch_pdl"])
        image = artifact.stages["cubin"]
        assert isinstance(image, bytes)
        return CudaKernel(image, m["name"], m["entry"], len(m["slots"]), shape, m, lru_cache(1)(lambda: self._instead(artifact)))

    def _instead(self, artifact: Artifact) -> CudaKernel:
        """The kernel of an artifact without tensor maps, for launches whose tensors have none."""
        tile = artifact.stages["tile"]
        assert isinstance(tile, str)
        return self.load(self.compile(parse_module(tile), SimpleNamespace(**artifact.metadata["instead"], tma=False)))

    def derived(self, artifact: Artifact, stage: str) -> str | None:
        """A stage that is made only when asked for: ``sass``.  None for any other name."""
        if stage != "sass":
            return None
        image = artifact.stages["cubin"]
        assert isinstance(image, bytes)
        return assembling.disassemble(image)
