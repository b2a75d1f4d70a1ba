"""Nobody is given the registers that a product in flight still reads: the assembler sees to that within a basic block alone."""

from __future__ import annotations

import pytest
import test_chain
import test_overlap
from sass_text import needs_nvdisasm, written_in_flight


def checked(kernel, least: int) -> list[tuple[str, str]]:
    """What is written too early in a kernel that has at least so many instructions with A in registers."""
    count, bad = written_in_flight(kernel.asm["sass"])
    assert count >= least
    return bad


@needs_nvdisasm
@pytest.mark.parametrize("bm, bn, warps, stages", [(128, 128, 8, 2), (128, 64, 8, 3), (64, 64, 4, 3)])
def test_attention(bm, bn, warps, stages):
    assert not checked(test_chain.compiled(bm, bn, warps, stages), bn // 16)


@needs_nvdisasm
@pytest.mark.parametrize("bm, bn, warps, stages", [(128, 128, 8, 3), (128, 64, 8, 4)])
def test_attention_that_leaves_it_in_flight_while_it_computes(bm, bn, warps, stages):
    assert not checked(test_overlap.compiled(bm, bn, warps, stages), 2 * bn // 16)


def test_what_is_looked_for():
    def text(wait: str, written: str, back: str) -> str:
        lines = [f"HGMMA.64x128x16.F32.BF16 R88, R{r}, gdesc[UR4], R88{', gsb0' if r == 156 else ''} ;" for r in (152, 156)]
        group = "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], R24, gsb0 ;"
        return "\n".join([".L_x_1:", f"WARPGROUP.DEPBAR.LE gsb0, {wait} ;", f"FMUL R{written}, R24, R25 ;", *lines, group, back])

    back = "@!P0 BRA `(.L_x_1) ;"
    assert written_in_flight(text("0x1", "153", back)) == (2, [])  # the group of q·k is the one that may still run
    assert len(written_in_flight(text("0x2", "153", back))[1]) == 1
    assert len(written_in_flight(text("0x2", "158", back))[1]) == 1
    assert written_in_flight(text("0x2", "160", back))[1] == written_in_flight(text("0x2", "153", ""))[1] == []
