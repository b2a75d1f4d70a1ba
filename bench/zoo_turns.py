"""Two runs of the zoo that take turns on one GPU, member by member and round by round.

Each run is a process with a compiler of its own: they compile at the same time, on whatever processors each was given, and wait for each
other before anything is timed.  What one times, the other does not disturb, and both meet the same state of the machine.  They speak
through files in a folder that both were given, which was empty before.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Turns"]

_POLL = 0.002  # seconds


class Turns:
    """One of two partners.  ``plain``: which; the one without it goes first.  Where the other has ended, nobody waits for it."""

    def __init__(self, folder: str, plain: bool) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.first = not plain
        self.me, self.other = ("plain", "anytile") if plain else ("anytile", "plain")
        # Held until this process ends, however it does; unlike those of flock, such locks are not its children's too.
        process = self._file(self.me, "process-new")
        self._living = process.open("w")
        fcntl.lockf(self._living, fcntl.LOCK_EX)
        process.rename(self._file(self.me, "process"))
        self._depth = 0

    def meet(self, point: str, answer: str = "") -> str | None:
        """Says that this run is at ``point``, waits for the other and returns its answer; None where it has ended."""
        self._say(point, answer)
        return self._await(point)

    @contextmanager
    def turn(self, point: str) -> Iterator[None]:
        """The first one's turn, then the second one's; each point is used once."""
        if not self.first:
            self._await(point)
        yield
        self._say(point, "")
        if self.first:
            self._await(point)

    @contextmanager
    def alone_on_gpu(self) -> Iterator[None]:
        """For measurements within a compilation, while the other may be compiling too."""
        self._depth += 1
        try:
            if self._depth > 1:
                yield
                return
            with open(self.folder / "gpu", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        finally:
            self._depth -= 1

    def guard_autotuning(self) -> None:
        """From now on Inductor's measurements of configurations and templates are made by one of the two at a time."""
        from torch._inductor.runtime.benchmarking import benchmarker

        measuring: Any = benchmarker
        measure = measuring.benchmark_gpu

        def benchmark_gpu(*args: Any, **kwargs: Any) -> Any:
            with self.alone_on_gpu():
                return measure(*args, **kwargs)

        measuring.benchmark_gpu = benchmark_gpu

    def _file(self, who: str, point: str) -> Path:
        return self.folder / f"{point}.{who}"

    def _say(self, point: str, text: str) -> None:
        new = self._file(self.me, point + "-new")
        new.write_text(text, encoding="utf-8")
        new.rename(self._file(self.me, point))

    def _await(self, point: str) -> str | None:
        file = self._file(self.other, point)
        while True:
            ended = self._other_has_ended()  # asked first: what it said before it ended counts
            if file.exists():
                return file.read_text(encoding="utf-8")
            if ended:
                return None
            time.sleep(_POLL)

    def _other_has_ended(self) -> bool:
        """A partner that has not begun yet is waited for: two runs are started together."""
        process = self._file(self.other, "process")
        if not process.exists():
            return False
        with process.open() as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return False
        return True
