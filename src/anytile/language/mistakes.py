"""Mistakes whose first sentence is known by heart, with advice beside it."""

from __future__ import annotations

__all__ = ["Mistake"]


class Mistake(ValueError):
    """``text`` says what is wrong, in words that programs compare; ``advice`` how to go on.

    The exception's own text is ``text`` alone; the compile error that is made of it shows both.
    """

    def __init__(self, text: str, advice: str):
        super().__init__(text)
        self.advice = advice
