"""What a rebuild has done, on disk: one JSON object a line, each flushed to the disk before the next thing is done.

A line cut short by a power failure is no line. The first one holds the plan, so that `--resume` and `--rollback` need nothing else.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import CannotRebuild

__all__ = ["Journal", "journal_path", "sync_folder"]


def journal_path(target: Path) -> Path:
    """Where the journal of the environment ``target`` lies: beside it, as `.venv.rebuild.jsonl`."""
    return target.parent / f"{target.name}.rebuild.jsonl"


def sync_folder(folder: Path) -> None:
    """Makes names created, renamed or removed in ``folder`` last; Windows does so itself and cannot be asked."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Journal:
    """The lines of one journal. Not safe for two processes: `steps.locked` keeps the second one out."""

    def __init__(self, path: Path, entries: list[dict[str, Any]]) -> None:
        self.path = path
        self.entries = entries

    @classmethod
    def create(cls, path: Path, plan: dict[str, Any]) -> Journal:
        """A new journal that begins with the plan. Raises CannotRebuild where one is there."""
        if path.exists():
            raise CannotRebuild(f"{path} tells of a rebuild that was not finished: give --resume to finish it or --rollback to undo it")
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        journal = cls(draft, [])
        journal.record("planned", plan=plan)
        os.replace(draft, path)  # so that a journal which is there has its plan
        sync_folder(path.parent)
        journal.path = path
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal at ``path``; raises CannotRebuild where there is none, or none that can be read."""
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise CannotRebuild(f"there is no unfinished rebuild here: {path} does not exist") from None
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:  # what follows would otherwise be glued to half a line
            with path.open("r+b") as f:
                f.truncate(len(whole))
        try:
            entries = [json.loads(line) for line in whole.splitlines()]
            entries[0]["plan"]
        except (ValueError, IndexError, KeyError, TypeError):
            raise CannotRebuild(f"{path} is no journal of a rebuild; the folders beside it tell what is there") from None
        return cls(path, entries)

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as it was recorded."""
        plan: dict[str, Any] = self.entries[0]["plan"]
        return plan

    def done(self, step: str) -> bool:
        """Whether ``step`` is recorded as finished."""
        return any(e["step"] == step for e in self.entries)

    def record(self, step: str, **details: Any) -> None:
        """Writes that ``step`` is finished; returns when the disk has it."""
        entry = {"step": step, **details}
        with self.path.open("ab") as f:
            f.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())
        self.entries.append(entry)

    def remove(self) -> None:
        """The rebuild is over."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)
