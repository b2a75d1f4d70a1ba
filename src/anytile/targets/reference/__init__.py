"""The reference target: the tile IR's meaning, written in NumPy.  Start with `rows` and `executor`."""

from .target import ReferenceTarget

__all__ = ["ReferenceTarget"]
