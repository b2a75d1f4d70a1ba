"""The `anytile` command.

`anytile run` starts programs and so must cost nothing: it is taken here, before the other commands are imported.  None of them needs a package
to read its command line (`commands`).
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line ``arguments`` (default: this process's) and returns the exit status."""
    args = sys.argv[1:] if arguments is None else arguments
    if args[:1] == ["run"]:
        from ..compat import launch

        if len(args) == 1 or args[1] in ("-h", "--help"):
            print(launch.USAGE, end="")
            return 0 if len(args) > 1 else 2
        return launch.run(args[1:])
    from . import app

    return app.main(args)
