"""What tests read off PTX."""

from __future__ import annotations

import re

__all__ = ["loops"]


def loops(ptx: str) -> list[list[str]]:
    """The lines of each loop, in the order of their ends: between a label that a later branch leads back to, and that branch."""
    lines = ptx.splitlines()
    labels = {m[1]: n for n, line in enumerate(lines) if (m := re.match(r"(\$L__BB\w+):", line))}
    back = ((n, labels[m[1]]) for n, line in enumerate(lines) if (m := re.search(r"bra(?:\.uni)?\s+(\$L__BB\w+)", line)))
    return [lines[begin:end] for end, begin in back if begin < end]
