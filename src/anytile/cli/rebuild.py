"""`anytile rebuild`: shows the plan, asks, does it. Exit status 0 done, 1 stopped (the old environment is in place), 2 no plan, 130 Ctrl-C."""

from __future__ import annotations

import argparse
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


def run(given: argparse.Namespace) -> int:
    """``given``: the options of `anytile rebuild`, and ``behind``, what is for the tool's install command."""
    from ..env.rebuild.errors import CannotRebuild, RebuildError

    root = Path.cwd()
    try:
        if given.resume and given.rollback:
            raise CannotRebuild("--resume and --rollback are opposites; give one of them")
        plan = None if given.resume or given.rollback else _plan(given, root)
        if plan is not None and given.dry_run:
            return 0
        if plan is not None and not given.yes and not _agreed():
            print("nothing was touched")
            return 1
    except CannotRebuild as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 2
    try:
        return _carry_out(given, plan, root)
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


def _plan(given: argparse.Namespace, root: Path) -> Plan:
    """What is to be done, shown.  CannotRebuild where there is no plan."""
    from ..env.rebuild.plan import make_plan

    plan = make_plan(
        given.env,
        root,
        given.tool,
        given.requirements,
        given.python,
        given.keep_caches,
        given.keep_downloads,
        given.keep_old,
        given.behind,
        given.enable,
    )
    _show(plan)
    return plan


def _agreed() -> bool:
    """Whether the user says yes."""
    from ..env.rebuild.errors import CannotRebuild

    if not sys.stdin.isatty():
        raise CannotRebuild("nobody can be asked here; give --yes to go on without")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _carry_out(given: argparse.Namespace, plan: Plan | None, root: Path) -> int:
    """Does what ``plan`` says, or, without one, goes on with an interrupted rebuild or back to before it; the exit status."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..env.rebuild import steps

    columns = (
        BarColumn(20),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[said]}"),
    )
    with Progress(*columns, console=Console(highlight=False, stderr=True)) as progress:
        bar = _Bar(progress, len(steps.STEPS), given.verbose)
        if plan is not None:
            steps.begin(plan, bar, given.verify, given.timeout)
        elif given.resume:
            plan = steps.resume(_unfinished(given.env, root), bar, given.verify, given.timeout)
        elif not steps.roll_back(_unfinished(given.env, root), bar):
            print("anytile: too late to go back: the new environment was proved and is in place; what was left is removed", file=sys.stderr)
            return 1
        progress.update(bar.task, completed=len(steps.STEPS), description="done", said="")
    if plan is None:
        print("rolled back: the old environment is in place")
    else:
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
