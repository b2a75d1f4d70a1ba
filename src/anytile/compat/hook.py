"""The finder that answers `import triton`.

It stands at the front of `sys.meta_path`, so it wins over an installed upstream Triton.  It imports nothing until it is
asked for a name of its own.
"""

import sys

__all__ = ["FINDER", "TritonFinder", "install", "is_installed"]


class TritonFinder:
    """A meta-path finder for `triton`, `triton.*` and the distribution "triton"."""

    def find_spec(self, fullname, path=None, target=None):
        """The spec of a module of the face; None for everything that is not triton's.

        Raises ModuleNotFoundError, with the reason, for a `triton.*` that is imported and that the face lacks.
        """
        if fullname != "triton" and not fullname.startswith("triton."):
            return None
        from . import face

        return face.find_spec(fullname)

    def find_distributions(self, context=None):
        """The distribution "triton" where `importlib.metadata` looks for it, or for all, on the default path.

        A search of explicit directories (pip's inventory of an environment) finds nothing: no directory holds it.
        """
        name = getattr(context, "name", None)
        if (name is not None and name.lower() != "triton") or "path" in getattr(context, "__dict__", ()):
            return ()
        from .distribution import TritonDistribution

        return (TritonDistribution(),)


FINDER = TritonFinder()


def is_installed() -> bool:
    """Whether `import triton` in this process is answered by anytile."""
    return FINDER in sys.meta_path


def install() -> None:
    """Registers the finder; does nothing where it already is.  RuntimeError where another triton is already imported."""
    if is_installed():
        return
    loaded = sys.modules.get("triton")
    if loaded is not None and not _ours(loaded):
        raise RuntimeError(
            f"another triton is already imported (from {getattr(loaded, '__file__', 'an unknown place')}); call anytile.install() "
            "before the first import of triton, or start the program by `anytile run`"
        )
    sys.meta_path.insert(0, FINDER)


def _ours(module) -> bool:
    """Whether it came from this face, whose finder somebody has taken out of `sys.meta_path` since."""
    from . import face

    return getattr(getattr(module, "__spec__", None), "origin", None) == face.ORIGIN
