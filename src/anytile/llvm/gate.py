"""Intrinsics and the CPU features they need.

LLVM does not refuse an intrinsic that the target lacks: instruction selection aborts the process.  So the
text is read for names first, and a name that the features do not cover is an `UnsupportedError`.  Rows cover
what anytile emits; an unlisted ``llvm.x86.`` or ``llvm.aarch64.`` intrinsic is refused, since nothing is
known about it.  ``tests/llvm/test_gate.py`` compiles each row in a process of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ROWS", "Row", "check"]


@dataclass(frozen=True)
class Row:
    """``name`` may be used where every feature of ``needs`` is present.  ``signature``: result(operands), for tests;
    ``imm`` in it stands for an immediate i8, ``immi32`` for an i32."""

    name: str
    needs: tuple[str, ...]
    signature: str

    @property
    def architecture(self) -> str:
        return {"x86": "x86_64", "aarch64": "aarch64"}[self.name.split(".")[1]]


def _rows(needs: str, table: str) -> list[Row]:
    """One row a line: ``name  signature``."""
    return [Row(*(line.split(None, 1)[0], tuple(needs.split()), line.split(None, 1)[1])) for line in table.strip().splitlines()]


ROWS: tuple[Row, ...] = (
    *_rows(
        "avx512bf16",
        """
        llvm.x86.avx512bf16.dpbf16ps.512     <16 x float>(<16 x float>, <32 x bfloat>, <32 x bfloat>)
        llvm.x86.avx512bf16.cvtneps2bf16.512 <16 x bfloat>(<16 x float>)
        """,
    ),
    *_rows(
        "avx512bf16 avx512vl",
        """
        llvm.x86.avx512bf16.dpbf16ps.256     <8 x float>(<8 x float>, <16 x bfloat>, <16 x bfloat>)
        """,
    ),
    *_rows(
        "avx512vnni",
        """
        llvm.x86.avx512.vpdpbusd.512         <16 x i32>(<16 x i32>, <64 x i8>, <64 x i8>)
        llvm.x86.avx512.vpdpwssd.512         <16 x i32>(<16 x i32>, <32 x i16>, <32 x i16>)
        """,
    ),
    *_rows(
        "avx2",
        """
        llvm.x86.avx2.pmadd.wd               <8 x i32>(<16 x i16>, <16 x i16>)
        """,
    ),
    *_rows(
        "amx-tile",
        """
        llvm.x86.ldtilecfg                   void(ptr)
        llvm.x86.tilerelease                 void()
        llvm.x86.tilezero                    void(imm)
        llvm.x86.tileloadd64                 void(imm, ptr, i64)
        llvm.x86.tilestored64                void(imm, ptr, i64)
        """,
    ),
    *_rows("", "llvm.x86.sse2.pause void()"),
    *_rows("", "llvm.x86.sse.sfence void()"),
    *_rows("", "llvm.aarch64.isb void(immi32)"),
    *_rows("amx-tile amx-bf16", "llvm.x86.tdpbf16ps void(imm, imm, imm)"),
    *_rows("amx-tile amx-fp16", "llvm.x86.tdpfp16ps void(imm, imm, imm)"),
    *_rows(
        "amx-tile amx-int8",
        """
        llvm.x86.tdpbssd                     void(imm, imm, imm)
        llvm.x86.tdpbsud                     void(imm, imm, imm)
        llvm.x86.tdpbusd                     void(imm, imm, imm)
        llvm.x86.tdpbuud                     void(imm, imm, imm)
        """,
    ),
    *_rows(
        "bf16",
        """
        llvm.aarch64.neon.bfmmla             <4 x float>(<4 x float>, <8 x bfloat>, <8 x bfloat>)
        llvm.aarch64.neon.bfdot.v4f32.v8bf16 <4 x float>(<4 x float>, <8 x bfloat>, <8 x bfloat>)
        """,
    ),
    *_rows("dotprod", "llvm.aarch64.neon.sdot.v4i32.v16i8 <4 x i32>(<4 x i32>, <16 x i8>, <16 x i8>)"),
    *_rows("i8mm", "llvm.aarch64.neon.smmla.v4i32.v16i8 <4 x i32>(<4 x i32>, <16 x i8>, <16 x i8>)"),
)

_by_name = {row.name: row for row in ROWS}
_target_intrinsic = re.compile(r"@(llvm\.(?:x86|aarch64|arm|nvvm|amdgcn|riscv|ppc|s390)\.[\w.]+)")


def check(text: str, features: Collection[str], architecture: str) -> None:
    """Raises `UnsupportedError` naming the first intrinsic of ``text`` that ``features`` do not allow."""
    for name in dict.fromkeys(_target_intrinsic.findall(text)):
        row = _by_name.get(name)
        if row is None:
            if name.startswith("llvm.nvvm.") and architecture.startswith("nvptx"):
                continue  # LLVM itself reports what a GPU lacks, per `sm_` version
            raise UnsupportedError(f"LLVM intrinsic {name}", architecture, "add a row for it to anytile/llvm/gate.py")
        missing = [need for need in row.needs if need not in features]
        if row.architecture != architecture or missing:
            where = f"{architecture} without {' and '.join(missing)}" if missing else architecture
            raise UnsupportedError(f"LLVM intrinsic {name}", where, "choose a machine row that has the feature")
