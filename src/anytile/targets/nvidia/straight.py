"""Long kernels without a loop: the assembler need not take pains over them.

What it does at its highest level it does for loops, for code that waits for arithmetic, and where registers are short.  A long straight text
is a kernel that holds many numbers in a thread, all of a row in the end: it loads them, computes and stores, each instruction runs once, and
memory is what it waits for.  At level 1 its code has the same instructions but for a handful, in much the same order, and takes a seventh
less time to make.  Short texts gain nothing; in very long ones, or with few registers for a thread, level 1 spills more.
"""

from __future__ import annotations

import re

__all__ = ["has_loop", "straight"]

_LONG, _TOO_LONG = 500, 1000
"""Lines of PTX."""
_THREADS = 256
"""So few of them may have all the registers that a thread can name."""
_MATRICES = re.compile(r"\bw?g?mma\b")
_LABEL_OR_BRANCH = re.compile(r"^(\$\w+):|\bbra(?:\.uni)?\s+(\$\w+);", re.M)


def straight(ptx: str, threads: int) -> bool:
    """Whether ``ptx``, a kernel for blocks of ``threads``, is long, has no loop, and registers enough; it multiplies no matrices."""
    if threads > _THREADS or not _LONG <= ptx.count("\n") < _TOO_LONG or _MATRICES.search(ptx):
        return False
    return not has_loop(ptx)


def has_loop(ptx: str) -> bool:
    """Whether some branch of the kernel leads back."""
    passed: set[str] = set()
    for label, goal in _LABEL_OR_BRANCH.findall(ptx):
        if goal and goal in passed:
            return True
        passed.add(label)
    return False
