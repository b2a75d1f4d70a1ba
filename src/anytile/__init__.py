"""anytile: Triton kernels on any machine.

`anytile.install()` makes `import triton` in this process mean anytile; `anytile run` does the same for an unmodified
program and everything it starts.  This file imports nothing: an interpreter in which anytile is enabled passes through
it at every start (see `compat/hook.py`).
"""

__version__ = "0.1.0"

__all__ = ["__version__", "install"]


def install() -> None:
    """Answers `import triton` and `import triton.*` in this process with anytile, also where upstream Triton is installed.

    Call it before anything imports triton; calling it again does nothing.  Raises RuntimeError where another triton has
    already been imported, because programs would then hold objects of both.
    """
    from .compat import hook

    hook.install()
