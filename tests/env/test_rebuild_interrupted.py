"""A rebuild is killed at every point at which it touches anything, and then resumed or rolled back.

The killed process is a fork in which each function that changes something counts its calls, and kills the process before or after
the n-th one; n goes on until the rebuild comes to its end. The environments are real: their console script is run afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from environments import make_venv

from anytile.env.rebuild import caches, relocate, steps, swap
from anytile.env.rebuild.errors import CannotRebuild
from anytile.env.rebuild.journal import Journal, journal_path
from anytile.env.rebuild.plan import Command, Plan

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")


class Silent:
    """A watcher that watches nothing."""

    def step(self, number: int, text: str) -> None: ...
    def line(self, text: str) -> None: ...
    def row(self, row: object) -> None: ...


class World:
    """A folder with an old environment, and what the new one will be copied from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target, self.fresh, self.old = root / ".venv", root / ".ven~", root / ".venv.old-1"
        self.cache = root / "cache"
        for where, name in ((self.target, "old"), (self.fresh, "new")):
            make_venv(where)
            for activation in where.glob("bin/[aA]ctivate*"):  # each file with a path in it is two more points to be killed at
                activation.unlink()
            script = where / "bin" / "which-one"
            script.write_text(f"#!{where}/bin/python\nimport sys\nprint({name!r}, sys.prefix)\n")
            script.chmod(0o755)
        self.fresh.rename(root / "template")
        self.target.rename(root / "before")
        self.plan = Plan(
            number="1",
            target=str(self.target),
            fresh=str(self.fresh),
            old=str(self.old),
            root=str(root),
            tool="pip",
            files=(),
            python=sys.executable,
            had_old=True,
            build=(Command(("cp", "-a", str(root / "template"), str(self.fresh))),),
            purge=(caches.Purge("triton", (str(self.cache),), 1),),
        )

    def reset(self) -> None:
        """As it was before anything was begun."""
        for path in self.root.iterdir():
            if path.name not in ("template", "before"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        subprocess.run(["cp", "-a", self.root / "before", self.target], check=True)
        (self.cache / "ab").mkdir(parents=True)
        (self.cache / "ab" / "k.json").write_text("{}")

    def which(self) -> str:
        """What the console script at the final place says; it must be the environment of that place."""
        name, prefix = subprocess.run([self.target / "bin" / "which-one"], check=True, capture_output=True, text=True).stdout.split()
        assert Path(prefix) == self.target
        return name

    def left_over(self) -> set[str]:
        return {p.name for p in self.root.iterdir()} - {"template", "before", ".venv", "cache"}


def killing(at: int) -> Iterator[int]:
    """Patches everything that changes the disk so that the process dies at event ``at``; each call is two events, before and after."""
    count = 0

    def event() -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def patched(*args: Any, **kwargs: Any) -> Any:
            event()
            result = function(*args, **kwargs)
            event()
            return result

        return patched

    def half_a_tree(folder: Path, *args: Any, original: Callable[..., Any] = shutil.rmtree, **kwargs: Any) -> None:
        """Removes one entry, is an event, removes the rest."""
        for entry in sorted(Path(folder).iterdir())[:1] if Path(folder).is_dir() else ():
            original(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        event()
        original(folder, *args, **kwargs)
        event()

    def half_a_line(journal: Journal, step: str, **details: Any) -> None:
        event()
        if count + 1 == at:  # a power failure in the middle of the write
            with journal.path.open("ab") as f:
                f.write(b'{"step": "')
        event()
        record(journal, step, **details)
        event()

    record = Journal.record
    Journal.record = half_a_line  # type: ignore[method-assign]
    os.rename = around(os.rename)
    os.replace = around(os.replace)  # type: ignore[assignment]
    shutil.rmtree = half_a_tree  # type: ignore[assignment]
    swap.exchange = around(swap.exchange)
    steps._run = around(steps._run)
    relocate._replace_file = around(relocate._replace_file)
    os.sync = event
    yield count


def killed(at: int, action: Callable[[], object], exchanging: bool) -> bool:
    """Runs ``action`` in a fork that dies at event ``at``; False when it came to its end before."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            if not exchanging:
                swap.exchange = lambda one, other: False
            next(killing(at))
            action()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"event {at}: the rebuild itself failed"
    return status != 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture(params=["exchange", "two renames"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "two renames":
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    return bool(request.param == "exchange")


def test_resume_finishes_from_everywhere(world: World, exchanging: bool) -> None:
    at = 0
    while True:
        at += 1
        if not killed_rebuild(world, at, exchanging):
            break
        if journal_path(world.target).exists():
            steps.resume(world.target, Silent(), check=False)
            assert world.which() == "new", at
            assert not world.cache.exists()
        else:  # before the first line, or after the last
            assert world.which() in ("old", "new")
        assert world.left_over() <= {".venv.rebuild.jsonl.new"}, at
    assert at > (30 if exchanging else 15)
    assert world.which() == "new" and not world.left_over()


def test_rollback_ends_well_from_everywhere(world: World, exchanging: bool) -> None:
    at, late = 0, []
    while True:
        at += 1
        if not killed_rebuild(world, at, exchanging):
            break
        if journal_path(world.target).exists():
            back = steps.roll_back(world.target, Silent())
            assert world.which() == ("old" if back else "new"), at
            late.append(not back)
        assert world.left_over() <= {".venv.rebuild.jsonl.new"}, at
    assert late == sorted(late) and True in late  # too late once, too late ever after


def test_a_rollback_that_is_killed_can_be_begun_again(world: World, exchanging: bool) -> None:
    for stop in ("relocated", "swapped", "checked"):
        at = 0
        while True:
            at += 1
            world.reset()
            stopped_after(world, stop, exchanging)
            if not killed(at, lambda: steps.roll_back(world.target, Silent()), exchanging):
                break
            if journal_path(world.target).exists():
                if Journal.read(journal_path(world.target)).done("rolling back"):
                    with pytest.raises(CannotRebuild, match="being rolled back"):
                        steps.resume(world.target, Silent(), check=False)
                assert steps.roll_back(world.target, Silent())
            assert world.which() == "old" and not world.left_over(), (stop, at)


def test_a_resume_that_is_killed_can_be_begun_again(world: World, exchanging: bool) -> None:
    at = 0
    while True:
        at += 1
        world.reset()
        stopped_after(world, "verified", exchanging)
        if not killed(at, lambda: steps.resume(world.target, Silent(), check=False), exchanging):
            break
        if journal_path(world.target).exists():
            steps.resume(world.target, Silent(), check=False)
        assert world.which() == "new" and not world.left_over(), at


def killed_rebuild(world: World, at: int, exchanging: bool) -> bool:
    """A rebuild killed at event ``at``. How the folders change places matters only after the building, which is then skipped."""
    world.reset()
    if exchanging:
        return killed(at, lambda: steps.begin(world.plan, Silent(), check=False), exchanging)
    stopped_after(world, "relocated", exchanging)
    return killed(at, lambda: steps.resume(world.target, Silent(), check=False), exchanging)


def stopped_after(world: World, step: str, exchanging: bool) -> None:
    """Brings a rebuild to the point at which ``step`` has just been recorded."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            if not exchanging:
                swap.exchange = lambda one, other: False
            record = Journal.record

            def last(journal: Journal, name: str, **details: Any) -> None:
                record(journal, name, **details)
                if name == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            Journal.record = last  # type: ignore[method-assign]
            steps.begin(world.plan, Silent(), check=False)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
