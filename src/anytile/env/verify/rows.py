"""What `anytile verify` answers: rows with verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["SCHEMA", "Report", "Row", "Verdict", "exit_status"]

SCHEMA = 1
Verdict = Literal["passed", "failed", "crashed", "timed_out", "skipped"]


@dataclass(frozen=True)
class Row:
    """One thing that was tried.

    ``seconds`` is the time of the whole row, imports and compilation included; ``run`` that of the fastest call afterwards, where the
    row calls something more than once. ``detail`` says what was found, why it was skipped, or the error; ``trace`` is the end of
    the traceback, or of what the process wrote before it died.
    """

    group: str  # "facts", "import", "torch", "triton", "machine code", "compile", "library"
    name: str
    device: str | None
    verdict: Verdict
    seconds: float | None = None
    run: float | None = None
    detail: str = ""
    trace: str = ""

    @property
    def title(self) -> str:
        """How a person would call it: `triton softmax`, `import torch`."""
        return {"facts": "python starts", "compile": "torch.compile", "machine code": "triton to machine code"}.get(
            self.group, f"{self.group} {self.name}"
        )

    @property
    def failed(self) -> bool:
        """Whether it was tried and did not work."""
        return self.verdict not in ("passed", "skipped")

    def __str__(self) -> str:
        return self.title + (f" on {self.device}" if self.device else "")


@dataclass(frozen=True)
class Report:
    """All rows, and what the environment told of itself."""

    python: str
    rows: tuple[Row, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed; rows that were skipped do not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that were tried and did not work."""
        return tuple(r for r in self.rows if r.failed)

    def as_json(self) -> dict[str, Any]:
        """Schema 1, see docs/verify.md. Keys are only added within a schema number, never renamed or removed."""
        return {
            "schema": SCHEMA,
            "python": self.python,
            "facts": self.facts,
            "ok": self.ok,
            "rows": [{**asdict(r), "title": r.title} for r in self.rows],
        }


def exit_status(rows: Iterable[Row], strict: bool = False) -> int:
    """0 where all passed, 1 where one failed, 2 where the interpreter itself could not be asked. ``strict``: skipped rows fail too."""
    listed = list(rows)
    if not listed or (listed[0].group == "facts" and listed[0].verdict != "passed"):
        return 2
    return 1 if any(r.failed or (strict and r.verdict == "skipped") for r in listed) else 0
