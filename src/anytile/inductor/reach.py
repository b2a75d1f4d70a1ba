"""The face for the processes that this one starts.

Inductor compiles in a pool of child processes, which are started as ``python …`` with PYTHONPATH made of this process's
`sys.path`.  `anytile run` and `anytile enable` reach them already; a program that only called `anytile.install()` does not.
"""

from __future__ import annotations

import os
import sys

from ..compat import launch
from ..compat.hook import install, is_installed

__all__ = ["install_here", "reach_children"]


def install_here() -> bool:
    """Puts the face into this process; False where it was there already.  RuntimeError where another triton is imported."""
    if is_installed():
        return False
    install()
    return True


def reach_children() -> bool:
    """Lets every Python that this process starts have the face; False where `anytile run` has seen to that."""
    env = launch.environment()
    site = env["PYTHONPATH"].split(os.pathsep)[0]
    if site in sys.path and os.environ.get("PYTHONPATH") == env["PYTHONPATH"]:
        return False
    os.environ["PYTHONPATH"] = env["PYTHONPATH"]
    if site not in sys.path:
        sys.path.insert(1, site)  # behind the program's own directory
    return True
