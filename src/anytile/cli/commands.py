"""What a command is, and how its part of the command line is read.

Everything here is of the standard library: `anytile` has to answer in an environment in which other packages' compiled files cannot be loaded,
which is when it is asked.  A command's parser is made when it is called, so `anytile --help` costs nothing of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Argument", "Command", "argument", "seconds"]


class Argument(NamedTuple):
    """What `argparse.ArgumentParser.add_argument` is given."""

    names: tuple[str, ...]
    how: dict[str, Any]


def argument(*names: str, **how: Any) -> Argument:
    """An argument or an option."""
    return Argument(names, how)


class Command(NamedTuple):
    """``name``: one word, or two for a command of a group; ``usage``: what stands behind its name; ``run``: with what was read, returns the
    exit status; its docstring is the description in ``--help``.
    """

    name: str
    usage: str
    arguments: tuple[Argument, ...]
    run: Callable[[argparse.Namespace], int]

    @property
    def line(self) -> str:
        """What the list of commands says of it."""
        return (self.run.__doc__ or "").partition("\n")[0]  # python -OO keeps none

    def parser(self) -> argparse.ArgumentParser:
        # A usage of our own: argparse's does not fit metavariables with brackets.
        usage = f"anytile {self.name} {self.usage}".rstrip()
        made = argparse.ArgumentParser(f"anytile {self.name}", usage, self.run.__doc__, allow_abbrev=False)
        for a in self.arguments:
            made.add_argument(*a.names, **a.how)
        return made

    def main(self, words: list[str]) -> int:
        """Reads ``words`` and runs the command.  SystemExit where argparse has answered: 0 after --help, 2 for what cannot be read.

        What stands behind ``--`` is ``given.behind``, untouched.
        """
        at = words.index("--") if "--" in words else len(words)
        given = self.parser().parse_intermixed_args(words[:at])
        given.behind = words[at + 1 :]
        return self.run(given)


def seconds(text: str) -> float:
    """The type of an option that is a time: at least one second."""
    value = float(text)
    if not value >= 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one second")
    return value
