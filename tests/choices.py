"""Where a generator of random programs gets its choices: from hypothesis, which shrinks, or from a seed, which is quick.

g = _Maker(Drawn(draw))     in a `hypothesis.strategies.composite`
g = _Maker(Dice(seed))      in a long run; the same seed makes the same program again
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st

__all__ = ["Choices", "Dice", "Drawn"]


class Choices(Protocol):
    def pick(self, options: Iterable[Any]) -> Any:
        """One of ``options``."""

    def chance(self) -> bool:
        """True or False."""

    def integer(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""

    def order(self, items: Iterable[Any]) -> Sequence[Any]:
        """``items`` in any order."""


class Drawn:
    """Choices of a hypothesis test."""

    def __init__(self, draw: Callable[[Any], Any]):
        self.draw = draw

    def pick(self, options: Iterable[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def chance(self) -> bool:
        return self.draw(st.booleans())

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def order(self, items: Iterable[Any]) -> Sequence[Any]:
        return self.draw(st.permutations(list(items)))


class Dice:
    """Choices that ``seed`` determines."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def pick(self, options: Iterable[Any]) -> Any:
        return self.random.choice(list(options))

    def chance(self) -> bool:
        return self.random.random() < 0.5

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def order(self, items: Iterable[Any]) -> Sequence[Any]:
        shuffled = list(items)
        self.random.shuffle(shuffled)
        return shuffled
