"""Names of Triton in the code that Inductor writes: string literals, f-strings and Jinja templates.

Generated kernels begin with ``import triton.language as tl`` and the like, so names are looked for under the roots of `_ROOTS`.  What
follows a root in a computed part of a string cannot be known; it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["in_template", "in_text"]

_ROOTS = {
    "tl": "triton.language",
    "triton": "triton",
    "libdevice": "triton.language.extra.libdevice",
    "tl_math": "triton.language.math",
}
_NAME = re.compile(r"(?<![\w.])(tl|triton|libdevice|tl_math)((?:\.[A-Za-z_]\w*)+)(?![\w\x01])")
_IMPORT = re.compile(r"^[ \t]*(?:from (triton[\w.]*) import ([\w ,]+)|import (triton(?:\.\w+)*))", re.M)
# What follows `triton.` where Triton is meant: torch has settings, counters and files called "triton.something" too.
_PARTS = re.compile(
    r"\.(?:language|jit|Config|autotune|runtime|testing|tools|compiler|backends|cdiv|next_power_of_2|heuristics|set_allocator|knobs|profiler)\b"
)


def in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """(line from 0, name, "from", "import" or "text") for each name in a piece of source text."""
    if len(text) < 4:
        return
    for m in _IMPORT.finditer(text):
        line = text.count("\n", 0, m.start())
        if m[1]:
            for part in m[2].split(","):
                name = part.strip().split(" as ")[0].strip()
                if name.isidentifier():
                    yield line, f"{m[1]}.{name}", "from"
        else:
            yield line, m[3], "import"
    for m in _NAME.finditer(text):
        root, rest = m[1], m[2]
        if root == "triton" and not _PARTS.match(rest):
            continue
        yield text.count("\n", 0, m.start()), _ROOTS[root] + rest, "text"


def in_template(text: str) -> Iterator[tuple[int, str, str]]:
    """The same for a Jinja template, comments left out; lines from 1."""
    without = re.sub(r"\{#.*?#\}", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    without = "\n".join(line.split("#")[0] for line in without.split("\n"))
    return ((line + 1, name, how) for line, name, how in in_text(without))
