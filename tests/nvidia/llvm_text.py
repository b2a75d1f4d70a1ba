"""What the interpreters of the tests read off LLVM text."""

from __future__ import annotations

__all__ = ["at_commas"]


def at_commas(text: str) -> list[str]:
    """``text`` at its outer commas."""
    out, depth, last = [], 0, 0
    for i, ch in enumerate(text):
        depth += (ch in "([{<") - (ch in ")]}>")
        if ch == "," and not depth:
            out.append(text[last:i].strip())
            last = i + 1
    return [*out, text[last:].strip()] if text.strip() else []
