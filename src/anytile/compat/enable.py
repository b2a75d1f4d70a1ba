"""`anytile enable`, `disable`, `status`: the finder for every interpreter of an environment.

Python executes the `import` lines of `*.pth` files in site-packages at each start.  Enabling writes one such file, of one line;
disabling removes it.  Importing even an empty module at that point makes Python list every directory of `sys.path` (three
milliseconds in a middling environment), so the line carries a small finder of its own, which brings in the real one at the
first question about triton and stays silent where anytile has been uninstalled since.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from .level import Level, current, torch_version

__all__ = ["Status", "disable", "enable", "pth_file", "status"]

# Executed at every interpreter start, before any other finder of this environment.
_EARLY = """
class AnytileEarly:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            self.bring()
    def find_distributions(self, context=None):
        if getattr(context, "name", None) in (None, "triton"):
            self.bring()
        return ()
    def bring(self):
        try:
            from anytile.compat.hook import FINDER
        except ImportError:
            return
        if FINDER not in sys.meta_path:  # behind this one: the search under way reaches it next
            sys.meta_path.insert(sys.meta_path.index(self) + 1, FINDER)
sys.meta_path.insert(0, AnytileEarly())
"""
_LINE = f"import sys; exec({_EARLY!r}, {{'sys': sys, '__name__': 'anytile_early'}})  # written by `anytile enable`\n"


class Status(NamedTuple):
    """``pth``: the file of `anytile enable`; ``enabled``: it is there.

    ``level``: the API level here; ``torch``: the installed torch's version; ``upstream``: where another triton lies.
    The last two are None where there is none.
    """

    pth: Path
    enabled: bool
    level: Level
    torch: str | None
    upstream: str | None


def pth_file() -> Path:
    """Where this interpreter's environment keeps the switch."""
    return Path(sysconfig.get_path("purelib")) / "anytile-triton.pth"


def enable() -> Path:
    """Makes every later start of this environment's Python answer `import triton` with anytile.

    OSError where site-packages cannot be written.
    """
    file = pth_file()
    # A whole line or none: an interpreter may start at this moment.
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        partial.write_text(_LINE, encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def disable() -> bool:
    """Undoes `enable`; False where nothing was enabled."""
    file = pth_file()
    if not file.exists():
        return False
    file.unlink()
    return True


def status() -> Status:
    """How `import triton` is answered in this environment."""
    spec = PathFinder.find_spec("triton", sys.path)
    upstream = None
    if spec is not None:
        upstream = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    file = pth_file()
    return Status(file, file.exists(), current(), torch_version(), upstream)
