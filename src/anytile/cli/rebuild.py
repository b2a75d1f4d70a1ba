"""`anytile rebuild`: shows the plan, asks, does it. Exit status 0 done, 1 stopped (the old environment is in place), 2 no plan, 130 Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..env.rebuild.plan import Plan
    from ..env.verify.rows import Row

__all__ = ["run"]


class _Bar:
    """A `steps.Watcher` on a terminal: one bar, under it what the tool printed last, above it rows and finished steps."""

    def __init__(self, progress: Any, total: int, verbose: bool) -> None:
        self.progress, self.verbose = progress, verbose
        self.task = progress.add_task("", total=total, said="", visible=False)

    def step(self, number: int, text: str) -> None:
        self.progress.update(self.task, completed=max(number - 1, 0), description=text, said="", visible=True)

    def line(self, text: str) -> None:
        from rich.markup import escape

        if self.verbose:
            self.progress.console.print(escape(text), style="dim", soft_wrap=True)
        else:
            self.progress.update(self.task, said=escape(text.strip()[:60]))

    def row(self, row: Row) -> None:
        from .verify import line

        self.progress.console.print("  ", line(row), soft_wrap=True)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _show(plan: Plan) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..env.report import plain_console

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("environment", plan.target + ("" if plan.had_old else " (not there yet)")),
        ("built from", ", ".join(plan.files) + f" with {plan.tool}"),
        ("Python", plan.python),
        ("beside it", plan.fresh),
    ]
    rows += [("", " ".join(c.arguments)) for c in plan.build]
    rows += [(f"{p.kind} cache", f"{_size(p.bytes)} in {', '.join(p.folders)}: will be emptied") for p in plan.purge]
    for name, value in rows:
        table.add_row(name, Text(value))
    plain_console().print(table)


def run(
    target: str | None,
    tool: str | None,
    requirements: list[str],
    python: str | None,
    keep_caches: bool,
    keep_downloads: bool,
    keep_old: bool,
    check: bool,
    timeout: float,
    yes: bool,
    resume: bool,
    rollback: bool,
    dry_run: bool,
    verbose: bool,
    extra: list[str],
    enable: bool,
) -> int:
    """See `anytile rebuild --help`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..env.rebuild import steps
    from ..env.rebuild.errors import CannotRebuild, RebuildError
    from ..env.rebuild.plan import make_plan

    root = Path.cwd()
    try:
        if resume and rollback:
            raise CannotRebuild("--resume and --rollback are opposites; give one of them")
        plan = None
        if not (resume or rollback):
            plan = make_plan(target, root, tool, requirements, python, keep_caches, keep_downloads, keep_old, extra, enable)
            _show(plan)
            if dry_run:
                return 0
            if not yes:
                if not sys.stdin.isatty():
                    raise CannotRebuild("nobody can be asked here; give --yes to go on without")
                if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
                    print("nothing was touched")
                    return 1
    except CannotRebuild as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 2
    columns = (
        BarColumn(20),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[said]}"),
    )
    try:
        with Progress(*columns, console=Console(highlight=False, stderr=True)) as progress:
            bar = _Bar(progress, len(steps.STEPS), verbose)
            if plan is not None:
                steps.begin(plan, bar, check, timeout)
            elif resume:
                plan = steps.resume(_unfinished(target, root), bar, check, timeout)
            elif not steps.roll_back(_unfinished(target, root), bar):
                print(
                    "anytile: too late to go back: the new environment was proved and is in place; what was left is removed",
                    file=sys.stderr,
                )
                return 1
            progress.update(bar.task, completed=len(steps.STEPS), description="done", said="")
    except KeyboardInterrupt:
        print("\nanytile: interrupted; nothing is lost. --resume goes on, --rollback goes back", file=sys.stderr)
        return 130
    except CannotRebuild as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 2
    except OSError as e:  # a full disk; on Windows a program that holds a file of the environment
        print(f"anytile: {e}; nothing is lost: --resume goes on when that is mended, --rollback goes back", file=sys.stderr)
        return 1
    except RebuildError as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 1
    if rollback:
        print("rolled back: the old environment is in place")
    elif plan is not None:
        kept = f"; the old one lies at {plan.old}" if plan.keep_old and plan.had_old else ""
        print(f"{plan.target} is rebuilt{kept}")
    return 0


def _unfinished(target: str | None, root: Path) -> Path:
    """The environment whose rebuild was interrupted; at that moment it may have no folder at its place."""
    from ..env.rebuild.journal import journal_path
    from ..env.rebuild.plan import find_target

    if target is None:
        inside = [root / name for name in (".venv", "venv") if journal_path(root / name).is_file()]
        if inside:
            return inside[0].resolve()
    return find_target(target, root)
