"""The steps of a rebuild, in order. Each may be begun again after any interruption; what is finished stands in the journal.

    planned → purged → built → verified → relocated → swapped → checked → committed → (old one removed, journal removed)

Until `committed` the old environment exists, whole, at its place or beside it; from then on the new one is proved and in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from ..verify.checks import verify
from ..verify.rows import Row
from .caches import finish_purge, purge
from .errors import BuildFailed, CannotRebuild, RebuildError, VerificationFailed
from .journal import Journal, journal_path, sync_folder
from .plan import Command, Plan, executable_of
from .relocate import broken_scripts, relocate
from .swap import MARK, is_new, swap_back, swap_in

__all__ = ["STEPS", "Watcher", "begin", "locked", "resume", "roll_back"]

STEPS = ("purged", "built", "verified", "relocated", "swapped", "checked", "committed")
_NO_INPUT = subprocess.DEVNULL if os.name == "posix" else subprocess.PIPE  # wine's Python starts only on pipes
_SHOWN = 15  # last lines of a tool that failed


class Watcher(Protocol):
    """Who is told how it goes."""

    def step(self, number: int, text: str) -> None:
        """Step ``number`` of `len(STEPS)` begins."""

    def line(self, text: str) -> None:
        """The user's tool has printed a line."""

    def row(self, row: Row) -> None:
        """A row of the verification is known."""


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keeps a second rebuild of the same environment out; a process that dies lets go."""
    from filelock import FileLock, Timeout

    name = hashlib.sha256(os.fsencode(os.path.realpath(target))).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"anytile-rebuild-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CannotRebuild(f"another process is rebuilding {target} right now") from None
    try:
        yield
    finally:
        if os.name == "posix":  # while it is held: whoever has opened it waits for nothing, and is refused; Windows keeps open files
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
        lock.release()


def begin(plan: Plan, watcher: Watcher, check: bool = True, timeout: float = 300.0) -> None:
    """Does the whole plan. ``check``: verify the new environment before the swap; ``timeout`` in seconds for each of its rows.

    Raises RebuildError where it stops; the journal then tells where, and the old environment is as it was.
    """
    path = journal_path(Path(plan.target))
    with locked(Path(plan.target)):
        if path.exists() and Journal.read(path).done("kept"):  # finished; the folder that it kept stays, the way back to it ends here
            path.unlink()
        journal = Journal.create(path, plan.as_json())
        _go_on(plan, journal, watcher, check, timeout)


def resume(target: Path, watcher: Watcher, check: bool = True, timeout: float = 300.0) -> Plan:
    """Goes on where an interrupted rebuild of ``target`` stopped."""
    with locked(target):
        journal = Journal.read(journal_path(target))
        plan = Plan.from_json(journal.plan)
        if journal.done("rolling back"):
            raise CannotRebuild("this rebuild was being rolled back; give --rollback to finish that")
        if journal.done("kept"):
            raise CannotRebuild(
                f"this rebuild is finished, the old environment was kept at {plan.old}: delete it, or give --rollback to go back to it"
            )
        _go_on(plan, journal, watcher, check, timeout)
        return plan


def roll_back(target: Path, watcher: Watcher) -> bool:
    """Undoes an interrupted rebuild of ``target``. False where it was too late: the new environment is proved and in place, and stays."""
    with locked(target):
        journal = Journal.read(journal_path(target))
        plan = Plan.from_json(journal.plan)
        if journal.done("committed") and not journal.done("rolling back") and not (journal.done("kept") and Path(plan.old).exists()):
            _clean(plan, journal)
            return False
        watcher.step(0, "rolling back")
        if not journal.done("rolling back"):
            journal.record("rolling back")
        for cache in plan.purge:
            for folder in () if cache.command else cache.folders:
                finish_purge(Path(folder), plan.number)
        fresh = Path(plan.fresh)
        swap_back(Path(plan.target), fresh, Path(plan.old), plan.number)
        if plan.had_old and not Path(plan.target).exists():
            raise RebuildError(f"the old environment is neither at {plan.target} nor at {plan.old}: somebody moved it; nothing was deleted")
        if fresh.exists():
            _remove(fresh)
        journal.remove()
        return True


def _go_on(plan: Plan, journal: Journal, watcher: Watcher, check: bool, timeout: float) -> None:
    actions: dict[str, tuple[str, Callable[[], None]]] = {
        "purged": ("emptying caches", lambda: _purge(plan, watcher)),
        "built": (f"building beside the old one with {plan.tool}", lambda: _build(plan, watcher)),
        "verified": ("verifying the new environment", lambda: _verify(plan, watcher, check, timeout)),
        "relocated": ("moving its paths", lambda: _relocate(plan)),
        "swapped": ("taking the old one's place", lambda: swap_in(Path(plan.target), Path(plan.fresh), Path(plan.old), plan.number)),
        "checked": ("trying it at its place", lambda: _check(plan, journal)),
        "committed": ("finishing", lambda: None),
    }
    for number, name in enumerate(STEPS, start=1):
        if not journal.done(name):
            text, action = actions[name]
            watcher.step(number, text)
            action()
            journal.record(name)
    _clean(plan, journal)


def _run(command: Command, root: str, watcher: Watcher) -> None:
    """Runs one command of the plan; raises BuildFailed with the end of what it printed."""
    env = dict(os.environ)
    for key, value in command.environment.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    env.pop("PYTHONHOME", None)  # of this process; the Python that is run has its own
    last: deque[str] = deque(maxlen=_SHOWN)
    try:
        process = subprocess.Popen(
            command.arguments,
            cwd=root,
            env=env,
            stdin=_NO_INPUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as e:
        raise BuildFailed(f"`{' '.join(command.arguments)}` cannot be started: {e.strerror or e}; the old environment is as it was") from e
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip():
                    last.append(line.rstrip())
                    watcher.line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BuildFailed(
            f"`{' '.join(command.arguments)}` ended with {process.returncode}; the old environment is as it was. "
            "--resume builds anew, --rollback gives up. It said:\n" + "\n".join(last)
        )


def _remove(folder: Path) -> None:
    """Deletes a tree that may be large and partly deleted; read-only files too."""

    def allow(function: Callable[[str], object], path: str, _: object) -> None:
        if not os.path.lexists(path):
            return
        os.chmod(path, 0o700)
        os.chmod(os.path.dirname(path), 0o700)
        function(path)

    shutil.rmtree(folder, onerror=allow)
    sync_folder(folder.parent)


def _purge(plan: Plan, watcher: Watcher) -> None:
    for cache in plan.purge:
        if cache.command:
            try:
                _run(Command(cache.command), plan.root, watcher)
            except BuildFailed as e:
                raise BuildFailed(f"the {cache.kind} cache cannot be emptied (--keep-caches goes on without): {e}") from e
        else:
            for folder in cache.folders:
                purge(Path(folder), plan.number)


def _build(plan: Plan, watcher: Watcher) -> None:
    """From nothing, whatever an interrupted attempt has left: half an installation cannot be told from a whole one."""
    fresh = Path(plan.fresh)
    if fresh.exists():
        _remove(fresh)
    for command in plan.build:
        _run(command, plan.root, watcher)
        ignore = fresh / ".gitignore"
        if fresh.is_dir() and not ignore.exists():  # the name beside the old one is in nobody's .gitignore
            ignore.write_text("*\n", encoding="ascii")
    with (fresh / MARK).open("w", encoding="ascii") as f:
        f.write(plan.number)
        f.flush()
        os.fsync(f.fileno())


def _verify(plan: Plan, watcher: Watcher, check: bool, timeout: float) -> None:
    if not check:
        return
    report = verify(executable_of(plan.fresh), timeout, watcher.row)
    if report.failed:
        said = "\n".join(f"  {r}: {r.verdict.replace('_', ' ')}, {r.detail}" for r in report.failed)
        raise VerificationFailed(
            f"the new environment was built and does not work; the old one is as it was. The new one lies at {plan.fresh}: "
            f"`anytile doctor --python {plan.fresh}` says why. After a repair --resume goes on, --resume --no-verify goes on as it is, "
            f"--rollback deletes it.\n{said}"
        )


def _relocate(plan: Plan) -> None:
    relocate(Path(plan.fresh), Path(plan.target))
    if hasattr(os, "sync"):
        os.sync()  # the files of the new environment are on the disk before a name points to them


def _check(plan: Plan, journal: Journal) -> None:
    """The last look, at the final place. What fails here is put back."""
    wrong = broken_scripts(Path(plan.target), Path(plan.fresh))
    if not wrong:
        try:
            answer = subprocess.run(
                [executable_of(plan.target), "-c", "import sys; print(sys.prefix)"],
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
                stdin=_NO_INPUT,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=120,
                check=False,
            )
            if not os.path.samefile(answer.stdout.strip() or os.sep, plan.target):
                wrong = [f"its Python says that it belongs to {answer.stdout.strip() or answer.stderr.strip()}"]
        except (OSError, subprocess.TimeoutExpired) as e:
            wrong = [f"its Python does not start: {e}"]
    if wrong:
        journal.record("rolling back")
        swap_back(Path(plan.target), Path(plan.fresh), Path(plan.old), plan.number)
        raise RebuildError(
            "the new environment does not work at its final place, so the old one was put back; "
            "--rollback deletes the new one.\n" + "\n".join(f"  {w}" for w in wrong[:5])
        )


def _clean(plan: Plan, journal: Journal) -> None:
    """After the commit: what is no longer needed goes. With ``keep_old`` the journal stays too, so that --rollback can go back."""
    target, old = Path(plan.target), Path(plan.old)
    if plan.keep_old and old.exists():
        if not journal.done("kept"):
            journal.record("kept")
        return
    if old.exists():
        _remove(old)
    if is_new(target, plan.number):
        (target / MARK).unlink()
    journal.remove()
