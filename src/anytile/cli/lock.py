"""`anytile lock`: finds a set of packages that work together and writes it into the project's file. Exit status 0, or 1 where nothing was written."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ..env.lock.plan import Plan

__all__ = ["run"]


def run(given: argparse.Namespace) -> int:
    """``given``: the options of `anytile lock`.  Nothing is written unless everything was found."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from ..env.lock.errors import LockError
    from ..env.lock.index import PYPI
    from ..env.lock.plan import make_plan
    from ..env.lock.project import read
    from ..env.lock.request import Request
    from ..env.lock.write import difference, render, write_file

    errors = Console(stderr=True)
    try:
        project = read(given.file, given.tool, Path.cwd())
        wanted = given.python or project.python or f"3.{sys.version_info.minor}"
        request = Request.parse(
            given.packages,
            wanted,
            given.platform or [_here()],
            given.cuda,
            project.tool,
            given.triton,
            given.source,
            given.urls,
            given.mirror,
        )
        if not given.packages and not project.dependencies:
            raise LockError(f"{project.path} names no dependencies: say what you want, as in `anytile lock torch unsloth[huggingface]`")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
            task = progress.add_task("starting", total=len(request.targets))

            def told(what: str) -> None:
                progress.update(task, description=what, completed=0 if what.startswith("resolving") else None)

            plan = make_plan(request, project, told, lambda _: progress.advance(task), given.look_inside, given.index or PYPI)
        new = render(plan, project)
    except (LockError, OSError) as e:
        errors.print(f"anytile: {e}", markup=False, highlight=False, soft_wrap=True)
        return 1
    changes = difference(project, new)
    if given.dry_run:
        print(changes, end="")
    _explain(errors, plan)
    if not changes:
        errors.print(f"{project.path} says all of this already", highlight=False)
    elif given.dry_run:
        errors.print("nothing was written (--dry-run)", highlight=False)
    else:
        try:
            write_file(project.path, new)
        except OSError as e:
            errors.print(f"anytile: {project.path} could not be written: {e}", markup=False, highlight=False, soft_wrap=True)
            return 1
        errors.print(f"wrote {project.path}", highlight=False, markup=False)
    return 0


def _here() -> str:
    """The platform of this machine."""
    import platform

    system = platform.system()
    if system == "Windows":
        return "windows"
    if system == "Darwin":
        return "macos"
    return f"linux-{'aarch64' if platform.machine() in ('aarch64', 'arm64') else 'x86_64'}"


def _explain(console: Console, plan: Plan) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("package", "version", "where", "why", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for pin in plan.pins:
        for i, entry in enumerate(pin.entries):
            where = ", ".join(p.name for p in entry.platforms) + (f" ({entry.source})" if entry.source else "")
            table.add_row(
                Text(pin.name if i == 0 else ""),
                Text(str(entry.version or entry.url)),
                Text(where),
                Text("; ".join(pin.reasons) if i == 0 else ""),
            )
    console.print(table)
    packages = {name for s in plan.solutions.values() for name in s}
    size, places = len(packages), len(plan.solutions)
    console.print(
        f"{size} package{'s' * (size != 1)} in all, on {places} combination{'s' * (places != 1)} of platform and Python", highlight=False
    )
    for need in plan.needs:
        console.print(Text(f"needs {need}"), soft_wrap=True)
    for note in plan.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
