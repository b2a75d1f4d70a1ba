"""Registers anytile's finder at interpreter start, then gives way to the `sitecustomize` that Python would have found.

`anytile run` puts this file's directory at the front of PYTHONPATH, so `site` imports it in every interpreter of the program.
The directory stays on `sys.path`: programs start others with `PYTHONPATH` made of it (torch does, for its compile workers).
"""

import os
import sys


def _start() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.abspath(entry or ".") != here]
    try:
        from anytile.compat.hook import install
    except ImportError:
        pass  # a child of another environment, in which there is no anytile: leave it as it is
    else:
        install()
    # The name must be free for the real one, and stay taken where there is none: `site` has imported us as that.
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as e:
        if e.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours
    finally:
        # The real one may have added entries; ours goes back to where PYTHONPATH had it.
        sys.path.insert(next(i for i, entry in enumerate(path) if os.path.abspath(entry or ".") == here), here)


_start()
del _start
