"""`anytile verify`: tries an environment. Exit status 0 all passed, 1 something failed, 2 could not look."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from ..env.verify.rows import Row

__all__ = ["line", "run", "workflow"]

_STYLES = {"passed": "green", "failed": "bold red", "crashed": "bold red", "timed_out": "bold red", "skipped": "yellow"}


def line(row: Row) -> Text:
    """A row as one line of a terminal."""
    from rich.text import Text

    text = Text(f"{row.verdict.replace('_', ' '):<10}", style=_STYLES[row.verdict])
    text.append(str(row), style="bold")
    times = [f"{row.seconds:.2f} s"] if row.seconds is not None else []
    times += [f"{row.run * 1e6:.0f} µs a call"] if row.run is not None else []
    if times:
        text.append("  " + ", ".join(times), style="dim")
    if row.detail:
        text.append("  " + row.detail.splitlines()[0], style="" if row.failed else "dim")
    return text


def run(python: str | None, as_json: bool, timeout: float, strict: bool) -> int:
    """Tries the environment of ``python`` and prints its rows as they come, or all of them as JSON."""
    from rich.console import Console

    from ..env.verify.checks import verify
    from ..env.verify.rows import exit_status

    console = Console(highlight=False, stderr=as_json)

    def tell(row: Row) -> None:
        if not as_json:
            console.print(line(row), soft_wrap=True)

    try:
        report = verify(python, timeout, tell)
    except OSError as e:
        print(f"anytile: could not look: {e}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        skipped = sum(r.verdict == "skipped" for r in report.rows)
        verdict = "the environment works" if report.ok else f"{len(report.failed)} of {len(report.rows)} rows failed"
        tail = f" ({skipped} skipped)" if skipped else ""
        console.print(f"\n{verdict}{tail}", style="bold green" if report.ok else "bold red")
        if not report.ok:
            console.print("`anytile doctor` says why; --json has the tracebacks", style="dim")
    return exit_status(report.rows, strict)


def workflow(kind: str, python: str | None, output: Path | None, systems: str, pythons: str, torches: str, overwrite: bool) -> int:
    """Writes the workflow of continuous integration ``kind``; the lists are separated by commas, an empty one takes the default."""
    from ..env.verify import workflow as writer

    if kind != "github":
        raise writer.WorkflowError(f"--ci {kind}: only workflows for `github` are written")

    def chosen(text: str) -> tuple[str, ...]:
        return tuple(v.strip() for v in text.split(",") if v.strip())

    wanted_pythons, wanted_torches = chosen(pythons), chosen(torches)
    if not (wanted_pythons and wanted_torches):
        from ..env.collect import collect

        facts = collect(python)
        if not wanted_torches:
            wanted_torches = writer.torch_of(facts)
        wanted_pythons = wanted_pythons or writer.pythons_of(facts)
    root = Path.cwd()
    path = output or root / ".github" / "workflows" / "environment.yml"
    text = writer.github_workflow(root, chosen(systems) or writer.SYSTEMS, wanted_pythons, wanted_torches)
    writer.write_workflow(path, text, overwrite)
    print(f"wrote {path}")
    return 0
