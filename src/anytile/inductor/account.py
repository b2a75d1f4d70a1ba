"""What `anytile.torch.enable()` did: facts first, each a line that says what is so and why."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Account", "Line"]


@dataclass(frozen=True)
class Line:
    """``what`` was ``done`` (or left: ``done`` is False), ``why``."""

    what: str
    why: str
    done: bool = True

    def __str__(self) -> str:
        return f"{'✓' if self.done else '–'} {self.what}: {self.why}"


@dataclass
class Account:
    """``torch``: the installed release; ``triton``: the Triton release whose face torch sees.  ``str()`` is what is printed."""

    torch: str
    triton: str
    lines: list[Line] = field(default_factory=list)

    def note(self, what: str, why: str, done: bool = True) -> None:
        self.lines.append(Line(what, why, done))

    @property
    def cpu(self) -> bool:
        """Whether torch.compile writes Triton kernels for CPU tensors now."""
        return any(line.done and line.what.startswith("cpu_backend") for line in self.lines)

    def __str__(self) -> str:
        head = f"anytile serves torch {self.torch} as Triton {self.triton}"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])
