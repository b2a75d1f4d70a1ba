"""The `anytile` command.

`anytile run` starts programs and so must cost nothing, and `anytile doctor` must answer where little else can be imported: both are taken
here, before typer and what it needs are imported for the rest.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

# what all commands but `run` and `doctor` are read with (rich prints the doctor's report, too)
_LIBRARIES = {"typer", "click", "pydantic", "pydantic_core", "shellingham"}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line ``arguments`` (default: this process's) and returns the exit status."""
    args = sys.argv[1:] if arguments is None else arguments
    if args[:1] == ["run"]:
        from ..compat import launch

        if len(args) == 1 or args[1] in ("-h", "--help"):
            print(launch.USAGE, end="")
            return 0 if len(args) > 1 else 2
        return launch.run(args[1:])
    if args[:1] == ["doctor"]:
        from . import doctor

        return doctor.main(args[1:])
    try:
        from .app import app

        app(args, prog_name="anytile")
    except ImportError as e:
        library = _root(e)
        if not library:
            raise
        why = str(e).rstrip(".")
        print(
            f"anytile: the command line needs {library}, which cannot be imported: {why}. `anytile doctor` works without it.",
            file=sys.stderr,
        )
        return 2
    return 0


def _root(error: ImportError) -> str:
    """The library of the command line's that could not be imported, or "".

    A compiled file that Windows' loader does not take gives its last name alone, or none; then the module that asked for it tells.
    """
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    asking = at.tb_frame.f_globals.get("__name__", "") if at is not None else ""
    return next((name for name in ((error.name or "").partition(".")[0], asking.partition(".")[0]) if name in _LIBRARIES), "")
