"""What tests read off SASS."""

from __future__ import annotations

import os
import re

import pytest

from anytile.targets.nvidia import assemble

__all__ = ["needs_nvdisasm", "written_in_flight"]

needs_nvdisasm = pytest.mark.skipif(
    not (os.environ.get("TRITON_NVDISASM_PATH") or assemble.find_tool("nvdisasm")), reason="needs nvdisasm: pip install anytile[cuda-check]"
)
"""Of tests that read a kernel's ``asm["sass"]``."""

_NO_RESULT = (
    "HGMMA",
    "ST",
    "BAR",
    "LDGSTS",
    "RED",
    "SYNCS",
    "WARPSYNC",
    "ISETP",
    "FSETP",
    "R2UR",
    "BRA",
    "EXIT",
    "DEPBAR",
    "WARPGROUP",
    "UTMA",
)


def written_in_flight(sass: str) -> tuple[int, list[tuple[str, str]]]:
    """(instructions of wgmma that read A from registers, those of them a register of which is written before they are waited for).

    Every path is followed from such an instruction to the wait that covers its group.  Each is told with the instruction that writes.
    """
    lines: list[str] = []
    labels: dict[str, int] = {}
    for line in sass.splitlines():
        line = re.sub(r"/\*.*?\*/", "", line).strip()
        if m := re.match(r"(\.L_x_\d+):", line):
            labels[m[1]] = len(lines)
        elif re.match(r"(?:@!?U?P\w+\s+)?[A-Z]", line) and line.endswith(";"):
            lines.append(re.sub(r"\s+", " ", line))
    count, bad = 0, []
    for n, line in enumerate(lines):
        if m := re.search(r"HGMMA\S* R\d+, R(\d+), gdesc", line):
            count += 1
            read = set(range(int(m[1]), int(m[1]) + 4))
            bad += [(line, lines[k]) for k in _until_waited(lines, labels, n) if _written(lines[k]) & read]
    return count, bad


def _until_waited(lines: list[str], labels: dict[str, int], at: int) -> set[int]:
    """The instructions that may run behind the one at ``at`` before its group is known to be done."""
    # How many groups have ended behind its own; -1: its own has not.
    pending = [(at + 1, 0 if "gsb0" in lines[at] else -1)]
    seen: set[tuple[int, int]] = set()
    while pending:
        n, later = pending.pop()
        while n < len(lines) and (n, later) not in seen:
            line = lines[n]
            wait = re.search(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x(\d+)", line)
            if wait and (later < 0 or later >= int(wait[1])):
                break
            seen.add((n, later))
            later += "HGMMA" in line and "gsb0" in line
            if branch := re.search(r"\bBRA\S* +(?:U?!?U?P\w+, )?`\((\.L_x_\d+)\)", line):
                pending += [(labels[branch[1]], later)] if branch[1] in labels else []
                if line.startswith("BRA "):
                    break
            if line.startswith("EXIT"):
                break
            n += 1
    return {n for n, _ in seen}


def _written(line: str) -> set[int]:
    """The registers that an instruction writes."""
    m = re.match(r"(?:@!?U?P\w+ )?([A-Z0-9_.]+) (?:!?U?PT?\d*, )*R(\d+)\b", line)
    if not m or m[1].startswith(_NO_RESULT):
        return set()
    name = m[1]
    n = 4 if name.startswith("LD") and ".128" in name else 2 if name.startswith("LD") and ".64" in name or ".WIDE" in name else 1
    return set(range(int(m[2]), int(m[2]) + n))
