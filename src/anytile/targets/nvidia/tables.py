"""Tables: loads of a loop whose numbers are addresses of the same iteration's other loads, such as the pages that a cache's rows lie in.

    for j in …:
        page = tl.load(table + (j * T + arange(T)) // PAGE)                  T numbers
        k = tl.load(cache + page[None, :] * S + …)                           for a dot: T · 128 numbers

A copy of ``k`` for a later iteration needs that iteration's ``page``, and would wait for it.  So a table is read one iteration ahead of the
copies, into registers that the loop carries: when an iteration's copies are started, its pages have been on their way for as long as an
iteration takes, and those of the next one are asked for.  In a chain of two dots (`chain`), whose first one's copies are an iteration ahead
of the second one's, it is two iterations.

Each thread reads the numbers that its own copies need, in the placement in which their addresses ask for them: nothing is exchanged, and
lanes that ask for the same number are one access.  What iteration reads them, reads them only if it takes place (and where the load's own
mask is on): beyond the loop's end nothing is read.  As all that a loop copies ahead, a table is one that the loop does not write
(`loop_reads`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from ...ir import Block, Op
from .loop_reads import unwritten
from .memory import load_in
from .placement import Placement
from .values import Generator, llvm_type

__all__ = ["SPARSE", "Numbers", "State", "Tables", "is_table"]

SPARSE = 8
"""A table has an element for so many of the elements that it gives addresses of, or more: it is kept in registers."""

Numbers = dict[tuple[Op, Placement | None], list[str]]
"""(table, placement; None for a scalar) → what was read of it."""


def is_table(load: Op, body: Block) -> bool:
    """Whether ``load``, an operation of the loop body ``body``, may be read ahead of its iteration."""
    if load.name != "load" or load.block is not body or load.attrs["volatile"] or load.attrs["cache"] == ".cv":
        return False
    return unwritten(load, body)


@dataclass(frozen=True)
class State:
    """What an iteration's copies are computed from: its induction variable and carried scalars; its tables, then those of the next ones."""

    scalars: list[str]
    tables: list[Numbers] = field(default_factory=list)


class Tables:
    """The tables ``loads`` of a loop, read ``distance`` iterations ahead of the copies."""

    def __init__(self, g: Generator, loads: list[Op], distance: int):
        self.g, self.loads, self.distance = g, loads, distance if loads else 0
        # What copies ask for, as they ask for it first: to each register the first one that holds the same.
        self.asked: dict[tuple[Op, Placement | None], list[int]] = {}

    def unread(self) -> list[Numbers]:
        """Of as many iterations as are carried: nothing yet."""
        return [{} for _ in range(self.distance)]

    @contextmanager
    def of(self, numbers: Numbers, runs: Callable[[], str]) -> Iterator[None]:
        """While an iteration's addresses are computed: its tables.  What is not in ``numbers`` is read here, where ``runs()``, and added."""
        g, before = self.g, self.g.read_ahead
        g.read_ahead = {load.result: partial(self._get, numbers, runs, load) for load in self.loads}
        try:
            yield
        finally:
            g.read_ahead = before

    def _get(self, numbers: Numbers, runs: Callable[[], str], load: Op, place: Placement | None) -> list[str]:
        key = load, place
        if key not in numbers:
            got = numbers[key] = load_in(self.g, load, place, runs())
            self.asked.setdefault(key, [got.index(x) for x in got])
        return numbers[key]

    def read(self) -> None:
        """Asks for all that copies ask for, in the part of the text that belongs to one iteration."""
        for load, place in list(self.asked):
            self.g.get(load.result, place)

    def types(self) -> list[str]:
        """LLVM's types of what `flat` gives."""
        one = [llvm_type(load.result.type.elem) for (load, _), firsts in self.asked.items() for _ in set(firsts)]
        return one * self.distance

    def flat(self, tables: list[Numbers]) -> list[str]:
        """All numbers, each once."""
        return [numbers[key][i] for numbers in tables for key, firsts in self.asked.items() for i in sorted(set(firsts))]

    def named(self, fresh: Callable[[], str]) -> list[Numbers]:
        """Tables of new names, in the order of `flat`."""
        out: list[Numbers] = []
        for _ in range(self.distance):
            numbers: Numbers = {}
            for key, firsts in self.asked.items():
                names = {i: fresh() for i in sorted(set(firsts))}
                numbers[key] = [names[i] for i in firsts]
            out.append(numbers)
        return out
